"""One trial: a recipe, or a rival from scikit-learn, trained on one task with one seed and judged on its parts."""

import inspect
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib import decisions, recipes
from course_lib.data import Split, Task
from course_lib.decisions import Decision
from course_lib.metrics import METRICS, Metric, Part
from course_lib.recipes import Budget, Recipe, Run, start, train
from course_lib.training import predict

LOOKS = 8  # at the validation part during training
DEFAULT_TUNED_FOR = METRICS["balanced_accuracy"]


@dataclass(frozen=True)
class Rival:
    """An estimator of scikit-learn's kind as a row of the same table.

    name            what the table calls it
    make_estimator  () -> a fresh estimator with fit and predict_proba, decision_function or predict; e.g. the class
                    HistGradientBoostingClassifier, or functools.partial(RandomForestClassifier, n_estimators=300)

    It is fitted on the training part, features flattened, on the CPU, and its `random_state` is the seed. It has no
    steps: the budget is that of its own settings. Probabilities become scores by their logarithm (0 as the smallest
    positive rounding, 2e-16). With `predict` alone the scores know the label only, and probability metrics mean little.
    """

    name: str
    make_estimator: Callable[[], object]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not callable(self.make_estimator):
            raise TypeError(
                "Rival must have a name and a function that makes an estimator (the class itself will do), "
                f"got {self.name!r} and {self.make_estimator!r}"
            )


class Trained(NamedTuple):
    """What a recipe made of a task.

    runs              one per member; of a rival the fitted estimator
    validation, test  outputs, (N, K)
    seconds           training alone
    looks             step -> outputs on the validation part during training, the last at the end
    early             share of the budget -> what there was then, see `Early`
    """

    runs: list
    validation: Tensor
    test: Tensor
    seconds: float
    looks: dict[int, Tensor]
    early: dict[float, "Early"]


class Early(NamedTuple):
    """Before the end of the budget: steps and seconds of training until then, outputs on the test part."""

    steps: int
    seconds: float
    test: Tensor


def average(outputs: Sequence[Tensor], kind: str) -> Tensor:
    """Mean prediction of an ensemble: log of the mean probability for classes, plain mean for numbers."""
    stacked = torch.stack(list(outputs))
    if kind != "classification" or len(stacked) == 1:
        return stacked.mean(0)
    return torch.logsumexp(torch.log_softmax(stacked.double(), -1), 0) - math.log(len(stacked))


def execute(
    recipe: Recipe | Rival, task: Task, budget: Budget, seed: int = 0, *, looks: int = 0,
    at: Sequence[float] = (),
) -> Trained:  # fmt: skip
    """Train every member of a recipe to the end of the budget.

    looks  how often the validation part is looked at on the way, at equal distances
    at     shares of the budget, below 1, at which the network answers for the test part too
    """
    if isinstance(recipe, Rival):
        return _fit(recipe, task, seed)
    shares = sorted({look / looks for look in range(1, looks)} | set(at))
    runs = [start(recipe, task, budget, seed, member) for member in range(recipe.members)]
    seen, seconds = zip(*(_watched(run, task, shares, at) for run in runs), strict=True)

    def together(outputs: Sequence[Tensor]) -> Tensor:
        return average(outputs, task.kind).cpu()

    validation, test = (
        together([predict(run.model, part.x) for run in runs]) for part in (task.validation, task.test)
    )
    steps = budget.steps_for(task)
    common = [share for share in shares if all(share in views for views in seen)]
    curve = {round(steps * share): together([v[share][1] for v in seen]) for share in common}
    early = {
        share: Early(
            round(steps * share), sum(v[share][0] for v in seen), together([v[share][2] for v in seen])
        )
        for share in common
        if share in at
    }
    return Trained(runs, validation, test, sum(seconds), {**curve, steps: validation}, early)


def _watched(run: Run, task: Task, shares: Sequence[float], at: Sequence[float]) -> tuple[dict, float]:
    """Train a run: share of its steps -> (seconds until then, outputs on validation, on test where asked), seconds."""
    due = {max(1, round(run.steps * share)): share for share in shares}
    views, taken, watched = {}, 0, 0.0

    def look_in(*_) -> None:
        nonlocal taken, watched
        taken += 1
        if taken in due:
            now = time.perf_counter()
            parts = [task.validation, *([task.test] if due[taken] in at else [])]
            views[due[taken]] = now - began - watched, *(predict(run.model, part.x) for part in parts)
            watched += time.perf_counter() - now

    stream = train(run, validation=False)
    if due:
        run.optimizer.register_step_post_hook(look_in)
    began = time.perf_counter()
    for _ in stream:
        pass
    return views, time.perf_counter() - began - watched


def _fit(rival: Rival, task: Task, seed: int) -> Trained:
    estimator = rival.make_estimator()
    if "random_state" in getattr(estimator, "get_params", dict)():
        estimator.set_params(random_state=seed)
    x, y = (t.cpu().numpy() for t in (task.train.x.flatten(1), task.train.y))
    began = time.perf_counter()
    estimator.fit(x, y)
    seconds = time.perf_counter() - began
    validation, test = (
        _outputs_of(estimator, part.x.cpu().flatten(1).numpy(), task) for part in (task.validation, task.test)
    )
    return Trained([estimator], validation, test, seconds, {}, {})


