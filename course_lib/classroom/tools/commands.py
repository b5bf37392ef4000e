"""What `make lab` and `make run` do.

    python -m course_lib.classroom.tools.commands lab [options of jupyterlab]
    python -m course_lib.classroom.tools.commands run [--force] [prefix of a lesson ...]

`lab` opens the student's own copies in work/. `run` executes the lessons in notebooks/ and saves them
clean: the same sources give the same file on every machine, as far as the lesson's numbers do.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FIRST_LESSON = "00_start_here.ipynb"
CELL_SECONDS = 120  # also nbval's limit, see the Makefile
LESSON_SECONDS = 60

WIDGET = "application/vnd.jupyter.widget-view+json"
# What editors and kernels leave behind in a cell; it changes with every run and says nothing to a reader.
NOISE = ("execution", "ExecuteTime", "collapsed", "scrolled", "trusted", "vscode", "colab")


# ---- the student's copies ----


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


def course_files(folder: Path) -> list[Path]:
    """The notebooks and what they show, without caches and the tests' own files."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def names_beside(copy: Path):
    """01_imbalance.new.ipynb, 01_imbalance.new2.ipynb, ..."""
    number = 1
    while True:
        yield copy.with_name(f"{copy.stem}.new{number if number > 1 else ''}{copy.suffix}")
        number += 1


def shown(path: Path) -> str:
    """A path as a person in the project's folder would type it."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


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


# ---- executing lessons ----


def run(prefixes: list[str], force: bool, notebooks: Path = ROOT / "notebooks") -> int:
    """Execute lessons and save them clean; those that fail, or have uncommitted sources, stay as they are.

    prefixes  of stems, or of paths below notebooks/: "09", "solutions/09"; none means all
    force     also notebooks whose sources differ from the last commit
    """
    begin = tuple(prefixes) or ("",)
    lessons = [
        path
        for path in course_files(notebooks)
        if path.suffix == ".ipynb"
        and (path.stem.startswith(begin) or path.relative_to(notebooks).as_posix().startswith(begin))
    ]
    if not lessons:
        begins = f" begins with {' or '.join(prefixes)}" if prefixes else ""
        print(f"No notebook below {shown(notebooks)}/{begins}.")
        return 1
    if not force and (changed := [path for path in lessons if uncommitted(path)]):
        print("These notebooks have sources that are not committed, so nothing was run:")
        print(*(f"  {shown(path)}" for path in changed), sep="\n")
        print("Commit them first, or run them all the same with FORCE=1 (--force).")
        return 1
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as under nbval; more threads change the last digits
    failed = 0
    for path in lessons:
        start = time.monotonic()
        trouble = execute(path)
        seconds = time.monotonic() - start
        slow = f"  over the limit of {LESSON_SECONDS} s" if seconds > LESSON_SECONDS else ""
        print(f"{path.relative_to(notebooks).as_posix():<48}{seconds:6.1f} s{slow}", flush=True)
        if trouble:
            failed += 1
            print(f"{trouble}\n{shown(path)} failed and was not saved.", flush=True)
    return 1 if failed else 0


def execute(path: Path) -> str | None:
    """Run one notebook and save it clean; returns what went wrong, and then leaves the file as it was."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return str(error)
    clean(notebook)
    nbformat.validate(notebook)
    write_whole(path, (nbformat.writes(notebook).rstrip("\n") + "\n").encode())
    return None


def clean(notebook) -> None:
    """Take out of an executed notebook what belongs to this run and this machine, in place."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        for key in NOISE:
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(clean_output, cell.outputs) if output is not None]


def clean_output(output):
    """One output without widgets, progress bars and machine paths; None if nothing remains."""
    if output.output_type == "stream":
        if output.name == "stderr":  # progress bars and warnings: not part of the lesson
            return None
        output.text = without_paths(output.text)
    elif output.output_type == "error":
        output.traceback = [without_paths(line) for line in output.traceback]
        output.evalue = without_paths(output.evalue)
    else:
        if output.data.pop(WIDGET, None) is not None:
            output.data.pop("text/plain", None)  # "HBox(children=..." shows nothing to a reader
        if not output.data:
            return None
        for kind, text in output.data.items():
            if isinstance(text, str) and kind.startswith("text/"):
                output.data[kind] = without_paths(text)
    return output


def without_paths(text: str) -> str:
    """Paths as they look from the project's folder.

    >>> without_paths(f"File {ROOT}/course_lib/losses.py:33")
    'File course_lib/losses.py:33'
    """
    home = Path.home()
    names = {
        f"{ROOT}{os.sep}": "",
        f"{sys.prefix}{os.sep}": ".venv/",
        f"{sys.base_prefix}{os.sep}": "python/",
        f"{home}{os.sep}": "~/",
    }
    if home != ROOT and ROOT.is_relative_to(home):  # IPython shortens the home folder itself
        names[f"~/{ROOT.relative_to(home).as_posix()}/"] = ""
    picture = r"base64,[\w+/=]+"  # matched first and left alone: it may spell a path by chance
    cell = r"[^\s'\"<>]*ipykernel_\d+[/\\]\d+\.py"
    folders = [re.escape(name) for name in sorted(names, key=len, reverse=True)]
    return re.sub(
        "|".join([picture, cell, *folders]),
        lambda found: found[0] if found[0].startswith("base64,") else names.get(found[0], "<cell>"),
        text,
    )


def uncommitted(path: Path) -> bool:
    """Whether a notebook's sources differ from the last commit; what was never committed does."""
    try:
        last = subprocess.run(["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True)
    except FileNotFoundError:
        return True
    return last.returncode != 0 or written(last.stdout, path.name) != written_in(path)


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.classroom.tools.commands", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("lab", help="open JupyterLab on your copies of the lessons", add_help=False)
    runner = commands.add_parser("run", help="execute lessons and save them clean")
    runner.add_argument("--force", action="store_true", help="also with uncommitted sources")
    runner.add_argument("lessons", nargs="*", help="prefixes, such as 09 or solutions/09; none means all")
    if arguments[:1] == ["lab"]:  # everything after it belongs to JupyterLab
        return lab(arguments[1:])
    chosen = parser.parse_args(arguments)
    return run(chosen.lessons, chosen.force)


if __name__ == "__main__":
    sys.exit(main())
