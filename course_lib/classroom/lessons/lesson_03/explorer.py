"""Explorer of lesson 03: the loss of both classes, and where early stopping would stop, by optimiser, batch and start.

A network with one hidden layer of 32 learns from 4,000 children, 40 of them ill, in two forms (two islands). It is
trained here in NumPy with the same steps as `torch.optim`, because a slider has to be answered at once.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from course_lib.classroom import plots, widgets

CHILDREN, ONE_IN, COLUMNS, HIDDEN, PASSES, PATIENCE = 4000, 100, 10, 32, 30, 3
RATES = {"SGD": 1.0, "momentum": 0.1, "RMSprop": 0.005, "Adam": 0.005, "AdamW": 0.005}
DEFAULT, PRIOR = "default", "prior"
STARTS = {DEFAULT: "PyTorch's default", PRIOR: "at the prior"}
METRICS = ("accuracy", "loss", "pairs")  # of the validation part; the loss is to fall, the other two to rise
Parameters = list[np.ndarray]  # weight and bias of the hidden layer, weight and bias of the output


@dataclass(frozen=True, eq=False)
class Result:
    """What is measured before the first pass and after each one, (PASSES + 1,) arrays.

    loss  (PASSES + 1, 2) of healthy and ill children of the test part
    pairs of 100 pairs of an ill and a healthy child of the test part: how many are in the right order (100 x AUC)
    stops metric of the validation part -> the pass whose network early stopping keeps
    """

    optimizer: str
    batch_size: int
    start: str
    loss: np.ndarray
    pairs: np.ndarray
    stops: dict[str, int]


def children(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As in the lesson, 1 of 100 ill: x (n, 10), y (n,)."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % ONE_IN == ONE_IN - 1
    x = rng.normal(size=(n, COLUMNS))
    x[:, 0] += y * rng.choice([-2, 2], n)
    x[:, 1] += 1.5 * y
    return x, y.astype(int)


def stop_early(scores, patience: int = PATIENCE) -> int:
    """The place of the best score before `patience` scores in a row were no better; larger is better."""
    best = 0
    for now, score in enumerate(scores):
        if score > scores[best]:
            best = now
        if now - best == patience:
            break
    return best


def new_network(start: str, rng: np.random.Generator) -> Parameters:
    """Drawn as `nn.Linear` draws; the output bias at the logarithm of the shares for the start at the prior."""
    wide, narrow = 1 / np.sqrt(COLUMNS), 1 / np.sqrt(HIDDEN)
    draws = [(wide, (COLUMNS, HIDDEN)), (wide, HIDDEN), (narrow, (HIDDEN, 2)), (narrow, 2)]
    network = [rng.uniform(-bound, bound, shape) for bound, shape in draws]
    if start == PRIOR:
        network[3] = np.log([1 - 1 / ONE_IN, 1 / ONE_IN])
    return network


def log_p(network: Parameters, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities (n, 2), and the hidden layer (n, HIDDEN)."""
    hidden = np.maximum(x @ network[0] + network[1], 0)
    scores = hidden @ network[2] + network[3]
    return scores - np.logaddexp(scores[:, :1], scores[:, 1:]), hidden


def gradients(network: Parameters, x: np.ndarray, y: np.ndarray) -> Parameters:
    """Of the mean cross-entropy of a batch, in the order of the parameters."""
    logs, hidden = log_p(network, x)
    pull = np.exp(logs)
    pull[np.arange(len(y)), y] -= 1
    pull /= len(y)
    back = (pull @ network[2].T) * (hidden > 0)
    return [x.T @ back, back.sum(0), hidden.T @ pull, pull.sum(0)]


class Optimizer:
    """The steps of `torch.optim` with its usual settings, and a momentum of 0.9 for the one of that name."""

    def __init__(self, name: str, network: Parameters) -> None:
        self.name, self.network, self.steps = name, network, 0
        self.first, self.second = ([np.zeros_like(part) for part in network] for _ in range(2))

    def step(self, slopes: Parameters) -> None:
        rate, self.steps = RATES[self.name], self.steps + 1
        for w, g, m, s in zip(self.network, slopes, self.first, self.second):
            if self.name == "AdamW":
                w *= 1 - rate * 0.01
            if self.name == "SGD":
                w -= rate * g
            elif self.name == "momentum":
                m *= 0.9
                m += g
                w -= rate * m
            elif self.name == "RMSprop":
                s *= 0.99
                s += 0.01 * g * g
                w -= rate * g / (np.sqrt(s) + 1e-8)
            else:
                m += 0.1 * (g - m)
                s += 0.001 * (g * g - s)
                steady = np.sqrt(s / (1 - 0.999**self.steps)) + 1e-8
                w -= rate * m / (1 - 0.9**self.steps) / steady


def auc(score: np.ndarray, y: np.ndarray) -> float:
    """Share of pairs in the right order; scores are continuous, so ties do not happen."""
    return float(np.searchsorted(np.sort(score[y == 0]), score[y == 1]).mean() / (y == 0).sum())


