"""The course's files: what a person wrote in one, and how one is written whole."""

import hashlib
import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def written(content: bytes, name: str) -> str | None:
    """A fingerprint of what a person wrote in a file, None where it cannot be read.

    For a notebook that is the sources of its cells. Running it changes outputs and counts only, and
    JupyterLab appends an empty cell after running the last one: neither makes a difference here.
    """
    if name.endswith(".ipynb"):
        try:
            cells = [
                [cell["cell_type"], "".join(cell["source"]), cell.get("attachments") or {}]
                for cell in json.loads(content)["cells"]
            ]
        except (ValueError, KeyError, TypeError):
            return None
        kept = [cell for cell in cells if cell[1].strip() or cell[2]]
        content = json.dumps(kept, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def written_in(path: Path) -> str | None:
    try:
        return written(path.read_bytes(), path.name)
    except OSError:
        return None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that an interruption leaves the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def course_files(folder: Path) -> list[Path]:
    """The notebooks and what they show, without caches and the tests' own files."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def shown(path: Path) -> str:
    """A path as a person in the project's folder would type it."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
