"""Explorers: controls beside a picture that answers at once.

An explorer is two pure functions and a few controls: `compute(**values)` gives a result, `draw(result, ghost)` a
figure, `describe(result, previous)` the sentence that says what changed. `Explorer` wires them to ipywidgets.

Where a widget's callback runs is up to the front end: JupyterLab may use a thread beside the one that runs the cells.
Hence the locks.
"""

import html
import importlib.metadata
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anywidget
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from course_lib.classroom import plots

Control = ipywidgets.Widget  # anything with a `value` and a `description`

BUSY = '<span class="course-busy">computing…</span>'


class Manners(anywidget.AnyWidget):
    """The part of a card that runs in the page: its style, and names and keys that ipywidgets leaves out."""

    _esm = (Path(__file__).parent / "card.js").read_text(encoding="utf-8")
    _css = (Path(__file__).parent / "card.css").read_text(encoding="utf-8")


# ---- controls ---------------------------------------------------------------------------------------------


def slider(
    label: str, value: float, low: float, high: float, step: float, *, digits: int | None = None
) -> Control:
    """A slider for a number; whole numbers throughout make it a whole-number slider.

    label   names the quantity and its unit: "cost of a miss (in false alarms)"
    digits  after the point in the readout; by default those of `step`

    Raises ValueError when `value` lies beyond the ends, or is not a whole number of steps from `low`: the page would
    move it there.
    """
    _inside(label, value, low, high)
    if not step > 0:
        raise ValueError(f"step must be positive, got {step}")
    if not math.isclose((steps := (value - low) / step), round(steps), abs_tol=1e-6):
        raise ValueError(f"value must be a whole number of steps of {step} from {low}, got {value}")
    if all(isinstance(number, int) for number in (value, low, high, step)):
        return ipywidgets.IntSlider(value, low, high, step, description=label)
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if digits is None else digits
    return ipywidgets.FloatSlider(
        value, min=low, max=high, step=step, description=label, readout_format=f".{digits}f"
    )


def log_slider(label: str, value: float, low: float, high: float, *, per_decade: float = 10) -> Control:
    """A slider over powers of ten from `low` to `high`, `per_decade` steps to each; the nearest is where it starts.

    Raises ValueError when `value` lies beyond the ends.
    """
    if not low > 0:
        raise ValueError(f"low must be positive on a log slider, got {low}")
    _inside(label, value, low, high)
    nearest = low * 10 ** (round(math.log10(value / low) * per_decade) / per_decade)
    value = value if math.isclose(value, nearest) else nearest
    return ipywidgets.FloatLogSlider(
        value, min=math.log10(low), max=math.log10(high), step=1 / per_decade, description=label, readout_format=".2g"
    )  # fmt: skip


def _inside(label: str, value: float, low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"high of {label!r} must be above low, got {low} and {high}")
    if not low <= value <= high:
        raise ValueError(f"value of {label!r} must lie between {low} and {high}, got {value}")


def choice(label: str, options: Sequence | Mapping, value=None) -> Control:
    """A drop-down list of values, or of value -> text; the first one is chosen unless `value` is."""
    values = list(options)
    texts = options.values() if isinstance(options, Mapping) else map(str, values)
    menu = ipywidgets.Dropdown(options=list(zip(texts, values, strict=True)), description=label)
    if value is not None:
        if value not in values:
            raise ValueError(f"value of {label!r} must be one of {values}, got {value!r}")
        menu.value = value
    return menu


def toggle(label: str, value: bool = False) -> Control:
    """A box to tick."""
    return ipywidgets.Checkbox(value, description=label, indent=False)


def dress(controls: Mapping[str, Control], continuous: bool) -> None:
    """Labels in full and one under the other, and moves reported while dragging or at the end only."""
    longest = max((len(control.description) for control in controls.values()), default=0)
    for name, control in controls.items():
        if not control.description:
            raise ValueError(f"controls[{name!r}] must have a label that names its quantity and unit")
        if "description_width" in control.style.keys and not isinstance(control, ipywidgets.Checkbox):
            control.style.description_width = f"{longest + 1}ch"
        control.layout.width = f"min(100%, {longest + 46}ch)"
        if control.has_trait("continuous_update"):
            control.continuous_update = continuous


