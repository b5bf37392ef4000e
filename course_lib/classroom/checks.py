"""Instant checks of exercises: what is right, what is not, on which input, what to look at; never the answer.

A lesson calls `check("01.2", answer)`. The check runs the student's object against properties and references on fresh
random input and prints one sentence: "Right. ..." or "Not yet: ...". It never raises; `require` does. A lesson's own
exercises are in lessons/lesson_NN/checks.py, made of the parts in `judges`, whose names are handed on here.
"""

import contextlib
import difflib
import importlib
import inspect
import io
import random
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from course_lib.classroom.judges import (  # noqa: F401 (handed on)
    DOTS,
    NotYet,
    Said,
    agree,
    as_number,
    blanks_left,
    choose,
    in_lines,
    in_words,
    near,
    run,
    same_result,
    same_tensor,
    untouched,
)

PRINTED_LINES = 10  # of what the student's code prints while it is checked, often over hundreds of inputs


class NoSuchExercise(Said, ValueError):
    """A key that names no exercise."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: its key ("01.2"), hints in steps, and the function that judges an answer."""

    key: str
    hints: tuple[str, ...]
    judge: Callable[..., str]


EXERCISES: dict[str, Exercise] = {}
_hints_given: dict[str, int] = {}


# ---- what exercises there are -----------------------------------------------------------------------------


def exercise(key: str, *hints: str) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Register `judge(*answers) -> sentence` under `key`; it raises NotYet for an answer that is not right."""

    def register(judge: Callable[..., str]) -> Callable[..., str]:
        if key in EXERCISES and EXERCISES[key].judge.__module__ != judge.__module__:
            raise ValueError(f"exercise {key} is defined twice")
        if not hints:
            raise ValueError(f"exercise {key} needs at least one hint")
        EXERCISES[key] = Exercise(key, hints, judge)
        return judge

    return register


def _register(key: str, hints: Sequence[str], judge: Callable[..., str]) -> None:
    judge.__module__ = sys._getframe(2).f_globals["__name__"]  # the lesson's, not this one
    exercise(key, *hints)(judge)


def ask_letter(
    key: str, right: str, why_not: Mapping[str, str], *, because: str, hints: Sequence[str]
) -> None:
    """Register a multiple choice.

    why_not  each wrong letter -> the misconception behind it
    because  what is said after "Right."
    """

    def judge(letter) -> str:
        choose(letter, right, why_not)
        return because

    _register(key, hints, judge)


def ask_number(
    key: str, value: float | Callable[[], float], tolerance: float, *, because: str, hints: Sequence[str],
    name: str = "the answer", look: str = "", slips: Mapping[float, str] | None = None,
) -> None:  # fmt: skip
    """Register a question for a number; value may be a function, called when an answer is judged.

    name, look, slips  as in `near`
    """

    def judge(answer) -> str:
        near(answer, value() if callable(value) else value, tolerance, name, look, slips=slips)
        return because

    _register(key, hints, judge)


def ask_function(
    key: str, reference: Callable, make_inputs: Callable[[], tuple], *, because: str, hints: Sequence[str],
    slips: Mapping[str, Callable] | None = None, look: str = "", tolerance: float = 1e-5, times: int = 3,
    also: Callable[[Callable], str] | None = None,
) -> None:  # fmt: skip
    """Register a function to write, judged by what it gives on fresh random input.

    reference    ours, called with the same arguments; gives a number, a tensor, or a tuple of these
    make_inputs  () -> arguments; torch, numpy and random are freshly seeded around it
    slips        what was confused, as a sentence -> a function that makes this mistake
    look         what to look at where no slip explains the difference
    also         a right function -> a sentence more about it, or ""
    """

    def judge(function) -> str:
        for _ in range(times):
            inputs = make_inputs()
            got = run(function, *map(_own_copy, inputs))
            wanted = reference(*map(_own_copy, inputs))
            if not agree(got, wanted, tolerance):
                for why, wrong in (slips or {}).items():
                    if agree(got, wrong(*map(_own_copy, inputs)), tolerance):
                        raise NotYet(why)
                same_result(got, wanted, ", ".join(map(in_words, inputs)), look, tolerance)
        return f"{because} {also(function)}" if also else because

    _register(key, hints, judge)


def _own_copy(value):
    """So that a function which changes its arguments does not change ours."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return value.copy() if isinstance(value, np.ndarray) else value


def load_all() -> dict[str, Exercise]:
    """The exercises of every lesson, registered: each lesson keeps its own in lessons/lesson_NN/checks.py."""
    folder = Path(__file__).parent / "lessons"
    for file in sorted(folder.glob("lesson_*/checks.py")):
        importlib.import_module(f"course_lib.classroom.lessons.{file.parent.name}.checks")
    return EXERCISES


