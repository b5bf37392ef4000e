"""Pictures of lesson 11: every method has its row and every label can be read; a clock is drawn with its spread."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from course_lib.classroom import plots
from course_lib.classroom.lessons.lesson_11 import pictures
from course_lib.recipes import RECIPES


@pytest.fixture
def shown(monkeypatch):
    """The figures that were drawn, with their alt texts."""
    plots.use_style()
    kept = []
    monkeypatch.setattr(plots, "show", lambda fig, alt: kept.append((fig, plots.checked_alt(alt))))
    yield kept
    plt.close("all")


def every_method():
    """Entries for all rows of the table, of every kind that the atlas knows, and one far outside the picture."""
    rows = []
    for k, method in enumerate(name for name in RECIPES if name != "plain"):
        sides = (("wins", 0.1), ("loses", -0.1)) if k % 3 else (("wins", 0.02), ("not confirmed", 0.0))
        rows += [
            (method, "long tail, 60 steps", side, mean, mean - 0.01, mean + 0.01) for side, mean in sides
        ]
    rows[3] = (rows[3][0], "probabilities", "loses", -5.5, -5.8, -5.1)
    return pd.DataFrame(rows, columns=["method", "setting", "side", "mean", "low", "high"])


def texts(fig):
    return [text for text in fig.findobj(Text) if text.get_text() and text.get_visible()]


def test_the_atlas_has_a_row_for_each_method_and_a_name_at_each_entry(shown):
    entries = every_method()
    pictures.atlas(entries)
    ((fig, alt),) = shown
    ax = fig.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        plots.look(name).label for name in RECIPES if name != "plain"
    ]
    assert len(ax.texts) == len(entries)
    both = sum(set(own.side) == {"wins", "loses"} for _, own in entries.groupby("method"))
    assert ax.get_title(loc="left").startswith(f"{both} of {entries.method.nunique()} methods win")
    assert alt.count("[") == len(entries) and "-5.50 [-5.80, -5.10]" in alt


def test_no_label_of_the_atlas_is_small_or_covers_another_or_leaves_the_picture(shown):
    pictures.atlas(every_method())
    fig = shown[0][0]
    fig.canvas.draw()
    labels = [*fig.axes[0].texts, *fig.axes[0].get_yticklabels()]
    boxes = [label.get_window_extent() for label in labels]
    assert min(text.get_fontsize() for text in texts(fig)) >= 10
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1 for box in boxes)


def test_a_gain_outside_the_picture_is_an_arrow_with_its_number(shown):
    pictures.atlas(every_method())
    ax = shown[0][0].axes[0]
    assert [text.get_text() for text in ax.texts if ":" in text.get_text()] == ["probabilities: -5.5"]
    assert sum(line.get_marker() == "<" and len(line.get_xdata()) == 1 for line in ax.lines) >= 1
    assert min(np.min(line.get_xdata()) for line in ax.lines) >= pictures.FARTHEST


def test_the_clock_is_drawn_with_its_fastest_and_slowest_seed(shown):
    rows = [
        (part, recipe, at, 1000 * at, 64_000 * at, 10 * at, 8 * at, slowest * at, 1 / at)
        for part, slowest in (("wine", 12), ("mnist_rebuilt", 40))
        for recipe in ("plain", "learn2mix")
        for at in (0.25, 0.5, 1.0)
    ]
    names = ["part", "recipe", "at", "steps", "examples", "seconds", "fastest", "slowest", "error"]
    pictures.cost(pd.DataFrame(rows, columns=names))
    ((fig, alt),) = shown
    assert len(fig.axes) == 4 and alt.startswith("The same steps took up to 5 times as long on another seed.")
    assert fig.axes[0].get_xlabel() == "steps of 64 examples"
    spread = fig.axes[3].collections[0].get_segments()
    np.testing.assert_allclose([segment[:, 0] for segment in spread], [[2, 10], [4, 20], [8, 40]])
    assert "learn2mix: error 1 after 1000 steps, 10.0 seconds (8.0 to 40.0)" in alt
