"""Explorer of lesson 01: how many ill visitors, and how many healthy ones to each, against the Bayes limit.

The visitors are those of the lesson: two normal measurements, ill around (-1, 0), healthy around (1, 0). The model is
the lesson's too, fitted by scikit-learn; a test holds that both give the same probabilities. It contains the truth, so
whatever it lacks is lack of data. It is judged on a grid with exact weights: no test noise, and no gap below 0.
"""

import math
from dataclasses import dataclass
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from contourpy import contour_generator
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from course_lib.classroom import plots, widgets

FEWEST, MOST, HIGHEST_RATIO = 5, 320, 100
DRAWS, LINES = 20, 10  # training sets of one size; of how many the boundary is drawn
AXIS = np.linspace(-5, 5, 140)  # an even number: no line of the grid lies on the best boundary
TOP = 210  # the picture ends here; a worse model is drawn at its upper edge


@dataclass(frozen=True, eq=False)
class Result:
    """What `DRAWS` training sets of one size gave.

    wrong   (draws,) wrong pairs of 1,000: a healthy visitor with a higher p than an ill one
    scores  (LINES, grid points) log-odds beyond those of the training set: positive where a model calls back, when its
            threshold is the share of the ill
    x, y    the first training set, (N, 2) and (N,)
    """

    ill: int
    healthy: int
    wrong: np.ndarray
    scores: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def gap(self) -> float:
        """Wrong pairs of 1,000 beyond those of the best possible order, on average."""
        return self.wrong.mean() - best_possible()

    @property
    def size(self) -> str:
        return f"{self.ill} ill and {self.healthy:,} healthy"


def features(x: np.ndarray) -> np.ndarray:
    """Both measurements and their three products: (N, 2) -> (N, 5)."""
    a, b = x.T
    return np.stack([a, b, a * a, a * b, b * b], 1)


@cache
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The grid (G, 2) and the share of all healthy and of all ill visitors at each of its points, (G,)."""
    across, up = np.meshgrid(AXIS, AXIS)
    shares = [(norm.pdf(across - middle) * norm.pdf(up)).ravel() for middle in (1, -1)]
    return np.stack([across.ravel(), up.ravel()], 1), *(share / share.sum() for share in shares)


def wrong_pairs(score: np.ndarray) -> float:
    """Of 1,000 pairs of an ill and a healthy visitor, how many a score (G,) puts in the wrong order.

    A grid point counts half of its own pairs.
    """
    _, healthy, ill = world()
    order = np.argsort(score, kind="stable")
    lower = ill[order].cumsum() - ill[order] / 2
    return float(1000 * (healthy[order] @ lower))


@cache
def best_possible() -> float:
    """Wrong pairs of 1,000 when everybody is ranked by the true probability: the Bayes limit of ranking."""
    return wrong_pairs(-world()[0][:, 0])


@cache
def pool(draw: int) -> tuple[np.ndarray, np.ndarray]:
    """All ill and healthy visitors of one draw; smaller sets are their beginnings, so that settings are paired."""
    numbers = (MOST, MOST * HIGHEST_RATIO)
    noise = [np.random.default_rng((draw, k)).standard_normal((n, 2)) for k, n in enumerate(numbers)]
    return noise[0] + (-1, 0), noise[1] + (1, 0)


def training_set(ill: int, healthy: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """x (N, 2) and y (N,): the first `ill` and `healthy` visitors of a draw."""
    x = np.concatenate([part[:n] for part, n in zip(pool(draw), (ill, healthy), strict=True)])
    return x, np.repeat([1, 0], [ill, healthy])


def fitted(x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    """The lesson's model, trained to the end; C = 10 is its price 0.1 on squared weights, for one output, not two."""
    return LogisticRegression(C=10, solver="newton-cholesky").fit(features(x), y)


def compute(ill: float = 40, ratio: float = 10) -> Result:
    """Train on `DRAWS` sets of so many ill visitors and ratio times as many healthy ones, and judge each model.

    Raises ValueError beyond 5 to 320 ill visitors and a ratio of 1 to 100.
    """
    ill, healthy = round(ill), round(round(ill) * ratio)
    if not (FEWEST <= ill <= MOST and ill <= healthy <= ill * HIGHEST_RATIO):
        wanted = f"ill must lie in {FEWEST}..{MOST} and ratio in 1..{HIGHEST_RATIO}"
        raise ValueError(f"{wanted}, got {ill} and {ratio}")
    inputs, even = features(world()[0]), math.log(ill / healthy)
    models = [fitted(*training_set(ill, healthy, draw)) for draw in range(DRAWS)]
    scores = np.stack([model.decision_function(inputs) - even for model in models])
    wrong = np.array([wrong_pairs(score) for score in scores])
    return Result(ill, healthy, wrong, scores[:LINES], *training_set(ill, healthy, 0))


