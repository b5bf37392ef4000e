"""Lessons as web pages that teach without a kernel: `make html`, or `python -m course_lib.classroom.tools.pages`.

Each page is one file in build/html/, without scripts and without anything to fetch. What needs a kernel gives way to
what does not: an explorer to the picture of its first setting, formulas to MathML, a check to the hints of its
exercise. Answers move to the end of the page. Solutions and guards are left out.
"""

import html
import posixpath
import re
import sys
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from traitlets.config import Config

from course_lib.classroom import checks
from course_lib.classroom.tools.files import ROOT, shown, write_whole
from course_lib.classroom.tools.notebooks import WIDGET

NOTEBOOKS, PAGES = ROOT / "notebooks", ROOT / "build" / "html"

DETAILS = re.compile(r"<details[^>]*>\s*<summary>(.*?)</summary>(.*?)</details>", re.S)
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
MATH = re.compile(
    r"\$\$(?P<display>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$]*[^\s$\\])?)\$(?!\w)", re.S
)
CODE = re.compile(r"^(?P<fence>```|~~~).*?^(?P=fence)|(?P<ticks>`+).+?(?P=ticks)", re.S | re.M)

BARE = "output-only"  # a cell whose source is not shown
EXPLORER = "*In the notebook, controls move this figure. It shows where they start.*"
SHELL = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><header><a class="skip" href="#lesson">To the text</a>
<p class="about">{about}</p></header>
<main id="lesson">
{body}
</main></body></html>
"""
ABOUT = (
    'A page to read, from the <a href="index.html">course</a>. To run it, move its explorers and have your answers '
    "checked, open the notebook (<code>make lab</code>). A line at the left marks what is not for the class hour."
)
STYLE = """
body {max-width: 50rem; margin: 0 auto; padding: 0 1.25rem 6rem; color: #1a1a1a; background: #fff;
  font: 1.05rem/1.55 system-ui, sans-serif;}
