"""Explorer of lesson 01: a limit no model beats, the lesson's own model, paired sets, sliders that work."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from course_lib.classroom.lessons.lesson_01 import explorer as lesson_01
from course_lib.classroom.lessons.lesson_01.explorer import (
    DRAWS,
    TOP,
    best_possible,
    compute,
    describe,
    draw,
    fitted,
    table,
    training_set,
    world,
    wrong_pairs,
)
from tests.lessons.books import NOTEBOOKS, read

CORNERS = [(5, 1), (5, 100), (320, 1), (320, 100), (40, 10)]


@pytest.fixture(scope="module")
def results():
    return {setting: compute(*setting) for setting in CORNERS}


@pytest.fixture(scope="module")
def explorer():
    return lesson_01.explorer()


@pytest.fixture(scope="module")
def lesson():
    """Names that the lesson's own cells define: its visitors and its loop."""
    names = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
    for cell in read(NOTEBOOKS / "01_imbalance.ipynb").cells:
        if cell.id in ("lesson-01-data", "lesson-01-train"):
            exec(cell.source, names)
    return names


# ---- the judge ----


def test_the_limit_is_that_of_two_normal_distributions():
    """P(healthy - ill > 0) for a difference with mean 2 and variance 2."""
    assert best_possible() == pytest.approx(1000 * norm.cdf(-(2**0.5)), abs=0.5)


def test_judging_on_the_grid_is_judging_on_many_visitors(lesson):
    weights = np.array([-1.5, 0.4, 0.1, 0.0, -0.2])
    x, y = lesson["visitors"](20_000, 20_000, seed=5)
    exact = wrong_pairs(lesson_01.features(world()[0]) @ weights)
    sampled = 1000 * (1 - roc_auc_score(y, lesson_01.features(x.double().numpy()) @ weights))
    assert exact == pytest.approx(sampled, abs=5)


def test_a_score_turned_round_gets_all_other_pairs_wrong():
    score = world()[0] @ [1.0, 0.3]
    assert wrong_pairs(score) + wrong_pairs(-score) == pytest.approx(1000, abs=0.1)


@pytest.mark.parametrize("setting", CORNERS)
def test_no_model_ranks_better_than_the_limit(results, setting):
    assert (results[setting].wrong >= best_possible() - 1e-9).all()
    assert results[setting].gap >= 0


# ---- the model is the lesson's ----


@pytest.mark.parametrize(("ill", "healthy"), [(40, 40), (40, 400)])
def test_the_model_is_that_of_the_lessons_loop(lesson, ill, healthy):
    x, y = lesson["visitors"](ill, healthy, seed=0)
    model = lesson["train"](x, y)
    points = lesson["visitors"](500, 500, seed=1)[0]
    with torch.no_grad():
        loop = model(lesson["features"](points)).softmax(1)[:, 1]
    quick = fitted(x.double().numpy(), y.numpy()).predict_proba(lesson_01.features(points.double().numpy()))
    np.testing.assert_allclose(loop, quick[:, 1], atol=0.01)


def test_the_visitors_are_the_lessons():
    x, y = training_set(320, 32_000, draw=0)
    for label, middle in ((1, -1), (0, 1)):
        np.testing.assert_allclose(x[y == label].mean(0), (middle, 0), atol=0.15)
        np.testing.assert_allclose(x[y == label].std(0), (1, 1), atol=0.1)


def test_a_larger_set_begins_with_the_smaller_one():
    small, y_small = training_set(20, 50, draw=4)
    large, y = training_set(40, 500, draw=4)
    np.testing.assert_array_equal(large[y == 0][:50], small[y_small == 0])
    np.testing.assert_array_equal(large[y == 1][:20], small[y_small == 1])
    assert not np.array_equal(training_set(20, 50, draw=5)[0], small)


# ---- what the lesson says ----


def test_ill_visitors_close_the_gap_and_the_ratio_does_not_open_it(results):
    gap = {setting: result.gap for setting, result in results.items()}
    assert gap[320, 1] < gap[5, 1] / 10 and gap[320, 100] < gap[5, 100] / 10
    assert gap[5, 100] < gap[5, 1] and gap[320, 100] < gap[320, 1]


