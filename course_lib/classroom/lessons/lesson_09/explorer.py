"""Lesson 09: what a mixing rate and wrong labels in one class do to learn2mix, and training that can be watched."""

import functools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from course_lib import data, metrics, training
from course_lib import recipes as runs
from course_lib.classroom import live, plots, widgets
from course_lib.learn2mix import Learn2Mix
from course_lib.recipes import RECIPES

NAMES = ("common", "noisy", "rare")
PRIOR = (0.6, 0.3, 0.1)
# Neighbours are 3 apart: with correct labels nine in ten are right.
CENTRES = tuple((math.sqrt(3) * math.cos(a), math.sqrt(3) * math.sin(a)) for a in (2.6, -1.57, 0.5))
NOISY, EQUAL = 1, (1 / 3, 1 / 3, 1 / 3)
BUDGET = runs.Budget(150, 64, partial(torch.optim.Adam, lr=0.05), steps_per_round=5)


class Result(NamedTuple):
    """Of one setting: path (rounds + 1, 3) of the mix, class-wise losses of the last round, recalls on true labels."""

    mixing_rate: float
    label_noise: float
    path: np.ndarray
    class_loss: np.ndarray
    recall: np.ndarray
    uniform_recall: np.ndarray


# ---- the sums ---------------------------------------------------------------------------------------------


