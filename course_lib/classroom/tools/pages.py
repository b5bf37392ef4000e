"""Lessons as web pages that teach without a kernel: `make html`, or `python -m course_lib.classroom.tools.pages`.

Each page is one file in build/html/, without scripts and without anything to fetch. What needs a kernel gives way to
what does not: an explorer to the figure beside it, formulas to pictures with their TeX as alt text, a check to the
hints of its exercise. Answers move to the end of the page. Solutions are left out.
"""

import base64
import html
import posixpath
import re
import sys
from pathlib import Path

import nbformat
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.textpath import TextPath
from nbconvert import HTMLExporter

from course_lib.classroom import checks
from course_lib.classroom.tools.commands import ROOT, WIDGET, shown, write_whole

NOTEBOOKS, PAGES = ROOT / "notebooks", ROOT / "build" / "html"

DETAILS = re.compile(r"<details[^>]*>\s*<summary>(.*?)</summary>(.*?)</details>", re.S)
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
MATH = re.compile(
    r"\$\$(?P<display>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$]*[^\s$\\])?)\$(?!\w)", re.S
)
CODE = re.compile(r"^(?P<fence>```|~~~).*?^(?P=fence)|(?P<ticks>`+).+?(?P=ticks)", re.S | re.M)

EXPLORER = (
    "*In the notebook an explorer follows: controls that move the figure above, which shows where it starts.*"
)
SHELL = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><a class="skip" href="#lesson">To the text</a>
<p class="about">{about}</p>
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
table {border: 0; border-collapse: collapse; margin: .8rem 0; font-size: .95rem; display: block; overflow-x: auto;}
th, td {border: 1px solid #ccc; padding: .2rem .6rem; text-align: left;}
.output_html td, .output_html tbody th {text-align: right;}
img {max-width: 100%;} .tex-display {display: block; margin: 1rem auto;} code.tex {white-space: pre-wrap;}
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
        elif "explorer" in tags:
            cells.append(markdown(EXPLORER, tags))
        elif "reveal" in tags:
            cells.append(
                markdown(moved("The notebook answers in a folded cell", without_widgets(cell)), tags)
            )
        elif "check" in tags:
            key = next(iter(re.findall(r'"(\d\d\.\w+)"', cell.source)), "")
            if key in checks.load_all():
                hints[key] = checks.load_all()[key].hints
                note = f'<a id="task-{key}"></a>*The notebook checks your answer. [Hints](#hints-{key}), at the end.*'
                cells.append(markdown(note, tags))
        elif cell.cell_type == "code":
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
            cell.source = outside_code(cell.source, lambda text: drawn_math(relinked(text, names)))
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def markdown(source: str, tags=()):
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": list(tags)})


def without_widgets(cell):
    """A copy of a code cell whose outputs can be shown without a kernel."""
    kept = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    return nbformat.from_dict({**cell, "outputs": kept})


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

GROUP = r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
SPELLINGS = [  # TeX that matplotlib spells in another way
    (r"\\ge(?![a-zA-Z])", r"\\geq"),
    (r"\\le(?![a-zA-Z])", r"\\leq"),
    (r"\\ne(?![a-zA-Z])", r"\\neq"),
    (r"\\top(?![a-zA-Z])", "T"),
    (r"\\[td]?frac(\w)(\w)", r"\\frac{\1}{\2}"),
    (r"\\[td]frac", r"\\frac"),
    (r"\\frac *(\d) *(\d)", r"\\frac{\1}{\2}"),
    (rf"\\underbrace{GROUP}_{GROUP}", r"\\underset{\2}{\1}"),
    (r"\\[lr]vert(?![a-zA-Z])", "|"),
    (r"\\lVert|\\rVert", r"\\Vert "),
    (r"\s+", " "),
]


def drawn_math(text: str) -> str:
    """Formulas between dollars as pictures."""

    def drawn(found: re.Match) -> str:
        tex = " ".join((found["display"] or found["inline"]).split())
        return formula(tex, display=found["display"] is not None)

    return MATH.sub(drawn, text)


def formula(tex: str, display: bool = False) -> str:
    """A formula as `<img>` with its TeX as alt text; as TeX in `<code>` where matplotlib cannot draw it."""
    plain = tex
    for spelling, ours in SPELLINGS:
        plain = re.sub(spelling, ours, plain)
    if display:
        plain = plain.replace(r"\frac", r"\dfrac")
    escaped = html.escape(tex).replace("|", "&#124;").replace("*", "&#42;").replace("_", "&#95;")
    font = FontProperties(size=100, math_fontfamily="stix")
    try:
        _, height, depth, _, _ = MathTextParser("path").parse(f"${plain}$", dpi=72, prop=font)
        path = TextPath((0, 0), f"${plain}$", prop=font)
    except ValueError:
        return f'<code class="tex">{escaped}</code>'
    width = path.get_extents().x1 + 3 if len(path.vertices) else 1
    letters = {1: "M", 2: "L", 3: "Q", 4: "C"}
    drawing = "".join(
        letters[code] + " ".join(f"{number:.1f}" for number in points) if code in letters else "Z"
        for points, code in path.iter_segments(simplify=False, curves=True)
    )
    box = f"0 {-height:.0f} {width:.0f} {height + depth:.0f}"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}"><path transform="scale(1 -1)" d="{drawing}"/></svg>'
    data = base64.b64encode(svg.encode()).decode()
    place = f"height:{(height + depth) / 100:.3f}em;" + (
        "" if display else f"vertical-align:{-depth / 100:.3f}em"
    )
    kind = "tex tex-display" if display else "tex"
    return f'<img class="{kind}" alt="{escaped}" style="{place}" src="data:image/svg+xml;base64,{data}">'


# ---- pages -------------------------------------------------------------------------------------------------


def page(path: Path, names: dict[str, str]) -> str:
    """The page of one lesson."""
    exporter = HTMLExporter(
        template_name="basic",
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    notebook = readable(nbformat.read(path, as_version=4), names)
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"path": str(path.parent)}})
    return SHELL.format(title=html.escape(title(path)), style=STYLE, about=ABOUT, body=body)


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
