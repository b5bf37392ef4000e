"""`make run`: execute the lessons in notebooks/ and save them clean.

    python -m course_lib.classroom.tools.notebooks [--force] [prefix of a lesson ...]

The same sources give the same file on every machine, as far as the lesson's numbers do.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from course_lib.classroom.tools.files import ROOT, course_files, shown, write_whole, written, written_in

CELL_SECONDS = 120  # also nbval's limit, see the Makefile
LESSON_SECONDS = 60

WIDGET = "application/vnd.jupyter.widget-view+json"
# What editors and kernels leave behind in a cell; it changes with every run and says nothing to a reader.
NOISE = ("execution", "ExecuteTime", "collapsed", "scrolled", "trusted", "vscode", "colab")


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
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.classroom.tools.notebooks", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--force", action="store_true", help="also with uncommitted sources")
    parser.add_argument("lessons", nargs="*", help="prefixes, such as 09 or solutions/09; none means all")
    chosen = parser.parse_args(arguments)
    return run(chosen.lessons, chosen.force)


if __name__ == "__main__":
    sys.exit(main())
