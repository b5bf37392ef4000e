"""The exercises of every lesson: lesson, solutions, checks and teaching page are in step.

What one exercise asks, and what its typical wrong answers are told, is held by tests/lessons/test_checks_NN.py. That
lessons and solutions run, and that our folded answers are right (`yours_or_ours` raises otherwise), is nbval's job.
"""

import ast
import re

import pytest

from course_lib.classroom import checks
from course_lib.classroom.tools import assignments
from tests.lessons.books import (
    LESSONS,
    NOTEBOOKS,
    ROOT,
    first_line,
    hidden,
    printed,
    read,
    tagged,
    tags,
)

FEWEST = 4
TEACHERS_HEADINGS = {
    "timing": r"\b(timing|minutes?|clock|schedule|hour)\b",
    "vote": r"\bvotes?\b",
    "wrong answers to expect": r"\bwrong\b",
    "what to cut": r"\bcut\b",
}
WAITING = (
    "Not yet: replace the dots by your code.",
    "Not yet: your function still raises NotImplementedError.",
)


def book(lesson, folder=""):
    return read(NOTEBOOKS / folder / f"{lesson}.ipynb")


def keys_of(lesson):
    return [key for key in checks.load_all() if key.startswith(f"{lesson[:2]}.")]


def exercises(lesson, folder=""):
    """key -> exercise, as a notebook holds it."""
    return {exercise.key: exercise for exercise in assignments.exercises(book(lesson, folder))}


EXERCISES = [(lesson, key) for lesson in LESSONS for key in keys_of(lesson)]
each_lesson = pytest.mark.parametrize("lesson", LESSONS)
each_exercise = pytest.mark.parametrize(("lesson", "key"), EXERCISES, ids=[key for _, key in EXERCISES])


def answers(exercise):
    return [name.strip() for name in exercise.check.rstrip(")").split(",")[1:]]


