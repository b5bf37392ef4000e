"""The exercises of lesson 10: answers that pass, slips that are named; and the lesson's wines are the explorer's."""

import numpy as np
import pytest
import torch

from course_lib.classroom.lessons.lesson_10 import checks as ours
from course_lib.classroom.lessons.lesson_10 import explorer as world
from tests.lessons.answers import passes, refused
from tests.lessons.books import NOTEBOOKS, code_cells, read


def test_the_wines_of_the_lesson_are_the_explorers():
    cells = code_cells(read(NOTEBOOKS / "10_learn2mix_beyond_classes.ipynb"))
    source = next(cell.source for cell in cells if "def cellar(" in cell.source)
    names = {"torch": torch}
    exec(source.split("torch.manual_seed(0)")[0], names)
    torch.manual_seed(3)
    lesson = [*names["cellar"](770, 230, 2.0), *names["cellar"](500, 1500)]
    for mine, theirs in zip(lesson, world.cellar(2.0, 3), strict=True):
        torch.testing.assert_close(mine, theirs)


# ---- 10.1 and 10.3 ----


@pytest.mark.parametrize(
    "function",
    [
        ours.squared_errors,
        lambda outputs, y: (outputs[:, 0] - y) ** 2,
        lambda outputs, y: torch.nn.functional.mse_loss(outputs.flatten(), y, reduction="none"),
        lambda outputs, y: np.square(outputs.numpy()[:, 0] - y.numpy()),
    ],
)
def test_squared_errors_are_right_however_they_are_written(function):
    passes("10.1", function)


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        (lambda outputs, y: (outputs - y).square(), "(M, M)"),
        (lambda outputs, y: (outputs.squeeze(1) - y).square().mean(), "mean of the batch"),
        (lambda outputs, y: outputs.squeeze(1) - y, "Take the square"),
        (lambda outputs, y: (outputs.squeeze(1) - y).abs(), "absolute errors"),
        (lambda outputs, y: outputs, "shape should be"),
        (lambda outputs, y: ..., "replace the dots"),
        (3, "a function was expected"),
    ],
)
def test_a_wrong_loss_of_a_wine_is_told_why(slip, said):
    assert said in refused("10.1", slip)


@pytest.mark.parametrize(
    "function",
    [
        lambda rebuilt, x: ((rebuilt - x) ** 2).sum(dim=1),
        lambda rebuilt, x: torch.stack([(a - b).square().sum() for a, b in zip(rebuilt, x, strict=True)]),
    ],
)
def test_errors_of_images_are_right_however_they_are_written(function):
    passes("10.3", function)


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        (lambda rebuilt, x: (rebuilt - x).square().mean(1), "mean over the pixels"),
        (lambda rebuilt, x: (rebuilt - x).square().sum(0), "Axis 1 holds the pixels"),
        (lambda rebuilt, x: (rebuilt - x).square().sum(), "one number for the batch"),
        (lambda rebuilt, x: (rebuilt - x).square(), "errors of the pixels"),
        (lambda rebuilt, x: (rebuilt - x).abs().sum(1), "squared differences"),
    ],
)
def test_a_wrong_loss_of_an_image_is_told_why(slip, said):
    assert said in refused("10.3", slip)


# ---- 10.2 ----


@torch.no_grad()
def filled(model, y):
    model[-1].bias.fill_(y.mean())


def as_data(model, y):
    model[-1].bias.data = y.mean().reshape(1)


def initialised(model, y):
    torch.nn.init.constant_(model[-1].bias, float(y.mean()))


@pytest.mark.parametrize("function", [filled, as_data, initialised])
def test_a_start_at_the_mean_is_right_however_it_is_written(function):
    passes("10.2", function)


def first_layer(model, y):
    model[0].bias.fill_(y.mean())


def beside(model, y):
    bias = model[-1].bias.clone()
    bias.fill_(y.mean())


def weights_too(model, y):
    model[-1].bias.fill_(y.mean())
    model[-1].weight.zero_()


def centred(model, y):
    model[-1].bias.fill_(y.mean())
    y -= y.mean()


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        (first_layer, "Only the bias of the last layer"),
        (weights_too, "Only the bias of the last layer"),
        (beside, "stays as it was"),
        (centred, "grades must stay"),
        (lambda model, y: model[-1].bias.fill_(y.median()), "that is the median"),
        (lambda model, y: model[-1].bias.fill_(1.0), "the mean of the grades is"),
        (lambda model, y: model[9], "raised IndexError"),
        (5.6, "a function was expected"),
    ],
)
def test_another_start_is_told_why(slip, said):
    assert said in refused("10.2", slip)


# ---- 10.4 and 10.5 ----


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (45, "that is the aim"), (10, "before the move"), (14.5, "the aim itself"), (3, "too small"),
        ("many", "a number was expected"),
    ],
)  # fmt: skip
def test_a_wrong_number_of_noisy_examples_names_the_slip(answer, said):
    assert said in refused("10.4", answer)


def test_thirteen_and_a_half_are_right():
    passes("10.4", 13.5)


@pytest.mark.parametrize(
    ("letter", "said"),
    [("a", "constant"), ("b", "no chance"), ("d", "costs nothing"), ("z", "one of a, b, c, d")],
)
def test_another_referee_is_told_why(letter, said):
    assert said in refused("10.5", letter)


def test_the_constant_is_asked_for():
    passes("10.5", "c")
