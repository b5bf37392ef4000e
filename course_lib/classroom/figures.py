"""Whole figures, one call each: drawn in house style, shown at once, with alt text written from the numbers.

A title states the finding. Without one the function writes it from the numbers, so that a cell whose figure answers a
vote does not give the answer away in its source. Such a title names a method only when an interval clear of 0 bears it.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_lib.classroom.style import (
    DOTTED,
    HEALTHY,
    ILL,
    INK,
    NEUTRAL,
    REFERENCE,
    SIZE,
    look,
    mark,
    show,
)
from course_lib.metrics import t_interval


def dots(
    rows: Mapping[str, Sequence[float]],
    *,
    quantity: str,
    title: str = "",
    target: float | None = None,
    target_text: str = "",
    lower_is_better: bool | None = None,
) -> None:
    """A row per method or setting: a dot per seed, the mean as a large mark with its number.

    rows             name -> (seeds,); a table with a column per method will do
    quantity         what the axis measures, with its unit ("ill people found of 100")
    target           what right looks like, as a dotted line that says target_text
    lower_is_better  written beside the quantity unless None
    """
    rows = {str(name): _numbers(f"rows[{name!r}]", values) for name, values in rows.items()}
    if not rows:
        raise ValueError("rows must hold at least one method, got none")
    means = {name: values.mean() for name, values in rows.items()}
    form = _form([*np.concatenate(list(rows.values())), target or 0])
    fig, ax = plt.subplots(figsize=(SIZE[0], 1.5 + 0.5 * len(rows)), layout="constrained")
    _target(ax, target, target_text)
    for row, (name, values) in enumerate(rows.items()):
        style = look(name)
        # Above the mark, which would cover them.
        heights = row - 0.3 + 0.05 * (np.arange(len(values)) % 3 - 1)
        ax.plot(values, heights, "o", markersize=5, color=style.color, alpha=0.5, linestyle="none")
        mark(ax, means[name], row, name)
        _beside(ax, row, form(means[name]))
    _rows_of(ax, [look(name).label for name in rows])
    if not title:
        lowest, highest = form(min(means.values())), form(max(means.values()))
        title = f"Means from {lowest} to {highest}" if len(means) > 1 else f"The mean is {highest}"
    quantity += _direction(lower_is_better)
    ax.set_xlabel(quantity)
    _title(fig, title)
    seeds = "one seed" if all(len(v) == 1 for v in rows.values()) else "a dot per seed"
    said = "; ".join(
        f"{look(name).label} {form(means[name])}, from {form(v.min())} to {form(v.max())}"
        for name, v in rows.items()
    )
    line = f" {target_text or 'Target'}: {form(target)}." if target is not None else ""
    show(fig, f"{stop(title)} {quantity}, {seeds}, mean and range: {said}.{line}")


def paired_differences(
    differences: pd.DataFrame | Mapping[str, Sequence[float]],
    *,
    quantity: str,
    title: str = "",
    matters: float | None = None,
    against: str = "plain",
    lower_is_better: bool | None = None,
) -> None:
    """A row per method: its difference from `against`, paired by seed, with its 95 % interval.

    differences      the table of `experiments.differences` (index: recipe; columns difference, low, high, and gaps
                     where the differences of the single seeds are to be drawn as dots), or name -> (seeds,) differences
    quantity         what is compared, as an axis says it ("ill people found of 100")
    title            by default the largest difference that matters and whose interval, as printed, does not hold 0
    matters          a difference smaller than this would not matter: the band around 0 where it lies
    lower_is_better  written beside the quantity, and told by the default title, unless None
    """
    table = _as_table(differences)
    each = (
        [np.asarray(gaps, dtype=float) for gaps in table.gaps]
        if "gaps" in table
        else [np.array([])] * len(table)
    )
    form = _form(np.concatenate([*each, table[["difference", "low", "high"]].to_numpy().ravel()]), sign=True)
    fig, ax = plt.subplots(figsize=(SIZE[0] + 1, 1.6 + 0.6 * len(table)), layout="constrained")
    ax.axvline(0, color=REFERENCE, linewidth=1.4, zorder=1)
    if matters is not None:
        ax.axvspan(-matters, matters, color="#ececec", zorder=0)
        ax.annotate(
            f"less than {matters:g} would not matter", (0, 1), (0, 3), color=NEUTRAL, fontsize=11,
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="center",
        )  # fmt: skip
    said = []
    for row, ((name, numbers), gaps) in enumerate(zip(table.iterrows(), each, strict=True)):
        style, (mean, low, high) = look(str(name)), numbers[["difference", "low", "high"]].astype(float)
        ax.plot(
            gaps,
            np.full(len(gaps), row - 0.22),
            "o",
            markersize=5,
            color=style.color,
            alpha=0.6,
            linestyle="none",
        )
        ax.plot([low, high], [row] * 2, color=style.color, linewidth=3, solid_capstyle="butt")
        mark(ax, mean, row, str(name))
        _beside(ax, row, f"{form(mean)}\n[{form(low)}, {form(high)}]")
        said.append(f"{style.label} {form(mean)} [{form(low)}, {form(high)}]")
    _rows_of(ax, [look(str(name)).label for name in table.index])
    title = title or _finding(table, form, matters or 0, look(against).label, lower_is_better)
    ax.set_xlabel(f"{quantity}: difference from {look(against).label}{_direction(lower_is_better)}")
    _title(fig, title)
    band = f" Less than {matters:g} would not matter." if matters is not None else ""
    show(
        fig,
        f"{stop(title)} Differences from {look(against).label} in {quantity}, paired by seed, with 95 % intervals: "
        f"{'; '.join(said)}.{band}",
    )


def _finding(table: pd.DataFrame, form, matters: float, against: str, lower_is_better: bool | None) -> str:
    """What the intervals, as printed, bear: the largest difference that matters, or that none does or is clear of 0."""
    low, high = (table[column].map(form).str.replace(",", "").astype(float) for column in ("low", "high"))
    if (low.abs() < matters).all() and (high.abs() < matters).all():
        return "Every interval lies in the grey band"
    clear = table.difference[(low > 0) | (high < 0)]
    if clear.empty:
        return "No interval is clear of 0"
    label, most = look(str(clear.abs().idxmax())).label, clear[clear.abs().idxmax()]
    if abs(most) < matters:
        return f"No difference of {matters:g} or more has an interval clear of 0"
    told = {None: "against", True: "better than", False: "worse than"}
    better = None if lower_is_better is None else (most < 0) == lower_is_better
    return sentence(f"{label}: {form(most)}{'' if better is None else ','} {told[better]} {against}")


def _as_table(differences) -> pd.DataFrame:
    if isinstance(differences, pd.DataFrame) and {"difference", "low", "high"} <= set(differences.columns):
        table = differences
    else:
        if isinstance(differences, pd.DataFrame) or not isinstance(differences, Mapping):
            raise ValueError(
                "differences must be the table of experiments.differences, with columns difference, low and high, or "
                f"a dict of name: differences per seed; got {type(differences).__name__}"
            )
        gaps = {str(name): _numbers(f"differences[{name!r}]", values) for name, values in differences.items()}
        rows = {name: [*t_interval(values), tuple(values)] for name, values in gaps.items()}
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "low", "high", "gaps"])
    if table.empty:
        raise ValueError("differences must hold at least one method, got none")
    return table


def bars(
    values: Mapping[str, float], *, quantity: str, title: str = "", marked: str | Iterable[str] = (),
    target: float | None = None, target_text: str = "",
) -> None:  # fmt: skip
    """A lying bar per name, in the order given, with its number; `marked` names have the colour of the ill."""
    numbers = {str(name): float(value) for name, value in values.items()}
    if not numbers:
        raise ValueError("values must hold at least one number, got none")
    marked = {marked} if isinstance(marked, str) else set(marked)
    form = _form(list(numbers.values()))
    fig, ax = plt.subplots(figsize=(SIZE[0], 1.3 + 0.42 * len(numbers)), layout="constrained")
    colors = [ILL if name in marked else HEALTHY for name in numbers]
    drawn = ax.barh(range(len(numbers)), list(numbers.values()), color=colors, height=0.7)
    ax.bar_label(drawn, [form(value) for value in numbers.values()], padding=4, fontsize=11, color=INK)
    _target(ax, target, target_text)
    ax.margins(x=0.12)
    _rows_of(ax, [look(name).label for name in numbers])
    title = title or f"From {form(min(numbers.values()))} to {form(max(numbers.values()))}"
    ax.set_xlabel(quantity)
    _title(fig, title)
    line = f" {target_text or 'Target'}: {form(target)}." if target is not None else ""
    said = "; ".join(f"{look(name).label} {form(value)}" for name, value in numbers.items())
    show(fig, f"{stop(title)} {quantity}: {said}.{line}")


def columns(
    values: Sequence[float], *, quantity: str, title: str = "", across: str = "", marked=None,
    whole: float | None = None, target: float | None = None, target_text: str = "", names: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Standing columns, one per batch, round or class, in the order given.

    across  what the columns are ("the first 100 batches")
    marked  (N,) which columns have the colour of the ill: those of class 1, say; all of them by default
    whole   draws each column grey up to here, behind its value: shares of a whole
    target  a dotted line that says target_text
    """
    values = _numbers("values", values)
    chosen = np.ones(len(values), bool) if marked is None else np.asarray(marked, dtype=bool)
    if chosen.shape != values.shape:
        raise ValueError(f"marked must hold one truth per value, {values.shape}; got {chosen.shape}")
    fig, ax = plt.subplots(
        figsize=(max(SIZE[0], 7.2 if len(values) > 40 else 0), SIZE[1]), layout="constrained"
    )
    place, width = np.arange(len(values)), 0.8 if len(values) <= 40 else 1.0
    if whole is not None:
        ax.bar(place, np.full(len(values), whole), width=width, color="#dcdcdc")
    drawn = ax.bar(place, values, width=width, color=np.where(chosen, ILL, HEALTHY).tolist())
    form = _form(values)
    ax.margins(y=0.1 if whole is None else 0.02)
    if len(values) <= 12:
        ax.bar_label(drawn, [form(value) for value in values], padding=2, fontsize=11, color=INK)
    if names is not None:
        ax.set_xticks(place, names)
    elif len(values) > 12:
        ax.set_xticks([])
    if target is not None:
        ax.axhline(target, color=INK, linestyle=DOTTED, linewidth=1.8)
        ax.annotate(target_text, (1.01, target), xycoords=("axes fraction", "data"), fontsize=11, va="center")
    title = title or sentence(f"{quantity}: {form(values.mean())} on average")
    ax.set(title=title, xlabel=across, ylabel=quantity, xlim=(-0.7, len(values) - 0.3))
    line = f" {target_text or 'Target'}: {form(target)}." if target is not None else ""
    each = f" One by one: {', '.join(form(value) for value in values)}." if len(values) <= 12 else ""
    show(
        fig,
        f"{stop(title)} {len(values)} columns of {quantity}, mean {form(values.mean())}, from {form(values.min())} to "
        f"{form(values.max())}.{each}{line}",
    )


