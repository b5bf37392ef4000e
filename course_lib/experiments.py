"""Comparing recipes fairly: same splits, initial weights, steps and data path for all, one tidy table out.

A seed fixes split, initial weights and batch order together, so that differences are paired. Whatever is tuned is
tuned on validation, with as many tries for every recipe; the test part is read once, at the end.
"""

import dataclasses
import functools
import hashlib
import json
import math
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
import sklearn
import torch
from torch import Tensor
from tqdm.auto import tqdm

from course_lib import recipes
from course_lib.data import Split, Task
from course_lib.metrics import METRICS, t_interval
from course_lib.recipes import RECIPES, Budget, Recipe, Run, start, train
from course_lib.training import predict

NO_DIFFERENCE = "no detectable difference"
Candidate = tuple[Recipe, Budget]


class Trained(NamedTuple):
    """What a recipe made of a task: the runs of its members and the outputs on validation and test."""

    runs: list[Run]
    validation: Tensor
    test: Tensor
    seconds: float


def average(outputs: Sequence[Tensor], kind: str) -> Tensor:
    """Mean prediction of an ensemble: log of the mean probability for classes, plain mean for numbers."""
    stacked = torch.stack(list(outputs))
    if kind != "classification" or len(stacked) == 1:
        return stacked.mean(0)
    return torch.logsumexp(torch.log_softmax(stacked.double(), -1), 0) - math.log(len(stacked))


def execute(recipe: Recipe, task: Task, budget: Budget, seed: int = 0) -> Trained:
    """Train every member of a recipe to the end of the budget."""
    runs = [start(recipe, task, budget, seed, member) for member in range(recipe.members)]
    began = time.perf_counter()
    for run in runs:
        for _ in train(run, validation=False):
            pass
    seconds = time.perf_counter() - began
    held = [
        average([predict(r.model, part.x) for r in runs], task.kind) for part in (task.validation, task.test)
    ]
    return Trained(runs, *held, seconds)


def evaluate(recipe: Recipe, trained: Trained, metrics: Sequence[str], *, part: str = "test") -> list[dict]:
    """One row per decision and metric. The decision is the recipe's own, or one tuned on the validation part."""
    run = trained.runs[0]
    task = run.task
    validation, split = _on_cpu(task.validation), _on_cpu(getattr(task, part))
    held, outputs = trained.validation.cpu(), getattr(trained, part).cpu()
    if task.kind == "classification":
        makers = {"own": recipe.decide, "tuned": recipes.tuned}
    else:
        makers = {"own": recipes.identity}
    rows = []
    for name, maker in makers.items():
        decision = maker(run, held, validation.y)
        adjusted = decision.adjust(outputs)
        predicted = decision.choose(adjusted)
        rows += [
            {"decision": name, "metric": m, "value": METRICS[m](split, adjusted, predicted)} for m in metrics
        ]
    return rows


def _on_cpu(split: Split) -> Split:
    return split.to("cpu")


# ---- comparing --------------------------------------------------------------------------------------------


