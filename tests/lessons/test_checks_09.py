"""The exercises of lesson 09: both notebooks in step, stubs that wait, answers that pass, slips that are named."""

import re
from pathlib import Path

import nbformat
import pytest
import torch

from course_lib.classroom import checks
from course_lib.classroom.checks import NotYet
from course_lib.sampling import split_counts

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LESSON, SOLUTIONS = NOTEBOOKS / "09_learn2mix.ipynb", NOTEBOOKS / "solutions" / "09_learn2mix.ipynb"
KEYS = ["09.1", "09.2", "09.3", "09.4"]


def cells(path, tag):
    found = nbformat.read(path, as_version=4).cells
    return [cell for cell in found if tag in cell.metadata.get("tags", [])]


def check_sources(path):
    return [cell.source for cell in cells(path, "check")]


def message(key, *answers):
    with pytest.raises(NotYet) as waiting:
        checks.require(key, *answers)
    return str(waiting.value)


# ---- both notebooks ----


def test_lesson_and_solutions_check_the_same():
    assert check_sources(LESSON) == check_sources(SOLUTIONS)
    found = [re.search(r'check\("(.+?)"', source)[1] for source in check_sources(LESSON)]
    assert found == KEYS == sorted(key for key in checks.load_all() if key.startswith("09"))


def test_the_solutions_pass_again_and_again(capsys):
    code = [cell.source for cell in nbformat.read(SOLUTIONS, as_version=4).cells if cell.cell_type == "code"]
    names = {}
    for source in code:
        exec(source, names)
    for source in 4 * check_sources(SOLUTIONS):
        exec(source, names)
    assert capsys.readouterr().out.count("Right.") == 5 * len(KEYS)


def test_hints_come_in_steps_and_never_run_out(capsys):
    for key in KEYS:
        for _ in range(4):
            checks.hint(key)
    assert capsys.readouterr().out.count("Hint 3 of 3") >= 4


# ---- 09.1 ----


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (6, "loss of 0"),
        (24, "mixing rate 1"),
        (24.0, "a quarter of the way"),
        (8, "before the update"),
        (30, "divided by their sum"),
        (13, "too large"),
        (1, "too small"),
        ("many", "a number was expected"),
    ],
)
def test_one_update_names_the_slip(answer, said):
    assert said in message("09.1", answer)


# ---- 09.2 ----


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
        (lambda size, mix: size * mix, "Whole numbers"),
        (lambda size, mix: size, "One number per class"),
        (lambda size, mix: mix[99], "raised IndexError"),
        (lambda size, mix: None, "return"),
        (12, "a function was expected"),
    ],
)
def test_whole_counts_names_the_slip(slip, said):
    for _ in range(3):
        assert said in message("09.2", slip)


def test_the_library_solves_whole_counts(capsys):
    for _ in range(3):
        checks.require("09.2", right)
    assert capsys.readouterr().out.count("Right.") == 3


# ---- 09.3 ----


@pytest.mark.parametrize(
    ("spreads", "said"),
    [
        ((1.0, 1.0, 1.0), "equally hard"),
        ((0.5, 0.5, 0.5), "equally hard"),
        ((1.0, 1.0, 1.2), "clearly harder"),
        ((1.0, 1.0, 9.0), "between 0.4 and 3.0"),
        ((1.0, 1.0), "Three spreads"),
        (2.0, "Three numbers"),
        (("wide", 1, 1), "Three numbers"),
    ],
)
def test_beat_uniform_says_what_is_missing(spreads, said):
    assert said in message("09.3", spreads)


def test_the_wide_class_may_be_any(capsys):
    checks.require("09.3", (2.0, 1.0, 1.0))
    checks.require("09.3", torch.tensor([0.5, 0.5, 3.0]))
    assert capsys.readouterr().out.count("The others pay.") == 2


# ---- 09.4 ----


@pytest.mark.parametrize(
    ("letter", "images", "said"),
    [
        ("a", 272, "coin"),
        ("b", 272, "does not show that there is none"),
        ("d", 272, "mean is positive"),
        ("e", 272, "answer with one of"),
        ("c", 26, "to each side"),
        ("c", 68, "interval 0.2 wide"),
        ("c", 1000, "too large"),
        ("c", "some", "a number was expected"),
    ],
)
def test_the_verdict_names_the_misconception(letter, images, said):
    assert said in message("09.4", letter, images)