def defined(source):
    """Names that a cell gives a value."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {
                part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)
            }
    return found


def folded_answer(lesson, key):
    """The folded cell that holds our version of an exercise and chooses, or None."""
    begin = f'checks.yours_or_ours("{key}", '
    found = [cell for cell in book(lesson).cells if cell.cell_type == "code" and begin in cell.source]
    assert len(found) <= 1, f"two cells choose for {key}"
    return found[0] if found else None


# ---- both sides in step ----


@each_lesson
def test_there_are_enough_exercises(lesson):
    """A key with a name, such as 00.selfcheck, does not count."""
    assert len([key for key in keys_of(lesson) if key[3:].isdigit()]) >= FEWEST


@each_lesson
def test_every_exercise_stands_in_the_lesson_once_and_in_order(lesson):
    notebook = book(lesson)
    assert [exercise.key for exercise in assignments.exercises(notebook)] == keys_of(lesson)
    assert len(tagged(notebook, "exercise")) == len(keys_of(lesson)), "an exercise without a check"
    called = [cell for cell in notebook.cells if cell.cell_type == "code" and "checks.check(" in cell.source]
    assert called == tagged(notebook, "check"), "a check outside the cells tagged check"


@each_lesson
def test_what_the_lesson_does_not_answer_the_solutions_do(lesson):
    solved = list(exercises(lesson, "solutions"))
    assert solved == [key for key in keys_of(lesson) if key in solved], "an unknown one, or in another order"
    for key in keys_of(lesson):
        assert key in solved or folded_answer(lesson, key), f"nobody answers {key}"


@each_lesson
def test_a_folded_answer_follows_its_exercise_and_chooses(lesson):
    """`f = checks.yours_or_ours("04.1", f, our_f)` is its last line."""
    code = [cell for cell in book(lesson).cells if cell.cell_type == "code"]
    for number, cell in enumerate(code):
        if "answer" in tags(cell):
            assert hidden(cell, "source"), first_line(cell)
            last = cell.source.strip().split("\n")[-1]
            found = re.fullmatch(r'([\w, ]+) = checks\.yours_or_ours\("(\d\d\.\w+)", (.+)\)', last)
            assert found, f"the last line does not choose: {last}"
            names, key = found[1], found[2]
            assert key in exercises(lesson)
            before = [c for c in code[:number] if "check" in tags(c)][-1]
            assert f'"{key}"' in before.source, f"the answer of {key} does not stand right after its check"
            assert found[3].startswith((names, f"({names})")), f"{names} is not what is handed in"
            assert (
                printed(cell) == "The lesson goes on with our answer. Yours is used as soon as it is right.\n"
            )
        elif "yours_or_ours" in cell.source:
            raise AssertionError(f"a choice outside a cell tagged answer: {first_line(cell)}")


@each_lesson
def test_no_exercise_is_registered_twice(lesson):
    """The last one would win without a word."""
    source = (ROOT / "course_lib/classroom/lessons" / f"lesson_{lesson[:2]}/checks.py").read_text()
    keys = re.findall(r'^(?:@exercise|ask_\w+)\(\s*"([\w.]+)"', source, re.M)
    assert keys == keys_of(lesson) and len(set(keys)) == len(keys)


@each_exercise
def test_both_sides_check_alike_and_name_alike(lesson, key):
    mine, solved = exercises(lesson)[key], exercises(lesson, "solutions").get(key)
    assert set(answers(mine)) <= defined(mine.stub), "the stub leaves an answer of the check undefined"
    if solved is not None:
        assert mine.check == solved.check
        assert set(answers(mine)) <= defined(solved.stub)
        assert mine.stub != solved.stub


# ---- stubs ----


def is_blank(node):
    """`...` (not inside an index), None as a value, or a function that raises NotImplementedError."""
    if isinstance(node, ast.Raise):
        return "NotImplementedError" in ast.unparse(node)
    return isinstance(node, ast.Constant) and (node.value is Ellipsis or node.value is None)


@each_exercise
def test_a_stub_leaves_a_blank(lesson, key):
    tree = ast.parse(exercises(lesson)[key].stub)
    assert any(map(is_blank, ast.walk(tree))), "nothing is left to do"


@each_exercise
def test_what_was_saved_waits_in_the_lesson_and_praises_in_the_solutions(lesson, key):
    """A committed lesson with an old message misleads who reads it without a kernel. No check raises."""
    cell = exercises(lesson)[key].check_cell
    assert "raises-exception" not in tags(cell)
    assert " ".join(printed(cell).split()).startswith(WAITING), printed(cell)
    solved = exercises(lesson, "solutions").get(key)
    if solved is not None:
        said = printed(solved.check_cell)
        assert said.startswith("Right. ") and said == checks.in_lines(" ".join(said.split())) + "\n"


@each_lesson
def test_a_lesson_says_how_to_get_a_hint(lesson):
    """In words, or by the first check that waits."""
    said = (cell.source if cell.cell_type == "markdown" else printed(cell) for cell in book(lesson).cells)
    assert f'checks.hint("{lesson[:2]}.' in "\n".join(said)


@each_lesson
def test_typical_wrong_answers_have_their_test(lesson):
    """They differ from exercise to exercise, so each lesson has a test file of its own."""
    source = (ROOT / "tests/lessons" / f"test_checks_{lesson[:2]}.py").read_text()
    for key in keys_of(lesson):
        assert f'"{key}"' in source, f"{key} is not tested"


@each_exercise
def test_hints_come_in_steps(lesson, key):
    hints = checks.load_all()[key].hints
    assert len(set(hints)) == len(hints) >= 2
    assert all(len(hint.split()) >= 4 for hint in hints)


# ---- solutions and the teacher's page ----


@each_lesson
def test_solutions_are_set_up_and_answers_only(lesson):
    """Each exercise has its reasoning before its answer; the lesson's own prose and figures are not repeated."""
    solution, ours = book(lesson, "solutions"), book(lesson)
    assert len(solution.cells) < len(ours.cells)
    prose = [{c.source for c in side.cells if c.cell_type == "markdown"} for side in (solution, ours)]
    assert not prose[0] & prose[1]
    assert not tagged(solution, "explorer") + tagged(solution, "reveal")
    waiting = 0
    for cell in solution.cells:
        if cell.cell_type == "markdown":
            waiting += len(cell.source.split())
        elif "exercise" in tags(cell):
            assert waiting >= 25, "an answer without what there is to learn from it"
            waiting = 0


@each_lesson
def test_every_lesson_has_a_page_for_the_teacher(lesson):
    page = (NOTEBOOKS / "teaching" / f"{lesson}.md").read_text()
    headings = [title.lower() for title in re.findall(r"^#+ +(.+)$", page, re.M)]
    missing = {
        what
        for what, pattern in TEACHERS_HEADINGS.items()
        if not any(re.search(pattern, title) for title in headings)
    }
    assert not missing, f"headings: {headings}"
    assert re.search(rf"\b{lesson[:2]}\b", headings[0])  # its links: test_notebooks.py


def test_no_solution_or_page_is_left_without_its_lesson():
    for folder, suffix in (("solutions", "ipynb"), ("teaching", "md")):
        stems = {path.stem for path in (NOTEBOOKS / folder).glob(f"*.{suffix}")}
        assert {stem for stem in stems if re.match(r"\d\d_", stem)} <= set(LESSONS)
