"""What comes in, as people bring it: one converter each for labels, counts, shares, weights, scores, seeds and sizes.

Every public function of the techniques converts its arguments here. torch tensors, NumPy arrays, pandas and lists are
welcome. pandas is read by position, whatever its index, with one exception: what belongs to *classes* (counts, shares,
class weights) and has names for them (a Series, a dict, a Counter) is read by these names, because
`y.value_counts()` comes in the order of frequency and would swap the classes.

An error names the argument (`name`) as its caller knows it, what came, and what to do. Nothing is changed in place.
"""

import math
import operator
import warnings
from collections.abc import Collection, Mapping
from numbers import Real

import numpy as np
import torch
from torch import Tensor

LARGEST_SEED = 2**32 - 1  # what NumPy and scikit-learn take
LABELS = "whole numbers 0..K-1"


def as_tensor(values, name: str, due: str = "numbers") -> Tensor:
    """Numbers of whatever origin as a tensor; memory is shared where it can be, gradients are kept.

    due  what the argument should have been, for the message

    Raises TypeError for strings, saying how to encode them, and for what is no number at all; ValueError for missing
    values (None, pandas.NA) and rows of unequal length.
    """
    if isinstance(values, Tensor):
        return values
    try:
        array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    except ValueError as error:
        raise ValueError(f"{name} must be {due}: {error}") from error
    if array.dtype.kind == "O":
        array = _out_of_objects(array, name, due)
    if array.dtype.kind in "USO":
        example = next(iter(array.ravel().tolist()), "")
        if not isinstance(example, str | bytes):
            raise TypeError(f"{name} must be {due}, got {type(example).__name__} objects")
        raise TypeError(
            f"{name} must be {due}, got strings such as {example!r}: encode them first, "
            f"`codes, names = pandas.factorize({name}, sort=True)` or sklearn.preprocessing.LabelEncoder, "
            "and hand over the codes"
        )
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name} must be {due}, got dtype {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)  # torch has no longdouble
    # torch knows neither foreign byte orders nor negative strides, and warns of read-only memory
    return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))


def _out_of_objects(array: np.ndarray, name: str, due: str) -> np.ndarray:
    """An array of Python objects, as pandas makes of nullable and mixed columns, as one of numbers or strings."""
    flat = array.ravel().tolist()
    missing = [row for row, value in enumerate(flat) if _is_missing(value)]
    if missing:
        raise ValueError(
            f"{name} must be {due}, got {len(missing)} missing values, the first at position {missing[0]}: "
            "drop these examples or fill the gaps first"
        )
    strings = [value for value in flat if isinstance(value, str | bytes)]
    return np.array(strings[:1]) if strings else np.array(array.tolist())


def _is_missing(value) -> bool:
    no_number = isinstance(value, float) and value != value
    return no_number or value is None or type(value).__name__ in ("NAType", "NaTType")


# ---- one per example: labels -------------------------------------------------------------------------------


