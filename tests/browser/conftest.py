"""One JupyterLab and one browser for all browser tests, and every lesson opened and run once.

The first lesson is run whole, as a student runs it. Of the others the explorers are run, and what these need: nbval
runs the rest without a browser.
"""

import ast
import os
from pathlib import Path

import nbformat
import pytest

from course_lib.classroom.tools import files

from . import lab, workbench

NOTEBOOKS = files.ROOT / "notebooks"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(5 * lab.PATIENCE))


@pytest.fixture(scope="package")
def chromium():
    if lab.find_browser() is None:
        reason = "no Chromium on the path (Debian: apt install chromium)"
        if os.environ.get("COURSE_REQUIRE_BROWSER") == "1":
            pytest.fail(f"COURSE_REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)
    with lab.browser() as one:
        yield one


@pytest.fixture(scope="package")
def course(tmp_path_factory):
    """The folder that is served: what a student has after `make lab`, away from this one."""
    folder = tmp_path_factory.mktemp("course")
    lab.lay_course(folder)
    for path in sorted((folder / "work").glob("[0-9][0-9]_*.ipynb"))[1:]:
        shorten(path)
    workbench.lay(folder / "work")
    return folder


def names_of(source):
    """The names that a cell makes, and those that it uses."""
    made, used = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            (made if isinstance(node.ctx, ast.Store) else used).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).partition(".")[0])
    return made, used


def shorten(path):
    """Take out of a notebook every code cell that no explorer needs."""
    notebook = nbformat.read(path, as_version=4)
    kept, wanted = [], set()
    for cell in reversed(notebook.cells):
        if cell.cell_type == "code":
            made, used = names_of(cell.source)
            if "explorer" not in cell.metadata.get("tags", []) and not made & wanted:
                continue
            wanted |= used
        kept.append(cell)
    notebook.cells = kept[::-1]
    nbformat.write(notebook, path)


@pytest.fixture(scope="package")
def server(chromium, course, tmp_path_factory):
    with lab.serve(course, tmp_path_factory.mktemp("jupyter")) as one:
        yield one


@pytest.fixture(scope="package")
def lesson(server, chromium, request):
    """A lesson after Run All. Its tests share it; what they move, they put back."""
    opened = lab.Lesson(server, chromium, f"work/{request.param}")
    try:
        opened.run_all()
        yield opened
    finally:
        opened.close()


@pytest.fixture
def every_control(lesson):
    """The notebook of `workbench` alone."""
    return lesson


@pytest.fixture
def panel(lesson):
    """The live panel of a lesson that has one, ready to start."""
    one = lesson.panels()[0]
    one.press("Reset")
    one.ready()
    yield one
    one.press("Reset")
    one.ready()


def pytest_generate_tests(metafunc):
    """Once per lesson; tests of the panel only where there is one."""
    names = metafunc.fixturenames
    if "lesson" in names:
        pages = [workbench.NAME, *sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))]
        if "every_control" in names:
            pages = pages[:1]
        if "panel" in names:
            pages = [page for page in pages if has_panel(page)]
        ids = [page.removesuffix(".ipynb") for page in pages]
        metafunc.parametrize("lesson", pages, ids=ids, indirect=True, scope="package")


def has_panel(page):
    if page == workbench.NAME:
        return True
    cells = nbformat.read(NOTEBOOKS / page, as_version=4).cells
    return any("explorer" in cell.metadata.get("tags", []) and "panel" in cell.source for cell in cells)
