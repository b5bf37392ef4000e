"""The live panel, driven by its buttons and rates as a reader's hand would drive them."""

import asyncio
import html
import math
import threading
import time
from functools import partial
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from course_lib import data
from course_lib.classroom import live
from course_lib.classroom.live import LivePanel
from course_lib.recipes import RECIPES, Budget

matplotlib.use("agg")


class FakeSession:
    """Three classes, one of them never met; every round takes `cost` seconds of a clock that is ours."""

    def __init__(self, values, num_rounds=20, cost=0.03, fail_at=None, now=None):
        self.set_to = [dict(values)]
        self.mix = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
        self.num_rounds, self.cost, self.fail_at, self.now = num_rounds, cost, fail_at, now or [0.0]
        self.closed = False
        self.rounds = self._rounds()

    def _rounds(self):
        try:
            for number in range(self.num_rounds):
                if number == self.fail_at:
                    raise FloatingPointError("the loss of round 3 is not finite")
                self.now[0] += self.cost
                self.mix = 0.9 * self.mix + 0.1 / 3
                loss = torch.tensor([0.2, 0.9 * 0.9**number, math.nan])
                yield SimpleNamespace(round=number, class_loss=loss, class_count=torch.tensor([9, 3, 0]))
        finally:
            self.closed = True

    def set(self, name, value):
        if value > 0.9:
            raise ValueError(f"{name} is too large")
        self.set_to.append((name, value))


class Bench:
    """A panel over fake sessions and a clock that only training moves; its pictures are blank unless asked for."""

    def __init__(self, pictures=False, **session):
        self.now, self.sessions = [0.0], []

        def make_session(values):
            self.sessions.append(FakeSession(values, now=self.now, **session))
            return self.sessions[-1]

        self.panel = LivePanel(make_session, ["a", "b", "c"], clock=lambda: self.now[0])
        if not pictures:
            self.panel._picture = lambda *args: "<img>"

    async def until(self, condition):
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("never came true")


def test_a_panel_is_made_without_an_event_loop():
    panel = Bench().panel
    assert panel.error is None and panel.round == 0 and not panel.running
    assert 'alt="Nothing to see yet' in panel.picture.value and "ready" in panel.status.value
    assert "doctor()" in repr(panel)


def test_step_does_exactly_one_round():
    panel = Bench(pictures=True).panel
    panel.buttons["step"].click()
    panel.step()
    assert panel.round == 2 and panel.error is None and not panel.running
    assert np.allclose(panel.class_loss[1], [0.2, 0.81, math.nan], equal_nan=True)
    assert (
        len(panel.mix) == 3 and panel.mix[0].tolist() == [0.7, 0.2, 0.1] and panel.mix[2][2] > panel.mix[0][2]
    )
    assert panel.sentence.startswith("After round 2 b has the largest loss, 0.810, and gets ")
    assert html.escape(panel.sentence) in panel.picture.value and 'aria-live="polite"' in panel.words.value


def test_start_trains_to_the_end_and_finished_waits_for_it():
    bench = Bench(num_rounds=20, pictures=True)

    async def lesson():
        bench.panel.start()
        assert bench.panel.running and bench.panel.round == 0  # returned at once
        await bench.panel.finished()

    asyncio.run(lesson())
    panel = bench.panel
    assert html.escape(panel.sentence) in panel.picture.value
    assert panel.complete and not panel.running and panel.round == 20 and panel.error is None
    assert "round 20 · done" in panel.status.value and panel.sentence in html.unescape(panel.words.value)


def test_training_gives_way_after_every_slice():
    bench = Bench(num_rounds=20, cost=0.03)
    seen = []

    async def lesson():
        bench.panel.start()
        while bench.panel.running:
            await asyncio.sleep(0)
            seen.append(bench.panel.round)

    asyncio.run(lesson())
    done = np.diff([0, *seen])
    assert done.max() == 2  # rounds of 30 ms: the second one fills the slice of 40 ms
    assert bench.panel.SLICE <= 0.05


def test_a_picture_is_made_at_most_five_times_a_second():
    bench = Bench(num_rounds=100, cost=0.03)  # 3 seconds on the clock
    made = []

    def counted(*args):
        made.append(threading.current_thread())
        return "<img>"

    bench.panel._picture = counted

    async def lesson():
        bench.panel.start()
        await bench.panel.finished()

    asyncio.run(lesson())
    assert 5 <= len(made) <= 16
    assert threading.main_thread() not in made[:-1]  # the loop stays free meanwhile


