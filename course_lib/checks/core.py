"""Instant checks of exercises: what is right, what is not, on which input, what to look at; never the answer.

A lesson calls `check("01.2", answer)`. The check runs the student's object against properties and references on fresh
random input and prints one sentence, or raises `NotYet`, which a notebook shows as one sentence without a traceback.
"""

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


class NotYet(Exception):
    """An answer that is not right yet, as one sentence that says what to look at."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]  # IPython shows this in place of a traceback


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
        if key in EXERCISES and EXERCISES[key].judge.__qualname__ != judge.__qualname__:
            raise ValueError(f"exercise {key} is defined twice")
        if not hints:
            raise ValueError(f"exercise {key} needs at least one hint")
        EXERCISES[key] = Exercise(key, hints, judge)
        return judge

    return register


def _find(key: str) -> Exercise:
    if key not in EXERCISES:
        lesson = [other for other in EXERCISES if other[:2] == str(key)[:2]] or sorted(EXERCISES)
        raise ValueError(f"key must be one of {lesson}, got {key!r}")
    return EXERCISES[key]


def check(key: str, *answers) -> None:
    """Judge an answer; prints what is right, or raises NotYet with what to look at."""
    chosen = _find(key)
    for answer in answers:
        if answer is None:
            raise NotYet(
                f"Exercise {key} waits for your answer: replace None. Stuck? Run checks.hint({key!r})."
            )
    with torch.random.fork_rng():  # fresh input must not disturb the seeds of the lesson
        torch.manual_seed(secrets.randbits(31))
        try:
            sentence = chosen.judge(*answers)
        except NotImplementedError as waiting:
            told = f" {waiting}" if str(waiting) else ""
            raise NotYet(
                f"Exercise {key} waits for your code.{told} Stuck? Run checks.hint({key!r})."
            ) from None
    print(f"Right. {sentence}")


def hint(key: str) -> None:
    """Print the next hint of an exercise; called again, the one after."""
    chosen = _find(key)
    step = min(_hints_given.get(key, 0), len(chosen.hints) - 1)
    _hints_given[key] = step + 1
    print(f"Hint {step + 1} of {len(chosen.hints)}: {chosen.hints[step]}")


# ---- parts that checks are made of ------------------------------------------------------------------------


def run(function: Callable, *inputs, shown: str = ""):
    """What the student's function gives; a mistake inside it becomes a sentence that names the input.

    shown  the input in words, where its repr would be long
    """
    if not callable(function):
        raise NotYet(
            f"A function was expected, got {type(function).__name__}: keep the `def` line and fill the body."
        )
    try:
        result = function(*inputs)
    except (NotImplementedError, NotYet):
        raise
    except Exception as error:  # any mistake of the student's has to become a sentence
        where = shown or ", ".join(map(repr, inputs))
        raise NotYet(f"Your function raised {type(error).__name__} on {where}: {error}") from None
    if result is None:
        raise NotYet("Your function gave None: does it end in `return`?")
    return result


def choose(answer, right: str, why_not: Mapping[str, str]) -> None:
    """A multiple-choice answer; every wrong option has its own sentence, which names the misconception behind it."""
    if not isinstance(answer, str):
        raise NotYet(
            f"Answer with a letter in quotes, one of {', '.join(sorted([right, *why_not]))}; got {answer!r}."
        )
    letter = answer.strip().lower()
    if letter in why_not:
        raise NotYet(f"Not {letter!r}: {why_not[letter]}")
    if letter != right:
        raise NotYet(f"Answer with one of {', '.join(sorted([right, *why_not]))}, got {answer!r}.")


def as_number(answer, name: str = "the answer") -> float:
    """A finite Python number, or a sentence that says what came instead."""
    try:
        value = float(answer)
    except (TypeError, ValueError):
        raise NotYet(
            f"A number was expected for {name}, got {type(answer).__name__} {answer!r:.60}."
        ) from None
    if not math.isfinite(value):
        raise NotYet(f"A finite number was expected for {name}, got {value}.")
    return value


def near(answer, reference: float, tolerance: float, name: str = "the answer", look: str = "") -> float:
    """A number within `tolerance` of the reference; says on which side it lies, never the reference itself."""
    value = as_number(answer, name)
    if abs(value - reference) > tolerance:
        side = "too large" if value > reference else "too small"
        raise NotYet(f"{name[0].upper()}{name[1:]} is {side}: got {value:.4g}. {look}".strip())
    return value


def same_tensor(got, reference: torch.Tensor, where: str, look: str, tolerance: float = 1e-5) -> torch.Tensor:
    """A tensor equal to the reference in shape and value; names the input `where` and what to `look` at."""
    if not isinstance(got, torch.Tensor):
        try:
            got = torch.as_tensor(got)
        except (TypeError, ValueError, RuntimeError):
            raise NotYet(f"A tensor was expected on {where}, got {type(got).__name__}. {look}") from None
    if got.shape != reference.shape:
        raise NotYet(
            f"The shape should be {tuple(reference.shape)} on {where}, got {tuple(got.shape)}. {look}"
        )
    if not torch.allclose(got.double(), reference.double(), atol=tolerance, rtol=tolerance, equal_nan=True):
        raise NotYet(f"The values are off on {where}. {look}")
    return got
