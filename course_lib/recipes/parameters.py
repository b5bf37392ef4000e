"""What a part of a recipe says of itself, which parameters it has, and how one is found by its name alone."""

import inspect
from collections.abc import Callable
from functools import partial

# How many leading arguments the library fills when it calls a part; the others are the part's own parameters.
FILLED = {
    "resample": 2, "augment": 1, "batches": 1, "weigh": 1, "loss": 1, "feedback": 1, "decide": 3, "adapt": 2,
}  # fmt: skip


def says(text: str) -> Callable[[Callable], Callable]:
    """Decorator: what `table()` prints of a part.

    >>> @says("twice")
    ... def doubled(split, generator): ...
    >>> doubled.says
    'twice'
    """

    def mark(part: Callable) -> Callable:
        part.says = text
        return part

    return mark


def said(part: Callable) -> str:
    """What a part says of itself: its `says`, else the first line of its docstring, else its name."""
    while isinstance(part, partial):
        part = part.func
    doc = (getattr(part, "__doc__", None) or "").strip().partition("\n")[0]
    return getattr(part, "says", None) or doc or getattr(part, "__name__", type(part).__name__)


def is_plain_loss(part: Callable) -> bool:
    """Is this (outputs, y, reduction="mean") -> loss, rather than a factory Run -> loss?

    Raises TypeError for a callable that is neither.
    """
    try:
        arguments = inspect.signature(part).parameters
    except (TypeError, ValueError):  # some built-in functions tell nothing
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [a for a in arguments.values() if a.kind in positional and a.default is a.empty]
    if "reduction" in arguments:
        return True
    if len(needed) == 1:
        return False
    raise TypeError(
        'loss must be a function (outputs, y, reduction="mean") or a factory that takes the Run and returns one, '
        f"got {said(part)!r} with arguments ({', '.join(arguments)})"
    )


def _own(part: Callable, filled: int) -> dict[str, inspect.Parameter]:
    """The parameters of a part, by name."""
    try:
        arguments = list(inspect.signature(part).parameters.values())[filled:]
    except (TypeError, ValueError):
        return {}
    catch_all = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {a.name: a for a in arguments if a.kind not in catch_all and a.name != "reduction"}


def _filled(field: str, part: Callable) -> int:
    return 2 if field == "loss" and is_plain_loss(part) else FILLED[field]


Path = tuple[str, ...]


def paths(part: Callable, field: str) -> dict[str, list[Path]]:
    """Where each parameter of a part is found: {"gamma": [("gamma",)]}; in a part of the part, ("weigh", "power")."""
    found: dict[str, list[Path]] = {}

    def look(part: Callable, filled: int, above: Path) -> None:
        for name, argument in _own(part, filled).items():
            found.setdefault(name, []).append((*above, name))
            inner = argument.default
            if inspect.isfunction(inner) or isinstance(inner, partial):
                look(inner, FILLED.get(name, 1), (*above, name))

    look(part, _filled(field, part), ())
    return found


def changed(part: Callable, path: Path, value: object) -> Callable:
    """The part with one parameter changed, however deep."""
    name, *deeper = path
    if deeper:
        value = changed(inspect.signature(part).parameters[name].default, tuple(deeper), value)
    return partial(part, **{name: value})
