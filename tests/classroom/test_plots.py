"""Figures: looks that can be told apart, labels that do not overlap, words with every picture."""

import math

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.classroom import plots, style
from course_lib.recipes import RECIPES

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def house_style():
    with matplotlib.rc_context():
        plots.use_style()
        yield
    plt.close("all")


@pytest.fixture
def axes():
    return plt.subplots()[1]


# ---- looks ------------------------------------------------------------------------------------------------


def test_every_recipe_has_a_look():
    assert set(RECIPES) <= set(plots.LOOKS)


def test_a_varied_recipe_has_the_look_of_its_parent_and_its_own_name():
    varied, parent = plots.look("learn2mix (mixing_rate=0.5)"), plots.look("learn2mix")
    assert varied.label == "learn2mix (mixing_rate=0.5)"
    assert varied._replace(label="") == parent._replace(label="")


def test_rows_that_are_no_method_share_one_marker_and_one_colour_that_no_method_has():
    """Shapes by chance made readers look for a meaning."""
    names = [
        "poly1",
        "noise 2.0",
        "visitors, passes: 12",
        "the best possible",
        "Lena, 6 ill",
        "Oskar",
        "digit 8",
        "",
    ]
    neutral = [plots.look(name) for name in names]
    assert [look.label for look in neutral] == names
    assert {(look.color, look.marker, look.linestyle) for look in neutral} == {(style.NEUTRAL, "o", "-")}
    assert style.NEUTRAL not in {look.color for look in plots.LOOKS.values()}


def test_lines_without_a_method_in_one_figure_differ_in_their_dashes_and_names(monkeypatch):
    names = ["visits of 1", "plain", "visits of 20", "focal", "visits of 100"]
    together = plots.looks(names)
    neutral = [found for found in together if found.color == style.NEUTRAL]
    assert len({found.linestyle for found in neutral}) == len({found.label for found in neutral}) == 3
    assert [together[1], together[3]] == [plots.look("plain"), plots.look("focal")]
    shown = []
    monkeypatch.setattr(plots, "show", lambda fig, alt: shown.append(fig))
    plots.roc_curves(np.array([0, 0, 1, 1]), dict.fromkeys(names, np.array([0.1, 0.4, 0.3, 0.9])))
    drawn = {line.get_label().split(":")[0]: line for line in shown[0].axes[0].get_legend().get_lines()}
    dashes = {str(drawn[name]._unscaled_dash_pattern) for name in names if name.startswith("visits")}
    assert len(dashes) == 3 and style.DOTTED not in style.NEUTRAL_DASHES
    with pytest.raises(ValueError, match="at most 6 that are no method"):
        plots.looks([f"row {k}" for k in range(7)])


def test_the_class_looked_for_has_a_colour_that_no_method_has():
    assert plots.class_colors(2) == [plots.HEALTHY, plots.ILL]
    many = plots.class_colors(10)
    assert many[-1].upper() == plots.ILL and len(set(many)) == 10
    light = [luminance(color) for color in many]
    assert light == sorted(light, reverse=True)
    assert plots.ILL not in {look.color for look in plots.LOOKS.values()}


def test_methods_of_one_colour_differ_in_marker_and_in_dash():
    for color in {look.color for look in plots.LOOKS.values()}:
        family = [look for look in plots.LOOKS.values() if look.color == color]
        assert len({look.marker for look in family}) == len(family), color
        assert len({look.linestyle for look in family}) == len(family), color
    assert len({look.label for look in plots.LOOKS.values()}) == len(plots.LOOKS)


def test_one_method_of_each_colour_has_the_solid_line():
    solid = [look.color for look in plots.LOOKS.values() if look.linestyle == "-"]
    assert sorted(solid) == sorted({look.color for look in plots.LOOKS.values()})


def test_a_line_without_a_look_is_black_never_a_colour_by_chance(axes):
    lines = [axes.plot([0, 1])[0] for _ in range(4)]
    assert {line.get_color() for line in lines} == {"#000000"}


# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
MACHADO = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(color, seen_as="normal"):
    """CIE L*a*b* (D65) of a colour as eyes of this kind see it."""
    rgb = np.array(matplotlib.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(MACHADO[seen_as]) @ linear, 0, 1)
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    xyz = np.array(to_xyz) @ linear / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def ciede2000(one, two):
    """Colour difference of two L*a*b* colours: Sharma, Wu & Dalal 2005."""
    (l1, a1, b1), (l2, a2, b2) = one, two
    mean_c = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(mean_c**7 / (mean_c**7 + 25**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    gap = h2 - h1
    if c1 * c2 == 0:
        gap, mean_h = 0, h1 + h2
    elif abs(gap) <= 180:
        mean_h = (h1 + h2) / 2
    else:
        gap += -360 if gap > 0 else 360
        mean_h = ((h1 + h2 + (360 if h1 + h2 < 360 else -360)) / 2) % 360
    dl, dc, dh = l2 - l1, c2 - c1, 2 * math.sqrt(c1 * c2) * math.sin(math.radians(gap / 2))
    ml, mc = (l1 + l2) / 2, (c1 + c2) / 2
    turn = (
        1 - 0.17 * math.cos(math.radians(mean_h - 30)) + 0.24 * math.cos(math.radians(2 * mean_h))
        + 0.32 * math.cos(math.radians(3 * mean_h + 6)) - 0.20 * math.cos(math.radians(4 * mean_h - 63))
    )  # fmt: skip
    sl = 1 + 0.015 * (ml - 50) ** 2 / math.sqrt(20 + (ml - 50) ** 2)
    sc, sh = 1 + 0.045 * mc, 1 + 0.015 * mc * turn
    rotation = -2 * math.sqrt(mc**7 / (mc**7 + 25**7))
    rotation *= math.sin(math.radians(60 * math.exp(-(((mean_h - 275) / 25) ** 2))))
    return math.sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh / sh) ** 2 + rotation * dc / sc * dh / sh)


def test_ciede2000_agrees_with_its_published_pairs():
    pairs = (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1, 2), (50, 0, 0), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.5, 0), (61, -5, 29), 22.8977),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    )
    for one, two, known in pairs:
        assert ciede2000(one, two) == pytest.approx(known, abs=1e-4)


COLORS = sorted({look.color for look in plots.LOOKS.values()})


@pytest.mark.parametrize("eyes", MACHADO)
def test_methods_and_the_class_looked_for_are_told_apart_by_all_eyes(eyes):
    seen = [lab(color, eyes) for color in COLORS]
    nearest = min(ciede2000(a, b) for i, a in enumerate(seen) for b in seen[:i])
    assert nearest > 10  # matplotlib's first eight default colours: 1.3
    assert min(ciede2000(lab(plots.ILL, eyes), other) for other in seen) > 15


def luminance(color):
    """Relative luminance of a colour in [0, 1], as WCAG 2 defines it."""
    rgb = np.asarray(matplotlib.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, two="white"):
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_is_readable_and_lines_are_visible_on_white():
    assert contrast("black") == pytest.approx(21)
    assert contrast(plots.INK) > 12
    assert contrast(plots.REFERENCE) > 4.5
    assert contrast("#595959") > 7  # words on reference lines
    assert (
        min(contrast(color) for color in COLORS) > 2.2
    )  # orange and sky; hence thick lines, markers and labels
    assert min(contrast(color) for color in plots.class_colors(10)) > 3


# ---- a picture with words ---------------------------------------------------------------------------------


def a_figure():
    fig, ax = plt.subplots()
    ax.plot(range(9), **plots.look("focal").style)
    return fig


def test_same_figure_same_bytes():
    first, second = plots.png(a_figure()), plots.png(a_figure())
    assert first == second and first.startswith(b"\x89PNG") and b"matplotlib" not in first


@pytest.mark.parametrize("alt", ["", "   ", "Recall", "Recall rises with the weight", None, 3, "A figure."])
def test_alt_text_that_is_no_sentence_is_refused(alt):
    fig = a_figure()
    with pytest.raises(ValueError, match="alt must be a sentence"):
        plots.show(fig, alt)
    assert plt.fignum_exists(fig.number)


