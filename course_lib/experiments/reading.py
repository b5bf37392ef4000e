"""Reading the table of `compare`: paired differences with their verdict, means, and validation curves."""

import numpy as np
import pandas as pd
from scipy import stats

from course_lib.inputs import as_number
from course_lib.metrics import standard_error, t_interval

BETTER, WORSE, EQUAL, UNCLEAR = "better", "worse", "practically equal", "cannot tell"


def verdict(low: float, high: float, *, smallest: float = 0.01, higher_is_better: bool = True) -> str:
    """What an interval of differences says, in words; the one place where a verdict is made.

    low, high  ends of the interval
    smallest   >= 0, a difference too small to matter, in the units of the metric

    "practically equal" where the whole interval lies within -smallest .. smallest, else "better" or "worse" where it
    leaves out 0, else "cannot tell": more seeds, or more data, would have to be asked.

    >>> verdict(-0.002, 0.004), verdict(-0.01, 0.05), verdict(0.02, 0.05)
    ('practically equal', 'cannot tell', 'better')
    """
    smallest = as_number(smallest, "smallest", 0)
    if not low <= high:
        raise ValueError(f"low and high must be the ends of an interval, got {low} and {high}")
    if -smallest <= low and high <= smallest:
        return EQUAL
    if low <= 0 <= high:
        return UNCLEAR
    return BETTER if (low > 0) == higher_is_better else WORSE


def _one(rows: pd.DataFrame, *columns: str) -> None:
    """Refuses a table that mixes what must not be averaged."""
    for column in (*columns, *({"at"} & set(rows))):
        if column not in rows:
            raise ValueError(f"table must be one that `compare` made, it has no column {column!r}")
        found = rows[column].unique().tolist()
        if len(found) > 1:
            raise ValueError(
                f"table must hold one {column}, got {found}: choose first, table[table.{column} == {found[0]!r}]"
            )
    keys = ["recipe", "seed", "decision", "metric"]
    if rows.duplicated(keys).any():
        twice = rows[rows.duplicated(keys)].iloc[0][keys].tolist()
        raise ValueError(f"table must hold each run once, got twice: {twice}")


def _overlap(rows: pd.DataFrame) -> float:
    """n_test / n_train where the seeds split one finite set anew, 0 where they draw fresh data."""
    return 0.0 if rows.fresh.all() else float((rows.n_test / rows.n_train).mean())


