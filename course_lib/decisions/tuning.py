"""Decisions tuned on the validation part, handed over as (outputs, y): thresholds, budgets, offsets, temperature."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.optimize import brentq
from sklearn.metrics import roc_curve
from torch import Tensor

from course_lib.decisions.core import Cut, Decision, Shift, Then, highest, log_odds, temperature
from course_lib.inputs import as_labels, as_number, as_prior, as_scores, as_size
from course_lib.metrics import METRICS, Metric, Part


def _for_tuning(outputs: Tensor, num_classes: int | None = None) -> Tensor:
    """Validation scores as float64 on the CPU, at least one row, all finite."""
    outputs = as_scores(outputs, "outputs", num_classes).detach().cpu().double()
    if len(outputs) == 0:
        raise ValueError("outputs must hold at least one validation example, got none")
    if not torch.isfinite(outputs).all():
        raise ValueError("outputs must be finite, got NaN or infinity: has the training diverged?")
    return outputs


def _pair_for_tuning(
    outputs: Tensor, y: Tensor, num_classes: int | None = None, *, every_class: bool = True
) -> tuple[Tensor, Tensor]:
    outputs = _for_tuning(outputs, num_classes)
    y = as_labels(y, "y", outputs.shape[1], num_examples=len(outputs))
    count = torch.bincount(y, minlength=outputs.shape[1])
    if every_class and (count == 0).any():
        raise ValueError(
            "y must hold every class where something is tuned on it, got no validation example of class "
            f"{(count == 0).nonzero().flatten().tolist()}: make the validation part larger, or split it by class"
        )
    return outputs, y


def _between(low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """A cut that `high` reaches and `low` does not, midway where floating point has a number there."""
    middle = low + (np.asarray(high) - low) / 2
    return np.where(middle > low, middle, high)


# ---- tuned on validation: two classes ----------------------------------------------------------------------


MOST_CUTS = 400


def _f1(tp, fp, fn, tn):
    return 2 * tp / (2 * tp + fp + fn)


# From counts, so that all cuts are judged at once; y holds both classes, so no denominator is 0.
CUT_METRICS: dict[str, Callable[..., np.ndarray]] = {
    "accuracy": lambda tp, fp, fn, tn: (tp + tn) / (tp + fp + fn + tn),
    "balanced_accuracy": lambda tp, fp, fn, tn: (tp / (tp + fn) + tn / (tn + fp)) / 2,
    "worst_recall": lambda tp, fp, fn, tn: np.minimum(tp / (tp + fn), tn / (tn + fp)),
    "g_mean": lambda tp, fp, fn, tn: np.sqrt(tp / (tp + fn) * tn / (tn + fp)),
    "f1": _f1,
    "macro_f1": lambda tp, fp, fn, tn: (_f1(tp, fp, fn, tn) + _f1(tn, fn, fp, tp)) / 2,
}


def tune_threshold(
    outputs: Tensor,
    y: Tensor,
    metric: str | Metric | Callable[..., np.ndarray] = "balanced_accuracy",
    *,
    split: Part | None = None,
) -> Decision:
    """threshold tuned on validation

    outputs  (N, 2) validation scores
    y        (N,) labels, both classes present; class 1 is the positive one
    metric   a name in CUT_METRICS, or a function of four count arrays, one number per cut, larger is better:
             lambda tp, fp, fn, tn: -(9 * fn + fp); or a `Metric` that needs labels
    split    what such a metric may look at beside y

    Looks at every cut that can make a difference: midway between neighbouring scores, and beyond either end; for a
    `Metric` outside CUT_METRICS at 400 of them at most, evenly among them.
    Of equally good cuts it takes the one nearest to argmax (log-odds 0). The probabilities stay as they are;
    the cut is `decision.choose.log_odds`. O(N log N).

    Raises ValueError for other shapes, an unknown metric, and when only one class is there to judge by.
    """
    outputs, y = _pair_for_tuning(outputs, y, 2)
    if isinstance(metric, Metric) and METRICS.get(metric.name) is metric and metric.name in CUT_METRICS:
        metric = metric.name
    if isinstance(metric, str):
        if metric not in CUT_METRICS:
            raise ValueError(f"metric must be one of {sorted(CUT_METRICS)} or a function, got {metric!r}")
        metric = CUT_METRICS[metric]
    positives = int(y.sum())
    negatives = len(y) - positives
    # One entry per distinct score, falling, after one at +inf where nothing is flagged.
    odds = log_odds(outputs).numpy()
    fpr, tpr, score = roc_curve(y.numpy(), odds, drop_intermediate=False)
    fp, tp = (fpr * negatives).round(), (tpr * positives).round()
    cut = np.concatenate([[np.inf], _between(score[2:], score[1:-1]), [-np.inf]])
    if isinstance(metric, Metric):
        judge = _judge(metric, y, split)
        cut = cut[np.linspace(0, len(cut) - 1, min(len(cut), MOST_CUTS)).round().astype(int)]
        value = np.array([judge(outputs, Cut(float(c))(outputs)) for c in cut])
    else:
        value = np.asarray(metric(tp, fp, positives - tp, negatives - fp), dtype=float)
    if value.shape != cut.shape or np.isnan(value).all():
        raise ValueError(f"metric must give one number per cut, {len(cut)}, got {value!r}")
    best = cut[value >= np.nanmax(value) - 1e-12]  # equal up to rounding; NaN is never best
    # Where all scores are equal, both ends are infinitely far from argmax: then the one that decides as argmax does.
    nearest = min(best, key=lambda c: (abs(c), ((odds >= c) != (odds > 0)).sum()))
    found = Cut(float(nearest))
    return Decision(choose=found, says=f"threshold {found.probability:.3g}")


def alert_budget(outputs: Tensor, share: float) -> Decision:
    """the top share is flagged

    outputs  (N, 2) validation scores, their class shares those of deployment
    share    in [0, 1], how many may be flagged

    Flags floor(share * N) of the validation examples; where equal scores straddle the limit, none of them, so
    the budget holds. On new data the share is kept on average only.
    """
    share = as_number(share, "share", 0, 1)
    score = log_odds(_for_tuning(outputs, 2)).sort(descending=True).values
    allowed = math.floor(share * len(score) + 1e-9)  # 0.29 * 100 is a hair below 29
    if allowed == len(score):
        return Decision(choose=Cut(-math.inf))
    above = score[score > score[allowed]]
    if len(above) == 0:
        return Decision(choose=Cut(math.inf))
    return Decision(choose=Cut(float(_between(score[allowed].item(), above[-1].item()))))


# ---- tuned on validation: any number of classes ------------------------------------------------------------

LABEL_METRICS = tuple(name for name, metric in METRICS.items() if metric.needs == "labels" and metric.tunable)


def _judge(
    metric: str | Metric | Callable[..., float], y: Tensor, split: Part | None = None
) -> Callable[[Tensor, Tensor], float]:
    """(scores (N, K), labels (N,)) -> the metric, turned so that larger is better; NaN counts as worst."""
    if isinstance(metric, str):
        if metric not in LABEL_METRICS:
            raise ValueError(f"metric must be one of {LABEL_METRICS} or a function, got {metric!r}")
        metric = METRICS[metric]
    elif not isinstance(metric, Metric):
        known = [m for m in METRICS.values() if m.function is metric]
        metric = known[0] if known else Metric(getattr(metric, "__name__", "metric"), metric)
    if metric.needs != "labels":
        raise ValueError(f"metric must judge labels, larger being better, got {metric.name}")
    split = Part(y, y) if split is None else split

    def judge(outputs: Tensor, predicted: Tensor) -> float:
        return metric.gain(metric(split, outputs, predicted))

    return judge


def tune_tau(
    outputs: Tensor,
    y: Tensor,
    prior: Tensor | Sequence[float],
    metric: str | Metric | Callable[..., float] = "balanced_accuracy",
    taus: Sequence[float] = tuple(step / 10 for step in range(-10, 21)),
    *,
    split: Part | None = None,
) -> Decision:
    """logit adjustment, tau tuned on validation

    outputs  (N, K) validation scores
    y        (N,) labels, every class among them
    prior    (K,) class shares of the training part; a class with share 0 is not shifted
    metric   a name in LABEL_METRICS, a `Metric` that needs labels, or metric(split, outputs, predicted) where larger
             is better
    taus     what to try; below 0 the common classes are favoured, which undoes weights that went too far. Of equally
             good ones the nearest to 0 is taken
    split    what the metric may look at beside y

    Raises ValueError for arguments that do not fit.
    """
    outputs, y = _pair_for_tuning(outputs, y)
    prior = as_prior(prior, outputs.shape[1])
    if len(taus) == 0:
        raise ValueError("taus must hold at least one value to try, got none")
    judge = _judge(metric, y, split)
    log_prior = torch.where(prior > 0, prior, 1.0).log()
    tried = {as_number(tau, "tau"): outputs - tau * log_prior for tau in sorted(taus, key=abs)}
    best = max(tried, key=lambda tau: judge(tried[tau], tried[tau].argmax(1)))
    return Decision(adjust=Shift(-best * log_prior), says=f"tau {best:g}")


def tuned(
    outputs: Tensor,
    y: Tensor,
    metric: str | Metric = "balanced_accuracy",
    prior: Tensor | Sequence[float] | None = None,
    *,
    split: Part | None = None,
) -> Decision:
    """threshold (two classes) or tau (more) chosen on validation

    prior  (K,) class shares of the task's own training part, before any resampling; needed for more than two classes

    What `experiments.compare` calls tuned: it changes what is chosen, never the probabilities.
    Arguments as in `tune_threshold` and `tune_tau`.
    """
    if as_scores(outputs).shape[1] == 2:
        return tune_threshold(outputs, y, metric, split=split)
    found = tune_tau(outputs, y, prior, metric, split=split)
    return Decision(choose=Then(found.adjust, highest), says=found.says)


def tune_class_offsets(
    outputs: Tensor,
    y: Tensor,
    metric: str | Metric | Callable[..., float] = "balanced_accuracy",
    *,
    max_passes: int = 5,
    max_candidates: int = 50,
) -> Decision:
    """one offset per class, tuned on validation

    outputs         (N, K) validation scores
    y               (N,) labels
    metric          a name in LABEL_METRICS, a `Metric`, or metric(split, outputs, predicted), larger is better
    max_passes      over the classes; stops early when one brings nothing
    max_candidates  offsets tried per class and pass, evenly among those that make a difference

    The thresholds of many classes: argmax of scores + offset, the probabilities staying as they are.
    Coordinate ascent from 0, one class at a time, taking only what is strictly better, so validation never
    gets worse and the same input gives the same answer; the optimum found may be a local one. K numbers
    fitted to few rare examples overfit: prefer `tune_tau`, which fits one.

    Raises ValueError for arguments that do not fit.
    """
    outputs, y = _pair_for_tuning(outputs, y)
    max_passes = as_size(max_passes, "max_passes")
    max_candidates = as_size(max_candidates, "max_candidates")
    judge = _judge(metric, y)
    offset = torch.zeros(outputs.shape[1], dtype=torch.float64)
    best = judge(outputs, outputs.argmax(1))
    for _ in range(max_passes if len(offset) > 1 else 0):
        before = best
        for k in range(len(offset)):
            others = outputs + offset
            others[:, k] = -math.inf
            # Example i turns to class k when k's offset passes flips[i].
            flips = np.unique((others.max(1).values - outputs[:, k]).numpy())
            cuts = np.concatenate([[flips[0] - 1], _between(flips[:-1], flips[1:]), [flips[-1] + 1]])
            keep = np.linspace(0, len(cuts) - 1, min(max_candidates, len(cuts))).round().astype(int)
            for cut in sorted(cuts[keep].tolist(), key=lambda cut: abs(cut - offset[k].item())):
                trial = offset.clone()
                trial[k] = cut
                value = judge(outputs, (outputs + trial).argmax(1))
                if value > best + 1e-12:
                    best, offset = value, trial
        if best == before:
            break
    return Decision(choose=Then(Shift(offset), highest), says=f"offsets {offset.numpy().round(2).tolist()}")


def fit_temperature(outputs: Tensor, y: Tensor, bounds: tuple[float, float] = (0.01, 100.0)) -> Decision:
    """temperature fitted on validation

    outputs  (N, K) validation scores
    y        (N,) labels, with the class shares of deployment
    bounds   0 < lowest < highest temperature; for separated classes the loss falls without end towards
             temperature 0, and for scores no better than chance towards infinity

    The temperature with the least validation log loss, which is convex in 1 / temperature, so its slope has
    one root. The argmax stays.

    Raises ValueError for arguments that do not fit.
    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    low, high = bounds
    if not (0 < low < high < math.inf):
        raise ValueError(f"bounds must be 0 < lowest < highest, finite, got {bounds}")
    outputs, y = _pair_for_tuning(outputs, y, every_class=False)
    outputs = outputs - outputs.gather(
        1, y[:, None]
    )  # (N, K), 0 for the true class: the loss is logsumexp(beta z)

    def slope(beta: float) -> float:
        return (torch.softmax(beta * outputs, 1) * outputs).sum(1).mean().item()

    if slope(1 / high) >= 0:
        return temperature(high)
    if slope(1 / low) <= 0:
        return temperature(low)
    return temperature(1 / brentq(slope, 1 / high, 1 / low, xtol=1e-12, rtol=1e-12))
