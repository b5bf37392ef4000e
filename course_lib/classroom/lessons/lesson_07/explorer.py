"""Explorer of lesson 07: a transform, its strength and a network; what the digits look like, and what is found then.

Handwritten digits, 15 training images of each and 5 nines. Every batch is changed anew. One network makes 200 steps.
"""

from dataclasses import dataclass
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.augmentation import flip_images, rotate_images, shift_images
from course_lib.classroom import plots, widgets
from course_lib.models import MLP

RARE, STEPS = 9, 200
SHOWN = (6, 5, 1, 9)  # digits in the picture
TRANSFORMS = {
    "turn": "turn, up to 180 degrees",
    "shift": "shift, up to 2 pixels",
    "mirror": "mirror, up to half of the images",
    "noise": "noise, up to 0.6 a pixel",
}
NETWORKS = {"mlp": "fully connected", "cnn": "convolutional"}


@dataclass(frozen=True, eq=False)
class Result:
    """One training.

    before, after  (4, 8, 8) images of SHOWN, as they are and at full strength of this setting
    found, plain   (10,) images found of 100 of each digit, with the transform and without
    """

    transform: str
    strength: int
    network: str
    before: np.ndarray
    after: np.ndarray
    found: np.ndarray
    plain: np.ndarray


def images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels: those of the lesson's first training part."""
    pixels, digit = (torch.tensor(part) for part in load_digits(return_X_y=True))
    order = torch.randperm(len(digit), generator=torch.Generator().manual_seed(0))
    rows = [order[digit[order] == k] for k in range(10)]
    size = [5 if k == RARE else 15 for k in range(10)]
    train = torch.cat([part[:n] for part, n in zip(rows, size, strict=True)])
    test = torch.cat([part[5 * n :] for part, n in zip(rows, size, strict=True)])
    pixels = (pixels.float() / 16).view(-1, 1, 8, 8)
    return pixels[train], digit[train], pixels[test], digit[test]


def change(x: Tensor, transform: str, strength: float, draw: Tensor) -> Tensor:
    """x (M, 1, 8, 8) changed; strength in [0, 1]; draw (M, 2) in [-1, 1] says how far each image goes."""
    if transform == "turn":
        return rotate_images(x, 180 * strength * draw[:, 0])
    if transform == "shift":
        return shift_images(x, (2.499 * strength * draw).round().long())
    if transform == "mirror":
        return flip_images(x, draw[:, 0] > 1 - strength)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(int(1e6 * draw.sum().abs())))
    return x + 0.6 * strength * noise


def convolutional() -> nn.Sequential:
    """The lesson's network of convolutions: 8 x 8 pixels -> 10 scores."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
    )


@cache
def train(transform: str, strength: int, network: str) -> np.ndarray:
    """Images found of 100 of each digit after 200 steps, (10,)."""
    x, y, x_test, y_test = images()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MLP((64, 64, 10)) if network == "mlp" else convolutional()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        rows = torch.randint(len(y), (32,), generator=generator)
        draw = 2 * torch.rand(32, 2, generator=generator) - 1
        xb = change(x[rows], transform, strength / 100, draw) if strength else x[rows]
        loss = F.cross_entropy(model(xb), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = (model(x_test).argmax(1) == y_test).float()
    return np.array([100 * right[y_test == k].mean().item() for k in range(10)])


def compute(transform: str = "turn", strength: int = 100, network: str = "mlp") -> Result:
    """Raises ValueError for a transform or network that is not offered, or a strength that is not 0, 10, ..., 100."""
    for name, value, offered in (
        ("transform", transform, TRANSFORMS),
        ("strength", strength, range(0, 101, 10)),
        ("network", network, NETWORKS),
    ):
        if value not in offered:
            raise ValueError(f"{name} must be one of {tuple(offered)}, got {value!r}")
    _, _, x_test, y_test = images()
    first = torch.stack([x_test[y_test == k][0] for k in SHOWN])
    after = change(first, transform, strength / 100, torch.ones(len(SHOWN), 2)) if strength else first
    found, plain = train(transform, strength, network), train("turn", 0, network)
    return Result(transform, strength, network, first[:, 0].numpy(), after[:, 0].numpy(), found, plain)


def draw(result: Result, ghost: Result | None = None) -> Figure:
    """Left four digits before and after; right what is found of each digit, beside the training without change."""
    fig = plt.figure(figsize=(9.6, 4.6), layout="none")
    fig.suptitle(
        f"{result.found.mean():.0f} of 100 digits found, {result.plain.mean():.0f} without the change; "
        f"nines {result.found[RARE]:.0f}, without {result.plain[RARE]:.0f}",
        x=0.01, y=0.98, ha="left", fontsize=14,
    )  # fmt: skip
    for row, (pictures, name) in enumerate(((result.before, "as it is"), (result.after, "changed most"))):
        for column, (picture, digit) in enumerate(zip(pictures, SHOWN, strict=True)):
            ax = fig.add_axes((0.07 + 0.115 * column, 0.5 - 0.38 * row, 0.1, 0.28))
            ax.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            if row == 0:
                ax.set_title(f"a {digit}", fontsize=12)
            if column == 0:
                ax.set_ylabel(name, fontsize=12)
    right = fig.add_axes((0.61, 0.14, 0.35, 0.66))
    colors = [plots.ILL if k == RARE else plots.HEALTHY for k in range(10)]
    right.barh(range(10), result.found, color=colors, height=0.7)
    right.plot(result.plain, range(10), "|", color=plots.INK, markersize=15, markeredgewidth=2.5)
    if ghost is not None:
        right.plot(ghost.found, range(10), "D", color=plots.INK, markerfacecolor="white", markersize=8)
    right.set(xlim=(0, 105), ylim=(9.5, -0.5), yticks=range(10), xlabel="found of 100")
    right.set_title("line: without" + ("" if ghost is None else "; diamond: before"), fontsize=12)
    return fig


def describe(result: Result, previous: Result | None = None) -> str:
    """The setting, what is found with and without the change, and what it was before."""
    said = (
        f"{TRANSFORMS[result.transform].capitalize()}, strength {result.strength} of 100, "
        f"{NETWORKS[result.network]} network: {result.found.mean():.0f} of 100 digits found, and "
        f"{result.found[RARE]:.0f} of 100 nines. Without the change {result.plain.mean():.0f} digits and "
        f"{result.plain[RARE]:.0f} nines."
    )
    if previous is None:
        return said
    return f"{said} Before: {previous.found.mean():.0f} digits and {previous.found[RARE]:.0f} nines."


def table(result: Result) -> pd.DataFrame:
    """A row for every digit: found of 100, with the change and without."""
    columns = {"digit": range(10), "found of 100": result.found.round().astype(int)}
    return pd.DataFrame({**columns, "without the change": result.plain.round().astype(int)})


def explorer() -> widgets.Explorer:
    """Three controls: the transform, its strength, and the network."""
    controls = {
        "transform": widgets.choice("transform", TRANSFORMS),
        "strength": widgets.slider("strength (% of the largest)", 100, 0, 100, 10),
        "network": widgets.choice("network", NETWORKS),
    }
    return widgets.Explorer(
        compute,
        draw,
        describe,
        controls,
        table=table,
        title="Which change keeps the digit, and does it help?",
    )
