"""Every lesson, opened as a student opens it and run by the menu: nothing fails, nothing complains, all is shown."""

import re

import nbformat

from . import lab

# Roles that a screen reader announces with a name, if there is one.
NAMED = "slider|combobox|checkbox|button|textbox|spinbutton|radio|listbox|option|img"
FIGURES = """() => [...document.querySelectorAll('.jp-Notebook img')].map(picture => ({
  alt: picture.getAttribute('alt'), figure: (picture.getAttribute('src') || '').startsWith('data:image/png'),
  start: (picture.getAttribute('src') || '').slice(0, 60) }))"""


def first_line(cell):
    return f"cell {cell['index']}: {''.join(cell['source']).strip().splitlines()[0]}"


def outputs(cells, kind):
    for cell in cells:
        for output in cell.get("outputs", []):
            if output["output_type"] == kind:
                yield cell, output


def problems(lesson):
    """What a student would stumble over after Run All, one line each."""
    cells, found = lesson.cells(), []
    for cell in cells:
        if cell["cell_type"] == "code" and cell["source"] and not cell["execution_count"]:
            found.append(f"{first_line(cell)} · was not run")
    for cell, error in outputs(cells, "error"):
        if "raises-exception" not in cell["metadata"].get("tags", []):
            found.append(f"{first_line(cell)} · {error['ename']}: {error['evalue']}")
    for cell, stream in outputs(cells, "stream"):
        if stream["name"] == "stderr":
            found.append(f"{first_line(cell)} · on stderr: {''.join(stream['text'])[:300]}")
    for cell, display in outputs(cells, "display_data"):
        found += not_shown(cell, display)
    for cell, result in outputs(cells, "execute_result"):
        found += not_shown(cell, result)
    for cell in cells:
        for text in lab.NO_WIDGET.findall(cell["shown"]):
            found.append(f"{first_line(cell)} · shows text in place of a widget: {text}")
    return found + [f"console: {complaint}" for complaint in lesson.complaints]


def not_shown(cell, output):
    if lab.WIDGET in output["data"] and not cell["widgets"]:
        return [f"{first_line(cell)} · its widget is not on the page"]
    return []


def test_runs_without_a_stumble(lesson):
    assert not problems(lesson)


def test_a_check_answers_in_a_sentence_instead_of_a_traceback(lesson):
    """And the lesson goes on: `runs_without_a_stumble` sees that all cells below were run."""
    for cell, error in outputs(lesson.cells(), "error"):
        assert "Traceback" not in cell["shown"], first_line(cell)
        assert error["ename"] not in ("NameError", "AttributeError", "TypeError"), first_line(cell)


def test_every_picture_says_what_it_shows(lesson):
    pictures = lesson.page.evaluate(FIGURES)
    assert any(picture["figure"] for picture in pictures)
    for picture in pictures:
        assert picture["alt"] is not None, picture["start"]
        assert picture["alt"].strip() or not picture["figure"], picture["start"]


def test_every_control_has_a_name(lesson):
    for card in lesson.cards():
        tree = card.node.aria_snapshot()
        nameless = [line for line in tree.splitlines() if re.match(rf"\s*- '?({NAMED})(:| \[|$)", line)]
        assert not nameless, f"{card}:\n{tree}"
        assert card.title and len(re.findall(r"\bslider\b|\bcombobox\b|\bcheckbox\b", tree)) > 0


def test_what_is_checked_here_can_fail(server, chromium, course):
    """A notebook with each of the faults above: all of them are seen."""
    sources = [
        "import sys\nprint('progress', file=sys.stderr)",
        "import ipywidgets\nprint(ipywidgets.VBox())",
        "from IPython.display import Javascript, display\ndisplay(Javascript('console.error(\"ours\")'))",
        f"display({{'{lab.WIDGET}': {{'model_id': 'nobody', 'version_major': 2, 'version_minor': 0}}}}, raw=True)",
        "1 / 0",
        "'never run'",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    lab.notebooks.clean(notebook)
    nbformat.write(notebook, course / "work" / "faults.ipynb")
    lesson = lab.Lesson(server, chromium, "work/faults.ipynb")
    try:
        lesson.run_all()
        lesson.page.get_by_text("Error displaying widget").wait_for()
        seen = "\n".join(problems(lesson))
    finally:
        lesson.close()
    for fault in (
        "on stderr: progress", "in place of a widget: VBox(", "console: ours", "displaying widget",
        "ZeroDivisionError", "was not run",
    ):  # fmt: skip
        assert fault in seen, seen
