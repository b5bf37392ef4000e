"""Lesson 09: what the mixing rate and wrong labels in one class do to learn2mix, and training that can be watched."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import data, metrics, training
from course_lib.classroom import live, plots, widgets
from course_lib.data import Split
from course_lib.learn2mix import Learn2Mix
from course_lib.recipes import RECIPES, Budget
from course_lib.sampling import ClassMixBatchSampler

NAMES, COUNTS = ("cold", "flu", "measles"), (600, 300, 100)
PRIOR, EQUAL = (0.6, 0.3, 0.1), (1 / 3, 1 / 3, 1 / 3)
CENTRES = torch.tensor([[-1.5, 0.9], [0.0, -1.7], [1.5, 0.9]])
FLU = 1


class Result(NamedTuple):
    """Of one setting: path (31, 3) of the mix, class-wise losses of the last round, who is called what (3, 3) of 100.

    Rows of `called` are the truth, columns the answer; `uniform` is the same of a mix that stays at a third each.
    """

    wrong: float
    path: np.ndarray
    class_loss: np.ndarray
    called: np.ndarray
    uniform: np.ndarray


def clinic(wrong: Sequence[float], seed: int = 0, spread: Sequence[float] = (1, 1, 1)) -> tuple[Tensor, ...]:
    """1,000 training records x (N, 2), y (N,), and 6,000 test records whose labels are all right.

    wrong   per illness, the share of its training labels that is wrong; half of these people have each other illness
    spread  standard deviation of each illness
    """
    torch.manual_seed(seed)
    y = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))
    truth, first = y.clone(), 0
    for k, count in enumerate(COUNTS):
        half, others = round(wrong[k] * count / 2), [j for j in range(3) if j != k]
        truth[first : first + 2 * half] = torch.tensor(others).repeat_interleave(half)
        first += count
    width = torch.tensor(spread, dtype=torch.float32)[:, None]
    x = CENTRES[truth] + width[truth] * torch.randn(1000, 2)
    test_y = torch.arange(3).repeat_interleave(2000)
    return x, y, CENTRES[test_y] + width[test_y] * torch.randn(6000, 2), test_y


@functools.lru_cache(256)
def trained(wrong: tuple, spread: tuple, mix: tuple, mixing_rate: float, seed: int):
    """30 rounds of 5 batches of 64: path (31, 3) of the mix, losses (3,) of the last round, called (3, 3) of 100."""
    x, y, test_x, test_y = clinic(wrong, seed, spread)
    torch.manual_seed(seed)
    model = nn.Linear(2, 3)
    control = Learn2Mix(mix, mixing_rate)
    sampler = ClassMixBatchSampler(y, 64, mix, batches_per_epoch=5, seed=seed)
    loader, path = training.SplitLoader(Split(x, y, y), sampler), [control.mix]

    def follow(stats: training.RoundStats) -> None:
        path.append(control.update(stats.class_loss, stats.class_count))
        sampler.set_mix(path[-1])

    adam = torch.optim.Adam(model.parameters(), lr=0.05)
    history = training.fit(model, loader, F.cross_entropy, adam, rounds=30, num_groups=3, on_round_end=follow)
    answers = training.predict(model, test_x).argmax(1)
    called = metrics.confusion(test_y, answers, 3).double().numpy() / 20  # 2,000 of each
    return torch.stack(path).numpy(), history[-1].class_loss.numpy(), called


def compute(mixing_rate: float, wrong: float, seed: int = 0) -> Result:
    """One setting of the explorer."""
    labels, spread = (0, wrong, 0), (1, 1, 1)
    mine, rival = trained(labels, spread, PRIOR, mixing_rate, seed), trained(labels, spread, EQUAL, 0.0, seed)
    return Result(wrong, *mine, rival[2])


def against_uniform(
    wrong: Sequence[float] = (0, 0, 0), spread: Sequence[float] = (1, 1, 1)
) -> tuple[np.ndarray, np.ndarray]:
    """Of 100, learn2mix minus uniform with 5 seeds: recalls (5, 3) and worst recall (5,)."""
    mine, rival = (
        np.array([trained(tuple(wrong), tuple(spread), *how, seed)[2].diagonal() for seed in range(5)])
        for how in ((PRIOR, 0.2), (EQUAL, 0.0))
    )
    return mine - rival, mine.min(1) - rival.min(1)


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left, the path of the mix in the triangle of shares; right, people found of 100, beside uniform's."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.6), width_ratios=(1.25, 1), layout="constrained")
    _triangle(left, result, ghost)
    for called, name, size, below in (
        (result.uniform, "uniform", 14, 20),
        (result.called, "learn2mix", 17, -20),
    ):
        found, look = called.diagonal(), plots.look(name)
        right.plot(found, range(3), look.marker, color=look.color, markersize=size, label=look.label, **EDGE)
        for row, number in enumerate(found):
            right.annotate(f"{number:.0f}", (number, row), (0, below), ha="center", **BESIDE)
    if ghost is not None:
        grey = {"color": plots.REFERENCE, "markersize": 10, "linestyle": "none", "label": "learn2mix before"}
        right.plot(ghost.called.diagonal(), np.arange(3) + 0.2, "*", **grey)
    right.hlines(
        range(3), result.called.diagonal(), result.uniform.diagonal(), color=plots.INK, linewidth=1, zorder=1
    )
    right.set_yticks(range(3), NAMES, fontsize=13)
    right.set(
        xlim=(20, 102), ylim=(2.5, -0.5), xlabel=f"found, of 100 with this illness\n{_flu_by_mistake(result)}"
    )
    right.legend(
        loc="lower left",
        bbox_to_anchor=(-0.05, 1),
        ncols=3,
        fontsize=11,
        handletextpad=0.1,
        columnspacing=0.8,
    )
    return fig


EDGE = {"markeredgecolor": "black", "linestyle": "none"}
BESIDE = {"textcoords": "offset points", "va": "center", "fontsize": 12}


def _triangle(ax: Axes, result: Result, ghost: Result | None) -> None:
    """The paths of the mix, now and before, and the place of the uniform mix."""
    star, flag, ground = plots.look("learn2mix"), plots.look("uniform"), "#f7f7f7"
    ax.fill(*plots.simplex_points(np.eye(3)).T, facecolor=ground, edgecolor=plots.INK, linewidth=1.2)
    for corner, name, up in zip(np.eye(3), NAMES, (-0.07, -0.07, 0.07), strict=True):
        ax.text(*plots.simplex_points(corner) + [0, up], f"all {name}", ha="center", va="center", fontsize=13)
    if ghost is not None:
        before = {"color": plots.REFERENCE, "linestyle": plots.DOTTED}
        ax.plot(*plots.simplex_points(ghost.path).T, **before)
    path, middle = plots.simplex_points(result.path), plots.simplex_points(EQUAL)
    ax.plot(*path.T, color=star.color)
    ax.plot(*path[0], "o", color=star.color, markerfacecolor="white", markersize=8)
    ax.plot(*middle, flag.marker, color=flag.color, markersize=11, **EDGE)
    ax.plot(*path[-1], star.marker, color=star.color, markersize=17, **EDGE)
    ax.annotate("start", path[0], (-9, 0), ha="right", **BESIDE)
    ax.annotate("uniform", middle, (-4, 14), ha="center", **BESIDE)
    box = {"facecolor": ground, "edgecolor": "none", "alpha": 0.8, "pad": 1}
    ax.annotate(f"{result.path[-1][FLU]:.0%} flu", path[-1], (24, -12), ha="left", bbox=box, **BESIDE)
    ax.set(aspect="equal", xlim=(-0.1, 1.1), ylim=(-0.1, 0.95), title="the mix, round by round")
    ax.axis("off")


def false_flu(called: np.ndarray) -> float:
    """Of 100 people without flu, half of them with each other illness, how many are called flu."""
    return float((called[0, FLU] + called[2, FLU]) / 2)


def _flu_by_mistake(result: Result) -> str:
    mine, rival = false_flu(result.called), false_flu(result.uniform)
    return f"called flu, of 100 without it: {mine:.0f} (uniform: {rival:.0f})"


def describe(result: Result, previous: Result | None = None) -> str:
    """Which share flu gets, how many of each illness are found beside uniform, and what changed."""
    found = zip(NAMES, result.called.diagonal(), result.uniform.diagonal(), strict=True)
    said = (
        f"With {result.wrong:.0%} wrong flu labels the mix ends with {result.path[-1][FLU]:.0%} flu (uniform: 33%). "
        f"Found of 100: {', '.join(f'{name} {mine:.0f} (uniform: {rival:.0f})' for name, mine, rival in found)}; "
        f"{_flu_by_mistake(result)}."
    )
    if previous is None:
        return said
    return (
        f"{said} Before this move flu had {previous.path[-1][FLU]:.0%}, and "
        f"{previous.called[2, 2]:.0f} of 100 with measles were found; now {result.called[2, 2]:.0f}."
    )


def table(result: Result) -> pd.DataFrame:
    """The picture's numbers, one row per illness."""
    columns = {
        "share at start": result.path[0], "share at end": result.path[-1], "loss at end": result.class_loss,
        "found of 100": result.called.diagonal(), "found of 100, uniform": result.uniform.diagonal(),
    }  # fmt: skip
    return pd.DataFrame(columns, index=list(NAMES)).round(2)


