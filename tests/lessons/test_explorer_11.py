"""Explorer of lesson 11: two copies of one method, and how often one of them is announced as winner."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib.classroom.lessons.lesson_11.explorer import (
    BOLD,
    HOLM,
    INTERVAL,
    MOST_LOOKS,
    SEEDS,
    SHOWN,
    compute,
    describe,
    differences,
    draw,
    table,
)
from course_lib.metrics import t_interval


def winners(result):
    return 100 - result.shares[1]


@pytest.mark.parametrize("seeds", SEEDS)
def test_one_look_at_equals_is_wrong_in_five_of_100_studies(seeds):
    assert winners(compute(seeds, 1, INTERVAL)) == pytest.approx(5, abs=2.5)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("looks", [10, 20])
def test_many_looks_are_wrong_as_often_as_the_formula_says(seeds, looks):
    assert winners(compute(seeds, looks, INTERVAL)) == pytest.approx(100 * (1 - 0.95**looks), abs=6)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("looks", [1, 5, 20])
def test_holm_brings_it_back_to_five(seeds, looks):
    assert winners(compute(seeds, looks, HOLM)) == pytest.approx(5, abs=2.5)


def test_bold_always_has_a_winner_and_both_copies_win_alike():
    x, nobody, y = compute(judge=BOLD).shares
    assert nobody == 0 and x == pytest.approx(50, abs=5) and x + y == 100
    shown = {compute(judge=BOLD, study=study).winner for study in range(1, SHOWN + 1)}
    assert shown == {"X", "Y"}


@pytest.mark.parametrize(
    ("setting", "winning", "claimed"),
    [
        ({"judge": INTERVAL}, 4, 3.7),
        ({"judge": INTERVAL, "looks": 10}, 40, 3.9),
        ({"judge": INTERVAL, "looks": 10, "seeds": 50}, 39, 1.6),
        ({"judge": HOLM, "looks": 10}, 4, 4.1),
    ],
)
def test_numbers_that_the_lesson_tells(setting, winning, claimed):
    result = compute(**setting)
    assert winners(result) == pytest.approx(winning, abs=2) and result.claimed == pytest.approx(
        claimed, abs=0.1
    )


def test_a_look_is_its_interval_and_the_smallest_p_is_reported():
    result = compute(5, 7, INTERVAL, study=3)
    for look, gaps in enumerate(differences(5)[2, :7]):
        mean, low, high = t_interval(gaps)
        assert result.mean[look] == pytest.approx(mean)
        assert result.half[look] == pytest.approx((high - low) / 2)
    assert result.reported == int(np.argmax(np.abs(result.mean) / result.half))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"seeds": 4}, "seeds"),
        ({"looks": 0}, "looks"),
        ({"looks": MOST_LOOKS + 1}, "looks"),
        ({"judge": "boss"}, "judge"),
        ({"study": 0}, "study"),
    ],
)
def test_settings_that_are_not_offered_are_refused(setting, said):
    with pytest.raises(ValueError, match=f"{said} must"):
        compute(**setting)


def test_picture_sentence_and_table_agree():
    result, before = compute(5, 10, INTERVAL), compute()
    fig = draw(result, before)
    left, right = fig.axes
    np.testing.assert_allclose([bar.get_width() for bar in right.patches], result.shares)
    assert len(left.lines) == 1 + 2 * 10
    plt.close(fig)
    said = describe(result, before)
    assert f"nobody {result.shares[1]:.0f}." in said and "Before: a winner in 100 of 100" in said
    rows = table(result)
    assert len(rows) == 10 and rows["in the table"].tolist().count("yes") == 1
    assert rows["in the table"][result.reported] == "yes"
