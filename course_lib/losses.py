"""Losses that say which errors count: one weight per class, per example, or a shift of the scores.

Every loss is a function f(outputs, y, ..., reduction="mean"): "none" gives one number per example, "sum" adds
them, "mean" averages, and where weights are involved the docstring says what it divides by. Label smoothing
needs nothing from here: `torch.nn.functional.cross_entropy(..., label_smoothing=0.1)`.

Scores in float16 or bfloat16 are computed with in float32, and so is what comes out: a sum of weights, a prior of
one in a million, or the square of an error does not fit into half precision.

Labels, weights, counts and priors may come as tensors, arrays, pandas or lists; tensors must lie on the device of the
scores. Shapes, dtypes and devices are always checked; values (a label out of range, a negative weight) only on the
CPU, because looking at a number on an accelerator makes the program wait for it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.inputs import (
    as_choice,
    as_counts,
    as_labels,
    as_number,
    as_prior,
    as_scores,
    as_size,
    as_tensor,
    as_weights,
    wide,
)

REDUCTIONS = ("none", "mean", "sum")
NORMALISATIONS = ("weights", "batch_size")

Vector = Tensor | Sequence[float]


# ---- what every loss needs: the same two at its beginning and at its end ------------------------------------


def _pair(logits: Tensor, targets: Tensor, *, soft: bool = True) -> tuple[Tensor, Tensor]:
    """Scores (M, K) in float32 or better, and labels (M,) int64 or probabilities (M, K) in the dtype of the scores."""
    logits = wide(as_scores(logits, "logits"))
    if len(logits) == 0:
        raise ValueError(f"logits must hold at least one example, got shape {tuple(logits.shape)}")
    targets = _beside(targets, logits, "targets", "logits")
    if targets.ndim < 2 or not targets.is_floating_point():
        K, M = logits.shape[1], len(logits)
        return logits, as_labels(targets, "targets", K, num_examples=M, device=logits.device)
    if not soft:
        raise TypeError(f"targets must be labels here, this loss has no soft form, got dtype {targets.dtype}")
    if targets.shape != logits.shape:
        raise ValueError(
            f"targets must be labels ({len(logits)},) or class probabilities {tuple(logits.shape)}, "
            f"got shape {tuple(targets.shape)}"
        )
    if targets.device.type == "cpu":
        as_weights(targets.flatten(), "targets", num_examples=targets.numel())
        if (targets.double().sum(1) - 1).abs().max() > max(1e-3, torch.finfo(targets.dtype).eps):
            raise ValueError("targets must hold rows that sum to 1, got sums that do not")
    return logits, targets.to(logits.dtype)


def _beside(values: Tensor, other: Tensor, name: str, its_name: str) -> Tensor:
    """A tensor must lie where the scores do, because moving it at every step costs time unseen; all else is moved."""
    if not isinstance(values, Tensor):
        return as_tensor(values, name).to(other.device)
    if values.device != other.device:
        raise ValueError(
            f"{name} must be on the device of {its_name}, {other.device}, got {values.device}: move it there once, "
            f"{name}.to({str(other.device)!r})"
        )
    return values


def _per_class(values: Vector, logits: Tensor, name: str, convert) -> Tensor:
    """(K,) numbers by `convert`, in the dtype and on the device of the scores; unread if they lie on an accelerator."""
    if isinstance(values, Tensor) and values.device.type != "cpu":
        convert = as_weights
    return convert(values, name=name, num_classes=logits.shape[1]).to(logits.device, logits.dtype)


def _nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Minus the log-probability of the true class, (M,); for soft targets of each class, (M, K)."""
    if not targets.is_floating_point():
        return F.cross_entropy(logits, targets, reduction="none")
    return -F.log_softmax(logits, dim=1).masked_fill(
        targets == 0, 0
    )  # 0 * log 0 is 0: a masked class has no say


