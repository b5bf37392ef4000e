"""Numbers that judge predictions on imbalanced data: scikit-learn's and imbalanced-learn's, spelled our way.

What a lesson can import from those two libraries it does; here is what `experiments.compare` needs: one
signature for every metric, metric(split, outputs, predicted), and a few summaries the libraries lack.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import norm, t
from sklearn import metrics as sk
from torch import Tensor

Metric = Callable[..., float]


def confusion(y: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Counts, (K, K) int64: row = true class, column = predicted class (scikit-learn's convention).

    Raises ValueError unless y and predicted are equally long and all labels lie in 0..K-1.
    """
    if y.ndim != 1 or y.shape != predicted.shape:
        raise ValueError(
            f"predicted must be one label per y, (N,), got {tuple(predicted.shape)} for {tuple(y.shape)}"
        )
    for name, labels in (("y", y), ("predicted", predicted)):
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(f"{name} must hold labels 0..{num_classes - 1}, got {labels.unique().tolist()}")
    pairs = torch.bincount(y.long() * num_classes + predicted.long(), minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def per_class_recall(y: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Share of each true class that was found, (K,) float64; NaN for a class that y does not hold."""
    table = confusion(y, predicted, num_classes).double()
    return table.diagonal() / table.sum(1)


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for a share seen as `successes` out of `trials`, e.g. a recall on few positives.

    Unlike p +- 1.96 s it stays inside [0, 1] and does not shrink to nothing at 0 or 1.
    Raises ValueError unless 0 <= successes <= trials, trials >= 1 and confidence lies in (0, 1).
    Source: Wilson 1927, JASA 22(158), 209-212.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes must lie between 0 and trials >= 1, got {successes} of {trials}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    z = norm.ppf(0.5 + confidence / 2)
    share, shrink = successes / trials, 1 + z**2 / trials
    middle = (share + z**2 / (2 * trials)) / shrink
    half = z / shrink * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # At 0 and at 1 the bound is exact; rounding would put it a hair outside.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == trials else min(1.0, middle + half)
    return float(low), float(high)


def t_interval(values, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of a few independent values and its Student-t interval: (mean, low, high).

    For paired comparisons hand over the differences, one per seed. Raises ValueError for fewer than two
    values or any that is not finite.
    """
    values = np.asarray(values, dtype=float).ravel()
    if len(values) < 2:
        raise ValueError(f"values must hold at least two numbers to know their spread, got {len(values)}")
    if not np.isfinite(values).all():
        raise ValueError(f"values must be finite, got {values.tolist()}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    mean = values.mean()
    half = t.ppf(0.5 + confidence / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(mean), float(mean - half), float(mean + half)


# ---- one signature for all: metric(split, outputs, predicted) -> float ------------------------------------
# split has y (N,) or (N, d) and group (N,); outputs (N, K) raw scores after the decision's adjustment;
# predicted (N,), or the outputs themselves where y is a number.


def probabilities(outputs: Tensor) -> np.ndarray:
    """Softmax of raw scores as a float64 array (N, K)."""
    return torch.softmax(outputs.double(), 1).numpy()


def accuracy(split, outputs, predicted) -> float:
    """Share of correct predictions."""
    return float(sk.accuracy_score(split.y, predicted))


def balanced_accuracy(split, outputs, predicted) -> float:
    """Mean of the per-class recalls, over the classes that occur."""
    return float(per_class_recall(split.y, predicted, outputs.shape[1]).nanmean())


def worst_recall(split, outputs, predicted) -> float:
    """Recall of the worst class, of those that occur."""
    recall = per_class_recall(split.y, predicted, outputs.shape[1])
    return float(recall[~recall.isnan()].min())


def rarest_recall(split, outputs, predicted) -> float:
    """Recall of the last class, the rarest by this library's convention (positives, in two-class tasks)."""
    return float(per_class_recall(split.y, predicted, outputs.shape[1])[-1])


def macro_f1(split, outputs, predicted) -> float:
    """Mean over classes of F1; a class that is never predicted counts 0."""
    return float(sk.f1_score(split.y, predicted, average="macro", zero_division=0))


def one_vs_rest_scores(outputs: Tensor) -> np.ndarray:
    """Log-odds of each class against all others as a float64 array (N, K).

    They rank as the probabilities do, but do not tie at 0 or 1 once a network is sure.
    """
    outputs = outputs.double()
    log_chance = torch.log_softmax(outputs, 1)
    scores = log_chance - torch.log1p(-log_chance.exp().clamp_max(0.75))
    top, best = outputs.max(1, keepdim=True)
    others = outputs.scatter(1, best, -torch.inf).logsumexp(1, keepdim=True)
    return scores.scatter(1, best, top - others).numpy()


def _macro_one_vs_rest(metric: Callable, split, outputs: Tensor) -> float:
    """Of the last class when K = 2, else the mean over the classes for which it is defined; else NaN."""
    scores = one_vs_rest_scores(outputs)
    classes = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    truths = {k: (split.y == k).numpy() for k in classes}
    each = [metric(truth, scores[:, k]) for k, truth in truths.items() if truth.any() and not truth.all()]
    return float(np.mean(each)) if each else float("nan")


def average_precision(split, outputs, predicted) -> float:
    """Step-wise area under the precision-recall curve of the positives; macro mean over classes when K > 2.

    Chance level is the prevalence, so print it beside. Classes that do not occur, or that are all there is,
    are left out; NaN when none remains.
    """
    return _macro_one_vs_rest(sk.average_precision_score, split, outputs)


def roc_auc(split, outputs, predicted) -> float:
    """Chance that a random positive outscores a random negative; macro one-vs-rest mean when K > 2.

    Classes that do not occur, or that are all there is, are left out; NaN when none remains.
    """
    return _macro_one_vs_rest(sk.roc_auc_score, split, outputs)


def brier(split, outputs, predicted) -> float:
    """Mean squared distance of the probabilities from the one-hot truth; halved when K = 2, as usual."""
    chance = probabilities(outputs)
    one_hot = np.eye(chance.shape[1])[split.y.numpy()]
    return float(((chance - one_hot) ** 2).sum(1).mean() / (2 if chance.shape[1] == 2 else 1))


def log_loss(split, outputs, predicted) -> float:
    """Mean cross-entropy in nats."""
    return float(torch.nn.functional.cross_entropy(outputs.double(), split.y))


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
    f.__name__: f
    for f in (
        *(accuracy, balanced_accuracy, worst_recall, rarest_recall, macro_f1, average_precision, roc_auc),
        *(brier, log_loss, squared_error, worst_group_error),
    )
}
