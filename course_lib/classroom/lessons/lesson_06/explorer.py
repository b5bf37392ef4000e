"""Explorer of lesson 06: what SMOTE makes of a few islands of ill people, and what a report claims and what is true.

The ill live on four islands in the plane, the healthy everywhere. The truth is known, so each synthetic point can be
asked how probable an ill person is at its place. People are ranked by how dense the ill are around them, divided by how
dense the healthy are: a ranking that copies of the ill cannot change.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from course_lib.classroom import plots, widgets
from course_lib.resampling import interpolate, nearest_neighbours

ISLANDS, HEALTHY_EACH, PREVALENCE = 4, 10, 1 / 11  # ten healthy people for each ill one
CENTRES = 2.5 * np.array([[1, 0.4], [-0.4, 1], [-1, -0.4], [0.4, -1]])
WIDE, NARROW = 2.0, 0.5  # standard deviations of the healthy and of an island
DRAWS, FRESH, BLUR = (
    8,
    25,
    0.7,
)  # draws of people; fresh ill an island that judge; width of the kernel that ranks
SPLIT, SMOTE = "split", "smote"  # what comes first
ORDERS = {SPLIT: "split first, then SMOTE", SMOTE: "SMOTE first, then split"}
ROWS = ("the report says", "true, with SMOTE", "true, without SMOTE")


@dataclass(frozen=True, eq=False)
class Result:
    """What SMOTE made in the first draw, and the means over all draws.

    healthy, ill, made  (., 2) points; truth (len(made),) the true probability of being ill at each synthetic point
    astray              share of synthetic points where the ill are rarer than on average
    pairs               (3,) of 100 pairs of an ill and a healthy person in the right order, as in ROWS
    """

    members: int
    k: int
    order: str
    healthy: np.ndarray
    ill: np.ndarray
    made: np.ndarray
    truth: np.ndarray
    astray: float
    pairs: np.ndarray


def people(members: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`members` ill people an island and ten times as many healthy ones: (N, 2) and (N,)."""
    count = ISLANDS * members
    ill = np.repeat(CENTRES, members, axis=0) + NARROW * rng.normal(size=(count, 2))
    healthy = WIDE * rng.normal(size=(HEALTHY_EACH * count, 2))
    return np.concatenate([healthy, ill]), np.repeat([0, 1], [len(healthy), len(ill)])


def posterior(x: np.ndarray) -> np.ndarray:
    """The true probability of being ill at the places x (N, 2), of people as in the data: (N,)."""
    ill = np.mean([multivariate_normal(centre, NARROW**2).pdf(x) for centre in CENTRES], axis=0)
    healthy = multivariate_normal([0, 0], WIDE**2).pdf(x)
    return PREVALENCE * ill / (PREVALENCE * ill + (1 - PREVALENCE) * healthy)


