"""One recipe on one task with one seed: what it is given, and how it is trained."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from course_lib import decisions
from course_lib.data.task import KINDS, Batch, Split, Task
from course_lib.decisions import Decision
from course_lib.priors import class_prior
from course_lib.sampling import ClassMixBatchSampler
from course_lib.training import RoundStats, SplitLoader, rounds

CLASSES = frozenset({"classification"})
ANY = frozenset(KINDS)
ADAM = partial(torch.optim.Adam, lr=1e-2)


@dataclass(frozen=True)
class Budget:
    """The same for every recipe of a comparison; the members of an ensemble share it.

    steps            optimiser steps
    batch_size       M
    optimizer        parameters -> torch optimiser
    steps_per_round  default N // M of the task's original training part
    """

    steps: int = 300
    batch_size: int = 32
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = ADAM
    steps_per_round: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "steps_per_round"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")


@dataclass
class Run:
    """One recipe on one task with one seed (and one member of an ensemble): what the factories see and move.

    train    the training part after resampling
    prior    (K,) class shares of `train`, float64
    weight   (N,) example weights for `train`, or None; feedback may replace it between rounds
    control  the object that steers the batches or weights, where there is one (a `Learn2Mix`), else None
    """

    task: Task
    train: Split
    budget: Budget
    generator: torch.Generator
    seed: int = 0
    model: nn.Module | None = None
    sampler: object = None
    loss: Callable | None = None
    weight: Tensor | None = None
    control: object = None

    @cached_property
    def prior(self) -> Tensor:
        return class_prior(self.train.group, self.task.num_groups)

    @property
    def steps_per_round(self) -> int:
        return self.budget.steps_per_round or max(1, len(self.task.train.x) // self.budget.batch_size)

    @property
    def num_rounds(self) -> int:
        """Rounds of the budget when every round has `steps_per_round` steps."""
        return math.ceil(self.budget.steps / self.steps_per_round)

    def by_class(self, values: Tensor) -> Tensor:
        """(K,) numbers per class -> (N,) per training example, float32, on the device of the data."""
        return values.float().to(self.train.group.device)[self.train.group]


# ---- the defaults of a recipe: plain training ----


def as_is(split: Split, generator: torch.Generator) -> Split:
    """as is"""
    return split


def no_change(run: Run) -> None:
    """as is"""


def mixed(run: Run, mix: Tensor, batches_per_update: int | None = None) -> ClassMixBatchSampler:
    """A sampler for this run; its pass is a round, after which feedback acts."""
    batches = batches_per_update or run.steps_per_round
    return ClassMixBatchSampler(
        run.train.group, run.budget.batch_size, mix, batches_per_epoch=batches, seed=run.seed
    )


def prior_mix(run: Run, batches_per_update: int | None = None) -> ClassMixBatchSampler:
    """prior"""
    return mixed(run, run.prior, batches_per_update)


def no_weight(run: Run) -> None:
    """1"""


def plain(run: Run) -> Callable:
    """1"""
    example_loss = run.task.example_loss

    def loss(outputs: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        each = example_loss(outputs, y)
        return {"mean": each.mean, "sum": each.sum, "none": lambda: each}[reduction]()

    return loss


def no_feedback(run: Run) -> None:
    """none"""


def argmax(run: Run, outputs: Tensor, y: Tensor) -> Decision:
    """argmax"""
    return decisions.argmax()


def same_model(model: nn.Module, run: Run) -> nn.Module:
    """as is"""
    return model


# ---- one row of the table ----


@dataclass(frozen=True)
class Recipe:
    """One row of the table. `vary` gives the same row with other parameters."""

    name: str
    when: str
    source: str = ""
    resample: Callable[[Split, torch.Generator], Split] = as_is
    augment: Callable[[Run], Callable[[Batch], Batch] | None] = no_change
    batches: Callable[[Run], object] = prior_mix
    weigh: Callable[[Run], Tensor | None] = no_weight
    loss: Callable[[Run], Callable] = plain
    feedback: Callable[[Run], Callable[[RoundStats], None] | None] = no_feedback
    decide: Callable[[Run, Tensor, Tensor], Decision] = argmax
    adapt: Callable[[nn.Module, Run], nn.Module] = same_model
    members: int = 1
    kinds: frozenset[str] = CLASSES

    def vary(self, **parameters: Mapping) -> "Recipe":
        """The same recipe with other parameters, field by field: vary(feedback={"mixing_rate": 0.5}).

        Raises TypeError for a name that is no field.
        """
        known = {f.name for f in fields(self)}
        for name in parameters:
            if name not in known - {"name", "when", "source", "members", "kinds"}:
                raise TypeError(f"vary takes the fields of a Recipe that act, got {name!r}")
        return replace(
            self, **{name: partial(getattr(self, name), **values) for name, values in parameters.items()}
        )


# ---- from a recipe to a trained network ----


def start(recipe: Recipe, task: Task, budget: Budget, seed: int = 0, member: int = 0) -> Run:
    """Everything ready for the first step: resampled data, initial weights, sampler, loss, example weights.

    Runs with the same task, seed and member share initial weights and batch randomness, whatever the recipe.
    Raises ValueError when the recipe is not meant for the task's kind.
    """
    if task.kind not in recipe.kinds:
        raise ValueError(
            f"{recipe.name} is meant for {sorted(recipe.kinds)}, got a {task.kind} task ({task.name})"
        )
    own_seed = seed * 1000 + member
    torch.manual_seed(own_seed)
    model = task.model().to(task.train.x.device)
    torch.manual_seed(own_seed)  # dropout starts alike, however many numbers the initial weights took
    generator = torch.Generator().manual_seed(own_seed)
    run = Run(task, recipe.resample(task.train, generator), budget, generator, own_seed)
    run.model = recipe.adapt(model, run).to(task.train.x.device)
    run.loss, run.weight = recipe.loss(run), recipe.weigh(run)
    run.sampler = recipe.batches(run)
    return run


def train(recipe: Recipe, run: Run, *, validation: bool = True) -> Iterator[RoundStats]:
    """Train `run` to the end of its budget, yielding after each round, feedback already applied.

    validation  also measure the per-class loss on the validation part after every round
    """
    steps = max(1, run.budget.steps // recipe.members)
    feedback = recipe.feedback(run)
    loader = SplitLoader(run.train, run.sampler, weight=lambda: run.weight, augment=recipe.augment(run))
    stream = rounds(
        run.model, loader, run.loss, run.budget.optimizer(run.model.parameters()),
        num_groups=run.task.num_groups, rounds=math.ceil(steps / len(run.sampler)), max_steps=steps,
        example_loss=run.task.example_loss, validation=run.task.validation if validation else None,
    )  # fmt: skip
    for stats in stream:
        if feedback is not None:
            feedback(stats)
        yield stats