def as_set(value):
    """A control's value as somebody set it: 0.5, also where the page's logarithms made it 0.49999999999999994."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def as_html(css: str = "", value: str = "") -> ipywidgets.HTML:
    region = ipywidgets.HTML(value)
    for name in css.split():
        region.add_class(name)
    return region


def as_row(*parts: ipywidgets.Widget) -> ipywidgets.HBox:
    return ipywidgets.HBox(parts, layout=ipywidgets.Layout(flex_flow="row wrap"))


def as_alert(error: Exception | None, what: str) -> str:
    """The error as a message that screen readers speak at once, or nothing."""
    if error is None:
        return ""
    said = str(error) or "no reason was given"
    return (
        f'<div role="alert" class="course-alert"><b>{what}</b> {html.escape(said)} '
        f"<small>({type(error).__name__})</small></div>"
    )


def as_copy(values) -> np.ndarray:
    return np.asarray(values, dtype=float).copy()


def as_sentence(text: str) -> str:
    return f'<div role="status" aria-live="polite">{html.escape(text)}</div>'


class Card:
    """What explorer and panel share: a picture that stands for it without a kernel, and a card of widgets."""

    title: str
    widget: ipywidgets.Widget
    error: Exception | None = None

    def still(self) -> tuple[str, str]:
        """The first setting as an `<img>`, and what it shows in words."""
        raise NotImplementedError

    def heading(self) -> ipywidgets.VBox:
        title = f'<div class="course-title" role="heading" aria-level="4">{html.escape(self.title)}</div>'
        return ipywidgets.VBox([Manners(), as_html(value=title)])

    def _ipython_display_(self) -> None:
        """Two outputs: a picture, seen wherever no kernel runs, and the widget, which hides it (card.css)."""
        picture, words = self.still()
        display({"text/html": f'<div class="course-static">{picture}</div>', "text/plain": words}, raw=True)
        display({**(self.widget._repr_mimebundle_() or {}), "text/plain": repr(self)}, raw=True)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {self.title}. If you read this instead of seeing sliders, run "
            "course_lib.classroom.widgets.doctor()>"
        )


# ---- the explorer -----------------------------------------------------------------------------------------


class Explorer(Card):
    """Controls, a picture that follows them, the ghost of the setting before, and a sentence that says what changed.

    compute   pure; called with one keyword argument per control, gives a result
    draw      pure; (result, ghost) -> Figure; ghost is the result before the latest move, None at first
    describe  pure; (result, previous) -> a sentence with the numbers that changed; previous is what ghost is
    controls  name -> widget with a label (`slider`, `log_slider`, `choice`, `toggle`); at most three or four
    table     result -> DataFrame or rows (dicts): the picture's numbers for those who cannot see it
    alt       result -> sentence that says what the picture shows; by default what `describe` says
    title     the question the explorer asks
    continuous  False waits for the end of a drag: for a compute that takes longer than about 0.3 s
    settle    seconds; moves of one control that follow each other faster are one move, so that a drag is compared
              with where it began and not with the pixel before
    remember  results kept, so that going back is immediate; 0 for a compute that is not repeatable

    A failing compute, draw or describe leaves picture, sentence and `result` as they were, shows the message
    beside the controls and keeps the exception in `error`; at construction it raises.
    """

    def __init__(
        self,
        compute: Callable[..., object],
        draw: Callable[..., Figure],
        describe: Callable[[object, object], str],
        controls: Mapping[str, Control],
        *,
        table: Callable | None = None,
        alt: Callable[[object], str] | None = None,
        title: str = "",
        continuous: bool = True,
        settle: float = 0.7,
        remember: int = 64,
    ) -> None:
        self.compute, self.draw, self.describe, self.table, self.alt = compute, draw, describe, table, alt
        self.title, self.controls = title, dict(controls)
        self.defaults = self.values
        self.result = self.previous = None
        self.sentence, self.error = "", None
        self._settle, self._remember, self._known = settle, remember, {}
        self._shown: dict = {}  # the values that the picture shows
        self._first = ()  # sentence and picture to go back to
        self._last_move: tuple[set[str], float] = (set(), -math.inf)
        self._lock, self._quiet = threading.Lock(), False

        dress(self.controls, continuous)
        self.reset_button = ipywidgets.Button(description="Reset", tooltip="back to the first setting")
        self.table_button = ipywidgets.ToggleButton(description="Numbers as a table")
        self.table_button.layout.width = "auto"
        self.status, self.alert = as_html("course-status"), as_html()
        self.picture, self.words = as_html(), as_html("course-sentence course-live")
        self.numbers = as_html("course-table")
        buttons = [self.reset_button] + ([self.table_button] if table else [])
        self.widget = ipywidgets.VBox(
            [
                self.heading(), *self.controls.values(), as_row(*buttons, self.status, self.alert),
                self.picture, self.words, self.numbers,
            ]
        )  # fmt: skip
        self.widget.add_class("course-card")

        self._follow(self.values)
        self._still = self.picture.value, self._alt(self.result, self.sentence)
        self._first = (self.sentence, self.picture.value) if remember else ()
        for control in self.controls.values():
            control.observe(self._moved, "value")
        self.reset_button.on_click(lambda _: self.reset())
        self.table_button.observe(self._table_toggled, "value")

    @property
    def values(self) -> dict:
        """The setting that the controls show, without the last digits that a page's arithmetic adds to it."""
        return {name: as_set(control.value) for name, control in self.controls.items()}

    def reset(self) -> None:
        """Back to the first setting and what was said of it, in one step, with no setting before it."""
        self._quiet = True
        try:
            for name, control in self.controls.items():
                control.value = self.defaults[name]
        finally:
            self._quiet = False
        if self.previous is not None or self.values != self._shown:
            self._shown = {}  # as at the beginning
        self._moved()

    def still(self) -> tuple[str, str]:
        return self._still

    def _moved(self, _change=None) -> None:
        """Answer the latest setting. A move that arrives while an answer is made is answered after it, once."""
        if self._quiet:
            return
        while self.values != self._shown and self._lock.acquire(blocking=False):
            try:
                wanted = self.values
                self.status.value = BUSY
                try:
                    self._follow(wanted)
                    self.error = None
                except Exception as error:  # a slider must not die of a bad setting; the message is shown
                    self.error = error
                    self._shown = wanted  # answered: only another setting is worth another try
                self.alert.value = as_alert(self.error, "This setting cannot be shown:")
                self.status.value = ""
            finally:
                self._lock.release()

    def _follow(self, values: dict) -> None:
        """Compute, draw and say the setting; nothing changes unless all three succeed."""
        moved = {name for name in values if values[name] != self._shown.get(name)}
        before, at = self._last_move
        same_move = moved == before and time.monotonic() - at < self._settle
        previous = None if not self._shown else self.previous if same_move else self.result
        open_before = set(plt.get_fignums())
        try:
            result = self._result(values)
            compared = None if result is previous else previous  # there and back again: nothing to compare
            if compared is None and self._first and values == self.defaults:
                sentence, picture = self._first
            else:
                sentence = self.describe(result, compared)
                picture = plots.to_html(self.draw(result, compared), self._alt(result, sentence), dpi=100)
            numbers = self._table(result)
        except Exception:
            for number in set(plt.get_fignums()) - open_before:
                plt.close(number)
            raise
        self.result, self.previous, self.sentence, self._shown = result, previous, sentence, values
        self._last_move = (moved, time.monotonic())
        self.picture.value, self.words.value, self.numbers.value = picture, as_sentence(sentence), numbers

    def _result(self, values: dict) -> object:
        if not self._remember:
            return self.compute(**values)
        key = tuple(values.values())
        if key not in self._known:
            result = self.compute(**values)
            while len(self._known) >= self._remember:
                del self._known[next(iter(self._known))]
            self._known[key] = result
        return self._known[key]

    def _alt(self, result, sentence: str) -> str:
        return self.alt(result) if self.alt else sentence

    def _table(self, result) -> str:
        """The numbers, when asked for. Not in a <details>: every new answer would close it again."""
        if not (self.table and self.table_button.value):
            return ""
        return pd.DataFrame(self.table(result)).to_html(border=0, float_format="{:.4g}".format)

    def _table_toggled(self, _change) -> None:
        """JupyterLab may tell of the button in one thread while another still answers a move: after that answer."""
        with self._lock:
            try:
                self.numbers.value = self._table(self.result)
            except Exception as error:
                self.error = error
                self.alert.value = as_alert(error, "These numbers cannot be shown:")
        self._moved()  # a move that found the lock taken went away