def _finish(
    each: Tensor,
    targets: Tensor,
    reduction: str,
    class_weight: Tensor | None = None,
    normalise: str = "batch_size",
) -> Tensor:
    """From the losses of true classes, (M,) or (M, K), to what `reduction` asks for."""
    if targets.is_floating_point():
        share = targets if class_weight is None else targets * class_weight
        each = (share * each).sum(1)
        weight = share.sum(1)
    elif class_weight is not None:
        weight = class_weight[targets]
        each = weight * each
    return _reduce(each, reduction, weight if class_weight is not None and normalise == "weights" else None)


def _reduce(each: Tensor, reduction: str, divide_by: Tensor | None) -> Tensor:
    """(M,) losses to what `reduction` asks for; "mean" divides by M, or by the sum of `divide_by`."""
    if reduction == "none":
        return each
    if reduction == "sum":
        return each.sum()
    if divide_by is None:
        return each.mean()
    # 0 / tiny where no example has weight, not 0 / 0.
    return each.sum() / divide_by.sum().clamp_min(torch.finfo(each.dtype).tiny)


# ---- one weight per class ----------------------------------------------------------------------------------


def weighted_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    class_weight: Vector,
    normalise: str = "weights",
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy times the weight of the true class.

    logits        (M, K) raw scores, before softmax
    targets       (M,) labels in 0..K-1, or (M, K) class probabilities (mixup)
    class_weight  (K,) finite, >= 0
    normalise     what "mean" divides by. "weights": the summed weights of the batch, as torch does, so the
                  weights of a batch of one class cancel, and two half batches do not add up to the whole;
                  "batch_size": M, so every example counts the same in whatever batch it comes
    reduction     "none" -> (M,), "sum", "mean"

    With "weights", a batch whose weights are all zero has loss 0 (torch: NaN). For soft targets the weight of
    an example is the average that its targets give, so one-hot rows behave as labels do; torch divides those
    by M whatever the weights, which is "batch_size" here.

    Raises ValueError or TypeError for arguments that do not fit.
    """
    as_choice(reduction, "reduction", REDUCTIONS)
    as_choice(normalise, "normalise", NORMALISATIONS)
    logits, targets = _pair(logits, targets)
    class_weight = _per_class(class_weight, logits, "class_weight", as_weights)
    return _finish(_nll(logits, targets), targets, reduction, class_weight, normalise)


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: float = 2.0,
    class_weight: Vector | None = None,
    normalise: str = "weights",
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy times (1 - p_true)**gamma, so confident examples count less.

    logits        (M, K) raw scores, before softmax
    targets       (M,) labels in 0..K-1, or (M, K) class probabilities: then the focal losses of the
                  classes, averaged with them, which is what mixup asks for
    gamma         >= 0; 0 is exactly weighted cross-entropy
    class_weight  (K,) multiplies the loss of each true class, e.g. to prioritise one. p_true always comes from
                  the unweighted softmax.
    normalise     what "mean" divides by, as in `weighted_cross_entropy`: "weights", the summed weights of the
                  batch, or "batch_size", M, as other focal losses do. Without weights both are M
    reduction     "none" -> (M,), "sum", "mean"

    All but the first two go by keyword: elsewhere the third is a class weight, here one could take it for gamma.

    Raises ValueError or TypeError for gamma < 0, an unknown reduction, and arguments that do not fit.
    Gradients stay finite for saturated logits, also for 0 < gamma < 1.
    Focuses on *hard* examples, which need not be rare: mislabelled ones and outliers are hard too. It bends
    probabilities towards the middle, so calibrate before reading them.
    Source: Lin et al. 2017, arXiv:1708.02002, eqs. 4-5 (softmax form).
    """
    as_choice(reduction, "reduction", REDUCTIONS)
    as_choice(normalise, "normalise", NORMALISATIONS)
    gamma = as_number(gamma, "gamma", 0)
    logits, targets = _pair(logits, targets)
    if class_weight is not None:
        class_weight = _per_class(class_weight, logits, "class_weight", as_weights)
    nll = _nll(logits, targets)
    # 1 - p without cancellation, and never quite 0, where x**gamma has infinite slope for gamma < 1.
    miss = -torch.expm1(-nll)
    each = miss.clamp_min(torch.finfo(miss.dtype).tiny) ** gamma * nll
    return _finish(each, targets, reduction, class_weight, normalise)