def compute(optimizer: str = "Adam", batch_size: int = 128, start: str = DEFAULT) -> Result:
    """Train for PASSES passes and measure after each one.

    Raises ValueError for an unknown optimizer, batch size or start.
    """
    if optimizer not in RATES:
        raise ValueError(f"optimizer must be one of {tuple(RATES)}, got {optimizer!r}")
    if start not in STARTS:
        raise ValueError(f"start must be one of {tuple(STARTS)}, got {start!r}")
    if not 1 <= batch_size <= CHILDREN:
        raise ValueError(f"batch_size must lie in 1..{CHILDREN}, got {batch_size}")
    rng = np.random.default_rng(0)
    (x, y), (x_val, y_val), (x_test, y_test) = children(CHILDREN, 0), children(2000, 1), children(10_000, 2)
    network = new_network(start, rng)
    steps, loss, pairs, scores = Optimizer(optimizer, network), [], [], {name: [] for name in METRICS}
    for done in range(PASSES + 1):
        logs, _ = log_p(network, x_test)
        loss.append([-logs[y_test == k, k].mean() for k in (0, 1)])
        pairs.append(100 * auc(logs[:, 1] - logs[:, 0], y_test))
        logs, _ = log_p(network, x_val)
        scores["accuracy"].append((logs.argmax(1) == y_val).mean())
        scores["loss"].append(logs[np.arange(len(y_val)), y_val].mean())  # its negative: larger is better
        scores["pairs"].append(auc(logs[:, 1] - logs[:, 0], y_val))
        if done < PASSES:
            order = rng.permutation(CHILDREN)
            for rows in np.split(order, range(batch_size, CHILDREN, batch_size)):
                steps.step(gradients(network, x[rows], y[rows]))
    stops = {name: stop_early(history) for name, history in scores.items()}
    return Result(optimizer, batch_size, start, np.array(loss), np.array(pairs), stops)


def total(result: Result) -> np.ndarray:
    """The loss of all children of the test part, (PASSES + 1,)."""
    return result.loss @ [1 - 1 / ONE_IN, 1 / ONE_IN]


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left the losses of the ill, of the healthy and of all; right the right pairs, and the passes that are kept."""
    fig = plt.figure(figsize=(9.6, 4.4), layout="none")
    left, right = fig.add_axes((0.07, 0.14, 0.33, 0.66)), fig.add_axes((0.57, 0.14, 0.41, 0.66))
    end = f"the loss ends at {total(result)[-1]:.2f}, {result.pairs[-1]:.0f} of 100 pairs are right"
    fig.suptitle(
        f"{result.optimizer}, {STARTS[result.start]}: {end}", x=0.01, y=0.98, ha="left", fontsize=13.5
    )
    passes = np.arange(PASSES + 1)
    if ghost is not None:
        for ax, curve in ((left, ghost.loss[:, 1]), (right, ghost.pairs)):
            ax.plot(passes, curve, color=plots.REFERENCE, linestyle=plots.DOTTED, linewidth=2)
        right.plot([], [], color=plots.REFERENCE, linestyle=plots.DOTTED, linewidth=2, label="before")
    left.plot(passes, result.loss[:, 1], color=plots.ILL, linewidth=2.8, label="ill")
    left.plot(passes, result.loss[:, 0], color=plots.HEALTHY, linewidth=2.4, label="healthy")
    left.plot(passes, total(result), color=plots.INK, linestyle=plots.DASHED, linewidth=1.8, label="all")
    left.set(xlabel="pass", ylim=(-0.1, 5.2), title="loss")
    plots.direct_labels(left, size=12)
    right.axhline(50, color=plots.REFERENCE, linewidth=1.2)
    right.text(PASSES, 51, "guessing", ha="right", va="bottom", fontsize=12, color=plots.INK)
    right.plot(passes, result.pairs, color=plots.INK, linewidth=2.4)
    for marker, size, (name, stop) in zip("os^", (15, 11, 8), result.stops.items()):
        named = {"label": f"stop on {name}: {result.pairs[stop]:.0f}", "linestyle": "none"}
        rim = {"markeredgecolor": "white", "zorder": 5}
        right.plot(stop, result.pairs[stop], marker, color=plots.ILL, markersize=size, **named, **rim)
    right.legend(loc="lower right", fontsize=12)
    right.set(xlabel="pass", ylim=(-8, 104), title="pairs of 100 in the right order")
    for ax in (left, right):
        ax.set_xticks(range(0, PASSES + 1, 5))
    return fig


def describe(result: Result, previous: Result | None = None) -> str:
    """The losses at the end, and the pairs where each metric stops; what the end was before."""
    flags = ", ".join(f"on {name} at pass {at}: {result.pairs[at]:.0f}" for name, at in result.stops.items())
    said = (
        f"{result.optimizer}, batches of {result.batch_size}, start {STARTS[result.start]}: after {PASSES} passes the "
        f"loss is {total(result)[-1]:.3f}, of the ill {result.loss[-1, 1]:.1f}; {result.pairs[-1]:.0f} of 100 pairs "
        f"are right, at the worst pass {result.pairs.min():.0f}. Early stopping {flags}."
    )
    return said if previous is None else f"{said} Before: {previous.pairs[-1]:.0f} at the end."


def table(result: Result) -> pd.DataFrame:
    """A row per pass: the losses, the pairs, and which metrics stop there."""
    columns = {
        "pass": np.arange(PASSES + 1),
        "loss of all": total(result).round(3),
        "loss of healthy": result.loss[:, 0].round(3),
        "loss of ill": result.loss[:, 1].round(2),
        "pairs of 100": result.pairs.round(1),
        "early stopping on": [
            ", ".join(name for name, stop in result.stops.items() if stop == at) for at in range(PASSES + 1)
        ],
    }
    return pd.DataFrame(columns)


def explorer() -> widgets.Explorer:
    """Three controls: optimiser, batch size, and the start of the output bias."""
    controls = {
        "optimizer": widgets.choice("optimiser", list(RATES), "Adam"),
        "batch_size": widgets.slider("batch size (children)", 128, 32, 512, 96),
        "start": widgets.choice("start of the bias", STARTS),
    }
    title = "Does a falling loss mean that the ill are learned?"
    return widgets.Explorer(compute, draw, describe, controls, table=table, title=title, continuous=False)
