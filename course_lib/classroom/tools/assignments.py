"""Exercises of a lesson as an nbgrader assignment, for a class: `make assignment LESSONS=01`, or

    python -m course_lib.classroom.tools.assignments [prefix of a lesson ...]

It writes the source version, from which `nbgrader generate_assignment` makes what students get: each task, the stub of
the lesson, and its check as an automatic test worth one point. The worked answer stands below the stub, between marks
that nbgrader takes out.
"""

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.classroom.tools.files import ROOT, shown, write_whole
from course_lib.classroom.tools.pages import outside_code, relinked

NOTEBOOKS, COURSE = ROOT / "notebooks", ROOT / "build" / "assignments"

INTRODUCTION = """# {title}: assignment

Fill in the cells below the tasks, and keep the cells that begin with `checks.require`: they say at once whether an
answer is right, and they are what is graded. Stuck? Run `checks.hint("{key}")` in a new cell."""

CONFIG = """# Written by `make assignment`, once: change what you like. See nbgrader's documentation.
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "imbalance"
c.ClearSolutions.code_stub = {"python": ""}  # the stub is in the cell already
c.Execute.timeout = 120  # seconds for a cell
c.ExportApp.exporter_class = "nbgrader.plugins.CsvExportPlugin"
"""


class Exercise(NamedTuple):
    """An exercise as a notebook holds it: blanks and check in one cell, or in two that follow each other."""

    key: str
    stub: str  # what the student fills in, without the check
    check: str  # the line that calls it
    cell: NotebookNode  # where the stub stands
    check_cell: NotebookNode


def assignment(lesson, solution):
    """The source version: set-up, then task, stub with its worked answer, and check of every exercise.

    Assigned is what has a worked answer in the solutions: what a lesson lets one write on the way, with our version
    folded below it, stands on the lesson's own names.
    """
    title = lesson.cells[0].source.split("\n")[0].lstrip("# ")
    worked = {exercise.key: exercise.stub for exercise in exercises(solution)}
    assigned = [exercise for exercise in exercises(lesson) if exercise.key in worked]
    cells = [new_markdown_cell(INTRODUCTION.format(title=title, key=assigned[0].key))]
    cells += [new_code_cell(cell.source) for cell in set_up(solution)]
    for exercise in assigned:
        answer = f"{exercise.stub}\n### BEGIN SOLUTION\n{worked[exercise.key]}\n### END SOLUTION"
        graded = {"tags": ["check", "raises-exception"]}  # so that Run All goes on to the next task
        cells += [
            *(
                new_markdown_cell(outside_code(task.source, without_links))
                for task in tasks(lesson, exercise.cell)
            ),
            new_code_cell(
                answer,
                metadata={"tags": ["exercise"], "nbgrader": role(f"answer-{exercise.key}", solution=True)},
            ),
            new_code_cell(
                exercise.check.replace("checks.check(", "checks.require("),
                metadata={
                    **graded,
                    "nbgrader": role(f"check-{exercise.key}", grade=True, locked=True, points=1),
                },
            ),
        ]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return new_notebook(cells=cells, metadata=lesson.metadata)


def role(name: str, **what) -> dict:
    """nbgrader's metadata of a cell."""
    plain = {"grade": False, "locked": False, "solution": False, "task": False, "schema_version": 3}
    return {**plain, "grade_id": re.sub(r"\W", "-", name), **what}


CHECK = re.compile(r'^checks\.check\("(\d\d\.\w+)"(?:, [a-z_]\w*)+\)$', re.M)


def exercises(notebook) -> list[Exercise]:
    """The exercises of a lesson or of its solutions, in order.

    Raises ValueError for a check cell without its one call, or without the blanks above it.
    """
    found, before = [], None
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.get("tags", [])
        if "check" in tags:
            calls = list(CHECK.finditer(cell.source))
            if len(calls) != 1:
                raise ValueError(
                    f"a check cell must hold one line checks.check(key, names), got {cell.source!r}"
                )
            key, line = calls[0][1], calls[0][0]
            stub = cell if "exercise" in tags else before
            if stub is None or "exercise" not in stub.metadata.get("tags", []):
                raise ValueError(f"the check of {key} must stand in or right after a cell tagged exercise")
            source = stub.source.replace(line, "").rstrip()
            found.append(Exercise(key, source, line, stub, cell))
        before = cell
    return found


def tasks(notebook, stub) -> list:
    """The prose right before a stub."""
    end = begin = notebook.cells.index(stub)
    while begin > 0 and notebook.cells[begin - 1].cell_type == "markdown":
        begin -= 1
    return notebook.cells[begin:end]


def set_up(solution) -> list:
    """The code before the first exercise that imports something: what answers and checks stand on."""
    before = solution.cells[: solution.cells.index(exercises(solution)[0].cell)]
    return [
        cell
        for cell in before
        if cell.cell_type == "code"
        and any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(cell.source).body)
    ]


def without_links(text: str) -> str:
    """Links into the course lead nowhere from a student's copy: their words stay."""
    return relinked(text, {})


def write(prefixes: list[str], notebooks: Path = NOTEBOOKS, course: Path = COURSE) -> int:
    """Write assignments of the lessons whose names begin with one of `prefixes`, as a course of nbgrader's."""
    lessons = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    chosen = [path for path in lessons if path.stem.startswith(tuple(prefixes))]
    if not chosen:
        there = ", ".join(path.stem[:2] for path in lessons)
        print(f"Say which lesson: make assignment LESSONS=01. There are {there or 'none yet'}.")
        return 1
    for path in chosen:
        solution = nbformat.read(notebooks / "solutions" / path.name, as_version=4)
        source = assignment(nbformat.read(path, as_version=4), solution)
        target = course / "source" / path.stem / path.name
        write_whole(target, (nbformat.writes(source) + "\n").encode())
        print(f"{shown(target)}  {len(exercises(solution))} exercises")
    if not (course / "nbgrader_config.py").exists():
        write_whole(course / "nbgrader_config.py", CONFIG.encode())
    print(f"Next, in {shown(course)}/ or a copy of it: nbgrader generate_assignment {chosen[0].stem}")
    return 0


if __name__ == "__main__":
    sys.exit(write(sys.argv[1:]))
