"""Runs the study of learn2mix and writes a CSV file per part: `make results`, or `python data/results/study.py --help`.

Finished runs are kept in build/results/ and not run again, so the study can be stopped and taken up at any time.
"""

import argparse
import os
import platform
import sys
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEEP = HERE.parents[1] / "build" / "results"
PACKAGES = ("torch", "scikit-learn", "numpy", "imbalanced-learn")
# glibc gives large blocks back to the system after every step and asks for them again in the next: a third of the time.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}


def processor() -> str:
    """The name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def stamped(table, command: str):
    """The table, and what it was made by."""
    table["python"] = platform.python_version()
    for package in PACKAGES:
        table[package] = version(package)
    table["processor"], table["date"] = processor(), datetime.now(UTC).strftime("%Y-%m-%d")
    table["command"] = command
    return table


def record(name: str, quick: bool, workers: int):
    """The table of a part, with what it was made by."""
    from settings import PARTS  # after the environment is set

    from course_lib.experiments import compare

    part = PARTS[name].quick if quick else PARTS[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A worker stopped")  # joblib, of a worker that waited long
        table = compare(
            part.chosen, part.make_task, range(part.seeds), budget=part.budget, metrics=part.metrics,
            tune=part.tune, tune_metric=part.tune_metric, at=part.at, workers=workers, cache=KEEP,
        )  # fmt: skip
    table.insert(0, "part", name)
    return stamped(table, f"python data/results/study.py {'--quick ' if quick else ''}{name}")


def main() -> None:
    from settings import PARTS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default all: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="60 steps and two seeds, into quick/")
    parser.add_argument("--missing", action="store_true", help="only parts without a file")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes, default all cores"
    )
    given = parser.parse_args()
    unknown = sorted(set(given.parts) - set(PARTS))
    if unknown:
        parser.error(f"PART must be one of {', '.join(PARTS)}, got {', '.join(unknown)}")
    folder = HERE / "quick" if given.quick else HERE
    folder.mkdir(exist_ok=True)
    for name in given.parts or PARTS:
        file = folder / f"{name}.csv"
        if given.missing and file.exists():
            continue
        print(f"== {name} ==", flush=True)
        table = record(name, given.quick, given.workers)
        draft = file.with_suffix(".part")
        table.to_csv(draft, index=False, float_format="%.6g")
        draft.replace(file)  # whole or not at all


if __name__ == "__main__":
    if sys.platform == "linux" and not MEMORY.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **MEMORY})
    main()
