"""How every figure of the course looks: colours by method, names at the curves, and words with every picture.

Methods have a colour, a marker and a dash, looked up by the name of their recipe in `LOOKS`. A row that is no method
is a grey circle, as every other such row. Classes have another code: greys, the rarest (by convention the last)
darkest, and their names beside them. Dotted grey lines are references.
"""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D, ScaledTranslation
from scipy.optimize import isotonic_regression

INK, REFERENCE, NEUTRAL = "#1a1a1a", "#767676", "#595959"  # text; chance, prior and so on; what has no look
ILL, HEALTHY = "#A50026", "#8c8c8c"  # the class that is looked for, in every lesson, and the common one
BLACK, BLUE, SKY, GREEN = "#000000", "#0072B2", "#56B4E9", "#009E73"
ORANGE, PURPLE, VERMILLION = "#E69F00", "#CC79A7", "#D55E00"
DASHED, DASHDOT, DOTTED = (0, (4, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1.2))
LONG, DASHDOTDOT, LONGDOT = (0, (8, 2)), (0, (5, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 2, 1, 2))
NEUTRAL_DASHES = ("-", DASHED, DASHDOT, LONG, DASHDOTDOT, LONGDOT)  # dotted grey lines are references
SIZE = (6.4, 3.6)  # inches
CLASSES = LinearSegmentedColormap.from_list(
    "classes", ["#949494", ILL]
)  # from the most frequent to the rarest


