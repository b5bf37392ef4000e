"""The floors of course_lib: a module imports only from floors below, and can be read in one sitting."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

# From the ground up. Modules in one row are siblings and do not import each other.
FLOORS = [
    ["priors"],
    ["models"],
    ["metrics"],
    ["synthetic"],
    ["data"],
    ["datasets"],
    [
        "resampling",
        "augmentation",
        "sampling",
        "learn2mix",
        "losses",
        "decisions",
        "training",
        "distributed",
    ],
    ["runs"],
    ["recipes"],
    ["experiments"],
    ["style"],
    ["plots"],
    ["widgets"],
    ["live"],
    ["explorers"],
    ["checks"],
    ["commands"],
    ["pages"],
    ["assignments"],
]
FLOOR_OF = {module: number for number, modules in enumerate(FLOORS) for module in modules}
LONGEST_MODULE = 300

LIBRARY = Path(__file__).resolve().parent.parent / "course_lib"
MODULES = sorted(LIBRARY.rglob("*.py"))


def name_of(path: Path) -> str:
    """The floor a file belongs to: its own name, or that of its package (explorers, checks)."""
    return path.stem if path.parent == LIBRARY else path.parent.name


def imported(source: str) -> set[str]:
    """Modules of course_lib that a module of it imports, anywhere but for annotations only."""
    found, tree = set(), ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("course_lib.")
            }
        elif isinstance(node, ast.ImportFrom):
            path = (node.module or "").split(".")
            if node.level == 0 and path[0] == "course_lib":
                path = path[1:]
            elif node.level == 0:
                continue
            found |= {path[0]} if path and path[0] else {alias.name for alias in node.names}
    return found - {"__version__"}


def lines_of_code(source: str) -> int:
    """Lines without blank ones, comments and docstrings."""
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
        ):
            code |= set(range(token.start[0], token.end[0] + 1)) if token.string else set()
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            code -= set(range(node.lineno, node.end_lineno + 1))
    return len(code)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_module_imports_only_from_floors_below(path):
    names = imported(path.read_text())
    own = name_of(path)
    if own == "__init__":
        assert not names, "`import course_lib` stays cheap: nothing is imported there"
        return
    assert own in FLOOR_OF, f"{path.name} stands on no floor yet: give it one in FLOORS"
    names -= {own} if path.parent != LIBRARY else set()  # a package may import from itself
    too_high = {name for name in names if FLOOR_OF.get(name, len(FLOORS)) >= FLOOR_OF[own]}
    assert not too_high, f"{own} may not import {sorted(too_high)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_module_can_be_read_in_one_sitting(path):
    assert lines_of_code(path.read_text()) <= LONGEST_MODULE


@pytest.mark.parametrize(
    "line",
    [
        "import course_lib.losses",
        "import course_lib.losses as l",
        "from course_lib import losses",
        "from course_lib.losses import focal_loss",
        "from .losses import focal_loss",
        "from . import losses",
        "def f():\n    from course_lib.losses import focal_loss",
    ],
)
def test_every_way_to_import_is_seen(line):
    assert imported(line) == {"losses"}


def test_an_import_for_annotations_is_none():
    assert imported("if TYPE_CHECKING:\n    from course_lib.losses import focal_loss") == set()


def test_lines_of_code_leave_out_what_is_no_code():
    assert (
        lines_of_code(
            '"""Module.\n\nText."""\n\n# why\nx = """a\nb"""\n\n\ndef f():\n    """Doc."""\n    return 1\n'
        )
        == 4
    )
