"""What a finished run is kept under: everything that could change its result, and nothing else."""

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import platform
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import imblearn
import numpy as np
import pandas as pd
import scipy
import sklearn
import torch
from torch import Tensor, nn

from course_lib.data import Task

FIGURES = (
    "course_lib.classroom."  # what draws and asks changes no result; what a lesson makes its data with may
)
LESSONS = "course_lib.classroom.lessons."
CHUNK = 2**24  # bytes


class Unkeyed(Exception):
    """Something that no key can cover; the text says what."""


def describe(thing) -> str | None:
    """A text that names a thing by its value, or None where nothing does (a lambda, a closure, an open file).

    >>> describe(functools.partial(max, 3))
    'partial(builtins.max, 3)'
    """
    try:
        return named(thing, set())
    except Unkeyed:
        return None


def named(thing, modules: set[str]) -> str:
    """As `describe`; the modules that the thing comes from are added to `modules`. Raises Unkeyed."""
    if thing is None or isinstance(thing, str | bytes | int | float | complex | np.generic | Path):
        return repr(thing)
    if isinstance(thing, functools.partial):
        parts = [named(part, modules) for part in (thing.func, *thing.args)]
        parts += [f"{key}={named(value, modules)}" for key, value in sorted(thing.keywords.items())]
        return f"partial({', '.join(parts)})"
    if isinstance(thing, dict):
        parts = sorted(f"{named(key, modules)}: {named(value, modules)}" for key, value in thing.items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(thing, tuple | list | frozenset | set | range):
        parts = [named(part, modules) for part in thing]
        parts = sorted(parts) if isinstance(thing, frozenset | set) else parts
        return f"{type(thing).__name__}({', '.join(parts)})"
    if isinstance(thing, Tensor | np.ndarray | pd.DataFrame | pd.Series):
        return f"{type(thing).__name__}:{_content(thing)}"
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        parts = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
        return f"{_home(type(thing), modules)}({named(parts, modules)})"
    if isinstance(thing, nn.Module):
        parts = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
        inner = [*thing.named_children(), *thing.state_dict().items()]
        return f"{_home(type(thing), modules)}({named(parts, modules)}, {named(inner, modules)})"
    return _home(thing, modules)


def _home(thing, modules: set[str]) -> str:
    """module.qualname of a function or class that stands there under its name."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    place = sys.modules.get(module or "")
    for part in name.split("."):
        place = getattr(place, part, None)
    # Only what the key covers: a function typed into a notebook may change under the same name.
    if not name or module == "__main__" or place is not thing:
        raise Unkeyed(
            f"{name or repr(thing)} (a lambda, a closure, or something typed into a notebook or a script)"
        )
    modules.add(module)
    return f"{module}.{name}"


def modules_of(task: Task) -> set[str]:
    """The modules that a task's network, loss and posterior come from, layers included. Raises Unkeyed."""
    things = [task.example_loss, *([] if task.posterior is None else [task.posterior])]
    found = {_module_of(thing) for thing in [task.model, *things]}
    with torch.random.fork_rng():
        found |= {type(layer).__module__ for layer in task.model().modules()}
    if "__main__" in found:
        raise Unkeyed("the task's network or loss (typed into a notebook or a script)")
    return found


def _module_of(thing) -> str:
    while isinstance(thing, functools.partial):
        thing = thing.func
    return getattr(thing, "__module__", None) or type(thing).__module__


# ---- sources ----------------------------------------------------------------------------------------------

_read: dict[str, tuple[object, str]] = {}  # module -> how it was imported, and its source then


def sources(modules: Iterable[str]) -> str:
    """A digest of the source of these modules and of all that they import, the user's own included.

    Of what is installed (torch, scikit-learn) the version stands for the source. Modules that draw are left out.
    Raises Unkeyed for a module that was edited after its import: what runs is not what stands in the file.
    """
    todo, seen, parts = sorted(modules), set(), []
    while todo:
        name = todo.pop()
        if name in seen or (name.startswith(FIGURES) and not name.startswith(LESSONS)):
            continue
        seen.add(name)
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if file is None or _is_installed(file):
            top = sys.modules.get(name.partition(".")[0])
            parts.append(f"{name.partition('.')[0]} {getattr(top, '__version__', '')}")
            continue
        text = Path(file).read_bytes()
        found = digest(text)
        spec, before = _read.setdefault(name, (module.__spec__, found))
        if spec is not module.__spec__:  # imported anew
            _read[name] = (module.__spec__, found)
        elif before != found:
            raise Unkeyed(f"{name} (edited after its import: restart the kernel, or reload it)")
        parts.append(f"{name} {found}")
        todo += [found for found in _imports(text, module.__package__ or "") if found in sys.modules]
    return digest(*sorted(set(parts)))


@functools.lru_cache(maxsize=512)
def _imports(text: bytes, package: str) -> list[str]:
    """Modules that a source imports, anywhere in it, by their full names."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return sorted(found)


@functools.cache
def _installed_places() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({Path(sysconfig.get_paths()[name]).resolve() for name in names})


@functools.cache
def _is_installed(file: str) -> bool:
    path = Path(file).resolve()
    return any(path.is_relative_to(place) for place in _installed_places())


# ---- contents ---------------------------------------------------------------------------------------------


def digest(*parts: bytes | str) -> str:
    """One hexadecimal text for all parts in their order."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return whole.hexdigest()


def _content(values) -> str:
    whole = hashlib.sha256()
    if isinstance(values, pd.DataFrame | pd.Series):
        whole.update(
            repr(list(getattr(values, "columns", [values.name if values.ndim == 1 else ""]))).encode()
        )
        values = pd.util.hash_pandas_object(values).to_numpy()
    if isinstance(values, np.ndarray):
        if values.dtype.hasobject:
            raise Unkeyed("an array of Python objects")
        whole.update(f"{values.dtype}{values.shape}".encode())
        values = torch.from_numpy(np.ascontiguousarray(values).reshape(-1).view(np.uint8).copy())
    _add(whole, values)
    return whole.hexdigest()


def _add(whole, tensor: Tensor) -> None:
    """Adds a tensor to a hash, piece by piece: a large one is never copied whole."""
    whole.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    tensor = tensor.detach()
    if tensor.numel() == 0:
        return
    tensor = tensor[None] if tensor.ndim == 0 else tensor
    rows = max(1, CHUNK * len(tensor) // (tensor.numel() * tensor.element_size()))
    for piece in tensor.split(rows):
        whole.update(memoryview(piece.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))


def data_hash(task: Task) -> str:
    """The contents of the three parts, and what a result reads of the task beside them."""
    whole = hashlib.sha256()
    for part in (task.train, task.validation, task.test):
        for tensor in part:
            _add(whole, tensor)
    _add(whole, task.target_prior)
    whole.update(repr((task.name, task.kind, task.num_groups, task.group_names, task.fresh)).encode())
    return whole.hexdigest()


def versions() -> str:
    """What else decides the last digits of a result: the versions of the libraries and the machine."""
    libraries = (torch, np, scipy, sklearn, imblearn, pd)
    return " ".join(
        [platform.python_version(), platform.machine(), *(f"{m.__name__} {m.__version__}" for m in libraries)]
    )


def place(device: torch.device) -> str:
    """The device as a key names it: another GPU rounds otherwise."""
    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)
