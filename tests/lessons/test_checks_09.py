"""The exercises of lesson 09: answers that pass, slips that are named; and the lesson's functions are the library's."""

import numpy as np
import pytest
import torch

from course_lib.classroom import checks
from course_lib.classroom.lessons.lesson_09 import checks as ours
from course_lib.classroom.lessons.lesson_09 import explorer as world
from course_lib.learn2mix import Learn2Mix
from course_lib.sampling import split_counts
from tests.lessons.answers import refused
from tests.lessons.books import NOTEBOOKS, code_cells, read


def lesson_code(begin):
    """The source of the lesson's cell that holds a line beginning so."""
    found = [
        c.source
        for c in code_cells(read(NOTEBOOKS / "09_learn2mix.ipynb"))
        if f"\n{begin}" in f"\n{c.source}"
    ]
    return found[0]


# ---- the lesson's own functions ----


def test_the_clinic_of_the_lesson_is_the_explorers():
    names = {"torch": torch}
    exec(lesson_code("def clinic("), names)
    for wrong, seed in ((0.0, 3), (0.4, 0), (0.6, 1)):
        for mine, theirs in zip(names["clinic"](wrong, seed), world.clinic((0, wrong, 0), seed), strict=True):
            assert torch.equal(mine, theirs)


def test_the_move_of_the_lesson_is_the_librarys():
    for _ in range(20):
        mix, labels, losses, rate = ours.a_round()
        total, count = ours._sums(labels, losses)
        library = Learn2Mix(mix.double(), rate).update(total / count, count)
        torch.testing.assert_close(
            ours.next_mix(mix, labels, losses, rate).double(), library, rtol=1e-5, atol=1e-6
        )


# ---- 09.1 ----


def written_otherwise(mix, labels, losses, rate):
    loss = torch.stack([losses[labels == k].mean() for k in range(len(mix))])
    return (1 - rate) * mix + rate * loss / loss.sum()


def class_losses(mix, labels, losses):
    return torch.stack([losses[labels == k].mean() for k in range(len(mix))])


def no_sum(mix, labels, losses, rate):
    return mix + rate * (class_losses(mix, labels, losses) - mix)


def over_all(mix, labels, losses, rate):
    return mix + rate * (class_losses(mix, labels, losses) / losses.mean() - mix)


def jump(mix, labels, losses, rate):
    loss = class_losses(mix, labels, losses)
    return loss / loss.sum()


@pytest.mark.parametrize("function", [ours.next_mix, written_otherwise])
def test_a_right_round_is_accepted_however_it_is_written(function, capsys):
    checks.require("09.1", function)
    assert capsys.readouterr().out.startswith("Right.")


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        (ours._by_total, "Divide by `count`"),
        (no_sum, "do not sum to 1"),
        (over_all, "mean loss of all examples"),
        (jump, "only a part `rate`"),
        (lambda mix, labels, losses, rate: ours.next_mix(mix, labels, losses, -rate), "away from the aim"),
        (
            lambda mix, labels, losses, rate: mix + rate * jump(mix, labels, losses, rate),
            "part of `aim - mix`",
        ),
        (lambda mix, labels, losses, rate: mix, "table above"),
        (lambda mix, labels, losses, rate: ..., "replace the dots"),
        (lambda mix, labels, losses, rate: mix[99], "raised IndexError"),
        (3, "a function was expected"),
    ],
)
def test_a_wrong_round_is_told_which_step(slip, said):
    assert said in refused("09.1", slip)


# ---- 09.2 ----


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (6, "loss of 0"),
        (24, "mixing rate 1"),
        (8, "before the update"),
        (30, "divided by their sum"),
        (13, "too large"),
        (1, "too small"),
        ("many", "a number was expected"),
    ],
)
def test_one_update_names_the_slip(answer, said):
    assert said in refused("09.2", answer)


