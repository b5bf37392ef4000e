"""A lesson exported to HTML still teaches: without a kernel, without scripts, without a network."""

import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_lib.classroom.tools import pages
from course_lib.classroom.tools.notebooks import WIDGET

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
NAMES = {path.name: f"{path.stem}.html" for path in LESSONS} | {"../README.md": "index.html"}
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
FIGURE = '<img alt="Two dots lie on one curve." src="data:image/png;base64,AAAA">'


class Page(HTMLParser):
    """Tags with their attributes, and the text, in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The text of every page, by name."""
    out = tmp_path_factory.mktemp("html")
    assert pages.write(out=out) == 0
    return {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()}


def cells_of(path):
    return nbformat.read(path, as_version=4).cells


def tags(cell):
    return cell.metadata.get("tags", [])


# ---- every lesson ----


def test_every_lesson_has_a_page_and_the_contents_lead_there(exported):
    assert set(exported) == set(NAMES.values())
    index = Page(exported["index.html"])
    assert [a["href"] for a in index.all("a") if a["href"][0] != "#"] == [f"{p.stem}.html" for p in LESSONS]
    assert "Solutions" not in index.text


@pytest.mark.parametrize("name", sorted(set(NAMES.values())))
def test_a_page_needs_nothing_from_elsewhere(exported, name):
    page = Page(exported[name])
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object", "video")]
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    styles = "".join(re.findall(r"<style.*?</style>", exported[name], re.S))
    assert "url(" not in styles and "@import" not in styles
    assert not [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)]


def places(exported, name):
    """What a link can lead to on a page; read from its tags alone, as often as a page is linked."""
    return re.findall(r"<[a-z][^<>]*? id=\"([^\"]*)\"", exported[name])


@pytest.mark.parametrize("name", sorted(set(NAMES.values())))
def test_links_of_a_page_lead_somewhere(exported, name):
    page, ids = Page(exported[name]), places(exported, name)
    for anchor in page.all("a"):
        target, _, fragment = anchor.get("href", "").partition("#")
        if re.match(r"https?:|mailto:", target) or "href" not in anchor:
            continue
        if target:
            assert target in exported, f"{target} is no page: the words should stand without a link"
            there = places(exported, target)
        else:
            there = ids
        assert not fragment or fragment in there, anchor
    assert len(ids) == len(set(ids)), "two places of one name"


@pytest.mark.parametrize("name", sorted(set(NAMES.values())))
def test_a_page_speaks_to_a_screen_reader(exported, name):
    page = Page(exported[name])
    assert page.all("html")[0]["lang"] == "en" and page.all("main") and page.all("title")
    assert all(image.get("alt", "").strip() for image in page.all("img"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))


@each_lesson
def test_every_figure_of_the_lesson_is_on_its_page(exported, path):
    """The first setting of each explorer too."""
    page = Page(exported[NAMES[path.name]])
    shown = [
        output.get("data", {}).get("text/html", "")
        for cell in cells_of(path)
        for output in cell.get("outputs", [])
    ]
    figures = Page("".join(shown)).all("img")
    assert figures and {image["alt"] for image in figures} <= {image["alt"] for image in page.all("img")}
    explorers = [cell for cell in cells_of(path) if "explorer" in tags(cell)]
    folded = [cell for cell in explorers if "reveal" in tags(cell)]
    assert page.text.count("In the notebook, controls move this figure") == len(explorers) - len(folded)


@each_lesson
def test_guards_are_not_on_the_page(exported, path):
    text = Page(exported[NAMES[path.name]]).text
    for cell in cells_of(path):
        if "guard" in tags(cell):
            line = max(cell.source.splitlines(), key=len).strip()
            assert " ".join(line.split()) not in text


@each_lesson
def test_no_widget_shows_as_text(exported, path):
    text = Page(exported[NAMES[path.name]]).text
    assert not re.search(
        r"<(Explorer|LivePanel|Panel): |\b[HV]Box\(|IntSlider\(|Output\(\)|widget-view", text
    )


@each_lesson
def test_answers_stand_at_the_end_only(exported, path):
    """Each is reached from its question, and leads back."""
    text = exported[NAMES[path.name]]
    cells = cells_of(path)
    folded = [d for c in cells if c.cell_type == "markdown" for d in pages.DETAILS.findall(c.source)]
    hidden = [cell for cell in cells if {"reveal", "answer"} & set(tags(cell))]
    count = len(folded) + len(hidden)
    assert count > 0 and "<details" not in text
    end = re.search(r"<h2[^>]*>Answers", text).start()
    places = [text.index(f'id="answer-{number}"') for number in range(1, count + 1)]
    assert end < places[0] and places == sorted(places) and f'id="answer-{count + 1}"' not in text
    for number in range(1, count + 1):
        asked = text.index(f'id="question-{number}"')
        assert text.index(f'href="#answer-{number}"') < end and asked < end
        assert f'href="#question-{number}"' in text[end:]
    before = Page(text[:end]).text
    for _, body in folded:
        sentence = max(re.split(r"[`$*|<>\n\[\]]", body), key=len).strip()
        assert sentence not in before
    for cell in hidden:
        if "answer" in tags(cell):
            line = max(cell.source.splitlines(), key=len).strip()
            assert " ".join(line.split()) not in before
        for output in cell.outputs if "reveal" in tags(cell) else []:
            assert not output.get("text") or " ".join(output.text.split()) not in before


