"""From a network's scores to a decision: thresholds, costs, budgets, and probabilities that fit their use.

A `Decision` has two halves: `adjust` changes the scores (so the probabilities move), `choose` turns scores
into a label (so only the label moves). Whatever is tuned is tuned on the validation part, handed over as
(outputs, y); the test part never comes here. Scores are computed in float64. Both halves are small objects
that print their numbers and can be pickled.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from sklearn.metrics import roc_curve
from torch import Tensor

from course_lib.metrics import METRICS
from course_lib.priors import as_labels, as_shares

Rule = Callable[[Tensor], Tensor]


def as_is(outputs: Tensor) -> Tensor:
    """The scores unchanged."""
    return outputs


def highest(outputs: Tensor) -> Tensor:
    """The class with the highest score, (N, K) -> (N,)."""
    return outputs.argmax(1)


class Decision(NamedTuple):
    """What to do with scores: adjust (N, K) -> (N, K), then choose (N, K) -> (N,) labels.

    >>> Decision().decide(torch.tensor([[0.2, 0.1], [-3.0, 4.0]]))
    tensor([0, 1])
    """

    adjust: Rule = as_is
    choose: Rule = highest

    def decide(self, outputs: Tensor) -> Tensor:
        """Labels (N,) for scores (N, K)."""
        return self.choose(self.adjust(outputs))


# ---- the halves that decisions are made of -----------------------------------------------------------------


@dataclass(frozen=True)
class Then:
    """One rule after another."""

    first: Rule
    second: Rule

    def __call__(self, outputs: Tensor) -> Tensor:
        return self.second(self.first(outputs))


@dataclass(frozen=True, eq=False)
class Shift:
    """Adds `offset` (K,) float64 to the scores."""

    offset: Tensor

    def __call__(self, outputs: Tensor) -> Tensor:
        _check_outputs(outputs, len(self.offset))
        return outputs.double() + self.offset.to(outputs.device)


@dataclass(frozen=True)
class Divide:
    """Divides the scores by `temperature`: above 1 less sure, below 1 surer; the argmax stays."""

    temperature: float

    def __call__(self, outputs: Tensor) -> Tensor:
        return outputs.double() / self.temperature


@dataclass(frozen=True)
class Cut:
    """Class 1 where the log-odds z_1 - z_0 reach `log_odds`, else class 0; -inf always says 1, +inf never."""

    log_odds: float

    def __call__(self, outputs: Tensor) -> Tensor:
        odds = _log_odds(outputs)
        return (odds >= self.log_odds).long() if self.log_odds < math.inf else torch.zeros_like(odds).long()

    @property
    def probability(self) -> float:
        """The same cut on the probability of class 1."""
        return torch.tensor(self.log_odds, dtype=torch.float64).sigmoid().item()


@dataclass(frozen=True, eq=False)
class Cheapest:
    """The class with the least expected cost; `cost` (K, K) float64, row true, column predicted."""

    cost: Tensor

    def __call__(self, outputs: Tensor) -> Tensor:
        _check_outputs(outputs, len(self.cost))
        return (torch.softmax(outputs.double(), 1) @ self.cost.to(outputs.device)).argmin(1)


# ---- checks ------------------------------------------------------------------------------------------------


def _check_outputs(outputs: Tensor, num_classes: int | None = None) -> None:
    wanted = "K" if num_classes is None else num_classes
    if not outputs.is_floating_point():
        raise TypeError(f"outputs must be floating-point scores, got dtype {outputs.dtype}")
    if outputs.ndim != 2 or num_classes not in (None, outputs.shape[1]):
        raise ValueError(f"outputs must have shape (N, {wanted}), got {tuple(outputs.shape)}")


def _log_odds(outputs: Tensor) -> Tensor:
    """z_1 - z_0 in float64, (N, 2) -> (N,)."""
    _check_outputs(outputs, 2)
    return outputs[:, 1].double() - outputs[:, 0].double()


def _for_tuning(outputs: Tensor, num_classes: int | None = None) -> Tensor:
    """Validation scores as float64 on the CPU, at least one row, all finite."""
    _check_outputs(outputs, num_classes)
    if len(outputs) == 0:
        raise ValueError("outputs must hold at least one validation example, got none")
    if not torch.isfinite(outputs).all():
        raise ValueError("outputs must be finite, got NaN or infinity: has the training diverged?")
    return outputs.detach().cpu().double()


def _pair_for_tuning(outputs: Tensor, y: Tensor, num_classes: int | None = None) -> tuple[Tensor, Tensor]:
    outputs, y = _for_tuning(outputs, num_classes), as_labels(y, "y")
    if len(y) != len(outputs):
        raise ValueError(f"y must hold one label per row of outputs, {len(outputs)}, got {len(y)}")
    if y.max() >= outputs.shape[1]:
        raise ValueError(f"y must be labels 0..{outputs.shape[1] - 1}, got {int(y.max())}")
    return outputs, y


def _as_prior(prior: Tensor | Sequence[float], name: str, num_classes: int | None = None) -> Tensor:
    """(K,) float64 shares; a list keeps all its digits, which torch would round to float32."""
    prior = as_shares(torch.as_tensor(prior, dtype=torch.float64), num_classes, name)
    if prior.ndim != 1:
        raise ValueError(f"{name} must have shape (K,), got {tuple(prior.shape)}")
    return prior


def _between(low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """A cut that `high` reaches and `low` does not, midway where floating point has a number there."""
    middle = low + (np.asarray(high) - low) / 2
    return np.where(middle > low, middle, high)


# ---- no tuning ---------------------------------------------------------------------------------------------


def argmax() -> Decision:
    """argmax"""
    return Decision()


def threshold(probability: float) -> Decision:
    """a threshold given

    Class 1 where its probability reaches `probability`, in [0, 1]; 0 always says 1, and 1 never does.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie in [0, 1], got {probability}")
    return Decision(choose=Cut(torch.tensor(probability, dtype=torch.float64).logit().item()))


