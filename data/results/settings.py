"""What the study compares: the parts of it, each with its data, its rows, its budget and its seeds.

Settings of the paper (arXiv:2412.16482) unless a comment says otherwise. `--quick` cuts steps and seeds, nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from torch import nn

from course_lib import data
from course_lib.experiments import Rival, learning_rates
from course_lib.recipes import RECIPES, Budget, Recipe, Run, says

# ---- rows that only this study needs ----------------------------------------------------------------------


@says("a part drawn at random, larger every round")
def easy_by_mistake(run: Run, start: float = 0.3, full_at: float = 0.7):
    """The curriculum of the authors' code: scores in shuffled order index the unshuffled set, so they are chance."""
    order = torch.randperm(len(run.train.x), generator=run.generator)
    first = run.sampler.probability

    def allow(steps: int) -> None:
        share = min(1.0, start + (1 - start) * steps / (full_at * run.steps))
        allowed = torch.zeros_like(first)
        allowed[order[: max(1, round(share * len(order)))]] = 1
        run.sampler.set_probability(first * allowed / (first * allowed).sum())

    allow(0)
    return lambda stats: allow(stats.steps)


def start_at_mean(model: nn.Module, run: Run) -> nn.Module:
    """The bias of the last layer becomes the mean of the training part: the one line of lesson 10."""
    with torch.no_grad():
        model[-1].bias.copy_(run.train.y.mean(0))
    return model


class MeanOfDraws:
    """For the mean estimation: the mean of the ten draws, which is what a statistician would say at once."""

    def fit(self, x, y):
        return self

    def predict(self, x):
        return x.mean(1)


class Components:
    """For reconstructions: an image rebuilt from its principal components; with none, the mean image."""

    def __init__(self, number: int) -> None:
        self.number = number

    def fit(self, x, y):
        self.mean = x.mean(0)
        self.pca = PCA(self.number, svd_solver="covariance_eigh").fit(x) if self.number else None
        return self

    def predict(self, x):
        if self.pca is None:
            return self.mean[None].repeat(len(x), 0)
        return self.pca.inverse_transform(self.pca.transform(x))


class Boosting(HistGradientBoostingRegressor):
    """Gradient boosting for a y of one column."""

    def fit(self, x, y):
        return super().fit(x, y.ravel())


CONSTANT = Rival("training mean", DummyRegressor)
LINEAR = Rival("least squares", LinearRegression)
BOOSTING = Rival("gradient boosting", Boosting)
IMAGES = [
    Rival("mean image", partial(Components, 0)),
    *(Rival(f"{n} components", partial(Components, n)) for n in (8, 32)),
]
AS_PUBLISHED = replace(
    RECIPES["curriculum"], name="curriculum_as_published", feedback=easy_by_mistake,
    when="never: the curriculum baseline of the authors' code, by its mistake",
)  # fmt: skip


def learn2mix(mixing_rate: float) -> Recipe:
    """The row under its usual name, with the rate that the paper gives for a set."""
    return replace(RECIPES["learn2mix"].vary(mixing_rate=mixing_rate), name="learn2mix")


# ---- the parts --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One CSV file of the study."""

    make_task: Callable
    chosen: Sequence
    budget: Budget
    seeds: int
    metrics: Sequence[str]
    tune: Callable | None = None
    tune_metric: str | None = None
    at: tuple[float, ...] = (0.25, 0.5, 1.0)

    @property
    def quick(self) -> "Part":
        """The same in minutes: 60 steps, two seeds."""
        short = replace(self.budget, epochs=None, steps=60, steps_per_round=6)
        return replace(self, budget=short, seeds=2)


def adam(rate: float) -> Callable:
    return partial(torch.optim.Adam, lr=rate)


NUMBERS = ("squared_error", "worst_group_error")
LABELS = ("balanced_accuracy", "accuracy", "worst_recall", "log_loss")


def regression(make_task, epochs: int, batch_size: int, rate: float, mixing_rate: float, *rivals) -> Part:
    rows = ["uniform", learn2mix(mixing_rate), "group_dro", "excess_loss_mix", CONSTANT, LINEAR, BOOSTING]
    budget = Budget(epochs=epochs, batch_size=batch_size, optimizer=adam(rate))
    return Part(make_task, [*rows, *rivals], budget, 10, NUMBERS, at=(0.1, 0.25, 0.5, 1.0))


