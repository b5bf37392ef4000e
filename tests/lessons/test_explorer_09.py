"""Explorer and live panel of lesson 09."""

import asyncio

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from course_lib.classroom import plots
from course_lib.classroom.lessons.lesson_09 import explorer as world


@pytest.fixture(scope="module")
def explorer():
    return world.explorer()


# ---- the sums ----


def test_wrong_labels_touch_one_class_of_the_training_part_only():
    clean, noisy = world.make_task(0.0), world.make_task(0.4)
    assert torch.equal(clean.train.y, noisy.train.y)
    moved = (clean.train.x != noisy.train.x).any(1)
    assert set(clean.train.y[moved].tolist()) == {world.NOISY}
    assert moved.sum() == round(0.4 * int((clean.train.y == world.NOISY).sum()))
    assert torch.equal(clean.test.x, noisy.test.x)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_the_path_stays_in_the_triangle_and_starts_at_the_prior(rate):
    result = world.compute(rate, 0.6)
    np.testing.assert_allclose(result.path[0], world.PRIOR)
    np.testing.assert_allclose(result.path.sum(1), 1)
    assert (result.path >= 0).all()
    assert len(result.path) == 1 + world.BUDGET.steps // 5


def test_mixing_rate_zero_is_plain_training():
    result = world.compute(0.0, 0.2)
    np.testing.assert_array_equal(result.path, np.tile(result.path[0], (len(result.path), 1)))


def test_the_same_setting_gives_the_same_result():
    one, two = world.compute(0.2, 0.4), world.compute(0.2, 0.4)
    np.testing.assert_array_equal(one.path, two.path)
    np.testing.assert_array_equal(one.recall, two.recall)


def test_with_clean_labels_the_mix_ends_near_uniform_and_noise_moves_it():
    clean, noisy = world.compute(0.2, 0.0), world.compute(0.2, 0.4)
    assert np.abs(clean.path[-1] - 1 / 3).max() < 0.05
    assert noisy.path[-1][world.NOISY] > clean.path[-1][world.NOISY] + 0.03


# ---- the widget ----


@pytest.mark.parametrize(
    ("name", "values"), [("mixing_rate", (0.0, 1.0, 0.1)), ("label_noise", (0.0, 0.6, 0.2))]
)
def test_every_control_answers_up_to_its_ends(explorer, name, values):
    for value in values:
        before = explorer.sentence, explorer.picture.value
        explorer.controls[name].value = value
        assert explorer.error is None
        assert explorer.sentence != before[0]
        assert explorer.picture.value != before[1]
        low = 0.2  # left end of the picture
        assert (explorer.result.recall >= low).all()
        assert (explorer.result.uniform_recall >= low).all()


def test_table_and_sentence_agree(explorer):
    explorer.controls["label_noise"].value = 0.5
    table = world.table(explorer.result)
    assert f"{table.loc['noisy', 'share at end']:.1%}" in explorer.sentence.replace("(", " ")
    gap = explorer.result.recall[2] - explorer.result.uniform_recall[2]
    assert f"rare {gap:+.3f}" in explorer.sentence
    assert np.allclose(table["recall, learn2mix"], explorer.result.recall, atol=5e-4)


def test_reset_goes_back_to_the_first_setting(explorer):
    explorer.controls["mixing_rate"].value = 0.7
    explorer.reset()
    assert explorer.values == explorer.defaults
    assert explorer.error is None


def test_the_static_figure_is_shown_and_closed(explorer, capsys):
    explorer.static()
    assert "the noisy class ends with" in capsys.readouterr().out
    assert not plt.get_fignums()


def test_the_picture_has_a_ghost_only_when_something_came_before():
    now, before = world.compute(0.2, 0.4), world.compute(0.2, 0.0)
    for ghost, expected in ((None, 2), (before, 3)):
        fig = world.draw(now, ghost)
        assert len(fig.axes[1].get_legend().get_texts()) == expected
        plots.to_html(fig, "The mix moves towards noisy.")


# ---- the live panel ----


def test_a_session_moves_its_rates_in_mid_training():
    session = world.Session(0.01, 0.1, rounds=6, pace=0)
    start = session.mix
    next(session.rounds)
    moved = session.mix
    assert not torch.equal(start, moved)
    session.set("mixing_rate", 0.0)
    next(session.rounds)
    assert torch.equal(session.mix, moved)
    session.set("learning_rate", 0.0)
    before = [p.detach().clone() for p in session.run.model.parameters()]
    next(session.rounds)
    assert all(torch.equal(a, b) for a, b in zip(before, session.run.model.parameters(), strict=True))
    assert len(list(session.rounds)) == 3
    with pytest.raises(ValueError, match="learning_rate"):
        session.set("momentum", 0.9)


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
