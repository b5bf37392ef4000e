"""`make lab` never loses what a student wrote; `make run` saves lessons clean, or not at all."""

import json
import os
import subprocess

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.classroom.tools import files as shared
from course_lib.classroom.tools import lab
from course_lib.classroom.tools import notebooks as runner


def notebook_bytes(*sources, outputs=()):
    """A notebook as a file holds it; a source that begins with # is prose."""
    cells = [new_markdown_cell(s) if s.startswith("#") else new_code_cell(s) for s in sources]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = list(outputs)
    return nbformat.writes(new_notebook(cells=cells)).encode()


def stream(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


LESSON = "01_imbalance.ipynb"


@pytest.fixture
def course(tmp_path):
    """A course of one lesson, its solution and a picture, and the folder of the student's copies."""
    notebooks, work = tmp_path / "notebooks", tmp_path / "work"
    (notebooks / "solutions").mkdir(parents=True)
    (notebooks / "figures").mkdir()
    (notebooks / LESSON).write_bytes(notebook_bytes("# 01 · Imbalance", "x = 1"))
    (notebooks / "solutions" / LESSON).write_bytes(notebook_bytes("# 01 · Imbalance", "x = 2"))
    (notebooks / "figures" / "map.svg").write_text("<svg/>")
    return notebooks, work


def files(work):
    return {
        path.relative_to(work).as_posix(): path.read_bytes() for path in work.rglob("*") if path.is_file()
    }


# ---- make lab: the copies ----


def test_lab_copies_lessons_solutions_and_what_they_show(course):
    notebooks, work = course
    (notebooks / "conftest.py").write_text("")
    (notebooks / ".ipynb_checkpoints").mkdir()
    (notebooks / ".ipynb_checkpoints" / LESSON).write_text("old")
    assert lab.lay_copies(notebooks, work) == []
    expected = {LESSON, f"solutions/{LESSON}", "figures/map.svg"}
    assert files(work).keys() == expected | {".course.json"}
    assert all((work / name).read_bytes() == (notebooks / name).read_bytes() for name in expected)


def test_a_copy_nobody_changed_is_refreshed(course):
    notebooks, work = course
    lab.lay_copies(notebooks, work)
    (notebooks / LESSON).write_bytes(notebook_bytes("# 01 · Imbalance", "x = 10"))
    (notebooks / "figures" / "map.svg").write_text("<svg>new</svg>")
    assert lab.lay_copies(notebooks, work) == []
    assert (work / LESSON).read_bytes() == (notebooks / LESSON).read_bytes()
    assert (work / "figures" / "map.svg").read_text() == "<svg>new</svg>"
    assert files(work).keys() == {LESSON, f"solutions/{LESSON}", "figures/map.svg", ".course.json"}


def test_a_copy_only_run_is_refreshed_but_not_for_nothing(course):
    notebooks, work = course
    lab.lay_copies(notebooks, work)
    # Running the last cell with Shift-Enter also appends an empty one.
    executed = notebook_bytes("# 01 · Imbalance", "x = 1", "", outputs=[stream("1\n")])
    (work / LESSON).write_bytes(executed)
    lab.lay_copies(notebooks, work)
    assert (work / LESSON).read_bytes() == executed, "the same version wiped the student's outputs"
    (notebooks / LESSON).write_bytes(notebook_bytes("# 01 · Imbalance", "x = 10"))
    assert lab.lay_copies(notebooks, work) == []
    assert (work / LESSON).read_bytes() == (notebooks / LESSON).read_bytes()


@pytest.mark.parametrize(
    "mine",
    [
        notebook_bytes("# 01 · Imbalance", "x = 7  # mine"),
        notebook_bytes("# 01 · Imbalance, with my notes", "x = 1"),
        notebook_bytes("# 01 · Imbalance", "x = 1", "my_own_cell()"),
        notebook_bytes("# 01 · Imbalance"),
        b'{"cells": [',
        b'{"worksheets": []}',
        b"",
    ],
    ids=["code", "prose", "new cell", "cell deleted", "half a file", "another format", "empty file"],
)
def test_what_the_student_changed_stays_and_the_new_version_lies_beside(course, mine):
    notebooks, work = course
    lab.lay_copies(notebooks, work)
    (work / LESSON).write_bytes(mine)
    assert lab.lay_copies(notebooks, work) == [], "the same version is no news"
    assert files(work).keys() == {LESSON, f"solutions/{LESSON}", "figures/map.svg", ".course.json"}

    (notebooks / LESSON).write_bytes(notebook_bytes("# 01 · Imbalance", "x = 10"))
    (line,) = lab.lay_copies(notebooks, work)
    assert LESSON in line and "01_imbalance.new.ipynb" in line
    assert (work / LESSON).read_bytes() == mine
    assert (work / "01_imbalance.new.ipynb").read_bytes() == (notebooks / LESSON).read_bytes()
    assert lab.lay_copies(notebooks, work) == [], "said once"


def test_a_changed_picture_stays_too(course):
    notebooks, work = course
    lab.lay_copies(notebooks, work)
    (work / "figures" / "map.svg").write_text("mine")
    (notebooks / "figures" / "map.svg").write_text("new")
    assert len(lab.lay_copies(notebooks, work)) == 1
    assert (work / "figures" / "map.svg").read_text() == "mine"
    assert (work / "figures" / "map.new.svg").read_text() == "new"


def test_a_later_version_replaces_the_one_beside_unless_the_student_wrote_in_it(course):
    notebooks, work = course
    lab.lay_copies(notebooks, work)
    mine = notebook_bytes("# mine")
    (work / LESSON).write_bytes(mine)
    for version in (2, 3):
        (notebooks / LESSON).write_bytes(notebook_bytes(f"# version {version}"))
        lab.lay_copies(notebooks, work)
    beside = work / "01_imbalance.new.ipynb"
    assert beside.read_bytes() == notebook_bytes("# version 3")

    beside.write_bytes(notebook_bytes("# version 3, annotated"))
    (notebooks / LESSON).write_bytes(notebook_bytes("# version 4"))
    (line,) = lab.lay_copies(notebooks, work)
    assert "01_imbalance.new2.ipynb" in line
    assert beside.read_bytes() == notebook_bytes("# version 3, annotated")
    assert (work / "01_imbalance.new2.ipynb").read_bytes() == notebook_bytes("# version 4")
    assert (work / LESSON).read_bytes() == mine


def test_a_version_the_student_threw_away_does_not_come_back(course):
    notebooks, work = course
    lab.lay_copies(notebooks, work)
    (work / LESSON).write_bytes(notebook_bytes("# mine"))
    (notebooks / LESSON).write_bytes(notebook_bytes("# version 2"))
    lab.lay_copies(notebooks, work)
    (work / "01_imbalance.new.ipynb").unlink()
    assert lab.lay_copies(notebooks, work) == []
    assert not (work / "01_imbalance.new.ipynb").exists()


def test_a_deleted_copy_comes_back_fresh(course):
    notebooks, work = course
    lab.lay_copies(notebooks, work)
    (work / LESSON).unlink()
    lab.lay_copies(notebooks, work)
    assert (work / LESSON).read_bytes() == (notebooks / LESSON).read_bytes()


def test_files_of_the_students_own_are_never_touched(course):
    notebooks, work = course
    work.mkdir()
    own = {LESSON: notebook_bytes("# written before the first make lab"), "notes.txt": b"mine"}
    for name, content in own.items():
        (work / name).write_bytes(content)
    (line,) = lab.lay_copies(notebooks, work)
    assert "01_imbalance.new.ipynb" in line
    assert {name: (work / name).read_bytes() for name in own} == own


@pytest.mark.parametrize("record", [b"{", b"[]", b'{"a": 1}', None], ids=["broken", "list", "odd", "lost"])
def test_without_a_record_everything_that_differs_counts_as_the_students(course, record):
    notebooks, work = course
    lab.lay_copies(notebooks, work)
    mine = notebook_bytes("# mine")
    (work / LESSON).write_bytes(mine)
    (notebooks / LESSON).write_bytes(notebook_bytes("# version 2"))
    if record is None:
        (work / ".course.json").unlink()
    else:
        (work / ".course.json").write_bytes(record)
    told = lab.lay_copies(notebooks, work)
    assert ("cannot be read" in told[0]) == (record is not None)
    assert (work / LESSON).read_bytes() == mine
    assert (work / "01_imbalance.new.ipynb").exists()
    assert not (work / "solutions" / "01_imbalance.new.ipynb").exists(), "identical files are no news"


def test_an_interruption_leaves_whole_files(course, monkeypatch):
    """Whenever the power goes: every file is whole, the student's work there, and the next run finishes."""
    notebooks, work = course
    lab.lay_copies(notebooks, work)
    mine = notebook_bytes("# mine")
    (work / LESSON).write_bytes(mine)
    for source in (notebooks / LESSON, notebooks / "solutions" / LESSON):
        source.write_bytes(notebook_bytes("# version 2"))
    replace = os.replace

    def stops_after(allowed):
        def replacing(*paths):
            nonlocal allowed
            if allowed == 0:
                raise KeyboardInterrupt
            allowed -= 1
            replace(*paths)

        return replacing

    for allowed in range(3):  # the version beside, the solution, the record
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stops_after(allowed))
            with pytest.raises(KeyboardInterrupt):
                lab.lay_copies(notebooks, work)
        assert (work / LESSON).read_bytes() == mine
        assert (work / "solutions" / LESSON).read_bytes() in (
            notebook_bytes("# 01 · Imbalance", "x = 2"),
            notebook_bytes("# version 2"),
        )
    lab.lay_copies(notebooks, work)
    assert (work / LESSON).read_bytes() == mine
    assert (work / "solutions" / LESSON).read_bytes() == notebook_bytes("# version 2")
    assert len(list(work.glob("*.new*"))) == 1


