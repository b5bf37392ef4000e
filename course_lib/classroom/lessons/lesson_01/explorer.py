"""Explorer of lesson 01: imbalance ratio and number of positives, moved one by one, against the Bayes limit.

The world is that of `data.gaussian_classes` with two classes. A logistic regression on x, y and their three products
(it contains the truth, so whatever it lacks is lack of data) is fitted to several training sets; it is judged on a
grid with exact weights, so there is no test noise and no gap can be negative.
"""

import math
from dataclasses import dataclass
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from contourpy import contour_generator
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.special import expit, log_expit

from course_lib.classroom import plots, widgets
from course_lib.data import gaussian_classes
from course_lib.metrics import t_interval

MEASURES = ("ROC-AUC", "average precision", "recall at 0.5", "balanced accuracy")
MOST_POSITIVES, MOST_NEGATIVES = 320, 32_000
DRAWS = 20
AXIS = np.linspace(-5, 5, 140)  # an even number: no line of the grid lies on the best boundary


@dataclass(frozen=True, eq=False)
class Result:
    """What `DRAWS` training sets of one size gave. reached (draws, 4), limit (4,): columns as in `MEASURES`.

    limit   what the true probabilities reach: the Bayes limit of ROC-AUC, average precision and balanced accuracy; in
            recall at 0.5 a model that flags too many has more
    scores  (draws, grid points) log-odds of the fitted models, for the boundaries; x, y the first training set
    """

    positives: int
    negatives: int
    reached: np.ndarray
    limit: np.ndarray
    scores: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """What the true probabilities reach minus what the models reached on average, one per measure."""
        return self.limit - self.reached.mean(0)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % t-interval of the gap in ROC-AUC: what other training sets of this size might have given."""
        return t_interval(self.limit[0] - self.reached[:, 0])[1:]


def features(x: np.ndarray) -> np.ndarray:
    """1, both coordinates and their three products: (N, 2) -> (N, 6)."""
    a, b = x.T
    return np.stack([np.ones_like(a), a, b, a * a, a * b, b * b], 1)


def fit_logistic(
    x: np.ndarray, y: np.ndarray, penalty: float = 0.1, start: np.ndarray | None = None
) -> np.ndarray:
    """Weights (6,) of a logistic regression by Newton's method, penalty / 2 * |weights|**2 without the constant.

    start  weights (6,) to begin with; by default those that give everyone the prevalence
    """
    inputs, ridge = features(x), np.array([0.0, *[penalty] * 5])
    sign = 2 * y - 1

    def loss(score, weights):
        return -log_expit(sign * score).sum() + ridge @ weights**2 / 2

    weights = np.array([math.log(y.mean() / (1 - y.mean())), 0, 0, 0, 0, 0]) if start is None else start
    score = inputs @ weights
    now = loss(score, weights)
    for _ in range(50):
        chance = expit(score)
        slope = inputs.T @ (chance - y) + ridge * weights
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + np.diag(ridge + 1e-9)
        step = np.linalg.solve(curvature, slope)
        if slope @ step < 2e-7 * (1 + now):
            return weights - step  # there is no more to gain
        change = inputs @ step
        while (new := loss(score - change, weights - step)) > now and np.abs(step).max() > 1e-9:
            step, change = (
                step / 2,
                change / 2,
            )  # too far: Newton's parabola is only a local picture of the loss
        weights, score, now = weights - step, score - change, new
    return weights


@cache
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The grid (G, 2) and the share of all negatives and of all positives that lies at each of its points, (G,)."""
    grid = np.stack(np.meshgrid(AXIS, AXIS), -1).reshape(-1, 2)
    truth = gaussian_classes((0.5, 0.5), num_train=20, num_held=20).posterior
    density = np.exp(truth.log_joint(torch.tensor(grid)).numpy())
    return grid, *(density / density.sum(0)).T


@cache
def pool(draw: int) -> tuple[np.ndarray, np.ndarray]:
    """All negatives and positives of one draw; smaller sets are their beginnings, so that settings are paired."""
    truth = gaussian_classes((0.5, 0.5), num_train=20, num_held=20).posterior
    parts = []
    for k, size in enumerate((MOST_NEGATIVES, MOST_POSITIVES)):
        noise = torch.randn(
            size, 2, generator=torch.Generator().manual_seed(2 * draw + k), dtype=torch.float64
        )
        parts.append((truth.means[k] + truth.std[k] * noise).numpy())
    return tuple(parts)


