"""Exercises of lesson 07: right answers in another form pass, typical wrong ones hear what is meant for them."""

import pytest
import torch
from torch.nn import functional as F

from course_lib.augmentation import mix_pairs, shift_images
from course_lib.classroom import checks
from course_lib.classroom.lessons.lesson_07.checks import mixup, shifted, tau_scores
from course_lib.data import Batch
from tests.lessons.answers import passes, refused


def by_library(x, down, right):
    return shift_images(x, torch.tensor([[down, right]]).repeat(len(x), 1))


def by_hand(x, down, right):
    moved = torch.zeros_like(x)
    H, W = x.shape[2:]
    for r in range(H):
        for c in range(W):
            if 0 <= r - down < H and 0 <= c - right < W:
                moved[:, :, r, c] = x[:, :, r - down, c - right]
    return moved


@pytest.mark.parametrize("function", [by_library, by_hand])
def test_a_shift_passes_however_it_is_written(function):
    passes("07.1", function)


def rolled(x, down, right):
    return x.roll((down, right), (2, 3))


def rim_forgotten(x, down, right):
    wide, (H, W) = F.pad(x, (2, 2, 2, 2)), x.shape[2:]
    return wide[:, :, 1 - down : 1 - down + H, 1 - right : 1 - right + W]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x, d, r: shifted(x, -d, -r), "the other way"),
        (lambda x, d, r: shifted(x, r, d), "exchanged down and right"),
        (rim_forgotten, "starts at the rim"),
        (rolled, "values are off"),
    ],
)
def test_slips_with_a_shift_are_named(function, said):
    for _ in range(3):
        assert said in refused("07.1", function)


def by_mix_pairs(x, y, partner, share):
    mixed = mix_pairs(Batch(x, y, y.argmax(1), torch.arange(len(x)), None), partner, share, 10)
    return mixed.x, mixed.y


def test_mixup_is_the_library_s():
    passes("07.2", by_mix_pairs)
    passes(
        "07.2", lambda x, y, p, s: (torch.lerp(x[p], x, s.view(-1, 1, 1, 1)), torch.lerp(y[p], y, s[:, None]))
    )


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x, y, p, s: mixup(x, y, p, 1 - s), "share of the partner"),
        (lambda x, y, p, s: (mixup(x, y, p, s)[0], y), "labels are not blended"),
        (lambda x, y, p, s: (x, mixup(x, y, p, s)[1]), "images are not blended"),
    ],
)
def test_slips_with_mixup_are_named(function, said):
    assert said in refused("07.2", function)


def by_normalize(features, weight, tau):
    return torch.stack([features @ (row / row.norm() ** tau) for row in weight], 1)


def test_tau_norm_passes_row_by_row():
    passes("07.5", by_normalize)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda f, w, t: tau_scores(f, w, -t), "multiplied by the length"),
        (lambda f, w, t: tau_scores(f, w, 1), "this is tau = 1"),
        (lambda f, w, t: f @ w.T, "nothing was divided"),
        (lambda f, w, t: f @ (w / w.norm(dim=0, keepdim=True) ** t).T, "length is that of a column"),
    ],
)
def test_slips_with_tau_norm_are_named(function, said):
    assert said in refused("07.5", function)


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        ("07.3", "a", "upside down"),
        ("07.3", "b", "mirrored"),
        ("07.3", "d", "exchanged"),
        ("07.4", 0.5, "half of the people"),
        ("07.4", 0.5 / 49, "divided p"),
        ("07.4", 0.98, "multiplied"),
        ("07.4", 0.2, "too large"),
    ],
)
def test_wrong_answers_hear_why(key, given, said):
    assert said in refused(key, given)


@pytest.mark.parametrize(("key", "given"), [("07.3", "C"), ("07.4", 1 / 50)])
def test_right_answers_pass(key, given):
    checks.require(key, given)
