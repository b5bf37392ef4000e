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
    core.load_all()  # those of the lessons, once, into the real register
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
    said = refused(core.require, "77.2", 3, answer)
    assert said == 'replace the dots by your code. Stuck? Run checks.hint("77.2").'


def test_a_stub_is_waited_for_with_its_own_words(book):
    def stub(x):
        raise NotImplementedError("Start with x.sum().")

    said = refused(core.require, "77.1", stub)
    assert said.startswith("your function still raises NotImplementedError. Start with x.sum(). Stuck?")


def test_a_library_without_an_implementation_is_no_stub(book):
    def mine(x):
        return torch.utils.data.Dataset()[0]

    said = refused(core.require, "77.1", mine)
    assert "still raises" not in said and "NotImplementedError" in said and "in its line 2" in said


@pytest.mark.parametrize("given", [(), (3,), (3, "b", 4)])
def test_a_changed_check_cell_says_what_it_takes(book, given):
    assert f"(number, letter), got {len(given)}" in refused(core.require, "77.2", *given)


def test_what_a_check_cannot_work_with_is_one_sentence_too(book):
    said = refused(core.require, "77.10", 5)
    assert "cannot work with this answer (AttributeError" in said and 'checks.hint("77.10")' in said


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
def test_an_unknown_key_says_which_there_are(book, function, key, said, capsys):
    function(key)
    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith("There is no exercise") and said in told
    with pytest.raises(ValueError, match="There is no exercise"):
        core.require(key)


def test_a_key_without_its_nought_is_understood():
    with pytest.raises(ValueError, match=r'Did you mean "01\.1"'):
        checks.require("1.1", 3)


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
    refused(core.require, "77.1", lambda x: torch.rand(()) + 5)
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


# ---- answers not given yet ----


def blank_value(x):
    return ...


def blank_inside(x):
    total = ...
    return total / 3


def blank_left_over(x):
    total = x.sum()
    share = ...  # noqa: F841
    return total


def blank_body(x): ...


class BlankMethod:
    def __call__(self, x):
        return ...


@pytest.mark.parametrize(
    "answer", [None, ..., blank_value, blank_inside, blank_left_over, blank_body, BlankMethod(), (1, ...)]
)
def test_dots_that_stand_are_waited_for(book, answer):
    said = refused(core.require, "77.1", answer)
    assert said == 'replace the dots by your code. Stuck? Run checks.hint("77.1").'


def test_dots_are_seen_where_the_source_cannot_be_read(book):
    names = {}
    exec("def f(x):\n    y = ...\n    return x + y\n\ndef g(x):\n    y = ...\n    return x.sum()", names)
    for name in "fg":
        assert refused(core.require, "77.1", names[name]).startswith(core.DOTS)


def test_dots_of_an_index_are_code(book, capsys):
    core.check("77.1", lambda x: x[..., :3].mean())
    assert capsys.readouterr().out == "Right. A mean.\n"

    def wrong(x):
        return x[..., 0] + 7

    assert "too large" in refused(core.require, "77.1", wrong)


@pytest.mark.parametrize("answer", [{"a": ...}, {"a": None, "b": ...}, [...]])
def test_containers_that_hold_only_dots_are_untouched(answer):
    assert core.untouched(answer)


@pytest.mark.parametrize("answer", [{"a": 1, "b": ...}, {}, [], 0, "", torch.zeros(2), np.zeros(3)])
def test_what_holds_an_answer_is_judged(answer):
    assert not core.untouched(answer)


# ---- check never raises, and chooses ----


@pytest.mark.parametrize("answer", [blank_value, lambda x: 1 / 0, 3, None, "text", lambda x: x.mean() + 1])
def test_a_check_prints_not_yet_and_raises_nothing(book, answer, capsys):
    assert core.check("77.1", answer) is None
    assert capsys.readouterr().out.startswith("Not yet: ")


