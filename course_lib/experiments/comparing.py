"""`compare`: many recipes on many seeds, on equal terms, into one tidy table."""

import dataclasses
import functools
import uuid
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import joblib
import pandas as pd
import torch
from tqdm.auto import tqdm

from course_lib import recipes
from course_lib.data import Task
from course_lib.experiments import keys
from course_lib.experiments.jobs import Candidate, Failure, Job, Row, latest_task, run_job, task_of
from course_lib.experiments.reading import still_rising
from course_lib.experiments.trials import Judge, Rival, takes_seed
from course_lib.inputs import as_number, as_seed, as_size
from course_lib.metrics import Metric, as_metric
from course_lib.priors import class_count
from course_lib.recipes import RECIPES, Budget, Recipe


class RunError(RuntimeError):
    """One run of a comparison failed; `finished` is the table of those that did not."""

    finished: pd.DataFrame


class RunRefused(RunError, ValueError):
    """A run refused what it was given, e.g. a budget too small for its feedback."""


def compare(
    chosen: Iterable[str | Recipe | Rival],
    make_task: Callable[..., Task] | None = None,
    seeds: Iterable[int] | None = None,
    *,
    budget: Budget | None = None,
    metrics: Sequence[str | Metric] = ("balanced_accuracy", "worst_recall"),
    tune: Callable[[Row, Budget], Sequence[Candidate]] | None = None,
    tune_metric: str | Metric | None = None,
    device: str | torch.device | None = None,
    cache: str | Path | None = None,
    models: str | Path | None = None,
    curves: bool = False,
    at: Sequence[float] = (1.0,),
    workers: int = 1,
    progress: bool = True,
) -> pd.DataFrame:
    """One tidy row per (task, recipe, seed, decision, metric), its `value` computed on the test part.

    chosen     names in RECIPES, recipes of your own, or a `Rival` from scikit-learn; "plain" is always added, and
               "uniform" and "shuffled" whenever one of them chooses its batches
    make_task  called as make_task(seed=seed) -> Task, e.g. functools.partial(data.digits, 20)
    seeds      at least two, all different: differences are paired by seed
    budget     the same for all, default Budget(epochs=30)
    metrics    names in metrics.METRICS, "recall of <class>", or a `metrics.Metric` of your own
    tune       (recipe, budget) -> candidates, as many for every recipe (see `learning_rates`); each row of the table is
               the candidate best on validation, under the row's decision, by the row's metric, or by `tune_metric`
    device     where to train, e.g. "cuda"; default: where the task's data lie
    cache      folder of finished runs, read and added to; what cannot be keyed (a lambda, a network typed into a
               notebook) runs uncached, and one printed line says so
    models     folder in which the trained networks are stored, one file per run, named in the column `model`:
               torch.load(file, weights_only=False) gives the list of members. Finished runs are then not read
    curves     also give the metric on validation during training, see `validation_curves`
    at         shares of the budget at which the test part is judged, each a row of its own, with the decision of that
               moment; the end, 1, is always among them, and is all there is of a rival
    workers    processes; the values are the same for any number
    progress   show a bar with the time left

    decision   "own" is the recipe's. "tuned" chooses by a threshold (two classes) or tau (more) tuned on validation for
               `tuned_for`: the row's metric, or, for the recall of one class, which one answer for everybody would make
               best, the first other metric of labels. It never moves probabilities, so rankings, probabilities and
               numbers have no tuned row. `setting` says what was chosen, `candidate` which candidate
    rising     was the metric on validation still getting better at the end of the budget, over the seeds? Then more
               steps might change the verdict. `late_gain`: by how much, in this run, in the last quarter

    The values do not depend on which recipes run together; `seconds` (training time) does vary.
    Raises TypeError or ValueError, before any training, for what does not fit; RunError, with the table of the finished
    runs as `finished`, where a run fails.
    """
    chosen, seeds, metrics, tune_metric = _checked(chosen, make_task, seeds, metrics, tune_metric)
    budget = budget or Budget(epochs=30)
    workers = as_size(workers, "workers")
    at = tuple(sorted({as_number(share, "at", 0, 1, above=True) for share in at} | {1.0}))
    rows = _with_controls(chosen)
    candidates = _candidates(rows, budget, tune)
    device = None if device is None else str(device)
    token = uuid.uuid4().hex  # workers outlive this call and must not mistake its tasks for those of another
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():  # the caller's random stream goes on as if nothing had run
            task = task_of(token, make_task, seeds[0], device)
            _check_metrics(metrics if tune_metric is None else [*metrics, tune_metric], task)
            known = {row.name: None for row in rows}
            if cache is not None:
                known = _keys(candidates, make_task, task, metrics, tune_metric, at)
            jobs = [
                Job(row, candidates[row.name], make_task, seed, budget, metrics, tune_metric, device, token,
                     known[row.name], cache and Path(cache), models and Path(models), at)
                for seed in seeds for row in rows
            ]  # fmt: skip
            stream = joblib.Parallel(n_jobs=workers, return_as="generator")(
                joblib.delayed(run_job)(job) for job in jobs
            )
            found = []
            for result in tqdm(stream, total=len(jobs), disable=not progress, desc="runs"):
                if isinstance(result, Failure):
                    with warnings.catch_warnings(
                        action="ignore"
                    ):  # joblib tells of the runs that this cancels
                        stream.close()
                    raise _error(result, found, curves)
                found += result
            return _table(found, curves)
    finally:
        torch.set_num_threads(threads)
        latest_task.clear()


