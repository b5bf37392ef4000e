"""Exercises of lesson 01: both sides in step, stubs wait, solutions pass, wrong answers hear what is meant for them."""

import re
from pathlib import Path

import nbformat
import pytest
import torch

from course_lib.classroom import checks
from course_lib.classroom.checks import NotYet

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
KEYS = [key for key in checks.load_all() if key.startswith("01.")]


def cells(folder, tag):
    """Sources of the cells with a tag, in order, and their tags."""
    notebook = nbformat.read(NOTEBOOKS / folder / "01_imbalance.ipynb", as_version=4)
    found = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
    return [cell.source for cell in found], [set(cell.metadata.tags) for cell in found]


def key_of(source):
    return re.search(r'"(\d\d\.\d)"', source)[1]


def answers(folder, key):
    """What the exercise cells of a notebook hand to the check of `key`."""
    (stubs, _), (sources, _) = cells(folder, "exercise"), cells(folder, "check")
    place = [key_of(source) for source in sources].index(key)
    names = {"torch": torch, "metrics": __import__("course_lib.metrics", fromlist=["metrics"])}
    exec(stubs[place], names)
    return [names[name] for name in re.findall(r", (\w+)", sources[place])]


def refused(key, *given):
    with pytest.raises(NotYet) as caught:
        checks.require(key, *given)
    return str(caught.value)


def test_every_exercise_stands_once_on_each_side_with_the_same_check():
    (lesson, lesson_tags), (solution, solution_tags) = cells("", "check"), cells("solutions", "check")
    assert lesson == solution
    assert [key_of(source) for source in lesson] == KEYS
    assert len(cells("", "exercise")[0]) == len(cells("solutions", "exercise")[0]) == len(KEYS)
    assert all("raises-exception" in tags for tags in lesson_tags)
    assert not any("raises-exception" in tags for tags in solution_tags)


@pytest.mark.parametrize("key", KEYS)
def test_solution_passes_every_time(key, capsys):
    given = answers("solutions", key)
    capsys.readouterr()  # what the worked answer prints itself
    for _ in range(5):
        checks.require(key, *given)
        assert capsys.readouterr().out.startswith("Right. ")


@pytest.mark.parametrize("key", KEYS)
def test_hints_come_in_steps(key, capsys):
    said = []
    for _ in checks.load_all()[key].hints:
        checks.hint(key)
        said.append(capsys.readouterr().out)
    assert len(set(said)) == len(checks.load_all()[key].hints)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("bdca", "the ratio counts as guilty"),
        ("dbca", "the ratio counts as guilty"),
        ("cdab", "sorted by the total"),
        ("abcd", "begins at the wrong end"),
        ("cdba", "Compare c and d"),
        ("dca", "each once"),
        (3, "four letters"),
    ],
)
def test_wrong_orders_hear_why(order, said):
    assert said in refused("01.1", order)


@pytest.mark.parametrize(
    ("positives", "patients", "said"),
    [
        (100, 3333, "reaches 0.096"),
        (250, 8333, "do not know that beforehand"),
        (1533, 51100, "half the width"),
        (420, 14000, "fewer would do"),
        (381, 381, "too few"),
        (381, 381 / 0.03**2, "too many"),
        (0, 0, "At least one positive"),
        ("many", 1, "a number was expected"),
    ],
)
def test_wrong_sizes_hear_why(positives, patients, said):
    assert said in refused("01.2", positives, patients)


@pytest.mark.parametrize("positives", [381, 384, 385, 400])
def test_neighbouring_sizes_pass(positives):
    checks.require("01.2", positives, round(positives / 0.03))


@pytest.mark.parametrize(
    ("letter", "said"), [("a", "300 sick"), ("b", "diagonal"), ("d", "ROC"), ("x", "one of")]
)
def test_wrong_verdicts_hear_why(letter, said):
    assert said in refused("01.3", letter)


def recalls(table):
    return table.diagonal() / table.sum(1)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda table: table.diagonal().sum() / table.sum(), "That is accuracy"),
        (lambda table: (table.diagonal() / table.sum(0)).mean(), "mean precision"),
        (lambda table: recalls(table).nansum(), "the sum of the recalls"),
        (lambda table: recalls(table).mean(), "spoils the mean"),
        (lambda table: recalls(table).nan_to_num(0).mean(), "not the same as recall 0"),
        (lambda table: 0.1, "Compute one recall by hand"),
        (lambda table: None, "return"),
        (lambda table: table.wrong, "AttributeError"),
        ("a text", "a function was expected"),
    ],
)
def test_wrong_functions_hear_why(function, said):
    for _ in range(3):
        assert said in refused("01.4", function)


def test_a_plain_python_function_is_welcome():
    def by_hand(table):
        rows = table.tolist()
        each = [row[k] / sum(row) for k, row in enumerate(rows) if sum(row)]
        return sum(each) / len(each)

    checks.require("01.4", by_hand)


@pytest.mark.parametrize(
    ("cautious", "eager", "said"),
    [
        (0.01, 0.5, "the eager one is the lower"),
        (0.5, 0.5, "the eager one is the lower"),
        (50, 1, "probabilities"),
        (0.5, 0.2, "still too good"),
        (0.05, 0.01, "raise its cut"),
        (0.9999999, 0.01, "flags nobody"),
        (0.5, 1e-9, "flags almost everybody"),
        ("half", 0.1, "a number was expected"),
    ],
)
def test_wrong_cuts_hear_why(cautious, eager, said):
    assert said in refused("01.5", cautious, eager)


@pytest.mark.parametrize(("cautious", "eager"), [(0.5, 0.02), (0.7, 0.005), (torch.tensor(0.6), 0.01)])
def test_other_good_cuts_pass(cautious, eager):
    checks.require("01.5", cautious, eager)


def test_checks_leave_the_random_state_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    checks.require("01.5", 0.5, 0.01)
    assert torch.equal(before, torch.random.get_rng_state())
