"""Odds go back to a probability as two numbers, ill / (ill + healthy): as one number they are infinite at p = 1."""

import re

import pytest
import torch

from course_lib.classroom import checks
from tests.lessons.answers import passes
from tests.lessons.books import NOTEBOOKS, read

ROOT = NOTEBOOKS.parent
ONE_NUMBER = re.compile(
    r"(\w*odds\w*)\}?\s*/\s*\(\s*(?:1\s*\+\s*(?:\\text\{)?\1\b|\1\s*\+\s*1\b)"  # odds / (1 + odds), in formulas too
)
FILES = sorted(
    [
        *NOTEBOOKS.rglob("*.ipynb"),
        *NOTEBOOKS.rglob("*.md"),
        *(ROOT / "course_lib" / "classroom" / "lessons").rglob("*.py"),
    ]
)


def text_of(path):
    return (
        "\n".join(cell.source for cell in read(path).cells) if path.suffix == ".ipynb" else path.read_text()
    )


@pytest.mark.parametrize(
    "text", ["odds / (1 + odds)", "b_odds/(b_odds + 1)", r"p = \text{odds} / (1 + \text{odds})"]
)
def test_the_form_is_known_when_it_is_met(text):
    assert ONE_NUMBER.search(text)


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])
def test_nobody_copies_a_form_that_is_nan_at_p_of_1(path):
    assert not (found := ONE_NUMBER.findall(text_of(path))), found


def one_number(p, factor):
    odds = p / (1 - p) / factor
    return odds / (1 + odds)


def two_numbers(p, factor):
    return p / factor / (p / factor + (1 - p))


@pytest.mark.parametrize("key", ["00.4", "02.1", "06.5"])
def test_both_forms_pass_and_the_one_that_is_nan_at_1_hears_so(key, capsys):
    def of_kept(form):  # 06.5 is told which share was kept, 1 / factor
        return (lambda p, kept: form(p, 1 / kept)) if key == "06.5" else form

    one, two = of_kept(one_number), of_kept(two_numbers)
    passes(key, two)
    assert "p = 1" not in capsys.readouterr().out
    passes(key, one)
    assert "for p = 1 it gives nan" in " ".join(capsys.readouterr().out.split())
    passes(key, lambda p, factor: one(p.clamp(max=0.999), factor) if len(p) > 2 else 1 / 0)  # never raises


@pytest.mark.parametrize(
    ("stem", "begins", "name", "rest"),
    [
        ("02_decisions", "def our_divide_odds", "our_divide_odds", (49,)),
        ("solutions/00_start_here", "def undo_weight", "undo_weight", (49,)),
        ("06_smote", "def our_repaired", "our_repaired", (1 / 49,)),
    ],
)
def test_a_p_of_exactly_1_stays_1(stem, begins, name, rest):
    [cell] = [c for c in read(NOTEBOOKS / f"{stem}.ipynb").cells if c.source.startswith(begins)]
    room = {"torch": torch, "checks": checks}
    exec(re.split(r"\n\n\n|\nchecks\.", cell.source)[0], room)
    assert room[name](torch.tensor([0.0, 1.0]), *rest).tolist() == [0.0, 1.0]
