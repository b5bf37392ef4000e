"""Explorer of lesson 08: a network that reads one digit at a time, step by step, and what it still knows of the others.

Handwritten digits, 100 images of each for the training, but 10 fours. A small network makes 1,000 steps of 32 images.
The picture shows how many images of each digit it finds after every tenth step.
"""

from dataclasses import dataclass
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch.nn import functional as F

from course_lib.classroom import plots, widgets
from course_lib.models import MLP
from course_lib.sampling import ClassMixBatchSampler, alternating_mix, class_order

RARE, STEPS, EVERY, RATE = 4, 1000, 10, 0.1
VISITS = (1, 2, 5, 10, 20, 50, 100)
MIXED, SHUFFLED = "mixed", "shuffled"
ORDERS = {
    "cyclic": "0 to 9, in turn",
    SHUFFLED: "shuffled anew in every round",
    "frequency": "by frequency, the rare fours last",
    "similarity": "by similarity, alike digits one after the other",
    "given": "given: 4 first, then 0 to 9",
    MIXED: "no turns: all digits in every batch",
}
NORMS = {"none": "none", "batch": "batch norm", "layer": "layer norm"}


@dataclass(frozen=True, eq=False)
class Result:
    """One training, looked at after `step` of its steps.

    found  (100, 10) images found of 100 of each digit, after every tenth step
    seen   (100, 10) training images of each digit so far
    ago    (10,) steps since the last batch with this digit; -1 where there was none yet
    turn   the digit of the latest batch, None for mixed batches
    """

    visit: int
    order: str
    norm: str
    step: int
    found: np.ndarray
    seen: np.ndarray
    ago: np.ndarray
    turn: int | None

    @property
    def now(self) -> np.ndarray:
        """(10,) images found of 100 of each digit, after `step`."""
        return self.found[self.step // EVERY - 1]


def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images and labels, test images and labels: those of the lesson's first seed."""
    pixels, digit = (torch.tensor(part) for part in load_digits(return_X_y=True))
    order = torch.randperm(len(digit), generator=torch.Generator().manual_seed(0))
    rows = [order[digit[order] == k] for k in range(10)]
    train = torch.cat([part[: 10 if k == RARE else 100] for k, part in enumerate(rows)])
    test = torch.cat([part[130:] for part in rows])
    pixels = pixels.float() / 16
    return pixels[train], digit[train], pixels[test], digit[test]


def batches(labels: torch.Tensor, x: torch.Tensor, visit: int, order: str) -> torch.Tensor:
    """The rows of all 1,000 batches of 32, (1000, 32): one digit in each, or all digits."""
    if order == MIXED:
        mix = torch.full((10,), 0.1)
    else:
        turns = {SHUFFLED: "cyclic", "given": [RARE, *(k for k in range(10) if k != RARE)]}.get(order, order)
        shuffle = torch.Generator().manual_seed(0) if order == SHUFFLED else None
        cycles = -(-STEPS // (10 * visit))
        mix = alternating_mix(class_order(turns, labels, x), visit, 10, cycles, shuffle)
    return torch.stack(list(ClassMixBatchSampler(labels, 32, mix, batches_per_epoch=STEPS).tensors()))


@cache
def train(visit: int, order: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Images found of 100 of each digit after every tenth step, (100, 10), and labels of all batches, (1000, 32)."""
    x, y, x_test, y_test = images()
    each = F.one_hot(y_test, 10).float()
    rows = batches(y, x, visit, order)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MLP((64, 64, 10), norm=norm)
    weights, right = list(model.parameters()), []
    for step, (xb, yb) in enumerate(zip(x[rows], y[rows], strict=True), start=1):
        slopes = torch.autograd.grad(F.cross_entropy(model(xb), yb), weights)
        with torch.no_grad():
            torch._foreach_add_(weights, slopes, alpha=-RATE)
            if step % EVERY == 0:
                model.eval()
                right.append(model(x_test).argmax(1) == y_test)
                model.train()
    found = 100 * torch.stack(right).float() @ each / each.sum(0)
    return found.numpy(), y[rows].numpy()


def compute(visit: int = 20, order: str = "cyclic", norm: str = "none", step: int = STEPS) -> Result:
    """Raises ValueError for a visit, order or norm that is not offered, or a step that is not 10, 20, ..., 1000."""
    for name, value, offered in (("visit", visit, VISITS), ("order", order, ORDERS), ("norm", norm, NORMS)):
        if value not in offered:
            raise ValueError(f"{name} must be one of {tuple(offered)}, got {value!r}")
    if step not in range(EVERY, STEPS + 1, EVERY):
        raise ValueError(f"step must be one of {EVERY}, {2 * EVERY}, ..., {STEPS}, got {step}")
    found, labels = train(visit, order, norm)
    counts = np.stack([(labels == k).sum(1) for k in range(10)], 1)  # (1000, 10) images in each batch
    met = counts[:step] > 0
    ago = np.where(met.any(0), met[::-1].argmax(0), -1)
    turn = None if order == MIXED else int(labels[step - 1, 0])
    return Result(visit, order, norm, step, found, counts.cumsum(0)[EVERY - 1 :: EVERY], ago, turn)


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left every digit over the steps, dark where it is found; right the digits after the chosen step."""
    fig = plt.figure(figsize=(9.6, 4.6), layout="none")
    left, right = fig.add_axes((0.07, 0.14, 0.53, 0.66)), fig.add_axes((0.66, 0.14, 0.27, 0.66))
    fig.suptitle(
        f"After step {result.step}: {result.now.mean():.0f} of 100 digits found, "
        f"{result.now[RARE]:.0f} of 100 fours",
        x=0.01, y=0.98, ha="left", fontsize=15,
    )  # fmt: skip
    edges = (0, STEPS, 9.5, -0.5)
    left.imshow(
        result.found.T, cmap="Greys", vmin=0, vmax=100, aspect="auto", extent=edges, interpolation="none"
    )
    left.axvline(result.step, color=plots.INK, linewidth=2.5, clip_on=False)
    left.set(xlabel="step", yticks=range(10), yticklabels=range(10))
    left.set_title("every digit over the steps; black: all found, white: none", fontsize=12)
    colors = [plots.ILL if k == RARE else plots.HEALTHY for k in range(10)]
    right.barh(range(10), result.now, color=colors, height=0.75)
    if ghost is not None:
        right.plot(ghost.now, range(10), "D", color=plots.INK, markerfacecolor="white", markersize=8)
    right.set(xlim=(0, 105), ylim=(9.5, -0.5), yticks=range(10), yticklabels=range(10))
    right.set_xlabel("found of 100")
    right.set_title(f"after step {result.step}" + ("" if ghost is None else "; diamond: before"), fontsize=12)
    for ax in (left, right):
        ax.tick_params(labelsize=12)
        ax.get_yticklabels()[RARE].set(color=plots.ILL, fontweight="bold")
    return fig


def describe(result: Result, previous: Result | None = None) -> str:
    """How the batches came, how many digits and fours are found, which digits are lost, and what it was before."""
    turns = "" if result.turn is None else f", in the visit of the {result.turn},"
    lost = [str(k) for k in range(10) if result.now[k] < 20]
    said = (
        f"{'Visits of ' + str(result.visit) + ' batches. ' if result.turn is not None else ''}"
        f"Order: {ORDERS[result.order]}. Norm layer: {NORMS[result.norm]}. After step {result.step}{turns} "
        f"{result.now.mean():.0f} of 100 digits are found, and {result.now[RARE]:.0f} of 100 fours. "
        f"Found less than 20 times of 100: {', '.join(lost) or 'no digit'}."
    )
    if previous is None:
        return said
    return f"{said} Before: {previous.now.mean():.0f} of 100 digits, {previous.now[RARE]:.0f} of 100 fours."


def table(result: Result) -> pd.DataFrame:
    """A row for every digit: found of 100, training images so far, and steps since its last batch."""
    columns = {
        "digit": range(10),
        "found of 100": result.now.round().astype(int),
        "images so far": result.seen[result.step // EVERY - 1],
        "steps since its last batch": ["none yet" if n < 0 else n for n in result.ago],
    }
    return pd.DataFrame(columns)


def explorer() -> widgets.Explorer:
    """Four controls: how long a visit is, the order of the digits, the norm layer, and the step that is looked at."""
    controls = {
        "visit": widgets.choice("length of a visit (batches)", VISITS, 20),
        "order": widgets.choice("order of the digits", ORDERS),
        "norm": widgets.choice("norm layer", NORMS),
        "step": widgets.slider("look after step", STEPS, EVERY, STEPS, EVERY),
    }
    return widgets.Explorer(
        compute, draw, describe, controls, table=table, title="Equal visits, equal learning?"
    )
