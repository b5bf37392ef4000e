"""Explorer of lesson 02: exact piles, a threshold that costs least, a limit that is kept."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from course_lib.classroom.lessons.lesson_02 import explorer as lesson_02
from course_lib.classroom.lessons.lesson_02.explorer import (
    AXIS,
    VISITORS,
    compute,
    decision,
    describe,
    draw,
    measurement,
    probability,
    table,
)
from course_lib.decisions import threshold_for_costs
from tests.lessons.books import NOTEBOOKS, read

CORNERS = [(10, 1, 100), (10, 100, VISITORS), (5000, 1, VISITORS), (5000, 100, 100), (200, 9, VISITORS)]


@pytest.fixture(scope="module")
def explorer():
    return lesson_02.explorer()


@pytest.fixture(scope="module")
def lesson():
    """The lesson's own visitors."""
    names = {"torch": torch}
    for cell in read(NOTEBOOKS / "02_decisions.ipynb").cells:
        if cell.source.startswith("def visitors("):
            exec(cell.source.split("\n\n\n")[0], names)
    return names["visitors"]


# ---- what is computed ----


def test_the_piles_are_the_lessons_visitors(lesson):
    x, y = lesson(200_000, 50, seed=0)
    for label, middle in ((0, 0), (1, lesson_02.APART)):
        assert float(x[y == label, 0].mean()) == pytest.approx(middle, abs=0.05)
        assert float(x[y == label, 0].std()) == pytest.approx(1, abs=0.05)


def test_a_decision_counts_the_people_that_simulation_counts(lesson):
    x, y = lesson(400_000, 50, seed=1)
    called = x[:, 0] > 1.5
    exact = decision(1.5, 200, 9)
    assert 200 * float(called[y == 1].float().mean()) == pytest.approx(exact.found, abs=4)
    assert 9800 * float(called[y == 0].float().mean()) == pytest.approx(exact.alarms, abs=15)
    assert exact.cost == pytest.approx(exact.alarms + 9 * (200 - exact.found))


@pytest.mark.parametrize("ill", [10, 200, 5000])
def test_probability_is_the_share_of_the_ill_at_a_measurement_and_turns_back(ill):
    for p in (0.01, 0.1, 0.5, 0.9):
        at = measurement(p, ill)
        high = ill * norm.pdf(at - lesson_02.APART)
        assert high / (high + (VISITORS - ill) * norm.pdf(at)) == pytest.approx(p)
        assert probability(at, ill) == pytest.approx(p)


@pytest.mark.parametrize(("ill", "miss", "limit"), CORNERS)
def test_no_other_threshold_within_the_limit_costs_less(ill, miss, limit):
    result = compute(ill, miss, limit)
    assert result.chosen.called <= limit * (1 + 1e-9)
    for measured in np.linspace(-6, 9, 301):
        other = decision(measured, ill, miss)
        assert other.called > limit or other.cost >= result.chosen.cost - 1e-6


@pytest.mark.parametrize("miss", [1, 9, 40])
def test_the_threshold_is_the_librarys_and_does_not_know_the_share(miss):
    for ill in (10, 200, 5000):
        assert compute(ill, miss).threshold == pytest.approx(threshold_for_costs([[0, 1], [miss, 0]]))
        assert not compute(ill, miss).limited


def test_a_half_is_the_threshold_where_both_errors_cost_the_same():
    result = compute(200, 1)
    assert result.p == pytest.approx(0.5) and result.chosen == result.half


def test_where_more_are_ill_the_line_moves_left_and_precision_rises():
    results = [compute(ill) for ill in (20, 200, 2000)]
    assert np.all(np.diff([result.measured for result in results]) < 0)
    assert np.all(np.diff([result.chosen.found / result.chosen.called for result in results]) > 0)


def test_a_limit_takes_those_with_the_highest_p():
    result = compute(200, 9, 300)
    assert result.limited and result.chosen.called == pytest.approx(300, abs=0.01)
    assert result.p > compute(200, 9).p


def test_the_auc_of_the_piles_is_the_models(lesson):
    x, y = lesson(100_000, 50, seed=2)
    assert roc_auc_score(y, x[:, 0]) == pytest.approx(norm.cdf(lesson_02.APART / 2**0.5), abs=0.02)


def test_sliders_are_rounded_and_the_result_is_repeatable():
    assert compute(199.5262, 8.9125) == compute(200, 9) == compute()


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"ill": 0}, "ill"), ({"ill": VISITORS}, "ill"), ({"miss": 0}, "miss"), ({"limit": 0}, "limit")],
)
def test_settings_out_of_range_are_refused(setting, said):
    with pytest.raises(ValueError, match=f"{said} must"):
        compute(**setting)


# ---- picture, sentence, table ----


@pytest.mark.parametrize(("ill", "miss", "limit"), CORNERS)
def test_the_piles_cross_at_the_line_unless_the_limit_moved_it(ill, miss, limit):
    result = compute(ill, miss, limit)
    for ghost in (None, compute()):
        fig = draw(result, ghost)
        healthy, red = fig.axes[0].lines[:2]
        crossing = AXIS[np.abs(np.log(healthy.get_ydata()) - np.log(red.get_ydata())).argmin()]
        if not result.limited and AXIS[0] < result.measured < AXIS[-1]:
            assert crossing == pytest.approx(result.measured, abs=0.03)
        heights = [patch.get_width() for patch in fig.axes[1].patches]
        np.testing.assert_allclose(heights, [result.nobody.cost, result.half.cost, result.chosen.cost])
        said = {text.get_text() for text in fig.axes[1].texts}
        assert any("before" in text for text in said) == (ghost is not None)
        plt.close(fig)


@pytest.mark.parametrize(("ill", "miss", "limit"), CORNERS)
def test_sentence_and_table_agree(ill, miss, limit):
    result = compute(ill, miss, limit)
    rows = table(result)
    assert f"The errors cost {rows.cost.iloc[2]}, with p = 0.5 {rows.cost.iloc[1]}" in describe(result)
    assert f"nobody called back {rows.cost.iloc[0]}" in describe(result)
    assert ("can be examined" in describe(result)) == result.limited


def test_sentence_says_what_it_was_before():
    assert "Before" not in describe(compute())
    assert "Before, they cost 1,287." in describe(compute(2000), compute())


def test_the_picture_of_the_visitors_says_how_many_are_ill(lesson, capsys):
    lesson_02.show_visitors(*lesson(500, 50, seed=0))
    assert plt.get_fignums() == []


# ---- the widget ----


@pytest.mark.parametrize(
    ("name", "values"), [("ill", (10, 5000, 100)), ("miss", (1, 100, 10)), ("limit", (100, 500, 10_000))]
)
def test_controls_drive_it(explorer, name, values):
    explorer.reset()
    for value in values:
        explorer.controls[name].value = value
        assert explorer.error is None
        result = explorer.result
        assert f"{result.ill:,} of 10,000 visitors" in explorer.sentence and getattr(result, name) == value
    explorer.reset()
    assert explorer.result == compute()


def test_numbers_show_as_a_table(explorer):
    explorer.table_button.value = True
    assert "healthy called back" in explorer.numbers.value
    explorer.table_button.value = False
