"""Pictures of lesson 11: the atlas of all methods, and errors against what they cost."""

import matplotlib.pyplot as plt
import pandas as pd

from course_lib.classroom import plots
from course_lib.recipes import RECIPES

WINS, LOSES, OPEN = "wins", "loses", "not confirmed"
FARTHEST = -0.42  # a mean gain beyond it is drawn as an arrow, with its number


def atlas(entries: pd.DataFrame) -> None:
    """A row per method: right of 0 the interval where it wins, left of 0 where it loses, each beside its setting.

    entries  columns method, setting, side (wins, loses, not confirmed), mean, low, high; an entry that is not
             confirmed is drawn hollow and grey
    """
    methods = [name for name in RECIPES if name in set(entries.method)]
    fig, ax = plt.subplots(figsize=(9.4, 1.7 + 0.31 * len(methods)), layout="constrained")
    ax.axvline(0, color=plots.REFERENCE, linewidth=1.4, zorder=1)
    said = []
    for row, method in enumerate(methods):
        if row % 2:
            ax.axhspan(row - 0.5, row + 0.5, color="#f3f3f3", zorder=0)
        own = entries[entries.method == method]
        for entry in own.itertuples():
            left = entry.side == LOSES or (entry.side == OPEN and WINS in set(own.side))
            _entry(ax, row, entry, left)
        told = [
            f"{e.side} in {e.setting} {e.mean:+.2f} [{e.low:+.2f}, {e.high:+.2f}]" for e in own.itertuples()
        ]
        said.append(f"{plots.look(method).label}: {', '.join(told)}")
    ax.set_yticks(range(len(methods)), [plots.look(method).label for method in methods])
    ax.set_ylim(len(methods) - 0.5, -0.6)
    ax.set_xlim(-0.8, 0.72)
    ax.set_xticks([-0.4, -0.2, 0, 0.2], ["-0.4", "-0.2", "0", "+0.2"])
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(
        "gain over plain with a tuned decision, mean and 95 % interval of ten seeds\n"
        "(balanced accuracy; in another hospital accuracy, in probabilities log loss)"
    )
    sides = entries.groupby("side").method.apply(set)
    both = len(sides.get(WINS, set()) & sides.get(LOSES, set()))
    title = f"{both} of {len(methods)} methods win in one setting and lose in another"
    ax.set_title(f"{title}\nhollow: not confirmed, the interval holds 0")
    plots.show(
        fig, f"{title}. Gain over plain with a tuned decision, with 95 % intervals. {'; '.join(said)}."
    )


def _entry(ax, row: int, entry, left: bool) -> None:
    """One interval with its mark, and the name of its setting on the side away from 0."""
    style, sure = plots.look(entry.method), entry.side != OPEN
    color = style.color if sure else plots.REFERENCE
    beside = {"va": "center", "fontsize": 10, "color": plots.INK if sure else plots.REFERENCE}
    if entry.mean < FARTHEST:
        ax.plot(FARTHEST, row, marker="<", color=color, markersize=9, zorder=4)
        ax.text(FARTHEST - 0.02, row, f"{entry.setting}: {entry.mean:.1f}", ha="right", **beside)
        return
    ax.plot([entry.low, entry.high], [row] * 2, color=color, linewidth=3, solid_capstyle="butt", zorder=3)
    face = color if sure else "white"
    ax.plot(entry.mean, row, marker="o", color=color, markerfacecolor=face, markersize=7, zorder=4)
    place = min(entry.low, -0.01) - 0.015 if left else max(entry.high, 0.01) + 0.015
    ax.text(place, row, entry.setting, ha="right" if left else "left", **beside)


def cost(table: pd.DataFrame) -> None:
    """For each part the test error against steps, and against seconds, a line per method.

    table  columns part, recipe, at, steps, examples, seconds, fastest, slowest (of the seeds), error; `seconds` is the
           median of the seeds
    """
    parts = list(dict.fromkeys(table.part))
    fig, axes = plt.subplots(
        len(parts), 2, figsize=(9.4, 1 + 2.1 * len(parts)), layout="constrained", sharey="row", squeeze=False
    )
    said = []
    for (left, right), part in zip(axes, parts, strict=True):
        rows = table[table.part == part]
        for method, line in rows.groupby("recipe", sort=False):
            style = plots.look(method)
            left.plot(line.steps, line.error, **style.style)
            right.plot(line.seconds, line.error, **style.style)
            right.hlines(line.error, line.fastest, line.slowest, color=style.color, linewidth=1)
            end = line.iloc[-1]
            said.append(
                f"{part}, {style.label}: error {end.error:.3g} after {end.steps:.0f} steps, {end.seconds:.1f} seconds "
                f"({end.fastest:.1f} to {end.slowest:.1f})"
            )
        each = rows.examples.iloc[-1] / rows.steps.iloc[-1]
        left.set(xscale="log", yscale="log", xlabel=f"steps of {each:.0f} examples", ylabel="test error")
        right.set(xscale="log", xlabel="seconds")
        left.set_title(part.replace("_", " "), fontsize=12)
        for ax, ticks in ((left, rows.steps), (right, (rows.seconds.min(), rows.seconds.max()))):
            ax.minorticks_off()
            ax.set_xticks(sorted(set(ticks)))
            ax.xaxis.set_major_formatter("{x:.0f}" if min(ticks) >= 10 else "{x:.1f}")
        left.set_yticks([rows.error.min(), rows.error.max()])
        left.yaxis.set_major_formatter("{x:.3g}")
        left.minorticks_off()
    right.set_xlabel("median seconds (line: fastest to slowest)")
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    ends = table[table["at"] == table["at"].max()]
    title = (
        f"The same steps took up to {(ends.slowest / ends.fastest).max():.0f} times as long on another seed"
    )
    fig.suptitle(title, x=0.01, ha="left", fontsize=14)
    plots.show(fig, f"{title}. Test errors against steps and seconds, at the end: {'; '.join(said)}.")
