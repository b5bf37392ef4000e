"""Lesson 00's exercises: both notebooks in step, stubs wait, solutions pass, typical mistakes get their own answer."""

import re
from pathlib import Path

import nbformat
import pytest
import torch

from course_lib.classroom import checks
from course_lib.classroom.lessons.lesson_00 import explorer as lesson_00
from course_lib.classroom.lessons.lesson_00.checks import SELFCHECK

ROOT = Path(__file__).resolve().parents[2] / "notebooks"
LESSON, SOLUTIONS = ROOT / "00_start_here.ipynb", ROOT / "solutions" / "00_start_here.ipynb"
KEYS = ["00.selfcheck", "00.1", "00.2", "00.3", "00.4", "00.5"]


def tagged(path, tag):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


def names_of(path) -> dict:
    """What the exercise cells of a notebook define."""
    names = {"torch": torch, "lesson_00": lesson_00}
    for cell in tagged(path, "exercise"):
        exec(compile(cell.source, path.name, "exec"), names)
    return names


def check_sources(path) -> dict[str, str]:
    found = [(re.search(r'check\("([^"]+)"', cell.source)[1], cell.source) for cell in tagged(path, "check")]
    assert len(dict(found)) == len(found), "an exercise is checked twice"
    return dict(found)


def answers_in(path, key) -> tuple:
    [call] = re.findall(r"check\((.*)\)", check_sources(path)[key])
    return eval(f"({call},)", names_of(path))[1:]


def test_every_exercise_stands_once_on_each_side_with_the_same_check():
    assert list(check_sources(LESSON)) == KEYS
    assert check_sources(SOLUTIONS) == check_sources(LESSON)
    assert {key for key in checks.load_all() if key.startswith("00.")} == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_the_solution_passes_again_and_again(key, capsys):
    answers = answers_in(SOLUTIONS, key)
    for _ in range(5 if key == "00.2" else 2):
        checks.require(key, *answers)
        assert capsys.readouterr().out.startswith("Right.")


@pytest.mark.parametrize("key", KEYS)
def test_hints_come_in_steps(key, capsys):
    steps = len(checks.load_all()[key].hints)
    for _ in range(steps):
        checks.hint(key)
    assert f"of {steps}" in capsys.readouterr().out


def says(message, key, *answers):
    with pytest.raises(checks.NotYet, match=message):
        checks.require(key, *answers)


# ---- the self-check ---------------------------------------------------------------------------------------

RIGHT = {name: values[0] for name, values in SELFCHECK.items()}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("odds", 0.2), ("odds", "a quarter"), ("logarithm", "a"), ("chance", 0.6), ("gradient", 2.6), ("batches", 10),
     ("batches", float("nan")), ("scores", "b"), ("scores", 1)],
)  # fmt: skip
def test_a_gap_names_its_idea_and_what_to_read(name, wrong):
    says(f"Look again at {name}: .*https://", "00.selfcheck", {**RIGHT, name: wrong})


def test_a_gap_leaves_the_other_answers_right_and_names_what_is_open():
    says("Right so far: odds, logarithm, chance, batches.*gradient.*Still open: scores", "00.selfcheck",
         {**RIGHT, "gradient": 3, "scores": None})  # fmt: skip


def test_capital_letters_count():
    checks.require("00.selfcheck", {**RIGHT, "logarithm": " B "})


@pytest.mark.parametrize("wrong", [[0.25], {"odds": 0.25}])
def test_the_names_of_the_self_check_stay(wrong):
    says("Keep the six names", "00.selfcheck", wrong)


# ---- the exercises ----------------------------------------------------------------------------------------

GOOD = {"threshold": 1 / 45, "weight": 44, "share": 0.473, "copies": 44}


@pytest.mark.parametrize(
    ("message", "changes", "best"),
    [
        ("not the recall you wish for", {"threshold": 0.8}, "d"),
        ("weight = 2 is too small", {"weight": 2}, "d"),
        ("copies = 60 is too large", {"copies": 60}, "d"),
        ("share = 0.8 is too large", {"share": 0.8}, "d"),
        ("waits for your setting of the share", {"share": None}, "d"),
        ("cannot take share = 80", {"share": 80}, "d"),
        ("cannot take copies = 44.5", {"copies": 44.5}, "d"),
        ("a number was expected", {"weight": "much"}, "d"),
        ("tells it nothing new", {}, "a"),
        ("same patients more often", {}, "b"),
        ("no information that the originals lack", {}, "c"),
        ("answer with one of", {}, "e"),
    ],
)
def test_00_1_wrong_answers(message, changes, best):
    says(message, "00.1", {**GOOD, **changes}, best)


def test_00_1_wants_all_four_handles():
    says("Keep the four names", "00.1", {"weight": 44}, "d")


@pytest.mark.parametrize(
    ("message", "function"),
    [
        ("You divided the probabilities", lambda p, w: p / w),
        ("applied the weight once more", lambda p, w: w * p / (w * p + 1 - p)),
        ("These are odds", lambda p, w: p / (1 - p) / w),
        ("values are off", lambda p, w: p),
        ("shape should be", lambda p, w: (p / (p + w * (1 - p)))[:2]),
        ("raised ZeroDivisionError", lambda p, w: 1 / 0),
        ("gave None", lambda p, w: None),
        ("a function was expected", 0.5),
    ],
)
def test_00_2_wrong_answers(message, function):
    says(message, "00.2", function)


@pytest.mark.parametrize(
    ("letter", "message"), [("a", "called back for someone who is ill"), ("b", "training batches"), ("d", "worth more")]
)  # fmt: skip
def test_00_3_wrong_answers(letter, message):
    says(message, "00.3", letter)


@pytest.mark.parametrize(
    ("value", "message"),
    [(1 - 0.98**32, "at least one ill"), (0.64, "on average"), (0.36, "for a probability"), (0.02, "for one row"),
     (52, "between 0 and 1"), (0.9, "too large"), (0, "too small"), ("half", "a number was expected")],
)  # fmt: skip
def test_00_4_wrong_answers(value, message):
    says(message, "00.4", value)


def clouds(seed, ill=400, healthy=19_600, shift=1.2):
    """Two round clouds: the case in which nothing moves."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(ill + healthy, 2, generator=generator)
    y = (torch.arange(ill + healthy) < ill).long()
    return x + shift * y[:, None], y


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("straight line perhaps still about right", clouds),
        ("at least 100 of them ill", lambda seed: clouds(seed, ill=20)),
        ("at most one patient in ten", lambda seed: clouds(seed, ill=5000, healthy=5000)),
        ("Two seeds gave the same patients", lambda seed: clouds(0)),
        ("return two tensors", lambda seed: clouds(seed)[0]),
        (r"x should be \(N, 2\)", lambda seed: (clouds(seed)[0][:, :1], clouds(seed)[1])),
        ("only 0 .healthy. and 1", lambda seed: (clouds(seed)[0], clouds(seed)[1] + 1)),
        ("raised RuntimeError on seed", lambda seed: torch.zeros(2) + torch.zeros(3)),
    ],
)
def test_00_5_wrong_answers(message, build):
    says(f"(?i){message}", "00.5", build)