def test_lab_opens_the_first_lesson_and_passes_options_on(course, monkeypatch):
    notebooks, work = course
    (notebooks / lab.FIRST_LESSON).write_bytes(notebook_bytes("# 00 · Start here"))
    started = []
    for module in (shared, lab, runner):
        monkeypatch.setattr(module, "ROOT", notebooks.parent)
    monkeypatch.setattr("jupyterlab.labapp.main", started.append)
    assert lab.lab(["--no-browser", "--help-me"]) == 0
    (options,) = started
    assert f"--ServerApp.root_dir={notebooks.parent}" in options
    assert "--LabApp.default_url=/lab/tree/work/00_start_here.ipynb" in options
    assert options[-2:] == ["--no-browser", "--help-me"]
    assert (work / LESSON).exists()


def test_lab_outside_a_clone_says_so(tmp_path, monkeypatch, capsys):
    for module in (shared, lab, runner):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    assert lab.lab([]) == 1
    assert "works from a clone" in capsys.readouterr().out


# ---- make run: executing and cleaning ----


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def committed(tmp_path):
    """A repository with one committed lesson."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    (notebooks / LESSON).write_bytes(notebook_bytes("# 01 · Imbalance", "1 + 1"))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "lesson")
    return notebooks


@pytest.fixture
def executed(monkeypatch):
    """Which notebooks `run` would execute, without a kernel."""
    paths = []
    monkeypatch.setattr(runner, "execute", lambda path: paths.append(path.name))
    return paths


def test_run_takes_a_committed_lesson_and_one_with_other_outputs(committed, executed):
    assert runner.run([], False, committed) == 0
    (committed / LESSON).write_bytes(notebook_bytes("# 01 · Imbalance", "1 + 1", outputs=[stream("2\n")]))
    assert runner.run([], False, committed) == 0
    assert executed == [LESSON, LESSON]


@pytest.mark.parametrize("name", [LESSON, "02_decisions.ipynb"], ids=["changed", "never committed"])
def test_run_refuses_uncommitted_sources_unless_forced(committed, executed, capsys, name):
    (committed / name).write_bytes(notebook_bytes("# 01 · Imbalance", "1 + 2"))
    assert runner.run([], False, committed) == 1
    assert not executed
    said = capsys.readouterr().out
    assert name in said and "FORCE=1" in said
    assert runner.run([name[:2]], True, committed) == 0
    assert executed == [name]


def test_run_outside_a_repository_counts_as_uncommitted(course, executed):
    notebooks, _ = course
    assert runner.run([], False, notebooks) == 1
    assert not executed


def test_run_picks_by_prefix(course, executed, capsys):
    notebooks, _ = course
    (notebooks / "09_learn2mix.ipynb").write_bytes(notebook_bytes("# 09"))
    assert runner.run(["09"], True, notebooks) == 0
    assert executed == ["09_learn2mix.ipynb"]
    executed.clear()
    runner.run(["01"], True, notebooks)
    assert executed == [LESSON, LESSON], "the lesson and its solution"
    executed.clear()
    runner.run(["solutions/01"], True, notebooks)
    assert executed == [LESSON]
    assert runner.run(["77"], True, notebooks) == 1
    assert "77" in capsys.readouterr().out


@pytest.mark.slow
def test_run_saves_a_lesson_clean_and_the_same_each_time(tmp_path, capsys):
    path = tmp_path / LESSON
    messy = """
