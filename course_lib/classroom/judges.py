"""What checks of exercises are made of: a student's answer in, a sentence out, whatever the answer is.

`NotYet` carries the sentence. It is shown after "Not yet: ", so it begins in lower case.
"""

import ast
import inspect
import math
import textwrap
import traceback
from collections.abc import Callable, Mapping

import numpy as np
import torch

DOTS = "replace the dots by your code."


def in_lines(text: str) -> str:
    """The text in lines that fit a cell: JupyterLab would break longer ones in the middle of a word."""
    return "\n".join(
        textwrap.fill(line, 92, break_long_words=False, break_on_hyphens=False) for line in text.splitlines()
    )


class Said(Exception):
    """An error that a notebook shows as its sentence alone."""

    opening = ""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(" ".join(str(sentence).split()))

    def _render_traceback_(self) -> list[str]:
        return [in_lines(f"{self.opening}{self}")]  # IPython shows this in place of a traceback


class NotYet(Said):
    """An answer that is not right yet, as one sentence that says what to look at."""

    opening = "Not yet: "


# ---- answers not given yet --------------------------------------------------------------------------------


def untouched(answer) -> bool:
    """Whether an answer is still `...` or None, or a tuple or list that holds dots, or a dict of nothing else."""
    if isinstance(answer, dict):
        return bool(answer) and all(value is None or value is Ellipsis for value in answer.values())
    if isinstance(answer, tuple | list):
        return any(part is Ellipsis for part in answer)
    return answer is None or answer is Ellipsis


def blanks_left(answer) -> bool:
    """Whether dots stand for code in a function (or in a method of a class); those of an index, x[..., 0], do not."""
    if isinstance(answer, type):
        return any(blanks_left(part) for part in vars(answer).values() if inspect.isfunction(part))
    if not hasattr(answer, "__code__"):
        return False
    if answer.__name__ == "<lambda>":  # its source is the whole line, dots of others included
        return any(constant is Ellipsis for constant in answer.__code__.co_consts)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(answer)))
    except (OSError, TypeError, SyntaxError):  # no source: a function made by exec
        return any(constant is Ellipsis for constant in answer.__code__.co_consts)
    index = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        for part in ast.walk(node.slice)
    }
    dots = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value is Ellipsis)
    return any(id(node) not in index for node in dots)


# ---- parts of a judge -------------------------------------------------------------------------------------


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
            f"a function was expected, got {type(function).__name__} {in_words(function)}: "
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
        raise NotYet(f"your function raised {type(error).__name__} on {where}{line}: {error}") from None
    if result is Ellipsis:
        raise NotYet(DOTS)
    if result is None:
        raise NotYet(f"your function gave None on {where}: does every way through it end in `return`?")
    return result


def _lines_in(function: Callable, error: Exception) -> list[int | None]:
    """For each call on the way to the error: the line of `function`, counted from its `def`; None in other code."""
    code = getattr(function, "__code__", None)
    frames = [(step.f_code, line) for step, line in traceback.walk_tb(error.__traceback__)]
    return [line - code.co_firstlineno + 1 if here is code else None for here, line in frames]


def says_nothing_at_one(function: Callable) -> str:
    """What to say of a right function (p, factor) -> p that changes odds, where it has no number for p = 1; else ""."""
    try:
        gives = torch.as_tensor(function(torch.ones(2, dtype=torch.float64), 2.0))
    except Exception:  # it is right on ordinary p, and may be written for these alone
        return ""
    if torch.isfinite(gives).all():
        return ""
    return (
        "But for p = 1 it gives nan, because 1 - p is 0 there. Keep the odds as two numbers, ill : 1 - p, and divide "
        "ill by the sum of both."
    )


