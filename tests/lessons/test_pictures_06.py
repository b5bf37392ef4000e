"""The figure of lesson 06 that follows networks through their training."""

import numpy as np
import pytest

from course_lib.classroom.lessons.lesson_06 import pictures

STEPS = (15, 50, 400, 800)


def found(*means):
    """Two training parts, 1 below and 1 above these means; the validation part says other numbers."""
    test = np.array([means, means], dtype=float) + [[-1], [1]]
    return np.stack([100 - test, test], axis=-1)


@pytest.mark.parametrize(
    ("means", "steps"), [((10, 40, 44, 44), 50), ((60, 50, 40, 30), 15), ((10, 20, 30, 40), 800)]
)
def test_the_soonest_moment_is_the_first_one_near_the_best_of_the_test_part(means, steps):
    assert pictures.soonest(found(*means), STEPS) == steps


def test_the_alt_text_tells_start_best_and_end_of_each_line(monkeypatch):
    shown = []
    monkeypatch.setattr(pictures.plots, "show", lambda fig, alt: shown.append((fig, alt)))
    ways = {"plain": found(10, 40, 44), "smote": found(60, 50, 40)}
    pictures.by_steps({"visitors": ways, "islands": {**ways, "plain": found(1, 2, 3, 4)}}, STEPS, voted=400)
    (fig, alt), *more = shown
    assert not more
    assert "visitors, plain: 10 after 15 steps, best 44 after 400, 44 after 400;" in alt
    assert "islands, plain: 1 after 15 steps, best 4 after 800, 4 after 800;" in alt
    assert alt.count("SMOTE: 60 after 15 steps, best 60 after 15, 40 after 400") == 2
    left, right = fig.axes
    assert "plain 50, SMOTE 15" in left.get_title()
    lines = {line.get_label(): line for line in left.lines if not line.get_label().startswith("_")}
    assert lines["plain"].get_ydata().tolist() == [10, 40, 44]
    assert len(right.get_xticks()) == 4 and len(left.get_xticks()) == 3
    pictures.plots.plt.close(fig)