import os, sys, warnings
import ipywidgets
from IPython.display import HTML, display
print("progress", file=sys.stderr)
print(os.path.abspath("x"))
display(HTML('<img alt="two dots" src="data:image/png;base64,AAAA">'))
display(ipywidgets.IntSlider(description="share"))
"""
    path.write_bytes(
        notebook_bytes("# 01 · Imbalance", messy.strip(), "1 + 1", "raise ValueError('as meant')")
    )
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[3].metadata["tags"] = ["raises-exception"]
    notebook.cells[1].metadata["execution"] = {"iopub.status.busy": "2026-01-01"}
    nbformat.write(notebook, path)

    assert runner.run([], True, tmp_path) == 0
    assert " s" in capsys.readouterr().out
    first = path.read_bytes()
    saved = nbformat.reads(first.decode(), as_version=4)
    assert [cell.execution_count for cell in saved.cells[1:]] == [1, 2, 3]
    assert [cell.id for cell in saved.cells] == ["cell-0", "cell-1", "cell-2", "cell-3"]
    assert [output.output_type for output in saved.cells[1].outputs] == ["stream", "display_data"]
    assert saved.cells[1].metadata == {}
    assert saved.cells[2].outputs[0].data["text/plain"] == "2"
    assert saved.cells[3].outputs[0].evalue == "as meant"
    assert saved.metadata.keys() == {"kernelspec", "language_info"}
    assert b"widget-view" not in first and b"ipykernel_" not in first
    assert runner.run([], True, tmp_path) == 0
    assert path.read_bytes() == first


@pytest.mark.slow
def test_run_leaves_a_lesson_that_fails_as_it_was(tmp_path, capsys):
    path = tmp_path / LESSON
    path.write_bytes(notebook_bytes("# 01 · Imbalance", "1 / 0"))
    before = path.read_bytes()
    assert runner.run([], True, tmp_path) == 1
    assert path.read_bytes() == before
    said = capsys.readouterr().out
    assert "ZeroDivisionError" in said and "was not saved" in said


def test_machine_paths_are_shortened_but_pictures_stay(monkeypatch, tmp_path):
    home = tmp_path / "home" / "ada"
    for module in (shared, lab, runner):
        monkeypatch.setattr(module, "ROOT", home / "course")
    monkeypatch.setattr(runner.Path, "home", lambda: home)
    monkeypatch.setattr(runner.sys, "prefix", f"{home}/course/.venv")
    short = runner.without_paths
    assert short(f'File "{home}/course/course_lib/data.py", line 3') == 'File "course_lib/data.py", line 3'
    assert short("File ~/course/course_lib/data.py:3") == "File course_lib/data.py:3"
    assert short(f"{home}/course/.venv/lib/torch/x.py") == ".venv/lib/torch/x.py"
    assert short(f"in {home}/data.csv") == "in ~/data.csv"
    assert short("/tmp/ipykernel_12/3456.py:1: UserWarning") == "<cell>:1: UserWarning"
    picture = f'<img src="data:image/png;base64,AA{home}/course/AA=">'
    assert short(picture) == picture


def test_a_widget_leaves_its_other_forms_or_nothing():
    def display(**data):
        return nbformat.v4.new_output("display_data", data=data)

    widget = {runner.WIDGET: {"model_id": "1"}, "text/plain": "IntSlider(value=0)"}
    assert runner.clean_output(display(**widget)) is None
    assert runner.clean_output(display(**widget, **{"text/html": "<b>3</b>"})).data == {
        "text/html": "<b>3</b>"
    }


def test_fingerprint_sees_pasted_pictures_and_order():
    def fingerprint(*cells):
        return shared.written(json.dumps({"cells": list(cells)}).encode(), "a.ipynb")

    prose = {"cell_type": "markdown", "source": ["# a\n", "b"]}
    pasted = prose | {"attachments": {"image.png": {"image/png": "AAAA"}}}
    code = {"cell_type": "code", "source": "# a\nb"}
    different = [fingerprint(prose), fingerprint(pasted), fingerprint(code), fingerprint(code, prose)]
    different.append(fingerprint(prose, code))
    assert len(set(different)) == len(different)
    assert fingerprint(prose) == fingerprint(prose | {"source": "# a\nb", "metadata": {"tags": []}})


@pytest.mark.parametrize(("user", "allowed"), [(0, True), (1000, False)])
def test_lab_starts_in_a_container_where_one_is_root(course, monkeypatch, user, allowed):
    started = []
    for module in (shared, lab, runner):
        monkeypatch.setattr(module, "ROOT", course[0].parent)
    monkeypatch.setattr(lab.os, "geteuid", lambda: user, raising=False)
    monkeypatch.setattr("jupyterlab.labapp.main", started.append)
    assert lab.lab([]) == 0
    assert ("--allow-root" in started[0]) == allowed
