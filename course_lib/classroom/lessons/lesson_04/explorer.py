"""Explorer of lesson 04: 100 batches as 100 columns, coloured up to what the ill visitors count in each.

Nothing is trained. A pass of shuffled visitors is cut into batches; the weights are those of inverse frequency, so that
the ill were asked to get half of the weight. What they get depends on what the loss of a batch is divided by.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from course_lib.classroom import plots, widgets

BATCHES = 100
WEIGHTS, VISITORS = "weights", "visitors"  # what a batch's loss is divided by
DIVISORS = {WEIGHTS: "the sum of the weights (PyTorch's mean)", VISITORS: "the number of visitors, M"}
ASKED = 0.5  # inverse frequency gives both classes the same weight in the whole training part


@dataclass(frozen=True, eq=False)
class Result:
    """What the ill and the healthy count in each of `BATCHES` batches, most ill visitors first.

    count         (100,) ill visitors in each batch
    ill, healthy  (100,) their part of the training: each batch's weights over its divisor
    """

    batch_size: int
    divide_by: str
    ill_of_100: int
    count: np.ndarray
    ill: np.ndarray
    healthy: np.ndarray

    @property
    def share(self) -> float:
        """What the ill count of the whole pass, in [0, 1]."""
        return float(self.ill.sum() / (self.ill.sum() + self.healthy.sum()))

    @property
    def without(self) -> int:
        """Batches without an ill visitor."""
        return int((self.count == 0).sum())


def compute(batch_size: float = 16, divide_by: str = WEIGHTS, ill_of_100: int = 2, seed: int = 0) -> Result:
    """Shuffle 100 * batch_size visitors, cut them into batches and weigh both classes by inverse frequency.

    Raises ValueError for a batch size below 2, an unknown divisor, or a share outside 1 to 99 of 100.
    """
    M = round(batch_size)
    if M < 2:
        raise ValueError(f"batch_size must be at least 2, got {batch_size}")
    if divide_by not in DIVISORS:
        raise ValueError(f"divide_by must be one of {tuple(DIVISORS)}, got {divide_by!r}")
    if not 1 <= ill_of_100 <= 99:
        raise ValueError(f"ill_of_100 must lie in 1..99, got {ill_of_100}")
    visitors = np.arange(BATCHES * M) < ill_of_100 * M  # as many ill as the share says, exactly
    count = np.random.default_rng(seed).permutation(visitors).reshape(BATCHES, M).sum(1)
    count = -np.sort(-count)
    ill, healthy = count * 50 / ill_of_100, (M - count) * 50 / (100 - ill_of_100)
    divisor = ill + healthy if divide_by == WEIGHTS else M
    return Result(M, divide_by, ill_of_100, count, ill / divisor, healthy / divisor)


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left a column per batch, the ill at its foot; right all batches together, beside the half that was asked."""
    fig = plt.figure(
        figsize=(9.6, 4.2), layout="none"
    )  # places by hand: a layout engine is slower than the rest
    left, right = fig.add_axes((0.075, 0.14, 0.625, 0.66)), fig.add_axes((0.8, 0.14, 0.1, 0.66))
    fig.suptitle(
        f"Batches of {result.batch_size}: of the whole weight the ill get {100 * result.share:.0f} of 100 parts",
        x=0.01, y=0.98, ha="left", fontsize=15,
    )  # fmt: skip
    places = np.arange(BATCHES) + 0.5
    left.bar(places, result.ill, width=2 / 3, color=plots.ILL, label="ill")
    left.bar(places, result.healthy, width=2 / 3, bottom=result.ill, color=plots.HEALTHY, label="healthy")
    top = 1.08 * (result.ill + result.healthy).max()
    if ghost is not None:
        left.step(places, ghost.ill, where="mid", color=plots.INK, linewidth=1.6, label="ill, before")
        top = max(top, 1.08 * ghost.ill.max())
    left.set(xlim=(0, BATCHES), ylim=(0, top), xlabel="100 batches, those with most ill visitors first")
    left.set_ylabel("what a batch counts in the training")
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderpad=0, fontsize=13)
    right.bar(0, result.share, width=0.9, color=plots.ILL)
    right.bar(0, 1 - result.share, width=0.9, bottom=result.share, color=plots.HEALTHY)
    _mark(right, ASKED, "asked", linestyle=plots.DASHED)
    if ghost is not None:
        _mark(right, ghost.share, "before", linestyle="-", side=-1)
    right.set(xlim=(-0.5, 0.5), ylim=(0, 1), xticks=[], xlabel="all together")
    right.set_yticks([0, 1], ["0", "100"])  # parts of the whole weight
    return fig


def _mark(ax, height: float, name: str, *, linestyle, side: int = 1) -> None:
    """A line across the summed column, its name beside it: to the right, or to the left (side -1)."""
    ax.axhline(height, color=plots.INK, linewidth=2, linestyle=linestyle, clip_on=False)
    ax.text(0.58 * side, height, name, ha="left" if side > 0 else "right", va="center", fontsize=13)


def describe(result: Result, previous: Result | None = None) -> str:
    """How many batches hold no ill visitor, what share of the weight the ill get, and what it was before."""
    said = (
        f"Batches of {result.batch_size} visitors, {result.ill_of_100} of 100 ill, divided by "
        f"{DIVISORS[result.divide_by]}: {result.without} of 100 batches hold no ill visitor. "
        f"Of the whole weight the ill get {100 * result.share:.0f} of 100 parts; 50 were asked."
    )
    return said if previous is None else f"{said} Before, they got {100 * previous.share:.0f}."


def table(result: Result) -> pd.DataFrame:
    """A row for every number of ill in a batch: how many batches hold so many, and what both classes count in one."""
    kinds, first = np.unique(-result.count, return_index=True)
    columns = {
        "ill in the batch": -kinds,
        "batches": [int((result.count == -kind).sum()) for kind in kinds],
        "the ill count": result.ill[first].round(2),
        "the healthy count": result.healthy[first].round(2),
    }
    return pd.DataFrame(columns)


def explorer() -> widgets.Explorer:
    """Three controls: the batch size, what a batch's loss is divided by, and how many visitors are ill."""
    controls = {
        "batch_size": widgets.log_slider("batch size M (visitors)", 16, 4, 512, per_decade=1 / np.log10(2)),
        "divide_by": widgets.choice("a batch's loss is divided by", DIVISORS),
        "ill_of_100": widgets.slider("ill visitors (of 100)", 2, 1, 50, 1),
    }
    return widgets.Explorer(
        compute, draw, describe, controls, table=table, title="Do the weights give the ill half of the say?"
    )