def _find(key: str) -> Exercise:
    load_all()
    if isinstance(key, str) and key in EXERCISES:
        return EXERCISES[key]
    asked = str(key)
    if asked[:1].isdigit() and asked[1:2] == ".":
        asked = f"0{asked}"  # "1.2" for "01.2"
    keys = list(EXERCISES)
    close = [asked] if asked in EXERCISES else difflib.get_close_matches(asked, keys, n=1, cutoff=0.8)
    there = [other for other in keys if other[:2] == asked[:2]] or keys
    guess = f' Did you mean "{close[0]}"?' if close else f" There are {', '.join(there)}."
    raise NoSuchExercise(f"There is no exercise {key!r}.{guess}")


# ---- what a lesson calls ----------------------------------------------------------------------------------


def check(key: str, *answers) -> None:
    """Judge an answer and print one sentence: "Right. ..." or "Not yet: ...". Never raises."""
    try:
        require(key, *answers)
    except Said as said:
        print(in_lines(f"{said.opening}{said}"))


def require(key: str, *answers) -> None:
    """As `check`, but an answer that is not right raises NotYet: for tests, and for marks."""
    chosen = _find(key)
    with _overheard():
        sentence = _judge(chosen, answers)
    print(in_lines(f"Right. {sentence}"))


def yours_or_ours(key: str, yours, ours):
    """What the lesson goes on with: the student's answer when it is right, else ours; one printed sentence says which.

    For an exercise with several answers both are tuples.
    """
    chosen = _find(key)
    several = len(inspect.signature(chosen.judge).parameters) > 1

    def refusal(answer) -> NotYet | None:
        noise = io.StringIO()  # the check above has shown what the student's code prints
        try:
            with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
                _judge(chosen, answer if several and isinstance(answer, tuple) else (answer,))
        except NotYet as said:
            return said
        return None

    if refusal(yours) is None:
        print("Your answer is right: the lesson goes on with it.")
        return yours
    if (wrong := refusal(ours)) is not None:
        raise RuntimeError(f"our own answer to {key} is refused: {wrong}")
    print("The lesson goes on with our answer. Yours is used as soon as it is right.")
    return ours


def _judge(chosen: Exercise, answers: Sequence) -> str:
    """The sentence for a right answer; NotYet, whatever goes wrong with one that is not."""
    stuck = f'Stuck? Run checks.hint("{chosen.key}").'
    parameters = inspect.signature(chosen.judge)
    try:
        parameters.bind(*answers)
    except TypeError:
        wanted = ", ".join(parameters.parameters)
        raise NotYet(
            f"exercise {chosen.key} is checked with its answers ({wanted}), got {len(answers)}: take the check as it "
            "came."
        ) from None
    if any(map(untouched, answers)):
        raise NotYet(f"{DOTS} {stuck}")
    try:
        with _fresh_input():
            return chosen.judge(*answers)
    except Exception as error:  # a notebook of a beginner must not show our lines
        if any(map(blanks_left, answers)) or str(error) == DOTS or "'ellipsis'" in str(error):
            raise NotYet(f"{DOTS} {stuck}") from None
        if isinstance(error, NotYet):
            raise
        if isinstance(error, NotImplementedError):
            raise NotYet(f"your function still raises NotImplementedError. {error} {stuck}") from None
        raise NotYet(
            f"the check of {chosen.key} cannot work with this answer ({type(error).__name__}: {error}). Compare its "
            f"type and shape with what the task asks for. {stuck}"
        ) from error


def hint(key: str) -> None:
    """Print the next hint of an exercise; called again, the one after."""
    try:
        chosen = _find(key)
    except NoSuchExercise as said:
        print(in_lines(str(said)))
        return
    step = min(_hints_given.get(key, 0), len(chosen.hints) - 1)
    _hints_given[key] = step + 1
    more = "" if step + 1 < len(chosen.hints) else " (That is the last one; solutions/ has a worked answer.)"
    print(in_lines(f"Hint {step + 1} of {len(chosen.hints)}: {chosen.hints[step]}{more}"))


@contextlib.contextmanager
def _fresh_input() -> Iterator[None]:
    """Fresh random numbers of torch, numpy and Python inside; outside, the lesson's seeds are as they were."""
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        seed = secrets.randbits(31)
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0]), np.random.set_state(before[1])


@contextlib.contextmanager
def _overheard() -> Iterator[None]:
    """What is printed inside, warnings too, comes afterwards, on stdout, and not more than a few lines of it.

    A check may call the student's function a thousand times; and an autograder takes stderr for a failure.
    """
    heard = io.StringIO()
    try:
        with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            yield
    finally:
        lines = heard.getvalue().splitlines()
        rest = len(lines) - PRINTED_LINES
        if lines:
            print("Printed during the check:", *lines[:PRINTED_LINES], sep="\n  ")
        if rest > 0:
            print(f"  ... and {rest:,} more {'lines' if rest > 1 else 'line'}")