def differences(
    table: pd.DataFrame, metric: str, *, baseline: str = "plain", decision: str = "own",
    baseline_decision: str | None = None, confidence: float = 0.95, smallest: float = 0.01,
) -> pd.DataFrame:  # fmt: skip
    """Paired differences from a baseline, one row per recipe: mean, interval over seeds, verdict in words.

    table              what `compare` returned: one task, one budget, one moment (`at`)
    decision           "own" or "tuned"
    baseline_decision  "tuned" compares with the baseline at its best; default: the same as `decision`
    confidence         of all intervals together
    smallest           a difference too small to matter, in the units of the metric

    Columns: difference, low, high; p, two-sided and corrected; seeds; rising: was a side still getting better at the
    end of its budget? gaps: the difference of each seed; verdict, see `verdict`.

    Intervals are Student's. Where the seeds split one finite set anew (`Task.fresh` is False) their variance is
    corrected by n_test / n_train (Nadeau & Bengio 2003). With m recipes beside the baseline, Holm's step-down: the
    j-th smallest p of m is judged, and its interval drawn, at the level (1 - confidence) / (m - j + 1), and from the
    first that fails on at the level of that one.

    Raises ValueError for a table that mixes tasks, budgets or moments, lacks the baseline or a seed, or holds no
    number.
    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    confidence = as_number(confidence, "confidence", 0, 1, above=True, below=True)
    rows = table[table.metric == metric]
    reference = (baseline, baseline_decision or decision)
    sides = {key: side.set_index("seed") for key, side in rows.groupby(["recipe", "decision"], sort=False)}
    if reference not in sides:
        raise ValueError(f"table holds no {metric!r} of {reference[0]} with decision {reference[1]!r}")
    _one(rows, "task", "budget")
    base, gaps = sides[reference], {}
    for (recipe, made), side in sides.items():
        if made != decision or (recipe, made) == reference:
            continue
        if set(side.index) != set(base.index):
            lacking = sorted(set(side.index) ^ set(base.index))
            raise ValueError(
                f"table must hold the same seeds for {recipe} and {baseline}, only one has {lacking}"
            )
        gaps[recipe] = side.value - base.value.loc[side.index]
        if not np.isfinite(gaps[recipe]).all():
            broken = gaps[recipe][~np.isfinite(gaps[recipe])].index.tolist()
            raise ValueError(f"table must hold numbers, but {metric!r} of {recipe} is none at seeds {broken}")
    overlap, up = _overlap(rows), bool(rows.higher_is_better.iloc[0])
    chance = {recipe: _p_value(gap, overlap) for recipe, gap in gaps.items()}
    level, corrected = _holm(chance, 1 - confidence)
    found = []
    for recipe, gap in gaps.items():
        mean, low, high = t_interval(gap, 1 - level[recipe], overlap=overlap)
        rising = bool(sides[recipe, decision].rising.any() or base.rising.any())
        found.append({
            "recipe": recipe, "difference": mean, "low": low, "high": high, "p": corrected[recipe], "seeds": len(gap),
            "rising": rising, "gaps": tuple(gap.tolist()),
            "verdict": verdict(low, high, smallest=smallest, higher_is_better=up),
        })  # fmt: skip
    columns = ["recipe", "difference", "low", "high", "p", "seeds", "rising", "gaps", "verdict"]
    return pd.DataFrame(found, columns=columns).set_index("recipe")


def _p_value(gaps, overlap: float) -> float:
    mean, error, freedom = standard_error(gaps, overlap)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, freedom))


def _holm(chance: dict[str, float], size: float) -> tuple[dict[str, float], dict[str, float]]:
    """For each recipe the level at which Holm judges it, and its corrected p."""
    level, corrected, least, failed = {}, {}, 0.0, None
    for place, recipe in enumerate(sorted(chance, key=chance.get)):
        left = len(chance) - place
        least = max(least, min(1.0, left * chance[recipe]))
        corrected[recipe] = least
        if failed is None and chance[recipe] > size / left:
            failed = size / left
        level[recipe] = size / left if failed is None else failed
    return level, corrected


def summarise(table: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Mean and interval over seeds for each recipe, decision and metric; intervals as in `differences`, each alone.

    Raises ValueError for a table that mixes tasks, budgets or moments.
    """
    _one(table, "task", "budget")
    overlap, found = _overlap(table), {}
    for key, rows in table.groupby(["recipe", "decision", "metric"], sort=False):
        mean, low, high = t_interval(rows.value, confidence, overlap=overlap)
        found[key] = {
            "mean": mean, "low": low, "high": high, "seeds": len(rows), "rising": bool(rows.rising.any()),
        }  # fmt: skip
    found = pd.DataFrame.from_dict(found, orient="index")
    found.index = pd.MultiIndex.from_tuples(found.index, names=["recipe", "decision", "metric"])
    return found


def validation_curves(table: pd.DataFrame) -> pd.DataFrame:
    """The metric on the validation part during training, tidy: one row per run, decision, metric and look.

    table  of `compare(..., curves=True)`
    """
    if "curve" not in table:
        raise ValueError("table must come from compare(..., curves=True), it holds no curves")
    keys = ["task", "budget", "recipe", "seed", "decision", "metric"]
    return pd.DataFrame(
        [
            {**row[keys].to_dict(), "step": step, "value": value}
            for _, row in table.iterrows()
            for step, value in row.curve
        ]
    )


def still_rising(gains: pd.Series, smallest: float = 0.005) -> bool:
    """Were the runs of one recipe, one per seed, still getting better?

    gains     of the last quarter of the budget over the quarter before
    smallest  a mean gain up to this is none
    """
    gains = gains[np.isfinite(gains)]
    if len(gains) < 2 or gains.mean() <= smallest:
        return False
    # Where all seeds agree, or their mean is above 0 with 95 % on the side that is asked for. Rather once too often.
    return bool((gains > 0).all()) or _p_value(gains, 0.0) < 0.1