# ---- picture, sentence, numbers ---------------------------------------------------------------------------


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left the visitors and the models' boundaries; right the wrong pairs of every model, and of the setting before."""
    fig = plt.figure(figsize=(9.6, 4.6), layout="none")  # a layout engine takes longer than the fits
    _draw_plane(fig.add_axes((0.01, 0.2, 0.42, 0.62)), result)
    ax = fig.add_axes((0.53, 0.2, 0.46, 0.62))
    best = best_possible()
    ax.axhline(best, color="#9ecae1", linewidth=6, zorder=1)
    ax.text(1.75, best - 4, f"best possible: {best:.0f}", fontsize=13, va="top", ha="right")
    names = ["", ""]
    for place, (when, shown) in enumerate({"before": ghost, "now": result}.items()):
        if shown is not None:
            _draw_dots(ax, place, shown, hollow=shown is ghost)
            mean = f"mean {shown.wrong.mean():.0f}"
            names[place] = f"{when}:\n{shown.ill} ill\n{shown.healthy:,} healthy\n{mean}"
    ax.set(xlim=(-0.5, 1.75), ylim=(60, TOP + 5), yticks=[100, 150, 200])
    ax.set_xticks([0, 1], names, fontsize=12)
    ax.tick_params(axis="x", length=0)
    ax.set_title("wrong pairs of 1,000 (a dot per training set)", fontsize=13, loc="left")
    title = f"{result.size}: {result.gap:.0f} more wrong pairs than the best possible order"
    fig.suptitle(title, x=0.01, y=0.985, ha="left")
    return fig


def _draw_plane(ax, result: Result) -> None:
    healthy, ill = result.x[result.y == 0][:600], result.x[result.y == 1]  # more would hide everything else
    ax.scatter(*healthy.T, s=10, c=plots.HEALTHY, linewidths=0)
    ax.scatter(*ill.T, s=26, c=plots.ILL, marker="^", edgecolors="white", linewidths=0.4, zorder=3)
    ax.axvline(0, color="#9ecae1", linewidth=6, zorder=4)
    grids = (contour_generator(AXIS, AXIS, score.reshape(140, 140)) for score in result.scores)
    lines = [line for grid in grids for line in grid.lines(0.0)]
    ax.add_collection(LineCollection(lines, colors=plots.INK, linewidths=1, zorder=5))
    ax.set(xlim=(-4.2, 4.2), ylim=(-4, 4), xticks=[], yticks=[])
    ax.set_title("triangles: ill, dots: healthy", fontsize=13, loc="left")
    share = f"p = {result.ill}/{result.ill + result.healthy:,}, the share of the ill"
    ax.set_xlabel(f"lines: {share}\nblue: best possible, thin: ten models", fontsize=12)


def _draw_dots(ax, place: float, result: Result, hollow: bool) -> None:
    """One small dot per model, a bar at their mean, and the gap between it and the best possible."""
    shade = plots.REFERENCE if hollow else plots.INK
    beside = place + np.linspace(-0.16, 0.16, DRAWS)
    ax.plot(
        beside, np.minimum(result.wrong, TOP), "o", markersize=5, markeredgecolor=shade, linestyle="none",
        markerfacecolor="none" if hollow else shade, clip_on=False,
    )  # fmt: skip
    mean, best = result.wrong.mean(), best_possible()
    ax.plot([place - 0.24, place + 0.24], [mean] * 2, color=shade, linewidth=3, zorder=4)
    ax.plot([place + 0.28] * 2, [best, mean], color=shade, linewidth=3, zorder=4)
    middle = max((mean + best) / 2, best + 8)
    ax.text(place + 0.32, middle, f"+{result.gap:.0f}", fontsize=15, va="center", color=shade)


def describe(result: Result, previous: Result | None = None) -> str:
    """The setting, its wrong pairs beside the best possible ones, and what the latest move changed."""
    said = (
        f"{result.size}, {result.healthy / result.ill:.3g} healthy to each ill visitor: on average "
        f"{result.wrong.mean():.0f} of 1,000 pairs are in the wrong order, {result.gap:.0f} more than the "
        f"{best_possible():.0f} of the best possible order."
    )
    if previous is None:
        return said
    return f"{said} Before, with {previous.size}, it was {previous.gap:.0f} more."


def table(result: Result) -> pd.DataFrame:
    """Wrong pairs of 1,000: the best possible, and what the models give."""
    wrong = result.wrong
    names = ["best possible order", "models, mean", "gap", "best model", "worst model"]
    numbers = [best_possible(), wrong.mean(), result.gap, wrong.min(), wrong.max()]
    return pd.DataFrame({"wrong pairs of 1,000": numbers}, index=names).round(1)


def explorer() -> widgets.Explorer:
    """Two sliders: how many ill visitors, and how many healthy ones to each of them."""
    controls = {
        # three steps double them, so that 5, 10, 20, 40 ... are among the steps
        "ill": widgets.log_slider("ill visitors", 40, FEWEST, MOST, per_decade=3 / math.log10(2)),
        "ratio": widgets.log_slider("healthy visitors to each ill one", 10, 1, HIGHEST_RATIO),
    }
    return widgets.Explorer(
        compute, draw, describe, controls, table=table,
        title="What makes the order worse: the ratio, or too few ill visitors?",
    )  # fmt: skip
