"""Exercises of lesson 05: right answers in another form pass, typical wrong ones hear what is meant for them."""

import pytest
import torch
from torch.nn import functional as F

from course_lib.classroom import checks
from course_lib.classroom.lessons.lesson_05.checks import focal, margins, scores_and_classes
from tests.lessons.answers import passes, refused


def by_loop(scores, y, gamma):
    p = [float(row.softmax(0)[k]) for row, k in zip(scores, y)]
    return sum(-((1 - q) ** gamma) * float(torch.tensor(q).log()) for q in p) / len(p)


def by_cross_entropy(scores, y, gamma):
    each = F.cross_entropy(scores, y, reduction="none")
    return ((1 - torch.exp(-each)) ** gamma * each).mean()


@pytest.mark.parametrize("function", [focal, by_loop, by_cross_entropy])
def test_focal_loss_passes_however_it_is_written(function):
    passes("05.1", function)
    scores, y, _ = scores_and_classes()
    assert focal(scores, y, 0).item() == pytest.approx(F.cross_entropy(scores, y).item(), rel=1e-5)


def of_the_mean(scores, y, gamma):
    mean = F.cross_entropy(scores, y)
    return (1 - torch.exp(-mean)) ** gamma * mean


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda s, y, g: -focal(s, y, g), "minus"),
        (lambda s, y, g: F.cross_entropy(s, y), "factor plays no part"),
        (of_the_mean, "mean too early"),
        (lambda s, y, g: 7.0, "0.25 * 0.69"),
    ],
)
def test_wrong_focal_losses_hear_why(function, said):
    assert said in refused("05.1", function)


@pytest.mark.parametrize(("letter", "said"), [("a", "easy"), ("b", "rare"), ("d", "two such kinds")])
def test_wrong_letters_hear_why(letter, said):
    assert said in refused("05.2", letter)
    passes("05.2", "c")


def labels(count):
    def write(x, y):
        y[x[:, 0].argsort()[:count]] = 1
        return y

    return write


def test_labels_with_which_focal_loss_loses_pass_in_any_type():
    checks.require("05.3", labels(60))
    checks.require("05.3", lambda x, y: labels(60)(x, y).bool().long().tolist())


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x, y: y, "all labels are as they were"),
        (labels(400), "At most 200"),
        (labels(10), "at least 3 fewer"),
        (lambda x, y: y[:5], "a label 0 or 1 for each"),
        (lambda x, y: 3 * y, "a label 0 or 1 for each"),
    ],
)
def test_labels_that_do_not_do_it_hear_why(function, said):
    assert said in refused("05.3", function)


@pytest.mark.parametrize("function", [margins, lambda n, m: m * (n.min() / n) ** 0.25])
def test_margins_pass(function):
    passes("05.4", function)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda n, m: m * n.double() ** -0.25, "divide by the largest"),
        (lambda n, m: m * (n / n.max()).double() ** 0.25, "widest margin"),
        (lambda n, m: m * (n.min() / n).double() ** 0.5, "power -1/2"),
        (lambda n, m: m * (n.min() / n).double(), "inverse frequency"),
    ],
)
def test_wrong_margins_hear_why(function, said):
    assert said in refused("05.4", function)


@pytest.mark.parametrize(
    ("key", "number", "said"),
    [
        ("05.5", 0.881, "right p"),
        ("05.5", 0.0881, "divided p by 10"),
        ("05.5", 1.267, "weighted loss"),
        ("05.6", 64, "32 times 2"),
        ("05.6", 36, "two ill"),
        ("05.6", 48, "with an ill"),
        ("05.6", 0.52, "share"),
    ],
)
def test_wrong_numbers_hear_why(key, number, said):
    assert said in refused(key, number)


def test_right_numbers_pass_with_few_digits_and_many():
    passes("05.5", 0.28)
    passes("05.5", 0.881**10)
    passes("05.6", 52)
    passes("05.6", 100 * 0.98**32)
