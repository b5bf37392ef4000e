"""What a decision is, and those that need no tuning: thresholds, costs, corrections of the prior, temperature."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.inputs import as_number, as_prior, as_scores, as_size, as_tensor

Rule = Callable[[Tensor], Tensor]


def as_is(outputs: Tensor) -> Tensor:
    """The scores unchanged."""
    return outputs


def highest(outputs: Tensor) -> Tensor:
    """The class with the highest score, (N, K) -> (N,)."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        as_scores(outputs)  # refuses, and says what to do
    return outputs.argmax(1)


class Decision(NamedTuple):
    """What to do with scores: adjust (N, K) -> (N, K), then choose (N, K) -> (N,) labels.

    says  what was chosen, for tables: "threshold 0.12"

    >>> Decision().decide(torch.tensor([[0.2, 0.1], [-3.0, 4.0]]))
    tensor([0, 1])
    """

    adjust: Rule = as_is
    choose: Rule = highest
    says: str = ""

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
        as_scores(outputs, "outputs", len(self.offset))
        return outputs.double() + self.offset.to(outputs.device)


@dataclass(frozen=True)
class Divide:
    """Divides the scores by `temperature`: above 1 less sure, below 1 surer; the argmax stays."""

    temperature: float

    def __call__(self, outputs: Tensor) -> Tensor:
        return outputs.double() / self.temperature


@dataclass(frozen=True)
class Cut:
    """Class 1 where the log-odds z_1 - z_0 reach `log_odds`, else class 0; -inf always says 1, +inf never.

    slack  how far below `log_odds` still counts as reached, in units of the rounding of the scores' dtype: log 0.3 and
           log 0.7 are rounded, and a probability of exactly 0.3 must reach the threshold 0.3
    """

    log_odds: float
    slack: float = 0.0

    def __call__(self, outputs: Tensor) -> Tensor:
        odds = log_odds(outputs)
        if math.isinf(self.log_odds):
            return torch.full_like(odds, self.log_odds < 0, dtype=torch.int64)
        rounding = torch.finfo(outputs.dtype).eps * max(1.0, abs(self.log_odds))
        return (odds >= self.log_odds - self.slack * rounding).long()

    @property
    def probability(self) -> float:
        """The same cut on the probability of class 1."""
        return torch.tensor(self.log_odds, dtype=torch.float64).sigmoid().item()


@dataclass(frozen=True, eq=False)
class Cheapest:
    """The class with the least expected cost; `cost` (K, K) float64, row true, column predicted."""

    cost: Tensor

    def __call__(self, outputs: Tensor) -> Tensor:
        as_scores(outputs, "outputs", len(self.cost))
        return (torch.softmax(outputs.double(), 1) @ self.cost.to(outputs.device)).argmin(1)


# ---- checks ------------------------------------------------------------------------------------------------


def log_odds(outputs: Tensor) -> Tensor:
    """z_1 - z_0 in float64, (N, 2) -> (N,)."""
    as_scores(outputs, "outputs", 2)
    return outputs[:, 1].double() - outputs[:, 0].double()


# ---- no tuning ---------------------------------------------------------------------------------------------


def argmax() -> Decision:
    """argmax"""
    return Decision()


def threshold(probability: float) -> Decision:
    """a threshold given

    Class 1 where its probability reaches `probability`, in [0, 1]; 0 always says 1, and 1 never does. A probability
    that differs from it by the rounding of the scores only has reached it.
    """
    probability = as_number(probability, "probability", 0, 1)
    log_odds = torch.tensor(probability, dtype=torch.float64).logit().item()
    return Decision(choose=Cut(log_odds, slack=8.0), says=f"threshold {probability:g}")


def _as_cost(cost: Tensor | Sequence[Sequence[float]]) -> Tensor:
    cost = as_tensor(cost, "cost").detach().to("cpu", torch.float64)
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
    train = as_prior(train_prior, None, "train_prior")
    target = as_prior(target_prior, len(train), "target_prior")
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
    prior, tau = as_prior(prior), as_number(tau, "tau", 0)
    if (prior == 0).any():
        raise ValueError(f"prior must hold a positive share for each class, got {prior.tolist()}")
    return Decision(adjust=Shift(-tau * prior.log()), says=f"tau {tau:g}")


