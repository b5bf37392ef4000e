"""Explorer of lesson 00: one screening problem and a console of four handles, one in each place of the course's map.

The model is a logistic regression, the right shape for two round normal classes of equal width. Copies and weights
are carried out as they stand. A batch share is carried out in expectation: batches with share a of ill patients
have, on average, the gradient of a loss in which the ill weigh a / prevalence, the healthy (1 - a) / (1 - prevalence).
"""

import math
from dataclasses import dataclass
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import auc, roc_curve
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from course_lib.classroom import plots, widgets
from course_lib.data import Task, gaussian_classes

PREVALENCE = 0.02
DISTANCE = 1.75  # between the two class means, in standard deviations
NAMES = ("healthy", "ill")
DEFAULT = {"threshold": 0.5, "weight": 1.0, "share": PREVALENCE, "copies": 1}
# A dot on the curve looks like a method whose handle made it.
METHOD = {
    "threshold": "threshold",
    "weight": "class_weights",
    "share": "weighted_sampler",
    "copies": "random_oversample",
}
ROC_AXES = {"xlabel": "share of the healthy flagged (false alarms)", "ylabel": "recall"}
SHOWN = 1500  # patients drawn in the left panel, at the true prevalence
EXTENT = (-4.2, 4.2)


def screening(
    seed: int = 0, num_train: int = 20_000, num_held: int = 50_000, hidden: tuple[int, ...] = ()
) -> Task:
    """Two blood values per person, 2 in 100 ill; both values are higher on average in the ill."""
    step = DISTANCE / 2 / math.sqrt(2)
    return gaussian_classes(
        (1 - PREVALENCE, PREVALENCE), means=((-step, -step), (step, step)), num_train=num_train,
        num_held=num_held, hidden=hidden, seed=seed,
    )  # fmt: skip


@cache
def patients() -> Task:
    """The one set of patients that the console works on."""
    return screening()


