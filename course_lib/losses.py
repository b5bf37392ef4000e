"""Losses that say which errors count: one weight per class, per example, or a shift of the scores.

Every loss is a function f(outputs, y, ..., reduction="mean"): "none" gives one number per example, "sum" adds
them, "mean" averages, and where weights are involved the docstring says what it divides by. Label smoothing
needs nothing from here: `torch.nn.functional.cross_entropy(..., label_smoothing=0.1)`.

Two checks of the input differ in cost. Shapes, dtypes and devices are always checked; values (a label out of
range, a negative weight) only on the CPU, because looking at a number on an accelerator makes the program
wait for it.
"""

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REDUCTIONS = ("none", "mean", "sum")
NORMALISATIONS = ("weights", "batch_size")

Vector = Tensor | Sequence[float]


# ---- what every loss needs: checks, and the way from (M,) to one number ------------------------------------


def _check_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")


def _check_number(value: float, name: str, *, above_zero: bool = False) -> None:
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not math.isfinite(value) or value < 0 or (above_zero and value == 0):
        raise ValueError(f"{name} must be a finite number {'>' if above_zero else '>='} 0, got {value}")


def _check_range(values: Tensor, name: str) -> None:
    """Raise unless the values are finite and >= 0; one pass, and none off the CPU."""
    if values.device.type != "cpu":
        return
    low, high = (edge.item() for edge in torch.aminmax(values))
    if not (low >= 0 and high < math.inf):  # also false for NaN, which aminmax passes on
        raise ValueError(f"{name} must be finite and >= 0, got values from {low:.4g} to {high:.4g}")


def _check_scores(logits: Tensor, targets: Tensor, *, soft: bool = True) -> Tensor:
    """The targets, in the dtype of logits where they are probabilities; raises where the two do not fit."""
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating point, got dtype {logits.dtype}")
    if logits.ndim != 2 or logits.numel() == 0:
        raise ValueError(f"logits must have shape (M, K), M and K >= 1, got {tuple(logits.shape)}")
    if logits.device != targets.device:
        raise ValueError(f"targets must be on the device of logits, {logits.device}, got {targets.device}")
    if targets.is_floating_point():
        if not soft:
            raise TypeError(
                f"targets must be int64 labels here, this loss has no soft form, got dtype {targets.dtype}"
            )
        if targets.shape != logits.shape:
            raise ValueError(
                f"targets, being {targets.dtype}, must be class probabilities of shape {tuple(logits.shape)} "
                f"(labels are int64), got shape {tuple(targets.shape)}"
            )
        if targets.device.type == "cpu":
            _check_range(targets, "targets")
            if (targets.sum(1) - 1).abs().max() > 1e-3:
                raise ValueError("targets must hold rows that sum to 1, got sums that do not")
        return targets.to(logits.dtype)
    if targets.dtype != torch.int64:
        raise TypeError(f"targets must be int64 labels or float probabilities, got dtype {targets.dtype}")
    if targets.shape != logits.shape[:1]:
        raise ValueError(
            f"targets must hold a label per row of logits, shape ({len(logits)},), got {tuple(targets.shape)}"
        )
    if targets.device.type == "cpu":
        low, high = (edge.item() for edge in torch.aminmax(targets))
        if low < 0 or high >= logits.shape[1]:
            raise ValueError(
                f"targets must be labels 0..{logits.shape[1] - 1}, got labels from {low} to {high}"
            )
    return targets


def _per_class(values: Vector, like: Tensor, num_classes: int, name: str) -> Tensor:
    """`values` as a (K,) tensor with the dtype and device of `like`, checked."""
    if not isinstance(values, Tensor):
        values = torch.as_tensor(values, dtype=torch.float64)  # torch would round a list to float32
    if values.shape != (num_classes,):
        raise ValueError(
            f"{name} must have shape ({num_classes},), one number per class, got {tuple(values.shape)}"
        )
    _check_range(values, name)
    return values.to(like.device, like.dtype)


