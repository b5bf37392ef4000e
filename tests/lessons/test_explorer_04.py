"""Explorer of lesson 04: columns that are the weights of real batches, and a share that follows the batch size."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.classroom.lessons.lesson_04 import explorer as lesson_04
from course_lib.classroom.lessons.lesson_04.explorer import (
    VISITORS,
    WEIGHTS,
    compute,
    describe,
    draw,
    table,
)

CORNERS = [(4, 1), (4, 50), (512, 1), (512, 50), (16, 2)]


@pytest.fixture(scope="module")
def explorer():
    return lesson_04.explorer()


# ---- what is computed ----


@pytest.mark.parametrize("divide_by", [WEIGHTS, VISITORS])
@pytest.mark.parametrize(("size", "ill"), CORNERS)
def test_every_batch_is_full_and_the_pass_holds_the_share_of_the_ill_exactly(size, ill, divide_by):
    result = compute(size, divide_by, ill)
    assert result.count.sum() == ill * size and (result.count >= 0).all() and (result.count <= size).all()
    assert (np.diff(result.count) <= 0).all(), "most ill first"


def test_a_column_is_what_the_classes_get_of_the_gradient_in_torch():
    """With scores of 0 all losses have the same slope: a class's part of the gradient is its part of the weight."""
    result = compute(16, WEIGHTS, 10)
    for batch in (0, 40, 99):
        ill = int(result.count[batch])
        y = torch.tensor([1] * ill + [0] * (16 - ill))
        w = torch.tensor([50 / 90, 50 / 10])
        scores = torch.zeros(16, 2, requires_grad=True)
        F.cross_entropy(scores, y, weight=w).backward()
        part = scores.grad.abs().sum(1)
        assert float(part[y == 1].sum()) == pytest.approx(result.ill[batch], abs=1e-6)
        assert float(part[y == 0].sum()) == pytest.approx(result.healthy[batch], abs=1e-6)


@pytest.mark.parametrize(("size", "ill"), CORNERS)
def test_under_pytorchs_average_every_batch_counts_one(size, ill):
    result = compute(size, WEIGHTS, ill)
    np.testing.assert_allclose(result.ill + result.healthy, 1)
    assert (result.ill[result.count == 0] == 0).all()
    assert (result.ill[result.count == size] == 1).all()


@pytest.mark.parametrize(("size", "ill"), CORNERS)
def test_divided_by_the_visitors_the_ill_get_half_at_every_batch_size(size, ill):
    assert compute(size, VISITORS, ill).share == pytest.approx(0.5)


def test_under_pytorchs_average_the_share_rises_with_the_batch_and_stays_below_half():
    shares = [compute(size, WEIGHTS, 2).share for size in (4, 8, 16, 32, 64, 128, 256, 512)]
    assert (np.diff(shares) > 0).all() and shares[0] < 0.1 and 0.45 < shares[-1] < 0.5


def test_the_share_depends_on_the_expected_number_of_ill_in_a_batch():
    for size, ill in ((16, 2), (32, 1), (4, 8)):
        assert compute(size, WEIGHTS, ill).share == pytest.approx(0.2, abs=0.03)


def test_compute_is_repeatable_and_another_seed_draws_other_batches():
    np.testing.assert_array_equal(compute(16).count, compute(16.0).count)
    assert any((compute(16).count != compute(16, seed=seed).count).any() for seed in range(1, 5))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"batch_size": 1}, "batch_size"),
        ({"divide_by": "mean"}, "divide_by"),
        ({"ill_of_100": 0}, "ill_of_100"),
        ({"ill_of_100": 100}, "ill_of_100"),
    ],
)
def test_settings_out_of_range_are_refused(setting, said):
    with pytest.raises(ValueError, match=f"{said} must"):
        compute(**setting)


# ---- picture, sentence, table ----


@pytest.mark.parametrize("divide_by", [WEIGHTS, VISITORS])
@pytest.mark.parametrize(("size", "ill"), CORNERS)
def test_picture_holds_a_column_per_batch_and_their_sum(size, ill, divide_by):
    result, ghost = compute(size, divide_by, ill), compute(16) if divide_by == WEIGHTS else None
    fig = draw(result, ghost)
    left, right = fig.axes
    assert len(left.patches) == 200
    np.testing.assert_allclose([bar.get_height() for bar in left.patches[:100]], result.ill)
    assert left.get_ylim()[1] > (result.ill + result.healthy).max()
    assert right.patches[0].get_height() == pytest.approx(result.share)
    names = {text.get_text() for text in right.texts}
    assert names == ({"asked"} if ghost is None else {"asked", "before"})
    plt.close(fig)


@pytest.mark.parametrize("divide_by", [WEIGHTS, VISITORS])
@pytest.mark.parametrize(("size", "ill"), CORNERS)
def test_sentence_and_table_agree(size, ill, divide_by):
    result = compute(size, divide_by, ill)
    rows = table(result)
    assert rows.batches.sum() == 100
    assert (rows["ill in the batch"] * rows.batches).sum() == ill * size
    assert f"{rows.batches[rows['ill in the batch'] == 0].sum()} of 100 batches hold no ill" in describe(
        result
    )
    share = (rows["the ill count"] * rows.batches).sum()
    share /= share + (rows["the healthy count"] * rows.batches).sum()
    assert share == pytest.approx(result.share, abs=0.01)
    assert f"get {100 * result.share:.0f} of 100 parts" in describe(result)


def test_sentence_says_what_it_was_before():
    assert "Before" not in describe(compute(16))
    assert "Before, they got 20." in describe(compute(256), compute(16))


# ---- the widget ----


def test_the_batch_sizes_of_the_slider_are_powers_of_two(explorer):
    slider = explorer.controls["batch_size"]
    sizes = [slider.base ** (slider.min + step * slider.step) for step in range(8)]
    np.testing.assert_allclose(sizes, [4, 8, 16, 32, 64, 128, 256, 512], rtol=1e-6)


def test_numbers_show_as_a_table(explorer):
    explorer.table_button.value = True
    assert "the ill count" in explorer.numbers.value
    explorer.table_button.value = False
