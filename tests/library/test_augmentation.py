"""Transforms of images and tables, and mixup: what they move, what they leave alone, and which keep a digit's label."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from torch.nn import functional as F

from course_lib.augmentation import (
    cut_out,
    flip_images,
    image_augmentation,
    mix_pairs,
    mixup,
    rotate_images,
    shift_images,
    table_augmentation,
)
from course_lib.data import Batch

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
NOTHING = {"max_shift": 0, "max_angle": 0}
STRONG = {"max_shift": 2, "max_angle": 40.0, "flip": True, "noise": 0.1, "cutout": 3}


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def batch_of(shape, *, classes: int = 3, dtype=torch.float32, weight: bool = True, seed: int = 0) -> Batch:
    generator = seeded(seed)
    y = torch.randint(classes, (shape[0],), generator=generator)
    x = torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)
    w = torch.rand(shape[0], generator=generator) if weight else None
    return Batch(x, y, y.clone(), torch.arange(shape[0]) + 100, w)


def copy_of(batch: Batch) -> Batch:
    return Batch(*(None if part is None else part.clone() for part in batch))


def assert_same(one: Batch, other: Batch) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a is None and b is None) or (a.dtype == b.dtype and torch.equal(a, b))


AUGMENTATIONS = {
    "shift": ((6, 2, 7, 5), lambda g: image_augmentation(g, max_shift=2, max_angle=0)),
    "rotate": ((6, 2, 7, 5), lambda g: image_augmentation(g, max_shift=0, max_angle=30)),
    "flip": ((6, 2, 7, 5), lambda g: image_augmentation(g, **NOTHING, flip=True)),
    "noise": ((6, 2, 7, 5), lambda g: image_augmentation(g, **NOTHING, noise=0.2)),
    "cutout": ((6, 2, 7, 5), lambda g: image_augmentation(g, **NOTHING, cutout=3)),
    "all": ((6, 2, 7, 5), lambda g: image_augmentation(g, **STRONG)),
    "table": ((6, 4), lambda g: table_augmentation(g, noise=0.3)),
    "mixup": ((6, 4), lambda g: mixup(g, 3, concentration=1.0)),
    "mixup by class": ((6, 1, 5, 5), lambda g: mixup(g, 3, concentration=1.0, pairing="by_class")),
}
every = pytest.mark.parametrize(("shape", "build"), AUGMENTATIONS.values(), ids=AUGMENTATIONS)


# ---- what every augmentation promises ---------------------------------------------------------------------


@every
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_dtype_device_and_bookkeeping_are_kept(shape, build, dtype, device):
    batch = Batch(*(part.to(device) for part in batch_of(shape, dtype=dtype)))
    for generator in (seeded(), seeded(0, device)):
        out = build(generator)(batch)
        assert (out.x.shape, out.x.dtype, out.x.device) == (batch.x.shape, dtype, batch.x.device)
        assert torch.equal(out.group, batch.group) and torch.equal(out.index, batch.index)
        assert out.y.device == out.weight.device == batch.x.device


@every
def test_the_batch_that_came_in_stays_as_it_was(shape, build):
    batch = batch_of(shape)
    before = copy_of(batch)
    out = build(seeded())(batch)
    assert not torch.equal(out.x, before.x)
    out.x.add_(1)
    assert_same(batch, before)


@every
def test_same_seed_same_result_and_the_global_generators_rest(shape, build):
    batch = batch_of(shape)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(seeded(7))(batch)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert_same(first, build(seeded(7))(batch))
    again = build(generator := seeded(7))
    again(batch)
    assert not torch.equal(first.x, again(batch).x)  # the generator has moved on
    assert generator.get_state().ne(seeded(7).get_state()).any()


@every
def test_each_example_draws_its_own_transform(shape, build):
    one = batch_of(shape).x[:1]
    same = batch_of((64, *shape[1:]))._replace(x=one.repeat(64, *[1] * (len(shape) - 1)))
    mixing = build(seeded())(same).y.ndim == 2
    if mixing:  # equal examples blend to themselves: look at the labels
        assert len(build(seeded())(same).y.unique(dim=0)) > 10
    else:
        assert len(build(seeded())(same).x.unique(dim=0)) > 1


@every
def test_an_empty_batch_and_one_without_weights_pass(shape, build):
    batch = batch_of(shape)
    empty = Batch(*(part[:0] for part in batch))
    assert build(seeded())(empty).x.shape == (0, *shape[1:])
    assert build(seeded())(batch._replace(weight=None)).weight is None


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda g: image_augmentation(g, max_shift=0, max_angle=0), (4, 1, 6, 6)),
        (lambda g: image_augmentation(g, max_shift=0.0, max_angle=0.0, noise=0, cutout=0), (4, 1, 6, 6)),
        (lambda g: table_augmentation(g, noise=0), (4, 3)),
    ],
)
def test_strength_zero_is_the_identity_exactly_and_draws_nothing(build, shape):
    batch, generator = batch_of(shape), seeded()
    assert_same(build(generator)(batch), batch)
    assert torch.equal(generator.get_state(), seeded().get_state())


# ---- images: shift, rotate, flip, cut ---------------------------------------------------------------------


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
def test_a_shift_is_a_roll_with_zeros_coming_in(down, right, channels, H, W):
    x = torch.rand(2, channels, H, W, generator=seeded())
    expected = torch.zeros_like(x)
    if abs(down) < H and abs(right) < W:
        expected = x.roll((down, right), (2, 3))
        expected[:, :, : max(down, 0)] = expected[:, :, H + min(down, 0) :] = 0
        expected[:, :, :, : max(right, 0)] = expected[:, :, :, W + min(right, 0) :] = 0
    assert torch.equal(shift_images(x, torch.tensor([[down, right]] * 2)), expected)


def test_each_image_has_its_own_shift():
    x = torch.zeros(3, 1, 3, 3)
    x[:, :, 1, 1] = 1
    moved = shift_images(x, torch.tensor([[0, 0], [1, 0], [0, -1]]))
    assert moved.nonzero().tolist() == [[0, 0, 1, 1], [1, 0, 2, 1], [2, 0, 1, 0]]


@pytest.mark.parametrize("quarters", [-2, -1, 0, 1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_quarter_turn_is_rot90(quarters, dtype):
    x = torch.rand(3, 2, 8, 8, generator=seeded(), dtype=dtype)
    turned = rotate_images(x, torch.full((3,), 90.0 * quarters))
    torch.testing.assert_close(turned, torch.rot90(x, quarters, (2, 3)), rtol=0, atol=1e-5)


def test_a_half_turn_of_an_oblong_image_is_two_flips_and_a_quarter_turn_keeps_its_shape():
    x = torch.rand(1, 1, 4, 9, generator=seeded())
    torch.testing.assert_close(rotate_images(x, torch.tensor([180.0])), x.flip(2, 3), rtol=0, atol=1e-5)
    # a quarter turn moves the middle 4 x 4 exactly, so pixels stay square whatever the shape of the image
    odd = torch.rand(1, 1, 5, 9, generator=seeded())
    turned = rotate_images(odd, torch.tensor([90.0]))
    middle = torch.rot90(odd[..., 2:7], 1, (2, 3))
    torch.testing.assert_close(turned[..., 2:7], middle, rtol=0, atol=1e-5)
    assert (turned[..., :2].abs() < 1e-5).all() and (turned[..., 7:].abs() < 1e-5).all()


def test_an_angle_of_zero_changes_nothing_among_angles_that_do():
    x = torch.rand(2, 1, 8, 8, generator=seeded())
    turned = rotate_images(x, torch.tensor([0.0, 20.0]))
    assert torch.equal(turned[0], x[0]) and not torch.equal(turned[1], x[1])


def test_turning_there_and_back_nearly_restores_a_smooth_image():
    row, column = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    x = torch.exp(-((row - 10) ** 2 + (column - 16) ** 2) / 30)[None, None]
    back = rotate_images(rotate_images(x, torch.tensor([25.0])), torch.tensor([-25.0]))
    assert (back - x).abs().max() < 0.05


def test_a_flip_mirrors_only_the_images_named():
    x = torch.rand(2, 1, 3, 4, generator=seeded())
    flipped = flip_images(x, torch.tensor([True, False]))
    assert torch.equal(flipped[0], x[0].flip(-1)) and torch.equal(flipped[1], x[1])


def test_cutout_zeroes_a_square_and_nothing_else():
    x = torch.ones(3, 2, 6, 5)
    cut = cut_out(x, torch.tensor([[1, 2], [-1, -1], [5, 4]]), 2)
    expected = torch.ones(3, 2, 6, 5)
    expected[0, :, 1:3, 2:4] = expected[1, :, :1, :1] = expected[2, :, 5:, 4:] = 0
    assert torch.equal(cut, expected)


def many(size: int = 4000) -> Batch:
    """One bright pixel in the middle of 7 x 7, many times."""
    x = torch.zeros(size, 1, 7, 7)
    x[:, :, 3, 3] = 1
    y = torch.zeros(size, dtype=torch.int64)
    return Batch(x, y, y, torch.arange(size))


@pytest.mark.parametrize(
    ("max_shift", "shares"), [(1, [1 / 3] * 3), (0.5, [1 / 6, 4 / 6, 1 / 6]), (2, [1 / 5] * 5)]
)
def test_shifts_are_even_and_a_fraction_is_a_share_of_images(max_shift, shares):
    moved = image_augmentation(seeded(), max_shift=max_shift, max_angle=0)(many()).x
    where = moved.nonzero()[:, 2:] - 3
    assert len(where) == 4000
    reach = math.ceil(max_shift)
    for axis in (0, 1):
        seen = (where[:, axis] + reach).bincount(minlength=2 * reach + 1) / 4000
        torch.testing.assert_close(seen, torch.tensor(shares), rtol=0, atol=0.04)


def test_flips_half_of_the_images_and_noise_has_the_width_asked_for():
    batch = many()
    batch = batch._replace(x=shift_images(batch.x, torch.tensor([[0, 2]] * 4000)))
    flipped = image_augmentation(seeded(), **NOTHING, flip=True)(batch).x
    assert abs((flipped[:, 0, 3, 1] == 1).float().mean() - 0.5) < 0.04
    noisy = image_augmentation(seeded(), **NOTHING, noise=0.3)(batch).x
    assert abs((noisy - batch.x).std() - 0.3) < 0.01 and abs((noisy - batch.x).mean()) < 0.01


def test_angles_stay_within_the_limit_both_ways():
    x = torch.zeros(500, 1, 21, 21)
    x[:, :, 10, 18] = 1  # right of the centre
    batch = many(500)._replace(x=x)
    turned = image_augmentation(seeded(), max_shift=0, max_angle=20)(batch).x[:, 0]
    mass = turned / turned.sum((1, 2), keepdim=True)
    up = 10 - (mass.sum(2) * torch.arange(21.0)).sum(1)
    right = (mass.sum(1) * torch.arange(21.0)).sum(1) - 10
    angle = torch.rad2deg(torch.atan2(up, right))
    assert -21 < angle.min() < -17 and 17 < angle.max() < 21  # counter-clockwise is positive
    assert abs(angle.mean()) < 2


def test_cutout_centres_cover_the_image():
    batch = many()._replace(x=torch.ones(4000, 1, 5, 7))
    cut = image_augmentation(seeded(), **NOTHING, cutout=1)(batch).x == 0
    assert (cut.sum((1, 2, 3)) == 1).all()
    torch.testing.assert_close(cut.float().mean(0)[0], torch.full((5, 7), 1 / 35), rtol=0, atol=0.012)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"max_shift": -1}, ValueError, "max_shift must be finite and >= 0, got -1"),
        ({"max_shift": "1"}, TypeError, "max_shift must be a number, got '1'"),
        ({"max_angle": 181}, ValueError, r"max_angle must lie in \[0, 180\], got 181"),
        ({"max_angle": math.nan}, ValueError, r"max_angle must lie in \[0, 180\]"),
        ({"noise": math.inf}, ValueError, "noise must be finite"),
        ({"noise": True}, TypeError, "noise must be a number"),
        ({"cutout": 1.5}, TypeError, r"cutout must be a whole number, got 1\.5"),
    ],
)
def test_image_strengths_out_of_range_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        image_augmentation(seeded(), **options)


@pytest.mark.parametrize("build", [image_augmentation, table_augmentation, lambda g: mixup(g, 3)])
def test_a_seed_is_no_generator(build):
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator, got int"):
        build(0)


def test_what_is_no_batch_of_images_is_refused():
    augment = image_augmentation(seeded(), max_shift=3, max_angle=0)
    with pytest.raises(ValueError, match=r"x must be images of shape \(M, C, H, W\), got \(4, 9\)"):
        augment(batch_of((4, 9)))
    with pytest.raises(TypeError, match=r"x must be floating point, got torch\.uint8"):
        augment(batch_of((4, 1, 9, 9))._replace(x=torch.zeros(4, 1, 9, 9, dtype=torch.uint8)))
    with pytest.raises(ValueError, match=r"max_shift must be smaller than the image, \(9, 3\) pixels, got 3"):
        augment(batch_of((4, 1, 9, 3)))
    with pytest.raises(ValueError, match="cutout must be smaller"):
        image_augmentation(seeded(), **NOTHING, cutout=3)(batch_of((4, 1, 9, 3)))


# ---- tables -----------------------------------------------------------------------------------------------


def test_table_noise_follows_the_scale_of_each_column_and_leaves_categories():
    batch = batch_of((5000, 3))
    scale = torch.tensor([2.0, 0.0, 0.5])
    augment = table_augmentation(seeded(), noise=0.1, scale=scale)
    scale.zero_()  # what the caller does with it later is no matter
    change = augment(batch).x - batch.x
    torch.testing.assert_close(change.std(0), torch.tensor([0.2, 0.0, 0.05]), rtol=0.05, atol=0)
    assert torch.equal(augment(batch).x[:, 1], batch.x[:, 1])
    assert (change.mean(0).abs() < 0.02).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"noise": -0.1}, "noise must be finite and >= 0"),
        ({"scale": [1.0, -1.0]}, "scale must be finite and >= 0, got values from -1"),
        ({"scale": [math.nan]}, "scale must be"),
        ({"scale": 1.0}, "scale must have shape"),
    ],
)
def test_table_strengths_out_of_range_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        table_augmentation(seeded(), **options)


def test_what_is_no_table_is_refused():
    with pytest.raises(ValueError, match=r"x must be a table of shape \(M, D\), got \(4, 1, 2, 2\)"):
        table_augmentation(seeded())(batch_of((4, 1, 2, 2)))
    with pytest.raises(ValueError, match=r"x must be a table of shape \(M, 2\), got \(4, 3\)"):
        table_augmentation(seeded(), scale=[1, 1])(batch_of((4, 3)))
    with pytest.raises(TypeError, match="x must be floating point"):
        table_augmentation(seeded())(batch_of((4, 3), dtype=torch.int64))


# ---- mixup ------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 12), st.integers(1, 100), st.sampled_from([0, 1e-4, 0.2, 1, 5]), st.integers(0, 1000),
    st.sampled_from(["random", "by_class"]), st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_mixed_labels_are_probabilities_that_favour_the_example_itself(
    M, K, concentration, seed, pairing, dtype
):
    batch = batch_of((M, 3), classes=K, dtype=dtype, seed=seed)
    out = mixup(seeded(seed), K, concentration=concentration, pairing=pairing)(batch)
    assert out.y.shape == (M, K) and out.y.dtype == dtype
    torch.testing.assert_close(out.y.sum(1), torch.ones(M, dtype=dtype))
    assert (out.y >= 0).all() and (out.y.gather(1, batch.y[:, None]) >= 0.5 - 1e-6).all()
    assert (out.x >= batch.x.min(0).values - 1e-6).all() and (out.x <= batch.x.max(0).values + 1e-6).all()


def test_a_share_of_one_is_the_identity_and_of_zero_the_partner():
    batch = batch_of((5, 1, 4, 4))
    partner = torch.tensor([1, 2, 3, 4, 0])
    own = mix_pairs(batch, partner, torch.ones(5), 3)
    assert torch.equal(own.x, batch.x) and torch.equal(own.weight, batch.weight)
    assert torch.equal(own.y, F.one_hot(batch.y, 3).float())
    other = mix_pairs(batch, partner, torch.zeros(5), 3)
    assert torch.equal(other.x, batch.x[partner]) and torch.equal(other.weight, batch.weight[partner])
    assert torch.equal(other.group, batch.group) and torch.equal(other.index, batch.index)


def test_concentration_zero_is_plain_training():
    batch = batch_of((6, 4))
    out = mixup(seeded(), 3, concentration=0)(batch)
    assert torch.equal(out.x, batch.x)
    scores = torch.randn(6, 3, generator=seeded())
    torch.testing.assert_close(F.cross_entropy(scores, out.y), F.cross_entropy(scores, batch.y))


def test_labels_are_blended_as_the_inputs_are():
    x = torch.eye(4)  # x is its own one-hot label, so both must come out equal
    y = torch.arange(4)
    for pairing in ("random", "by_class"):
        out = mixup(seeded(), 4, concentration=1, pairing=pairing)(Batch(x, y, y, y, x.sum(1)))
        torch.testing.assert_close(out.x, out.y)
        torch.testing.assert_close(out.weight, torch.ones(4))


def test_the_loss_of_mixed_labels_is_the_mix_of_the_losses():
    batch = batch_of((8, 3))
    partner, share = torch.arange(8).flip(0), torch.rand(8, generator=seeded())
    scores = torch.randn(8, 3, generator=seeded(1))
    mixed = mix_pairs(batch, partner, share, 3)
    own, other = (F.cross_entropy(scores, y, reduction="none") for y in (batch.y, batch.y[partner]))
    expected = share * own + (1 - share) * other
    torch.testing.assert_close(F.cross_entropy(scores, mixed.y, reduction="none"), expected)


def test_shares_follow_the_beta_distribution_folded_at_a_half():
    M = 4000
    y = torch.arange(M) % 2
    batch = Batch(y.float()[:, None], y, y, y)
    partner = torch.arange(M).roll(1)  # of the other class, always
    for concentration in (0.2, 1.0):
        out = mixup(seeded(), 2, concentration=concentration)(batch)
        share = out.y.max(1).values[out.y.min(1).values > 0]
        theory = torch.distributions.Beta(concentration, concentration).sample((200_000,))
        theory = torch.maximum(theory, 1 - theory)
        assert abs(share.mean() - theory.mean()) < 0.02
    assert torch.equal(mix_pairs(batch, partner, torch.full((M,), 0.5), 2).y, torch.full((M, 2), 0.5))


def test_pairing_by_class_brings_in_the_tail_as_often_as_the_head():
    y = torch.tensor([0] * 950 + [1] * 50)
    batch = Batch(torch.rand(1000, 2, generator=seeded()), y, y, torch.arange(1000))
    share_of_tail = {}
    for pairing in ("random", "by_class"):
        out = mixup(seeded(), 2, concentration=1, pairing=pairing)(batch)
        share_of_tail[pairing] = (out.y[:950, 1] > 0).float().mean()
    assert abs(share_of_tail["random"] - 0.05) < 0.02 and abs(share_of_tail["by_class"] - 0.5) < 0.06


def test_mixed_labels_can_be_mixed_again():
    once = mixup(seeded(), 3, concentration=1)(batch_of((6, 2)))
    twice = mixup(seeded(1), 3, concentration=1)(once)
    torch.testing.assert_close(twice.y.sum(1), torch.ones(6))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"num_classes": 0}, ValueError, "num_classes must be >= 1, got 0"),
        (
            {"num_classes": 3, "concentration": -1},
            ValueError,
            "concentration must be finite and >= 0, got -1",
        ),
        (
            {"num_classes": 3, "pairing": "tail"},
            ValueError,
            r"pairing must be one of \('random', 'by_class'\), got 'tail'",
        ),
    ],
)
def test_mixup_arguments_out_of_range_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        mixup(seeded(), **arguments)


def test_labels_that_do_not_fit_are_refused():
    batch = batch_of((6, 2))._replace(y=torch.tensor([0, 1, 2, 0, 1, 3]))
    with pytest.raises(ValueError, match=r"y must be 0\.\.2, got 3"):
        mixup(seeded(), 3)(batch)
    with pytest.raises(
        ValueError, match=r"y must be whole labels \(M,\) or probabilities \(M, 3\), got \(6, 1\)"
    ):
        mixup(seeded(), 3)(batch._replace(y=torch.rand(6, 1)))
    with pytest.raises(TypeError, match="x must be floating point"):
        mixup(seeded(), 3)(batch._replace(x=torch.ones(6, 2, dtype=torch.int64)))


# ---- label safety -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    raw = load_digits()
    return torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(raw.target)


def classifier(x, y):
    return SVC(C=10).fit(x.flatten(1).numpy(), y.numpy())


def accuracy(model, x, y) -> float:
    return float(model.score(x.flatten(1).numpy(), y.numpy()))


def test_flips_and_wide_turns_take_digits_for_others_where_narrow_turns_do_not(digits):
    """A reader who knows upright digits: right on slanted ones, lost on those that no longer are what they were."""
    x, y = digits
    model = classifier(x[::2], y[::2])
    held, truth = x[1::2], y[1::2]
    turned = {angle: rotate_images(held, torch.full((len(held),), float(angle))) for angle in (10, 30)}
    assert accuracy(model, held, truth) > 0.97
    assert accuracy(model, turned[10], truth) > 0.93
    assert accuracy(model, turned[30], truth) < 0.6
    mirrored = flip_images(held, torch.ones(len(held), dtype=torch.bool))
    assert accuracy(model, mirrored, truth) < 0.5
    fives = model.predict(mirrored[truth == 5].flatten(1).numpy())
    assert (fives == 2).mean() > 0.3 and (fives == 5).mean() < 0.05


def test_safe_transforms_do_not_hurt_on_few_digits_and_flips_do(digits):
    """Trained on ten of each with four augmented copies, tested on 400 others, over eight splits."""
    x, y = digits
    gain = {"shift": [], "rotate": [], "noise": [], "flip": [], "any angle": []}
    for seed in range(8):
        generator = seeded(seed)
        order = torch.randperm(len(y), generator=generator)
        train = torch.cat([order[y[order] == k][:10] for k in range(10)])
        test = order[~torch.isin(order, train)][:400]
        batch = Batch(x[train], y[train], y[train], train)
        plain = accuracy(classifier(batch.x, batch.y), x[test], y[test])
        steps = {
            "shift": image_augmentation(generator, max_shift=1, max_angle=0),
            "rotate": image_augmentation(generator, max_shift=0, max_angle=10),
            "noise": image_augmentation(generator, **NOTHING, noise=0.1),
            "flip": image_augmentation(generator, **NOTHING, flip=True),
            "any angle": image_augmentation(generator, max_shift=0, max_angle=180),
        }
        for name, step in steps.items():
            copies = [batch, *(step(batch) for _ in range(4))]
            model = classifier(torch.cat([c.x for c in copies]), torch.cat([c.y for c in copies]))
            gain[name].append(accuracy(model, x[test], y[test]) - plain)
    mean = {name: sum(values) / len(values) for name, values in gain.items()}
    assert min(mean["shift"], mean["rotate"], mean["noise"]) > -0.005
    assert mean["flip"] < -0.005 and mean["any angle"] < -0.01


# ---- what people bring -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [np.float32, np.float64, torch.tensor])
def test_strengths_may_be_numbers_of_numpy_or_torch(make):
    batch = batch_of((6, 1, 8, 8))
    options = {"max_shift": 1.5, "max_angle": 20.0, "noise": 0.5}
    theirs = image_augmentation(
        seeded(), cutout=np.int64(2), **{name: make(v) for name, v in options.items()}
    )
    assert torch.equal(theirs(batch).x, image_augmentation(seeded(), cutout=2, **options)(batch).x)
    table = batch_of((6, 3))
    scale = np.array([1.0, 0.0, 2.0])
    scale.setflags(write=False)
    theirs = table_augmentation(seeded(), noise=make(0.5), scale=pd.Series(scale, index=["a", "b", "c"]))
    assert torch.equal(theirs(table).x, table_augmentation(seeded(), noise=0.5, scale=[1, 0, 2])(table).x)
    mixed = mixup(seeded(), num_classes=np.int64(3), concentration=make(0.5))(table)
    assert torch.equal(mixed.x, mixup(seeded(), num_classes=3, concentration=0.5)(table).x)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.float32])
def test_labels_of_any_width_are_mixed_alike(dtype):
    batch = batch_of((6, 2))
    other = mixup(seeded(), num_classes=3)(batch._replace(y=batch.y.to(dtype)))
    assert torch.equal(other.y, mixup(seeded(), num_classes=3)(batch).y)


def test_mixed_labels_of_half_precision_examples_sum_to_one():
    batch = batch_of((6, 2))
    mixed = mixup(seeded(), num_classes=3, concentration=1.0)(batch._replace(x=batch.x.half()))
    assert mixed.x.dtype == torch.float16 and mixed.y.dtype == torch.float32
    torch.testing.assert_close(mixed.y.sum(1), torch.ones(6))
