"""What all checks of exercises are made of: one sentence for a person, whatever the student hands in."""

import random
import sys
import warnings

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from course_lib.classroom import checks
from course_lib.classroom import checks as core
from course_lib.classroom.checks import NotYet


@pytest.fixture
def book(monkeypatch):
    """Three exercises of a lesson that does not exist."""
    monkeypatch.setattr(core, "EXERCISES", {})
    monkeypatch.setattr(core, "_hints_given", {})

    @core.exercise("77.1", "Add them up.", "Divide by how many there are.")
    def mean(function) -> str:
        x = torch.rand(3)
        core.near(core.run(function, x), float(x.mean()), 1e-4, "the mean", "Is it divided by 3?")
        return "A mean."

    @core.exercise("77.2", "Guess.")
    def pair(number, letter) -> str:
        core.as_number(number)
        core.choose(letter, "b", {"a": "that is the ratio."})
        return "Both."

    @core.exercise("77.10", "Any.")
    def anything(answer) -> str:
        return f"{answer.wrong}"


def refused(function, *given, **named):
    with pytest.raises(NotYet) as caught:
        function(*given, **named)
    said = str(caught.value)
    assert "\n" not in said and said == " ".join(said.split())
    return said


# ---- check ----


def test_a_right_answer_is_told_what_is_right(book, capsys):
    core.check("77.1", lambda x: x.sum() / 3)
    assert capsys.readouterr().out == "Right. A mean.\n"


@pytest.mark.parametrize("answer", [None, ...])
def test_an_answer_not_yet_given_is_waited_for(book, answer):
    said = refused(core.check, "77.2", 3, answer)
    assert said == "Exercise 77.2 waits for your answer: replace None. Stuck? Run checks.hint('77.2')."


def test_a_stub_is_waited_for_with_its_own_words(book):
    def stub(x):
        raise NotImplementedError("Start with x.sum().")

    said = refused(core.check, "77.1", stub)
    assert said.startswith("Exercise 77.1 waits for your code. Start with x.sum(). Stuck?")


def test_a_library_without_an_implementation_is_no_stub(book):
    def mine(x):
        return torch.utils.data.Dataset()[0]

    said = refused(core.check, "77.1", mine)
    assert "waits" not in said and "NotImplementedError" in said and "in its line 2" in said


@pytest.mark.parametrize("given", [(), (3,), (3, "b", 4)])
def test_a_changed_check_cell_says_what_it_takes(book, given):
    assert f"(number, letter), got {len(given)}" in refused(core.check, "77.2", *given)


def test_what_a_check_cannot_work_with_is_one_sentence_too(book):
    said = refused(core.check, "77.10", 5)
    assert "cannot work with this answer (AttributeError" in said and "checks.hint('77.10')" in said


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("77.3", "There are 77.1, 77.2, 77.10."),
        ("78.1", "There are 77.1, 77.2, 77.10."),
        ("", "There are 77.1, 77.2, 77.10."),
        ("77.01", 'Did you mean "77.1'),
        (77.1, 'Did you mean "77.1"?'),
    ],
)
@pytest.mark.parametrize("function", [core.check, core.hint])
def test_an_unknown_key_says_which_there_are(book, function, key, said):
    with pytest.raises(ValueError, match="There is no exercise") as caught:
        function(key)
    assert said in str(caught.value)


def test_a_key_without_its_nought_is_understood():
    with pytest.raises(ValueError, match=r'Did you mean "01\.1"'):
        checks.check("1.1", 3)


def test_every_kind_of_seed_is_left_alone_and_input_is_fresh(book):
    seen = []

    def keeps(x):
        seen.append((tuple(x.tolist()), random.random(), np.random.rand(), float(torch.rand(()))))
        return x.mean()

    def draw():
        return random.random(), np.random.rand(), float(torch.rand(()))

    def start():
        random.seed(0), np.random.seed(0), torch.manual_seed(0)

    start()
    undisturbed = draw(), draw()
    start()
    first = draw()
    core.check("77.1", keeps)
    refused(core.check, "77.1", lambda x: torch.rand(()) + 5)
    assert (first, draw()) == undisturbed
    start()
    core.check("77.1", keeps)
    assert not set(seen[0]) & set(seen[1]), "the same input twice"


def test_what_students_code_prints_comes_shortened_and_on_stdout(book, capsys):
    def talks(x):
        print("x is", x.shape)
        print("to stderr", file=sys.stderr)
        print("\n".join(map(str, range(1000))))
        return x.mean()

    core.check("77.1", talks)
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[:3] == ["Printed during the check:", "  x is torch.Size([3])", "  to stderr"]
    assert len(lines) == 1 + core.PRINTED_LINES + 2
    assert lines[-2:] == ["  ... and 992 more lines", "Right. A mean."]


