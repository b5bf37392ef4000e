"""Every notebook as it lies in the repository: run, clean, readable, with links that lead somewhere."""

import copy
import re
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from course_lib.classroom.tools import files
from course_lib.classroom.tools import notebooks as runner
from tests.lessons.books import (
    NOTEBOOKS,
    ROOT,
    code_cells,
    first_line,
    hidden,
    prose,
    read,
    tagged,
    tags,
)

TAGS = {
    *("class", "home", "vote", "reveal", "guard", "answer"),
    *("exercise", "check", "hint", "solution", "explorer"),
    *("raises-exception", "nbval-check-output", "nbval-ignore-output"),
    *("hide-input", "hide-output", "hide-cell"),
}
LONGEST_CELL = 30
CLASS_CELLS, CLASS_CODE, CLASS_WORDS = 28, 14, 1500  # aim at 1,300 to 1,450 words
CODE_LINES, EXERCISE_LINES = (
    12,
    18,
)  # not blank, of a cell that teaches, and of one with starter code and a check
PLOTS = ("image/png", "image/jpeg", "image/svg+xml")

notebooks = [path for path in files.course_files(NOTEBOOKS) if path.suffix == ".ipynb"]
lessons = [path for path in notebooks if path.parent == NOTEBOOKS]
pages = [*ROOT.glob("*.md"), *ROOT.glob("data/**/*.md"), *files.course_files(NOTEBOOKS)]
pages = [path for path in pages if path.suffix in (".ipynb", ".md")]


def each(paths):
    """One test per file; where there is none yet, pytest says so instead of passing."""
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.relative_to(ROOT).as_posix())


# ---- run, and saved clean ----


@each(notebooks)
def test_is_a_valid_notebook(path):
    notebook = read(path)
    nbformat.validate(notebook)
    names = [cell.id for cell in notebook.cells]
    assert len(set(names)) == len(names), "two cells share an id"


@each(notebooks)
def test_was_run_from_a_fresh_kernel_top_to_bottom(path):
    """A cell to be compared (nbval-check-output) that has no count passes nbval without being compared."""
    counts = [cell.execution_count for cell in code_cells(read(path))]
    assert counts == list(range(1, len(counts) + 1)), "run it: make run"


@each(notebooks)
def test_is_saved_as_make_run_saves_it(path):
    """No times, widget state, progress bars or editor's notes."""
    notebook = read(path)
    cleaned = copy.deepcopy(notebook)
    runner.clean(cleaned)
    assert cleaned.metadata == notebook.metadata
    for clean_cell, cell in zip(cleaned.cells, notebook.cells, strict=True):
        assert clean_cell == cell, f"not clean: {first_line(cell)}"


@each(notebooks)
def test_fails_only_where_it_means_to(path):
    for cell in code_cells(read(path)):
        failed = any(output.output_type == "error" for output in cell.outputs)
        assert not failed or "raises-exception" in tags(cell), first_line(cell)


def strings(part):
    """Every text in a notebook, keys aside."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for value in part.values():
            yield from strings(value)
    elif isinstance(part, list):
        for value in part:
            yield from strings(value)


def machine_path(text):
    """The first path of somebody's machine in a text, pictures aside."""
    text = re.sub(r"base64,[\w+/=\s]+", "", text)
    found = re.search(
        r"(?<![\w.~*-])/(work|root|tmp|home|Users|opt|usr)/\S*|\b[A-Z]:\\Users\S*|\S*ipykernel_\d\S*", text
    )
    return found and found[0]


@each(notebooks)
def test_names_no_path_of_a_machine(path):
    for text in strings(read(path)):
        assert not machine_path(text), machine_path(text)


@pytest.mark.parametrize(
    "text", ["in /home/ada/x", "\n/tmp/a", "'/work/main/b'", r"C:\Users\ada", "ipykernel_12/3.py"]
)
def test_paths_of_machines_are_seen(text):
    assert machine_path(text)


@pytest.mark.parametrize(
    "text", ["and/home/x", "../work/01.ipynb", "work/", 'src="data:;base64,A/tmp/a"', "~/x"]
)
def test_other_slashes_are_no_paths(text):
    assert not machine_path(text)


