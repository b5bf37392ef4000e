"""Notebooks as the tests read them."""

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in tags(cell)]


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def hidden(cell, what):
    """Is the "source" or are the "outputs" of a cell folded?"""
    return bool(cell.metadata.get("jupyter", {}).get(f"{what}_hidden"))


def first_line(cell):
    return cell.source.strip().split("\n")[0]


def prose(source):
    """What a reader reads of a text cell: no folded answers, headings, tables, code, formulas' markup or addresses."""
    text = re.sub(
        r"<details.*?</details>|\$\$.*?\$\$|^(```|~~~).*?^\1|<[^>]+>", " ", source, flags=re.S | re.M
    )
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("|", "#", "![")))
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"\$[^$]*\$", "formula", text))
    return re.sub(r"[*_`]", "", text)


def printed(cell):
    """What a saved cell printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")
