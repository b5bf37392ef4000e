"""Explorers, driven by their controls' values as a reader's hand would drive them."""

import math
import re
import threading
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest

from course_lib.classroom import widgets
from course_lib.classroom.tools import notebooks

matplotlib.use("agg")


# ---- an explorer ------------------------------------------------------------------------------------------


class Asked:
    """A toy explorer's three functions; remembers what they were asked."""

    def __init__(self):
        self.computed, self.drawn = [], []

    def compute(self, threshold, cost):
        self.computed.append((threshold, cost))
        if threshold > 0.9:
            raise ValueError("threshold must be at most 0.9, got <b>more</b>")
        return threshold * cost

    def draw(self, result, ghost=None):
        self.drawn.append((result, ghost))
        fig, ax = plt.subplots(figsize=(1, 1))
        ax.plot([0, result])
        return fig

    def describe(self, result, previous):
        before = "" if previous is None else f", before it was {previous:.2f}"
        return f"The expected cost is {result:.2f}{before}."

    def table(self, result):
        return pd.DataFrame({"expected cost": [result]})

    def explorer(self, **changes):
        controls = {
            "threshold": widgets.slider("threshold (probability)", 0.5, 0.0, 1.0, 0.1),
            "cost": widgets.slider("cost of a miss (false alarms)", 4, 1, 9, 1),
        }
        parts = {"table": self.table, "title": "Which cut is cheapest?", "settle": 0.0, **changes}
        return widgets.Explorer(self.compute, self.draw, self.describe, controls, **parts)


@pytest.fixture
def asked():
    yield Asked()
    plt.close("all")


def test_the_first_setting_is_shown_at_once(asked):
    explorer = asked.explorer()
    assert explorer.error is None and explorer.result == 2.0
    assert explorer.sentence == "The expected cost is 2.00."
    assert asked.drawn == [(2.0, None)]
    assert 'alt="The expected cost is 2.00."' in explorer.picture.value
    assert "data:image/png;base64," in explorer.picture.value
    assert not plt.get_fignums()


def test_a_move_recomputes_and_says_what_changed(asked):
    explorer = asked.explorer()
    explorer.controls["cost"].value = 8
    assert explorer.error is None
    explorer.controls["threshold"].value = 0.1
    assert explorer.error is None
    assert asked.drawn == [(2.0, None), (4.0, 2.0), (pytest.approx(0.8), 4.0)]  # (result, ghost)
    assert explorer.sentence == "The expected cost is 0.80, before it was 4.00."
    assert explorer.values == {"threshold": 0.1, "cost": 8}


def test_the_rounding_of_a_page_is_no_move(asked):
    """A log slider that is merely shown sends back 10 ** log10(0.5)."""
    explorer = asked.explorer()
    explorer.controls["threshold"].value = 0.49999999999999994
    assert asked.drawn == [(2.0, None)] and explorer.values == {"threshold": 0.5, "cost": 4}


