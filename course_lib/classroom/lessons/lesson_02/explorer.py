"""Explorer of lesson 02: two piles of visitors, and the place where calling back becomes cheaper than sending home.

The visitors are those of the lesson: the first measurement is normal with spread 1, around 0 for the healthy and around
1.75 for the ill. So everything is exact: the probabilities are true for the share of the ill that is set. The pile of
the ill is drawn as often as a missed ill visitor costs; then the two piles cross at the cheapest threshold.
"""

import math
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.optimize import brentq
from scipy.stats import norm

from course_lib.classroom import plots, widgets

VISITORS, APART = 10_000, 1.75  # visitors a year; how much higher the ill are measured
AXIS = np.linspace(-3.5, 5.5, 361)


@dataclass(frozen=True)
class Decision:
    """Who is called back when everybody above a measurement is: people of a year, and what the errors cost."""

    found: float
    alarms: float
    cost: float

    @property
    def called(self) -> float:
        return self.found + self.alarms


@dataclass(frozen=True)
class Result:
    """The cheapest decision that keeps to the limit, and two others to compare it with.

    ill, miss, limit  as set: ill visitors of 10,000, what a missed one costs, examinations possible
    threshold         1 / (1 + miss): the p from which calling back is cheaper
    measured          the measurement from which visitors are called back
    p                 the probability there: the threshold, or more where the limit is reached first
    """

    ill: int
    miss: int
    limit: int
    threshold: float
    measured: float
    p: float
    chosen: Decision
    half: Decision
    nobody: Decision

    @property
    def limited(self) -> bool:
        return self.p > self.threshold + 1e-9


def probability(measured, ill: float):
    """The true p of a visitor at this measurement, where `ill` of 10,000 are ill."""
    dense = ill * np.exp(APART * np.asarray(measured) - APART**2 / 2)  # the odds are this : VISITORS - ill
    return dense / (dense + VISITORS - ill)


def measurement(p: float, ill: float) -> float:
    """The measurement at which the true probability is p."""
    odds = p / (1 - p) * (VISITORS - ill) / ill
    return (math.log(odds) + APART**2 / 2) / APART


def decision(measured: float, ill: float, miss: float) -> Decision:
    """Everybody above `measured` is called back."""
    found, alarms = ill * norm.sf(measured - APART), (VISITORS - ill) * norm.sf(measured)
    return Decision(float(found), float(alarms), float(alarms + miss * (ill - found)))


