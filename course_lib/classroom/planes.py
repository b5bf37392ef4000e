"""Drawings in a plane: points of classes, where a model decides, and the mix of classes as it moves."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.classroom.style import (
    INK,
    PROBABILITY,
    REFERENCE,
    SIZE,
    Look,
    class_colors,
    class_curves,
    look,
)

# ---- the plane --------------------------------------------------------------------------------------------

CLASS_MARKERS = "o^sDvPXpd*"


def class_points(ax: Axes, x, y, names: Sequence[str]) -> None:
    """Points in the plane, a colour and a marker per class; the rarest, last, is drawn on top.

    x (N, 2), y (N,) labels 0..K-1. The names go above the axes.
    """
    x, y = np.asarray(x), np.asarray(y)
    K = len(names)
    for k, (name, color) in enumerate(zip(names, class_colors(K), strict=True)):
        ax.scatter(
            *x[y == k].T, s=14 if k < K - 1 else 26, c=color, marker=CLASS_MARKERS[k % 10], label=name,
            linewidths=0.5, edgecolors="white", zorder=3 + k,
        )  # fmt: skip
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=min(K, 5), borderpad=0, handletextpad=0.1,
        markerscale=1.6, columnspacing=1.2,
    )  # fmt: skip


def boundary_2d(
    ax: Axes,
    predict: Callable[[torch.Tensor], object],
    extent: Sequence[float],
    *,
    threshold: float = 0.5,
    name: str | None = None,
    shade: bool = True,
    resolution: int = 120,
    **changes,
) -> None:
    """Shade the plane by probability and draw where the decision flips.

    predict    (M, 2) float32 tensor -> (M,) probability of the positive class, or (M, K) probabilities
    extent     (x_low, x_high, y_low, y_high)
    threshold  for two classes; with more the largest probability decides
    name       draws the boundary in the look of this method; black otherwise
    shade      False draws the line only: a second boundary over the first
    changes    colors=, linestyles=, linewidths= of the line, for a ghost
    """
    x_low, x_high, y_low, y_high = extent
    across, up = np.linspace(x_low, x_high, resolution), np.linspace(y_low, y_high, resolution)
    grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
    with torch.no_grad():
        chance = np.asarray(predict(torch.tensor(grid, dtype=torch.float32)))
    if chance.ndim == 2 and chance.shape[1] == 2:
        chance = chance[:, 1]
    if chance.shape[0] != len(grid) or chance.ndim > 2:
        raise ValueError(
            f"predict must give one row per point, ({len(grid)},) or ({len(grid)}, K); got {chance.shape}"
        )
    style = look(name) if name else Look(INK, "", "-", "")
    line = {
        "colors": style.color,
        "linestyles": [style.linestyle],
        "linewidths": 2.2,
        "zorder": 20,
        **changes,
    }
    if chance.ndim == 1:
        chance = chance.reshape(resolution, resolution)
        if shade:
            ax.imshow(
                chance,
                cmap=PROBABILITY,
                vmin=0,
                vmax=1,
                extent=extent,
                origin="lower",
                aspect="auto",
                zorder=0,
            )
        ax.contour(across, up, chance, levels=[threshold], **line)
    else:
        K = chance.shape[1]
        winner = chance.argmax(1).reshape(resolution, resolution)
        if shade:
            ax.imshow(
                winner / (K - 1), cmap=PROBABILITY, vmin=0, vmax=1, extent=extent, origin="lower",
                aspect="auto", interpolation="nearest", zorder=0,
            )  # fmt: skip
        for k in range(K):
            ax.contour(across, up, winner == k, levels=[0.5], **line)
    ax.set(xlim=(x_low, x_high), ylim=(y_low, y_high))


# ---- the mix ----------------------------------------------------------------------------------------------


def simplex_points(mix) -> np.ndarray:
    """Three shares as a point in the triangle (0, 0), (1, 0), (1/2, sqrt(3)/2): (..., 3) -> (..., 2)."""
    return np.asarray(mix, dtype=float) @ np.array([[0, 0], [1, 0], [0.5, np.sqrt(0.75)]])


def mix_path(paths: Mapping[str, object], names: Sequence[str], *, title: str = "") -> Figure:
    """How the class mix moved round by round: in a triangle for three classes, as lines for any other number.

    paths  recipe name -> (rounds, K) shares
    """
    K = len(names)
    paths = {name: np.asarray(path, dtype=float) for name, path in paths.items()}
    for name, path in paths.items():
        if path.ndim != 2 or path.shape[1] != K:
            raise ValueError(
                f"paths[{name!r}] must have shape (rounds, {K}), one share per class; got {path.shape}"
            )
    return (_mix_triangle if K == 3 else _mix_lines)(paths, names, title)


def _mix_triangle(paths: dict[str, np.ndarray], names: Sequence[str], title: str) -> Figure:
    fig, ax = plt.subplots(figsize=(6.0, 4.4), layout="constrained")
    corners = simplex_points(np.eye(3))
    ax.fill(*corners.T, facecolor="#f7f7f7", edgecolor=INK, linewidth=1.2, zorder=0)
    middle = simplex_points([1 / 3, 1 / 3, 1 / 3])
    for corner in corners:
        ax.plot(*np.stack([corner, middle]).T, color="#d0d0d0", linewidth=0.8, zorder=1)
    ax.plot(*middle, "+", color=REFERENCE, markersize=11, markeredgewidth=1.6)
    ax.annotate("equal shares", middle, (8, -12), textcoords="offset points", fontsize=10, color="#595959")
    sides = (("left", "top", (-4, -6)), ("right", "top", (4, -6)), ("center", "bottom", (0, 5)))
    for corner, name, (ha, va, shift) in zip(corners, names, sides, strict=True):
        ax.annotate(f"all {name}", corner, shift, textcoords="offset points", ha=ha, va=va, fontsize=11)
    for name, path in paths.items():
        points, style = simplex_points(path), look(name)
        ax.plot(*points.T, color=style.color, linestyle=style.linestyle, linewidth=2.2, zorder=4)
        ax.plot(*points[0], "o", color=style.color, markerfacecolor="white", markersize=7, zorder=5)
        ax.plot(*points[-1], style.marker, color=style.color, markersize=12, label=style.label, zorder=6)
    ax.legend(loc="upper left", bbox_to_anchor=(0.68, 1), handletextpad=0.2)
    ax.text(
        0.69, 0.98 - 0.075 * len(paths), "open circle: start", transform=ax.transAxes, va="top", fontsize=10
    )
    ax.set(aspect="equal", xlim=(-0.04, 1.04), ylim=(-0.09, 0.95), title=title)
    ax.axis("off")
    return fig


def _mix_lines(paths: dict[str, np.ndarray], names: Sequence[str], title: str) -> Figure:
    fig, axs = plt.subplots(
        1, len(paths), figsize=(max(SIZE[0], 3.4 * len(paths)), SIZE[1]), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    top = 1.08 * max(path.max() for path in paths.values())
    for ax, (name, path) in zip(axs[0], paths.items(), strict=True):
        ax.set(ylim=(0, top), xlabel="round", title=look(name).label)
        class_curves(ax, range(len(path)), path, names)
    axs[0, 0].set_ylabel("share of the batch")
    fig.suptitle(title, x=0.01, ha="left")
    return fig
