"""How many examples each class has, and the numbers that follow from it: prior, ratio, weights."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.inputs import as_counts, as_labels, as_number, as_size
from course_lib.inputs import as_shares as as_shares  # for modules that still look for it here


def class_count(
    labels: Tensor | Sequence[int], num_classes: int | None = None, name: str = "labels"
) -> Tensor:
    """Number of examples of each class, (K,) int64; K is `num_classes` or the largest label + 1.

    `name` is what a message calls the labels.

    Raises ValueError when a label does not fit in `num_classes`.
    """
    num_classes = None if num_classes is None else as_size(num_classes, "num_classes")
    return torch.bincount(as_labels(labels, name, num_classes), minlength=num_classes or 0)


def class_prior(
    labels: Tensor | Sequence[int], num_classes: int | None = None, name: str = "labels"
) -> Tensor:
    """Share of each class among the labels, (K,) float64, summing to 1."""
    counts = class_count(labels, num_classes, name).double()
    return counts / counts.sum()


def imbalance_ratio(class_count: Tensor | Sequence[int]) -> float:
    """Largest class count over smallest, >= 1.

    Raises ValueError, naming the class, when a class is empty: the ratio is then not a number.
    """
    counts = as_counts(class_count)
    if (counts == 0).any():
        empty = (counts == 0).nonzero().flatten().tolist()
        raise ValueError(f"class_count must be positive everywhere, got no example of class {empty}")
    return (counts.max() / counts.min()).item()


def _normalised(weight: Tensor, present: Tensor) -> Tensor:
    """Scale so that an average class weighs 1; a class without examples weighs 0 and is not averaged over."""
    weight = torch.where(present, weight, torch.zeros_like(weight))
    return (weight * (present.sum() / weight.sum())).float()


def inverse_frequency_weights(class_count: Tensor | Sequence[int]) -> Tensor:
    """Class weights proportional to 1 / n_k, (K,) float32, with mean 1 over the classes that have examples.

    A class without examples gets weight 0: it never occurs in the loss, and 1 / 0 would poison the rest.
    """
    counts = as_counts(class_count)
    return _normalised(1 / counts.clamp_min(1), counts > 0)


def effective_number(class_count: Tensor | Sequence[int], beta: float = 0.999) -> Tensor:
    """Effective number of examples E_k = (1 - beta**n_k) / (1 - beta) of each class, (K,) float64.

    beta in [0, 1): at 0 every class that has examples counts as one; as beta -> 1, E_k -> n_k.

    Raises ValueError for beta outside [0, 1).
    Source: Cui et al. 2019, arXiv:1901.05555, Proposition 1.
    """
    beta = as_number(beta, "beta", 0, 1, below=True)
    counts = as_counts(class_count)
    if beta == 0:
        return (counts > 0).double()
    # expm1 in float64: 1 - beta**n loses its digits when beta is near 1.
    return torch.expm1(counts * math.log(beta)) / math.expm1(math.log(beta))


def effective_number_weights(class_count: Tensor | Sequence[int], beta: float = 0.999) -> Tensor:
    """Class weights proportional to 1 / E_k with E_k = (1 - beta**n_k) / (1 - beta), (K,) float32.

    beta in [0, 1): 0 gives no weighting, beta -> 1 inverse frequency. Mean 1 over the classes that have
    examples; a class without examples gets weight 0.

    Raises ValueError for beta outside [0, 1).
    Source: Cui et al. 2019, arXiv:1901.05555, Proposition 1 and section 4.1.
    """
    effective = effective_number(class_count, beta)
    return _normalised(1 / torch.where(effective > 0, effective, 1), effective > 0)