def test_an_interruption_comes_through_and_shows_what_was_printed(book, capsys):
    def endless(x):
        print("still here")
        raise KeyboardInterrupt

    state = torch.random.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        core.check("77.1", endless)
    assert "still here" in capsys.readouterr().out
    assert torch.equal(torch.random.get_rng_state(), state)


# ---- hints ----


def test_hints_come_in_steps_and_the_last_one_stays(book, capsys):
    said = []
    for _ in range(3):
        core.hint("77.1")
        said.append(" ".join(capsys.readouterr().out.split()))
    first, second, third = said
    assert first == "Hint 1 of 2: Add them up."
    assert second.startswith("Hint 2 of 2: Divide by how many there are. (That is the last one")
    assert third == second


def test_hints_of_one_exercise_do_not_move_those_of_another(book, capsys):
    core.hint("77.1")
    core.hint("77.2")
    assert "Hint 1 of 1" in capsys.readouterr().out


def test_an_exercise_has_hints_and_one_definition(book):
    with pytest.raises(ValueError, match=r"77\.5 needs at least one hint"):
        core.exercise("77.5")(lambda answer: "")

    def elsewhere(answer):
        return ""

    elsewhere.__module__ = "course_lib.classroom.lessons.lesson_78.checks"
    with pytest.raises(ValueError, match=r"77\.1 is defined twice"):
        core.exercise("77.1", "A hint.")(elsewhere)


# ---- parts ----


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x.nothing, "raised AttributeError on the array [0.25, 0.5], in its line 1:"),
        (lambda x: 1 / 0, "division by zero"),
        (lambda: 3, "raised TypeError on the array [0.25, 0.5]: "),
        (lambda x: None, "Your function gave None on the array [0.25, 0.5]"),
        (print, "Your function gave None"),
        (3, "A function was expected, got int 3"),
        (torch.ones(2), "A function was expected, got Tensor the tensor [1.0, 1.0]"),
    ],
)
def test_run_turns_mistakes_into_a_sentence(function, said):
    assert said in refused(core.run, function, np.array([0.25, 0.5]))


def test_run_counts_the_line_from_def_and_finds_it_below_other_calls():
    def mine(x):
        y = [x, x]
        return sorted(y, key=lambda z: z.missing)

    assert "in its line 3: 'int' object has no attribute" in refused(core.run, mine, 3)


def test_run_names_the_input_as_told_and_hands_inner_verdicts_on():
    def inner(x):
        raise NotYet("Of its own.")

    assert "on seed 7" in refused(core.run, lambda x: x.a, 7, shown="seed 7")
    assert "on no input" in refused(core.run, lambda: 1 / 0)
    assert refused(core.run, inner, 3) == "Of its own."
    assert core.run(lambda x, y: x + y, 1, 2) == 3
    assert core.run(type("Doubler", (), {"__call__": lambda self, x: 2 * x})(), 4) == 8


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.tensor([0.123456, 2.0]), "the tensor [0.1235, 2.0]"),
        (torch.zeros(3, 5), "a tensor of shape (3, 5)"),
        (np.arange(3), "the array [0, 1, 2]"),
        (torch.tensor(True), "the tensor True"),
        ("a\nb", r"'a\nb'"),
        ([1] * 100, f"{str([1] * 100)[:77]}..."),
    ],
)
def test_values_in_words(value, words):
    assert core.in_words(value) == words


@pytest.mark.parametrize("answer", ["c", "C", " c ", "(c)", "c.", "c)"])
def test_choose_takes_a_letter_in_every_dress(answer):
    core.choose(answer, "c", {"a": "no."})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("a", "Not 'a': that is the ratio."),
        ("A", "Not 'a': that is the ratio."),
        ("d", "Answer with one of a, c, got 'd'."),
        ("", "Answer with one of a, c"),
        (3, "a letter in quotes, one of a, c; got 3."),
        (["c"], "a letter in quotes"),
    ],
)
def test_choose_says_why_not(answer, said):
    assert said in refused(core.choose, answer, "c", {"a": "that is the ratio."})


@pytest.mark.parametrize(
    "answer",
    [3, 3.0, np.float32(3), np.array([3]), torch.tensor(3), torch.tensor([[3.0]], requires_grad=True)],
)
def test_numbers_in_every_form(answer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert core.as_number(answer) == 3.0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("0.5", "got str '0.5'. Write it without quotes."),
        ((0, 5), "decimal point"),
        ([3], "got list [3]."),
        (True, "got bool True."),
        (torch.zeros(2), "got ndarray the array [0.0, 0.0]"),
        (lambda: 3, "Call it first"),
        (3j, "got complex 3j"),
        (10**400, "got int 1000"),
        (float("nan"), "A finite number was expected for the answer, got nan."),
        (torch.tensor(float("inf")), "got inf"),
    ],
)
def test_what_is_no_number(answer, said):
    assert said in refused(core.as_number, answer)