def test_a_right_function_is_used_and_a_wrong_one_replaced(book, capsys):
    def mine(x):
        print("loud")
        return x.mean()

    def ours(x):
        return x.sum() / len(x)

    assert core.yours_or_ours("77.1", mine, ours) is mine
    assert capsys.readouterr().out == "Your answer is right: the lesson goes on with it.\n"
    for wrong in (blank_value, lambda x: 7, 3, None, ...):
        assert core.yours_or_ours("77.1", wrong, ours) is ours
        assert capsys.readouterr().out.startswith("The lesson goes on with our answer.")


def test_several_answers_are_chosen_together(book):
    assert core.yours_or_ours("77.2", (3, "b"), (4, "b")) == (3, "b")
    assert core.yours_or_ours("77.2", (3, "a"), (4, "b")) == (4, "b")
    assert core.yours_or_ours("77.2", (..., "b"), (4, "b")) == (4, "b")


def test_our_own_answer_is_held_to_the_check(book):
    with pytest.raises(RuntimeError, match=r"our own answer to 77\.1 is refused: the mean is too large"):
        core.yours_or_ours("77.1", ..., lambda x: x.mean() + 1)


def test_a_choice_of_no_exercise_is_an_error(book):
    with pytest.raises(ValueError, match="There is no exercise"):
        core.yours_or_ours("77.9", 1, 1)


# ---- exercises without a judge of their own ----


@pytest.fixture
def asked(book):
    core.ask_letter("77.3", "b", {"a": "that is the ratio."}, because="A share.", hints=["Share of what?"])
    core.ask_number(
        "77.4", lambda: 0.25, 0.01, because="A quarter.", hints=["Of what?"], slips={0.8: "it is p."}
    )
    core.ask_function(
        "77.5", lambda x, w: (x * w).sum() / w.sum(), lambda: (torch.rand(4), torch.rand(4) + 1),
        because="A weighted mean.", hints=["Weigh."], slips={"you divided by how many.": lambda x, w: (x * w).mean()},
    )  # fmt: skip
    return book


@pytest.mark.parametrize(
    ("key", "answer", "said"),
    [
        ("77.3", "b", "Right. A share."),
        ("77.3", "a", "Not yet: not 'a': that is the ratio."),
        ("77.4", 0.251, "Right. A quarter."),
        ("77.4", 0.795, "Not yet: not 0.795: it is p."),
        ("77.4", 0.5, "Not yet: the answer is too large: got 0.5."),
        ("77.5", lambda x, w: (x @ w) / w.sum(), "Right. A weighted mean."),
        ("77.5", lambda x, w: (x @ w) / 4, "Not yet: you divided by how many."),
        ("77.5", lambda x, w: x.mean() + 9, "Not yet: the values are off on the tensor ["),
        ("77.5", lambda x, w: x.zero_().sum() + w.sum(), "Not yet: the values are off on the tensor [0."),
    ],
)
def test_declared_exercises_judge(asked, key, answer, said, capsys):
    core.check(key, answer)
    assert " ".join(capsys.readouterr().out.split()).startswith(said)


def test_results_that_are_tuples_are_compared_part_by_part():
    core.same_result((1.0, torch.ones(2)), (1.0, torch.ones(2)), "x")
    assert "on x (result 2)" in refused(core.same_result, (1.0, torch.zeros(2)), (1.0, torch.ones(2)), "x")
    assert "2 results were expected on x" in refused(core.same_result, 1.0, (1.0, 2.0), "x")


def test_near_tells_the_slip_that_is_nearest():
    slips = {0.5: "that is half.", 0.52: "that is more than half."}
    assert refused(core.near, 0.519, 0.2, 0.05, slips=slips) == "not 0.519: that is more than half."
    assert "too large" in refused(core.near, 0.9, 0.2, 0.05, slips=slips)
    assert core.near(0.21, 0.2, 0.05, slips={0.21: "never told."}) == 0.21


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
        (lambda x: None, "your function gave None on the array [0.25, 0.5]"),
        (print, "your function gave None"),
        (3, "a function was expected, got int 3"),
        (torch.ones(2), "a function was expected, got Tensor the tensor [1.0, 1.0]"),
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
        ("a", "not 'a': that is the ratio."),
        ("A", "not 'a': that is the ratio."),
        ("d", "answer with one of a, c, got 'd'."),
        ("", "answer with one of a, c"),
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
        (float("nan"), "a finite number was expected for the answer, got nan."),
        (torch.tensor(float("inf")), "got inf"),
    ],
)
def test_what_is_no_number(answer, said):
    assert said in refused(core.as_number, answer)


