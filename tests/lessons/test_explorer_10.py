"""The explorer of lesson 10."""

import numpy as np
import pytest
import torch

from course_lib.classroom.lessons.lesson_10 import explorer as world
from course_lib.learn2mix import Learn2Mix


def test_noise_touches_the_training_grades_of_white_wines_only():
    clean, noisy = world.cellar(0.6, 0), world.cellar(4.6, 0)
    for number in (0, 2, 3, 4, 5):
        assert torch.equal(clean[number], noisy[number])
    moved = clean[1] != noisy[1]
    assert torch.equal(moved, clean[2] == 1)


def test_the_training_part_holds_the_share_that_plain_uses():
    _, _, group, _, _, test_group = world.cellar(0.6, 0)
    assert group.float().mean() == pytest.approx(world.PRIOR)
    assert test_group.float().mean() == pytest.approx(0.75)


def test_the_levels_are_what_the_rule_says():
    """Least squares reaches the jury's spread; the constant adds the variance that the rule explains."""
    constant, line = (np.mean([world.levels(0.6, seed)[k] for seed in range(5)], 0) for k in (0, 1))
    np.testing.assert_allclose(line, world.JURY**2, atol=0.03)
    np.testing.assert_allclose(constant, world.JURY**2 + float(world.RULE.square().sum()), atol=0.06)


def test_lines_stay_where_they_are_when_share_or_start_moves():
    one, two = world.compute(0.2, 1.1, False), world.compute(0.9, 1.1, True)
    np.testing.assert_array_equal(one.constant, two.constant)
    np.testing.assert_array_equal(one.line, two.line)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_from_zero_no_share_reaches_the_constant_and_from_the_mean_both_do(share):
    far, near = world.compute(share, 0.6, False), world.compute(share, 0.6, True)
    assert (far.error > 4 * far.constant).all()
    assert (near.error < near.constant).all()


def test_more_white_wines_help_the_white_and_hurt_the_red_from_zero():
    few, many = world.compute(0.1, 0.6, False), world.compute(0.9, 0.6, False)
    assert many.error[1] < few.error[1] and many.error[0] > few.error[0]


def test_with_hasty_tasters_many_white_wines_hurt_both():
    result = world.compute(0.95, 4.6, True)
    assert (result.error > result.plain).all()


def test_learn2mix_would_follow_the_noise():
    """Why the explorer asks for 95 %: the loss of the noisy group stays above the other's."""
    control = Learn2Mix([1 - world.PRIOR, world.PRIOR], 0.1)
    for _ in range(60):
        mix = control.update([world.JURY**2, 4.6**2])
    assert mix[1] > 0.95


def test_table_and_sentence_agree():
    result = world.compute(0.5, 0.6, False)
    table = world.table(result)
    for name in world.NAMES:
        assert (
            f"{name} {table.loc[name, 'this share']:.2f} (23% white: {table.loc[name, '23% white']:.2f}"
            in (world.describe(result))
        )


def test_the_ghost_is_drawn_beside():
    now, before = world.compute(0.5, 0.6, False), world.compute(0.9, 0.6, False)
    for ghost, expected in ((None, 4), (before, 5)):
        assert len(world.draw(now, ghost).axes[0].get_legend().get_texts()) == expected