@functools.lru_cache(64)
def make_task(label_noise: float = 0.0, std: Sequence[float] = (1.0, 1.0, 1.0), seed: int = 0) -> data.Task:
    """Three round classes; this share of the training examples that say "noisy" truly comes from the two others.

    std  of the three classes, a tuple. Validation and test keep true labels.
    """
    task = data.gaussian_classes(PRIOR, means=CENTRES, std=std, num_train=1000, num_held=6000, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = task.train.x.clone(), task.train.y
    wrong = (y == NOISY).nonzero().flatten()  # the rows come in random order
    wrong = wrong[: round(label_noise * len(wrong))]
    for other, rows in zip((0, 2), wrong.split(math.ceil(len(wrong) / 2) or 1), strict=False):
        source = (y == other).nonzero().flatten()
        x[rows] = x[source[torch.randint(len(source), (len(rows),), generator=generator)]]
    return replace(task, train=data.Split(x, y, y), group_names=NAMES)


def train(
    task: data.Task, mixing_rate: float, mix: Sequence[float] | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Path of the mix, last class-wise losses and test recalls of a linear model; mix is where it starts (prior)."""
    run = runs.start(RECIPES["plain"], task, BUDGET, seed)
    control = Learn2Mix(run.prior if mix is None else mix, mixing_rate)
    run.sampler.set_mix(control.mix)
    loader, optimizer = (
        training.SplitLoader(task.train, run.sampler),
        BUDGET.optimizer(run.model.parameters()),
    )
    path = [control.mix]
    for stats in training.rounds(
        run.model, loader, F.cross_entropy, optimizer, num_groups=3, rounds=run.num_rounds
    ):
        path.append(control.update(stats.class_loss, stats.class_count))
        run.sampler.set_mix(path[-1])
    predicted = training.predict(run.model, task.test.x).argmax(1)
    recall = metrics.per_class_recall(task.test.y, predicted, 3)
    return torch.stack(path).numpy(), stats.class_loss.numpy(), np.asarray(recall)


@functools.lru_cache(64)
def uniform_recall(label_noise: float, std: Sequence[float] = (1.0, 1.0, 1.0), seed: int = 0) -> np.ndarray:
    """Recalls (3,) of a mix that stays uniform."""
    return train(make_task(label_noise, std, seed), 0.0, EQUAL, seed)[2]


def compute(mixing_rate: float, label_noise: float, seed: int = 0) -> Result:
    """One setting of the explorer."""
    trained = train(make_task(label_noise, seed=seed), mixing_rate, seed=seed)
    return Result(mixing_rate, label_noise, *trained, uniform_recall(label_noise, seed=seed))


def against_uniform(
    std: Sequence[float], seeds: Sequence[int] = range(5), mixing_rate: float = 0.2
) -> Tensor:
    """learn2mix minus uniform on correct labels, one row per seed: worst recall, balanced accuracy."""
    std, rows = tuple(std), []
    for seed in seeds:
        mine = train(make_task(0.0, std, seed), mixing_rate, seed=seed)[2]
        rival = uniform_recall(0.0, std, seed)
        rows.append([mine.min() - rival.min(), mine.mean() - rival.mean()])
    return torch.tensor(rows)


# ---- the picture, the sentence, the table -----------------------------------------------------------------


def draw(result: Result, ghost: Result | None) -> Figure:
    """Left, the path of the mix in the triangle of shares; right, recall per class beside uniform's."""
    fig, (triangle, rows) = plt.subplots(1, 2, figsize=(9.2, 4.2), layout="constrained")
    corners, star, flag = plots.simplex_points(np.eye(3)), plots.look("learn2mix"), plots.look("uniform")
    triangle.fill(*corners.T, facecolor="#f7f7f7", edgecolor=plots.INK, linewidth=1.2)
    for corner, name, up in zip(corners, NAMES, (-0.04, -0.04, 0.03), strict=True):
        triangle.text(
            *corner + [0, up], f"all {name}", ha="center", va="bottom" if up > 0 else "top", fontsize=13
        )
    if ghost is not None:
        triangle.plot(*plots.simplex_points(ghost.path).T, color=plots.REFERENCE, linestyle=plots.DOTTED)
    path = plots.simplex_points(result.path)
    triangle.plot(*path.T, color=star.color)
    triangle.plot(*path[0], "o", color=star.color, markerfacecolor="white", markersize=8)
    triangle.plot(
        *plots.simplex_points(EQUAL), flag.marker, color=flag.color, markersize=11, markeredgecolor="black"
    )
    triangle.plot(*path[-1], star.marker, color=star.color, markersize=17, markeredgecolor="black")
    triangle.annotate(
        "start", path[0], (-9, 0), textcoords="offset points", ha="right", va="center", fontsize=13
    )
    triangle.set(aspect="equal", xlim=(-0.16, 1.16), ylim=(-0.12, 0.97), title="class mix, round by round")
    triangle.axis("off")
    for recall, style in ((result.uniform_recall, flag), (result.recall, star)):
        rows.plot(recall, range(3), style.marker, color=style.color, markersize=14, markeredgecolor="black",
                  linestyle="none", label=style.label)  # fmt: skip
    if ghost is not None:
        rows.plot(ghost.recall, np.arange(3) + 0.18, "*", color=plots.REFERENCE, markersize=10, linestyle="none",
                  label="learn2mix before")  # fmt: skip
    rows.hlines(range(3), result.recall, result.uniform_recall, color=plots.INK, linewidth=1, zorder=1)
    rows.set_yticks(range(3), NAMES, fontsize=13)
    rows.set(xlim=(0.2, 1.02), ylim=(2.5, -0.5), xlabel="recall on true test labels")
    where = {"loc": "lower left", "bbox_to_anchor": (-0.05, 1.0), "ncols": 3}
    rows.legend(**where, fontsize=11, handletextpad=0.1, columnspacing=0.8)
    return fig


def describe(result: Result, previous: Result | None) -> str:
    """What the noisy class gets and what the classes pay, and what changed."""
    share = result.path[-1][NOISY]
    gaps = zip(NAMES, result.recall - result.uniform_recall, strict=True)
    said = (
        f"With {result.label_noise:.0%} wrong labels the noisy class ends with {share:.1%} of the batch "
        f"(uniform: 33.3%). Recall against uniform: {', '.join(f'{name} {gap:+.3f}' for name, gap in gaps)}."
    )
    if previous is None:
        return said
    return (
        f"{said} Its share was {previous.path[-1][NOISY]:.1%} before; "
        f"recall of rare went from {previous.recall[2]:.3f} to {result.recall[2]:.3f}."
    )


def table(result: Result) -> pd.DataFrame:
    """The picture's numbers, one row per class."""
    columns = {
        "share at start": result.path[0], "share at end": result.path[-1], "loss at end": result.class_loss,
        "recall, learn2mix": result.recall, "recall, uniform": result.uniform_recall,
    }  # fmt: skip
    return pd.DataFrame(columns, index=list(NAMES)).round(3)


def explorer() -> widgets.Explorer:
    """Mixing rate and wrong labels in one class."""
    controls = {
        "mixing_rate": widgets.slider("mixing rate (share of the way per round)", 0.2, 0.0, 1.0, 0.05),
        "label_noise": widgets.slider('wrong labels among "noisy" (share)', 0.4, 0.0, 0.6, 0.05),
    }
    return widgets.Explorer(
        compute, draw, describe, controls, table=table, title="Does a high loss ask for more data?", continuous=False,
    )  # fmt: skip


# ---- training that can be watched -------------------------------------------------------------------------


class Session:
    """learn2mix on the long-tailed digits, its two rates changeable between rounds; what `live.LivePanel` runs.

    pace  seconds that a round waits, so that an eye can follow and a hand can steer
    """

    def __init__(
        self,
        learning_rate: float,
        mixing_rate: float,
        *,
        rounds: int = 120,
        pace: float = 0.04,
        seed: int = 0,
    ) -> None:
        budget = runs.Budget(6 * rounds, 32, partial(torch.optim.Adam, lr=learning_rate), steps_per_round=6)
        self.run = runs.start(RECIPES["learn2mix"], data.digits(20, seed=seed), budget, seed)
        self.control = Learn2Mix(self.run.prior, mixing_rate)
        self.optimizer = budget.optimizer(self.run.model.parameters())
        self.pace, self.rounds = pace, self._rounds()

    def _rounds(self) -> Iterator[training.RoundStats]:
        run = self.run
        for stats in training.rounds(
            run.model, training.SplitLoader(run.train, run.sampler), run.loss, self.optimizer,
            num_groups=run.task.num_groups, rounds=run.num_rounds,
        ):  # fmt: skip
            run.sampler.set_mix(self.control.update(stats.class_loss, stats.class_count))
            time.sleep(self.pace)
            yield stats

    @property
    def mix(self) -> Tensor:
        """(K,) shares of the coming round."""
        return self.run.sampler.mix

    def set(self, name: str, value: float) -> None:
        """A new learning_rate or mixing_rate, from the next round on."""
        if name == "mixing_rate":
            self.control.mixing_rate = value
        elif name == "learning_rate":
            for group in self.optimizer.param_groups:
                group["lr"] = value
        else:
            raise ValueError(f"name must be 'learning_rate' or 'mixing_rate', got {name!r}")


def panel(**options) -> live.LivePanel:
    """Start, pause, step and steer learn2mix on the ten digits; nothing trains before a button is pressed."""
    names = [f"digit {k}" for k in range(10)]
    controls = {
        "learning_rate": widgets.log_slider("learning rate", 0.001, 1e-4, 0.1),
        "mixing_rate": widgets.slider("mixing rate (share of the way per round)", 0.1, 0.0, 1.0, 0.05),
    }
    title = "Ten digits learn: who gets the next batch?"
    return live.LivePanel(lambda values: Session(**values, **options), names, controls=controls, title=title)