def test_near_names_the_side_and_not_the_reference():
    assert core.near(torch.tensor(0.51), 0.5, 0.02) == pytest.approx(0.51)
    said = refused(core.near, 0.7, 0.512345, 0.02, "the recall", "Count the sick.")
    assert said == "the recall is too large: got 0.7. Count the sick."
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
        ("text", "a tensor was expected on ones, got str. Look."),
        ([[1, 2], [3]], "a tensor was expected on ones, got list."),
        (torch.ones(2, 1), "the shape should be (2,) on ones, got (2, 1). Look."),
        (1.5, "the shape should be (2,) on ones, got ()."),
        (
            [1, 2.5],
            "the values are off on ones, 1 of 2 numbers: you gave 2.5 at index 1. Look.",
        ),
        ([1, float("nan")], "you gave nan at index 1"),
    ],
)
def test_same_tensor_says_what_is_off(got, said):
    assert said in refused(core.same_tensor, got, torch.tensor([1.0, 2.0]), "ones", "Look.")


def test_same_tensor_of_one_number():
    said = refused(core.same_tensor, 3.0, torch.tensor(4.0), "x = 2", "Square it.")
    assert said == "the values are off on x = 2: you gave 3. Square it."
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
    'checks.require("77.1", lambda x: sum(x) / 0)',
    """
def blank(x):
    ...


checks.check("77.1", blank)
""",
    """
import torch


def index(x):
    return torch.tensor(x)[..., 0] + 5


checks.check("77.1", index)
""",
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
    assert shown.split() == f"Not yet: {said}".split()
    *lines, address = shown.splitlines()
    assert len(lines) > 2 and max(map(len, lines)) <= 92 < len(address)


@pytest.mark.slow
def test_a_notebook_shows_a_refusal_as_one_sentence_and_nothing_else(executed):
    (output,) = executed[1]
    assert output.text.startswith(
        "Not yet: your function still raises NotImplementedError. Start with the sum."
    )
    (output,) = executed[3]
    said = "your function raised ZeroDivisionError on [1.0, 2.0], in its line 1: float division by zero"
    assert output.text == core.in_lines(f"Not yet: {said}") + "\n"
    (output,) = executed[7]
    assert output.output_type == "error" and output.ename == "NotYet" and output.evalue == said
    assert output.traceback == [core.in_lines(f"Not yet: {said}")]


@pytest.mark.slow
def test_a_notebook_shows_nothing_on_stderr(executed):
    (printed,) = executed[2]
    assert printed.name == "stdout" and "x is [1.0, 2.0]" in printed.text and "careful" in printed.text
    assert printed.text.endswith("Not yet: the mean is too large: got 3. Divide by how many there are.\n")
    assert not [output for outputs in executed for output in outputs if output.get("name") == "stderr"]


@pytest.mark.slow
def test_a_notebook_shows_praise_hints_and_unknown_keys_plainly(executed):
    assert executed[4][0].text == "Right. A mean.\n"
    assert executed[5][0].text.startswith("There is no exercise")
    assert executed[6][0].text == "Hint 1 of 2: Add.\n"


@pytest.mark.slow
def test_a_notebook_knows_dots_that_are_left_from_dots_of_an_index(executed):
    """There the source is at hand, as it is not for a function made by exec."""
    assert executed[8][0].text.startswith("Not yet: replace the dots by your code. Stuck?")
    assert executed[9][0].text.startswith("Not yet: the mean is too large")
