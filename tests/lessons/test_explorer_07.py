"""Explorer of lesson 07: changes that are what their names say, and the numbers that the lesson tells of it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from course_lib.augmentation import rotate_images, shift_images
from course_lib.classroom.lessons.lesson_07.explorer import (
    NETWORKS,
    RARE,
    TRANSFORMS,
    change,
    compute,
    describe,
    draw,
    images,
    table,
    train,
)


def test_nines_are_rare_in_training_and_no_test_image_was_trained_on():
    x, y, x_test, y_test = images()
    counts = torch.bincount(y)
    assert counts[RARE] == 5 and (counts[:9] == 15).all()
    assert torch.bincount(y_test).min() > 90
    assert (torch.cdist(x.flatten(1), x_test.flatten(1)) > 0).all()


def test_changes_are_what_their_names_say():
    x, _, _, _ = images()
    full = torch.ones(len(x), 2)
    assert torch.allclose(change(x, "turn", 1.0, full), rotate_images(x, 180 * full[:, 0]))
    assert torch.equal(change(x, "shift", 1.0, full), shift_images(x, 2 * full.long()))
    assert torch.equal(change(x, "shift", 0.5, full), shift_images(x, full.long()))
    assert torch.equal(change(x, "mirror", 1.0, full), x.flip(3))
    assert torch.equal(change(x, "mirror", 1.0, -full), x)
    assert (change(x, "noise", 0.5, full) - x).std().item() == pytest.approx(0.3, rel=0.05)


def test_at_full_strength_half_of_the_images_are_mirrored():
    x, _, _, _ = images()
    evenly = torch.linspace(-1, 1, len(x))[:, None].repeat(1, 2)
    mirrored = (change(x, "mirror", 1.0, evenly) != x).flatten(1).any(1)
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_strength_nought_changes_nothing(transform, network):
    result = compute(transform, 0, network)
    np.testing.assert_array_equal(result.before, result.after)
    np.testing.assert_array_equal(result.found, result.plain)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (("turn", 100, "mlp"), 67),
        (("turn", 20, "mlp"), 90),
        (("mirror", 100, "mlp"), 86),
        (("shift", 50, "mlp"), 87),
        (("shift", 50, "cnn"), 91),
    ],
)
def test_numbers_that_the_lesson_tells(setting, told):
    assert compute(*setting).found.mean() == pytest.approx(told, abs=3)


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"transform": "blur"}, "transform"), ({"strength": 5}, "strength"), ({"network": "tree"}, "network")],
)
def test_settings_that_are_not_offered_are_refused(setting, said):
    with pytest.raises(ValueError, match=f"{said} must"):
        compute(**setting)


def test_training_does_not_depend_on_the_seed_of_the_reader():
    torch.manual_seed(5)
    one = train.__wrapped__("noise", 50, "mlp")
    torch.manual_seed(6)
    np.testing.assert_array_equal(one, train.__wrapped__("noise", 50, "mlp"))


def test_picture_sentence_and_table_agree():
    result, before = compute(), compute("shift", 50)
    fig = draw(result, before)
    np.testing.assert_allclose([bar.get_width() for bar in fig.axes[-1].patches], result.found)
    plt.close(fig)
    said = describe(result, before)
    assert f"{result.found.mean():.0f} of 100 digits found" in said
    assert f"Before: {before.found.mean():.0f} digits" in said
    assert table(result)["found of 100"].tolist() == result.found.round().astype(int).tolist()