def test_pause_is_immediate_and_start_goes_on():
    bench = Bench()
    panel = bench.panel

    async def lesson():
        panel.buttons["start"].click()
        await bench.until(lambda: panel.round >= 4)
        panel.buttons["pause"].click()
        at = panel.round
        assert "paused" in panel.status.value
        await panel.finished()
        for _ in range(20):
            await asyncio.sleep(0)
        assert panel.round == at and not panel.complete
        panel.start()
        assert panel.start() is panel._task  # a second press starts no second run
        await panel.finished()

    asyncio.run(lesson())
    assert panel.round == 20 and panel.complete and len(bench.sessions) == 1 and panel.error is None


def test_start_right_after_pause_does_not_run_twice():
    bench = Bench()

    async def lesson():
        bench.panel.start()
        await bench.until(lambda: bench.panel.round >= 2)
        bench.panel.pause()
        bench.panel.start()
        await bench.panel.finished()

    asyncio.run(lesson())
    assert bench.panel.round == 20 and bench.panel.complete


def test_step_during_training_pauses_after_one_more_round():
    bench = Bench()

    async def lesson():
        bench.panel.start()
        await bench.until(lambda: bench.panel.round >= 4)
        at = bench.panel.round
        bench.panel.step()
        await bench.panel.finished()
        assert bench.panel.round == at + 1 and not bench.panel.running

    asyncio.run(lesson())


def test_rates_changed_in_mid_training_reach_the_session():
    bench = Bench()
    panel = bench.panel

    async def lesson():
        panel.start()
        await bench.until(lambda: panel.round >= 4)
        panel.controls["mixing_rate"].value = 0.5
        panel.controls["learning_rate"].value = 0.1
        await panel.finished()

    asyncio.run(lesson())
    assert bench.sessions[0].set_to == [
        {"learning_rate": 0.01, "mixing_rate": 0.1}, ("mixing_rate", 0.5), ("learning_rate", 0.1),
    ]  # fmt: skip
    assert panel.round == 20 and panel.error is None


def test_reset_ends_the_run_and_begins_anew():
    bench = Bench()
    panel = bench.panel

    async def lesson():
        panel.controls["mixing_rate"].value = 0.5
        panel.start()
        await bench.until(lambda: panel.round >= 4)
        waiting = asyncio.create_task(panel.finished())
        await asyncio.sleep(0)
        panel.buttons["reset"].click()
        assert panel.round == 0 and not panel.running and len(panel.mix) == 1
        await waiting
        assert panel.round == 0
        panel.start()
        await panel.finished()

    asyncio.run(lesson())
    first, second = bench.sessions
    assert first.closed and first.set_to[1:] == [("mixing_rate", 0.5)]
    assert second.set_to == [{"learning_rate": 0.01, "mixing_rate": 0.1}]
    assert panel.round == 20 and panel.error is None


def test_what_goes_wrong_is_shown_kept_and_raised():
    bench = Bench(fail_at=3)
    panel = bench.panel

    async def lesson():
        panel.start()
        with pytest.raises(FloatingPointError, match="round 3"):
            await panel.finished()

    asyncio.run(lesson())
    assert isinstance(panel.error, FloatingPointError) and not panel.running and panel.round == 3
    assert 'role="alert"' in panel.alert.value and "not finite" in panel.alert.value
    panel.reset()
    assert panel.error is None and panel.alert.value == ""


def test_a_failing_step_or_rate_is_kept_too():
    panel = Bench(fail_at=0).panel
    panel.step()
    assert isinstance(panel.error, FloatingPointError) and panel.round == 0
    panel = Bench().panel
    panel.controls["learning_rate"].value = 1.0
    assert "learning_rate is too large" in panel.alert.value
    with pytest.raises(ValueError, match="too large"):
        asyncio.run(panel.finished())


def test_a_picture_that_fails_does_not_leave_anyone_waiting(monkeypatch):
    bench = Bench()

    async def lesson():
        bench.panel._picture = lambda *args: 1 / 0
        bench.panel.start()
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(bench.panel.finished(), 20)

    asyncio.run(lesson())