def test_compute_is_repeatable_and_rounds_the_sliders():
    np.testing.assert_array_equal(compute(20, 3.0).wrong, compute(20.3, 3.0).wrong)
    assert (compute(12.589, 7.943).ill, compute(12.589, 7.943).healthy) == (13, 103)


@pytest.mark.parametrize("setting", [(4, 1), (321, 1), (40, 0.5), (320, 101)])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match="ill must lie in"):
        compute(*setting)


# ---- picture, sentence, table ----


@pytest.mark.parametrize("setting", CORNERS)
def test_every_model_is_drawn_and_the_ghost_beside_it(results, setting):
    """Also a model that is worse than the picture is high is drawn, at its upper edge."""
    for ghost in (None, results[40, 10]):
        fig = draw(results[setting], ghost)
        assert f"{results[setting].gap:.0f} more wrong pairs" in fig.get_suptitle()
        dots = [line for line in fig.axes[1].lines if len(line.get_ydata()) == DRAWS]
        assert len(dots) == (1 if ghost is None else 2)
        np.testing.assert_allclose(dots[-1].get_ydata(), np.minimum(results[setting].wrong, TOP))
        names = [label.get_text() for label in fig.axes[1].get_xticklabels()]
        assert names[1].startswith("now:") and names[0].startswith("before:" if ghost else "")
        plt.close(fig)


@pytest.mark.parametrize("setting", CORNERS)
def test_the_boundaries_belong_to_the_threshold_that_the_picture_names(results, setting):
    """On a boundary the model's p is the share of the ill, and the label says this share."""
    result = results[setting]
    fig = draw(result)
    ill, everybody = fig.axes[0].get_xlabel().split("p = ")[1].split(", the share")[0].split("/")
    share = int(ill) / int(everybody.replace(",", ""))
    assert share == pytest.approx(1 / (1 + setting[1]))
    p = fitted(result.x, result.y).predict_proba(lesson_01.features(world()[0]))[:, 1]
    np.testing.assert_array_equal(result.scores[0] > 0, p > share)
    plt.close(fig)


def test_sentence_and_table_agree(results):
    for result in results.values():
        numbers = table(result)["wrong pairs of 1,000"]
        assert f"{result.wrong.mean():.0f} of 1,000 pairs" in describe(result)
        assert f"{result.gap:.0f} more than the {best_possible():.0f}" in describe(result)
        assert numbers["models, mean"] - numbers["best possible order"] == pytest.approx(
            numbers["gap"], abs=0.11
        )
        assert numbers["best model"] <= numbers["models, mean"] <= numbers["worst model"]


def test_sentence_says_what_it_was_before(results):
    said = describe(results[320, 1], results[5, 1])
    assert f"Before, with 5 ill and 5 healthy, it was {results[5, 1].gap:.0f} more" in said
    assert "Before" not in describe(results[5, 1])


@pytest.mark.parametrize(("name", "values"), [("ill", (5, 320, 12.589, 40)), ("ratio", (1, 100, 3.1623, 10))])
def test_sliders_drive_it(explorer, name, values):
    for value in values:
        sentence = explorer.sentence
        explorer.controls[name].value = value
        assert explorer.error is None
        assert explorer.sentence != sentence
        assert explorer.sentence.startswith(f"{round(explorer.values['ill'])} ill")


def test_corners_of_both_sliders_and_the_way_back(explorer):
    for ill, ratio in CORNERS[:4]:
        explorer.controls["ill"].value = ill
        explorer.controls["ratio"].value = ratio
        assert explorer.error is None
        assert explorer.result.healthy == ill * ratio
    explorer.reset()
    assert explorer.error is None
    assert (explorer.result.ill, explorer.result.healthy) == (40, 400)


def test_numbers_show_as_a_table(explorer):
    explorer.table_button.value = True
    assert "best possible order" in explorer.numbers.value
    explorer.table_button.value = False
    assert explorer.numbers.value == ""
