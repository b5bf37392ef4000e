"""Explorer of lesson 00: one clinic and a console of four handles, one in each place of the training loop.

To answer at once, the console fits the lesson's model exactly (logistic regression) where the lesson takes steps, and
carries out a batch share in expectation: batches with a share a of ill visitors have, on average, the gradient of a
loss in which an ill visitor counts a / prevalence and a healthy one (1 - a) / (1 - prevalence).
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
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import auc, roc_curve
from torch import Tensor

from course_lib.classroom import plots, widgets

PREVALENCE = 0.02
DEFAULT = {"threshold": 0.5, "weight": 1.0, "share": PREVALENCE, "copies": 1}
# A dot on the curve looks like the method whose handle made it.
HANDLES = ("threshold", "copies", "share", "weight")  # in the order of the lesson's runs
METHOD = dict(zip(DEFAULT, ("threshold", "class_weights", "uniform", "random_oversample"), strict=True))
EXTENT = np.array([-3.8, 4.8])


# ---- the clinic -------------------------------------------------------------------------------------------


def visitors(healthy: int, ill: int, seed: int) -> tuple[Tensor, Tensor]:
    """The lesson's visitors: x (N, 2) two blood values, higher in the ill; y (N,) float, 0 healthy or 1 ill."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.cat([torch.zeros(healthy), torch.ones(ill)])
    x = torch.randn(healthy + ill, 2, generator=generator)
    return x + 1.24 * y[:, None], y


@cache
def clinic() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The lesson's training and test part: train_x, train_y, test_x, test_y."""
    return (*visitors(19_600, 400, seed=0), *visitors(49_000, 1_000, seed=7))


@dataclass(frozen=True, eq=False)
class Result:
    """One setting of the console, and what it does to the test visitors.

    setting  threshold, weight, share, copies
    line     (3,) bias and slopes of the fitted log-odds
    curve    (2, points) false alarm rate and recall along the ROC curve
    mean_p   mean predicted probability of illness
    """

    setting: dict
    line: np.ndarray
    curve: np.ndarray
    recall: float
    false_alarm_rate: float
    mean_p: float

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return float(auc(*self.curve))

    @property
    def precision(self) -> float:
        """Share of the ill among those called back; NaN when nobody is."""
        ill, healthy = PREVALENCE * self.recall, (1 - PREVALENCE) * self.false_alarm_rate
        return ill / (ill + healthy) if ill + healthy else math.nan


def log_odds(p: float) -> float:
    """log(p / (1 - p))."""
    return math.log(p / (1 - p))


def handles_moved(setting: dict) -> list[str]:
    """The handles of a setting that are not at rest."""
    return [name for name in setting if not math.isclose(setting[name], DEFAULT[name], rel_tol=1e-6)]


def weights(y: Tensor, weight: float, share: float, copies: int) -> np.ndarray:
    """(N,) what each visitor counts in the loss; a share equal to the prevalence leaves the batches as they come."""
    healthy, ill = 1.0, weight * copies
    if handles_moved({"share": share}):  # then it no longer matters how often a row is in the data
        healthy, ill = (1 - share) / (1 - PREVALENCE), weight * share / PREVALENCE
    return np.where(y == 1, ill, healthy)


def fit_line(x, y, weight) -> np.ndarray:
    """(1 + d,) bias and slopes that minimise the weighted cross-entropy."""
    model = LogisticRegression(C=np.inf, tol=1e-6, max_iter=1000)
    model.fit(np.asarray(x, dtype=float), y, sample_weight=weight)
    return np.concatenate([model.intercept_, model.coef_[0]])


def compute(
    threshold: float = 0.5, weight: float = 1.0, share: float = PREVALENCE, copies: int = 1
) -> Result:
    """Train with these handles, and call back the test visitors whose probability reaches the threshold.

    threshold  in (0, 1)
    weight     > 0, of an ill visitor in the loss; a healthy one counts 1
    share      in (0, 1), of ill visitors in a batch; the prevalence means: as they come
    copies     >= 1, how often an ill visitor stands in the training data

    Raises ValueError out of these ranges.
    """
    if not (0 < threshold < 1 and weight > 0 and 0 < share < 1 and copies >= 1 and copies == int(copies)):
        raise ValueError(
            "threshold and share must lie in (0, 1), weight above 0, copies must be a whole number >= 1; got "
            f"{threshold}, {share}, {weight}, {copies}"
        )
    train_x, train_y, test_x, test_y = clinic()
    line = fit_line(train_x.numpy(), train_y.numpy(), weights(train_y, weight, share, copies))
    score, ill = line[0] + test_x.double().numpy() @ line[1:], test_y.numpy() == 1
    called_back = score >= log_odds(threshold)
    return Result(
        {"threshold": threshold, "weight": weight, "share": share, "copies": copies},
        line,
        np.stack(roc_curve(ill, score)[:2]),
        recall=float(called_back[ill].mean()),
        false_alarm_rate=float(called_back[~ill].mean()),
        mean_p=float((1 / (1 + np.exp(-score))).mean()),
    )