def test_twelve_examples_are_right(capsys):
    checks.require("09.2", 12)
    assert "Right." in capsys.readouterr().out


# ---- 09.3 ----


def cut_off(size, mix):
    return (size * mix).long()


def largest_fractions(size, mix):
    counts = (size * mix).floor().long()
    left = (size * mix - counts).topk(int(size - counts.sum())).indices
    counts[left] += 1
    return counts


def at_random(size, mix):
    return torch.multinomial(mix, size, replacement=True).bincount(minlength=len(mix))


def right(size, mix):
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    return split_counts(size, mix, generator)


def one_for_the_empty_class(size, mix):
    counts = right(size, mix)
    if (mix == 0).any():
        counts[counts.argmax()] -= 1
        counts[mix.argmin()] = 1
    return counts


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        (cut_off, "Where did the fractions go?"),
        (largest_fractions, "on average"),
        (at_random, "more than one off"),
        (one_for_the_empty_class, "share 0"),
        (lambda size, mix: size * mix, "whole numbers"),
        (lambda size, mix: size, "one number per class"),
        (lambda size, mix: mix[99], "raised IndexError"),
        (lambda size, mix: None, "return"),
        (12, "a function was expected"),
    ],
)
def test_whole_counts_names_the_slip(slip, said):
    assert said in refused("09.3", slip)


def test_the_library_solves_whole_counts(capsys):
    checks.require("09.3", right)
    assert "Right." in capsys.readouterr().out


# ---- 09.4 and 09.5 ----


@pytest.mark.parametrize("spreads", [(1.0, 2.0, 1.0), (0.6, 1.8, 0.6)])
def test_one_wide_illness_beats_uniform_in_the_worst_recall(spreads, capsys):
    checks.require("09.4", spreads)
    said = " ".join(capsys.readouterr().out.split())
    assert "Worst recall, learn2mix minus uniform: +" in said and "three recalls: -" in said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((1.0, 1.0, 1.0), "equally hard"),
        ((1.0, 1.2, 1.0), "clearly harder"),
        ((1.0, 2.0), "three spreads"),
        ((1.0, 9.0, 1.0), "between 0.4 and 3"),
        ("wide", "three spreads"),
    ],
)
def test_spreads_that_do_not_do_are_told_why(answer, said):
    assert said in refused("09.4", answer)


def test_wrong_labels_in_the_rarest_class_do_the_harm(capsys):
    checks.require("09.5", (0, 0, 60))
    assert "mean of the three recalls, learn2mix minus uniform: -" in capsys.readouterr().out.lower().replace(
        "\n", " "
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((60, 0, 0), "feels a wrong label most"),
        ((0, 60, 0), "feels a wrong label most"),
        ((0, 0, 0), "feels a wrong label most"),
        ((30, 30, 30), "at most 60"),
        ((0, -5, 60), "between 0 and 60"),
        ((60,), "three numbers"),
    ],
)
def test_wrong_labels_elsewhere_are_told_why(answer, said):
    assert said in refused("09.5", answer)


# ---- 09.6 ----


def of(part):
    return lambda parts: ours.f1_shares(*parts[part])


def test_validation_is_right_also_as_a_numpy_array(capsys):
    checks.require("09.6", "b", of("validation"))
    checks.require("09.6", "b", lambda parts: np.asarray(of("validation")(parts)))
    assert capsys.readouterr().out.count("Right.") == 2


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (("a", of("validation")), "chosen by them"),
        (("c", of("validation")), "not a leak"),
        (("d", of("validation")), "What does it follow"),
        (("b", of("test")), "still follows the test part"),
        (("b", of("train")), "memorised"),
        (("b", lambda parts: of("validation")(parts) * 2), "divided by their sum"),
        (("b", lambda parts: parts["holdout"]), "raised KeyError"),
    ],
)
def test_a_leak_left_in_is_named(answers, said):
    assert said in refused("09.6", *answers)