def test_a_cancelled_wait_leaves_the_training_alone():
    bench = Bench()

    async def lesson():
        bench.panel.start()
        waiting = asyncio.create_task(bench.panel.finished())
        await asyncio.sleep(0)
        waiting.cancel()
        await bench.panel.finished()

    asyncio.run(lesson())
    assert bench.panel.complete


def test_start_without_an_event_loop_says_so():
    panel = Bench().panel
    with pytest.raises(RuntimeError):
        panel.start()
    assert not panel.running
    panel.buttons["start"].click()
    assert isinstance(panel.error, RuntimeError) and 'role="alert"' in panel.alert.value


def test_another_thread_can_wait_and_steer():
    """JupyterLab runs callbacks in a thread beside the cells': start there, wait here."""
    bench = Bench(num_rounds=50)

    async def start():
        bench.panel.start()
        await bench.panel.finished()

    callbacks = threading.Thread(target=lambda: asyncio.run(start()))
    callbacks.start()
    while bench.panel._ended is None:
        time.sleep(0.01)
    bench.panel.controls["mixing_rate"].value = 0.3
    asyncio.run(bench.panel.finished())
    callbacks.join(20)
    assert bench.panel.round == 50 and ("mixing_rate", 0.3) in bench.sessions[0].set_to


def test_live_curves_start_empty_and_grow():
    names = ["a", "b"]
    empty = live.live_curves([], [[0.9, 0.1]], names)
    assert not [line for line in empty.axes[0].lines if line.get_label() in names]
    fig = live.live_curves([[0.3, np.nan], [0.2, 0.9]], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], names)
    lengths = [[len(line.get_xdata()) for line in ax.lines if line.get_label() in names] for ax in fig.axes]
    assert lengths == [[2, 2], [3, 3]]
    assert not plt.get_fignums()


@pytest.mark.parametrize("longest", [3, 14])
def test_names_of_the_left_panel_do_not_run_into_the_right_one(longest):
    names = [f"{k}" * longest for k in range(4)]
    fig = live.live_curves([[1, 2, 3, 4]] * 3, [[0.25] * 4] * 4, names)
    fig.draw_without_rendering()
    left, right = fig.axes
    reach = max(text.get_window_extent().x1 for text in left.texts)
    assert reach < min(label.get_window_extent().x0 for label in right.get_yticklabels())
    assert max(text.get_window_extent().x1 for text in right.texts) <= fig.bbox.x1


# ---- a session for any recipe, and the picture without a kernel -------------------------------------------


def small_session(values, recipe="learn2mix", rounds=6):
    budget = Budget(2 * rounds, 16, partial(torch.optim.Adam, lr=values["learning_rate"]), steps_per_round=2)
    task = data.gaussian_classes((0.8, 0.2), num_train=200, num_held=200)
    return live.RecipeSession(RECIPES[recipe], task, budget, pace=0)


def test_a_session_steers_a_recipe_between_rounds():
    session = small_session({"learning_rate": 0.1})
    assert session.mix.tolist() == pytest.approx([0.8, 0.2])
    rounds = iter(session.rounds)
    next(rounds)
    moved = session.mix.clone()
    assert moved[1] > 0.2
    session.set("learning_rate", 0.02)
    session.set("mixing_rate", 0.0)
    assert session.run.optimizer.param_groups[0]["lr"] == 0.02
    next(rounds)
    assert torch.equal(session.mix, moved), "a mixing rate of 0 moves nothing"
    assert len(list(rounds)) == 4
    with pytest.raises(
        ValueError, match="name must be learning_rate or a parameter of learn2mix, got 'speed'"
    ):
        session.set("speed", 1)


def test_a_recipe_without_a_mix_of_its_own_shows_its_prior():
    session = small_session({"learning_rate": 0.1}, "plain")
    assert len(list(session.rounds)) == 6 and session.mix.tolist() == pytest.approx([0.8, 0.2])


def test_a_panel_has_a_picture_of_some_rounds_for_readers_without_a_kernel():
    panel = live.LivePanel(small_session, ("common", "rare"), still_rounds=3)
    picture, words = panel.still()
    assert words.startswith("After round 3 ") and "<img" in picture
    assert panel.round == 0, "the run that is watched has not begun"
