"""Nothing a student wrote is lost, whatever the student and the course do, in whatever order.

tests/project/test_tools.py has the cases that a person thinks of; here chance thinks of others.
"""

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import nbformat
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.classroom.tools import lab

NAMES = ["00_start.ipynb", "01_next.ipynb", "map.md"]


def text_of(path):
    """What a person reads in a file."""
    if path.suffix != ".ipynb":
        return path.read_text()
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)


def save(path, text, output=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".ipynb":
        path.write_text(text)
        return
    cell = new_code_cell("1 + 1", id="b")
    if output:
        cell.outputs = [nbformat.v4.new_output("stream", text=output)]
    nbformat.write(new_notebook(cells=[new_markdown_cell(text, id="a"), cell]), path)


class Course(RuleBasedStateMachine):
    """A course that is updated now and then, and a student who writes, runs, renames, copies and deletes."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.notebooks, self.work = self.folder / "notebooks", self.folder / "work"
        self.count, self.kept = 0, {}
        for name in NAMES:
            save(self.notebooks / name, f"{name}, version 0")
        lab.lay_copies(self.notebooks, self.work)

    def teardown(self):
        shutil.rmtree(self.folder)

    def number(self):
        self.count += 1
        return self.count

    def files(self):
        return sorted(path for path in self.work.rglob("*") if path.is_file() and path.name[0] != ".")

    @rule(name=st.sampled_from(NAMES), version=st.integers(0, 4))
    def the_course_is_updated(self, name, version):
        """Back to an old version too."""
        save(self.notebooks / name, f"{name}, version {version}")

    @rule(name=st.sampled_from(NAMES))
    def a_lesson_is_taken_out(self, name):
        (self.notebooks / name).unlink(missing_ok=True)

    @rule()
    def make_lab(self):
        lab.lay_copies(self.notebooks, self.work)

    @rule(pick=st.integers(0, 20))
    def the_student_writes(self, pick):
        if files := self.files():
            path = files[pick % len(files)]
            mine = f"mine {self.number()}"
            save(path, f"{text_of(path)}\n{mine}")
            self.kept[mine] = None

    @rule(pick=st.integers(0, 20))
    def the_student_runs_a_notebook(self, pick):
        if files := [path for path in self.files() if path.suffix == ".ipynb"]:
            path = files[pick % len(files)]
            save(path, nbformat.read(path, as_version=4).cells[0].source, output=f"run {self.number()}")

    @rule(pick=st.integers(0, 20), name=st.sampled_from([*NAMES, "00_start.new.ipynb", "my_notes.ipynb"]))
    def the_student_renames(self, pick, name):
        """Also the new version over the old one; what lay under that name is then the student's own loss."""
        files = self.files()
        if files and files[pick % len(files)].suffix == Path(name).suffix:
            self.forget(self.work / name)
            files[pick % len(files)].replace(self.work / name)

    @rule(pick=st.integers(0, 20))
    def the_student_deletes(self, pick):
        if files := self.files():
            self.forget(files[pick % len(files)])
            files[pick % len(files)].unlink()

    @rule(content=st.sampled_from([None, b"", b"{}", b"[]", b'{"00_start.ipynb": {}}']))
    def the_record_is_lost(self, content):
        record = self.work / ".course.json"
        if content is None:
            record.unlink(missing_ok=True)
        else:
            record.write_bytes(content)

    def forget(self, path):
        if path.exists():
            for mine in [mine for mine in self.kept if mine in text_of(path).split("\n")]:
                elsewhere = [
                    other for other in self.files() if other != path and mine in text_of(other).split("\n")
                ]
                if not elsewhere:
                    del self.kept[mine]

    @invariant()
    def everything_the_student_wrote_is_still_there(self):
        there = {line for path in self.files() for line in text_of(path).split("\n")}
        assert set(self.kept) <= there

    @invariant()
    def every_file_is_whole(self):
        for path in self.files():
            assert text_of(path)
        assert not list(self.work.rglob("*.unfinished"))


TestCourse = Course.TestCase
TestCourse.settings = settings(max_examples=30, stateful_step_count=30)
