"""Writes the verdicts of README.md from the recorded files: `python data/results/verdicts.py`.

Each claim is a list of `Case`s: a file, a moment, and what learn2mix is compared with. The numbers come from
`experiments.differences`, so the intervals are corrected for re-split sets. The word of a claim is written by hand, in
`WORDS`, beside the reason; the numbers are not.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from course_lib.experiments import differences

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- verdicts: begin -->", "<!-- verdicts: end -->"
REGRESSIONS = ("mean_estimation", "wine", "california")
REBUILT = ("mnist_rebuilt", "fashion_rebuilt")


class Case(NamedTuple):
    """One row: learn2mix (or another recipe) minus a baseline, at one moment of one file."""

    claim: str
    part: str
    at: float
    baseline: str = "plain"
    recipe: str = "learn2mix"
    metric: str = "squared_error"
    matters: float = 0.05  # share of the baseline's mean
    relative: bool = True  # else `matters` is in the units of the metric


CASES = [
    *(Case("C4", part, at) for part in REGRESSIONS for at in (0.25, 0.5, 1.0)),
    *(Case("C5", part, 1.0, level) for part in REGRESSIONS for level in ("training mean", "least squares")),
    *(Case("C6", part, at, matters=0.02) for part in REBUILT for at in (0.25, 0.5, 1.0)),
    *(Case("C6", part, 1.0, "uniform", matters=0.02) for part in REBUILT),
    *(Case("C7", f"{part}_trained_out", 1.0) for part in REGRESSIONS),
]
WORDS = {
    "C4": (
        "**Holds early only.** Below plain at a quarter on all three sets. At the end below it on two of three, where "
        "plain training is still falling (see C7); on wine the interval holds 0."
    ),
    "C5": (
        "**Does not hold.** learn2mix is never detectably below least squares, and on wine it is above "
        "the training mean too."
    ),
    "C6": (
        "**Holds** against plain: below it at all three moments on both sets. Plain training is still falling at the "
        "end, a fixed uniform mix is not told apart from learn2mix there, and on Fashion-MNIST all networks stay far "
        "above 32 components (12.5)."
    ),
    "C7": (
        "**Does not hold** for the regressions. At twenty times the paper's rate the validation error of plain "
        "stops falling on two of three sets (on California it falls still), and the gain is gone or "
        "turned round. For reconstructions it was not asked: plain training was still falling."
    ),
}


def row(case: Case) -> str:
    """A line of the table: difference, corrected interval, its size in % of the baseline, the word of the library."""
    table = pd.read_csv(HERE / f"{case.part}.csv")
    table = table[(table.metric == case.metric) & (table["at"] == case.at)]
    table = table[table.recipe.isin([case.recipe, case.baseline])]
    base = table[table.recipe == case.baseline].value.mean()
    smallest = case.matters * base if case.relative else case.matters
    found = differences(table, case.metric, baseline=case.baseline, smallest=smallest).loc[case.recipe]
    numbers = f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    share = f"{100 * found.difference / base:+.0f} %"
    rising = "yes" if found.rising else "no" if case.at == 1 else ""
    cells = [
        case.claim,
        case.part,
        f"{case.at:g}",
        f"{case.recipe} - {case.baseline}",
        f"{base:.3f}",
        numbers,
        share,
    ]
    return f"| {' | '.join([*cells, found.verdict, rising])} |"


def text() -> str:
    """What stands between the two marks of README.md."""
    head = [
        "| claim | file | at | difference | baseline | mean and 95 % interval | share | in words | still falling |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    words = [f"- {claim}: {said}" for claim, said in WORDS.items()]
    return "\n".join([BEGIN, *words, "", *head, *map(row, CASES), END])


def written(page: str) -> str:
    """The page with the verdicts as the files give them now."""
    before, rest = page.split(BEGIN)
    return before + text() + rest.split(END)[1]


if __name__ == "__main__":
    readme = HERE / "README.md"
    readme.write_text(written(readme.read_text(encoding="utf-8")), encoding="utf-8")
