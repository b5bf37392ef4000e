"""One cell per explorer: a picture before the run, controls after it, a picture again in a saved notebook."""

import nbformat
import pytest

from course_lib.classroom.tools import notebooks

from . import lab, workbench

NAME = "one_cell.ipynb"


@pytest.fixture(scope="module")
def notebook(course):
    """An explorer and a panel as `make run` saves them."""
    path = course / "work" / NAME
    cells = [
        nbformat.v4.new_code_cell(source, metadata={"tags": ["explorer"]})
        for source in (workbench.EXPLORER, workbench.PANEL)
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert notebooks.execute(path) is None
    return path


def seen(lesson):
    """For each code cell: is its picture seen, and its card?"""
    cells = lesson.page.locator(".jp-Notebook .jp-CodeCell")
    found = []
    for number in range(cells.count()):
        parts = [
            cells.nth(number).locator(f"{what}").first for what in (".course-static img", ".course-card")
        ]
        found.append([part.count() > 0 and part.is_visible() for part in parts])
    return found


def test_picture_then_controls_then_picture(server, chromium, notebook):
    lesson = lab.Lesson(server, chromium, f"work/{NAME}")
    try:
        lesson.page.locator(".course-static img").nth(1).wait_for()
        assert seen(lesson) == [[True, False], [True, False]]
        lesson.run_all()
        lesson.page.locator(".course-card").nth(1).wait_for()
        assert seen(lesson) == [[False, True], [False, True]]
        explorer = lesson.explorers()[0]
        said = explorer.sentence
        explorer.controls()[0].move()
        assert explorer.sentence != said
        lesson.save()
        assert not lesson.complaints
    finally:
        lesson.close()
    saved = nbformat.read(notebook, as_version=4)
    assert any(lab.WIDGET in output.get("data", {}) for output in saved.cells[0].outputs), (
        "it was not saved live"
    )
    again = lab.Lesson(server, chromium, f"work/{NAME}")
    try:
        again.page.locator(".course-static img").nth(1).wait_for()
        assert seen(again) == [[True, False], [True, False]]
    finally:
        again.close()


def test_the_saved_notebook_holds_pictures_only(notebook):
    """As it lies in the repository, before anybody has run it live."""
    fresh = notebook.with_name("fresh.ipynb")
    fresh.write_bytes(notebook.read_bytes())
    assert notebooks.execute(fresh) is None
    for cell in nbformat.read(fresh, as_version=4).cells:
        (output,) = cell.outputs
        assert "course-static" in output.data["text/html"] and lab.WIDGET not in output.data
    fresh.unlink()
