"""The recorded long runs of data/results, for lessons that show what no laptop computes in an hour."""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).resolve().parents[2] / "data" / "results"


def parts() -> list[str]:
    """The names of the recorded parts of the study: the files of data/results, the atlas apart."""
    return sorted(path.stem for path in RESULTS.glob("*.csv") if path.stem != "atlas")


def read(name: str, metric: str = "squared_error") -> pd.DataFrame:
    """One part of the recorded study as `experiments.compare` made it, one metric, each network at each moment `at`.

    name  of a file in data/results without ".csv", whatever folder the notebook lies in

    Raises ValueError for a name without a file, or a metric that it does not hold, and lists those there are.
    """
    if name not in (names := parts()):
        raise ValueError(f"name must be one of {', '.join(names)} (files in data/results), got {name!r}")
    table = pd.read_csv(RESULTS / f"{name}.csv")
    if metric not in set(table.metric):
        raise ValueError(f"metric must be one of {', '.join(sorted(set(table.metric)))}, got {metric!r}")
    return table[table.metric == metric]


def read_atlas() -> pd.DataFrame:
    """The recorded runs of the atlas (data/results/atlas.py), each setting with the one metric that it is judged by."""
    return pd.read_csv(RESULTS / "atlas.csv")