def _table(found: list[dict], curves: bool) -> pd.DataFrame:
    table = pd.DataFrame(found)
    if len(table) and "late_gain" in table:
        key = ["recipe", "decision", "metric", "at"]
        rising = table.groupby(key)["late_gain"].transform(still_rising).astype(bool)
        table.insert(table.columns.get_loc("late_gain") + 1, "rising", rising)
    return table if curves or "curve" not in table else table.drop(columns="curve")


def _error(failure: Failure, found: list[dict], curves: bool) -> RunError:
    kind = RunRefused if failure.refused else RunError
    error = kind(
        f"recipe {failure.recipe!r}, seed {failure.seed}, while {failure.part}: {failure.error} "
        f"({len(found)} rows of finished runs are in this error's `finished`)"
    )
    error.finished = _table(found, curves)
    error.add_note(failure.trace)
    return error


# ---- what comes in ----------------------------------------------------------------------------------------


def _checked(chosen, make_task, seeds, metrics, tune_metric):
    if isinstance(chosen, Task) or isinstance(make_task, Task):
        raise TypeError(
            "compare needs the function that makes the task, not one task: every seed has its own split, as in "
            'compare(["class_weights"], functools.partial(data.digits, 20), range(5))'
        )
    if isinstance(chosen, str | Recipe | Rival) or not isinstance(chosen, Iterable):
        raise TypeError(f"chosen must be a list of recipes, got {chosen!r}")
    if not callable(make_task):
        raise TypeError(
            f"make_task must be a function that is called as make_task(seed=0), got {make_task!r}"
        )
    if not takes_seed(make_task):
        raise TypeError(
            "make_task must be callable with a seed alone, as make_task(seed=0): give it a parameter `seed` that "
            "decides the split or the data, and fix the others by functools.partial"
        )
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise TypeError(f"seeds must be several whole numbers, such as range(5), got {seeds!r}")
    seeds = [as_seed(seed, "seeds") for seed in seeds]
    if len(seeds) < 2 or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be at least two different whole numbers, got {seeds}")
    metrics = [as_metric(m) for m in ([metrics] if isinstance(metrics, str | Metric) else metrics)]
    names = [metric.name for metric in metrics]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"metrics must be at least one, with different names, got {names}")
    return list(chosen), seeds, metrics, None if tune_metric is None else as_metric(tune_metric)


