"""Explorer and live panel of lesson 09."""

import asyncio
import time

import numpy as np
import pytest
import torch

from course_lib.classroom import plots
from course_lib.classroom.lessons.lesson_09 import explorer as world


@pytest.fixture(scope="module")
def explorer():
    return world.explorer()


# ---- the sums ----


def test_wrong_labels_touch_one_illness_of_the_training_part_only():
    x, y, test_x, test_y = world.clinic((0, 0, 0))
    wrong_x, wrong_y, same_x, same_y = world.clinic((0, 0.4, 0))
    assert torch.equal(y, wrong_y) and torch.equal(test_x, same_x) and torch.equal(test_y, same_y)
    moved = (x != wrong_x).any(1)
    assert set(y[moved].tolist()) == {world.FLU}
    assert moved.sum() == 120


def test_wrong_labels_are_people_with_the_other_illnesses_half_and_half():
    x, y, _, _ = world.clinic((0, 0.4, 0), spread=(0.01, 0.01, 0.01))
    nearest = torch.cdist(x, world.CENTRES).argmin(1)
    table = torch.stack([torch.bincount(nearest[y == k], minlength=3) for k in range(3)])
    assert table.tolist() == [[600, 0, 0], [60, 180, 60], [0, 0, 100]]


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_the_path_stays_in_the_triangle_and_starts_at_the_prior(rate):
    result = world.compute(rate, 0.6)
    np.testing.assert_allclose(result.path[0], world.PRIOR)
    np.testing.assert_allclose(result.path.sum(1), 1)
    assert (result.path >= 0).all()
    assert len(result.path) == 31


def test_mixing_rate_zero_is_plain_training():
    result = world.compute(0.0, 0.2)
    np.testing.assert_array_equal(result.path, np.tile(result.path[0], (len(result.path), 1)))


def test_the_same_setting_gives_the_same_result():
    one = world.compute(0.2, 0.4)
    world.trained.cache_clear()
    two = world.compute(0.2, 0.4)
    np.testing.assert_array_equal(one.path, two.path)
    np.testing.assert_array_equal(one.called, two.called)
    np.testing.assert_array_equal(one.uniform, two.uniform)


def test_everybody_is_called_something():
    result = world.compute(0.2, 0.4)
    np.testing.assert_allclose(result.called.sum(1), 100)
    np.testing.assert_allclose(result.uniform.sum(1), 100)


def test_with_right_labels_the_mix_ends_near_uniform_and_noise_moves_it():
    clean, noisy = world.compute(0.2, 0.0), world.compute(0.2, 0.4)
    assert np.abs(clean.path[-1] - 1 / 3).max() < 0.05
    assert noisy.path[-1][world.FLU] > clean.path[-1][world.FLU] + 0.03


# ---- the widget ----


@pytest.mark.parametrize(("name", "values"), [("mixing_rate", (0.0, 1.0, 0.1)), ("wrong", (0.0, 0.6, 0.2))])
def test_every_control_answers_up_to_its_ends(explorer, name, values):
    for value in values:
        before = explorer.sentence, explorer.picture.value
        explorer.controls[name].value = value
        assert explorer.error is None
        assert explorer.sentence != before[0]
        assert explorer.picture.value != before[1]
        low = 20  # left end of the picture
        assert (explorer.result.called.diagonal() >= low).all()
        assert (explorer.result.uniform.diagonal() >= low).all()


def test_table_and_sentence_agree(explorer):
    explorer.controls["wrong"].value = 0.5
    table = world.table(explorer.result)
    assert f"ends with {table.loc['flu', 'share at end']:.0%} flu" in explorer.sentence
    mine, rival = explorer.result.called[2, 2], explorer.result.uniform[2, 2]
    assert f"measles {mine:.0f} (uniform: {rival:.0f})" in explorer.sentence
    assert np.allclose(table["found of 100"], explorer.result.called.diagonal(), atol=0.01)


def test_false_flu_counts_people_without_flu_only():
    assert world.false_flu(np.array([[90, 6, 4], [0, 100, 0], [1, 20, 79]])) == 13


def test_reset_goes_back_to_the_first_setting(explorer):
    explorer.controls["mixing_rate"].value = 0.7
    explorer.reset()
    assert explorer.values == explorer.defaults
    assert explorer.error is None


def test_the_picture_has_a_ghost_only_when_something_came_before():
    now, before = world.compute(0.2, 0.4), world.compute(0.2, 0.0)
    for ghost, expected in ((None, 2), (before, 3)):
        fig = world.draw(now, ghost)
        assert len(fig.axes[1].get_legend().get_texts()) == expected
        plots.to_html(fig, "The mix moves towards the flu.")


# ---- the live panel ----


def test_a_session_follows_learn2mix_and_its_rates_can_be_moved():
    session = world.session(0.01, 0.1, rounds=6, pace=0)
    start = session.mix
    next(session.rounds)
    moved = session.mix
    assert not torch.equal(start, moved)
    session.set("mixing_rate", 0.0)
    next(session.rounds)
    assert torch.equal(session.mix, moved)
    assert len(list(session.rounds)) == 4


def test_the_still_picture_does_not_wait_for_an_eye(monkeypatch):
    panel, waits = world.panel(rounds=5, pace=1.0), []
    monkeypatch.setattr(time, "sleep", waits.append)
    panel.still()
    assert waits == [0] * 5


def test_the_panel_waits_then_steps_and_trains_to_the_end():
    panel = world.panel(rounds=5, pace=0)
    assert panel.round == 0
    panel.step()
    assert panel.round == 1

    async def to_the_end():
        panel.start()
        await panel.finished()

    asyncio.run(to_the_end())
    assert panel.error is None
    assert panel.complete
    assert panel.round == 5
    panel.controls["mixing_rate"].value = 0.5
    panel.reset()
    assert panel.round == 0
    assert panel.values == panel.defaults
    assert panel.error is None
