"""Figures that a lesson makes with one call: what they draw, what they say of it, what they refuse."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from course_lib.classroom import figures, plots, style

DIFFERENCES = pd.DataFrame(
    {
        "difference": [0.05, -0.01],
        "low": [0.03, -0.04],
        "high": [0.07, 0.02],
        "gaps": [(0.04, 0.06), (0.0, -0.02)],
    },
    index=["learn2mix", "focal"],
)


@pytest.fixture
def shown(monkeypatch):
    """(figure, alt text) of what was shown, drawn whole."""
    found = []

    def keep(fig, alt):
        fig.draw_without_rendering()
        found.append((fig, style.checked_alt(alt)))

    for module in (figures, plots):
        monkeypatch.setattr(module, "show", keep)
    yield found
    plt.close("all")


def texts(fig):
    found = [text.get_text() for ax in fig.axes for text in ax.texts]
    return found + [label.get_text() for ax in fig.axes for label in ax.get_yticklabels()]


def at(ax, x):
    """How many marks stand at x."""
    return sum(np.isclose(line.get_xdata(), x).sum() for line in ax.lines if len(line.get_xdata()))


def test_dots_show_every_seed_and_the_mean(shown):
    rows = {"plain": [2, 4, 9], "uniform": [80, 82, 84]}
    plots.dots(rows, quantity="ill people found of 100", target=90, target_text="the best possible")
    [(fig, alt)] = shown
    for value in (2, 4, 9, 80, 84, 5):
        assert at(fig.axes[0], value) == 1
    assert at(fig.axes[0], 82) == 2  # a seed and the mean
    assert {"plain", "uniform mix", "5", "82", "the best possible"} <= set(texts(fig))
    assert alt == (
        "Means from 5 to 82. ill people found of 100, a dot per seed, mean and range: plain 5, from "
        "2 to 9; uniform mix 82, from 80 to 84. the best possible: 90."
    )


def test_the_mark_of_the_mean_covers_no_dot(shown):
    plots.dots({"plain": [5.0] * 7, "Oskar": [5.0] * 7}, quantity="ill people found of 100")
    ax = shown[0][0].axes[0]
    unit = ax.transData.transform((0, 1))[1] - ax.transData.transform((0, 0))[1]  # pixels of a row, downwards
    dots = [y for line in ax.lines if line.get_markersize() == 5 for y in line.get_ydata()]
    radii = (12 + 5) / 2 * ax.figure.dpi / 72
    assert len(dots) == 14
    assert min(abs(y - row) for y in dots for row in (0, 1)) * abs(unit) >= radii


def test_dots_take_a_table_and_names_of_ones_own(shown):
    plots.dots(
        pd.DataFrame({"batch 16": [0.1, 0.2], "batch 256": [0.5, 0.7]}, index=[7, 9]),
        quantity="recall",
        title="B",
    )
    [(fig, alt)] = shown
    assert {"batch 16", "batch 256", "0.15", "0.60"} <= set(texts(fig)) and alt.startswith("B. recall")


@pytest.mark.parametrize("rows", [{}, {"a": []}, {"a": [1.0, float("nan")]}])
def test_dots_of_nothing_are_refused(rows):
    with pytest.raises(ValueError, match=r"rows.* must hold at least one"):
        plots.dots(rows, quantity="recall")


def test_paired_differences_draw_the_interval_of_the_table_and_the_seeds(shown):
    plots.paired_differences(DIFFERENCES, quantity="recall", matters=0.02)
    [(fig, alt)] = shown
    ax = fig.axes[0]
    for value in (0.03, 0.07, 0.04, 0.06, 0.05, -0.04, 0.0, -0.01):
        assert at(ax, value) >= 1, value
    (band,) = ax.patches
    assert band.get_x() == -0.02 and band.get_width() == 0.04
    assert {"+0.050\n[+0.030, +0.070]", "less than 0.02 would not matter", "focal loss"} <= set(texts(fig))
    assert "learn2mix +0.050 [+0.030, +0.070]; focal loss -0.010 [-0.040, +0.020]" in alt
    assert alt.startswith("Learn2mix: +0.050 against plain.")
    assert "Less than 0.02 would not matter." in alt and "better" not in alt


def table(**rows):
    """Name -> (difference, low, high)."""
    return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "low", "high"])


@pytest.mark.parametrize(
    ("rows", "said", "title"),
    [
        ({"focal": (0.6, -1.2, 2.4)}, {}, "No interval is clear of 0"),
        ({"focal": (9, -1, 19), "smote": (-5, -9, -1)}, {}, "SMOTE: -5.0 against plain"),
        ({"focal": (9, -1, 19), "smote": (-5, -9, -1)}, {"lower_is_better": True}, "SMOTE: -5.0, better than plain"),
        ({"smote": (-5, -9, -1)}, {"lower_is_better": False}, "SMOTE: -5.0, worse than plain"),
        ({"cdb": (5, 1, 9)}, {"lower_is_better": True, "against": "uniform"}, "CDB: +5.0, worse than uniform mix"),
        ({"smote": (0.5, 0.2, 1.2)}, {"matters": 1}, "No difference of 1 or more has an interval clear of 0"),
        ({"smote": (1, 0.2, 1.8), "focal": (0, -1, 1)}, {"matters": 2}, "Every interval lies in the grey band"),
        ({"smote": (5, 0.04, 9.96)}, {}, "No interval is clear of 0"),  # it is printed as [0.0, +10.0]
        ({"smote": (1500, 1400, 1600)}, {}, "SMOTE: +1,500 against plain"),
    ],
)  # fmt: skip
def test_a_title_claims_no_more_than_an_interval_clear_of_0_bears(shown, rows, said, title):
    plots.paired_differences(table(**rows), quantity="recall", **said)
    [(fig, alt)] = shown
    assert fig.get_suptitle() == title and alt.startswith(f"{title}.")
    if "lower_is_better" in said:
        better = "lower" if said["lower_is_better"] else "higher"
        assert fig.axes[0].get_xlabel().endswith(f"({better} is better)")


@pytest.mark.parametrize("draw", [plots.dots, plots.paired_differences, plots.bars])
def test_a_long_title_is_not_cut_at_the_edge(shown, draw):
    with plt.rc_context():
        plots.use_style()
        name = "20 : 200 becomes 110 : 1100, and a few words more"
        rows = {name: 3.0} if draw is plots.bars else {name: [1.0, 2.0, 3.0]}
        draw(
            rows,
            quantity="wrong pairs of 1,000",
            title="Half-and-half loses pairs in 5 of 5 runs, and weight 49 in 4 " * 2,
        )
        [(fig, _)] = shown
        box, over = fig._suptitle.get_window_extent(), fig.axes[0].get_tightbbox()
    assert box.x0 >= 0 and box.x1 <= fig.bbox.x1 and over.y1 <= box.y0


def test_dots_without_intervals_name_no_winner(shown):
    rows = {"plain": [13.5, 13.6], "constant": [0.7, 0.7]}
    plots.dots(rows, quantity="squared error", lower_is_better=True)
    plots.dots({"plain": [3.0]}, quantity="squared error")
    (fig, alt), (_, single) = shown
    assert alt.startswith("Means from 0.7 to 13.6. squared error (lower is better), a dot per seed")
    assert fig.axes[0].get_xlabel() == "squared error (lower is better)"
    assert single.startswith("The mean is 3.0.")


def test_what_rounds_to_0_is_printed_without_a_sign(shown):
    plots.paired_differences(table(focal=(-0.2, -3, 22), smote=(0.3, -0.4, -0.1)), quantity="recall")
    plots.dots({"slope": [-3.1, -0.001], "other": [-0.04, -0.04]}, quantity="slope")
    plots.bars({"a": -0.01, "b": 7.0}, quantity="recall")
    assert "focal loss 0 [-3, +22]; SMOTE 0 [0, 0]" in shown[0][1]
    assert "slope -1.6, from -3.1 to 0.0; other 0.0, from 0.0 to 0.0" in shown[1][1]
    assert "a 0.0; b 7.0" in shown[2][1]
    for fig, _ in shown:
        assert not any(re.search(r"[-+]0(\.0*)?(?![.\d])", text) for text in texts(fig)), texts(fig)


def test_paired_differences_of_seeds_have_the_t_interval(shown):
    plots.paired_differences({"focal": [1.0, 2.0, 3.0]}, quantity="found of 100", matters=5)
    low, high = 2 - 4.302653 / np.sqrt(3), 2 + 4.302653 / np.sqrt(3)
    assert f"[{low:+.1f}, {high:+.1f}]" in shown[0][1]


def test_differences_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="columns difference, low and high"):
        plots.paired_differences(pd.DataFrame({"mean": [1.0]}), quantity="recall")
    with pytest.raises(ValueError, match="at least one method"):
        plots.paired_differences(DIFFERENCES.iloc[:0], quantity="recall")


def test_a_threshold_is_drawn_where_its_recall_and_false_alarms_are(shown):
    y, score = np.array([0, 0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.3, 0.5, 0.9])
    plots.roc_curves(y, score, thresholds={"threshold 0.4": 0.4}, points={"weight 9": (0.25, 0.5)})
    [(fig, alt)] = shown
    marks = [line.get_xydata()[0].tolist() for line in fig.axes[0].lines if len(line.get_xdata()) == 1]
    assert sorted(marks) == [[0.25, 0.5], [0.25, 1.0]]
    assert "threshold 0.4: 100% found, 25% false alarms" in texts(fig)
    assert f"AUC {roc_auc_score(y, score):.3f}" in alt
    assert "threshold 0.4 at recall 1.00 and false alarm rate 0.25" in alt


def test_several_curves_have_their_looks_and_areas(shown):
    y = np.array([0, 0, 1, 1])
    plots.roc_curves(y, {"plain": [0.1, 0.4, 0.3, 0.9], "focal": [0.1, 0.2, 0.3, 0.9]})
    [(fig, alt)] = shown
    assert alt.startswith("Areas under the curve from 0.750 to 1.000.")
    assert [text.get_text() for text in fig.axes[0].get_legend().get_texts()] == [
        "plain: AUC 0.750",
        "focal loss: AUC 1.000",
    ]
    with pytest.raises(ValueError, match="one number per label"):
        plots.roc_curves(y, {"plain": [0.1, 0.4]})


def test_bars_have_their_numbers_and_the_marked_one_its_colour(shown):
    plots.bars(
        {"never": 1.0, "5 ill": 132.0},
        quantity="wrong pairs of 1,000",
        marked="5 ill",
        target=79,
        target_text="limit",
    )
    [(fig, alt)] = shown
    colors = [style.matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in fig.axes[0].patches]
    assert colors == [plots.HEALTHY.upper(), plots.ILL]
    assert "wrong pairs of 1,000: never 1; 5 ill 132. limit: 79." in alt


def test_columns_fill_their_whole_and_few_are_told_one_by_one(shown):
    plots.columns(
        [0.25, 0.75], quantity="share", whole=1, target=0.5, target_text="asked for", marked=[True, False]
    )
    plots.columns(np.linspace(0, 1, 100), quantity="share", across="the first 100 batches")
    (few, alt), (_, other) = shown
    heights = [bar.get_height() for bar in few.axes[0].patches]
    assert heights == [1, 1, 0.25, 0.75]
    assert "One by one: 0.25, 0.75. asked for: 0.50." in alt
    assert "One by one" not in other and "100 columns of share, mean 0.50, from 0.00 to 1.00" in other
    with pytest.raises(ValueError, match="one truth per value"):
        plots.columns([1.0, 2.0], quantity="share", marked=[True])