@each_lesson
def test_hints_stand_in_for_checks_and_solutions_are_not_there(exported, path):
    page = Page(exported[NAMES[path.name]])
    checks = [cell for cell in cells_of(path) if "check" in tags(cell)]
    assert page.text.count("The notebook checks your answer") == len(checks)
    assert "checks.check(" not in page.text and "Not yet: " not in page.text
    assert page.text.count("back to the exercise") == len(checks)
    assert not [a for a in page.all("a") if "solutions" in a.get("href", "")]


@each_lesson
def test_every_formula_is_drawn_or_stands_as_tex(exported, path):
    prose = [pages.CODE.sub("", cell.source) for cell in cells_of(path) if cell.cell_type == "markdown"]
    formulas = sum(len(pages.MATH.findall(text)) for text in prose)
    page = Page(exported[NAMES[path.name]])
    sources = [code for code in page.all("code") if code.get("class") == "tex"]
    assert len(page.all("math")) + len(sources) == formulas
    assert not sources, "a formula that latex2mathml does not know"
    assert "MATHML" not in exported[NAMES[path.name]]


def test_the_same_lesson_gives_the_same_page(exported):
    """One lesson stands for all, the one that has the most kinds of cells."""
    path = max(LESSONS, key=lambda path: len({tag for cell in cells_of(path) for tag in tags(cell)}))
    assert {"explorer", "reveal", "answer", "check", "home"} <= {
        t for cell in cells_of(path) for t in tags(cell)
    }
    assert pages.page(path, NAMES) == exported[path.with_suffix(".html").name]


# ---- the parts ----


def read(*cells):
    return pages.readable(new_notebook(cells=list(cells)), {"00_start.ipynb": "00_start.html"}).cells


def test_a_details_block_moves_with_its_summary_and_a_name_of_its_place():
    source = "## By hand\n\nHow many?\n\n<details><summary>Your <b>answer</b></summary>\n\nFour.\n</details>\n\nMore."
    asked, heading, title, answer = read(new_markdown_cell(source))
    assert "Four." not in asked.source and asked.source.endswith("More.")
    assert "*Your answer: [answer 1, at the end](#answer-1)*" in asked.source
    assert heading.source == "## Answers" and answer.source == "Four."
    assert title.source.startswith('### <a id="answer-1"></a>Answer 1 · By hand')


def test_a_hidden_cell_moves_with_what_it_showed():
    cell = new_code_cell("reveal()", metadata={"tags": ["reveal"]})
    cell.outputs = [new_output("stream", name="stdout", text="four\n")]
    code, pointer, _, _, answer = read(cell)
    assert code.source == "reveal()" and not code.outputs
    assert "[answer 1, at the end]" in pointer.source
    assert answer.outputs[0].text == "four\n" and answer.source == ""


def test_a_guard_is_left_out_and_our_version_moves_to_the_end():
    guard = new_code_cell("assert found > 70", metadata={"tags": ["class", "guard", "hide-cell"]})
    ours = new_code_cell("def our_f(x):\n    return x", metadata={"tags": ["class", "answer"]})
    ours.outputs = [new_output("stream", name="stdout", text="The lesson goes on with our answer.\n")]
    pointer, heading, _, answer = read(guard, ours)
    assert (
        "*Our version: [answer 1, at the end](#answer-1)*" in pointer.source
        and heading.source == "## Answers"
    )
    assert answer.source.startswith("def our_f") and not answer.outputs


def test_blanks_stay_and_their_check_gives_way_to_its_hints():
    source = 'def f(x):\n    return ...\n\n\nchecks.check("01.1", f)'
    stub, note, *_ = read(new_code_cell(source, metadata={"tags": ["class", "exercise", "check"]}))
    assert stub.source == "def f(x):\n    return ..." and "[Hints](#hints-01.1)" in note.source


def test_an_explorers_widget_is_left_out_and_its_picture_kept():
    cell = new_code_cell("explorer()", metadata={"tags": ["class", "explorer"]})
    cell.outputs = [
        new_output("display_data", {"text/html": FIGURE}),
        new_output("display_data", {WIDGET: {"model_id": "1"}, "text/plain": "<Explorer: where?>"}),
    ]
    figure, note = read(cell)
    assert [output.data for output in figure.outputs] == [{"text/html": FIGURE}] and figure.source == ""
    assert note.source == pages.EXPLORER and note.metadata.tags == ["class", "explorer"]
    assert len(cell.outputs) == 2, "the notebook itself stays as it is"