def _of_true_class(per_class: Tensor, targets: Tensor) -> Tensor:
    """The true class's number for each example, (M,): picked by label, or averaged by soft targets.

    per_class  (K,) the same for every example, or (M, K)
    """
    if targets.is_floating_point():
        return (targets * per_class).sum(1)
    if per_class.ndim == 1:
        return per_class[targets]
    return per_class.gather(1, targets[:, None]).squeeze(1)


def _reduce(each: Tensor, reduction: str, divide_by: Tensor | None = None) -> Tensor:
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
    targets       (M,) int64 labels in 0..K-1, or (M, K) class probabilities (mixup)
    class_weight  (K,) finite, >= 0; moved to the dtype and device of logits
    normalise     what "mean" divides by. "weights": the summed weights of the batch, as torch does, so the
                  weights of a batch of one class cancel, and two half batches do not add up to the whole;
                  "batch_size": M, so every example counts the same in whatever batch it comes
    reduction     "none" -> (M,), "sum", "mean"

    With "weights", a batch whose weights are all zero has loss 0 (torch: NaN). For soft targets the weight of
    an example is the average that its targets give, so one-hot rows behave as labels do; torch divides those
    by M whatever the weights, which is "batch_size" here.

    Raises ValueError or TypeError for arguments that do not fit.
    """
    _check_choice(reduction, REDUCTIONS, "reduction")
    _check_choice(normalise, NORMALISATIONS, "normalise")
    targets = _check_scores(logits, targets)
    class_weight = _per_class(class_weight, logits, logits.shape[1], "class_weight")
    each = F.cross_entropy(logits, targets, class_weight, reduction="none")
    by_weights = reduction == "mean" and normalise == "weights"
    return _reduce(each, reduction, _of_true_class(class_weight, targets) if by_weights else None)


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    gamma: float = 2.0,
    class_weight: Vector | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy times (1 - p_true)**gamma, so confident examples count less.

    logits        (M, K) raw scores, before softmax
    targets       (M,) int64 labels in 0..K-1, or (M, K) class probabilities: then the focal losses of the
                  classes, averaged with them, which is what mixup asks for
    gamma         >= 0; 0 is exactly weighted cross-entropy
    class_weight  (K,) multiplies the loss of each true class, e.g. to prioritise one; moved to the device of
                  logits. p_true always comes from the unweighted softmax.
    reduction     "none" -> (M,); "sum"; "mean" divides by the summed weights of the batch, as F.cross_entropy
                  does, and by M without weights

    Raises ValueError or TypeError for gamma < 0, an unknown reduction, and arguments that do not fit.
    Gradients stay finite for saturated logits, also for 0 < gamma < 1.
    Focuses on *hard* examples, which need not be rare: mislabelled ones and outliers are hard too. It bends
    probabilities towards the middle, so calibrate before reading them.
    Source: Lin et al. 2017, arXiv:1708.02002, eqs. 4-5 (softmax form).
    """
    _check_choice(reduction, REDUCTIONS, "reduction")
    _check_number(gamma, "gamma")
    targets = _check_scores(logits, targets)
    log_p = F.log_softmax(logits, dim=1)  # (M, K)
    if not targets.is_floating_point():
        log_p = _of_true_class(log_p, targets)  # (M,): the other classes' factors are not needed
    # 1 - p without cancellation, and never quite 0, where x**gamma has infinite slope for gamma < 1.
    miss = -torch.expm1(log_p)
    each = -(miss.clamp_min(torch.finfo(miss.dtype).tiny) ** gamma) * log_p
    weight = None
    if class_weight is not None:
        class_weight = _per_class(class_weight, logits, logits.shape[1], "class_weight")
        weight = _of_true_class(class_weight, targets)
    if targets.is_floating_point():
        each = (targets * each if class_weight is None else targets * class_weight * each).sum(1)
    elif weight is not None:
        each = weight * each
    return _reduce(each, reduction, weight)


