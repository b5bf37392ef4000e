"""What the explorer of lesson 06 has to show, and that its truth is true."""

import numpy as np
import pytest

from course_lib.classroom.lessons.lesson_06.explorer import (
    PREVALENCE,
    SMOTE,
    SPLIT,
    compute,
    describe,
    people,
    posterior,
    synthetic,
    table,
)


def test_the_posterior_is_right_on_average():
    """Among many people, those with a probability near p are ill in a share p."""
    x, y = people(5_000, np.random.default_rng(0))
    p = posterior(x)
    assert p.mean() == pytest.approx(PREVALENCE, rel=0.05) and y.mean() == pytest.approx(PREVALENCE)
    for low, high in ((0, 0.02), (0.1, 0.3), (0.4, 0.6)):
        inside = (p > low) & (p < high)
        assert y[inside].mean() == pytest.approx(p[inside].mean(), abs=0.03)


def test_synthetic_points_lie_between_two_neighbours():
    ill = np.array([[0.0, 0.0], [1.0, 0.0], [10.0, 0.0], [11.0, 0.0]])
    made = synthetic(ill, 500, 1, np.random.default_rng(0))
    assert (made[:, 1] == 0).all()
    assert (((made[:, 0] >= 0) & (made[:, 0] <= 1)) | ((made[:, 0] >= 10) & (made[:, 0] <= 11))).all()
    crossing = synthetic(ill, 500, 2, np.random.default_rng(0))
    assert ((crossing[:, 0] > 1) & (crossing[:, 0] < 10)).mean() > 0.3


def test_an_island_needs_k_plus_one_members():
    astray = [compute(members, 5).astray for members in (2, 3, 4, 5, 6, 8)]
    assert (np.diff(astray[:5]) < -0.05).all()
    assert astray[0] > 0.35 and max(astray[4:]) < 0.06
    assert compute(3, 2).astray < 0.06 < compute(3, 3).astray


@pytest.mark.parametrize("members", [2, 3, 6, 10])
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("order", [SPLIT, SMOTE])
def test_smote_brings_nothing_that_the_same_people_did_not_show(members, k, order):
    _, true, plain = compute(members, k, order).pairs
    assert true < plain + 1.5


@pytest.mark.parametrize("members", [3, 6, 10])
def test_only_smote_before_the_split_flatters_the_report(members):
    claimed, true, _ = compute(members, 5, SPLIT).pairs
    assert abs(claimed - true) < 3
    claimed, true, _ = compute(members, 5, SMOTE).pairs
    assert claimed > true + 2


@pytest.mark.parametrize(
    ("setting", "said"), [({"members": 1}, "members"), ({"k": 8}, "k"), ({"order": "both"}, "order")]
)
def test_settings_out_of_range_are_refused(setting, said):
    with pytest.raises(ValueError, match=f"{said} must"):
        compute(**setting)


def test_sentence_and_table_agree():
    result, before = compute(3), compute(6)
    numbers = table(result).number
    assert f"{100 * result.astray:.0f} of 100 synthetic points" in describe(result)
    assert numbers[0] == pytest.approx(100 * result.astray, abs=0.06)
    assert f"Before: {100 * before.astray:.0f} astray" in describe(result, before)