def judge(score: np.ndarray, prevalence: float) -> np.ndarray:
    """The four `MEASURES` of a score (G,) on the grid, its zero being probability 0.5 at this prevalence.

    Balanced accuracy is that of the cut at the prevalence: flag whoever is likelier to be positive than the average.
    """
    _, negative, positive = world()
    order = np.argsort(-score, kind="stable")
    found, alarms = (
        positive[order].cumsum() - positive[order] / 2,
        negative[order].cumsum() - negative[order] / 2,
    )
    precision = prevalence * found / (prevalence * found + (1 - prevalence) * alarms)
    flagged = score > math.log(prevalence / (1 - prevalence))
    recalls = positive[flagged].sum(), negative[~flagged].sum()
    return np.array(
        [
            negative[order] @ found,
            positive[order] @ precision,
            positive[score > 0].sum(),
            np.mean(recalls),
        ]
    )


def training_set(positives: int, negatives: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """x (N, 2) and y (N,): the first `negatives` and `positives` of a draw."""
    everything = pool(draw)
    x = np.concatenate([everything[0][:negatives], everything[1][:positives]])
    return x, np.repeat([0.0, 1.0], [negatives, positives])


def fit_set(positives: int, negatives: int, draw: int) -> np.ndarray:
    """Weights (6,) for the training set of that size; many negatives start from the fit to a few of them, for speed."""
    few, start = 10 * positives, None
    if negatives > 2 * few:
        start = fit_logistic(*training_set(positives, few, draw))
        start[0] -= math.log(negatives / few)
    return fit_logistic(*training_set(positives, negatives, draw), start=start)


def compute(positives: float = 40, ratio: float = 1, draws: int = DRAWS) -> Result:
    """Fit `draws` training sets of so many positives and ratio times as many negatives, and judge each one.

    Raises ValueError beyond 2 to 320 positives and a ratio of 1 to 100.
    """
    positives, negatives = round(positives), round(round(positives) * ratio)
    if not (2 <= positives <= MOST_POSITIVES and positives <= negatives <= MOST_NEGATIVES):
        raise ValueError(
            f"positives must lie in 2..{MOST_POSITIVES} and ratio in 1..100, got {positives} and {ratio}"
        )
    grid, negative, positive = world()
    prevalence = positives / (positives + negatives)
    inputs = features(grid)
    scores = np.stack([inputs @ fit_set(positives, negatives, draw) for draw in range(draws)])
    best = np.log(positive) - np.log(negative) + math.log(positives / negatives)
    reached = np.stack([judge(score, prevalence) for score in scores])
    return Result(
        positives, negatives, reached, judge(best, prevalence), scores, *training_set(positives, negatives, 0)
    )


LOWEST = 1e-4  # the log axis ends here; smaller gaps are drawn at its end


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left the plane with learned 0.5 lines and the true one; right the gap in ranking above, recall at 0.5 below."""
    fig = plt.figure(
        figsize=(9.6, 4.6), layout="none"
    )  # places by hand: a layout engine takes longer than the fits
    plane = fig.add_axes((0.01, 0.13, 0.37, 0.71))
    upper, lower = fig.add_axes((0.46, 0.55, 0.37, 0.29)), fig.add_axes((0.46, 0.13, 0.37, 0.29))
    fig.suptitle(
        f"{_size(result)}: ROC-AUC stays {result.gap[0]:.4f} below its limit", x=0.01, y=0.985, ha="left"
    )
    _draw_plane(plane, result)
    for ax, shape, values in ((upper, "D", _gaps), (lower, "s", _recalls)):
        if ghost is not None:
            _dots(ax, ghost.positives, values(ghost), shape, before=True)
        _dots(ax, result.positives, values(result), shape)
        ax.set(xscale="log", xlim=(3.5, 450))
        ax.set_xticks([5, 20, 80, 320], ["5", "20", "80", "320"] if ax is lower else [""] * 4)
        ax.minorticks_off()
    upper.set(yscale="log", ylim=(LOWEST, 0.6))
    upper.set_yticks([0.0001, 0.001, 0.01, 0.1], ["0.0001", "0.001", "0.01", "0.1"])
    upper.minorticks_off()
    upper.set_title("how far ROC-AUC stays below its limit (log)", fontsize=12)
    lower.set_title("recall when flagging above 0.5", fontsize=12)
    lower.axhline(result.limit[2], color=plots.REFERENCE, linestyle=plots.DOTTED, linewidth=1.8)
    lower.set(ylim=(-0.03, 1.03), yticks=[0, 0.5, 1], xlabel="positives in the training set (log scale)")
    said = {
        upper: f"models {result.reached[:, 0].mean():.4f}\nlimit {result.limit[0]:.4f}\ngap {result.gap[0]:.4f}",
        lower: f"models {result.reached[:, 2].mean():.3f}\ntruth {result.limit[2]:.3f}\n(dotted)",
    }
    for ax, text in said.items():
        ax.text(1.03, 0.5, text, fontsize=12, va="center", transform=ax.transAxes)
    if ghost is not None:
        fig.text(0.99, 0.9, "hollow: before", fontsize=12, ha="right", va="center")
    return fig


def _draw_plane(ax, result: Result) -> None:
    shown = np.r_[np.flatnonzero(result.y == 0)[:600], np.flatnonzero(result.y == 1)]
    plots.class_points(ax, result.x[shown], result.y[shown], ("negatives", "positives"))
    _, negative, positive = world()
    odds = math.log(result.positives / result.negatives)
    best = (np.log(positive) - np.log(negative) + odds).reshape(140, 140)
    ax.contour(AXIS, AXIS, best, levels=[0.0], colors="#9ecae1", linewidths=5, zorder=9)
    lines = []
    for score in result.scores[:10]:
        lines += contour_generator(AXIS[::2], AXIS[::2], score.reshape(140, 140)[::2, ::2]).lines(0.0)
    ax.add_collection(LineCollection(lines, colors=plots.BLACK, linewidths=0.9, zorder=10))
    ax.set(xlim=(-4.2, 4.2), ylim=(-4, 4), xticks=[], yticks=[])
    ax.set_xlabel("blue: where the true probability is 0.5\nthin: where ten models say 0.5", fontsize=11)


def _gaps(result: Result) -> np.ndarray:
    return result.limit[0] - result.reached[:, 0]


def _recalls(result: Result) -> np.ndarray:
    return result.reached[:, 2]


def _dots(ax, at: float, values: np.ndarray, shape: str, before: bool = False) -> None:
    """One small sign per model around the number of positives, a large one for their mean; hollow for the ghost."""
    shade, large = ("#b0b0b0", plots.REFERENCE) if before else ("#5a5a5a", plots.BLACK)
    filled = {"markerfacecolor": "none" if before else shade, "markeredgecolor": shade, "linestyle": "none"}
    beside = at * np.exp(np.linspace(-0.15, 0.15, len(values)))
    ax.plot(beside, np.maximum(values, LOWEST), shape, markersize=3.5, clip_on=False, **filled)
    filled.update(zip(filled, ("white" if before else large, large if before else "white", "none")))
    ax.plot(
        at, max(values.mean(), LOWEST), shape, markersize=9, markeredgewidth=1.2 + before, zorder=4, **filled
    )


def _size(result: Result) -> str:
    return f"{result.positives} positives and {result.negatives:,} negatives"


def describe(result: Result, previous: Result | None = None) -> str:
    """The setting, the gap of the ranking to its limit, and what the latest move changed."""
    low, high = result.interval
    recall, best = result.reached[:, 2].mean(), result.limit[2]
    said = (
        f"{_size(result)}, ratio {result.negatives / result.positives:.3g}: ROC-AUC stays {result.gap[0]:.4f} below "
        f"its limit of {result.limit[0]:.3f} (95 % interval {low:.4f} to {high:.4f}); recall at 0.5 is {recall:.2f}, "
        f"and {best:.2f} with the true probabilities."
    )
    if previous is None:
        return said
    gaps, verb = (previous.gap[0], result.gap[0]), "fell" if result.gap[0] < previous.gap[0] else "rose"
    return (
        f"{said} From {_size(previous)} to here, the gap {verb} from {gaps[0]:.4f} to {gaps[1]:.4f}; the recall "
        f"that the true probabilities give went from {previous.limit[2]:.2f} to {result.limit[2]:.2f}."
    )


def table(result: Result) -> pd.DataFrame:
    """For every measure: what the true probabilities reach, the models' mean, the gap, lowest and highest model."""
    reached = result.reached
    columns = {
        "true probabilities": result.limit, "reached (mean)": reached.mean(0), "gap": result.gap,
        "lowest model": reached.min(0), "highest model": reached.max(0),
    }  # fmt: skip
    return pd.DataFrame(columns, index=list(MEASURES)).round(4)


def explorer() -> widgets.Explorer:
    """Two sliders: how many positives, and how many negatives to each of them."""
    controls = {
        # three steps double them, so that 5, 10, 20, 40 ... are among the steps
        "positives": widgets.log_slider(
            "number of positives", 40, 5, MOST_POSITIVES, per_decade=3 / math.log10(2)
        ),
        "ratio": widgets.log_slider("imbalance ratio (negatives per positive)", 10, 1, 100),
    }
    return widgets.Explorer(
        compute, draw, describe, controls, table=table, title="What costs quality: the ratio, or too few positives?"
    )  # fmt: skip
