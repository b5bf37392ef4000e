"""The exercises of every lesson: lesson, solutions, checks and teaching page are in step.

What a particular exercise asks, and what its typical wrong answers are told, is held by
tests/lessons/test_checks_NN.py. That lessons and solutions run is nbval's job.
"""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from course_lib.classroom import checks
from course_lib.classroom import checks as core

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
FEWEST = 4
TEACHERS_HEADINGS = {
    "timing": r"\b(timing|minutes?|clock|schedule|hour)\b",
    "vote": r"\bvotes?\b",
    "wrong answers to expect": r"\bwrong\b",
    "what to cut": r"\bcut\b",
}


def keys_of(lesson):
    return [key for key in checks.load_all() if key.startswith(f"{lesson[:2]}.")]


EXERCISES = [(lesson, key) for lesson in LESSONS for key in keys_of(lesson)]
each_lesson = pytest.mark.parametrize("lesson", LESSONS)
each_exercise = pytest.mark.parametrize(("lesson", "key"), EXERCISES, ids=[key for _, key in EXERCISES])


def cells(lesson, folder=""):
    return nbformat.read(NOTEBOOKS / folder / f"{lesson}.ipynb", as_version=4).cells


def tagged(cells, tag):
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


def key_of(check):
    """The key that a check cell asks for, None where it is not the one call it should be."""
    found = re.fullmatch(r'checks\.check\("(\d\d\.\w+)"((?:, [a-z_]\w*)+)\)', check.source)
    return found and found[1]


def pair(lesson, key, folder=""):
    """The exercise cell of a key and its check cell, the next code cell."""
    code = [cell for cell in cells(lesson, folder) if cell.cell_type == "code"]
    for before, cell in zip(code, code[1:]):
        if "check" in cell.metadata.get("tags", []) and key_of(cell) == key:
            assert "exercise" in before.metadata.get("tags", []), (
                f"no exercise cell before the check of {key}"
            )
            return before, cell
    raise AssertionError(f"{folder}{lesson} has no check cell of {key}")


def answers(check):
    return [name.strip() for name in check.source.rstrip(")").split(",")[1:]]


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


# ---- both sides in step ----


@each_lesson
def test_there_are_enough_exercises(lesson):
    """A key with a name, such as 00.selfcheck, does not count."""
    assert len([key for key in keys_of(lesson) if key[3:].isdigit()]) >= FEWEST


@each_lesson
@pytest.mark.parametrize("folder", ["", "solutions"], ids=["lesson", "solutions"])
def test_every_exercise_stands_once_and_in_order(lesson, folder):
    found = cells(lesson, folder)
    assert [key_of(cell) for cell in tagged(found, "check")] == keys_of(lesson)
    assert len(tagged(found, "exercise")) == len(keys_of(lesson)), (
        "an exercise without a check, or the reverse"
    )
    called = [cell for cell in found if cell.cell_type == "code" and "checks.check(" in cell.source]
    assert called == tagged(found, "check"), "a check outside the cells tagged check"


@each_lesson
def test_no_exercise_is_registered_twice(lesson):
    """The last one would win without a word."""
    source = (ROOT / "course_lib/classroom/lessons" / f"lesson_{lesson[:2]}/checks.py").read_text()
    keys = re.findall(r'^@exercise\(\s*"([\w.]+)"', source, re.M)
    assert keys == keys_of(lesson) and len(set(keys)) == len(keys)


@each_exercise
def test_both_sides_check_alike_and_name_alike(lesson, key):
    (stub, check), (solution, solved) = pair(lesson, key), pair(lesson, key, "solutions")
    assert check.source == solved.source
    assert set(answers(check)) <= defined(stub.source), "the stub leaves an answer of the check undefined"
    assert defined(stub.source) <= defined(solution.source)
    assert stub.source != solution.source


@each_exercise
def test_a_refusal_is_expected_in_the_lesson_only(lesson, key):
    assert "raises-exception" in pair(lesson, key)[1].metadata.tags
    assert "raises-exception" not in pair(lesson, key, "solutions")[1].metadata.tags


# ---- stubs ----


@each_exercise
def test_a_stub_succeeds_by_itself(lesson, key):
    """It sets answers (or the values of a dict) to None, or defines a function whose body says where to start."""
    for node in ast.parse(pair(lesson, key)[0].source).body:
        if isinstance(node, ast.Assign):
            left_open = node.value.values if isinstance(node.value, ast.Dict) else [node.value]
            assert all(isinstance(value, ast.Constant) and value.value is None for value in left_open)
            continue
        assert isinstance(node, ast.FunctionDef), f"line {node.lineno} is neither an answer nor a function"
        last = node.body[-1]
        assert isinstance(last, ast.Raise) and last.exc.func.id == "NotImplementedError"
        assert last.exc.args and len(last.exc.args[0].value.split()) >= 3, "no word on where to start"


@each_exercise
def test_a_stub_fails_its_check_with_its_own_sentence(lesson, key, capsys):
    stub, check = pair(lesson, key)
    names = {"checks": checks}
    exec(imports(lesson), names)
    exec(stub.source, names)
    with pytest.raises(checks.NotYet) as caught:
        exec(check.source, names)
    said = str(caught.value)
    assert "waits for your " in said
    starts = re.findall(r'NotImplementedError\(\s*"(.*?)"', stub.source)
    assert not starts or any(start in said for start in starts)
    assert capsys.readouterr() == ("", "")


def imports(lesson):
    code = "\n".join(cell.source for cell in cells(lesson) if cell.cell_type == "code")
    return "\n".join(
        ast.unparse(node) for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)
    )


@each_exercise
def test_what_was_saved_is_the_refusal_in_the_lesson_and_praise_in_the_solutions(lesson, key):
    """One sentence each; a committed lesson with an old message misleads who reads it without a kernel."""
    (refusal,) = pair(lesson, key)[1].outputs
    assert refusal.output_type == "error" and refusal.ename == "NotYet"
    assert refusal.traceback == [core.in_lines(refusal.evalue)] and "waits for your " in refusal.evalue
    (praise,) = pair(lesson, key, "solutions")[1].outputs
    assert praise.output_type == "stream" and praise.name == "stdout"
    assert praise.text.startswith("Right. ")
    assert praise.text == core.in_lines(" ".join(praise.text.split())) + "\n"


@each_lesson
def test_a_lesson_says_how_to_get_a_hint(lesson):
    told = [
        c for c in cells(lesson) if c.cell_type == "markdown" and f'checks.hint("{lesson[:2]}.' in c.source
    ]
    assert told


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
    solution, ours = cells(lesson, "solutions"), cells(lesson)
    assert len(solution) < len(ours)
    prose = [{c.source for c in side if c.cell_type == "markdown"} for side in (solution, ours)]
    assert not prose[0] & prose[1]
    assert not tagged(solution, "explorer") + tagged(solution, "reveal")
    waiting = 0
    for cell in solution:
        if cell.cell_type == "markdown":
            waiting += len(cell.source.split())
        elif "exercise" in cell.metadata.get("tags", []):
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