def synthetic(ill: np.ndarray, count: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """`count` points by SMOTE, (count, 2)."""
    x = torch.tensor(ill)
    base, choice = rng.integers(len(ill), size=count), rng.integers(k, size=count)
    partner = nearest_neighbours(x, k)[base, choice]
    return interpolate(x, torch.tensor(base), partner, torch.tensor(rng.random(count))).numpy()


def _pairs(train: tuple, *tests: tuple) -> list[float]:
    """Of 100 pairs in each test part, those in the right order: by the density of the ill over that of the healthy."""
    x, y = train
    right = []
    for points, truth in tests:
        kernel = np.exp(-cdist(points, x, "sqeuclidean") / (2 * BLUR**2))
        score = kernel[:, y == 1].mean(1) / (kernel[:, y == 0].mean(1) + 1e-12)
        right.append(100 * roc_auc_score(truth, score))
    return right


def compute(members: int = 3, k: int = 5, order: str = SPLIT) -> Result:
    """Draw people, resample, rank: eight times, so that one lucky draw does not decide.

    members  ill people an island in the training part; the test part has as many. 2 to 20
    k        neighbours that SMOTE chooses from, 1 to 7
    Raises ValueError for a setting out of range.
    """
    for name, value, low, high in (("members", members, 2, 20), ("k", k, 1, 7)):
        if not low <= value <= high:
            raise ValueError(f"{name} must lie in {low}..{high}, got {value}")
    if order not in ORDERS:
        raise ValueError(f"order must be one of {tuple(ORDERS)}, got {order!r}")
    astray, pairs, first = [], [], None
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        train, test = people(members, rng), people(members, rng)
        fresh = people(FRESH, rng)
        parts = (train,) if order == SPLIT else (train, test)
        x, y = (np.concatenate(part) for part in zip(*parts))
        made = synthetic(x[y == 1], int((y == 0).sum() - (y == 1).sum()), k, rng)
        full = np.concatenate([x, made]), np.concatenate([y, np.ones(len(made), int)])
        if order == SMOTE:  # everybody, real or made, is dealt to the two parts by chance
            place = rng.permutation(len(full[0]))
            half = len(place) // 2
            full, test = ([part[rows] for part in full] for rows in (place[:half], place[half:]))
        pairs.append([*_pairs(full, test, fresh), *_pairs((x, y), fresh)])
        truth = posterior(made)
        astray.append((truth < PREVALENCE).mean())
        first = first or (x[y == 0], x[y == 1], made[:150], truth[:150])
    return Result(members, k, order, *first, float(np.mean(astray)), np.mean(pairs, axis=0))


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left the people and what SMOTE made of them; right the report beside the truth."""
    fig = plt.figure(figsize=(9.6, 4.6), layout="none")
    left, bar = fig.add_axes((0.06, 0.13, 0.38, 0.66)), fig.add_axes((0.455, 0.13, 0.015, 0.66))
    right = fig.add_axes((0.755, 0.13, 0.18, 0.66))
    fig.suptitle(
        f"{result.members} ill an island, k = {result.k}, {ORDERS[result.order]}:\n"
        f"{100 * result.astray:.0f} of 100 synthetic points lie where the ill are rarer than on average",
        x=0.01, y=0.985, ha="left", fontsize=13,
    )  # fmt: skip
    left.scatter(*result.healthy.T, s=9, color=plots.HEALTHY, alpha=0.6, linewidth=0)
    points = left.scatter(
        *result.made.T, s=26, c=result.truth, cmap="cividis_r", vmin=0, vmax=0.7,
        edgecolor=plots.INK, linewidth=0.4, zorder=3,
    )  # fmt: skip
    left.scatter(*result.ill.T, s=60, marker="^", color=plots.ILL, edgecolor="white", linewidth=0.8, zorder=4)
    left.set(xlim=(-4.6, 4.6), ylim=(-4.6, 4.6), xlabel="first measurement", ylabel="second measurement")
    left.set_title("triangle: ill; grey: healthy; circle: synthetic", fontsize=11)
    scale = fig.colorbar(points, cax=bar)
    scale.set_ticks([0, PREVALENCE, 0.35, 0.7], labels=["0", "1/11", "0.35", "0.7"])  # 1/11: the average
    scale.set_label("true probability of being ill", fontsize=11, labelpad=2)
    colors = (plots.INK, plots.ORANGE, plots.BLACK)
    for row, (value, color, marker) in enumerate(zip(result.pairs, colors, "spo")):
        right.plot(value, row, marker, color=color, markersize=11)
        if ghost is not None:
            right.plot(ghost.pairs[row], row, "D", markerfacecolor="none", color=plots.INK, markersize=13)
        right.annotate(
            f"{value:.0f}", (1.04, row), xycoords=("axes fraction", "data"), va="center", fontsize=13
        )
    right.set(xlim=(50, 100), ylim=(2.5, -0.5), xlabel="right pairs of 100", xticks=[50, 75, 100])
    right.set_yticks(range(3), ROWS, fontsize=12)
    right.grid(axis="y", color="#dddddd")
    right.set_title("how well is it ranked?" if ghost is None else "diamond: before", fontsize=11)
    return fig


def describe(result: Result, previous: Result | None = None) -> str:
    """The share of points that went astray, the report and the truth, and what these were before."""
    claimed, true, plain = result.pairs
    said = (
        f"{result.members} ill people an island, k = {result.k}, {ORDERS[result.order]}: "
        f"{100 * result.astray:.0f} of 100 synthetic points lie where the ill are rarer than on average. "
        f"The report says {claimed:.0f} right pairs of 100. "
        f"True are {true:.0f} with SMOTE and {plain:.0f} without."
    )
    if previous is None:
        return said
    return (
        f"{said} Before: {100 * previous.astray:.0f} astray, report {previous.pairs[0]:.0f}, "
        f"true {previous.pairs[1]:.0f} and {previous.pairs[2]:.0f}."
    )


def table(result: Result) -> pd.DataFrame:
    """A row per number in the picture."""
    names = ["astray: synthetic points of 100 where the ill are rarer than on average"]
    names += [f"{row}, right pairs of 100" for row in ROWS]
    return pd.DataFrame({"what": names, "number": np.round([100 * result.astray, *result.pairs], 1)})


def explorer() -> widgets.Explorer:
    """Three controls: the ill of an island, the neighbours, and what comes first."""
    controls = {
        "members": widgets.slider("ill people on an island (training part)", 3, 2, 10, 1),
        "k": widgets.slider("k, the neighbours to choose from", 5, 1, 7, 1),
        "order": widgets.choice("what comes first", ORDERS),
    }
    return widgets.Explorer(
        compute,
        draw,
        describe,
        controls,
        table=table,
        title="Where do the new points lie, and what do they tell?",
    )
