"""Exercises of lesson 04: right answers in another form pass, typical wrong ones hear what is meant for them."""

import pytest
import torch
from torch.nn import functional as F

from course_lib.classroom.lessons.lesson_04.checks import losses_and_weights, power_mix, two_averages
from tests.lessons.answers import passes, refused

# ---- 04.1: what the mean divides by ----


def test_the_reference_is_the_average_of_pytorch_and_the_average_over_the_batch():
    each, y, w = losses_and_weights()
    scores = torch.randn(len(y), len(w))
    each = F.cross_entropy(scores, y, reduction="none")
    by_weights, by_visitors = two_averages(each, y, w)
    assert torch.allclose(by_weights, F.cross_entropy(scores, y, weight=w))
    assert torch.allclose(by_visitors, F.cross_entropy(scores, y, weight=w, reduction="sum") / len(y))


def by_loop(each, y, w):
    weights = [float(w[k]) for k in y]
    total = sum(a * float(b) for a, b in zip(weights, each))
    return total / sum(weights), total / len(weights)


def by_one_hot(each, y, w):
    weight = F.one_hot(y, len(w)).float() @ w
    return (weight / weight.sum()) @ each, (weight * each).mean()


@pytest.mark.parametrize("function", [two_averages, by_loop, by_one_hot])
def test_both_averages_pass_however_they_are_written(function):
    passes("04.1", function)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda each, y, w: two_averages(each, y, w)[::-1], "other order"),
        (lambda each, y, w: ((w[y] * each).sum() / w.sum(), (w[y] * each).mean()), "not of the visitors"),
        (lambda each, y, w: ((w[y] * each).sum(),) * 2, "not divided yet"),
        (lambda each, y, w: ((w[y] * each).mean(),) * 2, "divides by M too"),
        (lambda each, y, w: (each.mean(),) * 2, "no weights yet"),
        (lambda each, y, w: (w * each).mean(), "RuntimeError"),
        (lambda each, y, w: None, "return"),
    ],
)
def test_wrong_averages_hear_why(function, said):
    assert said in refused("04.1", function)


def test_blanks_wait():
    def two_averages(each, y, w):
        weight = ...
        return weight, ...

    assert "replace the dots" in refused("04.1", two_averages)


# ---- 04.2 and 04.3: letters ----


def test_doubled_weights():
    passes("04.2", "a", "b")
    assert "healthy" in refused("04.2", "b", "b")
    assert "divided by M, yes" in refused("04.2", "c", "b")
    assert "nothing cancels" in refused("04.2", "a", "a")
    assert "healthy keep theirs" in refused("04.2", "a", "c")
    assert "replace the dots" in refused("04.2", "a", ...)


def test_doubled_weights_do_what_the_answer_says():
    scores, y, w = torch.randn(16, 2), torch.arange(16) % 8 // 7, torch.tensor([0.5, 25.0])
    assert torch.allclose(F.cross_entropy(scores, y, weight=w), F.cross_entropy(scores, y, weight=2 * w))
    one = F.binary_cross_entropy_with_logits(scores[:, 0], y.float(), pos_weight=w[1], reduction="none")
    two = F.binary_cross_entropy_with_logits(scores[:, 0], y.float(), pos_weight=2 * w[1], reduction="none")
    assert torch.allclose(two, one * (1 + y))


@pytest.mark.parametrize(
    ("letter", "said"),
    [("a", "missing last batch"), ("b", "nothing at all"), ("d", "batch size"), ("x", "one of")],
)
def test_wrong_lines_hear_why(letter, said):
    assert said in refused("04.3", letter)
    passes("04.3", "c")


# ---- 04.4: the power mix ----


@pytest.mark.parametrize(
    "function",
    [
        power_mix,
        lambda counts, q: torch.softmax(q * counts.double().log(), 0),
        lambda counts, q: [n**q / sum(m**q for m in counts.tolist()) for n in counts.tolist()],
    ],
)
def test_the_power_mix_passes_however_it_is_written(function):
    passes("04.4", function)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda counts, q: counts.double() ** q, "Divide them by their sum"),
        (lambda counts, q: counts / counts.sum(), "q plays no part"),
        (lambda counts, q: power_mix(counts, 1 - q), "power 1 - q"),
        (lambda counts, q: torch.ones(len(counts)) / len(counts), "all shares are equal"),
    ],
)
def test_wrong_mixes_hear_why(function, said):
    assert said in refused("04.4", function)


# ---- 04.5 and 04.6: numbers ----


@pytest.mark.parametrize(
    ("key", "number", "said"),
    [
        ("04.5", 0.5, "one of the two"),
        ("04.5", 0.02, "before any correction"),
        ("04.5", 0.9, "too small"),
        ("04.6", 0.0185, "divided the probability"),
        ("04.6", 0.0417, "these are the odds"),
        ("04.6", 0.974, "taken out"),
        ("04.6", 0.3, "too large"),
    ],
)
def test_wrong_numbers_hear_why(key, number, said):
    assert said in refused(key, number)


def test_right_numbers_pass_with_few_digits_and_many():
    passes("04.5", 0.98)
    passes("04.5", 49 / 50)
    passes("04.6", 0.04)
    passes("04.6", 1 / (1 + 30 * 0.444 / 0.556))
