"""Lesson 10: the share and the noise of a group move the error of each group, beside its two levels."""

import functools
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn

from course_lib.classroom import plots, widgets
from course_lib.training import predict

NAMES = ("red", "white")
RULE = torch.tensor([0.4, 0.4, -0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
JURY = 0.6  # spread of a careful grade
PRIOR = 0.23  # share of white wines in the training part


class Result(NamedTuple):
    """Squared errors of the red and the white wines, (2,) each: of the network, of plain shares, of the two levels."""

    share: float
    noise: float
    error: np.ndarray
    plain: np.ndarray
    constant: np.ndarray
    line: np.ndarray


def cellar(noise: float, seed: int) -> tuple[Tensor, ...]:
    """770 red and 230 white training wines, 500 and 1,500 test wines: x (N, 8), grades y (N,), group (N,), twice.

    noise  spread of the training grades of white wines; all others are graded by a careful jury
    """
    torch.manual_seed(seed)
    parts = []
    for counts, spread in (((770, 230), noise), ((500, 1500), JURY)):
        group = torch.arange(2).repeat_interleave(torch.tensor(counts))
        x = torch.randn(len(group), 8)
        x[:, 3:] = 0.5 * x[:, 3:] + torch.tensor([-0.25, 0.75])[group][:, None]
        width = torch.tensor([JURY, spread])[group]
        parts += [x, 5.6 + x @ RULE + width * torch.randn(len(group)), group]
    return tuple(parts)


def by_group(error: Tensor, group: Tensor) -> np.ndarray:
    """Mean of each group, (2,)."""
    return (torch.bincount(group, error) / torch.bincount(group)).numpy()


@functools.lru_cache(256)
def levels(noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Test errors of the training mean and of least squares, (2,) each."""
    x, y, _, test_x, test_y, test_group = cellar(noise, seed)
    line = torch.tensor(LinearRegression().fit(x.numpy(), y.numpy()).predict(test_x.numpy()))
    return by_group((y.mean() - test_y).square(), test_group), by_group((line - test_y).square(), test_group)


@functools.lru_cache(256)
def trained(share: float, noise: float, start_at_mean: bool, steps: int = 100, seed: int = 0) -> np.ndarray:
    """Test errors (2,) of a network whose batches of 50 hold this share of white wines."""
    x, y, group, test_x, test_y, test_group = cellar(noise, seed)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    if start_at_mean:
        nn.init.constant_(model[-1].bias, float(y.mean()))
    adam = torch.optim.Adam(model.parameters(), lr=0.001)
    weight = (torch.tensor([1 - share, share]) / torch.bincount(group))[group]
    for rows in torch.multinomial(weight.expand(steps, -1), 50, replacement=True):
        loss = (model(x[rows]).squeeze(1) - y[rows]).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return by_group((predict(model, test_x).squeeze(1) - test_y).square(), test_group)


def compute(share: float, noise: float, start_at_mean: bool) -> Result:
    """One setting of the explorer."""
    with torch.random.fork_rng():
        how = noise, start_at_mean
        return Result(share, noise, trained(share, *how), trained(PRIOR, *how), *levels(noise))


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """A row per colour of wine: the network, plain shares, the constant and least squares, on a logarithmic axis."""
    fig, ax = plt.subplots(figsize=(9.2, 4.4), layout="constrained")
    for row in range(2):
        for name, level, style in (
            ("constant", result.constant, "-"),
            ("least squares", result.line, plots.DOTTED),
        ):
            ax.plot([level[row]] * 2, [row - 0.36, row + 0.36], color=plots.INK, linestyle=style, linewidth=2.4,
                    label=name if row == 0 else None)  # fmt: skip
    edge = {"markeredgecolor": "white", "linestyle": "none"}
    plain = plots.look("plain")
    ax.plot(result.plain, [-0.13, 0.87], plain.marker, color=plain.color, markersize=11,
            label=f"{PRIOR:.0%} white (plain)", **edge)  # fmt: skip
    ax.plot(
        result.error,
        [0.13, 1.13],
        "D",
        color=plots.VERMILLION,
        markersize=13,
        label=f"{result.share:.0%} white",
        **edge,
    )
    if ghost is not None:
        ax.plot(ghost.error, [0.27, 1.27], "D", color=plots.REFERENCE, markersize=9, label="before", **edge)
    for row, error in enumerate(result.error):
        text = f"{error:.1f}" if error >= 2 else f"{error:.2f}"  # below 2 a tenth is much
        ax.annotate(text, (error, row + 0.13), (12, 0), textcoords="offset points", va="center", fontsize=13,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    ax.set(xscale="log", xlim=(0.2, 45), ylim=(1.6, -0.6))
    ax.set_xlabel("squared error on test wines (one step to the right: double)")
    ax.set_xticks([0.25, 0.5, 1, 2, 4, 8, 16, 32], ["0.25", "0.5", "1", "2", "4", "8", "16", "32"])
    ax.minorticks_off()
    ax.set_yticks(range(2), NAMES, fontsize=13)
    ax.legend(
        loc="lower left", bbox_to_anchor=(-0.05, 1), ncols=5, fontsize=11, handletextpad=0.4, columnspacing=1
    )
    return fig


def describe(result: Result, previous: Result | None = None) -> str:
    """The error of each colour beside plain shares, the constant and least squares, and what changed."""
    said = [
        f"{name} {mine:.2f} (23% white: {plain:.2f}; constant {constant:.2f}; least squares {line:.2f})"
        for name, mine, plain, constant, line in zip(
            NAMES, result.error, result.plain, result.constant, result.line, strict=True
        )
    ]
    text = f"With {result.share:.0%} white wines in the batches the squared errors are: {'; '.join(said)}."
    if previous is None:
        return text
    before = ", ".join(f"{name} {error:.2f}" for name, error in zip(NAMES, previous.error, strict=True))
    return f"{text} Before this move: {before}, with {previous.share:.0%} white and noise {previous.noise:g}."


def table(result: Result) -> pd.DataFrame:
    """The picture's numbers, one row per colour."""
    columns = {
        "this share": result.error, "23% white": result.plain, "constant": result.constant,
        "least squares": result.line,
    }  # fmt: skip
    return pd.DataFrame(columns, index=list(NAMES)).round(2)


def explorer() -> widgets.Explorer:
    """Share and noise of the white wines, and where the network starts."""
    controls = {
        "share": widgets.slider("white wines in a batch (share)", 0.95, 0.05, 0.95, 0.05),
        "noise": widgets.slider("spread of the white training grades", 0.6, 0.6, 4.6, 0.5),
        "start_at_mean": widgets.toggle("start at the training mean"),
    }
    title = "Is a lower error than the rival's a good error?"
    return widgets.Explorer(compute, draw, describe, controls, table=table, title=title, continuous=False)
