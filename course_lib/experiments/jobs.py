"""One run of a comparison, as a worker does it: from a recipe, a task and a seed to rows of the table."""

import json
import math
import re
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from course_lib.data import Task
from course_lib.experiments import keys
from course_lib.experiments.trials import LOOKS, Judge, Rival, execute, in_words, late_gain, tuned_for
from course_lib.metrics import Metric
from course_lib.recipes import Budget, Recipe

Row = Recipe | Rival
Candidate = tuple[Row, Budget]


class Failure(NamedTuple):
    recipe: str
    seed: int
    part: str
    error: str
    refused: bool
    trace: str


class Job(NamedTuple):
    """Everything a worker needs for one recipe and seed."""

    row: Row
    tries: list[Candidate]
    make_task: Callable[..., Task]
    seed: int
    budget: Budget
    metrics: list[Metric]
    tune_metric: Metric | None
    device: str | None
    token: str
    key: str | None
    cache: Path | None
    models: Path | None
    at: tuple[float, ...] = (1.0,)


latest_task: dict[tuple, Task] = {}


def task_of(token: str, make_task: Callable[..., Task], seed: int, device: str | None) -> Task:
    """The task of a seed; recipes of one seed follow each other and share it, so nothing may change a task.

    token  of this call of `compare` alone
    """
    if (token, seed) not in latest_task:
        latest_task.clear()
        task = make_task(seed=seed)
        if not isinstance(task, Task):
            raise TypeError(f"make_task must return a Task, got {type(task).__name__}")
        latest_task[token, seed] = task if device is None else task.to(device)
    return latest_task[token, seed]


def run_job(job: Job) -> list[dict] | Failure:
    torch.set_num_threads(1)  # small networks run faster so, and the last digits depend on it
    part = ["making the task"]
    try:
        return _rows(job, part)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        refused = isinstance(error, TypeError | ValueError)
        return Failure(job.row.name, job.seed, part[0], said, refused, traceback.format_exc())


def _rows(job: Job, part: list[str]) -> list[dict]:
    """The table's rows of one recipe and seed; `part` says what is being done, for the error."""
    task = task_of(job.token, job.make_task, job.seed, job.device)
    file = None
    if job.key is not None:
        part[0] = "looking for it in the cache"
        whole = keys.digest(
            job.key, keys.data_hash(task), str(job.seed), keys.versions(), keys.place(task.train.x.device)
        )
        file = job.cache / f"{whole[:32]}.json"
        if file.exists() and job.models is None:
            return json.loads(file.read_text())
    judges = []
    for number, (row, budget) in enumerate(job.tries):
        part[0] = f"training candidate {number}" if len(job.tries) > 1 else "training"
        if judges and isinstance(row, Rival) and row is job.tries[number - 1][0]:
            judges.append(judges[-1])  # the same estimator again would give the same again
            continue
        early = [share for share in job.at if share < 1]
        judges.append(Judge(row, task, execute(row, task, budget, job.seed, looks=LOOKS, at=early)))
    found = []
    for metric in job.metrics:
        target = tuned_for(metric, job.metrics)
        for kind in ["own", "tuned"] if metric.needs == "labels" else ["own"]:
            part[0] = f"judging {metric.name} ({kind}) on validation"
            best = _best(judges, job.tune_metric or target, kind, target)
            curve = judges[best].curve(metric, kind, target)
            part[0] = f"judging {metric.name} ({kind}) on test"
            row, budget = job.tries[best]
            trained = judges[best].trained
            steps = 0 if isinstance(row, Rival) else budget.steps_for(task)
            moments = [
                (share, then.steps, then.seconds, judges[best].early(metric, kind, target, share))
                for share, then in trained.early.items()
            ]
            moments.append((1.0, steps, trained.seconds, judges[best].value(metric, kind, target)))
            for at, steps, seconds, value in moments:
                found.append({
                    "task": task.name, "recipe": job.row.name, "seed": job.seed, "decision": kind,
                    "metric": metric.name, "at": at, "value": value, "setting": judges[best].setting(kind, target),
                    "candidate": _candidate(job, best), "tuned_for": target.name if kind == "tuned" else "",
                    "budget": _budget(job.budget), "steps": steps,
                    "examples": steps * budget.batch_size if steps else len(task.train.x), "seconds": seconds,
                    "n_train": len(task.train.x), "n_test": len(task.test.x), "fresh": task.fresh,
                    "higher_is_better": metric.higher_is_better,
                    "late_gain": late_gain(curve, metric) if at == 1 else math.nan, "curve": curve if at == 1 else [],
                })  # fmt: skip
            if job.models is not None:
                part[0] = "storing the model"
                found[-1]["model"] = _store(job, task, best, trained.runs)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{uuid.uuid4().hex}.part")
        draft.write_text(json.dumps([{k: v for k, v in row.items() if k != "model"} for row in found]))
        draft.replace(file)  # whole or not at all, also when two workers meet
    return found


def _best(judges: list[Judge], metric: Metric, kind: str, target: Metric) -> int:
    """The candidate that does best on validation, the first of equals."""
    if len(judges) == 1:
        return 0
    gains = [metric.gain(judge.value(metric, kind, target, "validation")) for judge in judges]
    return max(range(len(gains)), key=gains.__getitem__)


def _candidate(job: Job, number: int) -> str:
    """What sets a candidate apart, in words."""
    row, budget = job.tries[number]
    parts = [row.name] if row.name != job.row.name else []
    if not isinstance(row, Rival) and len(job.tries) > 1:
        parts.append(in_words(budget.optimizer))
    return ", ".join(parts)


def _budget(budget: Budget) -> str:
    amount = f"{budget.steps} steps" if budget.epochs is None else f"{budget.epochs:g} epochs"
    rounds = f", rounds of {budget.steps_per_round}" if budget.steps_per_round else ""
    return f"{amount} of {budget.batch_size}{rounds}, {in_words(budget.optimizer)}"


def _store(job: Job, task: Task, number: int, runs: list) -> str:
    words = f"{task.name} {job.row.name} {_budget(job.budget)} {_candidate(job, number)} seed {job.seed}"
    file = job.models / f"{re.sub(r'[^A-Za-z0-9.]+', '_', words).strip('_')}.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(runs if isinstance(job.row, Rival) else [run.model for run in runs], file)
    return str(file)