# ---- readable ----


@each(notebooks)
def test_cells_are_short_and_none_is_empty(path):
    for cell in read(path).cells:
        assert cell.source.strip(), "an empty cell"
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= LONGEST_CELL, first_line(cell)


@each(notebooks)
def test_tags_are_known(path):
    for cell in read(path).cells:
        assert set(tags(cell)) <= TAGS, first_line(cell)


def headings(path):
    """(level, text) of every heading, in order."""
    found = re.findall(r"^(#{1,6}) +(.+?)\s*#*$", without_fences(page_text(path)), re.M)
    return [(len(marks), title) for marks, title in found]


@each(notebooks)
def test_headings_begin_with_number_and_title_and_skip_no_level(path):
    first = read(path).cells[0]
    number = re.match(r"\d\d", path.stem)
    if number:
        assert first.cell_type == "markdown"
        assert first.source.startswith(f"# {number[0]} · "), first_line(first)
    levels = [level for level, _ in headings(path)]
    assert levels.count(1) == 1, "one title"
    assert levels[0] == 1
    for before, after in pairwise(levels):
        assert after <= before + 1, "a screen reader's outline has a hole"


@each(lessons)
def test_every_cell_is_on_one_of_the_two_paths(path):
    for cell in read(path).cells:
        assert len({"class", "home"} & set(tags(cell))) == 1, first_line(cell)


def teaches(cell):
    """Is this a code cell that the reader has before him? Guards and folded answers are not."""
    return cell.cell_type == "code" and "guard" not in tags(cell) and not hidden(cell, "source")


@each(lessons)
def test_the_class_path_fits_a_lesson(path):
    """Guards and folded answers are not counted."""
    cells = [cell for cell in tagged(read(path), "class") if "guard" not in tags(cell)]
    assert 0 < len(cells) <= CLASS_CELLS, f"{len(cells)} cells"
    beside = {"check", "explorer"}
    code = [c for c in cells if teaches(c) and ("exercise" in tags(c) or not beside & set(tags(c)))]
    assert 0 < len(code) <= CLASS_CODE, f"{len(code)} open code cells"
    count = sum(len(prose(cell.source).split()) for cell in cells if cell.cell_type == "markdown")
    assert count <= CLASS_WORDS, f"{count} words"


@each(lessons)
def test_a_cell_that_teaches_is_read_at_a_glance(path):
    for cell in filter(teaches, read(path).cells):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        most = EXERCISE_LINES if {"exercise", "check"} & set(tags(cell)) else CODE_LINES
        assert len(lines) <= most, f"{len(lines)} lines: {first_line(cell)}"


NOT_TO_BE_SEEN = {
    "an assertion (put it into a guard)": r"^\s*assert\b",
    "styling of a table or figure (house style does it)": r"\.style\b|set_table_styles|set_uuid|rcParams|\bHTML\(",
    "a trick": r"\*_\b|\.format\(\*|\bnonlocal\b|:\+\.\d",
}


@each(lessons)
@pytest.mark.parametrize("what", NOT_TO_BE_SEEN)
def test_a_student_sees_no(path, what):
    for cell in filter(teaches, read(path).cells):
        found = re.search(NOT_TO_BE_SEEN[what], cell.source, re.M)
        assert not found, f"{what}: {found[0]} in: {first_line(cell)}"


@each(lessons)
def test_guards_assert_and_are_hidden_whole(path):
    for cell in tagged(read(path), "guard"):
        assert cell.cell_type == "code" and re.search(r"^\s*assert\b", cell.source, re.M), first_line(cell)
        assert hidden(cell, "source") and hidden(cell, "outputs") and "hide-cell" in tags(cell), first_line(
            cell
        )
        assert not cell.outputs, f"a guard that shows something: {first_line(cell)}"


@each(lessons)
def test_an_answer_to_a_vote_is_collapsed_and_its_source_open(path):
    for cell in tagged(read(path), "reveal"):
        assert cell.cell_type == "code" and cell.outputs, "nothing is revealed"
        assert hidden(cell, "outputs") and not hidden(cell, "source"), first_line(cell)


