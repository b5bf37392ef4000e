"""What a recipe is, what a run of it holds, and the budget that all share."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import decisions
from course_lib.data.task import KINDS, Batch, Split, Task, cross_entropy_each
from course_lib.decisions import Decision
from course_lib.inputs import as_number, as_size, wide
from course_lib.priors import class_prior
from course_lib.recipes.parameters import FILLED, changed, is_plain_loss, paths, said, says
from course_lib.sampling import ClassMixBatchSampler
from course_lib.training import RoundStats

CLASSES = frozenset({"classification"})
ANY = frozenset(KINDS)
ADAM = partial(torch.optim.Adam, lr=1e-2)


@dataclass(frozen=True)
class Budget:
    """The same for every recipe of a comparison; the members of an ensemble share it.

    steps            optimiser steps, or
    epochs           > 0, times through the task's original training part: epochs * (N // M) steps. Give one of the two
    batch_size       M
    optimizer        parameters -> torch optimiser
    steps_per_round  default N // M of the task's original training part, so that a round is an epoch. For a budget of
                     few epochs say a smaller number: feedback acts once a round and needs at least five of them
    """

    steps: int | None = None
    batch_size: int = 32
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = ADAM
    steps_per_round: int | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                f"Budget takes one of steps and epochs, got steps={self.steps} and epochs={self.epochs}"
            )
        for name in ("steps", "batch_size", "steps_per_round"):
            if getattr(self, name) is not None:  # NumPy's numbers become Python's, which a cache can name
                object.__setattr__(self, name, as_size(getattr(self, name), name))
        if self.epochs is not None:
            object.__setattr__(self, "epochs", as_number(self.epochs, "epochs", 0, above=True))

    def epoch_of(self, task: Task) -> int:
        """Steps once through the task's original training part, at least one."""
        return max(1, len(task.train.x) // self.batch_size)

    def steps_for(self, task: Task) -> int:
        """Optimiser steps on this task, all members of an ensemble together."""
        if self.steps is not None:
            return self.steps
        return max(1, round(self.epochs * self.epoch_of(task)))

    def steps_per_round_for(self, task: Task) -> int:
        """Steps after which feedback acts."""
        return self.steps_per_round or self.epoch_of(task)


@dataclass
class Run:
    """One recipe on one task with one seed (and one member of an ensemble): what the parts of a recipe see and move.

    train        the training part after resampling
    steps        optimiser steps of this member, its share of the budget; what is timed is timed as a share of them
    streams      a seed for each kind of randomness: data, weights, sampler, augmentation, training
    generator    the stream of augmentation, on the CPU
    base_weight  (N,) example weights that `weigh` gave, or None
    factor       (N,) that feedback multiplies them by, or None
    control      the object that steers the batches or weights, where there is one (a `Learn2Mix`), else None
    optimizer    made when training starts
    trained_prior
                 (K,) float64 class shares that the loss saw in the round trained last (before any: in the first), those
                 of its batches times the example weights
    """

    recipe: "Recipe"
    task: Task
    train: Split
    budget: Budget
    steps: int
    generator: torch.Generator
    seed: int = 0
    member: int = 0
    streams: Mapping[str, int] | None = None
    model: nn.Module | None = None
    sampler: object = None
    loss: Callable | None = None
    base_weight: Tensor | None = None
    factor: Tensor | None = None
    control: object = None
    trained_prior: Tensor | None = None
    optimizer: torch.optim.Optimizer | None = None

    @cached_property
    def prior(self) -> Tensor:
        """(K,) class shares of `train`, float64."""
        return class_prior(self.train.group, self.task.num_groups)

    @property
    def weight(self) -> Tensor | None:
        """(N,) float32, what `weigh` gave times the factor of feedback; None: every example counts the same."""
        if self.factor is None:
            return self.base_weight
        factor = self.factor.to(self.train.x.device, torch.float32)
        return factor if self.base_weight is None else self.base_weight * factor

    @property
    def steps_per_round(self) -> int:
        """Steps of a round, the same for every recipe, unless its sampler has passes of its own length."""
        return self.budget.steps_per_round_for(self.task)

    @property
    def num_rounds(self) -> int:
        """Rounds of this run, the last one perhaps cut short."""
        length = self.steps_per_round if self.sampler is None else len(self.sampler)
        return math.ceil(self.steps / length)

    def by_class(self, values: Tensor) -> Tensor:
        """(K,) numbers per class -> (N,) per training example, float32, on the device of the data."""
        return values.float().to(self.train.group.device)[self.train.group]


# ---- the defaults of a recipe: plain training ----


@says("as is")
def as_is(split: Split, generator: torch.Generator) -> Split:
    """The training part unchanged."""
    return split


@says("as is")
def no_change(run: Run) -> None:
    """No augmentation."""


def mixed(
    run: Run, mix: Tensor, batches_per_update: int | None = None, counts: str = "exact"
) -> ClassMixBatchSampler:
    """A sampler for this run; its pass is a round, after which feedback acts."""
    batches = batches_per_update or run.steps_per_round
    return ClassMixBatchSampler(
        run.train.group, run.budget.batch_size, mix, batches_per_epoch=batches, counts=counts,
        seed=run.streams["sampler"],
    )  # fmt: skip


@says("prior")
def prior_mix(run: Run, batches_per_update: int | None = None, counts: str = "exact") -> ClassMixBatchSampler:
    """The class shares of the training part, in every batch as nearly as whole numbers allow (stratified).

    counts  "multinomial" draws the class of each place in a batch by itself
    """
    return mixed(run, run.prior, batches_per_update, counts)


@says("1")
def no_weight(run: Run) -> None:
    """Every example counts the same."""


@says("1")
def plain(run: Run) -> Callable:
    """The task's own loss: cross-entropy, or squared error."""
    example_loss = run.task.example_loss

    def loss(outputs: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        # torch's own mean has the faster backward, with the same gradients.
        if example_loss is cross_entropy_each:
            return F.cross_entropy(wide(outputs), y, reduction=reduction)
        each = example_loss(outputs, y)
        return {"mean": each.mean, "sum": each.sum, "none": lambda: each}[reduction]()

    if example_loss is not cross_entropy_each:
        loss.is_example_loss = example_loss  # computed once, for the step and for the class losses
    return loss


@says("none")
def no_feedback(run: Run) -> None:
    """Nothing changes between rounds."""


@says("argmax")
def argmax(run: Run, outputs: Tensor, y: Tensor) -> Decision:
    """The class with the highest score."""
    return decisions.argmax()


@says("as is")
def same_model(model: nn.Module, run: Run) -> nn.Module:
    """The task's own network."""
    return model


# ---- one row of the table ----


@dataclass(frozen=True)
class Recipe:
    """One row of the table: where a method acts, and how. `vary` gives the same row with other parameters.

    Every field that acts but `resample` and `adapt` is a factory called once per run; what it returns may hold state.
    As `loss` a plain function (outputs, y, reduction="mean") is taken as it is, and so is a loss module of torch.

    >>> import torch.nn.functional as F
    >>> def poly1(outputs, y, reduction="mean"):
    ...     each = F.cross_entropy(outputs, y, reduction="none")
    ...     each = each + 1 - torch.exp(-each)
    ...     return each if reduction == "none" else each.mean()
    >>> Recipe("poly1", loss=poly1).name
    'poly1'
    """

    name: str
    when: str = ""
    source: str = ""
    resample: Callable[[Split, torch.Generator], Split] = as_is
    augment: Callable[[Run], Callable[[Batch], Batch] | None] = no_change
    batches: Callable[[Run], object] = prior_mix
    weigh: Callable[[Run], Tensor | None] = no_weight
    loss: Callable = plain
    feedback: Callable[[Run], Callable[[RoundStats], None] | None] = no_feedback
    decide: Callable[[Run, Tensor, Tensor], Decision] = argmax
    adapt: Callable[[nn.Module, Run], nn.Module] = same_model
    members: int = 1
    kinds: frozenset[str] = CLASSES
    varied: tuple[tuple[str, object], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"name must be a text, got {self.name!r}")
        for field in FILLED:
            if not callable(getattr(self, field)):
                raise TypeError(f"{field} must be a function, got {getattr(self, field)!r}")
        if not isinstance(self.loss, nn.Module):
            is_plain_loss(self.loss)
        as_size(self.members, "members")
        if not self.kinds or not set(self.kinds) <= ANY:
            raise ValueError(f"kinds must be some of {KINDS}, got {self.kinds!r}")

    @property
    def base(self) -> str:
        """The name of the row that this one was varied from; its own name where it was not."""
        return self.name.partition(" (")[0] if self.varied else self.name

    def vary(self, **parameters: object) -> "Recipe":
        """The same recipe with other parameters, found by their name: RECIPES["learn2mix"].vary(mixing_rate=0.5).

        The new row is named after them: "learn2mix (mixing_rate=0.5)". Where two parts have a parameter of the same
        name, say which part is meant: vary(feedback={"start": 0.5}).

        Raises TypeError for a parameter that no part of this recipe has, naming those there are, and for one that two
        parts have.
        """
        known = {field: paths(getattr(self, field), field) for field in FILLED if not self._is_module(field)}
        parts, said_now = {field: getattr(self, field) for field in FILLED}, {}
        members = self.members
        for name, value in parameters.items():
            if name == "members":
                members = said_now[name] = value
                continue
            if name in FILLED and isinstance(value, Mapping):
                named = [(field, key, inner) for field in [name] for key, inner in value.items()]
            else:
                named = [(None, name, value)]
            for field, key, inner in named:
                owner, path = self._find(known, key, field)
                parts[owner] = changed(parts[owner], path, inner)
                said_now[key] = inner
        varied = {**dict(self.varied), **said_now}
        if not varied:
            return self
        listed = ", ".join(f"{name}={_short(value)}" for name, value in varied.items())
        return replace(
            self,
            **parts,
            members=members,
            varied=tuple(varied.items()),
            name=f"{self.base} ({listed})",
        )

    def _is_module(self, field: str) -> bool:
        return isinstance(getattr(self, field), nn.Module)

    def _find(self, known: dict, name: str, field: str | None) -> tuple[str, tuple[str, ...]]:
        """The field and the path in it where a parameter is found."""
        found = [
            (owner, path)
            for owner, names in known.items()
            if field in (None, owner)
            for path in names.get(name, [])
        ]
        nearest = min((len(path) for _, path in found), default=0)
        found = [(owner, path) for owner, path in found if len(path) == nearest]
        if not found:
            there = [f"{key} ({owner})" for owner, names in known.items() for key in names]
            raise TypeError(
                f"{self.name} has no parameter {name!r}{f' in {field}' if field else ''}; "
                f"it has {', '.join(there) or 'none'}"
                + (", and members" if self.members > 1 else "")
                + f". To put another part in its place: dataclasses.replace(recipe, {name}=...)"
                * (name in FILLED)
            )
        if len(found) > 1:
            owners = [owner for owner, _ in found]
            raise TypeError(
                f"{name!r} is a parameter of {' and of '.join(owners)} of {self.name}: "
                f"say which, as in vary({owners[0]}={{{name!r}: ...}})"
            )
        return found[0]


def _short(value: object) -> str:
    return said(value) if callable(value) else str(value)
