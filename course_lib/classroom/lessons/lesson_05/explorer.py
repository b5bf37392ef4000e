"""Explorer of lesson 05: whose gradient grows with gamma, before the model has answered and after.

1,000 visitors with two measurements. Half of the ill lie far away and are easy; the other half are hidden among the
healthy. Some healthy visitors carry a wrong label. A visitor's dot is as large as his share of the gradient.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import minimize
from scipy.special import log_expit

from course_lib.classroom import plots, widgets

HEALTHY, CLEAR, HIDDEN, WRONG = range(4)
KINDS = ("healthy", "easy ill", "hard ill", "wrong label")
COLORS, MARKERS = (plots.HEALTHY, plots.ILL, plots.ILL, plots.INK), ("o", "v", "^", "s")
VISITORS, EACH_ILL = 1000, 20
FROZEN, TRAINED = "frozen", "trained"
MODELS = {FROZEN: "the plain model, frozen", TRAINED: "trained with this gamma"}


@dataclass(frozen=True, eq=False)
class Result:
    """Shares of the gradient, under the loss with `gamma` and, for comparison, of the plain model under gamma 0.

    x      (1000, 2) measurements
    kind   (1000,) place in KINDS
    each   (1000,) share of each visitor, sum 1
    share  (4,) share of each kind; plain (4,) the same for plain training
    """

    gamma: float
    noise: int
    model: str
    x: np.ndarray
    kind: np.ndarray
    each: np.ndarray
    share: np.ndarray
    plain: np.ndarray


def visitors(noise: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """1,000 visitors; `noise` of 100 healthy ones are labelled ill. Returns x (1000, 2) and kind (1000,)."""
    rng = np.random.default_rng(seed)
    kind = np.full(VISITORS, HEALTHY)
    kind[:EACH_ILL], kind[EACH_ILL : 2 * EACH_ILL] = CLEAR, HIDDEN
    x = rng.normal(size=(VISITORS, 2))
    x[kind == CLEAR, 0] += 6
    x[kind == HIDDEN, 0] += 1.75
    healthy = rng.permutation(np.flatnonzero(kind == HEALTHY))
    kind[healthy[: round(noise * len(healthy) / 100)]] = WRONG
    return x, kind


def slopes(margin: np.ndarray, gamma: float) -> np.ndarray:
    """How steeply the focal loss falls with the margin (score of the labelled class minus the other), (N,) >= 0.

    With p the probability of the labelled class: (1 - p)^gamma * (1 - p - gamma * p * log p).
    """
    log_p, log_miss = log_expit(margin), log_expit(-margin)
    return np.exp(gamma * log_miss) * (np.exp(log_miss) - gamma * np.exp(log_p) * log_p)


def fit(x: np.ndarray, labelled_ill: np.ndarray, gamma: float, start: np.ndarray | None = None) -> np.ndarray:
    """The linear model with the least mean focal loss: two slopes and an offset, (3,)."""
    inputs = np.column_stack([x, np.ones(len(x))])
    sign = np.where(labelled_ill, 1.0, -1.0)

    def loss(weight):
        margin = sign * (inputs @ weight)
        value = -(np.exp(gamma * log_expit(-margin)) * log_expit(margin)).mean()
        return value, -(sign * slopes(margin, gamma)) @ inputs / len(x)

    return minimize(loss, np.zeros(3) if start is None else start, jac=True, method="BFGS").x


def compute(gamma: float = 2.0, noise: int = 2, model: str = FROZEN) -> Result:
    """Train on the labels as they are written down, then measure every visitor's share of the gradient.

    Raises ValueError for gamma < 0, a noise outside 0 to 20 of 100, or an unknown model.
    """
    if not gamma >= 0:
        raise ValueError(f"gamma must be at least 0, got {gamma}")
    if not 0 <= noise <= 20:
        raise ValueError(f"noise must lie in 0..20, got {noise}")
    if model not in MODELS:
        raise ValueError(f"model must be one of {tuple(MODELS)}, got {model!r}")
    x, kind = visitors(noise)
    ill = kind != HEALTHY
    plain = fit(x, ill, 0)
    weight = fit(x, ill, gamma, plain) if model == TRAINED else plain

    def shares(weight, gamma):
        margin = np.where(ill, 1, -1) * (x @ weight[:2] + weight[2])
        steep = slopes(margin, gamma)
        return steep / steep.sum()

    each, before = shares(weight, gamma), shares(plain, 0)
    by_kind = [np.bincount(kind, part, minlength=4) for part in (each, before)]
    return Result(gamma, noise, model, x, kind, each, *by_kind)


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left the visitors, dots as large as their share; right the shares of the four kinds, plain training marked."""
    fig = plt.figure(figsize=(9.6, 4.4), layout="none")
    left, right = fig.add_axes((0.07, 0.14, 0.47, 0.66)), fig.add_axes((0.685, 0.14, 0.24, 0.66))
    fig.suptitle(
        f"gamma {result.gamma:g}, {MODELS[result.model]}: hard ill {result.share[HIDDEN]:.0%}, "
        f"wrong labels {result.share[WRONG]:.0%} of all pulls",
        x=0.01, y=0.98, ha="left", fontsize=13.5,
    )  # fmt: skip
    for kind, (color, marker) in enumerate(zip(COLORS, MARKERS)):
        own = result.kind == kind
        left.scatter(
            *result.x[own].T,
            s=1.5 + 6000 * result.each[own],
            color=color,
            marker=marker,
            alpha=0.65,
            linewidth=0,
        )
        right.barh(kind, result.share[kind], color=color, alpha=0.8)
        right.plot([result.plain[kind]] * 2, [kind - 0.4, kind + 0.4], color=plots.INK, linewidth=2.5)
        if ghost is not None:
            right.plot(ghost.share[kind], kind, "D", markerfacecolor="white", color=plots.INK, markersize=8)
        right.text(1.02, kind, f"{result.share[kind]:.0%}", va="center", fontsize=13)
    dots = zip(COLORS, MARKERS, KINDS)
    signs = [Line2D([], [], color=c, marker=m, linestyle="", alpha=0.65, label=k) for c, m, k in dots]
    left.legend(handles=signs, loc="lower right", fontsize=11)
    left.set(xlabel="first measurement", ylabel="second measurement", xlim=(-4, 9), ylim=(-4, 4))
    left.set_title("a dot's area: the visitor's share of all pulls", fontsize=12)
    right.set(xlim=(0, 1), ylim=(3.6, -0.6), xlabel="share of all pulls", xticks=[0, 0.5, 1])
    right.set_yticks(range(4), KINDS, fontsize=13)
    marks = "black line: plain" if ghost is None else "black line: plain, diamond: before"
    right.set_title(marks, fontsize=12)
    return fig