# ---- what is seen -----------------------------------------------------------------------------------------


def setting_text(setting: dict) -> str:
    """The handles that are not at rest, in words."""
    words = {"threshold": "threshold {:.3g}", "weight": "weight {:.3g}", "share": "batch share {:.0%}",
             "copies": "{} copies"}  # fmt: skip
    said = [words[name].format(setting[name]) for name in handles_moved(setting)]
    return ", ".join(said) or "no handle moved"


def dot_style(setting: dict) -> dict:
    """Colour, marker and name of a point: those of the one handle that moved, black for none or several."""
    moved = handles_moved(setting)
    if len(moved) != 1:
        return {
            "color": plots.BLACK,
            "marker": "D" if moved else "o",
            "label": "several" if moved else "none",
        }
    look = plots.look(METHOD[moved[0]])
    return {"color": look.color, "marker": look.marker, "label": moved[0]}


def draw_month(ax: Axes, x: Tensor, y: Tensor) -> None:
    """An average month, 980 healthy and 20 ill visitors of those given, with their names beside the points."""
    for kind, number, name, place, color, style in (
        (0, 980, "healthy", (-3.0, -3.2), "#595959", {"s": 12, "c": plots.HEALTHY, "marker": "o"}),
        (1, 20, "ill", (3.3, 3.6), plots.ILL, {"s": 70, "c": plots.ILL, "marker": "^"}),
    ):
        ax.scatter(*x[y == kind][:number].T, **style, linewidths=0.5, edgecolors="white", zorder=3 + kind)
        ax.text(*place, f"{number} {name}", color=color, fontsize=13, fontweight="bold", zorder=6)
    ax.set(xlim=EXTENT, ylim=EXTENT, xlabel="blood value A", ylabel="blood value B")


def show_month(x: Tensor, y: Tensor) -> None:
    """The picture of an average month."""
    fig, ax = plt.subplots(figsize=(5.4, 4.4), layout="constrained")
    draw_month(ax, x, y)
    ax.set_title("1,000 visitors: ill and healthy overlap")
    alt = "1,000 visitors by two blood values: the 20 ill lie higher and further right, among many healthy."
    plots.show(fig, alt)


def show_points(y: Tensor, p_of: dict[str, Tensor]) -> None:
    """The lesson's four runs on the ROC curve of the plain model, which is the first: whole, and enlarged.

    p_of  name -> (N,) p of the test visitors; plain is taken at the threshold 0.02, all others at 0.5. An arrow
          comes from plain at 0.5, where everybody started.
    """
    y, ps = np.asarray(y), [np.asarray(p) for p in p_of.values()]

    def at(p, threshold: float) -> tuple[float, float]:
        return tuple(float((p[y == kind] >= threshold).mean()) for kind in (0, 1))

    fig, (whole, near) = plt.subplots(1, 2, figsize=(9.6, 4.3), layout="constrained", width_ratios=(1, 1.3))
    names, said = ["plain, threshold 0.02", *list(p_of)[1:]], []
    for name, handle, p, threshold in zip(names, HANDLES, ps, (0.02, 0.5, 0.5, 0.5), strict=True):
        alarms, recall = at(p, threshold)
        said.append(f"{name} at false alarm rate {alarms:.3f} and recall {recall:.3f}")
        look = plots.look(METHOD[handle])
        dot = {"color": look.color, "markeredgecolor": "white", "linestyle": "none", "zorder": 5}
        whole.plot(alarms, recall, look.marker, **dot, markersize=7)
        near.plot(alarms, recall, look.marker, **dot, markersize=13, label=name)
    for ax in (whole, near):
        ax.plot(*roc_curve(y, ps[0])[:2], color=plots.INK, linewidth=1.8, zorder=2)
        ax.set(xlabel="false alarm rate", ylabel="recall")
    alarms, recall = start = at(ps[0], 0.5)
    whole.plot(*start, "o", color=plots.BLACK, markersize=9, zorder=5)
    whole.annotate("plain,\nthreshold 0.5", start, (0.12, recall - 0.06), fontsize=12)
    arrow = {"arrowstyle": "->", "color": plots.INK, "linewidth": 1.6, "connectionstyle": "arc3,rad=0.2"}
    whole.annotate("", (0.2, 0.73), (alarms + 0.02, recall + 0.02), arrowprops=arrow)
    left, low, side = 0.15, 0.75, 0.12
    whole.add_patch(plt.Rectangle((left, low), side, side, fill=False, edgecolor=plots.REFERENCE))
    whole.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), title="ROC curve of the plain model")
    near.set(xlim=(left, left + side), ylim=(low, low + side), title="the square, enlarged")
    near.legend(loc="lower right", markerscale=0.8)
    alt = "The ROC curve of the plain model and four points far above its point at threshold 0.5: "
    plots.show(fig, f"{alt}{'; '.join(said)}.")