def compare(
    chosen: Iterable[str | Recipe],
    make_task: Callable[..., Task],
    seeds: Iterable[int],
    *,
    budget: Budget | None = None,
    metrics: Sequence[str] = ("balanced_accuracy", "worst_recall"),
    tune: Callable[[Recipe, Budget], Sequence[Candidate]] | None = None,
    tune_metric: str | None = None,
    cache: str | Path | None = None,
    workers: int = 1,
    progress: bool = True,
) -> pd.DataFrame:
    """One tidy row per (task, recipe, seed, decision, metric), computed on the test part.

    chosen     names in RECIPES, or recipes of your own; "plain" is always added, and "uniform" whenever one of them
               chooses its batches
    make_task  called as make_task(seed=seed) -> Task, e.g. functools.partial(data.digits, 20)
    seeds      at least two, all different: differences are paired by seed
    budget     the same for all
    metrics    names in metrics.METRICS
    tune       (recipe, budget) -> candidates, as many for every recipe (see `learning_rates`); for each seed the
               candidate with the best `tune_metric` (default: the first metric) on validation is tested
    cache      folder of finished runs, read and added to; a recipe or task that cannot be keyed (a lambda, say) runs
               uncached, and one printed line says so
    workers    processes; the table is the same for any number
    progress   show a bar with the time left

    The table's `value`s do not depend on which recipes run together; `seconds` (training time) does vary.
    Raises ValueError for unknown names, doubled names or seeds, or unequal numbers of candidates, before any training.
    """
    budget = budget or Budget(steps=300)
    seeds, metrics = list(seeds), list(metrics)
    rows = _with_controls(chosen)
    if len(seeds) < 2 or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be at least two different whole numbers, got {seeds}")
    for name in [*metrics, tune_metric or metrics[0]] if metrics else [tune_metric]:
        if name not in METRICS:
            raise ValueError(f"metrics must be names from {sorted(METRICS)}, got {name!r}")
    candidates = {recipe.name: list(tune(recipe, budget)) if tune else [(recipe, budget)] for recipe in rows}
    sizes = {name: len(tries) for name, tries in candidates.items()}
    if len(set(sizes.values())) > 1 or min(sizes.values()) == 0:
        raise ValueError(f"tune must give every recipe equally many candidates, at least one, got {sizes}")
    unequal = [name for name, tries in candidates.items() for _, b in tries if not _same_effort(b, budget)]
    if unequal:
        raise ValueError(f"tune must leave steps and batch size alone, changed for {sorted(set(unequal))}")
    jobs = [
        (candidates[recipe.name], make_task, seed, tuple(metrics), tune_metric or metrics[0], cache)
        for seed in seeds
        for recipe in rows
    ]
    if cache is not None:
        unkeyed = [r.name for r in rows if any(describe(c) is None for c in candidates[r.name])]
        if describe(make_task) is None:
            print("Not cached: make_task cannot be named (use functools.partial in place of a lambda).")
            jobs = [(*job[:-1], None) for job in jobs]
        elif unkeyed:
            print(f"Not cached, since they hold a function that cannot be named: {', '.join(unkeyed)}.")
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():  # the caller's random stream goes on as if nothing had run
            stream = joblib.Parallel(n_jobs=workers, return_as="generator")(
                joblib.delayed(_job)(*j) for j in jobs
            )
            bar = tqdm(stream, total=len(jobs), disable=not progress, desc="runs")
            return pd.DataFrame([row for rows_of_run in bar for row in rows_of_run])
    finally:
        torch.set_num_threads(threads)
        _latest_task.clear()


def learning_rates(*rates: float) -> Callable[[Recipe, Budget], list[Candidate]]:
    """For `compare(tune=...)`: the same learning rates for every recipe, by Adam."""
    return functools.partial(_at_rates, rates=rates)


def _at_rates(recipe: Recipe, budget: Budget, rates: Sequence[float]) -> list[Candidate]:
    adam = functools.partial
    return [
        (recipe, dataclasses.replace(budget, optimizer=adam(torch.optim.Adam, lr=rate))) for rate in rates
    ]


def _with_controls(chosen: Iterable[str | Recipe]) -> list[Recipe]:
    rows = []
    for item in chosen:
        if isinstance(item, str) and item not in RECIPES:
            raise ValueError(f"recipe must be one of {sorted(RECIPES)}, got {item!r}")
        rows.append(RECIPES[item] if isinstance(item, str) else item)
    names = [recipe.name for recipe in rows]
    if len(set(names)) < len(names):
        raise ValueError(f"recipes must have different names, got {names}")
    if "plain" not in names:
        rows.insert(0, RECIPES["plain"])
    steered = any(r.batches is not recipes.prior_mix or r.feedback is not recipes.no_feedback for r in rows)
    if steered and "uniform" not in names:
        rows.insert(1, RECIPES["uniform"])
    return rows


def _same_effort(one: Budget, other: Budget) -> bool:
    return dataclasses.replace(one, optimizer=other.optimizer) == other


_latest_task: dict[tuple, Task] = {}


def _task(make_task: Callable[..., Task], seed: int) -> Task:
    """The task of a seed; recipes of one seed follow each other and share it, so nothing may change a task."""
    key = (describe(make_task) or id(make_task), seed)
    if key not in _latest_task:
        _latest_task.clear()
        _latest_task[key] = make_task(seed=seed)
    return _latest_task[key]


def _job(
    tries: Sequence[Candidate], make_task: Callable, seed: int, metrics: tuple, tune_metric: str, cache
) -> list[dict]:
    torch.set_num_threads(1)  # small networks run faster so, and the last digits depend on it
    task = _task(make_task, seed)
    file = _cache_file(cache, tries, make_task, task, seed, metrics, tune_metric)
    if file is not None and file.exists():
        return json.loads(file.read_text())
    best, best_value = None, -math.inf
    for recipe, budget in tries:
        trained = execute(recipe, task, budget, seed)
        if len(tries) == 1:
            best = (recipe, budget, trained)
            break
        [row, *_] = evaluate(recipe, trained, [tune_metric], part="validation")
        value = -row["value"] if tune_metric in LOWER_IS_BETTER else row["value"]
        if best is None or value > best_value:
            best, best_value = (recipe, budget, trained), value
    recipe, budget, trained = best
    shared = {"task": task.name, "recipe": recipe.name, "seed": seed}
    steps = sum(run.steps for run in trained.runs)
    spent = {"steps": steps, "examples": steps * budget.batch_size, "seconds": trained.seconds}
    rows = [{**shared, **row, **spent} for row in evaluate(recipe, trained, metrics)]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{seed}.part")
        part.write_text(json.dumps(rows))
        part.replace(file)  # whole or not at all, also when two workers meet
    return rows