def fit_logistic(x: Tensor, y: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Bias and slopes (1 + d,) that minimise the weighted cross-entropy: full-batch LBFGS in float64.

    x (N, d), y (N,) 0 or 1, weight (N,) or one number for all
    """
    inputs, y = with_ones(x), y.double()
    weight = torch.as_tensor(weight, dtype=torch.float64).expand(len(y))
    line = torch.zeros(inputs.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [line], max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        each = binary_cross_entropy_with_logits(inputs @ line, y, reduction="none")
        mean = (weight * each).sum() / weight.sum()
        mean.backward()
        return mean

    optimizer.step(loss)
    return line.detach()


def with_ones(x: Tensor) -> Tensor:
    """(N, d) -> (N, 1 + d) float64, a column of ones for the bias."""
    return torch.cat([torch.ones(len(x), 1, dtype=torch.float64), x.double()], 1)


def rests(name: str, value: float) -> bool:
    """Whether a handle stands at its default."""
    return math.isclose(value, DEFAULT[name], rel_tol=1e-6)


def log_odds(p: float) -> float:
    """log(p / (1 - p))."""
    return math.log(p / (1 - p))


@dataclass(frozen=True, eq=False)
class Result:
    """One setting of the console, and what it does to the test patients.

    setting       threshold, weight, share, copies
    line          (3,) bias and slopes of the fitted log-odds
    curve         (2, points) false alarms per healthy patient, and recall, along the ROC curve
    recall, false_alarms, precision
                  of the decision; precision is NaN when nobody is flagged
    mean_chance   mean predicted probability of illness
    moved         mean change of log-odds minus the threshold's, against the console at rest
    """

    setting: dict
    line: np.ndarray
    curve: np.ndarray
    recall: float
    false_alarms: float
    precision: float
    mean_chance: float
    moved: float

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return float(auc(*self.curve))


def training_weights(y: Tensor, weight: float, share: float) -> Tensor:
    """(N,) what each example counts in the loss, for labels y (N,) 0 or 1.

    A share equal to the prevalence leaves the batches as the data come.
    """
    by_class = torch.tensor([1.0, weight], dtype=torch.float64)
    if not rests("share", share):
        ill = y.double().mean()
        by_class *= torch.stack([(1 - share) / (1 - ill), share / ill])
    return by_class[y]


def offset(threshold: float, weight: float, share: float, copies: int) -> float:
    """What the setting adds to everybody's log-odds, by arithmetic alone.

    Batches that are told their share do not ask how often an example is in the data.
    """
    batch = math.log(copies) if rests("share", share) else log_odds(share) - log_odds(PREVALENCE)
    return math.log(weight) + batch - log_odds(threshold)


def offset_gap(weight: float, seed: int) -> float:
    """Mean change of log-odds that a weight brings in a fit, minus log(weight), on patients of their own."""
    x, y, _ = screening(seed, num_held=1000).train
    plain, weighted = (fit_logistic(x, y, w) for w in (1.0, training_weights(y, weight, PREVALENCE)))
    return float((with_ones(x) @ (weighted - plain)).mean()) - math.log(weight)


@cache
def at_rest() -> Tensor:
    """The fit with no handle moved."""
    train = patients().train
    return fit_logistic(train.x, train.y)


def compute(
    threshold: float = 0.5, weight: float = 1.0, share: float = PREVALENCE, copies: int = 1
) -> Result:
    """Train with these handles and flag the test patients whose probability reaches the threshold.

    threshold  in (0, 1)
    weight     > 0, of an ill patient in the loss; a healthy one weighs 1
    share      in (0, 1), of ill patients in a batch; the prevalence means: as the data come
    copies     >= 1, how often an ill patient stands in the training data

    Raises ValueError out of these ranges.
    """
    if not (0 < threshold < 1 and weight > 0 and 0 < share < 1 and copies >= 1 and copies == int(copies)):
        raise ValueError(
            "threshold and share must lie in (0, 1), weight above 0, copies must be a whole number >= 1; got "
            f"{threshold}, {share}, {weight}, {copies}"
        )
    (x, y, _), test = patients().train, patients().test
    copied = torch.repeat_interleave(torch.arange(len(y)), 1 + (int(copies) - 1) * y)
    x, y = x[copied], y[copied]
    line = fit_logistic(x, y, training_weights(y, weight, share))
    inputs = with_ones(test.x)
    score, ill = inputs @ line, test.y == 1
    flagged = score >= log_odds(threshold)
    return Result(
        {"threshold": threshold, "weight": weight, "share": share, "copies": copies},
        line.numpy(),
        np.stack(roc_curve(test.y, score)[:2]),
        recall=float(flagged[ill].double().mean()),
        false_alarms=float(flagged[~ill].double().mean()),
        precision=float(ill[flagged].double().mean()),
        mean_chance=float(score.sigmoid().mean()),
        moved=float((score - inputs @ at_rest()).mean()) - log_odds(threshold),
    )


# ---- what is seen -----------------------------------------------------------------------------------------


def handles_moved(setting: dict) -> list[str]:
    """The handles that are not at rest."""
    return [name for name in METHOD if not rests(name, setting[name])]


def setting_text(setting: dict) -> str:
    """The handles that are not at rest, in words."""
    words = {
        "threshold": f"threshold {setting['threshold']:.3g}",
        "weight": f"weight {setting['weight']:.3g}",
        "share": f"batch share {setting['share']:.0%}",
        "copies": f"{setting['copies']} copies",
    }
    return ", ".join(words[name] for name in handles_moved(setting)) or "no handle moved"


def dot_style(setting: dict) -> dict:
    """Colour and marker of an operating point: those of the one handle that moved, black for none or several."""
    moved = handles_moved(setting)
    if len(moved) == 1:
        look = plots.look(METHOD[moved[0]])
        return {"color": look.color, "marker": look.marker}
    return {"color": plots.BLACK, "marker": "D" if moved else "o"}


def draw(result: Result, ghost: Result | None = None, trail: list[Result] | tuple = ()) -> Figure:
    """Left the plane with the boundary, right the ROC curve with the operating point; hollow, grey: before.

    trail  settings visited, one small dot each
    """
    # Fixed margins: laid out anew for every move, the picture would come later.
    fig, (plane, right) = plt.subplots(1, 2, figsize=(9.6, 4.5), layout="none", width_ratios=(1, 1.1))
    fig.subplots_adjust(left=0.035, right=0.985, bottom=0.125, top=0.89, wspace=0.17)
    _draw_plane(plane, result, ghost)
    if ghost is not None:
        right.plot(*ghost.curve, color="#c4c4c4", linewidth=7, solid_capstyle="round", zorder=1)
    right.plot([0, 1], [0, 1], color=plots.REFERENCE, linestyle=plots.DOTTED, linewidth=1.4, zorder=1)
    right.plot(*result.curve, color=plots.INK, linewidth=1.6, zorder=2)
    for one in trail:
        right.plot(one.false_alarms, one.recall, **dot_style(one.setting), markersize=6, zorder=4)
    if ghost is not None:
        hollow = {
            **dot_style(ghost.setting),
            "markerfacecolor": "white",
            "markersize": 12,
            "markeredgewidth": 2,
        }
        right.plot(ghost.false_alarms, ghost.recall, **hollow, linestyle="none", zorder=5)
    here, label = (result.false_alarms, result.recall), {"facecolor": "white", "edgecolor": "none", "pad": 1}
    right.plot(*here, **dot_style(result.setting), markersize=15, markeredgecolor="white", zorder=6)
    right.annotate(
        f"recall {result.recall:.2f}", here, (14, -5), textcoords="offset points", fontsize=13, bbox=label
    )
    before = "" if ghost is None else f"\nbefore {ghost.auc:.4f}"
    right.text(0.97, 0.42, f"AUC {result.auc:.4f}{before}", ha="right", va="center", fontsize=15)
    _draw_key(right, [*trail, *([ghost] if ghost else []), result])
    right.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), **ROC_AXES)
    found = f"{result.recall:.0%} of the ill found, {result.false_alarms:.1%} of the healthy flagged"
    right.set_title(found if ghost is None else f"{found}\nhollow and grey: the setting before", fontsize=12)
    return fig


def _draw_plane(ax: Axes, result: Result, ghost: Result | None) -> None:
    train = patients().train
    ill = round(SHOWN * PREVALENCE)
    rows = torch.cat([(train.y == 0).nonzero()[: SHOWN - ill], (train.y == 1).nonzero()[:ill]]).flatten()
    plots.class_points(ax, train.x[rows], train.y[rows], NAMES)
    for one, line in ((ghost, plots.DASHED), (result, "-")):
        if one is None:
            continue
        corners = np.array([[one.line @ (1, a, b) for a in EXTENT] for b in EXTENT])
        corners -= log_odds(one.setting["threshold"])
        if one is result:
            ax.contourf(EXTENT, EXTENT, corners, levels=[0, 1e9], colors=["#e6e6e6"], zorder=0)
        color = plots.BLACK if one is result else plots.REFERENCE
        ax.contour(
            EXTENT, EXTENT, corners, levels=[0.0], colors=color, linestyles=[line], linewidths=2.4, zorder=20
        )
    ax.set(xlim=EXTENT, ylim=EXTENT, xlabel="blood value A", ylabel="blood value B", xticks=[], yticks=[])
    ax.text(0.97, 0.03, "shaded: flagged as ill", ha="right", transform=ax.transAxes, fontsize=12)


def _draw_key(ax: Axes, shown: list[Result]) -> None:
    """Which handle made which dot, for the dots that are there."""
    styles = {}
    for one in shown:
        moved = handles_moved(one.setting) or ["none"]
        styles[moved[0] if len(moved) == 1 else "several"] = dot_style(one.setting)
    dots = [Line2D([], [], **styles[name], linestyle="none", markersize=8, label=name) for name in styles]
    ax.legend(
        handles=dots, loc="lower right", ncols=2, handletextpad=0.2, columnspacing=1.0, title="handle moved"
    )


def draw_dots(results: dict[str, Result]) -> Figure:
    """The ROC curves of some settings over each other, each operating point led to its name beside the curve.

    results  at most five: what it is called -> where it lies; the first is named below, the others above
    """
    fig, ax = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
    ax.plot([0, 1], [0, 1], color=plots.REFERENCE, linestyle=plots.DOTTED, linewidth=1.4)
    heights = [0.14, *np.arange(0.78, 0.4, -0.1)]
    for height, (name, one) in zip(heights, results.items(), strict=False):
        ax.plot(*one.curve, color=plots.INK, linewidth=1.6)
        ax.plot([one.false_alarms, 0.36], [one.recall, height], color=plots.REFERENCE, linewidth=1)
        ax.plot(one.false_alarms, one.recall, "o", color=plots.BLACK, markersize=8, label=name, zorder=4)
        ax.plot(0.37, height, **dot_style(one.setting), markersize=10)
        label = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        ax.text(0.4, height, name, va="center", fontsize=13, bbox=label)
    ax.set(**ROC_AXES, title=f"{len(results)} settings, one curve: those that balance share one spot")
    return fig


def describe(result: Result, previous: Result | None = None) -> str:
    """The setting, who is found at the cost of how many false alarms, and what became of the AUC."""

    def was(text: str) -> str:
        return "" if previous is None else f" (before: {text})"

    before = previous or result
    said = setting_text(result.setting)
    return (
        f"{said[0].upper()}{said[1:]}{was(setting_text(before.setting))}: of 100 ill patients "
        f"{100 * result.recall:.1f} are found{was(f'{100 * before.recall:.1f}')}, of 100 healthy ones "
        f"{100 * result.false_alarms:.1f} are flagged{was(f'{100 * before.false_alarms:.1f}')}; the AUC is "
        f"{result.auc:.4f}{was(f'{before.auc:.4f}')}."
    )


def table(result: Result) -> pd.DataFrame:
    """The picture's numbers; the log-odds offset once by arithmetic and once as it came out of the fit."""
    rows = {
        "recall (ill patients found)": result.recall,
        "false alarms (share of the healthy flagged)": result.false_alarms,
        "precision (ill / flagged)": result.precision,
        "AUC": result.auc,
        "mean predicted probability": result.mean_chance,
        "log-odds offset, by arithmetic": offset(**result.setting),
        "log-odds offset, as fitted": result.moved,
    }
    return pd.DataFrame({"value": rows}).round(4)


def explorer() -> widgets.Explorer:
    """Four handles; every setting leaves a dot on the curve, and Reset keeps the dots."""
    controls = {
        "threshold": widgets.log_slider(
            "decision: threshold (probability)", 0.5, 0.005, 0.5 * 10**0.25, per_decade=20
        ),
        "weight": widgets.log_slider(
            "loss: weight of an ill patient (healthy: 1)", 1.0, 1.0, 100.0, per_decade=20
        ),
        "share": widgets.slider("batch: share of ill patients", PREVALENCE, 0.02, 0.90, 0.01),
        "copies": widgets.slider("data: copies of each ill patient", 1, 1, 60, 1),
    }
    trail: list[Result] = []

    def draw_with_trail(result: Result, ghost: Result | None) -> Figure:
        fig = draw(result, ghost, trail)
        trail.append(result)
        del trail[:-60]
        return fig

    return widgets.Explorer(
        compute, draw_with_trail, describe, controls, table=table,
        title="What do the four handles move: the point, or the curve?",
    )  # fmt: skip


# ---- the map ----------------------------------------------------------------------------------------------

PLACES = {
    "data": ("copies", "repeat, drop, make new"),
    "batch": ("batch share", "who meets in a step"),
    "loss": ("class weight", "what an error counts"),
    "decision": ("threshold", "from score to action"),
}


def draw_map() -> Figure:
    """The four places in the order in which data flows, the handle of each, and the feedback from loss to batch."""
    fig, ax = plt.subplots(figsize=(9.6, 2.9), layout="constrained")
    arrow = {"arrowstyle": "-|>", "color": plots.INK, "linewidth": 1.8, "mutation_scale": 18}
    for column, (place, (handle, what)) in enumerate(PLACES.items()):
        ax.text(
            column, 0, place, ha="center", va="center", fontsize=18, fontweight="bold",
            bbox={"boxstyle": "round,pad=0.55", "facecolor": "#f2f2f2", "edgecolor": plots.INK},
        )  # fmt: skip
        ax.text(column, -0.42, handle, ha="center", va="center", fontsize=14)
        ax.text(column, -0.66, what, ha="center", va="center", fontsize=12, color="#595959")
        if column:
            ax.annotate("", (column - 0.33, 0), (column - 0.66, 0), arrowprops=arrow)
    back = {**arrow, "connectionstyle": "arc3,rad=0.45", "linestyle": plots.DASHED}
    ax.annotate("", (1.02, 0.24), (1.98, 0.24), arrowprops=back)
    ax.text(1.5, 0.64, "feedback: the losses choose the next batches", ha="center", va="center", fontsize=13)
    ax.set(xlim=(-0.55, 3.55), ylim=(-0.8, 0.78))
    ax.axis("off")
    return fig