@each(lessons)
def test_only_answers_and_guards_are_folded(path):
    for cell in read(path).cells:
        folded = hidden(cell, "source") or hidden(cell, "outputs")
        assert not folded or {"guard", "answer", "reveal"} & set(tags(cell)), first_line(cell)


@each(lessons)
def test_an_explorer_has_one_cell_and_its_picture_is_stored(path):
    """Opened without a kernel, the cell shows the picture of the first setting."""
    for cell in tagged(read(path), "explorer"):
        stored = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
        assert "course-static" in stored and "<img" in stored, first_line(cell)
        assert ".static()" not in cell.source


class Images(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.alts = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.alts.append(dict(attrs).get("alt"))

    handle_startendtag = handle_starttag


@each(notebooks)
def test_every_figure_says_what_it_shows(path):
    """plots.show writes <img alt=...>; a bare picture has no place for an alt text."""
    alts = []
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            alts += re.findall(r"!\[(.*?)\]\(", without_code(cell.source), re.S) + Images(cell.source).alts
            continue
        for output in cell.outputs:
            data = output.get("data", {})
            assert not set(PLOTS) & data.keys(), f"shown without plots.show: {first_line(cell)}"
            alts += Images(data.get("text/html", "")).alts
    assert all(alt and alt.strip() for alt in alts), alts


# ---- links ----


def without_fences(text):
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.S | re.M)


def without_code(text):
    return re.sub(r"(`+).+?\1", "`", without_fences(text), flags=re.S)


def page_text(path):
    if path.suffix == ".md":
        return path.read_text()
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def links(text):
    text = without_code(text)
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)", text)
    return (
        inline
        + re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.M)
        + re.findall(r"(?:href|src)=[\"']([^\"']+)", text)
    )


def anchors(path):
    """What # may name in a page: JupyterLab keeps a heading's letters, GitHub lowers them and drops signs."""
    found = set(re.findall(r"\b(?:id|name)=[\"']([^\"']+)", page_text(path)))
    for _, title in headings(path):
        title = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title)
        plain = re.sub(r"[*_`]", "", title) if path.suffix == ".ipynb" else title
        if path.suffix == ".ipynb":
            found.add(plain.replace(" ", "-"))
        else:
            found.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return found


def broken(path, target):
    """Why a link leads nowhere, None if it leads somewhere (or outside, which is not looked up)."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return (
            None
            if parts.scheme in ("http", "https", "mailto", "data", "attachment")
            else "unknown kind of address"
        )
    goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not goal.is_relative_to(ROOT):
        return "leads out of the project"
    if not goal.exists():
        return "no such file"
    if parts.fragment and goal.suffix in (".md", ".ipynb") and unquote(parts.fragment) not in anchors(goal):
        return "no such heading"
    return None


@each(pages)
def test_links_lead_somewhere(path):
    dead = {target: why for target in links(page_text(path)) if (why := broken(path, target))}
    assert not dead


@pytest.fixture
def small_site(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "b.md").write_text("# Two words & more\n")
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 01 · A\n\n## By *hand*")])
    nbformat.write(page, tmp_path / "a.ipynb")
    return tmp_path


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("b.md", None),
        ("b.md#two-words--more", None),
        ("a.ipynb#By-hand", None),
        ("#By-hand", None),
        ("https://example.org/x", None),
        ("c.md", "no such file"),
        ("b.md#three", "no such heading"),
        ("#by-hand", "no such heading"),
        ("../b.md", "leads out of the project"),
    ],
)
def test_dead_links_are_seen(small_site, target, why):
    assert broken(small_site / "a.ipynb", target) == why


def test_links_are_found_in_every_form():
    text = '[a](x.md) ![b](y.png "title") <a href="z.md">z</a>\n\n[r]: w.md\n\n'
    text += "`[c](code.md)`\n```\n[d](code.md)\n```\n"
    assert sorted(links(text)) == ["w.md", "x.md", "y.png", "z.md"]