class FocalLoss(nn.Module):
    """`focal_loss` as a module: checked when it is built, its weights move with `.to(device)`.

    >>> loss = FocalLoss(gamma=2.0, class_weight=[1.0, 4.0])
    >>> round(loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)  # log(2) / 4
    0.1733
    """

    class_weight: Tensor | None

    def __init__(
        self, gamma: float = 2.0, class_weight: Vector | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        _check_choice(reduction, REDUCTIONS, "reduction")
        _check_number(gamma, "gamma")
        if class_weight is not None:
            class_weight = torch.as_tensor(class_weight).detach().clone()
            if class_weight.ndim != 1:
                raise ValueError(f"class_weight must have shape (K,), got {tuple(class_weight.shape)}")
            _check_range(class_weight, "class_weight")
        self.gamma, self.reduction = gamma, reduction
        self.register_buffer("class_weight", class_weight)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return focal_loss(logits, targets, self.gamma, self.class_weight, self.reduction)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, reduction={self.reduction!r}"


# ---- one class before the others ---------------------------------------------------------------------------


def class_log_odds(logits: Tensor, prioritised_class: int) -> Tensor:
    """Log-odds of one class against all the others together, (M, K) -> (M,); for K = 2, z_1 - z_0.

    Its sigmoid is the class's softmax probability, so adding a constant to all scores cannot move it.
    Raises ValueError for K < 2 or a class outside 0..K-1.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"logits must have shape (M, K) with K >= 2, got {tuple(logits.shape)}")
    if prioritised_class not in range(logits.shape[1]):
        raise ValueError(
            f"prioritised_class must be a class 0..{logits.shape[1] - 1}, got {prioritised_class}"
        )
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
    targets            (M,) int64 labels in 0..K-1, or (M, K) class probabilities
    prioritised_class  the class that matters most
    strength           >= 0, of the term; 0 is plain cross-entropy
    pos_weight         > 0, of the class's own examples inside the term: more recall, less precision
    reduction          "none" -> (M,); "sum"; "mean" divides by M

    The term is binary cross-entropy on `class_log_odds` over ALL examples. Over the class's own examples
    only, as one may be tempted to write it, raising its score everywhere costs nothing, and a batch without
    any is 0 / 0.

    Raises ValueError or TypeError for arguments that do not fit.
    """
    _check_choice(reduction, REDUCTIONS, "reduction")
    _check_number(strength, "strength")
    _check_number(pos_weight, "pos_weight", above_zero=True)
    targets = _check_scores(logits, targets)
    odds = class_log_odds(logits, prioritised_class)
    soft = targets.is_floating_point()
    own = targets[:, prioritised_class] if soft else (targets == prioritised_class).to(odds.dtype)
    term = -pos_weight * own * F.logsigmoid(odds) - (1 - own) * F.logsigmoid(-odds)
    return _reduce(F.cross_entropy(logits, targets, reduction="none") + strength * term, reduction)


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
    targets    (M,) int64 labels in 0..K-1, or (M, K) class probabilities
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
    _check_choice(reduction, REDUCTIONS, "reduction")
    _check_number(tau, "tau")
    targets = _check_scores(logits, targets)
    prior = _per_class(prior, logits, logits.shape[1], "prior")
    if prior.device.type == "cpu" and abs(prior.sum().item() - 1) > 1e-3:
        raise ValueError(f"prior must sum to 1, got a sum of {prior.sum().item():.6g}")
    log_prior = prior.clamp_min(torch.finfo(prior.dtype).tiny).log()
    return F.cross_entropy(logits + tau * log_prior, targets, reduction=reduction)


def ldam_margins(class_count: Vector, max_margin: float = 0.5) -> Tensor:
    """Margins proportional to n_k**(-1/4), the rarest class getting `max_margin`, (K,).

    class_count  (K,) >= 0, at least one positive; a class without examples gets `max_margin` too
    max_margin   >= 0

    Raises ValueError for arguments out of range.
    Source: Cao et al. 2019, arXiv:1906.07413, section 3.2; scaled as in the authors' code.
    """
    _check_number(max_margin, "max_margin")
    count = torch.as_tensor(class_count)
    count = count if count.is_floating_point() else count.to(torch.get_default_dtype())
    if count.ndim != 1 or len(count) == 0:
        raise ValueError(f"class_count must have shape (K,), got {tuple(count.shape)}")
    _check_range(count, "class_count")
    if count.device.type == "cpu" and not count.any():
        raise ValueError("class_count must hold at least one example, got only zeros")
    fewest = torch.where(count > 0, count, math.inf).min()
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
    targets       (M,) int64 labels in 0..K-1; no soft form, a margin belongs to one true class
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
    _check_choice(reduction, REDUCTIONS, "reduction")
    _check_number(scale, "scale", above_zero=True)
    targets = _check_scores(logits, targets, soft=False)
    margin = _per_class(ldam_margins(class_count, max_margin), logits, logits.shape[1], "class_count")
    is_true = targets[:, None] == torch.arange(logits.shape[1], device=logits.device)
    shifted = scale * torch.where(is_true, logits - margin, logits)
    if class_weight is None:
        return F.cross_entropy(shifted, targets, reduction=reduction)
    return weighted_cross_entropy(shifted, targets, class_weight, reduction=reduction)


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
        _check_number(scale, "scale", above_zero=True)
        if in_features < 1 or num_classes < 1:
            raise ValueError(f"in_features and num_classes must be >= 1, got {in_features} and {num_classes}")
        self.weight = nn.Parameter(torch.empty(num_classes, in_features))
        nn.init.xavier_uniform_(self.weight)
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))