# ---- the doctor -------------------------------------------------------------------------------------------


class Diagnosis:
    """What `doctor` found: `ok` and a sentence; shown by a front end, it says whether that one shows widgets."""

    def __init__(self, ok: bool, sentence: str, advice: str) -> None:
        self.ok, self.sentence, self.advice = ok, sentence, advice

    def __str__(self) -> str:
        return self.sentence

    __repr__ = __str__

    def _repr_mimebundle_(self, **kwargs) -> dict:
        """A widget, and beside it plain text that only a front end without widgets shows."""
        text = f"Sliders work here. {self.sentence}" if self.ok else f"{self.sentence} {self.advice}"
        bundle = ipywidgets.HTML(html.escape(text))._repr_mimebundle_(**kwargs) or {}
        return {**bundle, "text/plain": f"Sliders do not work here. {self.sentence} {self.advice}"}


def doctor() -> Diagnosis:
    """Whether explorers work here, and what to do if not: `doctor()` as the last line of a cell.

    Python's side is looked at; the page tells by which of two lines it shows.
    """
    advice = (
        "Open the notebook with `make lab`, or `jupyter lab` from the course's environment, and reload the page. "
        "Every explorer has an ordinary figure beside it: the lesson can be read without."
    )
    found = {}
    for package, least in (("ipywidgets", 8), ("jupyterlab_widgets", 3)):
        try:
            found[package] = version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return Diagnosis(
                False, f'{package} is not installed: run `pip install "ipywidgets>=8.1"`.', advice
            )
        if int(version.split(".")[0]) < least:
            return Diagnosis(
                False, f"{package} {version} is too old: at least version {least} is needed.", advice
            )
    if not hasattr(get_ipython(), "kernel"):
        return Diagnosis(False, "No notebook runs this code, so there is no page to show sliders in.", advice)
    versions = ", ".join(f"{package} {version}" for package, version in found.items())
    return Diagnosis(True, f"Python's side is in order: {versions}.", advice)
