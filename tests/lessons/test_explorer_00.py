"""Lesson 00's console: each handle does what it says, all four are one offset, and every move is answered."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

from course_lib.classroom.lessons.lesson_00 import explorer as lesson_00
from course_lib.sampling import ClassMixBatchSampler

CASES = [
    {},
    {"threshold": 0.02},
    {"weight": 49},
    {"share": 0.5},
    {"copies": 49},
    {"weight": 5, "threshold": 0.1},
]


@pytest.fixture(scope="module")
def rest():
    return lesson_00.compute()


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


# ---- the fit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_the_fit_is_scikit_learns(weighted):
    torch.manual_seed(1)
    x = torch.randn(400, 3)
    y = (x[:, 0] + torch.randn(400) > 1).long()
    weight = torch.rand(400) + 0.5 if weighted else torch.ones(400)
    line = lesson_00.fit_logistic(x, y, weight)
    reference = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(x, y, sample_weight=weight)
    expected = [reference.intercept_[0], *reference.coef_[0]]
    np.testing.assert_allclose(line, expected, atol=1e-4)


def test_copies_are_a_whole_number_weight():
    np.testing.assert_allclose(lesson_00.compute(copies=7).line, lesson_00.compute(weight=7).line, atol=1e-6)


def test_the_balanced_share_is_the_balancing_weight():
    np.testing.assert_allclose(
        lesson_00.compute(share=0.5).line, lesson_00.compute(weight=49).line, atol=1e-6
    )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_batch_share_has_the_gradient_of_the_weights_on_average(share):
    """Any parameters, many real batches: their mean gradient is that of the weighted loss over N."""
    task = lesson_00.screening(seed=3, num_train=1000, num_held=500)
    x, y = lesson_00.with_ones(task.train.x), task.train.y
    line = torch.tensor([-1.0, 0.7, 0.2], dtype=torch.float64)
    each = (torch.sigmoid(x @ line) - y)[:, None] * x
    weighted = (lesson_00.training_weights(y, 1.0, share)[:, None] * each).mean(0)
    sampler = ClassMixBatchSampler(y, 50, torch.tensor([1 - share, share]), batches_per_epoch=4000, seed=0)
    batches = torch.stack([each[rows].mean(0) for rows in sampler])
    margin = 4 * batches.std(0) / len(batches) ** 0.5
    assert ((batches.mean(0) - weighted).abs() < margin).all()


def test_the_gradient_of_the_loss_is_the_one_compared_above():
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randint(2, (20,)).double()
    line = torch.randn(3, dtype=torch.float64, requires_grad=True)
    binary_cross_entropy_with_logits(x @ line, y).backward()
    torch.testing.assert_close(line.grad, ((torch.sigmoid(x @ line.detach()) - y)[:, None] * x).mean(0))


# ---- the console ------------------------------------------------------------------------------------------


def test_the_clinic_is_as_rare_as_it_says():
    for part in (lesson_00.patients().train, lesson_00.patients().test):
        assert part.y.double().mean() == pytest.approx(lesson_00.PREVALENCE, abs=1e-6)
    assert lesson_00.patients().test.y.sum() >= 400  # enough to read recall within .05


def test_at_rest_the_model_is_honest_and_misses_nearly_everyone(rest):
    assert rest.mean_chance == pytest.approx(lesson_00.PREVALENCE, abs=0.002)
    assert rest.recall < 0.15
    assert rest.moved == pytest.approx(0, abs=1e-9)
    assert lesson_00.offset(**rest.setting) == pytest.approx(0)


@pytest.mark.parametrize("case", CASES)
def test_every_handle_is_one_offset_on_one_curve(case, rest):
    result = lesson_00.compute(**case)
    assert result.moved == pytest.approx(lesson_00.offset(**result.setting), abs=0.1)
    assert abs(result.auc - rest.auc) < 0.001
    found, alarms = np.interp(result.false_alarms, *rest.curve), result.recall
    assert found == pytest.approx(alarms, abs=0.02), "the dot lies on the plain model's curve"


def test_the_area_is_scikit_learns(rest):
    test = lesson_00.patients().test
    score = lesson_00.with_ones(test.x) @ torch.as_tensor(rest.line)
    assert rest.auc == pytest.approx(roc_auc_score(test.y, score), abs=1e-9)


@pytest.mark.parametrize(
    ("handle", "steps"),
    [
        ("threshold", (0.5, 0.1, 0.02)),
        ("weight", (1, 7, 50)),
        ("share", (0.02, 0.3, 0.8)),
        ("copies", (1, 7, 50)),
    ],
)
def test_turning_a_handle_up_finds_more_and_alarms_more(handle, steps):
    results = [lesson_00.compute(**{handle: step}) for step in steps]
    assert sorted(r.recall for r in results) == [r.recall for r in results]
    assert sorted(r.false_alarms for r in results) == [r.false_alarms for r in results]


def test_two_handles_balance_twice():
    twice = lesson_00.compute(weight=49, share=0.5)
    assert twice.moved == pytest.approx(2 * np.log(49), abs=0.1)
    assert twice.false_alarms > 0.85


def test_a_batch_that_is_told_its_share_does_not_ask_for_copies():
    np.testing.assert_allclose(
        lesson_00.compute(share=0.3, copies=10).line, lesson_00.compute(share=0.3).line, atol=1e-6
    )
    assert lesson_00.offset(0.5, 1, 0.3, 10) == lesson_00.offset(0.5, 1, 0.3, 1)


def test_with_nobody_flagged_precision_is_nan():
    assert np.isnan(lesson_00.compute(threshold=1 - 1e-9).precision)


@pytest.mark.parametrize(
    "bad",
    [
        {"threshold": 0},
        {"threshold": 1},
        {"weight": 0},
        {"share": 0},
        {"share": 1},
        {"copies": 0},
        {"copies": 1.5},
    ],
)
def test_settings_that_mean_nothing_are_refused(bad):
    with pytest.raises(ValueError, match="threshold and share must lie in"):
        lesson_00.compute(**bad)


# ---- what is seen -----------------------------------------------------------------------------------------


def test_a_dot_wears_the_look_of_the_one_handle_that_moved():
    styles = [lesson_00.dot_style({**lesson_00.DEFAULT, **case}) for case in CASES]
    assert len({(style["color"], style["marker"]) for style in styles}) == len(CASES)
    assert styles[0]["color"] == styles[-1]["color"] == "#000000"


def test_the_picture_has_a_boundary_a_point_and_the_ghosts_of_both(rest):
    result = lesson_00.compute(weight=10)
    alone = lesson_00.draw(result)
    pair = lesson_00.draw(result, rest, [rest, result])
    plane, right = pair.axes
    assert len(right.lines) == len(alone.axes[1].lines) + 4  # ghost curve and dot, two dots of the trail
    assert len(plane.collections) == len(alone.axes[0].collections) + 1
    assert any(f"AUC {result.auc:.4f}" in text.get_text() for text in right.texts)


def key_of(fig) -> list[str]:
    return [text.get_text() for text in fig.axes[1].get_legend().get_texts()]


def test_the_key_lists_the_dots_that_are_there(rest):
    assert key_of(lesson_00.draw(rest)) == ["none"]
    twice, share = lesson_00.compute(weight=5, threshold=0.1), lesson_00.compute(share=0.5)
    assert sorted(key_of(lesson_00.draw(twice, rest, [rest, share]))) == ["none", "several", "share"]


def test_the_dots_of_the_settings_lie_where_the_results_say(rest):
    results = {"rest": rest, "weight": lesson_00.compute(weight=49)}
    [ax] = lesson_00.draw_dots(results).axes
    dots = {line.get_label(): line.get_xydata()[0] for line in ax.lines if line.get_label() in results}
    for name, one in results.items():
        np.testing.assert_allclose(dots[name], (one.false_alarms, one.recall))
    assert [text.get_text() for text in ax.texts] == list(results)


def test_the_gap_between_fit_and_arithmetic_is_small_and_of_either_sign():
    gaps = [lesson_00.offset_gap(10, seed) for seed in (1, 7, 8, 9)]
    assert min(gaps) < 0 < max(gaps)
    assert max(map(abs, gaps)) < 0.15
    assert lesson_00.offset_gap(1, 1) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("case", [{"threshold": 0.9}, {"threshold": 0.005, "weight": 100}])
def test_a_boundary_out_of_sight_is_no_error(case):
    lesson_00.draw(lesson_00.compute(**case), None).canvas.draw()


def test_the_sentence_says_what_changed_and_agrees_with_the_table(rest):
    result = lesson_00.compute(weight=10)
    sentence, numbers = lesson_00.describe(result, rest), lesson_00.table(result).value
    assert sentence.startswith("Weight 10 (before: no handle moved)")
    assert f"{100 * numbers['recall (ill patients found)']:.1f} are found" in sentence
    assert f"{100 * numbers['false alarms (share of the healthy flagged)']:.1f} are flagged" in sentence
    assert f"the AUC is {numbers['AUC']:.4f} (before: {rest.auc:.4f})" in sentence
    assert "before" not in lesson_00.describe(rest)


def test_the_map_names_the_four_places_and_the_feedback():
    said = " ".join(text.get_text() for text in lesson_00.draw_map().axes[0].texts)
    for word in (*lesson_00.PLACES, "feedback", "threshold", "class weight", "batch share", "copies"):
        assert word in said


MOVES = {
    "threshold": (0.005, 0.1, 0.5 * 10**0.25),
    "weight": (100.0, 7.0, 1.0),
    "share": (0.9, 0.5, 0.02),
    "copies": (60, 20, 1),
}


@pytest.mark.parametrize("name", MOVES)
def test_every_move_of_a_handle_is_answered(name):
    explorer = lesson_00.explorer()
    for value in MOVES[name]:
        before = explorer.sentence
        explorer.controls[name].value = value
        assert explorer.error is None
        assert explorer.sentence != before
        assert explorer.values[name] == pytest.approx(value)
        assert explorer.result.recall == lesson_00.compute(**explorer.values).recall
    explorer.reset()
    assert explorer.values == explorer.defaults
    assert "aria-live" in explorer.words.value and "<img alt=" in explorer.picture.value


def test_all_handles_at_their_ends_at_once():
    explorer = lesson_00.explorer()
    for name, values in MOVES.items():
        explorer.controls[name].value = values[0]
        assert explorer.error is None
    explorer.table_button.value = True
    assert explorer.error is None
    assert "precision" in explorer.numbers.value


def test_the_first_setting_stands_there_without_widgets(capsys):
    lesson_00.explorer().static()
    assert "No handle moved" in capsys.readouterr().out


def test_dots_of_earlier_settings_stay_and_survive_a_reset():
    explorer = lesson_00.explorer()
    explorer.controls["weight"].value = 10.0
    explorer.reset()
    explorer.controls["copies"].value = 10
    fig = explorer.draw(explorer.result, None)
    markers = {line.get_marker() for line in fig.axes[1].lines}
    assert {"s", ">", "o"} <= markers