def test_a_slider_starts_on_one_of_its_steps():
    """Anything else the page would move, and the explorer answer a move that nobody made."""
    assert widgets.log_slider("positives", 40, 5, 320).value == pytest.approx(5 * 10**0.9)
    assert widgets.log_slider("positives", 40, 5, 320, per_decade=3 / math.log10(2)).value == 40
    assert widgets.log_slider("threshold", 0.5, 0.005, 0.5).value == 0.5
    assert widgets.slider("share", 0.3, 0, 1, 0.1).value == 0.3
    with pytest.raises(ValueError, match=r"value must be a whole number of steps of 0\.1 from 0, got 0\.25"):
        widgets.slider("share", 0.25, 0, 1, 0.1)
    with pytest.raises(ValueError, match="steps of 2 from 1, got 4"):
        widgets.slider("count", 4, 1, 9, 2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: widgets.slider("share", 1.5, 0, 1, 0.5),
            "value of 'share' must lie between 0 and 1, got 1.5",
        ),
        (lambda: widgets.slider("share", -1, 0, 1, 1), "between 0 and 1, got -1"),
        (lambda: widgets.slider("share", 1, 1, 1, 1), "high of 'share' must be above low, got 1 and 1"),
        (lambda: widgets.slider("share", 0, 0, 1, 0), "step must be positive, got 0"),
        (
            lambda: widgets.log_slider("rate", 2.0, 0.01, 1.0),
            "value of 'rate' must lie between 0.01 and 1.0, got 2.0",
        ),
        (lambda: widgets.log_slider("rate", 0.5, 0.0, 1.0), "low must be positive on a log slider, got 0.0"),
        (
            lambda: widgets.choice("optimiser", ["SGD", "Adam"], "SGDM"),
            "must be one of ['SGD', 'Adam'], got 'SGDM'",
        ),
    ],
)
def test_a_control_that_could_not_show_its_start_is_refused(make, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        make()


def test_a_drag_is_compared_with_where_it_began(asked):
    explorer = asked.explorer(settle=60)
    for cost in (5, 6, 7, 8):
        explorer.controls["cost"].value = cost
    assert [ghost for _, ghost in asked.drawn] == [None, 2.0, 2.0, 2.0, 2.0]
    explorer.controls["threshold"].value = 0.1  # another control: a move of its own
    assert asked.drawn[-1] == (pytest.approx(0.8), 4.0)


def test_a_drag_back_to_where_it_began_has_nothing_to_compare(asked):
    explorer = asked.explorer(settle=60)
    seen = []
    for cost in (5, 4, 6):
        explorer.controls["cost"].value = cost
        seen.append(explorer.picture.value)
    assert asked.drawn == [(2.0, None), (2.5, 2.0), (3.0, 2.0)]
    assert seen[1] == explorer.still()[0] and len(set(seen)) == 3


def test_the_sentence_stands_in_a_live_region_and_as_text(asked):
    asked.describe = lambda result, previous: "Cost < 3 & falling in all cases."
    explorer = asked.explorer()
    assert 'aria-live="polite"' in explorer.words.value
    assert "Cost &lt; 3 &amp; falling" in explorer.words.value
    assert explorer.words in explorer.widget.children and "course-live" in explorer.words._dom_classes


def test_an_own_alt_text_is_used(asked):
    explorer = asked.explorer(alt=lambda result: f"A line that rises to {result}.")
    assert 'alt="A line that rises to 2.0."' in explorer.picture.value


def test_settings_seen_before_are_not_computed_again(asked):
    explorer = asked.explorer()
    for cost in (5, 4, 5, 4):
        explorer.controls["cost"].value = cost
    assert asked.computed == [(0.5, 4), (0.5, 5)]
    assert len(asked.drawn) == 5


def test_only_so_many_results_are_remembered(asked):
    explorer = asked.explorer(remember=2)
    for cost in (5, 6, 4):
        explorer.controls["cost"].value = cost
    assert asked.computed == [(0.5, 4), (0.5, 5), (0.5, 6), (0.5, 4)]


def test_nothing_is_remembered_when_asked_not_to(asked):
    explorer = asked.explorer(remember=0)
    explorer.controls["cost"].value = 5
    explorer.controls["cost"].value = 4
    assert len(asked.computed) == 3


def test_a_setting_that_fails_leaves_the_picture_and_says_why(asked):
    explorer = asked.explorer()
    picture = explorer.picture.value
    explorer.controls["threshold"].value = 1.0
    assert isinstance(explorer.error, ValueError)
    assert 'role="alert"' in explorer.alert.value and "threshold must be at most 0.9" in explorer.alert.value
    assert "&lt;b&gt;more" in explorer.alert.value
    assert explorer.picture.value == picture and explorer.result == 2.0
    assert explorer.sentence == "The expected cost is 2.00."
    assert explorer.status.value == ""

    explorer.controls["threshold"].value = 0.2
    assert explorer.error is None and explorer.alert.value == "" and explorer.result == pytest.approx(0.8)
    assert asked.drawn[-1][1] == 2.0  # the ghost is the last good setting


@pytest.mark.parametrize("part", ["draw", "describe"])
def test_a_failing_draw_or_describe_is_an_error_like_any_other(asked, part):
    explorer = asked.explorer()
    before = (explorer.picture.value, explorer.sentence, explorer.result)

    def broken(*args):
        plt.figure()
        raise RuntimeError("no ink")

    setattr(explorer, part, broken)
    explorer.controls["cost"].value = 5
    assert str(explorer.error) == "no ink"
    assert (explorer.picture.value, explorer.sentence, explorer.result) == before
    assert not plt.get_fignums()


def test_a_description_that_is_no_sentence_is_an_error(asked):
    asked.describe = lambda result, previous: "cost 3"
    with pytest.raises(ValueError, match="must be a sentence"):
        asked.explorer()


def test_an_explorer_that_cannot_show_its_first_setting_raises(asked):
    asked.compute = lambda threshold, cost: 1 / 0
    with pytest.raises(ZeroDivisionError):
        asked.explorer()


def test_moves_during_a_computation_are_answered_once_with_the_latest(asked):
    explorer = asked.explorer()
    slow = asked.compute

    def compute(threshold, cost):
        if cost == 5:  # while it computes, the hand goes on
            for later in (6, 7, 8):
                explorer.controls["cost"].value = later
        return slow(threshold, cost)

    explorer.compute = compute
    explorer.controls["cost"].value = 5
    assert asked.computed == [(0.5, 4), (0.5, 5), (0.5, 8)]
    assert explorer.result == 4.0 and explorer.error is None


def test_moves_from_another_thread_are_answered_once_with_the_latest(asked):
    explorer = asked.explorer()
    quick, started, go_on = asked.compute, threading.Event(), threading.Event()

    def compute(threshold, cost):
        if cost == 5:
            started.set()
            assert go_on.wait(20)
        return quick(threshold, cost)

    explorer.compute = compute
    hand = threading.Thread(target=lambda: setattr(explorer.controls["cost"], "value", 5))
    hand.start()
    assert started.wait(20)
    assert "computing…" in explorer.status.value
    for later in (6, 7, 8):
        explorer.controls["cost"].value = later  # returns at once: the other thread will see it
    go_on.set()
    hand.join(20)
    assert asked.computed == [(0.5, 4), (0.5, 5), (0.5, 8)]
    assert explorer.result == 4.0 and explorer.error is None and explorer.status.value == ""


def test_reset_goes_back_in_one_step(asked):
    explorer = asked.explorer(remember=0)
    explorer.controls["cost"].value = 8
    explorer.controls["threshold"].value = 0.1
    asked.computed.clear()
    explorer.reset_button.click()
    assert asked.computed == [(0.5, 4)] and explorer.values == explorer.defaults
    assert explorer.error is None and explorer.result == 2.0
    explorer.reset_button.click()
    assert asked.computed == [(0.5, 4)]


def test_reset_forgets_the_setting_before(asked):
    explorer = asked.explorer()
    first = explorer.picture.value, explorer.words.value, explorer.sentence
    explorer.controls["cost"].value = 8
    explorer.reset_button.click()
    assert (explorer.picture.value, explorer.words.value, explorer.sentence) == first
    explorer.controls["cost"].value = 8
    explorer.controls["cost"].value = 4  # by hand: the ghost stays until Reset
    assert explorer.sentence != first[-1]
    explorer.reset_button.click()
    assert (explorer.picture.value, explorer.words.value, explorer.sentence) == first
    assert asked.drawn.count((2.0, None)) == 1, "the first picture is kept, not drawn again"


def test_reset_after_an_error_clears_it(asked):
    explorer = asked.explorer()
    explorer.controls["threshold"].value = 1.0
    explorer.reset_button.click()
    assert explorer.error is None and explorer.alert.value == ""


def test_the_numbers_can_be_read_as_a_table_that_follows(asked):
    explorer = asked.explorer()
    assert explorer.numbers.value == ""
    explorer.table_button.value = True
    assert "<td>2</td>" in explorer.numbers.value
    explorer.controls["cost"].value = 8
    assert "<td>4</td>" in explorer.numbers.value
    explorer.table_button.value = False
    assert explorer.numbers.value == ""


def test_numbers_asked_for_while_a_move_is_answered_are_there_after_it(asked):
    """JupyterLab tells of buttons in one thread and of values in another."""
    explorer = asked.explorer()
    showing, go_on = threading.Event(), threading.Event()

    def wait(_change):  # late in an answer: its numbers are made, and not yet shown
        showing.set()
        assert go_on.wait(20)

    explorer.words.observe(wait, "value")
    hand = threading.Thread(target=lambda: setattr(explorer.controls["cost"], "value", 8))
    other = threading.Thread(target=lambda: setattr(explorer.table_button, "value", True))
    hand.start()
    assert showing.wait(20)
    other.start()
    other.join(0.3)  # it may wait for the answer, or not
    go_on.set()
    hand.join(20)
    other.join(20)
    assert "<td>4</td>" in explorer.numbers.value


def test_a_move_while_the_numbers_are_made_is_answered_after_them(asked):
    explorer = asked.explorer()
    making, go_on = threading.Event(), threading.Event()

    def table(result):
        making.set()
        assert go_on.wait(20)
        return [{"expected cost": result}]

    explorer.table = table
    other = threading.Thread(target=lambda: setattr(explorer.table_button, "value", True))
    other.start()
    assert making.wait(20)
    explorer.controls["cost"].value = 8  # returns at once: the other thread will see it
    go_on.set()
    other.join(20)
    assert explorer.result == 4.0 and "<td>4</td>" in explorer.numbers.value


def test_a_table_may_be_rows(asked):
    explorer = asked.explorer(table=lambda result: [{"quantity": "cost", "value": result / 3}])
    explorer.table_button.value = True
    assert "<th>quantity</th>" in explorer.numbers.value and "<td>0.6667</td>" in explorer.numbers.value


def test_a_failing_table_is_an_error_beside_the_controls(asked):
    explorer = asked.explorer(table=lambda result: 1 / 0)
    explorer.table_button.value = True
    assert isinstance(explorer.error, ZeroDivisionError) and 'role="alert"' in explorer.alert.value


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr(widgets, "display", lambda bundle, raw: shown.append(bundle))
    return shown


def test_an_explorer_shows_a_picture_for_readers_without_a_kernel_and_the_widget(asked, displayed):
    explorer = asked.explorer()
    first = explorer.picture.value
    explorer.controls["cost"].value = 8
    explorer._ipython_display_()
    picture, live = displayed
    assert picture == {
        "text/html": f'<div class="course-static">{first}</div>', "text/plain": "The expected cost is 2.00."
    }  # fmt: skip
    assert live["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.widget.model_id
    assert live["text/plain"] == repr(explorer)
    assert (
        "Which cut is cheapest?" in repr(explorer)
        and "doctor()" in repr(explorer)
        and len(repr(explorer)) < 200
    )


def test_what_is_saved_of_an_explorer_is_its_picture(asked, displayed):
    asked.explorer()._ipython_display_()
    outputs = [nbformat.v4.new_output("display_data", bundle) for bundle in displayed]
    kept = [notebooks.clean_output(output) for output in outputs]
    assert "course-static" in kept[0].data["text/html"] and kept[1] is None


def test_the_card_names_and_hides_what_its_style_speaks_of(asked):
    """Classes in the code and in the style that is sent to the page are the same ones."""
    explorer = asked.explorer()
    used = set(explorer.widget._dom_classes) | {
        "course-static",
        "course-alert",
        "course-busy",
        "course-title",
    }
    used |= {name for part in explorer.widget.children for name in part._dom_classes}
    styled = set(re.findall(r"\.(course-[a-z]+)", widgets.Manners._css))
    assert {name for name in used if name.startswith("course-")} - styled <= {"course-live"}
    assert styled <= used | {"course-status", "course-sentence", "course-table"}


def test_every_control_has_a_label_and_room_for_it(asked):
    explorer = asked.explorer()
    assert {c.style.description_width for c in explorer.controls.values()} == {"30ch"}
    with pytest.raises(ValueError, match=r"controls\['a'\] must have a label"):
        widgets.Explorer(asked.compute, asked.draw, asked.describe, {"a": widgets.toggle("")})


@pytest.mark.parametrize("continuous", [True, False])
def test_costly_explorers_wait_for_the_end_of_a_drag(asked, continuous):
    explorer = asked.explorer(continuous=continuous)
    assert {control.continuous_update for control in explorer.controls.values()} == {continuous}


def test_controls_hold_what_they_are_given():
    assert isinstance(widgets.slider("n (examples)", 3, 1, 9, 1).value, int)
    fraction = widgets.slider("share (of the batch)", 0.25, 0.0, 1.0, 0.05)
    assert (fraction.value, fraction.readout_format) == (0.25, ".2f")
    assert widgets.slider("ratio", 5.0, 1.0, 9.0, 1.0).readout_format == ".0f"
    rate = widgets.log_slider("learning rate", 0.01, 1e-4, 1.0)
    assert rate.value == 0.01 and (rate.min, rate.max) == (pytest.approx(-4), 0)
    assert widgets.choice("optimiser", ["SGD", "Adam"]).value == "SGD"
    assert widgets.choice("optimiser", {1: "plain", 2: "adaptive"}, value=2).value == 2
    assert widgets.toggle("start from the prior", True).value is True


# ---- the doctor -------------------------------------------------------------------------------------------


def test_doctor_outside_a_notebook_says_so():
    found = widgets.doctor()
    assert not found.ok and "No notebook runs this code" in str(found) and "\n" not in str(found)


def test_doctor_leaves_it_to_the_page_which_line_it_shows(monkeypatch):
    monkeypatch.setattr(widgets, "get_ipython", lambda: SimpleNamespace(kernel=1))
    found = widgets.doctor()
    bundle = found._repr_mimebundle_()
    assert found.ok and "ipywidgets 8" in str(found)
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"].startswith("Sliders do not work here.") and "make lab" in bundle["text/plain"]


@pytest.mark.parametrize("version", [None, "7.8.1"])
def test_doctor_names_a_package_that_is_missing_or_too_old(monkeypatch, version):
    def installed(package):
        if version is None:
            raise widgets.importlib.metadata.PackageNotFoundError(package)
        return version

    monkeypatch.setattr(widgets.importlib.metadata, "version", installed)
    found = widgets.doctor()
    assert not found.ok and "ipywidgets" in str(found)