def compute(ill: float = 200, miss: float = 9, limit: int = VISITORS) -> Result:
    """The threshold that costs least, moved up where it would call back more than `limit` of 10,000 visitors.

    Raises ValueError for fewer than 1 or more than 9,999 ill, a miss that costs less than 1, or a limit outside
    1..10,000.
    """
    ill, miss, limit = round(ill), round(miss), int(limit)
    if not 1 <= ill < VISITORS:
        raise ValueError(f"ill must lie in 1..{VISITORS - 1}, got {ill}")
    if miss < 1:
        raise ValueError(f"miss must be at least 1, got {miss}")
    if not 1 <= limit <= VISITORS:
        raise ValueError(f"limit must lie in 1..{VISITORS}, got {limit}")
    threshold = 1 / (1 + miss)
    measured = measurement(threshold, ill)
    if decision(measured, ill, miss).called > limit:
        measured = brentq(lambda m: decision(m, ill, miss).called - limit, measured, 12)
    half = decision(measurement(0.5, ill), ill, miss)
    nobody, chosen = Decision(0, 0, float(miss * ill)), decision(measured, ill, miss)
    return Result(
        ill, miss, limit, threshold, measured, float(probability(measured, ill)), chosen, half, nobody
    )


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left the piles with the errors shaded, right what three decisions cost."""
    fig = plt.figure(figsize=(9.6, 4.4), layout="none")
    left, right = fig.add_axes((0.07, 0.14, 0.55, 0.62)), fig.add_axes((0.77, 0.14, 0.2, 0.62))
    fig.suptitle(
        f"Called back from p = {result.p:.2g} on: {result.chosen.cost:,.0f} for the errors of a year",
        x=0.01, y=0.98, ha="left", fontsize=15,
    )  # fmt: skip
    healthy = (VISITORS - result.ill) * norm.pdf(AXIS)
    ill = result.miss * result.ill * norm.pdf(AXIS - APART)
    name = "ill" if result.miss == 1 else f"ill, counted {result.miss} times"
    left.plot(AXIS, healthy, color=plots.HEALTHY, label="healthy")
    left.plot(AXIS, ill, color=plots.ILL, linestyle=plots.DASHED, label=name)
    above = result.measured <= AXIS
    left.fill_between(AXIS, healthy, where=above, color=plots.HEALTHY, alpha=0.55, linewidth=0)
    left.fill_between(AXIS, ill, where=~above, color=plots.ILL, alpha=0.55, linewidth=0)
    top = 1.3 * max(healthy.max(), ill.max())
    natural = measurement(0.5, result.ill)
    _line(left, result.measured, top, f"called back\nfrom p = {result.p:.2g}", "-", 0.99, near=natural)
    if abs(natural - result.measured) > 0.05:
        _line(left, natural, top, "p = 0.5", plots.DOTTED, 0.76)
    if ghost is not None and abs(ghost.measured - result.measured) > 0.05:
        _line(left, ghost.measured, top, "before", plots.DASHDOT, 0.6)
    left.set(xlim=(AXIS[0], AXIS[-1]), ylim=(0, top), yticks=[], xlabel="first measurement")
    left.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, borderpad=0, fontsize=13)
    bars = {"nobody": result.nobody, "p = 0.5": result.half, "chosen": result.chosen}
    costs = [each.cost for each in bars.values()]
    drawn = right.barh(range(3), costs, color=[plots.REFERENCE, plots.REFERENCE, plots.INK], height=0.6)
    right.bar_label(drawn, [f"{cost:,.0f}" for cost in costs], padding=4, fontsize=12, color=plots.INK)
    if ghost is not None:
        right.plot([ghost.chosen.cost] * 2, [1.62, 2.38], color=plots.BLUE, linewidth=3)
        right.text(0, 2.62, "blue: chosen, before", color=plots.INK, fontsize=11, va="center")
    right.set(xlim=(0, 1.35 * max([*costs, ghost.chosen.cost if ghost else 0])), ylim=(2.8, -0.5), xticks=[])
    right.set_yticks(range(3), list(bars))
    right.set_title("cost of the errors", fontsize=13, loc="left")
    right.tick_params(axis="y", length=0)
    return fig


def _line(ax, at: float, top: float, name: str, linestyle, height: float, near: float = np.inf) -> None:
    """An upright line, its name beside it and not across the line at `near`; at the edge where it lies beyond."""
    at = min(max(at, AXIS[0] + 0.03), AXIS[-1] - 0.03)
    ax.axvline(at, color=plots.INK, linewidth=1.8, linestyle=linestyle)
    covers = 0 < near - at < 2.2 and at > AXIS[0] + 2.2
    side = "left" if at < 3.4 and not covers else "right"
    ax.text(at + (0.1 if side == "left" else -0.1), height * top, name, fontsize=12, ha=side, va="top",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})  # fmt: skip


def describe(result: Result, previous: Result | None = None) -> str:
    """Which threshold, whom it calls back, what it costs; and what it was before."""
    chosen = result.chosen
    why = (
        f"Only {result.limit:,} can be examined: those with the highest p are called back, from p = {result.p:.2g} on"
        if result.limited
        else f"The cheapest threshold is p = {result.threshold:.2g}, at the measurement {result.measured:.1f}"
    )
    precision = f"{100 * chosen.found / chosen.called:.0f} of 100 called back are ill"
    said = (
        f"{result.ill:,} of {VISITORS:,} visitors are ill, and a miss costs {result.miss}. {why}: "
        f"{chosen.found:,.0f} ill and {chosen.alarms:,.0f} healthy visitors; {precision}. The errors cost "
        f"{chosen.cost:,.0f}, with p = 0.5 {result.half.cost:,.0f}, with nobody called back {result.nobody.cost:,.0f}."
    )
    return said if previous is None else f"{said} Before, they cost {previous.chosen.cost:,.0f}."


def table(result: Result) -> pd.DataFrame:
    """A row for each of the three decisions."""
    rows = {"nobody": result.nobody, "p = 0.5": result.half, f"p = {result.p:.2g}, chosen": result.chosen}
    return pd.DataFrame(
        {
            "called back from": list(rows),
            "ill found": [f"{each.found:,.0f} of {result.ill:,}" for each in rows.values()],
            "healthy called back": [f"{each.alarms:,.0f}" for each in rows.values()],
            "cost": [f"{each.cost:,.0f}" for each in rows.values()],
        }
    )


def explorer() -> widgets.Explorer:
    """Three controls: how many are ill, what a miss costs, how many can be examined."""
    controls = {
        "ill": widgets.log_slider(f"ill visitors (of {VISITORS:,})", 200, 10, 5000),
        "miss": widgets.log_slider("a missed ill visitor costs (examinations)", 9, 1, 100, per_decade=20),
        "limit": widgets.slider("examinations possible (a year)", VISITORS, 100, VISITORS, 100),
    }
    return widgets.Explorer(
        compute,
        draw,
        describe,
        controls,
        table=table,
        title="From which probability on is calling back cheaper?",
    )


def show_visitors(x, y) -> None:
    """The training part as points, the ill on top."""
    fig, ax = plt.subplots()
    plots.class_points(ax, x, y, ("healthy", "ill"))
    ax.set(xlabel="first measurement", ylabel="second measurement")
    ill = int((y == 1).sum())
    plots.show(
        fig, f"{ill} ill visitors lie further right, many of them among {len(y) - ill:,} healthy ones."
    )
