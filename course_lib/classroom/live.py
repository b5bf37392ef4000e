"""The live panel: start, pause, step and steer a training run, and watch its classes and its mix as it goes.

Training runs in the kernel's event loop in slices of 40 ms, pictures are made beside it, so the page stays free.
"""

import asyncio
import concurrent.futures
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.classroom import plots
from course_lib.classroom.style import class_curves
from course_lib.classroom.widgets import (
    Card,
    Control,
    as_alert,
    as_copy,
    as_html,
    as_row,
    as_sentence,
    dress,
    log_slider,
    slider,
)
from course_lib.data import Task
from course_lib.recipes import Budget, Recipe, start, train
from course_lib.training import RoundStats


def live_curves(class_loss: Sequence, mix: Sequence, names: Sequence[str]) -> Figure:
    """Loss and share of the batch per class, round by round, for a panel that redraws while it trains.

    class_loss  one (K,) row per round done, NaN where a class was not met
    mix         one (K,) row more: the shares before each round, and those of the coming one
    """
    # Fixed margins and no pyplot: faster than a laid-out figure, and out of the way of a cell that draws.
    before, across, behind = (
        0.65,
        2.6,
        0.45 + 0.1 * max(len(name) for name in names),
    )  # inches: ticks, axes, names
    width = 2 * (before + across + behind)
    fig = Figure(figsize=(width, 3.4), layout="none")
    left_axes, right_axes = (
        fig.add_axes(((before + shift) / width, 0.17, across / width, 0.73)) for shift in (0, width / 2)
    )
    for ax, rows, first, quantity in (
        (left_axes, class_loss, 1, "mean loss of the class"),
        (right_axes, mix, 0, "share of the next batches"),
    ):
        rows = np.asarray(rows, dtype=float).reshape(-1, len(names))
        ax.set(xlabel="rounds done", title=quantity, xlim=(0, max(10, 1.02 * len(mix))))
        top = np.nanmax(rows, initial=0) * 1.08
        ax.set_ylim(0, top if np.isfinite(top) and top > 0 else 1)
        if np.isfinite(rows).any():
            class_curves(ax, range(first, first + len(rows)), rows, names)
    return fig


class Session(Protocol):
    """What `LivePanel` needs of a training run: `rounds` once, `mix` and `set` at any time between two rounds.

    rounds  iterator of statistics with .round, .class_loss (K,), .class_count (K,)
    mix     (K,) shares of the coming round
    set     changes a rate from the next round on
    """

    rounds: object
    mix: object

    def set(self, name: str, value: float) -> None: ...


class RecipeSession:
    """A run of any recipe, its rates changeable between two rounds: what a `LivePanel` trains.

    task    what is learned
    budget  its optimizer makes the learning rate that set("learning_rate", ...) changes later
    pace    seconds that a round waits, so that an eye can follow and a hand can steer
    """

    def __init__(
        self, recipe: Recipe, task: Task, budget: Budget, *, seed: int = 0, pace: float = 0.04
    ) -> None:
        self.run = start(recipe, task, budget, seed)
        self.pace, self.rounds = pace, self._rounds(train(self.run, validation=False))

    def _rounds(self, trained: Iterator[RoundStats]) -> Iterator[RoundStats]:
        for stats in trained:
            time.sleep(self.pace)
            yield stats

    @property
    def mix(self) -> Tensor:
        """(K,) shares of the coming round."""
        return getattr(self.run.sampler, "mix", self.run.prior)

    def set(self, name: str, value: float) -> None:
        """A new learning_rate, or a parameter of what steers the batches (mixing_rate), from the next round on."""
        if name == "learning_rate":
            for group in self.run.optimizer.param_groups:
                group["lr"] = value
        elif hasattr(self.run.control, name):
            setattr(self.run.control, name, value)
        else:
            raise ValueError(
                f"name must be learning_rate or a parameter of {self.run.recipe.name}, got {name!r}"
            )