def from_mean(part: Part, mixing_rate: float) -> Part:
    """The same part with networks that start at the training mean, beside plain ones that do not."""
    rows = [RECIPES["plain"], RECIPES["uniform"], learn2mix(mixing_rate)]
    chosen = [replace(row, name=f"{row.name} (start=mean)", adapt=start_at_mean) for row in rows]
    return replace(part, chosen=chosen)


def trained_out(part: Part, mixing_rate: float) -> Part:
    """The same part at twenty times the learning rate, so that plain training comes to its end (claim C7)."""
    rate = 20 * part.budget.optimizer.keywords["lr"]
    return replace(
        part, chosen=["uniform", learn2mix(mixing_rate)], budget=replace(part.budget, optimizer=adam(rate))
    )


def reconstruction(images, epochs: int, rate: float) -> Part:
    rows = ["uniform", learn2mix(0.1), "group_dro", "excess_loss_mix", *IMAGES]
    budget = Budget(epochs=epochs, batch_size=1000, optimizer=adam(rate))
    return Part(partial(images, kind="reconstruction"), rows, budget, 5, NUMBERS)


BALANCED = ("uniform", "focal", "smote", "importance", "curriculum", AS_PUBLISHED, "group_dro", "cdb")
LONG_TAILED = ("class_weights", *BALANCED[:6], "alternating", *BALANCED[6:], "excess_loss_mix")


def balanced(
    images, rate: float, mixing_rate: float, rows=BALANCED, epochs: int = 10, seeds: int = 5
) -> Part:
    """Epochs of 50 steps; the paper stops the clock after 50 seconds instead."""
    budget = Budget(epochs=epochs, batch_size=1000, optimizer=adam(rate))
    return Part(partial(images, 1), [*rows, learn2mix(mixing_rate)], budget, seeds, LABELS)


def tuned(images, mixing_rate: float) -> Part:
    """Balanced, each row at the best of three rates by its accuracy on validation."""
    part = balanced(images, 1e-3, mixing_rate, ("uniform", "group_dro"))
    return replace(part, tune=learning_rates(1e-4, 1e-3, 5e-3), tune_metric="accuracy")


def tail(images, ratio: float, mixing_rate: float, seeds: int = 5) -> Part:
    """600 steps; a round is an epoch of the thinned set. Not in the paper for these sets."""
    budget = Budget(steps=600, batch_size=1000, optimizer=adam(1e-3))
    return Part(partial(images, ratio), [*LONG_TAILED, learn2mix(mixing_rate)], budget, seeds, LABELS)


RATES = {"mean_estimation": 0.01, "wine": 0.05, "california": 0.01}
REGRESSIONS = {
    "mean_estimation": regression(
        data.mean_estimation,
        500,
        500,
        5e-5,
        RATES["mean_estimation"],
        Rival("mean of the draws", MeanOfDraws),
    ),
    "wine": regression(data.wine_quality, 300, 100, 1e-4, RATES["wine"]),
    "california": regression(data.california_housing, 1200, 1000, 5e-5, RATES["california"]),
}
SETS = {"mnist": (data.mnist, 0.1), "fashion": (data.fashion_mnist, 0.5)}
PARTS: dict[str, Part] = {
    **REGRESSIONS,
    "mnist_rebuilt": reconstruction(data.mnist, 40, 5e-4),
    "fashion_rebuilt": reconstruction(data.fashion_mnist, 70, 1e-5),
    # Added when the first regressions were recorded, to ask why: not in the paper.
    **{f"{name}_from_mean": from_mean(part, RATES[name]) for name, part in REGRESSIONS.items()},
    **{f"{name}_trained_out": trained_out(part, RATES[name]) for name, part in REGRESSIONS.items()},
    **{f"{name}_tail_50": tail(images, 50, rate) for name, (images, rate) in SETS.items()},
    # The paper's rate for both sets, and that of the authors' code.
    **{f"{name}_balanced_code": balanced(images, 5e-3, 0.1) for name, (images, _) in SETS.items()},
    **{f"{name}_tail_100": tail(images, 100, rate) for name, (images, rate) in SETS.items()},
    **{
        f"{name}_balanced_paper": balanced(images, 1e-4, rate, ("uniform",), epochs=20, seeds=3)
        for name, (images, rate) in SETS.items()
    },
    **{f"{name}_tail_10": tail(images, 10, rate, 3) for name, (images, rate) in SETS.items()},
    **{f"{name}_balanced_tuned": tuned(images, rate) for name, (images, rate) in SETS.items()},
}