def test_show_displays_an_image_with_alt_text_and_closes_the_figure(monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", lambda bundle, raw: shown.append((bundle, raw)))
    fig = a_figure()
    assert plots.show(fig, 'Recall rises\n  as "weight" > 1 grows.') is None
    ((bundle, raw),) = shown
    assert raw and bundle["text/plain"] == 'Recall rises as "weight" > 1 grows.'
    assert bundle["text/html"].startswith(
        '<img alt="Recall rises as &quot;weight&quot; &gt; 1 grows." src="data:image/png'
    )
    assert 'width="704" height="396"' in bundle["text/html"] and "max-width:100%" in bundle["text/html"]
    assert not plt.fignum_exists(fig.number)


def test_figures_are_white_in_any_theme():
    with matplotlib.rc_context({"figure.facecolor": "black", "savefig.facecolor": "black"}):
        plots.use_style()
        assert plt.figure().get_facecolor() == (1, 1, 1, 1)
        assert matplotlib.rcParams["savefig.facecolor"] == "white"


# ---- names at the curves ----------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.3))
def test_labels_are_pushed_apart_in_order_and_stay_inside(heights, gap):
    placed = plots.push_apart(heights, gap)
    order = np.argsort(heights, kind="stable")
    fits = min(gap, 1 / max(1, len(heights) - 1))
    assert (np.diff(placed[order]) >= fits - 1e-9).all()
    assert placed.min() >= -1e-9 and placed.max() <= 1 + 1e-9


def test_labels_that_have_room_stay_where_they_are():
    assert plots.push_apart([0.9, 0.1, 0.5], 0.1) == pytest.approx([0.9, 0.1, 0.5])


@pytest.mark.parametrize("limits", [None, (0, 1), (-3, 30)])
@pytest.mark.parametrize("layout", ["constrained", "none"])
def test_direct_labels_do_not_overlap_and_stay_on_the_figure(limits, layout):
    fig, ax = plt.subplots(layout=layout)
    fig.subplots_adjust(right=0.6) if layout == "none" else None
    names = ["plain", "class_weights", "focal", "uniform", "learn2mix", "smote", "random_undersample"]
    for rise, name in enumerate(names):
        ax.plot(range(20), 0.5 + 0.001 * rise * np.arange(20), **plots.look(name).style)
    ax.set(ylim=limits)
    plots.direct_labels(ax)
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == [plots.look(name).label for name in names]
    assert all(text.get_color() == plots.INK for text in ax.texts)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1 for box in boxes)
    assert all(box.x0 > ax.get_window_extent().x1 for box in boxes)
    middles = [box.y0 for box in boxes]
    assert middles == sorted(middles)  # in the order of the curves' ends


def test_direct_labels_leave_out_lines_without_a_name_or_a_point(axes):
    axes.plot([0, 1], [0, 1])
    axes.plot([0, 1], [np.nan, np.nan], label="never seen")
    with pytest.raises(ValueError, match="at least one line"):
        plots.direct_labels(axes)
    axes.plot([0, 1, 2], [0, 1, np.nan], label="seen")
    plots.direct_labels(axes)
    assert [text.get_text() for text in axes.texts] == ["seen"]


def test_a_label_starts_at_the_height_of_the_last_finite_point(axes):
    line = axes.plot([0, 1, 2], [0, 5, np.nan], label="seen")[0]
    axes.set_ylim(0, 10)
    assert style._last_height(axes, line) == pytest.approx(0.5)
    axes.set(yscale="log", ylim=(1, 25))
    assert style._last_height(axes, line) == pytest.approx(0.5)


# ---- curves and figures -----------------------------------------------------------------------------------


# ---- the plane --------------------------------------------------------------------------------------------


def test_every_class_has_its_own_colour_and_marker(axes):
    x, y = torch.randn(30, 2), torch.arange(30) % 3
    plots.class_points(axes, x, y, ["a", "b", "c"])
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == 30
    assert len({tuple(dots.get_facecolor()[0]) for dots in axes.collections}) == 3
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "c"]
    assert len(set(plots.CLASS_MARKERS)) == 10


# ---- the mix ----------------------------------------------------------------------------------------------


def test_the_simplex_is_an_equal_sided_triangle():
    corners = plots.simplex_points(torch.eye(3))
    sides = [np.linalg.norm(corners[i] - corners[i - 1]) for i in range(3)]
    assert np.allclose(sides, 1)
    assert np.allclose(plots.simplex_points([1 / 3] * 3), corners.mean(0))


# ---- ranking ----------------------------------------------------------------------------------------------
