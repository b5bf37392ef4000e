"""Explorer of lesson 11: studies that compare two copies of one method, and how many of them announce a winner.

The differences are made of normal random numbers. Each seed is a pair of trainings, each look another measure or
another test set: all looks are independent here, which is the worst case. The truth is always 0.
"""

from dataclasses import dataclass
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from course_lib.classroom import plots, widgets

STUDIES, SPREAD = 1000, 4.7  # of one pair, in frauds of 100: that of plain and its copy in the lesson
SEEDS, MOST_LOOKS, SHOWN = (3, 5, 10, 20, 50), 20, 20
BOLD, INTERVAL, HOLM = "bold", "interval", "holm"
JUDGES = {
    BOLD: "the larger mean wins",
    INTERVAL: "the 95 % interval leaves out 0",
    HOLM: "Holm's correction for all looks",
}


@dataclass(frozen=True, eq=False)
class Result:
    """1,000 studies of two copies, X and Y, and one of them in detail.

    mean, half   (looks,) mean difference Y - X of each look of this study, and half of its 95 % interval
    reported     the look that stands in the table: the one with the smallest p
    won          (1000,) who is announced: 1 for Y, -1 for X, 0 for nobody
    claimed      mean size of the differences that are announced as a winner's; 0 where there is none
    """

    seeds: int
    looks: int
    judge: str
    study: int
    mean: np.ndarray
    half: np.ndarray
    reported: int
    won: np.ndarray
    claimed: float

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of 100 studies: X wins, nobody wins, Y wins."""
        return tuple(100 * float((self.won == who).mean()) for who in (-1, 0, 1))

    @property
    def winner(self) -> str:
        """Who wins in the study that is shown."""
        return {-1: "X", 0: "nobody", 1: "Y"}[int(self.won[self.study - 1])]


@cache
def differences(seeds: int) -> np.ndarray:
    """(1000, 20, seeds) differences of two copies: study, look, seed."""
    return np.random.default_rng(seeds).normal(0, SPREAD, (STUDIES, MOST_LOOKS, seeds))


def compute(seeds: int = 5, looks: int = 1, judge: str = BOLD, study: int = 1) -> Result:
    """Raises ValueError for a setting that is not offered."""
    for name, value, offered in (("seeds", seeds, SEEDS), ("judge", judge, JUDGES)):
        if value not in offered:
            raise ValueError(f"{name} must be one of {tuple(offered)}, got {value!r}")
    for name, value, most in (("looks", looks, MOST_LOOKS), ("study", study, SHOWN)):
        if value not in range(1, most + 1):
            raise ValueError(f"{name} must be a whole number from 1 to {most}, got {value!r}")
    gaps = differences(seeds)[:, :looks]
    mean = gaps.mean(2)
    error = gaps.std(2, ddof=1) / seeds**0.5
    best = np.abs(mean / error).argmax(1)  # the smallest p
    rows = np.arange(STUDIES)
    p = 2 * stats.t.sf(np.abs(mean / error)[rows, best], seeds - 1)
    limit = {BOLD: 1.0, INTERVAL: 0.05, HOLM: 0.05 / looks}[judge]
    won = np.where(p <= limit, np.sign(mean[rows, best]), 0)
    announced = np.abs(mean[rows, best])[won != 0]
    shown = study - 1
    half = stats.t.ppf(0.975, seeds - 1) * error[shown]
    claimed = float(announced.mean()) if len(announced) else 0.0
    return Result(seeds, looks, judge, study, mean[shown], half, int(best[shown]), won, claimed)


def headline(result: Result) -> str:
    gain = abs(result.mean[result.reported])
    return f"Study {result.study}: nobody wins" if result.winner == "nobody" else (
        f"Study {result.study}: {result.winner} wins by {gain:.1f} of 100"
    )  # fmt: skip


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left the looks of one study, the reported one dark; right who wins in 100 such studies."""
    fig = plt.figure(figsize=(9.6, 4.6), layout="none")
    left, right = fig.add_axes((0.07, 0.2, 0.52, 0.58)), fig.add_axes((0.72, 0.2, 0.25, 0.58))
    fig.suptitle(headline(result), x=0.01, y=0.98, ha="left", fontsize=15)
    left.axvline(0, color=plots.REFERENCE, linewidth=1.6)
    for look, (mean, half) in enumerate(zip(result.mean, result.half, strict=True)):
        color = plots.INK if look == result.reported else "#b5b5b5"
        left.plot([mean - half, mean + half], [look] * 2, color=color, linewidth=2.5)
        left.plot(mean, look, "o", color=color, markersize=8)
    reach = max(15.0, float((np.abs(result.mean) + result.half).max()))
    left.set(xlim=(-reach, reach), ylim=(max(result.looks, 4) - 0.4, -0.6), yticks=[])
    left.set_xlabel("frauds of 100: Y minus X (left of 0: X is ahead)")
    left.set_title("looks of this study; dark: the one that is reported", fontsize=12)
    bars = right.barh(range(3), result.shares, color=[plots.HEALTHY, "#dcdcdc", plots.HEALTHY], height=0.7)
    right.bar_label(bars, [f"{share:.0f}" for share in result.shares], padding=4, fontsize=12)
    if ghost is not None:
        right.plot(ghost.shares, range(3), "D", color=plots.INK, markerfacecolor="white", markersize=8)
    right.set(
        xlim=(0, 118), ylim=(2.6, -0.6), xlabel=f"of 100 studies\nmean gain claimed: {result.claimed:.1f}"
    )
    right.set_yticks(range(3), ["X wins", "nobody", "Y wins"])
    right.set_title("all studies" + ("" if ghost is None else "; diamond: before"), fontsize=12)
    for ax in (left, right):
        ax.tick_params(labelsize=12)
    return fig


def describe(result: Result, previous: Result | None = None) -> str:
    """The study that is shown, how many studies have a winner, and how much is claimed."""
    x, nobody, y = result.shares
    said = (
        f"Two copies of one method, {result.seeds} seeds, {result.looks} {'look' if result.looks == 1 else 'looks'}, "
        f"judged by: {JUDGES[result.judge]}. {headline(result)}. Of 100 studies X wins {x:.0f}, Y wins {y:.0f}, nobody "
        f"{nobody:.0f}. Claimed gain of the winners: {result.claimed:.1f} of 100 on average."
    )
    if previous is None:
        return said
    before = previous.shares
    return (
        f"{said} Before: a winner in {before[0] + before[2]:.0f} of 100 studies, claimed gain "
        f"{previous.claimed:.1f}; study {previous.study}: {previous.winner}."
    )


def table(result: Result) -> pd.DataFrame:
    """A row for every look of the study: difference and interval."""
    return pd.DataFrame(
        {
            "look": range(1, result.looks + 1),
            "Y minus X, of 100": result.mean.round(1),
            "from": (result.mean - result.half).round(1),
            "to": (result.mean + result.half).round(1),
            "in the table": ["yes" if k == result.reported else "" for k in range(result.looks)],
        }
    )


def explorer() -> widgets.Explorer:
    """Four controls: how many seeds, how many looks, who judges, and which study is shown."""
    controls = {
        "seeds": widgets.choice("number of seeds", SEEDS, 5),
        "looks": widgets.slider("number of looks", 1, 1, MOST_LOOKS, 1),
        "judge": widgets.choice("a copy is announced as winner if", JUDGES),
        "study": widgets.slider("show study number", 1, 1, SHOWN, 1),
    }
    return widgets.Explorer(compute, draw, describe, controls, table=table, title="Does bold win?")