LOWER_IS_BETTER = frozenset({"brier", "log_loss", "squared_error", "worst_group_error"})


# ---- the cache's key --------------------------------------------------------------------------------------


def describe(thing) -> str | None:
    """A text that names a thing by its value, or None where nothing does (a lambda, a closure, an open file).

    >>> describe(functools.partial(max, 3))
    'partial(builtins.max, 3)'
    """
    if thing is None or isinstance(thing, str | int | float | bool):
        return repr(thing)
    if isinstance(thing, functools.partial):
        parts = [describe(thing.func), *map(describe, thing.args)]
        named = {key: describe(value) for key, value in sorted(thing.keywords.items())}
        if None in parts or None in named.values():
            return None
        return f"partial({', '.join([*parts, *(f'{k}={v}' for k, v in named.items())])})"
    if isinstance(thing, tuple | list | frozenset | set):
        parts = [describe(part) for part in thing]
        if isinstance(thing, frozenset | set):
            parts = sorted(part or "" for part in parts)
        return None if None in parts or "" in parts else f"{type(thing).__name__}({', '.join(parts)})"
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        parts = {f.name: describe(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
        if None in parts.values():
            return None
        return f"{type(thing).__qualname__}({', '.join(f'{k}={v}' for k, v in parts.items())})"
    name = getattr(thing, "__qualname__", "")
    module = getattr(thing, "__module__", "")
    # Only code that the key covers: a function typed into a notebook may change under the same name.
    if name and "<" not in name and module not in ("", "__main__"):
        return f"{module}.{name}"
    return None


@functools.cache
def _source_hash() -> str:
    folder = Path(__file__).parent
    return _digest(*(path.read_bytes() for path in sorted(folder.glob("*.py"))))


def _digest(*parts: bytes | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _data_hash(task: Task) -> str:
    tensors = [t for part in (task.train, task.validation, task.test) for t in part]
    return _digest(*(f"{t.dtype}{tuple(t.shape)}".encode() + t.cpu().numpy().tobytes() for t in tensors))


def _cache_file(cache, tries, make_task, task: Task, seed: int, metrics, tune_metric) -> Path | None:
    if cache is None:
        return None
    named = [describe(tries), describe(make_task)]
    if None in named:
        return None
    versions = [platform.python_version(), torch.__version__, np.__version__, sklearn.__version__]
    place = f"{task.train.x.device} {torch.get_num_threads()} {platform.machine()}"
    key = _digest(
        *named, _data_hash(task), str(seed), str(metrics), tune_metric, _source_hash(), *versions, place
    )
    return Path(cache) / f"{key[:32]}.json"


# ---- reading the table ------------------------------------------------------------------------------------


def differences(
    table: pd.DataFrame, metric: str, *, baseline: str = "plain", decision: str = "own",
    baseline_decision: str | None = None, confidence: float = 0.95,
) -> pd.DataFrame:  # fmt: skip
    """Paired differences from a baseline, one row per recipe: mean, t-interval over seeds, verdict in words.

    baseline_decision  "tuned" compares with the baseline at its best; default: the same as `decision`

    An interval that holds 0 gives the verdict "no detectable difference", which does not mean that there is none.
    """
    rows = table[table.metric == metric]
    wide = rows.pivot(index="seed", columns=["recipe", "decision"], values="value")
    reference = (baseline, baseline_decision or decision)
    if reference not in wide.columns:
        raise ValueError(f"table holds no {metric!r} of {reference[0]} with decision {reference[1]!r}")
    found = []
    for recipe in dict.fromkeys(rows.recipe):
        if (recipe, decision) == reference or (recipe, decision) not in wide.columns:
            continue
        gap = (wide[recipe, decision] - wide[reference]).to_numpy()
        mean, low, high = t_interval(gap, confidence)
        better = (mean < 0) if metric in LOWER_IS_BETTER else (mean > 0)
        verdict = NO_DIFFERENCE if low <= 0 <= high else ("better" if better else "worse")
        found.append(
            {
                "recipe": recipe,
                "difference": mean,
                "low": low,
                "high": high,
                "seeds": len(gap),
                "verdict": verdict,
            }
        )
    return pd.DataFrame(found).set_index("recipe")


def summarise(table: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Mean and t-interval over seeds for each recipe, decision and metric."""
    groups = table.groupby(["recipe", "decision", "metric"], sort=False)["value"]
    found = groups.apply(lambda v: pd.Series(t_interval(v, confidence), index=["mean", "low", "high"]))
    return found.unstack()