def _as_cost(cost: Tensor | Sequence[Sequence[float]]) -> Tensor:
    cost = torch.as_tensor(cost, dtype=torch.float64).detach().cpu()
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1] or len(cost) == 0:
        raise ValueError(f"cost must have shape (K, K), row = true class, got {tuple(cost.shape)}")
    if not torch.isfinite(cost).all():
        raise ValueError(f"cost must be finite, got {cost.tolist()}")
    return cost


def cost_matrix(cost: Tensor | Sequence[Sequence[float]]) -> Decision:
    """least expected cost

    cost  (K, K), row = true class, column = predicted class; benefits are negative costs

    Of equally cheap classes the first. Right only as far as the probabilities are: calibrate first
    (`compose(fit_temperature(...), cost_matrix(...))`), and correct the prior if training changed it.
    Source: Elkan 2001, "The foundations of cost-sensitive learning", eq. 1.
    """
    return Decision(choose=Cheapest(_as_cost(cost)))


def threshold_for_costs(cost: Tensor | Sequence[Sequence[float]]) -> float:
    """The probability of class 1 from which predicting 1 is the cheaper choice, for two classes.

    cost  (2, 2), row = true class, column = predicted class; an error must cost more than being right

    With nothing to pay for being right it is c_fp / (c_fp + c_fn):

    >>> threshold_for_costs([[0, 1], [9, 0]])
    0.1

    Raises ValueError for another shape, and when one choice is never dearer than the other.
    Source: Elkan 2001, eq. 2.
    """
    cost = _as_cost(cost)
    if cost.shape != (2, 2):
        raise ValueError(
            f"cost must have shape (2, 2), got {tuple(cost.shape)}; for more classes use cost_matrix"
        )
    extra_positive, extra_negative = (cost[0, 1] - cost[0, 0]).item(), (cost[1, 0] - cost[1, 1]).item()
    if extra_positive <= 0 or extra_negative <= 0:
        raise ValueError(
            f"cost must make an error dearer than being right, in both rows, got {cost.tolist()}"
        )
    return extra_positive / (extra_positive + extra_negative)


def prior_correction(
    train_prior: Tensor | Sequence[float], target_prior: Tensor | Sequence[float]
) -> Decision:
    """divide the odds by the shift of the prior

    train_prior   (K,) class shares that the loss saw: those of the batches, and with class weights w those
                  proportional to w * share
    target_prior  (K,) class shares where the model is used

    Adds log(target / train) to the scores. If they were right for `train_prior`, and classes look the same in
    both places (label shift), they are right for `target_prior`. A class with target share 0 gets -inf: it is
    never chosen.

    Raises ValueError for a class that has a target share but no share in training.
    Source: Saerens et al. 2002, Neural Computation 14, eq. 2.4; Elkan 2001, theorem 2.
    """
    train = _as_prior(train_prior, "train_prior")
    target = _as_prior(target_prior, "target_prior", len(train))
    unseen = (train == 0) & (target > 0)
    if unseen.any():
        raise ValueError(
            "train_prior must be positive wherever target_prior is, got 0 for the classes "
            f"{unseen.nonzero().flatten().tolist()}"
        )
    return Decision(adjust=Shift(torch.where(target > 0, target.log() - train.log(), -math.inf)))


