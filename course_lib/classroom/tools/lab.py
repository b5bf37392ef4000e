"""`make lab`: the student's own copies of the lessons in work/, and JupyterLab on the first of them.

python -m course_lib.classroom.tools.lab [options of jupyterlab]
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from course_lib.classroom.tools.files import ROOT, course_files, shown, write_whole, written, written_in

FIRST_LESSON = "00_start_here.ipynb"


def lay_copies(notebooks: Path, work: Path) -> list[str]:
    """Bring the copies in `work` up to date with `notebooks`; returns what there is to tell the student.

    A copy in which the student wrote nothing is refreshed. One that was changed stays, and a new version of
    the course is laid beside it (01_imbalance.new.ipynb), once, never over anything that the student wrote.
    work/.course.json remembers for each file what was laid: without an entry there, a file that differs from
    the course's counts as the student's.
    """
    record, tell = work / ".course.json", []
    try:
        laid = json.loads(record.read_bytes())
        if not all(isinstance(entry, dict) for entry in laid.values()):
            raise ValueError("not a record of ours")
    except FileNotFoundError:
        laid = {}
    except (ValueError, AttributeError):
        laid = {}
        tell.append(
            f"{shown(record)} cannot be read: every copy that differs from the course's counts as yours."
        )

    def lay(copy: Path, content: bytes) -> None:
        write_whole(copy, content)
        name = copy.relative_to(work).as_posix()
        laid[name] = {"content": hashlib.sha256(content).hexdigest(), "written": written(content, name)}

    def may_replace(copy: Path, ours: str | None) -> bool:
        """Nothing there, or only what was laid there before, or what would be laid now."""
        entry = laid.get(copy.relative_to(work).as_posix(), {})
        mine = written_in(copy)
        return not copy.exists() or (mine is not None and mine in (entry.get("written"), ours))

    for source in course_files(notebooks):
        content, copy = source.read_bytes(), work / source.relative_to(notebooks)
        entry = laid.setdefault(copy.relative_to(work).as_posix(), {})
        ours = written(content, source.name)
        if may_replace(copy, ours):
            # The same version again would only wipe the outputs of the student's last run.
            if not copy.exists() or entry.get("content") != hashlib.sha256(content).hexdigest():
                lay(copy, content)
        elif ours not in (entry.get("written"), entry.get("offered")):
            beside = next(path for path in names_beside(copy) if may_replace(path, ours))
            lay(beside, content)
            entry["offered"] = ours
            tell.append(
                f"You changed {shown(copy)}, so it stays as it is. The course's new version: {shown(beside)}"
            )
    write_whole(record, json.dumps(laid, indent=1, sort_keys=True).encode())
    return tell


def names_beside(copy: Path):
    """01_imbalance.new.ipynb, 01_imbalance.new2.ipynb, ..."""
    number = 1
    while True:
        yield copy.with_name(f"{copy.stem}.new{number if number > 1 else ''}{copy.suffix}")
        number += 1


def lab(options: list[str]) -> int:
    """Lay the copies and open JupyterLab on the first lesson; extra `options` go to JupyterLab."""
    from jupyterlab.labapp import main as jupyterlab

    notebooks, work = ROOT / "notebooks", ROOT / "work"
    if not notebooks.is_dir():
        print(f"There is no folder notebooks/ in {ROOT}: the lab works from a clone of the course only.")
        return 1
    print("\n".join(["Your copies of the lessons are in work/.", *lay_copies(notebooks, work)]), flush=True)
    first = f"/{FIRST_LESSON}" if (work / FIRST_LESSON).exists() else ""
    # Jupyter refuses to run as root unless told to; in a container root is the ordinary user.
    root = ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    # Served from the project's folder, so that a lesson's links to ../README.md and ../course_lib work.
    jupyterlab(
        [f"--ServerApp.root_dir={ROOT}", f"--LabApp.default_url=/lab/tree/work{first}", *root, *options]
    )
    return 0


if __name__ == "__main__":
    sys.exit(lab(sys.argv[1:]))