h1, h2, h3, h4 {line-height: 1.25; margin: 2em 0 .5em;} h1 {margin-top: 1em;}
a {color: #0b57a4;} .anchor-link, .prompt {display: none;}
.skip {position: absolute; left: -99em;} .skip:focus {position: static;}
.about {border-bottom: 1px solid #ccc; padding: .6rem 0; font-size: .9rem; color: #444;}
.celltag_home {border-left: 3px solid #d9d9d9; padding-left: 1rem; margin-left: -1.2rem;}
pre, code {font: .85rem/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;}
pre {white-space: pre-wrap; overflow-wrap: anywhere; margin: 0;}
.input_area, .text_cell_render pre {background: #f5f5f5; border-radius: 6px; padding: .6rem .8rem; margin: .8rem 0;}
.output_area {margin: .5rem 0 1rem;} .output_text pre {padding-left: .8rem;}
.output_error pre {border-left: 4px solid #b00020; padding-left: .8rem;}
.ansi-red-fg, .ansi-red-intense-fg {color: #b00020;} .ansi-green-fg, .ansi-green-intense-fg {color: #1b6b1b;}
.ansi-blue-fg, .ansi-cyan-fg, .ansi-yellow-fg {color: #0b57a4;} .ansi-bold {font-weight: bold;}
.highlight [class^="c"] {color: #177500;} .highlight [class^="s"] {color: #c41a16;}
.highlight [class^="k"], .highlight .ow {color: #a90d91;} .highlight [class^="m"] {color: #1c01ce;}
.scroll {overflow-x: auto; margin: .8rem 0;} table {border: 0; border-collapse: collapse; font-size: .95rem;}
th, td {border: 1px solid #ccc; padding: .2rem .6rem; text-align: left;}
.output_html td, .output_html tbody th {text-align: right;}
img {max-width: 100%; height: auto;} math[display="block"] {margin: 1rem auto;} code.tex {white-space: pre-wrap;}
.spoken {position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);}
blockquote {margin: .8rem 0; padding-left: 1rem; border-left: 4px solid #ccc;}
"""


# ---- a lesson without a kernel ------------------------------------------------------------------------------


def readable(notebook, names: dict[str, str]):
    """A lesson for readers without a kernel, as a new notebook.

    names  page of each file that has one, by path below notebooks/: {"01_imbalance.ipynb": "01_imbalance.html"}
    """
    cells, answers, hints, heading = [], [], {}, ""

    def moved(what: str, *content) -> str:
        """Put an answer at the end; the pointer that stays."""
        number = len(answers) + 1
        back = f"[back to the question](#question-{number})"
        place = f" · {heading}" if heading else ""
        answers.append(
            [markdown(f'### <a id="answer-{number}"></a>Answer {number}{place}\n\n{back}'), *content]
        )
        return f'<a id="question-{number}"></a>*{what}: [answer {number}, at the end](#answer-{number})*'

    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            pieces, rest = [], cell.source
            while found := DETAILS.search(rest):
                heading = last_heading(rest[: found.start()]) or heading
                summary = re.sub(r"<[^>]+>", "", found[1]).strip()
                pieces += [rest[: found.start()], moved(summary, markdown(found[2].strip()))]
                rest = rest[found.end() :]
            heading = last_heading(rest) or heading
            cells.append(markdown("".join([*pieces, rest]), tags))
        elif cell.cell_type != "code" or "guard" in tags:
            continue
        elif "explorer" in tags:
            shown = outputs_of(cell)
            if "reveal" in tags:
                cells.append(markdown(moved("The notebook shows it in a folded output", shown), tags))
            else:
                cells += [shown, markdown(EXPLORER, tags)]
        elif "reveal" in tags:
            cells.append(without_widgets(cell, outputs=False))
            cells.append(markdown(moved("What it prints", outputs_of(cell)), tags))
        elif "answer" in tags:
            cells.append(markdown(moved("Our version", without_widgets(cell, outputs=False)), tags))
        elif "check" in tags:
            key = next(iter(re.findall(r'checks\.check\("(\d\d\.\w+)"', cell.source)), "")
            if "exercise" in tags:
                stub = re.sub(r"^checks\.check\(.*$", "", cell.source, flags=re.M).rstrip()
                cells.append(nbformat.from_dict({**cell, "source": stub, "outputs": []}))
            if key in checks.load_all():
                hints[key] = checks.load_all()[key].hints
                note = f'<a id="task-{key}"></a>*The notebook checks your answer. [Hints](#hints-{key}), at the end.*'
                cells.append(markdown(note, tags))
        else:
            cells.append(without_widgets(cell))
    if hints:
        cells.append(markdown("## Hints"))
        for key, steps in hints.items():
            listed = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
            back = f"[back to the exercise](#task-{key})"
            cells.append(markdown(f'### <a id="hints-{key}"></a>Hints for {key}\n\n{listed}\n\n{back}'))
    if answers:
        cells += [markdown("## Answers"), *(cell for answer in answers for cell in answer)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # the same lesson gives the same page
        if cell.cell_type == "markdown":
            cell.source = outside_code(cell.source, lambda text: relinked(text, names))
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def markdown(source: str, tags=()):
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": list(tags)})


def without_widgets(cell, outputs: bool = True):
    """A copy of a code cell with the outputs that can be shown without a kernel, or with none."""
    kept = [output for output in cell.outputs if outputs and WIDGET not in output.get("data", {})]
    return nbformat.from_dict({**cell, "outputs": kept})


def outputs_of(cell):
    """What a code cell showed, without its source."""
    shown = without_widgets(cell)
    return nbformat.from_dict(
        {**shown, "source": "", "metadata": {"tags": [*cell.metadata.get("tags", []), BARE]}}
    )


def last_heading(text: str) -> str:
    found = re.findall(r"^#{1,6} +(.+?)\s*$", CODE.sub("", text), re.M)
    return found[-1] if found else ""


def outside_code(text: str, change) -> str:
    """`change` applied to a text in which code spans and fences are hidden, and so stay as they are."""
    hidden = []

    def hide(found: re.Match) -> str:
        hidden.append(found[0])
        return f"\0{len(hidden) - 1}\0"

    return re.sub("\0(\\d+)\0", lambda mark: hidden[int(mark[1])], change(CODE.sub(hide, text)))


def relinked(text: str, names: dict[str, str]) -> str:
    """Links to other lessons lead to their pages; a link to a file that is no page keeps its words only."""

    def new(found: re.Match) -> str:
        words, target = found[1], found[2]
        path, hash_, fragment = target.partition("#")
        if not path or re.match(r"\w+:", path):
            return found[0]
        page = names.get(posixpath.normpath(path))
        return f"[{words}]({page}{hash_}{fragment})" if page else words

    return LINK.sub(new, text)


# ---- formulas ----------------------------------------------------------------------------------------------


def set_aside(text: str, formulas: list[str]) -> str:
    """Formulas between dollars, drawn and added to `formulas`; a mark, which Markdown lets be, stands for each."""

    def drawn(found: re.Match) -> str:
        tex = " ".join((found["display"] or found["inline"]).split())
        formulas.append(formula(tex, display=found["display"] is not None))
        return f"MATHML{len(formulas) - 1}X"

    return MATH.sub(drawn, text)


def put_back(body: str, formulas: list[str]) -> str:
    """The formulas in the places of their marks; a heading's anchor goes without."""
    mark = r"MATHML(\d+)X"

    def in_words(found: re.Match) -> str:  # a formula alone is no text, and a heading needs one
        drawn = formulas[int(found[2])].replace("<math ", '<math aria-hidden="true" ')
        spoken = " ".join(re.sub(r"<[^>]+>", " ", drawn).split())
        return f'{found[1]}{drawn}<span class="spoken">{spoken}</span></th>'

    body = re.sub(rf"(<th\b[^>]*>)\s*{mark}\s*</th>", in_words, body)
    body = re.sub(r"<[^<>]*>", lambda tag: re.sub(mark, "", tag[0]), body)
    return re.sub(mark, lambda found: formulas[int(found[1])], body)


def formula(tex: str, display: bool = False) -> str:
    """A formula as MathML; as TeX in `<code>` where it holds a command that latex2mathml does not know."""
    try:
        drawn = convert(tex, display="block" if display else "inline")
    except Exception:  # its parser raises errors of many kinds
        drawn = "\\"
    return f'<code class="tex">{html.escape(tex)}</code>' if "\\" in html.unescape(drawn) else drawn


# ---- pages -------------------------------------------------------------------------------------------------


def page(path: Path, names: dict[str, str]) -> str:
    """The page of one lesson."""
    exporter = HTMLExporter(
        template_name="basic",
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        config=Config(TagRemovePreprocessor={"enabled": True, "remove_input_tags": {BARE}}),
    )
    notebook, formulas = readable(nbformat.read(path, as_version=4), names), []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = outside_code(cell.source, lambda text: set_aside(text, formulas))
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"path": str(path.parent)}})
    return SHELL.format(
        title=html.escape(title(path)), style=STYLE, about=ABOUT, body=put_back(accessible(body), formulas)
    )


def accessible(body: str) -> str:
    """The empty corner of a table is no heading, and a table that has to be scrolled is reached by keyboard."""
    body = re.sub(r"<th\b([^>]*)>(\s|&nbsp;)*</th>", r"<td\1></td>", body)
    body = re.sub(r"(<td\b[^>]*?) scope=\"\w+\"", r"\1", body)
    scroll = '<div class="scroll" tabindex="0" role="group" aria-label="table">'
    return re.sub(r"<table\b.*?</table>", lambda table: f"{scroll}{table[0]}</div>", body, flags=re.S)


def title(path: Path) -> str:
    return last_heading(nbformat.read(path, as_version=4).cells[0].source.split("\n")[0])


def contents(lessons: list[Path], names: dict[str, str]) -> str:
    """The page that lists the lessons, each with its promise."""
    rows = []
    for path in lessons:
        source = nbformat.read(path, as_version=4).cells[0].source
        promise = " ".join("".join(re.split(r"\n\s*\n", source)[1:2]).split())
        rows.append(
            f'<li><a href="{names[path.name]}">{html.escape(title(path))}</a><br>{html.escape(promise)}</li>'
        )
    body = f"<h1>Learning from imbalanced data with PyTorch</h1>\n<ul>{''.join(rows)}</ul>"
    about = "Lessons to read without a kernel. The course itself is in notebooks: <code>make lab</code>."
    return SHELL.format(title="Learning from imbalanced data", style=STYLE, about=about, body=body)


def write(notebooks: Path = NOTEBOOKS, out: Path = PAGES) -> int:
    """Write the page of each lesson and the contents."""
    lessons = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    if not lessons:
        print(f"There is no lesson in {shown(notebooks)}/.")
        return 1
    names = {path.name: f"{path.stem}.html" for path in lessons} | {"../README.md": "index.html"}
    for path in lessons:
        target = out / names[path.name]
        write_whole(target, page(path, names).encode())
        print(f"{shown(target)}  {target.stat().st_size / 1e6:.1f} MB")
    write_whole(out / "index.html", contents(lessons, names).encode())
    print(f"Open {shown(out / 'index.html')} in a browser; no network is needed.")
    return 0


if __name__ == "__main__":
    sys.exit(write())