def logit_adjustment(prior: Tensor | Sequence[float], tau: float = 1.0) -> Decision:
    """argmax of the scores - tau log prior

    prior  (K,) class shares of the training part, all positive
    tau    >= 0; 0 changes nothing, 1 is `prior_correction` to a uniform prior

    For a plainly trained network. After `losses.logit_adjusted_loss` it would correct a second time.
    Raises ValueError for a class with share 0: its score would become infinite, and it would always win.
    Source: Menon et al. 2021, arXiv:2007.07314, eq. 9.
    """
    prior = _as_prior(prior, "prior")
    if (prior == 0).any():
        raise ValueError(f"prior must hold a positive share for each class, got {prior.tolist()}")
    if not (math.isfinite(tau) and tau >= 0):
        raise ValueError(f"tau must be a finite number >= 0, got {tau}")
    return Decision(adjust=Shift(-tau * prior.log()))


def temperature(value: float) -> Decision:
    """scores divided by a temperature given

    value  > 0; the argmax stays, the probabilities move towards the middle (above 1) or the ends (below 1)
    """
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"value must be a finite number > 0, got {value}")
    return Decision(adjust=Divide(value))


def compose(first: Decision, second: Decision) -> Decision:
    """The adjustments of both, one after the other, then the choice of the second.

    Tune the second on what the first makes: tune_threshold(first.adjust(outputs), y).
    Raises ValueError when the first chooses by anything but argmax, for that rule would be lost: put it last.
    """
    if first.choose is not highest:
        raise ValueError(
            f"first must choose by argmax, its rule would be lost; put it second, got {first.choose}"
        )
    return Decision(Then(first.adjust, second.adjust), second.choose)


# ---- tuned on validation: two classes ----------------------------------------------------------------------


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
    outputs: Tensor, y: Tensor, metric: str | Callable[..., np.ndarray] = "balanced_accuracy"
) -> Decision:
    """threshold tuned on validation

    outputs  (N, 2) validation scores
    y        (N,) labels, both classes present; class 1 is the positive one
    metric   a name in CUT_METRICS, or a function of four count arrays, one number per cut, larger is better:
             lambda tp, fp, fn, tn: -(9 * fn + fp)

    Looks at every cut that can make a difference: midway between neighbouring scores, and beyond either end.
    Of equally good cuts it takes the one nearest to argmax (log-odds 0). The probabilities stay as they are;
    the cut is `decision.choose.log_odds`. O(N log N).

    Raises ValueError for other shapes, an unknown metric, and when only one class is there to judge by.
    """
    if isinstance(metric, str):
        if metric not in CUT_METRICS:
            raise ValueError(f"metric must be one of {sorted(CUT_METRICS)} or a function, got {metric!r}")
        metric = CUT_METRICS[metric]
    outputs, y = _pair_for_tuning(outputs, y, 2)
    positives = int(y.sum())
    negatives = len(y) - positives
    if positives == 0 or negatives == 0:
        raise ValueError(f"y must hold both classes, got {negatives} of class 0 and {positives} of class 1")
    # One entry per distinct score, falling, after one at +inf where nothing is flagged.
    fpr, tpr, score = roc_curve(y.numpy(), _log_odds(outputs).numpy(), drop_intermediate=False)
    fp, tp = (fpr * negatives).round(), (tpr * positives).round()
    cut = np.concatenate([[np.inf], _between(score[2:], score[1:-1]), [-np.inf]])
    value = np.asarray(metric(tp, fp, positives - tp, negatives - fp), dtype=float)
    if value.shape != cut.shape or np.isnan(value).all():
        raise ValueError(f"metric must give one number per cut, {len(cut)}, got {value!r}")
    best = value >= np.nanmax(value) - 1e-12  # equal up to rounding; NaN is never best
    return Decision(choose=Cut(float(min(cut[best], key=abs))))


