"""What every explorer of every lesson keeps to. What one of them shows is held by tests/lessons/test_explorer_NN.py."""

import importlib
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from course_lib.classroom import plots
from tests.lessons.books import ROOT

LESSONS = ROOT / "course_lib" / "classroom" / "lessons"
NAMES = sorted(path.parent.name for path in LESSONS.glob("lesson_*/explorer.py"))
MODULES = {name: importlib.import_module(f"course_lib.classroom.lessons.{name}.explorer") for name in NAMES}
MOST_CONTROLS, SMALLEST_TEXT, SECONDS = 4, 10, 1.0
LONGEST_FILE = 300  # aim at 160: what two of them repeat belongs to classroom/

each = pytest.mark.parametrize("name", [name for name in NAMES if hasattr(MODULES[name], "explorer")])
each_panel = pytest.mark.parametrize("name", [name for name in NAMES if hasattr(MODULES[name], "panel")])


@pytest.fixture(scope="module")
def explorers():
    """One of each, made when first asked for; tests put it back by `reset`."""
    made = {}

    def get(name):
        if name not in made:
            plots.use_style()
            made[name] = MODULES[name].explorer()
        made[name].reset()
        return made[name]

    return get


def ends(control):
    """The settings at both ends of a control, or all that a list has."""
    if hasattr(control, "options"):
        return [value for _, value in control._options_full]
    if isinstance(control.value, bool):
        return [False, True]
    if hasattr(control, "base"):
        return [control.base**control.min, control.base**control.max]
    return [control.min, control.max]


def seconds_of(explorer, control, value):
    """Of the processor, for the answer to a move, with nothing remembered."""
    explorer._known.clear()
    began = time.process_time()
    explorer.controls[control].value = value
    return time.process_time() - began


@each
def test_it_asks_one_question_with_few_controls(explorers, name):
    explorer = explorers(name)
    assert explorer.title.endswith("?"), "the title is the question it asks"
    assert 1 <= len(explorer.controls) <= MOST_CONTROLS
    assert explorer.table is not None, "the numbers as a table, for those who cannot see the picture"
    lines = [line for line in Path(MODULES[name].__file__).read_text().splitlines() if line.strip()]
    assert len(lines) <= LONGEST_FILE


@each
def test_every_control_answers_at_its_ends_quickly_and_says_what_changed(explorers, name):
    explorer = explorers(name)
    explorer.table_button.value = True
    try:
        for control in explorer.controls:
            for value in ends(explorer.controls[control]):
                explorer.reset()
                if explorer.controls[control].value == value:
                    continue
                first, picture = explorer.sentence, explorer.picture.value
                spent = seconds_of(explorer, control, value)
                if (
                    spent >= SECONDS
                ):  # the better of two: other processes of the machine count in the time too
                    explorer.reset()
                    spent = seconds_of(explorer, control, value)
                where = f"{control} = {value}"
                assert explorer.error is None, f"{where}: {explorer.error}"
                assert explorer.sentence != first and explorer.picture.value != picture, where
                plots.checked_alt(explorer.sentence)
                assert " alt=" in explorer.picture.value and "<td>" in explorer.numbers.value, where
                assert spent < SECONDS, f"{where} takes {spent:.1f} s"
    finally:
        explorer.table_button.value = False
        explorer.reset()


@each
def test_the_same_setting_gives_the_same_answer_and_no_random_number_is_used_up(explorers, name):
    explorer = explorers(name)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    one, two = (explorer.compute(**explorer.defaults) for _ in range(2))
    assert torch.equal(states[0], torch.get_rng_state()) and (states[1] == np.random.get_state()[1]).all()
    assert explorer.describe(one, None) == explorer.describe(two, None)
    pd.testing.assert_frame_equal(pd.DataFrame(explorer.table(one)), pd.DataFrame(explorer.table(two)))
    pictures = [explorer.draw(result, None) for result in (one, two)]
    assert plots.png(pictures[0]) == plots.png(pictures[1])
    plt.close("all")


@each
def test_the_setting_before_is_drawn_and_said(explorers, name):
    explorer = explorers(name)
    now, control = explorer.result, next(iter(explorer.controls))
    other = next(value for value in ends(explorer.controls[control]) if value != explorer.defaults[control])
    before = explorer.compute(**{**explorer.defaults, control: other})
    assert explorer.describe(now, before) != explorer.describe(now, None)
    alone, beside = (plots.png(explorer.draw(now, ghost)) for ghost in (None, before))
    assert alone != beside
    plt.close("all")


@each
def test_its_text_can_be_read_from_the_back_of_a_room(explorers, name):
    explorer = explorers(name)
    fig = explorer.draw(explorer.result, None)
    fig.draw_without_rendering()
    small = {
        text.get_text() for text in fig.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text.get_fontsize() < SMALLEST_TEXT
    }  # fmt: skip
    assert not small
    plt.close("all")


@each
def test_it_has_a_picture_for_readers_without_a_kernel(explorers, name):
    picture, words = explorers(name).still()
    assert picture.startswith("<img alt=") and plots.checked_alt(words) == words


@each_panel
def test_a_panel_trains_round_by_round_and_begins_anew(name):
    panel = MODULES[name].panel()
    for done in (1, 2):
        panel.step()
        assert panel.error is None and panel.round == done
    assert panel.sentence.startswith("After round 2 ")
    panel.reset()
    assert panel.round == 0 and panel.error is None
