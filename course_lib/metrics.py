"""Numbers that judge predictions on imbalanced data: scikit-learn's and imbalanced-learn's, spelled our way.

What a lesson can import from those two libraries it does; here is what `experiments.compare` needs: one
signature for every metric, metric(split, outputs, predicted), its direction, and a few summaries the libraries lack.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from sklearn import metrics as sk
from torch import Tensor

from course_lib.inputs import as_choice, as_labels, as_number, as_scores, as_size

NEEDS = ("labels", "ranking", "probabilities", "numbers")


class Part(NamedTuple):
    """What a metric may look at beside outputs and predictions; a `Split` will do where the last two are not needed.

    y            (N,) labels, or (N, d) numbers
    group        (N,) int64
    x            (N, ...)
    train_count  (K,) examples of each class in the training part: it says which class is the rarest
    names        one per class
    """

    y: Tensor
    group: Tensor
    x: Tensor | None = None
    train_count: Tensor | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """A number that judges predictions, and its direction; your own stands beside the course's in `compare`.

    name              what the table calls it
    function          (split, outputs, predicted) -> float: split as in `Part`, outputs (N, K) raw scores after the
                      decision's adjustment, predicted (N,) labels (the outputs themselves where y is a number)
    higher_is_better  False for costs, losses and errors
    needs             "labels" (a decision can be tuned for it), "ranking", "probabilities", or "numbers" (regression)
    tunable           False where one answer for everybody would be best, as for the recall of one class

    >>> Metric("missed", lambda split, outputs, predicted: ((split.y == 1) & (predicted == 0)).sum(), False)
    Metric('missed', lower is better, needs labels)
    """

    name: str
    function: Callable[..., float]
    higher_is_better: bool = True
    needs: str = "labels"
    tunable: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not callable(self.function):
            raise TypeError(
                f"Metric must have a name and a function, got {self.name!r} and {self.function!r}"
            )
        as_choice(self.needs, "needs", NEEDS)

    def __call__(self, split, outputs: Tensor, predicted: Tensor) -> float:
        return float(self.function(split, outputs, predicted))

    def __repr__(self) -> str:
        direction = "higher" if self.higher_is_better else "lower"
        return f"Metric({self.name!r}, {direction} is better, needs {self.needs})"

    def gain(self, value: float) -> float:
        """The value turned so that larger is better; NaN is worse than anything."""
        return -math.inf if math.isnan(value) else value if self.higher_is_better else -value


# ---- counts -----------------------------------------------------------------------------------------------


def confusion(y: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Counts, (K, K) int64: row = true class, column = predicted class (scikit-learn's convention).

    Raises ValueError unless y and predicted are equally long and all labels lie in 0..K-1, TypeError for
    probabilities in place of labels.
    """
    num_classes = as_size(num_classes, "num_classes")
    y = as_labels(y, "y", num_classes)
    predicted = as_labels(predicted, "predicted", num_classes, num_examples=len(y))
    pairs = torch.bincount(y * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def per_class_recall(y: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Share of each true class that was found, (K,) float64; NaN for a class that y does not hold."""
    table = confusion(y, predicted, num_classes).double()
    return table.diagonal() / table.sum(1)


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for a share seen as `successes` out of `trials`, e.g. a recall on few positives; by scipy.

    Unlike p +- 1.96 s it stays inside [0, 1] and does not shrink to nothing at 0 or 1.
    Raises ValueError unless 0 <= successes <= trials, trials >= 1 and confidence lies in (0, 1).
    Source: Wilson 1927, JASA 22(158), 209-212.
    """
    trials = as_size(trials, "trials")
    successes = as_size(successes, "successes", 0, trials)
    confidence = as_number(confidence, "confidence", 0, 1, above=True, below=True)
    found = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    # At 0 and at 1 the bound is exact; rounding would put it a hair outside.
    low = 0.0 if successes == 0 else max(0.0, found.low)
    high = 1.0 if successes == trials else min(1.0, found.high)
    return float(low), float(high)


def t_interval(values, confidence: float = 0.95, *, overlap: float = 0.0) -> tuple[float, float, float]:
    """Mean of a few values and its Student-t interval: (mean, low, high).

    For paired comparisons hand over the differences, one per seed.

    overlap  n_test / n_train where every value comes from another split of one finite set: such values share
             examples, so their spread alone says too little. 0 for values from fresh data. The squared standard
             error is s^2 (1/n + overlap).

    Raises ValueError for fewer than two values or any that is not finite.
    Source of the correction: Nadeau & Bengio 2003, doi:10.1023/A:1024068626366 (corrected resampled t).
    """
    confidence = as_number(confidence, "confidence", 0, 1, above=True, below=True)
    mean, error, freedom = standard_error(values, overlap)
    half = stats.t.ppf(0.5 + confidence / 2, freedom) * error
    return mean, mean - half, mean + half


def standard_error(values, overlap: float = 0.0) -> tuple[float, float, int]:
    """Mean, its standard error and the degrees of freedom, as `t_interval` uses them."""
    overlap = as_number(overlap, "overlap", 0)
    values = np.asarray(values, dtype=float).ravel()
    if len(values) < 2:
        raise ValueError(f"values must hold at least two numbers to know their spread, got {len(values)}")
    if not np.isfinite(values).all():
        raise ValueError(f"values must be finite, got {values.tolist()}")
    spread = 0.0 if (values == values[0]).all() else values.std(ddof=1)  # the mean of equal values may round
    return float(values.mean()), float(spread * np.sqrt(1 / len(values) + overlap)), len(values) - 1


# ---- from labels ------------------------------------------------------------------------------------------


def _table(split, outputs: Tensor, predicted: Tensor) -> Tensor:
    """The confusion matrix (K, K) float64; `outputs` say how many classes there are."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(
            f"outputs must hold a score per class, shape (N, K) with K >= 2, got {tuple(outputs.shape)}"
        )
    return confusion(split.y, predicted, outputs.shape[1]).double()


def accuracy(split, outputs, predicted) -> float:
    """Share of correct predictions."""
    table = _table(split, outputs, predicted)
    return float(table.trace() / table.sum())


def _recalls(split, outputs, predicted) -> Tensor:
    table = _table(split, outputs, predicted)
    return table.diagonal() / table.sum(1)


def balanced_accuracy(split, outputs, predicted) -> float:
    """Mean of the per-class recalls, over the classes that occur."""
    return float(_recalls(split, outputs, predicted).nanmean())


def worst_recall(split, outputs, predicted) -> float:
    """Recall of the worst class, of those that occur."""
    recall = _recalls(split, outputs, predicted)
    return float(recall[~recall.isnan()].min())


def rarest_recall(split, outputs, predicted) -> float:
    """Recall of the class with the fewest training examples (`Part.train_count`), whatever its label.

    Where the split does not carry them, the class with the fewest of its own; of equally rare ones the last.
    """
    recall = _recalls(split, outputs, predicted)
    count = getattr(split, "train_count", None)
    if count is None:
        count = torch.bincount(as_labels(split.y, "y"), minlength=len(recall))
    count = torch.as_tensor(count).double()
    if len(count) != len(recall):
        raise ValueError(f"train_count must hold a count per class, {len(recall)}, got {len(count)}")
    count = torch.where(count > 0, count, torch.inf)
    return float(recall[(count == count.min()).nonzero().max()])


def _recall_of(split, outputs, predicted, name: str | int) -> float:
    recall = _recalls(split, outputs, predicted)
    names = [str(known) for known in getattr(split, "names", ())]
    if isinstance(name, str) and name not in names:
        raise ValueError(f"recall_of must name one of the classes {names}, got {name!r}")
    return float(recall[names.index(name) if isinstance(name, str) else name])


def recall_of(name: str | int) -> Metric:
    """Recall of one class, by its name in `Task.group_names` or its label; in `compare` also "recall of <name>"."""
    return Metric(f"recall of {name}", partial(_recall_of, name=name), tunable=False)


def macro_f1(split, outputs, predicted) -> float:
    """Mean of F1 over the classes that occur or are predicted; one that occurs and is never predicted counts 0."""
    table = _table(split, outputs, predicted)
    both = table.sum(0) + table.sum(1)
    return float((2 * table.diagonal() / both)[both > 0].mean())


def _mean_cost(split, outputs, predicted, cost: tuple) -> float:
    cost = torch.tensor(cost, dtype=torch.float64)
    table = _table(split, outputs, predicted)
    if cost.shape != table.shape:
        raise ValueError(f"cost must have shape {tuple(table.shape)}, got {tuple(cost.shape)}")
    return float((table * cost).sum() / table.sum())


def mean_cost(cost) -> Metric:
    """What the decisions cost per example; cost (K, K), row = true class, column = predicted class."""
    rows = tuple(map(tuple, torch.as_tensor(cost, dtype=torch.float64).tolist()))
    return Metric("mean_cost", partial(_mean_cost, cost=rows), higher_is_better=False)


# ---- from scores: rankings --------------------------------------------------------------------------------


def _scores(split, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (N, K) float64 and labels (N,), both on the CPU; -inf is welcome: a class that cannot be."""
    outputs = as_scores(outputs).detach().cpu()
    if outputs.isnan().any() or (outputs == torch.inf).any() or (outputs == -torch.inf).all(1).any():
        raise ValueError(
            "outputs must hold numbers (-inf only for a class ruled out), got NaN, +inf or a row of -inf"
        )
    return outputs, as_labels(split.y, "y", outputs.shape[1], num_examples=len(outputs))


def probabilities(outputs: Tensor) -> np.ndarray:
    """Softmax of raw scores as a float64 array (N, K)."""
    return torch.softmax(outputs.detach().cpu().double(), 1).numpy()


def one_vs_rest_scores(outputs: Tensor) -> np.ndarray:
    """Log-odds of each class against all others as a float64 array (N, K).

    They rank as the probabilities do, but do not tie at 0 or 1 once a network is sure, and examples that differ by
    rounding only do tie.
    """
    rounding = max(torch.finfo(outputs.dtype).eps, torch.finfo(torch.float64).eps)
    if outputs.dtype in (torch.float16, torch.bfloat16):
        rounding = torch.finfo(torch.float32).eps
    outputs = outputs.detach().cpu().double()
    if outputs.shape[1] == 2:
        odds = outputs[:, 1] - outputs[:, 0]
        odds = _with_ties(odds.numpy(), rounding)
        return np.stack([-odds, odds], 1)
    outputs = outputs - outputs.max(1, keepdim=True).values  # then the rounding is relative to what remains
    log_chance = torch.log_softmax(outputs, 1)
    scores = log_chance - torch.log1p(-log_chance.exp().clamp_max(0.75))
    top, best = outputs.max(1, keepdim=True)
    others = outputs.scatter(1, best, -torch.inf).logsumexp(1, keepdim=True)
    scores = scores.scatter(1, best, top - others).numpy()
    return np.stack([_with_ties(column, rounding) for column in scores.T], 1)


def _with_ties(scores: np.ndarray, rounding: float) -> np.ndarray:
    """The same scores; neighbours that differ by no more than rounding become equal."""
    distinct, place = np.unique(scores, return_inverse=True)
    reach = 4 * rounding * np.maximum(1, np.where(np.isfinite(distinct), np.abs(distinct), 1))
    with np.errstate(invalid="ignore"):  # -inf minus -inf does not occur: `distinct` holds it once
        apart = np.diff(distinct, prepend=-np.inf) > reach
    apart[:1] = True
    first = np.maximum.accumulate(np.where(apart, np.arange(len(distinct)), 0))
    # A chain of many neighbours, each close to the next, is no tie: it is cut into pieces of a few roundings.
    with np.errstate(invalid="ignore"):
        piece = np.nan_to_num(np.floor((distinct - distinct[first]) / (4 * reach)))
    new = np.diff(first, prepend=-1).astype(bool) | np.diff(piece, prepend=-1.0).astype(bool)
    return distinct[np.maximum.accumulate(np.where(new, np.arange(len(distinct)), 0))][place]


def _macro_one_vs_rest(metric: Callable, split, outputs: Tensor) -> float:
    """Of class 1 when K = 2, else the mean over the classes for which it is defined; else NaN."""
    outputs, y = _scores(split, outputs)
    scores = one_vs_rest_scores(outputs)
    classes = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    truths = {k: (y == k).numpy() for k in classes}
    rank = {
        k: np.unique(scores[:, k], return_inverse=True)[1] for k in classes
    }  # finite, whatever the scores
    each = [metric(truth, rank[k]) for k, truth in truths.items() if truth.any() and not truth.all()]
    return float(np.mean(each)) if each else float("nan")


def average_precision(split, outputs, predicted) -> float:
    """Step-wise area under the precision-recall curve of class 1; macro mean over classes when K > 2.

    Chance level is the prevalence, so print it beside. Classes that do not occur, or that are all there is,
    are left out; NaN when none remains.
    """
    return _macro_one_vs_rest(sk.average_precision_score, split, outputs)


def roc_auc(split, outputs, predicted) -> float:
    """Chance that a random positive outscores a random negative; macro one-vs-rest mean when K > 2.

    Classes that do not occur, or that are all there is, are left out; NaN when none remains.
    """
    return _macro_one_vs_rest(sk.roc_auc_score, split, outputs)


def _precision_at(split, outputs, predicted, share: float) -> float:
    outputs, y = _scores(split, outputs)
    if outputs.shape[1] != 2:
        raise ValueError(f"precision_at needs scores of two classes, (N, 2), got {tuple(outputs.shape)}")
    score, ill = one_vs_rest_scores(outputs)[:, 1], (y == 1).numpy()
    alerts = max(1, math.floor(share * len(y) + 1e-9))
    limit = np.sort(score)[-alerts]
    above, at = score > limit, score == limit
    return float((ill[above].sum() + (alerts - above.sum()) * ill[at].mean()) / alerts)


def precision_at(share: float) -> Metric:
    """Precision of an alert budget: how many of the `share` of examples with the highest scores are of class 1.

    At least one alert is made; where equal scores straddle the limit, those that fit are drawn at random, and the mean
    over the draws is given. For two classes.
    """
    share = as_number(share, "share", 0, 1, above=True)
    return Metric(f"precision at {share:g}", partial(_precision_at, share=share), needs="ranking")


# ---- from scores: probabilities ---------------------------------------------------------------------------


def brier(split, outputs, predicted) -> float:
    """Mean squared distance of the probabilities from the one-hot truth; halved when K = 2, as usual."""
    outputs, y = _scores(split, outputs)
    chance = probabilities(outputs)
    one_hot = np.eye(chance.shape[1])[y.numpy()]
    return float(((chance - one_hot) ** 2).sum(1).mean() / (2 if chance.shape[1] == 2 else 1))


def log_loss(split, outputs, predicted) -> float:
    """Mean cross-entropy in nats; infinite where a class that was ruled out occurs."""
    outputs, y = _scores(split, outputs)
    return float(torch.nn.functional.cross_entropy(outputs.double(), y))


# ---- numbers ----------------------------------------------------------------------------------------------


def _squared_each(split, predicted: Tensor) -> Tensor:
    if predicted.shape != split.y.shape:
        raise ValueError(
            f"predicted must have the shape of y, {tuple(split.y.shape)}, got {tuple(predicted.shape)}"
        )
    return (predicted.double() - split.y.double()).square().reshape(len(split.y), -1).sum(1)


def squared_error(split, outputs, predicted) -> float:
    """Mean squared error; summed over the numbers of one example where there are several (pixels)."""
    return float(_squared_each(split, predicted).mean())


def worst_group_error(split, outputs, predicted) -> float:
    """Squared error of the group that fares worst."""
    each = _squared_each(split, predicted)
    return float(max(each[split.group == g].mean() for g in split.group.unique()))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(Metric(f.__name__, f) for f in (accuracy, balanced_accuracy, worst_recall, macro_f1)),
        Metric("rarest_recall", rarest_recall, tunable=False),
        *(Metric(f.__name__, f, needs="ranking") for f in (average_precision, roc_auc)),
        *(Metric(f.__name__, f, False, "probabilities") for f in (brier, log_loss)),
        *(Metric(f.__name__, f, False, "numbers") for f in (squared_error, worst_group_error)),
    )
}


def as_metric(metric: str | Metric) -> Metric:
    """A name in METRICS, "recall of <class>", or a `Metric` of your own.

    Raises TypeError for a bare function, whose direction nobody knows, and ValueError for an unknown name.
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        name = getattr(metric, "__name__", "mine")
        raise TypeError(
            f"metrics must say which direction is better: metrics.Metric({name!r}, {name}, higher_is_better=True), "
            f"got the function alone"
        )
    if isinstance(metric, str) and metric.startswith("recall of "):
        return recall_of(metric.removeprefix("recall of "))
    if metric not in METRICS:
        raise ValueError(
            f"metrics must be names from {sorted(METRICS)}, 'recall of <class>' or a Metric, got {metric!r}"
        )
    return METRICS[metric]