def alert_budget(outputs: Tensor, share: float) -> Decision:
    """the top share is flagged

    outputs  (N, 2) validation scores, their class shares those of deployment
    share    in [0, 1], how many may be flagged

    Flags floor(share * N) of the validation examples; where equal scores straddle the limit, none of them, so
    the budget holds. On new data the share is kept on average only.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share}")
    score = _log_odds(_for_tuning(outputs, 2)).sort(descending=True).values
    allowed = math.floor(share * len(score) + 1e-9)  # 0.29 * 100 is a hair below 29
    if allowed == len(score):
        return Decision(choose=Cut(-math.inf))
    above = score[score > score[allowed]]
    if len(above) == 0:
        return Decision(choose=Cut(math.inf))
    return Decision(choose=Cut(float(_between(score[allowed].item(), above[-1].item()))))


# ---- tuned on validation: any number of classes ------------------------------------------------------------

LABEL_METRICS = ("accuracy", "balanced_accuracy", "worst_recall", "macro_f1")


def _judge(metric: str | Callable[..., float], y: Tensor) -> Callable[[Tensor], float]:
    """Scores (N, K) -> the metric of their argmax; NaN counts as worst."""
    if isinstance(metric, str) and metric not in LABEL_METRICS:
        raise ValueError(f"metric must be one of {LABEL_METRICS} or a function, got {metric!r}")
    function = METRICS[metric] if isinstance(metric, str) else metric
    if function in METRICS.values() and function.__name__ not in LABEL_METRICS:
        raise ValueError(f"metric must judge labels, larger being better, got {function.__name__}")
    split = SimpleNamespace(y=y, group=y)

    def judge(outputs: Tensor) -> float:
        value = float(function(split, outputs, outputs.argmax(1)))
        return -math.inf if math.isnan(value) else value

    return judge


def tune_tau(
    outputs: Tensor,
    y: Tensor,
    prior: Tensor | Sequence[float],
    metric: str | Callable[..., float] = "balanced_accuracy",
    taus: Sequence[float] = tuple(step / 10 for step in range(21)),
) -> Decision:
    """logit adjustment, tau tuned on validation

    outputs  (N, K) validation scores
    y        (N,) labels
    prior    (K,) class shares of the training part, all positive
    metric   a name in LABEL_METRICS, or metric(split, outputs, predicted), larger is better
    taus     what to try, each >= 0; of equally good ones the smallest is taken

    Raises ValueError for arguments that do not fit.
    """
    outputs, y = _pair_for_tuning(outputs, y)
    prior = _as_prior(prior, "prior", outputs.shape[1])
    if len(taus) == 0:
        raise ValueError("taus must hold at least one value to try, got none")
    judge = _judge(metric, y)
    tried = [logit_adjustment(prior, tau) for tau in sorted(taus)]
    return max(tried, key=lambda decision: judge(decision.adjust(outputs)))


def tune_class_offsets(
    outputs: Tensor,
    y: Tensor,
    metric: str | Callable[..., float] = "balanced_accuracy",
    *,
    max_passes: int = 5,
    max_candidates: int = 50,
) -> Decision:
    """one offset per class, tuned on validation

    outputs         (N, K) validation scores
    y               (N,) labels
    metric          a name in LABEL_METRICS, or metric(split, outputs, predicted), larger is better
    max_passes      over the classes; stops early when one brings nothing
    max_candidates  offsets tried per class and pass, evenly among those that make a difference

    The thresholds of many classes: argmax of scores + offset, the probabilities staying as they are.
    Coordinate ascent from 0, one class at a time, taking only what is strictly better, so validation never
    gets worse and the same input gives the same answer; the optimum found may be a local one. K numbers
    fitted to few rare examples overfit: prefer `tune_tau`, which fits one.

    Raises ValueError for arguments that do not fit.
    """
    outputs, y = _pair_for_tuning(outputs, y)
    if max_passes < 1 or max_candidates < 1:
        raise ValueError(f"max_passes and max_candidates must be >= 1, got {max_passes} and {max_candidates}")
    judge = _judge(metric, y)
    offset = torch.zeros(outputs.shape[1], dtype=torch.float64)
    best = judge(outputs)
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
                value = judge(outputs + trial)
                if value > best + 1e-12:
                    best, offset = value, trial
        if best == before:
            break
    return Decision(choose=Then(Shift(offset), highest))


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
    outputs, y = _pair_for_tuning(outputs, y)
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