# ---- what they share --------------------------------------------------------------------------------------


def _numbers(name: str, values) -> np.ndarray:
    values = np.asarray(values, dtype=float).ravel()
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"{name} must hold at least one number and only finite ones, got {values[:5].tolist()}"
        )
    return values


def _form(values, sign: bool = False):
    """How numbers of this size are written: whole from 20 on, else with the digits that tell them apart."""
    largest = max((abs(float(value)) for value in values), default=0)
    digits = (
        0 if largest >= 20 else 1 if largest >= 2 else 2 if largest >= 0.1 else 3 if largest >= 0.002 else 5
    )
    write = (f"{{:+,.{digits}f}}" if sign else f"{{:,.{digits}f}}").format

    def form(value) -> str:
        text = write(value)
        return text if text.strip("+-0.") else text.lstrip("+-")  # what rounds to 0 has no sign

    return form


def _direction(lower_is_better: bool | None) -> str:
    return "" if lower_is_better is None else f" ({'lower' if lower_is_better else 'higher'} is better)"


def _beside(ax: Axes, row: int, text: str) -> None:
    ax.annotate(text, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=11, color=INK,
                annotation_clip=False)  # fmt: skip


def _target(ax: Axes, target: float | None, text: str) -> None:
    """What right looks like, as a dotted line with its name above the axes."""
    if target is not None:
        ax.axvline(target, color=INK, linestyle=DOTTED, linewidth=1.8, zorder=1)
        ax.annotate(
            text, (target, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
            color=NEUTRAL, fontsize=11, ha="center",
        )  # fmt: skip


def _title(fig: Figure, title: str) -> None:
    """The title from the left edge of the figure on, in lines that fit: long names of rows leave the axes no room."""
    lines = textwrap.wrap(title, int(9 * fig.get_figwidth()))
    fig.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=plt.rcParams["axes.titlesize"])


def _rows_of(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.6)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=6)


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def stop(title: str) -> str:
    title = " ".join(title.split())
    return title if title.endswith((".", "!", "?")) else f"{title}."