RATE = "mixing rate (part of the way per round)"


def explorer() -> widgets.Explorer:
    """Mixing rate and wrong labels in one illness."""
    controls = {
        "mixing_rate": widgets.slider(RATE, 0.2, 0.0, 1.0, 0.05),
        "wrong": widgets.slider("wrong flu labels (share)", 0.4, 0.0, 0.6, 0.05),
    }
    title = "Does a high loss ask for more data?"
    return widgets.Explorer(compute, draw, describe, controls, table=table, title=title, continuous=False)


def session(learning_rate: float, mixing_rate: float, *, rounds: int = 120, pace: float = 0.04):
    """learn2mix on the long-tailed digits, ready to be trained round by round."""
    adam = functools.partial(torch.optim.Adam, lr=learning_rate)
    budget = Budget(steps=6 * rounds, batch_size=32, optimizer=adam, steps_per_round=6)
    return live.RecipeSession(
        RECIPES["learn2mix"].vary(mixing_rate=mixing_rate), data.digits(20), budget, pace=pace
    )


def panel(**options) -> live.LivePanel:
    """Start, pause, step and steer learn2mix on the ten digits; nothing trains before a button is pressed."""
    controls = {
        "learning_rate": widgets.log_slider("learning rate", 0.001, 1e-4, 0.1),
        "mixing_rate": widgets.slider(RATE, 0.1, 0.0, 1.0, 0.05),
    }
    return live.LivePanel(
        lambda values: session(**values, **options), [f"digit {k}" for k in range(10)],
        controls=controls, title="Ten digits learn: who gets the next batch?", still_rounds=40,
    )  # fmt: skip