class Look(NamedTuple):
    """How a method is drawn wherever it appears."""

    color: str
    marker: str
    linestyle: str | tuple
    label: str

    @property
    def style(self) -> dict:
        """Keyword arguments for `ax.plot`."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.linestyle, "label": self.label}


# One colour per idea; siblings share it and differ in dash and marker.
LOOKS: dict[str, Look] = {
    # nothing done, or done to the data alone
    "plain": Look(BLACK, "o", "-", "plain"),
    "shuffled": Look(BLACK, "*", DASHDOTDOT, "plain, shuffled"),
    "plain_tuned": Look(BLACK, "d", DASHED, "plain, tuned"),
    "augmentation": Look(BLACK, "x", DASHDOT, "augmentation"),
    "mixup": Look(BLACK, "+", DOTTED, "mixup"),
    "label_smoothing": Look(BLACK, "s", LONG, "label smoothing"),
    # an offset of the log-odds
    "logit_adjustment": Look(PURPLE, "P", "-", "logit adjustment"),
    "posthoc_adjustment": Look(PURPLE, "*", LONG, "post-hoc adjustment"),
    "threshold": Look(PURPLE, "X", DASHED, "threshold"),
    "prior_correction": Look(PURPLE, "p", DASHDOT, "prior correction"),
    "em_prior": Look(PURPLE, "D", DASHDOTDOT, "EM prior"),
    "tau_norm": Look(PURPLE, "v", LONGDOT, "tau-norm"),
    "cost": Look(PURPLE, "h", DOTTED, "cost matrix"),
    # weights by class
    "class_weights": Look(BLUE, "s", "-", "class weights"),
    "prioritised": Look(BLUE, "p", DASHED, "prioritised class"),
    "auxiliary": Look(BLUE, "X", DOTTED, "auxiliary loss"),
    "deferred_weights": Look(BLUE, "d", DASHDOT, "deferred weights"),
    # part of the way to that
    "effective_number": Look(SKY, "D", "-", "effective number"),
    "power_mix": Look(SKY, "o", DASHED, "power mix"),
    "progressive_mix": Look(SKY, ">", DASHDOT, "progressive mix"),
    # weights or draws by example, and margins
    "focal": Look(GREEN, "^", "-", "focal loss"),
    "ldam": Look(GREEN, "<", DASHED, "LDAM"),
    "importance": Look(GREEN, "h", DASHDOT, "importance sampling"),
    "curriculum": Look(GREEN, "d", DOTTED, "curriculum"),
    # classes equally often
    "uniform": Look(ORANGE, "v", "-", "uniform mix"),
    "weighted_sampler": Look(ORANGE, "h", LONG, "weighted sampler"),
    "random_oversample": Look(ORANGE, ">", DASHED, "random oversampling"),
    "random_undersample": Look(ORANGE, "<", DOTTED, "random undersampling"),
    "smote": Look(ORANGE, "p", DASHDOT, "SMOTE"),
    "crt": Look(ORANGE, "*", LONGDOT, "re-trained head (cRT)"),
    "balanced_ensemble": Look(ORANGE, "X", DASHDOTDOT, "balanced ensemble"),
    # classes by a schedule, or by what the loss says
    "learn2mix": Look(VERMILLION, "*", "-", "learn2mix"),
    "alternating": Look(VERMILLION, "d", DASHED, "alternating classes"),
    "cdb": Look(VERMILLION, "s", DOTTED, "CDB"),
    "excess_loss_mix": Look(VERMILLION, "^", LONG, "excess-loss mix"),
    "group_dro": Look(VERMILLION, "X", DASHDOT, "group DRO"),
}


def look(name: str) -> Look:
    """The look of a method, by the name of its recipe, always the same for the same name.

    A varied recipe, "learn2mix (mixing_rate=0.5)", has the look of its parent and its own name. All other names share
    one neutral look, a grey circle: a shape that differed would seem to mean something.
    """
    parent, _, changes = name.partition(" (")
    if parent in LOOKS:
        known = LOOKS[parent]
        return known._replace(label=f"{known.label} ({changes}") if changes else known
    return Look(NEUTRAL, "o", "-", name)


def looks(names: Iterable[str]) -> list[Look]:
    """A look per name, for lines that share one figure: those without a method differ in their dashes, by their order.

    Raises ValueError for more names without a method than there are dashes.
    """
    found, dashes = [look(name) for name in names], iter(NEUTRAL_DASHES)
    if (neutral := sum(style.color == NEUTRAL for style in found)) > len(NEUTRAL_DASHES):
        raise ValueError(
            f"names must hold at most {len(NEUTRAL_DASHES)} that are no method: more lines look alike; got {neutral}"
        )
    return [style._replace(linestyle=next(dashes)) if style.color == NEUTRAL else style for style in found]


def mark(ax: Axes, x: float, y: float, name: str) -> None:
    """The large mark of a method, in its own shape and colour, with a white rim."""
    style = look(name)
    rim = {"markeredgecolor": "white", "markeredgewidth": 0.7}
    ax.plot(x, y, style.marker, color=style.color, markersize=12, zorder=5, **rim)


def use_style() -> None:
    """Set matplotlib to the course's manner; lines without a look come out black, no colour is chance."""
    matplotlib.rcParams.update(
        {
            "figure.figsize": SIZE,
            "figure.dpi": 100,
            "figure.facecolor": "white",  # solid, so that a dark theme leaves the text readable
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.facecolor": "white",
            "axes.prop_cycle": matplotlib.cycler(color=[BLACK]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.titlelocation": "left",
            "axes.titlesize": 13,
            "axes.labelsize": 12,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.labelsize": 11,
            "ytick.labelsize": 11,
            "font.size": 12,
            "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
            "lines.linewidth": 2.2,
            "lines.markersize": 7,
            "legend.frameon": False,
        }
    )


# ---- a picture with words ---------------------------------------------------------------------------------


def png(fig: Figure, dpi: int = 110) -> bytes:
    """The figure as PNG: same figure, same bytes (no version or time inside)."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    return buffer.getvalue()


def checked_alt(alt: str) -> str:
    """`alt` without surrounding space; ValueError unless it is a sentence of at least four words."""
    alt = " ".join(alt.split()) if isinstance(alt, str) else ""
    if len(alt.split()) < 4 or alt[-1] not in ".!?":
        raise ValueError(
            f"alt must be a sentence that says what the figure shows, with a full stop; got {alt!r}"
        )
    return alt


def to_html(fig: Figure, alt: str, dpi: int = 110) -> str:
    """The figure as an `<img>` that carries its picture and its alt text; closes the figure.

    Raises ValueError when `alt` is not a sentence (the figure then stays open).
    """
    alt = checked_alt(alt)
    width, height = (round(inches * dpi) for inches in fig.get_size_inches())
    data = base64.b64encode(png(fig, dpi)).decode()
    plt.close(fig)
    return (
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        'decoding="sync" style="max-width:100%;height:auto;border-radius:6px">'
    )


def show(fig: Figure, alt: str) -> None:
    """Display the figure with alt text, and close it. Where no picture can be shown, the alt text is.

    alt  a sentence that states the finding, for those who cannot see the picture

    Raises ValueError when `alt` is not a sentence.
    """
    display({"text/html": to_html(fig, alt), "text/plain": checked_alt(alt)}, raw=True)


# ---- names at the curves ----------------------------------------------------------------------------------


def push_apart(heights: Sequence[float], gap: float, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Heights at least `gap` apart within [low, high], in the same order and as little moved as possible.

    When they cannot fit, they spread evenly and the gap shrinks.
    """
    heights = np.asarray(heights, dtype=float)
    if len(heights) < 2:
        return heights.clip(low, high)
    gap = min(gap, (high - low) / (len(heights) - 1))
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    slack = isotonic_regression(heights[order] - steps).x.clip(low, high - steps[-1])
    placed = np.empty_like(heights)
    placed[order] = slack + steps
    return placed


def direct_labels(ax: Axes, *, size: float = 11) -> None:
    """Write each labelled line's name at its right end: its marker in colour, dark text, a thin leader.

    Names are pushed apart so that none covers another. Call it last, when limits, scales and sizes are final.
    Lines without a label of their own are left alone. Raises ValueError when no line has one.
    """
    ax.get_xlim(), ax.get_ylim()  # limits are set lazily, and the ends of the lines depend on them
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    ends = [_last_height(ax, line) for line in lines]
    if not any(end is not None for end in ends):
        raise ValueError("ax must hold at least one line that has a label and a finite point")
    lines, ends = zip(
        *((line, end) for line, end in zip(lines, ends, strict=True) if end is not None), strict=True
    )
    fig = ax.figure
    # In points from the line's end at the right edge: leader to 9, swatch at 16, name from 24.
    starts = [
        Affine2D().scale(1 / 72) + fig.dpi_scale_trans + ScaledTranslation(1, end, ax.transAxes)
        for end in ends
    ]
    texts = [
        ax.text(24, 0, line.get_label(), transform=start, va="center", fontsize=size, color=INK)
        for line, start in zip(lines, starts, strict=True)
    ]
    if fig.get_layout_engine() is not None:
        fig.draw_without_rendering()  # the names are in the layout now, so this height is final
    height = ax.get_window_extent().height * 72 / fig.dpi
    places = push_apart(ends, 1.35 * size / height)
    for line, start, text, rise in zip(lines, starts, texts, (places - ends) * height, strict=True):
        text.set_y(rise)
        free = {"transform": start, "clip_on": False}
        ax.add_artist(Line2D([1, 9], [0, rise], color=REFERENCE, linewidth=0.8, **free))
        swatch = Line2D([16], [rise], color=line.get_color(), marker=line.get_marker(), **free)
        if line.get_marker() in ("", "None", None):
            swatch.set(marker="_", markersize=9, markeredgewidth=line.get_linewidth())
        ax.add_artist(swatch)


def _last_height(ax: Axes, line: Line2D) -> float | None:
    """Height of the line's last finite point as a fraction of the axes, in [0, 1]; None without one."""
    x, y = (np.asarray(data, dtype=float) for data in line.get_data(orig=False))
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(finite):
        return None
    shown = ax.transAxes.inverted().transform(line.get_transform().transform((x[finite[-1]], y[finite[-1]])))
    return float(np.clip(shown[1], 0, 1))


# ---- curves -----------------------------------------------------------------------------------------------


def class_colors(num_classes: int) -> list[str]:
    """A colour per class, most frequent first: grey and `ILL` for two, between them for more."""
    if num_classes == 2:
        return [HEALTHY, ILL]
    return [matplotlib.colors.to_hex(CLASSES(place)) for place in np.linspace(0, 1, num_classes)]


def class_curves(ax: Axes, x, values, names: Sequence[str]) -> None:
    """One line per class with its name at the right edge; the rarest, last, is the strongest and thick.

    values  (steps, K)
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(
            f"values must have shape (steps, {len(names)}), one column per name; got {values.shape}"
        )
    widths = np.linspace(1.4, 2.8, len(names))
    for column, name, color, width in zip(values.T, names, class_colors(len(names)), widths, strict=True):
        ax.plot(np.asarray(x), column, color=color, linewidth=width, label=name)
    direct_labels(ax)
