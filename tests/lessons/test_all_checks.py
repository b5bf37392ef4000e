"""What every check of every exercise keeps to: a sentence, whatever is handed in, and our own answer is right."""

import inspect

import matplotlib
import numpy as np
import pytest
import torch

from course_lib.classroom import checks
from course_lib.classroom.tools import assignments
from tests.lessons.books import LESSONS, NOTEBOOKS, ROOT, code_cells, read

KEYS = list(checks.load_all())
LONGEST_FILE = 260  # aim at 130
NONSENSE = {
    "text": "text", "half": 0.5, "a large number": 10**9, "nan": float("nan"), "an empty list": [], "a dict": {},
    "a matrix": torch.zeros(2, 2), "an array of text": np.array(["a"]), "a class": dict, "itself": checks,
    "a function of nothing": lambda: 3, "a function of anything": lambda *given: given, "raises": lambda *_: 1 / 0,
}  # fmt: skip
each = pytest.mark.parametrize("key", KEYS)


def count(key):
    """How many answers an exercise has."""
    return len(inspect.signature(checks.EXERCISES[key].judge).parameters)


def told(capsys):
    return " ".join(capsys.readouterr().out.split())


def blank(*given):
    value = ...
    return value


@each
@pytest.mark.parametrize("answer", [..., None, blank], ids=["dots", "none", "function"])
def test_untouched_blanks_are_waited_for(key, answer, capsys):
    checks.check(key, *[answer] * count(key))
    assert told(capsys) == f'Not yet: {checks.DOTS} Stuck? Run checks.hint("{key}").'


@each
@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_answered_in_a_sentence(key, what, capsys):
    checks.check(key, *[NONSENSE[what]] * count(key))
    said = told(capsys)
    assert said.startswith("Not yet: ") and 4 < len(said.split()) < 90, said
    assert not said[len("Not yet: ")].isupper(), f"begin in lower case: {said}"


@each
def test_hints_are_given_in_steps(key, capsys):
    hints = checks.EXERCISES[key].hints
    for number in range(1, len(hints) + 1):
        checks.hint(key)
        assert told(capsys).startswith(f"Hint {number} of {len(hints)}: ")


@pytest.fixture(autouse=True)
def no_hint_given(monkeypatch):
    monkeypatch.setattr(checks, "_hints_given", {})


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_worked_answers_are_right_every_time_and_chosen(lesson, capsys):
    solution, names = read(NOTEBOOKS / "solutions" / f"{lesson}.ipynb"), {}
    matplotlib.use("agg")
    for cell in code_cells(solution):
        exec(cell.source, names)
    for exercise in assignments.exercises(solution):
        answers = [names[name.strip()] for name in exercise.check.rstrip(")").split(",")[1:]]
        checks.require(exercise.key, *answers)
        ours = tuple(answers) if len(answers) > 1 else answers[0]
        assert checks.yours_or_ours(exercise.key, ours, None) is ours
        assert checks.yours_or_ours(exercise.key, blank, ours) is ours
    assert capsys.readouterr().out.count("Right. ") >= 2 * len(assignments.exercises(solution))


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_file_of_checks_is_read_in_one_sitting(lesson):
    source = (ROOT / "course_lib/classroom/lessons" / f"lesson_{lesson[:2]}" / "checks.py").read_text()
    assert len([line for line in source.splitlines() if line.strip()]) <= LONGEST_FILE