# ---- one class before the others ---------------------------------------------------------------------------


def class_log_odds(logits: Tensor, prioritised_class: int) -> Tensor:
    """Log-odds of one class against all the others together, (M, K) -> (M,); for K = 2, z_1 - z_0.

    Its sigmoid is the class's softmax probability, so adding a constant to all scores cannot move it.
    Raises ValueError for K < 2 or a class outside 0..K-1.
    """
    logits = wide(as_scores(logits, "logits"))
    prioritised_class = as_size(prioritised_class, "prioritised_class", 0, logits.shape[1] - 1)
    others = torch.cat([logits[:, :prioritised_class], logits[:, prioritised_class + 1 :]], dim=1)
    return logits[:, prioritised_class] - torch.logsumexp(others, dim=1)


def auxiliary_loss(
    logits: Tensor,
    targets: Tensor,
    prioritised_class: int,
    strength: float = 1.0,
    pos_weight: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy plus a term on one class against the rest.

    logits             (M, K) raw scores, K >= 2
    targets            (M,) labels in 0..K-1, or (M, K) class probabilities
    prioritised_class  the class that matters most
    strength           >= 0, of the term; 0 is plain cross-entropy
    pos_weight         > 0, of the class's own examples inside the term: more recall, less precision
    reduction          "none" -> (M,); "sum"; "mean" divides by M

    The term is binary cross-entropy on `class_log_odds` over ALL examples. Over the class's own examples
    only, as one may be tempted to write it, raising its score everywhere costs nothing, and a batch without
    any is 0 / 0.

    Raises ValueError or TypeError for arguments that do not fit.
    """
    as_choice(reduction, "reduction", REDUCTIONS)
    strength = as_number(strength, "strength", 0)
    pos_weight = as_number(pos_weight, "pos_weight", 0, above=True)
    logits, targets = _pair(logits, targets)
    odds = class_log_odds(logits, prioritised_class)
    soft = targets.is_floating_point()
    own = targets[:, prioritised_class] if soft else (targets == prioritised_class).to(odds.dtype)
    # By `where`, since a masked class (score -inf) makes one of the two infinite, and 0 * inf is no number
    missed = torch.where(own > 0, F.logsigmoid(odds), 0)
    false_alarm = torch.where(own < 1, F.logsigmoid(-odds), 0)
    term = -pos_weight * own * missed - (1 - own) * false_alarm
    return _reduce(_finish(_nll(logits, targets), targets, "none") + strength * term, reduction, None)


# ---- shifted scores ----------------------------------------------------------------------------------------


def logit_adjusted_loss(
    logits: Tensor,
    targets: Tensor,
    prior: Vector,
    tau: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy on logits + tau * log(prior); tau = 1 is balanced softmax.

    logits     (M, K) raw scores
    targets    (M,) labels in 0..K-1, or (M, K) class probabilities
    prior      (K,) class shares of the training part, summing to 1
    tau        >= 0; 0 is plain cross-entropy
    reduction  "none" -> (M,); "sum"; "mean" divides by M

    Predict with the plain logits: the shift is part of the loss alone. Together with
    `decisions.logit_adjustment` it would correct twice. The shift is not a weight: it moves the point where
    two classes balance and leaves every example's say alone. A class with prior 0 takes the smallest positive
    number for its prior. It then has practically no share in the softmax, and the loss stays finite (near 87
    tau in float32) should its label turn up after all.

    Raises ValueError or TypeError for arguments that do not fit.
    Source: Menon et al. 2021, arXiv:2007.07314, eq. 10; Ren et al. 2020, arXiv:2007.10740 (balanced softmax).
    """
    as_choice(reduction, "reduction", REDUCTIONS)
    tau = as_number(tau, "tau", 0)
    logits, targets = _pair(logits, targets)
    prior = _per_class(prior, logits, "prior", as_prior)
    log_prior = prior.clamp_min(torch.finfo(prior.dtype).tiny).log()
    return _finish(_nll(logits + tau * log_prior, targets), targets, reduction)


def ldam_margins(class_count: Vector, max_margin: float = 0.5) -> Tensor:
    """Margins proportional to n_k**(-1/4), the rarest class getting `max_margin`, (K,) float64.

    class_count  (K,) >= 0, at least one positive; a class without examples gets `max_margin` too
    max_margin   >= 0

    Raises ValueError for arguments out of range.
    Source: Cao et al. 2019, arXiv:1906.07413, section 3.2; scaled as in the authors' code.
    """
    max_margin = as_number(max_margin, "max_margin", 0)
    count = as_counts(class_count)
    fewest = count[count > 0].min()
    return max_margin * (fewest / torch.maximum(count, fewest)) ** 0.25


def ldam_loss(
    logits: Tensor,
    targets: Tensor,
    class_count: Vector,
    max_margin: float = 0.5,
    scale: float = 30.0,
    class_weight: Vector | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy that asks for a wider margin the rarer the class.

    logits        (M, K) cosines in [-1, 1], as `CosineClassifier` gives
    targets       (M,) labels in 0..K-1; no soft form, a margin belongs to one true class
    class_count   (K,) training examples of each class, see `ldam_margins`
    max_margin    >= 0, taken off the true logit of the rarest class; 0 with scale 1 is plain cross-entropy
    scale         > 0, multiplies the logits after the margin
    class_weight  (K,) as in `weighted_cross_entropy`; the authors switch it on for the last stage only
    reduction     "none" -> (M,); "sum"; "mean" divides by the summed weights, by M without

    The network's outputs are cosines, so their softmax is nearly flat: for probabilities use scale * outputs,
    or fit a temperature.

    Raises ValueError or TypeError for arguments that do not fit.
    Source: Cao et al. 2019, arXiv:1906.07413, section 3.2; scale 30 as in the authors' code.
    """
    as_choice(reduction, "reduction", REDUCTIONS)
    scale = as_number(scale, "scale", 0, above=True)
    logits, targets = _pair(logits, targets, soft=False)
    margin = ldam_margins(as_counts(class_count, num_classes=logits.shape[1]), max_margin)
    is_true = targets[:, None] == torch.arange(logits.shape[1], device=logits.device)
    shifted = scale * torch.where(is_true, logits - margin.to(logits.device, logits.dtype), logits)
    if class_weight is not None:
        class_weight = _per_class(class_weight, logits, "class_weight", as_weights)
    return _finish(_nll(shifted, targets), targets, reduction, class_weight, "weights")


class CosineClassifier(nn.Module):
    """A last layer without lengths: the cosine between the features and a direction per class.

    in_features, num_classes  >= 1
    scale                     > 0, multiplies the cosines: 1 for `ldam_loss` with its own scale, 30 for scores whose
                              softmax gives probabilities (then `ldam_loss` takes scale 1 and 30 times the margin)

    Input (M, in_features); output (M, num_classes) in [-scale, scale]. Without it a frequent class wins by growing a
    longer weight vector, and a margin would mean nothing. Features that are all zero give cosines of 0.
    Source: Cao et al. 2019, arXiv:1906.07413, section 3.2.
    """

    def __init__(self, in_features: int, num_classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = as_number(scale, "scale", 0, above=True)
        sizes = as_size(num_classes, "num_classes"), as_size(in_features, "in_features")
        self.weight = nn.Parameter(torch.empty(sizes))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * F.linear(_directions(features), _directions(self.weight))


def _directions(rows: Tensor) -> Tensor:
    """Rows of length 1, and 0 where a row is 0: F.normalize divides these by 1e-12, which float16 takes for 0."""
    rows = wide(rows)
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(length > 0, length, 1)