def as_labels(
    labels,
    name: str = "labels",
    num_classes: int | None = None,
    *,
    num_examples: int | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Labels as an int64 tensor (N,), N >= 1; every integer width, bool, and whole floats (0.0, 1.0) are welcome.

    num_classes   K, where the caller knows it: a label K or above is refused
    num_examples  N, where the caller knows it
    device        where the result lies. Integer labels that lie on an accelerator already are not looked at, because
                  reading them makes the program wait; they are when the result is for the CPU

    Raises TypeError for strings, fractions and probabilities, ValueError for another shape, missing, negative or too
    large labels.
    """
    labels = as_tensor(labels, name, LABELS).detach()
    if labels.ndim != 1 or len(labels) == 0:
        cure = ""
        if labels.ndim == 2:
            cure = (
                ": take its column [:, 0]"
                if labels.shape[1] == 1
                else ": of one-hot rows or scores take .argmax(1)"
            )
        raise ValueError(
            f"{name} must be one label per example, shape (N,) with N >= 1, got {tuple(labels.shape)}{cure}"
        )
    if num_examples is not None and len(labels) != num_examples:
        raise ValueError(f"{name} must hold one label per example, {num_examples}, got {len(labels)}")
    if labels.is_floating_point() or labels.is_complex():
        labels = _whole(labels, name)
    read = labels.device.type == "cpu" or torch.device(device).type == "cpu"
    labels = labels.to(device, torch.int64)
    if read:
        low, high = (edge.item() for edge in torch.aminmax(labels))
        if low < 0:
            raise ValueError(
                f"{name} must be 0..K-1, got the negative label {low}: "
                'where it means "no label", drop these examples; else number the classes from 0'
            )
        if num_classes is not None and high >= num_classes:
            raise ValueError(f"{name} must be 0..{num_classes - 1}, got {high}")
    return labels


def _whole(values: Tensor, name: str) -> Tensor:
    if values.is_complex():
        raise TypeError(f"{name} must be {LABELS}, got dtype {values.dtype}")
    gaps = (~torch.isfinite(values)).nonzero().flatten()
    if len(gaps):
        raise ValueError(
            f"{name} must be {LABELS}, got {len(gaps)} missing or infinite values, "
            f"the first at position {int(gaps[0])}: drop these examples first"
        )
    fractions = values[values != values.round()]
    if len(fractions):
        chances = values.min() >= 0 and values.max() <= 1
        cure = "; probabilities become labels by a threshold, or .argmax(1) over classes" if chances else ""
        raise TypeError(f"{name} must be {LABELS}, got {fractions[0].item():.4g}, no whole number{cure}")
    return values


# ---- one per class: counts, shares, weights ----------------------------------------------------------------


def _by_class(values, name: str, num_classes: int | None) -> Tensor:
    """One number per class as a tensor; a Series, dict or Counter is read by its names, which must be the classes."""
    if isinstance(values, Mapping):
        names, numbers = list(values), list(values.values())
    elif hasattr(values, "to_numpy") and hasattr(values, "index") and np.ndim(values) == 1:
        names, numbers = list(values.index), values
    else:
        return as_tensor(values, name)
    numbers = as_tensor(numbers, name)
    classes = [int(k) if isinstance(k, Real | np.bool_) and k % 1 == 0 else None for k in names]
    K = len(classes) if num_classes is None else num_classes
    known = None not in classes and len(set(classes)) == len(classes) and set(classes) <= set(range(K))
    if not known or (num_classes is None and len(classes) < K):
        raise ValueError(
            f"{name} must be named by the classes 0..{K - 1}, each once, got the names {names[:10]}: fill in empty "
            f"classes by .reindex(range(K), fill_value=0), or hand over a list in the order of the classes"
        )
    whole = torch.zeros(K, dtype=numbers.dtype)
    whole[torch.tensor(classes, dtype=torch.int64)] = numbers
    return whole


def as_counts(class_count, name: str = "class_count", num_classes: int | None = None) -> Tensor:
    """Examples per class as float64 (K,), at least one positive; `y.value_counts()` and a Counter are read by name.

    Raises ValueError for another shape, negative or infinite counts, nothing but zeros, and names that are not 0..K-1.
    """
    counts = _by_class(class_count, name, num_classes).detach().to("cpu", torch.float64)
    _check_vector(counts, name, num_classes)
    _check_range(counts, name)
    if counts.sum() == 0:
        raise ValueError(f"{name} must hold at least one example, got only zeros")
    return counts


def as_shares(
    shares, num_classes: int | None = None, name: str = "mix", *, num_examples: int | None = None
) -> Tensor:
    """Shares as a float64 tensor on the CPU that sums to 1 along its last axis.

    shares        (K,) or (T, K), finite, >= 0, each row summing to 1 within the rounding of its dtype, and within 1e-6
                  from float32 on; rows further off than float64 rounding are divided by their sum
    num_classes   K, where the caller knows it
    num_examples  N, for probabilities of examples in place of classes: pandas is then read by position

    Raises ValueError naming `name` for anything else.
    """
    what = (
        f"one share for each of the {num_examples or num_classes} {'examples' if num_examples else 'classes'}"
    )
    shares = as_tensor(shares, name) if num_examples else _by_class(shares, name, num_classes)
    # bfloat16 has eight digits: 61 equal shares sum to .996
    rounding = torch.finfo(shares.dtype).eps if shares.is_floating_point() else 0.0
    shares = shares.detach().to("cpu", torch.float64)
    if shares.ndim not in (1, 2) or shares.numel() == 0:
        raise ValueError(f"{name} must have shape (K,) or (T, K), got {tuple(shares.shape)}")
    if shares.shape[-1] != (num_examples or num_classes or shares.shape[-1]):
        raise ValueError(f"{name} must hold {what}, got {shares.shape[-1]}")
    _check_range(shares, name)
    total = shares.sum(-1, keepdim=True)
    gap = (total - 1).abs()
    if (worst := gap.max().item()) > max(1e-6, rounding):
        raise ValueError(f"{name} must sum to 1, got a sum of {total.flatten()[gap.argmax()].item():.6g}")
    # An exact mix stays as it is, bit for bit: learn2mix at rate 0 has to be plain training.
    return shares if worst <= 1e-12 else torch.where(gap > 1e-12, shares / total, shares)


def as_prior(prior, num_classes: int | None = None, name: str = "prior") -> Tensor:
    """One share per class, (K,) float64 on the CPU, as `as_shares`."""
    prior = as_shares(prior, num_classes, name)
    _check_vector(prior, name, num_classes)
    return prior


def as_weights(
    weight, name: str = "class_weight", num_classes: int | None = None, *, num_examples: int | None = None
) -> Tensor:
    """Finite weights >= 0 in float64, (K,), or (N,) where `num_examples` says so (pandas then by position).

    They stay on their device, and on an accelerator unread and in their own dtype: it may lack float64.
    Raises ValueError for anything else.
    """
    weight = as_tensor(weight, name) if num_examples else _by_class(weight, name, num_classes)
    weight = weight.detach()
    _check_vector(weight, name, num_examples or num_classes)
    if weight.device.type == "cpu":
        weight = weight.double()
        _check_range(weight, name)
    return weight


def _check_vector(values: Tensor, name: str, length: int | None) -> None:
    if values.ndim != 1 or len(values) == 0 or len(values) != (length or len(values)):
        raise ValueError(f"{name} must have shape ({length or 'K'},), got {tuple(values.shape)}")


def _check_range(values: Tensor, name: str) -> None:
    low, high = (edge.item() for edge in torch.aminmax(values))
    if not (low >= 0 and high < math.inf):  # also false for NaN, which aminmax passes on
        raise ValueError(f"{name} must be finite and >= 0, got values from {low:.4g} to {high:.4g}")


# ---- scores and features -----------------------------------------------------------------------------------


def as_scores(outputs, name: str = "outputs", num_classes: int | None = None) -> Tensor:
    """Raw scores (N, K) before the softmax, floating point, K >= 2, gradients kept; probabilities bring a warning.

    Raises TypeError for whole numbers, ValueError for another shape: (N, 1) scores would always decide for class 0.
    """
    outputs = as_tensor(outputs, name)
    if not outputs.is_floating_point():
        raise TypeError(f"{name} must be raw scores, floating point, got dtype {outputs.dtype}")
    if outputs.ndim != 2 or outputs.shape[1] < 2 or outputs.shape[1] != (num_classes or outputs.shape[1]):
        cure = ""
        if outputs.ndim == 1 or outputs.shape[-1] == 1:
            cure = (
                f": with z = {name}.flatten(), the score of class 1 alone, "
                "hand over torch.stack([torch.zeros_like(z), z], 1)"
            )
        raise ValueError(
            f"{name} must hold a score per class, shape (N, {num_classes or 'K'}) with K >= 2, "
            f"got {tuple(outputs.shape)}{cure}"
        )
    warn_of_probabilities(outputs, name)
    return outputs


def warn_of_probabilities(scores: Tensor, name: str) -> None:
    """A UserWarning where every row of scores (N, K) sums to 1 and lies in [0, 1]; nothing is read off the CPU."""
    if scores.device.type != "cpu" or len(scores) == 0:
        return
    scores = scores.detach()
    slack = max(1e-5, torch.finfo(scores.dtype).eps)
    if (
        abs(scores[0].sum().item() - 1) > slack
    ):  # the first row alone, nearly always, so it costs next to nothing
        return
    if scores.min() >= 0 and ((scores.double().sum(1) - 1).abs() <= slack).all():
        warnings.warn(
            f"{name} look like probabilities: they are >= 0 and every row sums to 1. Raw scores are due, before the "
            "softmax; leave the softmax out of the model, or hand over the logarithm",
            stacklevel=3,
        )


def wide(values: Tensor) -> Tensor:
    """The same numbers in float32 or better: half precision has no digits for sums, squares and small priors."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def as_table(x, name: str = "x", num_examples: int | None = None) -> Tensor:
    """Features (N, d), finite, in float64 if they are not floating point already, on their device.

    A DataFrame is read by position; columns that are no numbers are refused by name. Raises TypeError for these,
    ValueError for another shape and for missing or infinite values.
    """
    if hasattr(x, "dtypes") and hasattr(x, "columns"):
        words = [
            str(column) for column, dtype in zip(x.columns, x.dtypes, strict=True) if dtype.kind not in "biuf"
        ]
        if words:
            raise TypeError(
                f"{name} must hold numbers, got columns {words} of other dtypes: one-hot encode categories, "
                f"pandas.get_dummies({name}, dtype=float), before you hand it over"
            )
    table = as_tensor(x, name)
    if table.ndim != 2 or len(table) != (num_examples or len(table)) or table.numel() == 0:
        rows = num_examples or "N"
        raise ValueError(f"{name} must have shape ({rows}, d), one row per example, got {tuple(table.shape)}")
    table = table.detach()
    table = table if table.is_floating_point() else table.double()
    if not torch.isfinite(table).all():
        raise ValueError(
            f"{name} must be finite, got {int((~torch.isfinite(table)).sum())} missing or infinite values"
        )
    return table


# ---- single values -----------------------------------------------------------------------------------------


def as_size(value, name: str, least: int = 1, most: int | None = None) -> int:
    """A whole number least..most as a Python int; NumPy's and torch's are welcome, bool and 5.0 are not.

    Raises TypeError for what is no whole number, ValueError for one out of range.
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if number < least or (most is not None and number > most):
        wanted = f">= {least}" if most is None else f"in {least}..{most}"
        raise ValueError(f"{name} must be {wanted}, got {number}")
    return number


def as_seed(seed, name: str = "seed") -> int:
    """A seed as a Python int, 0..2**32 - 1, which Python, NumPy, scikit-learn and torch all take."""
    return as_size(seed, name, 0, LARGEST_SEED)


def as_number(
    value,
    name: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> float:
    """A finite number in [low, high] as a Python float; NumPy's and one-element tensors are welcome.

    above, below  leave out low itself, high itself

    Raises TypeError for what is no number, ValueError for one out of range.
    """
    if isinstance(value, np.ndarray | Tensor) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    outside = value <= low if above else value < low
    outside |= value >= high if below else value > high
    if outside or not math.isfinite(value):
        if high < math.inf:
            opening, closing = "(" if above or low == -math.inf else "[", ")" if below else "]"
            wanted = f"lie in {opening}{low:g}, {high:g}{closing}"
        else:
            wanted = "be finite" + (f" and {'>' if above else '>='} {low:g}" if low > -math.inf else "")
        raise ValueError(f"{name} must {wanted}, got {value}")
    return float(value)


def as_choice(value: str, name: str, choices: Collection[str]) -> str:
    """One of the words `choices`. Raises ValueError that lists them."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {tuple(choices)}, got {value!r}")
    return value


def as_generator(generator) -> torch.Generator:
    """Your own torch.Generator. Raises TypeError for anything else, a seed included, saying how to make one."""
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator, got {type(generator).__name__}: "
            "torch.Generator().manual_seed(0) makes one"
        )
    return generator
