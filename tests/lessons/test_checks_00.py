"""Lesson 00's exercises: right answers written in several ways pass, each typical mistake gets its own sentence."""

import re

import pytest
import torch

from course_lib.classroom.lessons.lesson_00 import explorer as lesson_00
from course_lib.classroom.lessons.lesson_00.checks import NONE_ILL, SELFCHECK
from tests.lessons.answers import passes, refused

# ---- 00.1 write it ----------------------------------------------------------------------------------------


def by_odds(p, weight):
    return weight * p / (1 - p) >= 1


def by_balanced_p(p, weight):
    odds = weight * p / (1 - p)
    return (odds / (1 + odds)) > 0.5


def as_numbers(p, weight):
    threshold = 1 / (1 + weight)
    return torch.where(p >= threshold, 1, 0)


@pytest.mark.parametrize("function", [lambda p, w: p >= 1 / (1 + w), by_odds, by_balanced_p, as_numbers])
def test_00_1_right_answers_written_differently(function):
    passes("00.1", function, times=20)


def half_filled(p, weight):
    threshold = 1 / (1 + weight)  # noqa: F841
    return ...


def other_half(p, weight):
    threshold = ...
    return p >= threshold


@pytest.mark.parametrize("function", [half_filled, other_half])
def test_00_1_one_blank_left_is_asked_for(function):
    assert re.search("replace the dots", refused("00.1", function))


@pytest.mark.parametrize(
    ("message", "function"),
    [
        ("as if there were no weight", lambda p, w: p >= 0.5),
        ("your threshold is 1 / weight", lambda p, w: p >= 1 / w),
        ("weight on the healthy", lambda p, w: p >= w / (1 + w)),
        ("you multiplied the probability", lambda p, w: w * p >= 0.5),
        ("who is sent home", lambda p, w: p < 1 / (1 + w)),
        ("the shape should be", lambda p, w: 1 / (1 + w)),
        ("gave None", lambda p, w: print(p)),
        ("raised TypeError", lambda p: p >= 0.5),
        ("a function was expected", 0.02),
    ],
)
def test_00_1_wrong_answers(message, function):
    for _ in range(20):
        assert re.search(message, refused("00.1", function))


# ---- the self-check ---------------------------------------------------------------------------------------

RIGHT = {name: values[0] for name, values in SELFCHECK.items()}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("odds", 0.2), ("odds", "a quarter"), ("logarithm", "a"), ("chance", 0.6), ("gradient", 2.6), ("batches", 10),
     ("batches", float("nan")), ("scores", "b"), ("scores", 1)],
)  # fmt: skip
def test_a_gap_names_its_idea_and_what_to_read(name, wrong):
    assert re.search(f"Look again at {name}: .*https://", refused("00.selfcheck", {**RIGHT, name: wrong}))


@pytest.mark.parametrize("blank", [None, ...])
def test_a_gap_leaves_the_other_answers_right_and_names_what_is_open(blank):
    said = refused("00.selfcheck", {**RIGHT, "gradient": 3, "scores": blank})
    assert re.search("right so far: odds, logarithm, chance, batches.*gradient.*Still open: scores", said)


def test_nothing_answered_waits():
    assert re.search("replace the dots", refused("00.selfcheck", dict.fromkeys(SELFCHECK, ...)))


def test_capital_letters_count():
    passes("00.selfcheck", {**RIGHT, "logarithm": " B "})


@pytest.mark.parametrize("wrong", [[0.25], {"odds": 0.25}])
def test_the_names_of_the_self_check_stay(wrong):
    assert re.search("keep the six names", refused("00.selfcheck", wrong))


# ---- the exercises ----------------------------------------------------------------------------------------

GOOD = {"threshold": 1 / 46, "weight": 45, "share": 0.479, "copies": 45}


def test_00_2_the_four_ways():
    passes("00.2", GOOD, "d", times=1)


@pytest.mark.parametrize(
    ("message", "changes", "best"),
    [
        ("not the recall that you want", {"threshold": 0.8}, "d"),
        ("weight = 2 is too small", {"weight": 2}, "d"),
        ("copies = 60 is too large", {"copies": 60}, "d"),
        ("share = 0.8 is too large", {"share": 0.8}, "d"),
        ("setting of the share is still open", {"share": None}, "d"),
        ("setting of the copies is still open", {"copies": ...}, "d"),
        ("cannot take share = 80", {"share": 80}, "d"),
        ("cannot take copies = 44.5", {"copies": 44.5}, "d"),
        ("a number was expected", {"weight": "much"}, "d"),
        ("nothing new about them", {}, "a"),
        ("same people more often", {}, "b"),
        ("no information that the originals lack", {}, "c"),
        ("answer with one of", {}, "e"),
    ],
)
def test_00_2_wrong_answers(message, changes, best):
    assert re.search(message, refused("00.2", {**GOOD, **changes}, best))