def _check_metrics(metrics: list[Metric], task: Task) -> None:
    numbers = task.kind != "classification"
    for metric in metrics:
        if (metric.needs == "numbers") != numbers:
            raise ValueError(
                f"metrics must fit a {task.kind} task, got {metric.name!r}, which needs {metric.needs}"
            )
    if not numbers and any(metric.needs == "labels" for metric in metrics):
        count = class_count(task.validation.y, task.num_groups, "validation")
        if (count == 0).any():
            lacking = [task.group_names[k] for k in (count == 0).nonzero().flatten().tolist()]
            raise ValueError(
                f"the validation part of {task.name} must hold every class, since decisions are tuned on it, "
                f"got none of {lacking}"
            )


def _with_controls(chosen: list[str | Row]) -> list[Row]:
    rows = []
    for item in chosen:
        if isinstance(item, str) and item not in RECIPES:
            raise ValueError(f"recipe must be one of {sorted(RECIPES)}, got {item!r}")
        if not isinstance(item, str | Recipe | Rival):
            raise TypeError(f"recipe must be a name, a Recipe or a Rival, got {item!r}")
        rows.append(RECIPES[item] if isinstance(item, str) else item)
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise ValueError(f"recipes must have different names, got {names}")
    networks = [row for row in rows if isinstance(row, Recipe)]
    steered = any(
        r.batches is not recipes.prior_mix or r.feedback is not recipes.no_feedback for r in networks
    )
    controls = ["plain", *(["uniform", "shuffled"] if steered else [])]
    return [*(RECIPES[name] for name in controls if name not in names), *rows]


def _candidates(rows: list[Row], budget: Budget, tune: Callable | None) -> dict[str, list[Candidate]]:
    found = {row.name: list(tune(row, budget)) if tune else [(row, budget)] for row in rows}
    sizes = {name: len(tries) for name, tries in found.items()}
    if len(set(sizes.values())) > 1 or min(sizes.values()) == 0:
        raise ValueError(f"tune must give every recipe equally many candidates, at least one, got {sizes}")
    unequal = {
        name for name, tries in found.items() for _, other in tries if _effort(other) != _effort(budget)
    }
    if unequal:
        raise ValueError(f"tune must leave steps and batch size alone, changed for {sorted(unequal)}")
    return found


def _effort(budget: Budget) -> tuple:
    return budget.steps, budget.epochs, budget.batch_size, budget.steps_per_round


def learning_rates(*rates: float) -> Callable[[Row, Budget], list[Candidate]]:
    """For `compare(tune=...)`: the same learning rates for every recipe, by Adam; a rival stays as it is."""
    return functools.partial(_at_rates, rates=rates)


def _at_rates(row: Row, budget: Budget, rates: Sequence[float]) -> list[Candidate]:
    if isinstance(row, Rival):
        return [(row, budget)] * len(rates)
    adam = functools.partial
    return [(row, dataclasses.replace(budget, optimizer=adam(torch.optim.Adam, lr=rate))) for rate in rates]


# ---- the cache's keys -------------------------------------------------------------------------------------


def _keys(candidates, make_task, task: Task, metrics, tune_metric, at) -> dict[str, str | None]:
    """What the runs of each recipe are kept under, beside seed and data; None, and a printed line, without a key."""
    shared: set[str] = {__name__, Judge.__module__}
    try:
        asked = keys.named([make_task, metrics, tune_metric, at], shared)
        shared |= keys.modules_of(task)
        keys.sources(shared)
    except keys.Unkeyed as error:
        print(f"Not cached, nothing of this comparison: no key covers {error}.")
        return dict.fromkeys(candidates)
    found = {}
    for name, tries in candidates.items():
        try:
            own: set[str] = set()
            described = keys.named(tries, own)
            found[name] = keys.digest(name, asked, described, keys.sources(shared | own))
        except keys.Unkeyed as error:
            print(f"Not cached, {name}: no key covers {error}.")
            found[name] = None
    return found
