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
from matplotlib.figure import Figure
from scipy.special import expit, log_expit

from course_lib import plots, widgets
from course_lib.data import gaussian_classes

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

    def loss(weights):
        return -log_expit(sign * (inputs @ weights)).sum() + ridge @ weights**2 / 2

    weights = np.array([math.log(y.mean() / (1 - y.mean())), 0, 0, 0, 0, 0]) if start is None else start
    now = loss(weights)
    for _ in range(50):
        chance = expit(inputs @ weights)
        slope = inputs.T @ (chance - y) + ridge * weights
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + np.diag(ridge + 1e-9)
        step = np.linalg.solve(curvature, slope)
        while (new := loss(weights - step)) > now and np.abs(step).max() > 1e-9:
            step /= 2  # too far: Newton's parabola is only a local picture of the loss
        if new > now:
            break
        gain, weights, now = now - new, weights - step, new
        if gain < 1e-7 * (1 + now):
            break
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


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left the plane with learned boundaries and the best one; right what was reached and the limits."""
    fig, (plane, right) = plt.subplots(1, 2, figsize=(9.6, 4.5), layout="constrained", width_ratios=(1, 1.2))
    fig.suptitle(f"{_size(result)}: ROC-AUC stays {result.gap[0]:.4f} below its limit", x=0.01, ha="left")
    _draw_plane(plane, result)
    shapes = {0: ("o", "ROC-AUC"), 2: ("^", "recall at 0.5")}
    heights = plots.push_apart([result.limit[column] for column in shapes], 0.25, 0.08, 0.94)
    for (column, (shape, name)), height in zip(shapes.items(), heights, strict=True):
        limit = result.limit[column]
        right.axhline(limit, color=plots.REFERENCE, linestyle=plots.DOTTED, linewidth=1.8)
        _dots(right, ghost, column, shape, before=True)
        _dots(right, result, column, shape)
        text = f"{name}\nmodels {result.reached[:, column].mean():.3f}\ntruth {limit:.3f}"
        right.text(1.02, height, text, fontsize=12, va="center", transform=right.get_yaxis_transform())
    right.set(
        xscale="log",
        xlim=(3.5, 450),
        ylim=(-0.03, 1.03),
        ylabel="models, and the truth (dotted)",
    )
    right.set_xlabel("positives in the training set (log scale)")
    right.set_xticks([5, 20, 80, 320], ["5", "20", "80", "320"])
    right.minorticks_off()
    if ghost is not None:
        right.set_title("hollow: the setting before", fontsize=12, loc="right")
    return fig


def _draw_plane(ax, result: Result) -> None:
    shown = np.r_[np.flatnonzero(result.y == 0)[:600], np.flatnonzero(result.y == 1)]
    plots.class_points(ax, result.x[shown], result.y[shown], ("negatives", "positives"))
    _, negative, positive = world()
    best = (np.log(positive) - np.log(negative)).reshape(140, 140)
    ax.contour(AXIS, AXIS, best, levels=[0.0], colors="#9ecae1", linewidths=8, zorder=9)
    odds = math.log(result.positives / result.negatives)
    thin = {"colors": plots.BLACK, "linewidths": 0.9, "linestyles": "solid", "zorder": 10}
    for score in result.scores[:10]:
        ax.contour(AXIS[::2], AXIS[::2], score.reshape(140, 140)[::2, ::2], levels=[odds], **thin)
    ax.set(xlim=(-4.2, 4.2), ylim=(-4, 4), xticks=[], yticks=[])
    ax.set_xlabel(
        "blue: best boundary; thin lines: learned\nfrom ten training sets of this size", fontsize=11
    )


def _dots(ax, result: Result | None, column: int, shape: str, before: bool = False) -> None:
    if result is None:
        return
    values, at = result.reached[:, column], result.positives * (0.88 if column == 0 else 1.14)
    beside = at * np.exp(np.linspace(-0.07, 0.07, len(values)))
    face, edge = ("none", "#8c8c8c") if before else ("#5a5a5a", "#5a5a5a")
    small = {"markersize": 4.5, "markerfacecolor": face, "markeredgecolor": edge, "linestyle": "none"}
    ax.plot(beside, values, shape, **small)
    if not before:
        ax.vlines(at, values.mean(), result.limit[column], color=plots.BLACK, linewidth=3)
        ax.plot(at, values.mean(), shape, markersize=11, color=plots.BLACK, markeredgecolor="white")


def _size(result: Result) -> str:
    return f"{result.positives} positives and {result.negatives:,} negatives"


def describe(result: Result, previous: Result | None = None) -> str:
    """The setting, the gap of the ranking to its limit, and what the latest move changed."""
    said = (
        f"{_size(result)}, ratio {result.negatives / result.positives:.3g}: ROC-AUC stays {result.gap[0]:.4f} below "
        f"its limit of {result.limit[0]:.3f}; recall at 0.5 is {result.reached[:, 2].mean():.2f}, and "
        f"{result.limit[2]:.2f} with the true probabilities."
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
        "positives": widgets.log_slider("number of positives", 40, 5, MOST_POSITIVES),
        "ratio": widgets.log_slider("imbalance ratio (negatives per positive)", 10, 1, 100),
    }
    return widgets.Explorer(
        compute, draw, describe, controls, table=table, title="What costs quality: the ratio, or too few positives?"
    )  # fmt: skip