def test_near_names_the_side_and_not_the_reference():
    assert core.near(torch.tensor(0.51), 0.5, 0.02) == pytest.approx(0.51)
    said = refused(core.near, 0.7, 0.512345, 0.02, "the recall", "Count the sick.")
    assert said == "The recall is too large: got 0.7. Count the sick."
    assert "too small" in refused(core.near, -1, 0.512345, 0.02)


@pytest.mark.parametrize(
    "got",
    [
        torch.tensor([1.0, 2.0]),
        torch.tensor([1, 2]),
        torch.tensor([1.0, 2.0], requires_grad=True),
        np.array([1.0, 2.0], dtype=np.float32),
        [1, 2.000001],
        [torch.tensor(1.0), torch.tensor(2.0)],
    ],
)
def test_same_tensor_takes_tensors_arrays_and_lists(got):
    assert core.same_tensor(got, torch.tensor([1.0, 2.0]), "ones", "Look.").shape == (2,)


@pytest.mark.parametrize(
    ("got", "said"),
    [
        ("text", "A tensor was expected on ones, got str. Look."),
        ([[1, 2], [3]], "A tensor was expected on ones, got list."),
        (torch.ones(2, 1), "The shape should be (2,) on ones, got (2, 1). Look."),
        (1.5, "The shape should be (2,) on ones, got ()."),
        (
            [1, 2.5],
            "The values are off on ones, 1 of 2 numbers: you gave 2.5 at index 1. Look.",
        ),
        ([1, float("nan")], "you gave nan at index 1"),
    ],
)
def test_same_tensor_says_what_is_off(got, said):
    assert said in refused(core.same_tensor, got, torch.tensor([1.0, 2.0]), "ones", "Look.")


def test_same_tensor_of_one_number():
    said = refused(core.same_tensor, 3.0, torch.tensor(4.0), "x = 2", "Square it.")
    assert said == "The values are off on x = 2: you gave 3. Square it."
    assert core.same_tensor(float("nan"), torch.tensor(float("nan")), "0 / 0", "").isnan()


# ---- in a real kernel ----

CELLS = [
    """
import sys, warnings
from course_lib.classroom import checks
from course_lib.classroom import checks as core


@core.exercise("77.1", "Add.", "Divide.")
def mean(function):
    core.near(core.run(function, [1.0, 2.0]), 1.5, 0.01, "the mean", "Divide by how many there are.")
    return "A mean."


def stub(x):
    raise NotImplementedError("Start with the sum.")


def talks(x):
    print("x is", x)
    print("oh", file=sys.stderr)
    warnings.warn("careful")
    return sum(x)
""",
    'checks.check("77.1", stub)',
    'checks.check("77.1", talks)',
    'checks.check("77.1", lambda x: sum(x) / 0)',
    'checks.check("77.1", lambda x: sum(x) / 2)',
    'checks.hint("77.9")',
    'checks.hint("77.1")',
]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    notebook = new_notebook(cells=[new_code_cell(source.strip()) for source in CELLS])
    NotebookClient(
        notebook,
        timeout=120,
        allow_errors=True,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path_factory.mktemp("kernel"))}},
    ).execute()
    nbformat.validate(notebook)
    return [cell.outputs for cell in notebook.cells]


def test_a_long_sentence_is_broken_between_words():
    said = NotYet("The mean is too large on this input. " * 6 + "See https://docs.python.org/3/" + "x" * 90)
    (shown,) = said._render_traceback_()
    assert shown.split() == str(said).split()
    *lines, address = shown.splitlines()
    assert len(lines) > 2 and max(map(len, lines)) <= 92 < len(address)


@pytest.mark.slow
def test_a_notebook_shows_a_refusal_as_one_sentence_and_nothing_else(executed):
    (output,) = executed[1]
    assert output.output_type == "error" and output.ename == "NotYet"
    said = "Exercise 77.1 waits for your code. Start with the sum. Stuck? Run checks.hint('77.1')."
    assert output.traceback == [said] and output.evalue == said and len(said) <= 92
    (output,) = executed[3]
    said = "Your function raised ZeroDivisionError on [1.0, 2.0], in its line 1: float division by zero"
    assert output.traceback == [said] == [output.evalue]


@pytest.mark.slow
def test_a_notebook_shows_nothing_on_stderr(executed):
    printed, output = executed[2]
    assert printed.name == "stdout" and "x is [1.0, 2.0]" in printed.text and "careful" in printed.text
    said = "The mean is too large: got 3. Divide by how many there are."
    assert output.traceback == [said] == [output.evalue]
    assert not [output for outputs in executed for output in outputs if output.get("name") == "stderr"]


@pytest.mark.slow
def test_a_notebook_shows_praise_hints_and_unknown_keys_plainly(executed):
    assert executed[4][0].text == "Right. A mean.\n"
    (output,) = executed[5]
    assert output.ename == "NoSuchExercise"
    assert output.traceback == [core.in_lines(output.evalue)]
    assert executed[6][0].text == "Hint 1 of 2: Add.\n"
