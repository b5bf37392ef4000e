"""A class can be graded: nbgrader makes an assignment from a lesson's exercises and marks what comes back."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest

from course_lib.classroom import checks as core
from course_lib.classroom.tools import assignments

ROOT = Path(__file__).resolve().parents[2]
LESSON = "04_weighting"
LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def source_of(lesson):
    folder = ROOT / "notebooks"
    read = [nbformat.read(path / f"{lesson}.ipynb", as_version=4) for path in (folder, folder / "solutions")]
    return read[0], read[1], assignments.assignment(*read)


def both(lesson, solution):
    """Stubs and worked answers, of what is assigned."""
    worked = {exercise.key: exercise.stub for exercise in assignments.exercises(solution)}
    stubs = {e.key: e.stub for e in assignments.exercises(lesson) if e.key in worked}
    return list(stubs.values()), [worked[key] for key in stubs]


def graded(notebook, what):
    return [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get(what)]


# ---- the source version ----


@pytest.mark.parametrize("lesson", LESSONS)
def test_an_assignment_has_every_exercise_of_its_lesson(lesson):
    ours, solution, source = source_of(lesson)
    nbformat.validate(source)
    checked, answered = graded(source, "grade"), graded(source, "solution")
    there = {exercise.key for exercise in assignments.exercises(solution)}
    calls = [exercise.check for exercise in assignments.exercises(ours) if exercise.key in there]
    assert [cell.source.replace("require", "check") for cell in checked] == calls
    assert len(answered) == len(checked)
    for answer, check in zip(answered, checked):
        assert source.cells.index(check) == source.cells.index(answer) + 1
        assert check.metadata.nbgrader.points == 1 and check.metadata.nbgrader.locked
    names = [cell.metadata.nbgrader.grade_id for cell in answered + checked]
    assert len(set(names)) == len(names)
    assert {cell.metadata.nbgrader.schema_version for cell in answered + checked} == {3}


@pytest.mark.parametrize("lesson", LESSONS)
def test_an_answer_cell_holds_the_stub_and_below_it_the_worked_answer_between_marks(lesson):
    ours, solution, source = source_of(lesson)
    stubs, worked = both(ours, solution)
    for cell, stub, answer in zip(graded(source, "solution"), stubs, worked, strict=True):
        assert cell.source == f"{stub}\n### BEGIN SOLUTION\n{answer}\n### END SOLUTION"


@pytest.mark.parametrize("lesson", LESSONS)
def test_an_assignment_has_its_tasks_and_set_up_and_no_link_into_the_course(lesson):
    _, _, source = source_of(lesson)
    prose = "\n".join(cell.source for cell in source.cells if cell.cell_type == "markdown")
    assert ".ipynb)" not in prose and "](../" not in prose
    assert len(prose.split()) > 100
    code = [cell for cell in source.cells if cell.cell_type == "code"]
    assert "from course_lib" in code[0].source
    for cell in graded(source, "solution"):
        before = source.cells[source.cells.index(cell) - 1]
        assert before.cell_type == "markdown", "an answer without its task"


def test_which_lesson_has_to_be_said(tmp_path, capsys):
    assert assignments.write([], course=tmp_path) == 1
    assert assignments.write(["77"], course=tmp_path) == 1
    assert capsys.readouterr().out.count("make assignment LESSONS=01. There are 00, 01") == 2
    assert not list(tmp_path.iterdir())


def test_a_teachers_settings_stay(tmp_path):
    settings = tmp_path / "nbgrader_config.py"
    assert assignments.write(["01"], course=tmp_path) == 0
    assert "timeout = 120" in settings.read_text()
    settings.write_text("# mine")
    assert assignments.write(["01"], course=tmp_path) == 0
    assert settings.read_text() == "# mine"


# ---- nbgrader ----


def nbgrader(course, *arguments):
    """Run nbgrader as a teacher would, with the environment's programs on the path and no settings of ours."""
    home = course.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "OMP_NUM_THREADS": "1",
        **{name: str(home / name) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")},
    }
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def hand_in(course, student, answers):
    """The release as a student gives it back, with `answers` in the cells meant for them."""
    release = course / "release" / LESSON / f"{LESSON}.ipynb"
    notebook = nbformat.read(release, as_version=4)
    for cell, answer in zip(graded(notebook, "solution"), answers):
        cell.source = answer
    folder = course / "submitted" / student / LESSON
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / release.name)


@pytest.mark.slow
def test_an_untouched_assignment_gets_nothing_and_the_worked_answers_full_marks(tmp_path):
    """One test, because making and marking an assignment takes half a minute."""
    from nbgrader.api import Gradebook

    course = tmp_path / "course"
    assert assignments.write([LESSON[:2]], course=course) == 0
    nbgrader(course, "generate_assignment", LESSON)

    ours, solution, _ = source_of(LESSON)
    stubs, worked = both(ours, solution)
    release = nbformat.read(course / "release" / LESSON / f"{LESSON}.ipynb", as_version=4)
    assert [cell.source.rstrip("\n") for cell in graded(release, "solution")] == stubs
    text = "\n".join(cell.source for cell in release.cells)
    assert "SOLUTION" not in text
    for answer in worked:
        assert answer.splitlines()[-1].strip() not in text, "a worked answer reached the students"
    assert not any(cell.metadata.get("editable", True) for cell in graded(release, "grade"))

    hand_in(course, "untouched", [])
    hand_in(course, "worked", worked)
    nbgrader(course, "autograde", LESSON, "--create")
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        marks = {student: gradebook.find_submission(LESSON, student) for student in ("untouched", "worked")}
        assert {submission.max_score for submission in marks.values()} == {len(stubs)}
        assert marks["untouched"].score == 0
        assert marks["worked"].score == len(stubs) >= 4
        assert not any(submission.needs_manual_grade for submission in marks.values())

    done = nbformat.read(course / "autograded" / "untouched" / LESSON / f"{LESSON}.ipynb", as_version=4)
    for cell in graded(done, "grade"):
        (output,) = cell.outputs
        assert output.ename == "NotYet" and output.traceback == [core.in_lines(f"Not yet: {output.evalue}")]