class LivePanel(Card):
    """Training that can be watched, paused, stepped and steered: loss per class and the class mix, round by round.

    make_session  {control name: value} -> `Session`, fresh each time: called at the start and by Reset
    names         one per class, rarest last
    controls      name -> widget; moving one calls `session.set(name, value)`, also in mid-training; by default
                  learning_rate and mixing_rate
    title         the question the panel asks
    still_rounds  rounds of a run of its own that the picture shows where no kernel runs

    Start trains in slices of `SLICE` seconds on the event loop that the button (or the cell) runs in, and gives way
    between them. What goes wrong stops the run, is shown, kept in `error`, and raised by `await panel.finished()`.
    """

    # Seconds of training before giving way; of giving way, so that a cell is heard, run and answered in one or two
    # turns (with 0 it waits a slice for each step of that); between two pictures.
    SLICE, REST, REDRAW = 0.04, 0.01, 0.2

    def __init__(
        self,
        make_session: Callable[[dict], Session],
        names: Sequence[str],
        *,
        controls: Mapping[str, Control] | None = None,
        title: str = "Training, as it happens",
        still_rounds: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.make_session, self.names, self.title, self._clock = make_session, tuple(names), title, clock
        self.still_rounds = still_rounds
        self.controls = dict(controls) if controls is not None else {
            "learning_rate": log_slider("learning rate", 0.01, 1e-4, 1.0),
            "mixing_rate": slider("mixing rate (share of the way per round)", 0.1, 0.0, 1.0, 0.01),
        }  # fmt: skip
        self.defaults = {name: control.value for name, control in self.controls.items()}
        self.error, self.running, self.complete = None, False, False
        self._turn = threading.RLock()  # one round, one change, at a time
        self._ended: concurrent.futures.Future | None = None
        self._task: asyncio.Task | None = None

        dress(self.controls, True)
        actions = {"start": self._start_clicked, "pause": self.pause, "step": self.step, "reset": self.reset}
        self.buttons = {name: ipywidgets.Button(description=name.capitalize()) for name in actions}
        for name, action in actions.items():
            self.buttons[name].on_click(lambda _, action=action: action())
        for name, control in self.controls.items():
            control.observe(lambda change, name=name: self._steer(name, change["new"]), "value")
        self.status, self.alert, self.picture = as_html("course-status"), as_html(), as_html()
        self.words = as_html("course-sentence course-live")
        self.widget = ipywidgets.VBox(
            [
                self.heading(), as_row(*self.buttons.values()), *self.controls.values(),
                as_row(self.status, self.alert), self.picture, self.words,
            ]
        )  # fmt: skip
        self.widget.add_class("course-card")
        self._begin()

    @property
    def values(self) -> dict:
        return {name: control.value for name, control in self.controls.items()}

    @property
    def round(self) -> int:
        """Rounds done."""
        return len(self.class_loss)

    def _begin(self) -> None:
        self.session = self.make_session(self.values)
        self._rounds = iter(self.session.rounds)
        self.complete, self.error = False, None
        self.class_loss: list[np.ndarray] = []  # (K,) per round; NaN where a class was not seen
        self.mix: list[np.ndarray] = [as_copy(self.session.mix)]  # one more: the mix of the coming round
        self._draw()

    def still(self) -> tuple[str, str]:
        """Curves of `still_rounds` rounds of a session of its own, and what they say."""
        session = self.make_session(self.defaults)
        if hasattr(session, "pace"):
            session.pace = 0.0  # nobody watches this one
        class_loss, mix = [], [as_copy(session.mix)]
        for stats in itertools.islice(session.rounds, self.still_rounds):
            class_loss.append(as_copy(stats.class_loss))
            mix.append(as_copy(session.mix))
        return self._picture(class_loss, mix), self._told(class_loss, mix)

    # -- what the buttons do

    def start(self) -> asyncio.Task | None:
        """Train until done, paused or failed; returns at once. Nothing happens when it runs already or is done.

        Raises RuntimeError outside an event loop (a notebook has one): use `step` there.
        """
        with self._turn:
            if self.running or self.complete:
                return self._task
            loop = asyncio.get_running_loop()
            self.running, self.error = True, None
            self._ended = ended = concurrent.futures.Future()
            self._task = loop.create_task(self._train(ended))
            self._say()
            return self._task

    def _start_clicked(self) -> None:
        try:
            self.start()
        except RuntimeError as error:
            self._fail(error)

    def pause(self) -> None:
        """Stop after the round under way."""
        self.running = False
        self._say()

    def step(self) -> None:
        """Exactly one round, then rest. An error is shown and kept in `error`."""
        self.running = False
        with self._turn:
            self._advance()
            self._draw()

    def reset(self) -> None:
        """End the run, set the rates back, and begin anew with a fresh session."""
        self.running = False
        with self._turn:
            self._ended = self._task = self.session = None
            if hasattr(self._rounds, "close"):
                self._rounds.close()
            try:
                for name, control in self.controls.items():
                    control.value = self.defaults[name]
                self._begin()
            except Exception as error:
                self._fail(error)

    async def finished(self) -> None:
        """Wait until the run is done, paused or reset; raise what went wrong, if anything did.

        In a cell it may hold up the buttons too, as any cell that runs does: await it in tests and scripts.
        """
        if self._ended is not None:
            await asyncio.shield(asyncio.wrap_future(self._ended))
        if self.error is not None:
            raise self.error

    # -- how it runs

    async def _train(self, ended: concurrent.futures.Future) -> None:
        try:
            drawn = self._clock()
            while self._going(ended):
                began = self._clock()
                while self._clock() - began < self.SLICE and self._going(ended):
                    with self._turn:
                        if self._going(ended):
                            self._advance()
                await asyncio.sleep(self.REST)
                if self._clock() - drawn >= self.REDRAW and self._going(ended):
                    # A picture takes longer than a slice: a thread makes it while the loop stays free.
                    picture = await asyncio.to_thread(self._picture, list(self.class_loss), list(self.mix))
                    if self._going(ended):
                        self.picture.value = picture
                        self._say()
                    drawn = self._clock()
        finally:
            with self._turn:
                if self._ended is ended:
                    self.running = False
                    self._draw()
            ended.set_result(None)

    def _going(self, ended: concurrent.futures.Future) -> bool:
        """Whether this run, and not one that a reset or a second start has replaced, is to go on."""
        return self.running and self._ended is ended

    def _advance(self) -> None:
        """One round; the last one, or one that fails, ends the run."""
        if self.complete or self.session is None:
            return
        try:
            stats = next(self._rounds, None)
            if stats is None:
                self.complete, self.running = True, False
            else:
                self.class_loss.append(as_copy(stats.class_loss))
                self.mix.append(as_copy(self.session.mix))
        except Exception as error:
            self._fail(error)

    def _steer(self, name: str, value: float) -> None:
        with self._turn:
            try:
                if self.session is not None:
                    self.session.set(name, value)
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.running, self.error = False, error
        self._say()

    # -- what is seen

    def _say(self) -> None:
        state = (
            "done" if self.complete else "training" if self.running else "paused" if self.round else "ready"
        )
        self.status.value = f"round {self.round} · {state}"
        self.alert.value = as_alert(self.error, "Training stopped:")

    @property
    def sentence(self) -> str:
        """What the curves say now."""
        return self._told(self.class_loss, self.mix)

    def _told(self, class_loss: list[np.ndarray], mix: list[np.ndarray]) -> str:
        if not class_loss or not np.isfinite(class_loss[-1]).any():
            return "Nothing to see yet: press Start or Step to train."
        worst, loss, share = int(np.nanargmax(class_loss[-1])), class_loss[-1], mix[-1]
        rarest = "" if worst == len(share) - 1 else f"; {self.names[-1]}, the rarest, gets {share[-1]:.1%}"
        return (
            f"After round {len(class_loss)} {self.names[worst]} has the largest loss, {loss[worst]:.3f}, and gets "
            f"{share[worst]:.1%} of the next batches{rarest}."
        )

    def _picture(self, class_loss: list[np.ndarray], mix: list[np.ndarray]) -> str:
        said = self._told(class_loss, mix)
        return plots.to_html(live_curves(class_loss, mix, self.names), said, dpi=100)

    def _draw(self) -> None:
        try:
            if not self.running:  # read aloud when it rests, not five times a second
                self.words.value = as_sentence(self.sentence)
            self.picture.value = self._picture(self.class_loss, self.mix)
            self._say()
        except Exception as error:
            self._fail(error)