def describe(result: Result, previous: Result | None = None) -> str:
    """The four shares, and what the hard ill and the wrong labels had before."""
    parts = ", ".join(f"{name} {share:.0%}" for name, share in zip(KINDS, result.share))
    said = (
        f"Gamma {result.gamma:g}, {result.noise} of 100 healthy visitors with a wrong label, {MODELS[result.model]}. "
        f"Shares of all pulls: {parts}."
    )
    if previous is None:
        return said
    return f"{said} Before: hard ill {previous.share[HIDDEN]:.0%}, wrong label {previous.share[WRONG]:.0%}."


def table(result: Result) -> pd.DataFrame:
    """A row per kind: how many visitors, their share now and under plain training, in percent."""
    columns = {
        "kind": KINDS,
        "visitors": np.bincount(result.kind, minlength=4),
        "share now, %": (100 * result.share).round(1),
        "share in plain training, %": (100 * result.plain).round(1),
    }
    return pd.DataFrame(columns)


def explorer() -> widgets.Explorer:
    """Three controls: gamma, the wrong labels, and whether the model may answer to the loss."""
    controls = {
        "gamma": widgets.slider("gamma", 2.0, 0.0, 5.0, 0.5),
        "noise": widgets.slider("wrong labels (of 100 healthy)", 2, 0, 10, 1),
        "model": widgets.choice("the model is", MODELS),
    }
    return widgets.Explorer(
        compute, draw, describe, controls, table=table, title="Whose gradient grows with gamma?"
    )