def _outputs_of(estimator, x: np.ndarray, task: Task) -> Tensor:
    if task.kind != "classification":
        return torch.as_tensor(estimator.predict(x)).reshape(len(x), *task.train.y.shape[1:])
    least = np.finfo(float).eps
    if hasattr(estimator, "predict_proba"):
        each = np.log(np.clip(estimator.predict_proba(x), least, 1))
    elif hasattr(estimator, "decision_function"):
        each = np.asarray(estimator.decision_function(x), dtype=float)
        each = np.stack([np.zeros(len(x)), each], 1) if each.ndim == 1 else each
    else:
        each = np.where(np.asarray(estimator.predict(x))[:, None] == estimator.classes_, 0.0, np.log(least))
    outputs = np.full((len(x), task.num_groups), np.log(least))  # a class that training lacks
    outputs[:, np.asarray(estimator.classes_, dtype=int)] = each
    return torch.from_numpy(outputs)


# ---- judging ----------------------------------------------------------------------------------------------


def part_of(task: Task, name: str) -> Part:
    """A part of a task as metrics see it, on the CPU."""
    split: Split = getattr(task, name).to("cpu")
    names = tuple(str(group) for group in task.group_names)
    return Part(split.y, split.group, split.x, task.train_count, names)


def tuned_for(metric: Metric, metrics: Sequence[Metric]) -> Metric:
    """The metric a tuned decision is tuned for: this one, unless one answer for everybody would be best for it."""
    if metric.tunable or metric.needs != "labels":
        return metric
    others = [other for other in metrics if other.needs == "labels" and other.tunable]
    return others[0] if others else DEFAULT_TUNED_FOR


class Judge:
    """Decisions of one trained recipe, made on the validation part alone, and what metrics say of them."""

    def __init__(self, recipe: Recipe | Rival, task: Task, trained: Trained) -> None:
        self.recipe, self.task, self.trained = recipe, task, trained
        self.parts = {"validation": part_of(task, "validation")}
        self.made: dict[tuple, Decision] = {}

    def decision(self, kind: str, target: Metric, look: int | None = None) -> Decision:
        """The recipe's own, or one tuned for `target`; for the network as it was at a look, or as it is."""
        key = (kind, target.name if kind == "tuned" else None, look)
        if key not in self.made:
            outputs = self.trained.validation if look is None else self.trained.looks[look]
            validation = self.parts["validation"]
            if kind == "tuned":
                prior = self.task.train_prior
                made = decisions.tuned(outputs, validation.y, target, prior, split=validation)
            elif self.task.kind != "classification":
                made = recipes.identity(None, outputs, validation.y)
            elif isinstance(self.recipe, Rival):
                made = decisions.argmax()
            else:
                made = self.recipe.decide(self.trained.runs[0], outputs, validation.y)
            self.made[key] = made
        return self.made[key]

    def value(
        self, metric: Metric, kind: str, target: Metric, part: str = "test", look: int | None = None
    ) -> float:
        outputs = getattr(self.trained, part) if look is None else self.trained.looks[look]
        return self._judged(metric, self.decision(kind, target, look), part, outputs)

    def early(self, metric: Metric, kind: str, target: Metric, share: float) -> float:
        """The metric on the test part at a share of the budget, the decision made on validation as it was then."""
        then = self.trained.early[share]
        return self._judged(metric, self.decision(kind, target, then.steps), "test", then.test)

    def _judged(self, metric: Metric, decision: Decision, part: str, outputs: Tensor) -> float:
        if part not in self.parts:
            self.parts[part] = part_of(self.task, part)
        adjusted = decision.adjust(outputs)
        return metric(self.parts[part], adjusted, decision.choose(adjusted))

    def curve(self, metric: Metric, kind: str, target: Metric) -> list[tuple[int, float]]:
        """(step, value on validation) at every look."""
        return [(step, self.value(metric, kind, target, "validation", step)) for step in self.trained.looks]

    def setting(self, kind: str, target: Metric) -> str:
        """The decision in words."""
        made = self.decision(kind, target)
        if made.says or self.task.kind != "classification":
            return made.says
        return "argmax" if isinstance(self.recipe, Rival) else recipes.said(self.recipe.decide)


def late_gain(curve: list[tuple[int, float]], metric: Metric) -> float:
    """How much better the last quarter of a curve is than the quarter before it, in the metric's better direction."""
    if len(curve) < 4:
        return math.nan
    end = curve[-1][0]
    late, before = [], []
    for step, value in curve:
        if step > 0.75 * end:
            late.append(metric.gain(value))
        elif step > 0.5 * end:
            before.append(metric.gain(value))
    return float(np.mean(late) - np.mean(before)) if late and before else math.nan


def in_words(thing: object) -> str:
    """An optimiser or another factory, short: partial(Adam, lr=0.01) -> "Adam(lr=0.01)"."""
    if isinstance(thing, partial):
        settings = [*map(str, thing.args), *(f"{key}={value}" for key, value in thing.keywords.items())]
        return f"{in_words(thing.func)}({', '.join(settings)})"
    return getattr(thing, "__name__", type(thing).__name__)


def takes_seed(make_task: Callable) -> bool:
    """Can it be called as make_task(seed=...)? True where its signature cannot be read."""
    try:
        inspect.signature(make_task).bind(seed=0)
    except TypeError:
        return False
    except ValueError:
        return True
    return True
