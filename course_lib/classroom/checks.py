"""Instant checks of exercises: what is right, what is not, on which input, what to look at; never the answer.

A lesson calls `check("01.2", answer)`. The check runs the student's object against properties and references on fresh
random input and prints one sentence, or raises `NotYet`, which a notebook shows as one sentence without a traceback.
"""

import contextlib
import difflib
import importlib
import inspect
import io
import math
import random
import secrets
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

PRINTED_LINES = 10  # of what the student's code prints while it is checked, often over hundreds of inputs


def in_lines(text: str) -> str:
    """The text in lines that fit a cell: JupyterLab would break longer ones in the middle of a word."""
    return "\n".join(
        textwrap.fill(line, 92, break_long_words=False, break_on_hyphens=False) for line in text.splitlines()
    )


class Said(Exception):
    """An error that a notebook shows as its sentence alone."""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(" ".join(str(sentence).split()))

    def _render_traceback_(self) -> list[str]:
        return [in_lines(str(self))]  # IPython shows this in place of a traceback


class NotYet(Said):
    """An answer that is not right yet, as one sentence that says what to look at."""


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


def check(key: str, *answers) -> None:
    """Judge an answer; prints what is right, or raises NotYet with what to look at."""
    chosen = _find(key)
    stuck = f"Stuck? Run checks.hint({key!r})."
    try:
        inspect.signature(chosen.judge).bind(*answers)
    except TypeError:
        wanted = ", ".join(inspect.signature(chosen.judge).parameters)
        raise NotYet(
            f"Exercise {key} is checked with its answers ({wanted}), got {len(answers)}: take the check as it came."
        ) from None
    if any(answer is None or answer is Ellipsis for answer in answers):
        raise NotYet(f"Exercise {key} waits for your answer: replace None. {stuck}")
    with _overheard(), _fresh_input():
        try:
            sentence = chosen.judge(*answers)
        except NotYet:
            raise
        except NotImplementedError as waiting:
            told = f" {waiting}" if str(waiting) else ""
            raise NotYet(f"Exercise {key} waits for your code.{told} {stuck}") from None
        except Exception as error:  # a notebook of a beginner must not show our lines
            raise NotYet(
                f"The check of {key} cannot work with this answer ({type(error).__name__}: {error}). Compare its type "
                f"and shape with what the task asks for. {stuck}"
            ) from error
    print(in_lines(f"Right. {sentence}"))


def hint(key: str) -> None:
    """Print the next hint of an exercise; called again, the one after."""
    chosen = _find(key)
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


# ---- parts that checks are made of ------------------------------------------------------------------------


def in_words(value) -> str:
    """A value as a sentence can hold it: few numbers in full, many by their shape."""
    if isinstance(value, torch.Tensor | np.ndarray):
        kind = "tensor" if isinstance(value, torch.Tensor) else "array"
        if math.prod(value.shape) > 12:
            return f"a {kind} of shape {tuple(value.shape)}"
        return f"the {kind} {_rounded(value.tolist())}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _rounded(numbers):
    if isinstance(numbers, list):
        return [_rounded(number) for number in numbers]
    return float(f"{numbers:.4g}") if isinstance(numbers, float) else numbers


def run(function: Callable, *inputs, shown: str = ""):
    """What the student's function gives; a mistake inside it becomes a sentence that names the input.

    shown  the input in words, where `in_words` of each would not do
    """
    if not callable(function):
        raise NotYet(
            f"A function was expected, got {type(function).__name__} {in_words(function)}: "
            "keep the `def` line and fill the body."
        )
    where = shown or ", ".join(map(in_words, inputs)) or "no input"
    try:
        result = function(*inputs)
    except NotYet:
        raise
    except Exception as error:  # any mistake of the student's has to become a sentence
        own = _lines_in(function, error)
        if isinstance(error, NotImplementedError) and own and own[-1] is not None:
            raise  # the stub's own, not one of a library underneath
        line = next((f", in its line {number}" for number in reversed(own) if number is not None), "")
        raise NotYet(f"Your function raised {type(error).__name__} on {where}{line}: {error}") from None
    if result is None:
        raise NotYet(f"Your function gave None on {where}: does every way through it end in `return`?")
    return result


