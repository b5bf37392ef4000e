"""Two storeys: the techniques, which stand alone, and the classroom above them. Rules, not a list of files."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "course_lib"
MODULES = sorted(LIBRARY.rglob("*.py"))
LONGEST_MODULE = 300

# The techniques from the ground up: a module imports only from rows above its own, or from the left in its own row.
TECHNIQUES = [
    ["inputs"],
    ["priors", "metrics", "models"],
    ["data"],
    ["resampling", "augmentation"],
    ["sampling", "learn2mix"],
    ["losses"],
    ["decisions"],
    ["training"],
    ["recipes"],
    ["experiments"],
    ["distributed"],
]
# Inside a package: each from those to its left.
INSIDE = {
    "data": ["task", "small", "synthetic", "downloads"],
    "decisions": ["core", "tuning"],
    "training": ["batches", "loop"],
    "recipes": ["parameters", "core", "running", "parts", "feedback", "table"],
    "experiments": ["reading", "keys", "trials", "jobs", "comparing"],
    "classroom": [
        "style",
        "figures",
        "planes",
        "plots",
        "widgets",
        "live",
        "judges",
        "checks",
        "recorded",
        "lessons",
        "tools",
    ],
}
ROW = {name: row for row, names in enumerate(TECHNIQUES) for name in names}
PLACE = {name: place for names in TECHNIQUES for place, name in enumerate(names)}
NOT_FOR_TECHNIQUES = ("matplotlib", "ipywidgets", "IPython", "jupyterlab", "nbformat")


def dotted(path: Path) -> str:
    """course_lib/data/task.py -> data.task; a package's __init__ has the name of the package."""
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


NAMES = {dotted(path) for path in MODULES}


def imported(source: str) -> set[str]:
    """Modules of course_lib, dotted from below it, that a module imports, anywhere and for whatever reason."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {
                a.name.removeprefix("course_lib.") for a in node.names if a.name.startswith("course_lib.")
            }
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports between our modules are written out in full"
            package = node.module or ""
            if package != "course_lib" and not package.startswith("course_lib."):
                continue
            below = package.removeprefix("course_lib").removeprefix(".")
            for alias in node.names:
                whole = f"{below}.{alias.name}".lstrip(".")
                found.add(whole if whole in NAMES else below)
    return found - {"", "__version__"}


def is_allowed(own: str, other: str) -> bool:
    """May the module `own` import the module `other`? Both dotted from below course_lib."""
    mine, its = own.split("."), other.split(".")
    if mine[0] == its[0] and mine[0] in INSIDE:
        if len(mine) == 1:
            return mine[0] != "classroom"  # a package of techniques re-exports its own
        if len(its) == 1:
            return False  # from inside, a package is not asked for itself
        order = INSIDE[mine[0]]
        if mine[1] == its[1]:
            return mine[:-1] == its[:-1]  # one lesson's folder, or the tools among themselves
        return order.index(its[1]) < order.index(mine[1])
    if mine[0] == "classroom":
        return its[0] in ROW
    if its[0] == "classroom" or not {mine[0], its[0]} <= set(ROW):
        return False
    return (ROW[its[0]], PLACE[its[0]]) < (ROW[mine[0]], PLACE[mine[0]])


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


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_what_lies_below_it(path):
    own, names = dotted(path), imported(path.read_text())
    if not own:
        assert not names, "`import course_lib` stays cheap: nothing is imported there"
        return
    assert own.split(".")[0] in {*ROW, "classroom"}, f"{own} has no place yet: give it one in TECHNIQUES"
    upwards = sorted(name for name in names if not is_allowed(own, name))
    assert not upwards, f"{own} may not import {upwards}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_no_import_is_for_annotations_only(path):
    assert "TYPE_CHECKING" not in path.read_text(), "two of our modules that need each other are one module"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_can_be_read_in_one_sitting(path):
    assert lines_of_code(path.read_text()) <= LONGEST_MODULE


def test_a_technique_needs_no_figures_and_no_widgets():
    """Every technique is imported in a fresh process in which matplotlib, ipywidgets and IPython cannot be."""
    techniques = [f"course_lib.{name}" for name in sorted(NAMES) if name and not name.startswith("classroom")]
    script = (
        "import importlib, sys\n"
        f"for name in {NOT_FOR_TECHNIQUES!r}: sys.modules[name] = None\n"
        f"for name in {techniques!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=LIBRARY.parent)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "import course_lib.losses",
        "import course_lib.losses as l",
        "from course_lib import losses",
        "from course_lib.losses import focal_loss",
        "def f():\n    from course_lib.losses import focal_loss",
        "if TYPE_CHECKING:\n    from course_lib.losses import focal_loss",
    ],
)
def test_every_way_to_import_is_seen(line):
    assert imported(line) == {"losses"}


@pytest.mark.parametrize(
    ("own", "other", "allowed"),
    [
        ("losses", "priors", True),
        ("priors", "losses", False),
        ("metrics", "priors", True),
        ("priors", "metrics", False),
        ("recipes.core", "recipes.parts", False),
        ("recipes.parts", "recipes.core", True),
        ("recipes", "recipes.table", True),
        ("recipes.table", "recipes", False),
        ("recipes.table", "experiments", False),
        ("losses", "classroom.plots", False),
        ("classroom.plots", "experiments", True),
        ("classroom.plots", "classroom.widgets", False),
        ("classroom.lessons.lesson_00.checks", "classroom.lessons.lesson_00.explorer", True),
        ("classroom.lessons.lesson_00.checks", "classroom.lessons.lesson_01.explorer", False),
        ("classroom.tools.pages", "classroom.tools.notebooks", True),
    ],
)
def test_the_rule_tells_up_from_down(own, other, allowed):
    assert is_allowed(own, other) is allowed


def test_lines_of_code_leave_out_what_is_no_code():
    assert (
        lines_of_code(
            '"""Module.\n\nText."""\n\n# why\nx = """a\nb"""\n\n\ndef f():\n    """Doc."""\n    return 1\n'
        )
        == 4
    )