# ---- numbers instead of classes ----------------------------------------------------------------------------


def group_weighted_mse(
    outputs: Tensor,
    y: Tensor,
    group: Tensor,
    group_weight: Vector,
    normalise: str = "weights",
    reduction: str = "mean",
) -> Tensor:
    """Squared error times the weight of the example's group.

    outputs, y    (M,) or (M, ...), of one shape: (M, 1) and (M,) would silently broadcast to (M, M)
    group         (M,) int64 in 0..G-1
    group_weight  (G,) finite, >= 0
    normalise     what "mean" divides by: "weights", the summed weights of the batch, or "batch_size", M
    reduction     "none" -> (M,), "sum", "mean"

    The error of an example is summed over its numbers, as `data.squared_error_each` does; for one and equal
    weights this is torch's mse_loss.

    Raises ValueError or TypeError for arguments that do not fit.
    """
    _check_choice(reduction, REDUCTIONS, "reduction")
    _check_choice(normalise, NORMALISATIONS, "normalise")
    if not outputs.is_floating_point():
        raise TypeError(f"outputs must be floating point, got dtype {outputs.dtype}")
    if outputs.ndim == 0 or outputs.numel() == 0 or outputs.shape != y.shape:
        raise ValueError(
            f"y must have the shape of outputs, {tuple(outputs.shape)} with M >= 1, got {tuple(y.shape)}"
        )
    if group.dtype != torch.int64:
        raise TypeError(f"group must be int64, got dtype {group.dtype}")
    if group.shape != outputs.shape[:1]:
        raise ValueError(
            f"group must hold one number per example, shape ({len(outputs)},), got {tuple(group.shape)}"
        )
    if not outputs.device == y.device == group.device:
        raise ValueError(
            f"y and group must be on the device of outputs, {outputs.device}, got {y.device}, {group.device}"
        )
    group_weight = torch.as_tensor(group_weight, device=outputs.device)
    if group_weight.ndim != 1:
        raise ValueError(f"group_weight must have shape (G,), got {tuple(group_weight.shape)}")
    group_weight = _per_class(group_weight, outputs, len(group_weight), "group_weight")
    if group.device.type == "cpu":
        low, high = (edge.item() for edge in torch.aminmax(group))
        if low < 0 or high >= len(group_weight):
            raise ValueError(f"group must be 0..{len(group_weight) - 1}, got values from {low} to {high}")
    weight = group_weight[group]
    each = weight * (outputs - y).square().reshape(len(outputs), -1).sum(1)
    return _reduce(each, reduction, weight if normalise == "weights" else None)