def _lines_in(function: Callable, error: Exception) -> list[int | None]:
    """For each call on the way to the error: the line of `function`, counted from its `def`; None in other code."""
    code = getattr(function, "__code__", None)
    frames = [(step.f_code, line) for step, line in traceback.walk_tb(error.__traceback__)]
    return [line - code.co_firstlineno + 1 if here is code else None for here, line in frames]


def choose(answer, right: str, why_not: Mapping[str, str]) -> None:
    """A multiple-choice answer; every wrong option has its own sentence, which names the misconception behind it."""
    letters = ", ".join(sorted([right, *why_not]))
    if not isinstance(answer, str):
        raise NotYet(f"Answer with a letter in quotes, one of {letters}; got {in_words(answer)}.")
    letter = answer.strip(" \t\n.():").lower()
    if letter in why_not:
        raise NotYet(f"Not {letter!r}: {why_not[letter]}")
    if letter != right:
        raise NotYet(f"Answer with one of {letters}, got {in_words(answer)}.")


def as_number(answer, name: str = "the answer") -> float:
    """A finite Python number, or a sentence that says what came instead. Arrays and tensors of one number will do."""
    if isinstance(answer, torch.Tensor):
        answer = answer.detach().cpu().numpy()
    if isinstance(answer, np.ndarray) and answer.size == 1:
        answer = answer.item()
    advice = ""
    if isinstance(answer, str):
        advice = " Write it without quotes."
    elif isinstance(answer, tuple):
        advice = " Numbers are written with a decimal point: a comma makes a tuple."
    elif callable(answer):
        advice = " Call it first: what does it give?"
    try:
        if isinstance(answer, str | bool | np.bool_):
            raise TypeError
        value = float(answer)
    except (TypeError, ValueError, OverflowError):
        raise NotYet(
            f"A number was expected for {name}, got {type(answer).__name__} {in_words(answer)}.{advice}"
        ) from None
    if not math.isfinite(value):
        raise NotYet(f"A finite number was expected for {name}, got {value}.")
    return value


def near(answer, reference: float, tolerance: float, name: str = "the answer", look: str = "") -> float:
    """A number within `tolerance` of the reference; says on which side it lies, never the reference itself."""
    value = as_number(answer, name)
    if abs(value - reference) > tolerance:
        side = "too large" if value > reference else "too small"
        raise NotYet(f"{name[0].upper()}{name[1:]} is {side}: got {value:.4g}. {look}")
    return value


def same_tensor(got, reference: torch.Tensor, where: str, look: str, tolerance: float = 1e-5) -> torch.Tensor:
    """A tensor equal to the reference in shape and value; names the input `where` and what to `look` at.

    Arrays and lists of numbers will do. Returns `got` as a tensor.
    """
    if not isinstance(got, torch.Tensor):
        try:
            got = torch.as_tensor(got)
        except (TypeError, ValueError, RuntimeError):
            raise NotYet(f"A tensor was expected on {where}, got {type(got).__name__}. {look}") from None
    if got.shape != reference.shape:
        raise NotYet(
            f"The shape should be {tuple(reference.shape)} on {where}, got {tuple(got.shape)}. {look}"
        )
    mine, ours = got.detach().cpu().double(), reference.detach().cpu().double()
    wrong = ~torch.isclose(mine, ours, atol=tolerance, rtol=tolerance, equal_nan=True)
    if wrong.any():
        first = tuple(wrong.nonzero()[0].tolist())
        place = f" at index {', '.join(map(str, first))}" if first else ""
        count = f", {int(wrong.sum())} of {wrong.numel()} numbers" if wrong.numel() > 1 else ""
        raise NotYet(
            f"The values are off on {where}{count}: you gave {mine[first].item():.4g}{place}. {look}"
        )
    return got