def test_00_2_wants_all_four_handles():
    assert re.search("keep the four names", refused("00.2", {"weight": 44}, "d"))


def test_00_3_the_options_fit_the_numbers():
    passes("00.3", "c", times=1)
    assert 100 * lesson_00.compute(weight=49).precision == pytest.approx(8, abs=1)


@pytest.mark.parametrize(
    ("letter", "message"), [("a", "close to the recall"), ("b", "training batches"), ("d", "not chosen blindly")]
)  # fmt: skip
def test_00_3_wrong_answers(letter, message):
    assert re.search(message, refused("00.3", letter))


def three_steps(p, weight):
    odds = p / (1 - p)
    odds = odds / weight
    return odds / (1 + odds)


@pytest.mark.parametrize(
    "function",
    [
        three_steps,
        lambda p, w: p / (p + w * (1 - p)),
        lambda p, w: 1 / (1 + w * (1 / p - 1)),
        lambda p, w: torch.sigmoid(torch.logit(p) - torch.log(torch.tensor(w, dtype=p.dtype))),
    ],
)
def test_00_4_right_answers_written_differently(function):
    passes("00.4", function)


@pytest.mark.parametrize(
    ("message", "function"),
    [
        ("you divided the probabilities", lambda p, w: p / w),
        ("you applied the weight once more", lambda p, w: w * p / (w * p + 1 - p)),
        ("these are odds", lambda p, w: p / (1 - p) / w),
        ("values are off", lambda p, w: p),
        ("shape should be", lambda p, w: (p / (p + w * (1 - p)))[:2]),
        ("raised ZeroDivisionError", lambda p, w: 1 / 0),
        ("gave None", lambda p, w: None),
        ("a function was expected", 0.5),
    ],
)
def test_00_4_wrong_answers(message, function):
    assert re.search(message, refused("00.4", function))


@pytest.mark.parametrize("value", [0.98**32, 0.524, torch.tensor(0.52)])
def test_00_5_right_answers(value):
    passes("00.5", value, times=1)


@pytest.mark.parametrize(
    ("value", "message"),
    [(1 - NONE_ILL, "at least one ill"), (0.64, "on average"), (0.36, "for a probability"), (0.98, "for one visitor"),
     (52, "too large.*between 0 and 1"), (0.9, "too large"), (0, "too small"), ("half", "a number was expected")],
)  # fmt: skip
def test_00_5_wrong_answers(value, message):
    assert re.search(message, refused("00.5", value))


def clouds(seed, ill=400, healthy=19_600, spread=(1.0, 1.0)):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(ill + healthy, 2, generator=generator)
    y = (torch.arange(ill + healthy) < ill).long()
    x[:ill] = 1.24 + x[:ill] * torch.tensor(spread)
    return x, y


def with_float_labels(seed):
    x, y = clouds(seed, spread=(3.0, 0.3))
    return x, y.float()


@pytest.mark.parametrize("build", [lambda seed: clouds(seed, spread=(3.0, 0.3)), with_float_labels])
def test_00_6_right_answers(build):
    passes("00.6", build, times=2)


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("straight line perhaps still about right", clouds),
        ("at least 100 of them ill", lambda seed: clouds(seed, ill=20)),
        ("at most one visitor in ten", lambda seed: clouds(seed, ill=5000, healthy=5000)),
        ("two seeds gave the same visitors", lambda seed: clouds(0)),
        ("return two tensors", lambda seed: clouds(seed)[0]),
        (r"x has to be \(N, 2\)", lambda seed: (clouds(seed)[0][:, :1], clouds(seed)[1])),
        ("only 0 .healthy. and 1", lambda seed: (clouds(seed)[0], clouds(seed)[1] + 1)),
        ("raised RuntimeError on seed", lambda seed: torch.zeros(2) + torch.zeros(3)),
    ],
)
def test_00_6_wrong_answers(message, build):
    assert re.search(message, refused("00.6", build))
