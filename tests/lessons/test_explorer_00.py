"""Lesson 00's console: each handle does what it says, all four multiply the odds, and every move is answered."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from course_lib.classroom.lessons.lesson_00 import explorer as lesson_00
from course_lib.sampling import ClassMixBatchSampler
from tests.lessons.books import NOTEBOOKS, code_cells, read

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


# ---- the clinic and the fit -------------------------------------------------------------------------------


def test_the_console_holds_the_lessons_visitors():
    """The lesson makes them in a cell of its own."""
    [cell] = [
        cell for cell in code_cells(read(NOTEBOOKS / "00_start_here.ipynb")) if "def visitors" in cell.source
    ]
    names = {"torch": torch}
    exec(cell.source.replace("lesson_00.show_month(test_x, test_y)", ""), names)
    for name, ours in zip(("train_x", "train_y", "test_x", "test_y"), lesson_00.clinic(), strict=True):
        assert torch.equal(names[name], ours)


def test_both_parts_are_as_rare_as_the_lesson_says():
    for y in lesson_00.clinic()[1::2]:
        assert y.mean() == pytest.approx(lesson_00.PREVALENCE, abs=1e-6)
    assert lesson_00.clinic()[3].sum() >= 400  # enough to read recall within .05


@pytest.mark.parametrize("weighted", [False, True])
def test_the_fit_is_where_the_gradient_is_zero(weighted):
    torch.manual_seed(1)
    x = torch.randn(400, 3, dtype=torch.float64)
    y = (x[:, 0] + torch.randn(400) > 1).double()
    weight = torch.rand(400, dtype=torch.float64) + 0.5 if weighted else torch.ones(400, dtype=torch.float64)
    line = torch.as_tensor(lesson_00.fit_line(x.numpy(), y.numpy(), weight.numpy())).requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(line[0] + x @ line[1:], y, weight)
    loss.backward()
    assert line.grad.abs().max() < 1e-5


def test_copies_are_a_whole_number_weight():
    """Rows that are really repeated, and the console's shortcut."""
    train_x, train_y, *_ = lesson_00.clinic()
    rows = torch.repeat_interleave(torch.arange(len(train_y)), 1 + 6 * train_y.long())
    line = lesson_00.fit_line(train_x[rows].numpy(), train_y[rows].numpy(), np.ones(len(rows)))
    np.testing.assert_allclose(lesson_00.compute(copies=7).line, line, atol=1e-3)
    np.testing.assert_allclose(lesson_00.compute(weight=7).line, line, atol=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_batch_share_has_the_gradient_of_the_weights_on_average(share):
    """Any parameters, many real batches: their mean gradient is that of the weighted loss over N."""
    x, y = lesson_00.visitors(980, 20, seed=3)
    x = torch.cat([torch.ones(len(x), 1), x], 1).double()
    line = torch.tensor([-1.0, 0.7, 0.2], dtype=torch.float64)
    each = (torch.sigmoid(x @ line) - y)[:, None] * x
    weighted = (torch.as_tensor(lesson_00.weights(y, 1.0, share, 1))[:, None] * each).mean(0)
    sampler = ClassMixBatchSampler(
        y.long(), 50, torch.tensor([1 - share, share]), batches_per_epoch=4000, seed=0
    )
    batches = torch.stack([each[rows].mean(0) for rows in sampler])
    margin = 4 * batches.std(0) / len(batches) ** 0.5
    assert ((batches.mean(0) - weighted).abs() < margin).all()


# ---- the console ------------------------------------------------------------------------------------------


def test_at_rest_the_model_is_honest_and_calls_back_hardly_anybody(rest):
    assert rest.mean_p == pytest.approx(lesson_00.PREVALENCE, abs=0.002)
    assert rest.recall < 0.15


@pytest.mark.parametrize("case", CASES)
def test_every_handle_moves_the_point_on_one_curve(case, rest):
    result = lesson_00.compute(**case)
    assert abs(result.auc - rest.auc) < 0.001
    assert np.interp(result.false_alarm_rate, *rest.curve) == pytest.approx(result.recall, abs=0.02)


@pytest.mark.parametrize("case", [{"weight": 49}, {"share": 0.5}, {"copies": 49}])
def test_balancing_multiplies_the_odds_by_49(case, rest):
    """So with threshold 0.5 it calls back whom the plain model calls back with 1 / (1 + 49)."""
    x = lesson_00.clinic()[2].double().numpy()
    factor = np.exp((lesson_00.compute(**case).line - rest.line) @ np.vstack([np.ones(len(x)), x.T]))
    assert np.median(factor) == pytest.approx(49, rel=0.1)
    assert lesson_00.compute(**case).recall == pytest.approx(
        lesson_00.compute(threshold=0.02).recall, abs=0.01
    )


def test_the_area_is_scikit_learns(rest):
    x, y = lesson_00.clinic()[2:]
    assert rest.auc == pytest.approx(roc_auc_score(y, x.double().numpy() @ rest.line[1:]), abs=1e-9)


@pytest.mark.parametrize(
    ("handle", "steps"),
    [
        ("threshold", (0.5, 0.1, 0.02)),
        ("weight", (1, 7, 50)),
        ("share", (0.02, 0.3, 0.8)),
        ("copies", (1, 7, 50)),
    ],
)
def test_turning_a_handle_up_calls_back_more_of_both(handle, steps):
    results = [lesson_00.compute(**{handle: step}) for step in steps]
    assert sorted(r.recall for r in results) == [r.recall for r in results]
    assert sorted(r.false_alarm_rate for r in results) == [r.false_alarm_rate for r in results]


def test_two_handles_balance_twice():
    assert lesson_00.compute(weight=49, share=0.5).false_alarm_rate > 0.85


def test_a_batch_that_is_told_its_share_does_not_ask_for_copies():
    np.testing.assert_allclose(
        lesson_00.compute(share=0.3, copies=10).line, lesson_00.compute(share=0.3).line
    )


def test_precision_counts_those_called_back():
    result = lesson_00.compute(weight=49)
    called = 20 * result.recall + 980 * result.false_alarm_rate
    assert result.precision == pytest.approx(20 * result.recall / called)
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
    assert any(f"AUC {result.auc:.3f}" in text.get_text() for text in right.texts)


def key_of(fig) -> list[str]:
    return [text.get_text() for text in fig.axes[1].get_legend().get_texts()]


def test_the_key_lists_the_dots_that_are_there(rest):
    assert key_of(lesson_00.draw(rest)) == ["none"]
    twice, share = lesson_00.compute(weight=5, threshold=0.1), lesson_00.compute(share=0.5)
    assert sorted(key_of(lesson_00.draw(twice, rest, [rest, share]))) == ["none", "several", "share"]


@pytest.mark.parametrize("case", [{"threshold": 0.9}, {"threshold": 0.005, "weight": 100}])
def test_a_boundary_out_of_sight_is_no_error(case):
    lesson_00.draw(lesson_00.compute(**case), None).canvas.draw()


def test_the_sentence_says_what_changed_and_agrees_with_the_table(rest):
    result = lesson_00.compute(weight=10)
    sentence, numbers = lesson_00.describe(result, rest), lesson_00.table(result).value
    assert sentence.startswith("Weight 10 (before: no handle moved)")
    assert f"{20 * numbers['recall (share of the ill called back)']:.1f} of 20 ill" in sentence
    healthy = 980 * numbers["false alarm rate (share of the healthy called back)"]
    assert f"{healthy:.0f} of 980 healthy" in sentence
    assert f"the AUC is {numbers['AUC']:.3f} (before: {rest.auc:.3f})" in sentence
    assert "before" not in lesson_00.describe(rest)


def test_the_month_shows_20_ill_of_1000(monkeypatch):
    shown = []
    monkeypatch.setattr(lesson_00.plots, "show", lambda fig, alt: shown.append((fig, alt)))
    lesson_00.show_month(*lesson_00.clinic()[2:])
    [(fig, alt)] = shown
    assert [len(points.get_offsets()) for points in fig.axes[0].collections] == [980, 20]
    assert "20 ill" in alt


def test_the_four_runs_lie_where_their_shares_say(monkeypatch):
    shown = []
    monkeypatch.setattr(lesson_00.plots, "show", lambda fig, alt: shown.append((fig, alt)))
    x, y = lesson_00.clinic()[2:]
    p_of = {}
    for name, case in {
        "plain": {},
        "copies": {"copies": 49},
        "half": {"share": 0.5},
        "weight": {"weight": 49},
    }.items():
        line = torch.as_tensor(lesson_00.compute(**case).line)
        p_of[name] = torch.sigmoid(line[0] + x.double() @ line[1:])
    lesson_00.show_points(y, p_of)
    [(fig, alt)] = shown
    whole, enlarged = fig.axes
    dots = [line.get_xydata()[0] for line in whole.lines if len(line.get_xydata()) == 1]
    wanted = [
        lesson_00.compute(**case)
        for case in ({"threshold": 0.02}, {"copies": 49}, {"share": 0.5}, {"weight": 49}, {})
    ]
    np.testing.assert_allclose(dots, [(r.false_alarm_rate, r.recall) for r in wanted], atol=1e-3)
    for alarms, recall in dots[:-1]:  # the last is the start of the arrow
        assert enlarged.get_xlim()[0] < alarms < enlarged.get_xlim()[1], "outside the enlarged square"
        assert enlarged.get_ylim()[0] < recall < enlarged.get_ylim()[1]
    assert "weight at false alarm rate" in alt


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
