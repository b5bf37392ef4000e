"""Explorer of lesson 01: limits that no model beats, paired training sets, and a widget that follows its sliders."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from course_lib.classroom.lessons.lesson_01 import explorer as lesson_01
from course_lib.classroom.lessons.lesson_01.explorer import (
    MEASURES,
    compute,
    describe,
    draw,
    judge,
    table,
    training_set,
    world,
)
from course_lib.data import gaussian_classes

CORNERS = [(5, 1), (5, 100), (320, 1), (320, 100), (40, 10)]


@pytest.fixture(scope="module")
def results():
    return {setting: compute(*setting) for setting in CORNERS}


@pytest.fixture(scope="module")
def explorer():
    return lesson_01.explorer()


# ---- the judge ----


@pytest.mark.parametrize("prevalence", [0.5, 0.1, 0.01])
def test_limits_are_those_of_the_normal_distribution_and_of_the_task(prevalence):
    _, negative, positive = world()
    best = np.log(positive) - np.log(negative) + np.log(prevalence / (1 - prevalence))
    auc, precision, recall, balanced = judge(best, prevalence)
    truth = gaussian_classes((1 - prevalence, prevalence), num_train=2000, num_held=2000).posterior
    assert auc == pytest.approx(norm.cdf(2**0.5), abs=1e-3)
    assert precision == pytest.approx(truth.bayes_average_precision, abs=2e-3)
    assert recall == pytest.approx(
        norm.cdf(1 + np.log(prevalence / (1 - prevalence)) / 2), abs=0.015
    )  # one column of the grid
    assert balanced == pytest.approx(norm.cdf(1), abs=1e-3)


def test_judging_on_the_grid_is_judging_on_many_patients():
    grid, _, _ = world()
    weights = np.array([-1.0, -1.5, 0.4, 0.1, 0.0, -0.2])
    auc, precision, recall, _ = judge(lesson_01.features(grid) @ weights, 0.1)
    part = gaussian_classes((0.9, 0.1), num_train=100, num_held=200_000).test
    score, y = lesson_01.features(part.x.double().numpy()) @ weights, part.y.numpy()
    assert auc == pytest.approx(roc_auc_score(y, score), abs=5e-3)
    assert precision == pytest.approx(average_precision_score(y, score), abs=0.01)
    assert recall == pytest.approx((score[y == 1] > 0).mean(), abs=0.01)


@pytest.mark.parametrize("setting", CORNERS)
def test_no_model_ranks_beyond_the_limit(results, setting):
    result = results[setting]
    for column in (0, 1, 3):  # the cut at 0.5 is another matter: a worse model may flag more
        assert (result.reached[:, column] <= result.limit[column] + 1e-9).all()
    assert ((result.reached >= 0) & (result.reached <= 1)).all()


# ---- the model ----


def test_fit_is_scikit_learns_logistic_regression():
    x, y = training_set(30, 90, draw=0)
    reference = LogisticRegression(C=1 / 0.1, tol=1e-10, max_iter=5000).fit(lesson_01.features(x)[:, 1:], y)
    expected = [reference.intercept_[0], *reference.coef_[0]]
    np.testing.assert_allclose(lesson_01.fit_logistic(x, y), expected, atol=2e-3)


@pytest.mark.parametrize("setting", CORNERS)
def test_fit_has_no_slope_left(setting):
    x, y = training_set(setting[0], setting[0] * setting[1], draw=1)
    weights, inputs = lesson_01.fit_set(setting[0], setting[0] * setting[1], draw=1), lesson_01.features(x)
    slope = inputs.T @ (1 / (1 + np.exp(-inputs @ weights)) - y) + 0.1 * weights * [0, 1, 1, 1, 1, 1]
    assert np.abs(slope).max() < 0.02


def test_where_it_starts_makes_no_difference():
    straight = lesson_01.fit_logistic(*training_set(20, 2000, draw=3))
    np.testing.assert_allclose(lesson_01.fit_set(20, 2000, draw=3), straight, atol=0.01)


def test_a_larger_set_begins_with_the_smaller_one():
    small, _ = training_set(20, 50, draw=4)
    large, y = training_set(40, 500, draw=4)
    np.testing.assert_array_equal(large[y == 0][:50], small[:50])
    np.testing.assert_array_equal(large[y == 1][:20], small[50:])
    assert not np.array_equal(training_set(20, 50, draw=5)[0], small)


# ---- what the lesson says ----


def test_positives_close_the_gap_and_the_ratio_does_not_open_it(results):
    gap = {setting: result.gap[0] for setting, result in results.items()}
    assert gap[320, 1] < gap[5, 1] / 10 and gap[320, 100] < gap[5, 100] / 10
    assert gap[5, 100] < gap[5, 1] and gap[320, 100] < gap[320, 1]


def test_the_ratio_moves_the_limit_at_a_fixed_cut_and_not_that_of_ranking(results):
    assert results[320, 100].limit[2] < 0.15 < 0.8 < results[320, 1].limit[2]
    assert results[320, 100].limit[0] == pytest.approx(results[320, 1].limit[0])
    assert results[5, 100].limit[2] == pytest.approx(results[320, 100].limit[2])


def test_compute_is_repeatable_and_rounds_the_sliders():
    np.testing.assert_array_equal(compute(20, 3.0, 3).reached, compute(20.3, 3.0, 3).reached)
    assert (compute(12.589, 7.943, 2).positives, compute(12.589, 7.943, 2).negatives) == (13, 103)


@pytest.mark.parametrize("setting", [(1, 1), (321, 1), (40, 0.5), (320, 101)])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match="positives must lie in"):
        compute(*setting)


# ---- picture, sentence, table ----


@pytest.mark.parametrize("setting", CORNERS)
def test_picture_draws_with_and_without_ghost(results, setting):
    for ghost in (None, results[40, 10]):
        fig = draw(results[setting], ghost)
        assert f"{results[setting].gap[0]:.4f}" in fig.get_suptitle()
        plt.close(fig)


def test_picture_shows_every_model_at_the_count_of_the_slider(results):
    """Also a gap too small for the log axis is drawn, at its lower end."""
    for result in results.values():
        fig = draw(result, results[40, 10])
        _, upper, lower = fig.axes
        for ax, values in ((upper, result.limit[0] - result.reached[:, 0]), (lower, result.reached[:, 2])):
            small, large = [line for line in ax.lines if line.get_marker() in ("D", "s")][-2:]
            assert len(small.get_ydata()) == len(result.reached)
            assert np.exp(np.log(small.get_xdata()).mean()) == pytest.approx(result.positives)
            assert large.get_xdata()[0] == result.positives
            assert large.get_ydata()[0] == pytest.approx(values.mean())
            assert small.get_ydata().min() >= ax.get_ylim()[0]
        plt.close(fig)


def test_sentence_and_table_agree(results):
    for result in results.values():
        rows = table(result)
        assert list(rows.index) == list(MEASURES)
        assert f"{rows.gap['ROC-AUC']:.4f} below" in describe(result)
        low, high = result.interval
        assert low < result.gap[0] < high and f"interval {low:.4f} to {high:.4f}" in describe(result)
        assert f"recall at 0.5 is {result.reached[:, 2].mean():.2f}" in describe(result)
        assert (rows["lowest model"] <= rows["highest model"]).all()


def test_sentence_says_which_way_the_gap_went(results):
    assert "the gap fell from" in describe(results[320, 1], results[5, 1])
    assert "the gap rose from" in describe(results[5, 1], results[320, 1])
    assert "the gap" not in describe(results[5, 1])


@pytest.mark.parametrize(
    ("name", "values"), [("positives", (5, 320, 12.589, 40)), ("ratio", (1, 100, 3.1623, 10))]
)
def test_sliders_drive_it(explorer, name, values):
    for value in values:
        sentence = explorer.sentence
        explorer.controls[name].value = value
        assert explorer.error is None
        assert explorer.sentence != sentence
        assert f"{round(explorer.values['positives'])} positives" in explorer.sentence


def test_corners_of_both_sliders_and_the_way_back(explorer):
    for positives, ratio in CORNERS[:4]:
        explorer.controls["positives"].value = positives
        explorer.controls["ratio"].value = ratio
        assert explorer.error is None
        assert explorer.result.negatives == positives * ratio
    explorer.reset()
    assert explorer.error is None
    assert (explorer.result.positives, explorer.result.negatives) == (40, 400)


def test_numbers_show_as_a_table(explorer):
    explorer.table_button.value = True
    assert "true probabilities" in explorer.numbers.value
    explorer.table_button.value = False
    assert explorer.numbers.value == ""
