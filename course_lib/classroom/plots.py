"""What a lesson draws with: points in the plane, the triangle of mixes, ROC curves; and all of `figures` and `style`.

Their names are handed on here, so that a lesson imports `plots` alone.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from sklearn.metrics import roc_auc_score, roc_curve

from course_lib.classroom.figures import (  # noqa: F401 (handed on)
    bars,
    columns,
    dots,
    paired_differences,
    sentence,
    stop,
)
from course_lib.classroom.style import (  # noqa: F401 (handed on)
    BLACK,
    BLUE,
    DASHDOT,
    DASHDOTDOT,
    DASHED,
    DOTTED,
    GREEN,
    HEALTHY,
    ILL,
    INK,
    LONG,
    LOOKS,
    ORANGE,
    PURPLE,
    REFERENCE,
    SIZE,
    SKY,
    VERMILLION,
    Look,
    checked_alt,
    class_colors,
    class_curves,
    direct_labels,
    look,
    looks,
    mark,
    png,
    push_apart,
    show,
    to_html,
    use_style,
)  # fmt: skip

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


def simplex_points(mix) -> np.ndarray:
    """Three shares as a point in the triangle (0, 0), (1, 0), (1/2, sqrt(3)/2): (..., 3) -> (..., 2)."""
    return np.asarray(mix, dtype=float) @ np.array([[0, 0], [1, 0], [0.5, np.sqrt(0.75)]])


# ---- ranking ----------------------------------------------------------------------------------------------


def roc_curves(
    y,
    scores,
    *,
    title: str = "",
    thresholds: Mapping[str, float] | None = None,
    points: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """ROC curves, and operating points with their names: recall upwards, false alarm rate to the right.

    y           (N,) 0 or 1
    scores      (N,), larger for the ill; or name -> (N,) for several curves
    thresholds  name of a point -> threshold on the scores (of the only, or first, curve)
    points      name of a point -> (false alarm rate, recall), of any other model
    """
    if not isinstance(scores, Mapping):
        scores = {"": scores}
    curves = {str(name): np.asarray(score) for name, score in scores.items()}
    y = np.asarray(y)
    for name, score in curves.items():
        if score.shape != y.shape:
            raise ValueError(
                f"scores must hold one number per label, {y.shape}; got {score.shape} for {name!r}"
            )
    first = next(iter(curves.values()))
    marks = {
        name: (float((first >= cut)[y == 0].mean()), float((first >= cut)[y == 1].mean()))
        for name, cut in (thresholds or {}).items()
    } | {name: (float(a), float(r)) for name, (a, r) in (points or {}).items()}
    fig, ax = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    ax.plot([0, 1], [0, 1], color=REFERENCE, linestyle=DOTTED, linewidth=1.4)
    areas = {name: roc_auc_score(y, score) for name, score in curves.items()}
    for (name, score), style in zip(curves.items(), looks(curves), strict=True):
        wrong, found, _ = roc_curve(y, score)
        ax.plot(wrong, found, color=style.color if name else INK, linestyle=style.linestyle,
                label=f"{style.label}: AUC {areas[name]:.3f}" if name else None)  # fmt: skip
    if len(curves) > 1:
        ax.legend(loc="lower right", handlelength=2.6)
    else:
        ax.text(
            0.98,
            0.03,
            f"AUC {areas[next(iter(curves))]:.3f}",
            ha="right",
            fontsize=12,
            transform=ax.transAxes,
        )
    names = sorted(marks, key=lambda name: marks[name][1])
    low = 0.14 + 0.07 * (len(curves) if len(curves) > 1 else 0)
    places = push_apart([marks[name][1] - 0.1 for name in names], 0.085, low, 0.9)
    for name, place in zip(names, places, strict=True):
        (alarms, recall), style = marks[name], look(name)
        mark(ax, alarms, recall, name)
        ax.annotate(
            f"{name}: {recall:.0%} found, {alarms:.0%} false alarms", (alarms, recall),
            (min(max(0.3, alarms + 0.08), 0.42), place), va="center", fontsize=11, zorder=6,
            arrowprops={"arrowstyle": "-", "color": REFERENCE, "linewidth": 0.8, "relpos": (0, 0.5)},
        )  # fmt: skip
    if not title and len(curves) > 1:
        title = f"Areas under the curve from {min(areas.values()):.3f} to {max(areas.values()):.3f}"
    title = title or f"The area under the curve is {areas[next(iter(areas))]:.2f}"
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), xlabel="false alarm rate", ylabel="recall", title=title)
    said = [
        f"{look(name).label if name else 'one curve'} with AUC {area:.3f}" for name, area in areas.items()
    ]
    said += [
        f"{name} at recall {recall:.2f} and false alarm rate {alarms:.2f}"
        for name, (alarms, recall) in marks.items()
    ]
    show(fig, f"{stop(title)} ROC curves: {'; '.join(said)}.")