def estimate_prior(
    outputs: Tensor,
    train_prior: Tensor | Sequence[float],
    *,
    max_steps: int = 10_000,
    tolerance: float = 1e-10,
) -> Tensor:
    """Class shares (K,) float64 of examples without labels, by EM; no label of them is needed.

    outputs      (N, K) scores of the unlabelled examples, right (calibrated) for `train_prior`
    train_prior  (K,) class shares that the loss saw; a class with share 0 gets share 0
    max_steps    stop after so many steps
    tolerance    stop when no share moves by more

    Each step averages the probabilities under the present guess of the prior; the likelihood of the outputs never
    falls. It converges to the maximum-likelihood prior under label shift: what the classes look like must not have
    changed. With few examples or weak scores the estimate is rough, with overconfident ones it is wrong, so calibrate
    first.

    Raises ValueError for arguments that do not fit.
    Source: Saerens et al. 2002, Neural Computation 14, eq. 2.9.
    """
    outputs = as_scores(outputs).detach().cpu().double()
    if len(outputs) == 0 or outputs.isnan().any() or (outputs == math.inf).any():
        raise ValueError("outputs must hold at least one example and no NaN or +inf")
    max_steps, tolerance = as_size(max_steps, "max_steps"), as_number(tolerance, "tolerance", 0)
    train = as_prior(train_prior, outputs.shape[1], "train_prior")
    likelihood = (
        torch.log_softmax(outputs, 1) - train.log()
    )  # log p(x | k), up to a constant for each example
    likelihood = torch.where(train > 0, likelihood, -math.inf)
    likelihood = (likelihood - likelihood.max(1, keepdim=True).values).exp()
    if likelihood.isnan().any():
        raise ValueError("outputs must allow each example at least one class that train_prior holds")
    prior = train
    for _ in range(max_steps):
        joint = likelihood * prior
        new = (joint / joint.sum(1, keepdim=True)).mean(0)
        moved = (new - prior).abs().max().item()
        prior = new
        if moved <= tolerance:
            break
    return prior / prior.sum()


@dataclass(frozen=True, eq=False)
class ToEstimatedPrior:
    """Divides the odds by the shift from `train_prior` to the prior that EM finds in the very scores it is given."""

    train_prior: Tensor

    def __call__(self, outputs: Tensor) -> Tensor:
        return prior_correction(self.train_prior, estimate_prior(outputs, self.train_prior)).adjust(outputs)


def em_prior(train_prior: Tensor | Sequence[float]) -> Decision:
    """odds divided by the shift to a prior estimated on what is to be decided

    train_prior  (K,) class shares that the loss saw

    The examples handed over are decided together: their scores tell the prior, see `estimate_prior`. No label is used,
    so the test part itself may serve. One example alone tells nothing.
    """
    return Decision(adjust=ToEstimatedPrior(as_prior(train_prior, None, "train_prior")), says="prior by EM")


def temperature(value: float) -> Decision:
    """scores divided by a temperature given

    value  > 0; the argmax stays, the probabilities move towards the middle (above 1) or the ends (below 1)
    """
    return Decision(adjust=Divide(as_number(value, "value", 0, above=True)))


def compose(first: Decision, second: Decision) -> Decision:
    """The adjustments of both, one after the other, then the choice of the second.

    Tune the second on what the first makes: tune_threshold(first.adjust(outputs), y).
    Raises ValueError when the first chooses by anything but argmax, for that rule would be lost: put it last.
    """
    if first.choose is not highest:
        raise ValueError(
            f"first must choose by argmax, its rule would be lost; put it second, got {first.choose}"
        )
    says = ", ".join(text for text in (first.says, second.says) if text)
    return Decision(Then(first.adjust, second.adjust), second.choose, says)