def choose(answer, right: str, why_not: Mapping[str, str]) -> None:
    """A multiple-choice answer; every wrong option has its own sentence, which names the misconception behind it."""
    letters = ", ".join(sorted([right, *why_not]))
    if not isinstance(answer, str):
        raise NotYet(f"answer with a letter in quotes, one of {letters}; got {in_words(answer)}.")
    letter = answer.strip(" \t\n.():").lower()
    if letter in why_not:
        raise NotYet(f"not {letter!r}: {why_not[letter]}")
    if letter != right:
        raise NotYet(f"answer with one of {letters}, got {in_words(answer)}.")


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
            f"a number was expected for {name}, got {type(answer).__name__} {in_words(answer)}.{advice}"
        ) from None
    if not math.isfinite(value):
        raise NotYet(f"a finite number was expected for {name}, got {value}.")
    return value


def near(
    answer,
    reference: float,
    tolerance: float,
    name: str = "the answer",
    look: str = "",
    *,
    slips: Mapping[float, str] | None = None,
) -> float:
    """A number within `tolerance` of the reference; says on which side it lies, never the reference itself.

    slips  wrong numbers that somebody reaches by a known confusion -> the sentence that names it; the nearest one
           within `tolerance` is told
    """
    value = as_number(answer, name)
    if abs(value - reference) <= tolerance:
        return value
    slip = min(slips or {}, key=lambda wrong: abs(value - wrong), default=None)
    if slip is not None and abs(value - slip) <= tolerance:
        raise NotYet(f"not {value:.4g}: {slips[slip]}")
    side = "too large" if value > reference else "too small"
    raise NotYet(f"{name} is {side}: got {value:.4g}. {look}")


def same_tensor(got, reference: torch.Tensor, where: str, look: str, tolerance: float = 1e-5) -> torch.Tensor:
    """A tensor equal to the reference in shape and value; names the input `where` and what to `look` at.

    Arrays and lists of numbers will do. Returns `got` as a tensor.
    """
    if not isinstance(got, torch.Tensor):
        try:
            got = torch.as_tensor(got)
        except (TypeError, ValueError, RuntimeError):
            raise NotYet(f"a tensor was expected on {where}, got {type(got).__name__}. {look}") from None
    if got.shape != reference.shape:
        raise NotYet(
            f"the shape should be {tuple(reference.shape)} on {where}, got {tuple(got.shape)}. {look}"
        )
    mine, ours = got.detach().cpu().double(), reference.detach().cpu().double()
    wrong = ~torch.isclose(mine, ours, atol=tolerance, rtol=tolerance, equal_nan=True)
    if wrong.any():
        first = tuple(wrong.nonzero()[0].tolist())
        place = f" at index {', '.join(map(str, first))}" if first else ""
        count = f", {int(wrong.sum())} of {wrong.numel()} numbers" if wrong.numel() > 1 else ""
        raise NotYet(
            f"the values are off on {where}{count}: you gave {mine[first].item():.4g}{place}. {look}"
        )
    return got


def agree(got, reference, tolerance: float = 1e-5) -> bool:
    """Whether a result equals a reference: numbers, tensors, or tuples of these."""
    if isinstance(reference, tuple):
        return (
            isinstance(got, tuple | list)
            and len(got) == len(reference)
            and all(agree(mine, ours, tolerance) for mine, ours in zip(got, reference))
        )
    try:
        same_tensor(got, torch.as_tensor(reference), "", "", tolerance)
    except NotYet:
        return False
    return True


def same_result(got, reference, where: str, look: str = "", tolerance: float = 1e-5) -> None:
    """As `same_tensor`, for what a function may give: a number, a tensor, or a tuple of these."""
    if not isinstance(reference, tuple):
        same_tensor(got, torch.as_tensor(reference), where, look, tolerance)
        return
    if not isinstance(got, tuple | list) or len(got) != len(reference):
        raise NotYet(f"{len(reference)} results were expected on {where}, got {in_words(got)}. {look}")
    for number, (mine, ours) in enumerate(zip(got, reference), 1):
        same_result(mine, ours, f"{where} (result {number})", look, tolerance)