def _draw_line(ax: Axes, result: Result, before: bool) -> None:
    """The boundary between sent home and called back; the side that is called back is shaded."""
    corners = np.array([[result.line @ (1, a, b) for a in EXTENT] for b in EXTENT])
    corners -= log_odds(result.setting["threshold"])
    if not before:
        ax.contourf(EXTENT, EXTENT, corners, levels=[0, 1e9], colors=["#e9e9e9"], zorder=0)
    color, dash = (plots.REFERENCE, plots.DASHED) if before else (plots.BLACK, "-")
    style = {"colors": color, "linestyles": [dash]}
    ax.contour(EXTENT, EXTENT, corners, levels=[0.0], **style, linewidths=2.4, zorder=8)


def draw(result: Result, ghost: Result | None = None, trail: list[Result] | tuple = ()) -> Figure:
    """Left a month with the boundary, right the ROC curve with the point; hollow, grey and dashed: before.

    trail  settings visited, one small dot each
    """
    # Fixed margins: laid out anew for every move, the picture would come later.
    fig, (plane, right) = plt.subplots(1, 2, figsize=(9.6, 4.5), layout="none", width_ratios=(1, 1.1))
    fig.subplots_adjust(left=0.07, right=0.985, bottom=0.125, top=0.91, wspace=0.2)
    draw_month(plane, *clinic()[2:])
    people = f"{20 * result.recall:.1f} ill, {980 * result.false_alarm_rate:.0f} healthy"
    plane.set_title(f"called back (shaded): {people}", fontsize=13)
    right.plot([0, 1], [0, 1], color=plots.REFERENCE, linestyle=plots.DOTTED, linewidth=1.4, zorder=1)
    right.plot(*result.curve, color=plots.INK, linewidth=1.6, zorder=2)
    dots = [(one, {"markersize": 6, "zorder": 4}) for one in trail]
    before = ""
    if ghost is not None:
        _draw_line(plane, ghost, before=True)
        right.plot(*ghost.curve, color="#c4c4c4", linewidth=7, solid_capstyle="round", zorder=1)
        hollow = {"markerfacecolor": "white", "markersize": 12, "markeredgewidth": 2, "zorder": 5}
        dots.append((ghost, hollow))
        before = f"\nbefore {ghost.auc:.3f}"
    _draw_line(plane, result, before=False)
    dots.append((result, {"markersize": 15, "markeredgecolor": "white", "zorder": 6}))
    key = {}  # which handle made which dot, for the dots that are there
    for one, size in dots:
        style = {**dot_style(one.setting), "linestyle": "none"}
        right.plot(one.false_alarm_rate, one.recall, **{**style, **size})
        key[style["label"]] = Line2D([], [], **style, markersize=8)
    right.legend(
        handles=list(key.values()), loc="lower right", ncols=2, handletextpad=0.2, columnspacing=1.0,
        title="handle moved",
    )  # fmt: skip
    right.text(0.97, 0.42, f"AUC {result.auc:.3f}{before}", ha="right", va="center", fontsize=15)
    right.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="false alarm rate", ylabel="recall")
    shares = f"recall {result.recall:.2f}, false alarm rate {result.false_alarm_rate:.2f}"
    right.set_title(shares, fontsize=13)
    return fig


def describe(result: Result, previous: Result | None = None) -> str:
    """The setting, who is called back of an average month, and what became of the order."""

    def was(text: str) -> str:
        return "" if previous is None else f" (before: {text})"

    before = previous or result
    said = setting_text(result.setting)
    return (
        f"{said[0].upper()}{said[1:]}{was(setting_text(before.setting))}: {20 * result.recall:.1f} of 20 ill and "
        f"{980 * result.false_alarm_rate:.0f} of 980 healthy visitors are called back"
        f"{was(f'{20 * before.recall:.1f} and {980 * before.false_alarm_rate:.0f}')}; the AUC is "
        f"{result.auc:.3f}{was(f'{before.auc:.3f}')}."
    )


def table(result: Result) -> pd.DataFrame:
    """The picture's numbers."""
    rows = {
        "recall (share of the ill called back)": result.recall,
        "false alarm rate (share of the healthy called back)": result.false_alarm_rate,
        "precision (share of the ill among those called back)": result.precision,
        "AUC": result.auc,
        "mean p of all test visitors": result.mean_p,
    }
    return pd.DataFrame({"value": rows}).round(4)


def explorer() -> widgets.Explorer:
    """Four handles; every setting leaves a dot on the curve, and Reset keeps the dots."""
    scale = {"per_decade": 20}
    controls = {
        "threshold": widgets.log_slider("decision: threshold (p)", 0.5, 0.005, 0.5 * 10**0.25, **scale),
        "weight": widgets.log_slider("loss: weight of an ill visitor (healthy: 1)", 1.0, 1.0, 100.0, **scale),
        "share": widgets.slider("batch: share of ill visitors", PREVALENCE, 0.02, 0.90, 0.01),
        "copies": widgets.slider("data: copies of each ill visitor", 1, 1, 60, 1),
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