def test_a_picture_that_answers_a_prediction_stands_at_the_end():
    cell = new_code_cell("explorer()", metadata={"tags": ["class", "explorer", "reveal"]})
    cell.outputs = [new_output("display_data", {"text/html": FIGURE})]
    pointer, _, _, answer = read(cell)
    assert "answer 1, at the end" in pointer.source and answer.outputs == cell.outputs


def test_an_empty_corner_is_no_heading_and_a_table_is_reached_by_keyboard():
    table = '<table><tr><th></th><th scope="col">a</th></tr><tr><th class="blank">&nbsp;</th><td>1</td></tr></table>'
    page = Page(pages.accessible(table))
    assert len(page.all("th")) == 1 and len(page.all("td")) == 3
    (group,) = page.all("div")
    assert group["tabindex"] == "0" and group["aria-label"]


def test_code_in_prose_is_left_alone():
    source = "`$a$` and ``[b](00_start.ipynb)``\n\n```\n[c](00_start.ipynb) costs $5 and $6\n```\n"
    (cell,) = read(new_markdown_cell(source))
    assert cell.source == source


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[a](00_start.ipynb)", "[a](00_start.html)"),
        ("[`a`](./00_start.ipynb#By-hand)", "[`a`](00_start.html#By-hand)"),
        ("[a](solutions/00_start.ipynb)", "a"),
        ("[the *library*](../course_lib/losses.py)", "the *library*"),
        ("[a](#By-hand)", "[a](#By-hand)"),
        ("[a](https://example.org/x)", "[a](https://example.org/x)"),
        ("![a](figures/x.png)", "![a](figures/x.png)"),
    ],
)
def test_links_follow_their_files(before, after):
    assert read(new_markdown_cell(before))[0].source == after


@pytest.mark.parametrize(
    "tex",
    [
        r"\pi_k",
        r"p \ge 0.5",
        r"\frac12 (\theta - c_k)^\top H_k",
        r"\underbrace{\log\frac{a}{1-a}}_{\text{batch}}",
        r"\sum_{k=1}^K \lVert w_k \rVert^2 \le 1",
        r"\mathbb{E}[x]",
        r"P(y \mid x)",
    ],
)
def test_formulas_are_drawn(tex):
    page = Page(pages.formula(tex))
    assert page.all("math")[0]["display"] == "inline" and "\\" not in page.text
    assert Page(pages.formula(tex, display=True)).all("math")[0]["display"] == "block"


def test_a_formula_that_cannot_be_drawn_stands_as_tex():
    tex = r"\nosuchcommand{a_1} < 0"
    page = Page(pages.formula(tex, display=True))
    assert page.all("code") == [{"class": "tex"}] and page.text == tex


def test_a_formula_comes_back_where_it_stood_and_not_into_an_anchor():
    formulas = []
    text = pages.set_aside("The $p$ and $$q$$ of `code`.", formulas)
    assert text == "The MATHML0X and MATHML1X of `code`." and len(formulas) == 2
    body = pages.put_back('<h2 id="The-MATHML0X">The MATHML0X</h2>', formulas)
    assert body == f'<h2 id="The-">The {formulas[0]}</h2>'


def test_a_formula_that_heads_a_column_is_said_in_letters_too():
    formulas = []
    body = pages.put_back(f"<tr><th>{pages.set_aside('$p_k$', formulas)}</th></tr>", formulas)
    (math,) = Page(body).all("math")
    assert math["aria-hidden"] == "true" and Page(body).all("span") == [{"class": "spoken"}]
    assert body.endswith('<span class="spoken">p k</span></th></tr>')


@pytest.mark.parametrize("text", ["It costs $5, or $ 6 and 7$.", r"\$a\$", "US$5 and AU$6"])
def test_money_is_no_formula(text):
    assert pages.set_aside(text, []) == text


def test_nothing_to_export_is_said(tmp_path, capsys):
    assert pages.write(notebooks=tmp_path, out=tmp_path / "out") == 1
    assert "no lesson" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_pictures_of_the_lessons_folder_are_taken_in(tmp_path):
    (tmp_path / "map.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    cells = [new_markdown_cell("# 77 · Maps\n\nYou will read maps.\n\n![The four places](map.svg)")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "77_maps.ipynb")
    assert pages.write(notebooks=tmp_path, out=tmp_path / "out") == 0
    (image,) = Page((tmp_path / "out" / "77_maps.html").read_text()).all("img")
    assert image["alt"] == "The four places" and image["src"].startswith("data:image/svg+xml;base64,")
    assert "You will read maps." in (tmp_path / "out" / "index.html").read_text()
