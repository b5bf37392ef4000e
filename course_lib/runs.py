"""One recipe on one task with one seed: what it is given, and how it is trained."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_lib.data import Split, Task
from course_lib.priors import class_prior
from course_lib.training import RoundStats, SplitLoader, rounds

if TYPE_CHECKING:
    from course_lib.recipes import Recipe


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


def start(recipe: "Recipe", task: Task, budget: Budget, seed: int = 0, member: int = 0) -> Run:
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


def train(recipe: "Recipe", run: Run, *, validation: bool = True) -> Iterator[RoundStats]:
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
