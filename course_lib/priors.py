"""How many examples each class has, and the numbers that follow from it: prior, ratio, weights."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def as_labels(labels: Tensor | Sequence[int], name: str = "labels") -> Tensor:
    """Labels as a one-dimensional int64 tensor on the CPU.

    Raises TypeError unless they are whole numbers, ValueError unless they are one-dimensional, at
    least one, and none negative. `name` is what the message calls the argument.
    """
    try:
        labels = torch.as_tensor(labels).detach().cpu()
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be whole numbers 0..K-1: {error}") from error
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise TypeError(f"{name} must be whole numbers 0..K-1, got dtype {labels.dtype}")
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(
            f"{name} must be one label per example, shape (N,) with N >= 1, got {tuple(labels.shape)}"
        )
    if labels.min() < 0:
        raise ValueError(f"{name} must be 0..K-1, got the negative label {int(labels.min())}")
    return labels.long()


def as_shares(shares: Tensor | Sequence[float], num_classes: int | None = None, name: str = "mix") -> Tensor:
    """Shares as a float64 tensor on the CPU that sums to 1 along its last axis.

    shares       (K,) or (T, K), finite, >= 0, each row summing to 1 within 1e-6 (float32 is welcome);
                 rows further off than float64 rounding are divided by their sum
    num_classes  K, where the caller knows it

    Raises ValueError naming `name` for anything else.
    """
    if not isinstance(shares, Tensor):
        shares = torch.as_tensor(shares, dtype=torch.float64)  # a list would lose its digits in float32
    shares = shares.detach().to("cpu", torch.float64)
    if shares.ndim not in (1, 2) or shares.numel() == 0:
        raise ValueError(f"{name} must have shape (K,) or (T, K), got {tuple(shares.shape)}")
    if num_classes is not None and shares.shape[-1] != num_classes:
        raise ValueError(
            f"{name} must hold one share for each of the {num_classes} classes, got {shares.shape[-1]}"
        )
    if not torch.isfinite(shares).all():
        raise ValueError(f"{name} must be finite, got {shares.tolist()}")
    if (shares < 0).any():
        raise ValueError(f"{name} must hold shares >= 0, got {shares.min().item():.4g}")
    total = shares.sum(-1, keepdim=True)
    if ((total - 1).abs() > 1e-6).any():
        worst = total.flatten()[(total - 1).abs().argmax()].item()
        raise ValueError(f"{name} must sum to 1, got a sum of {worst:.6g}")
    # An exact mix stays as it is, bit for bit: learn2mix at rate 0 has to be plain training.
    return torch.where((total - 1).abs() > 1e-12, shares / total, shares)


def _as_counts(class_count: Tensor | Sequence[int]) -> Tensor:
    counts = torch.as_tensor(class_count).detach().to("cpu", torch.float64)
    if counts.ndim != 1 or len(counts) == 0:
        raise ValueError(f"class_count must have shape (K,), got {tuple(counts.shape)}")
    if not torch.isfinite(counts).all() or (counts < 0).any():
        raise ValueError(f"class_count must be finite and >= 0, got {counts.tolist()}")
    if counts.sum() == 0:
        raise ValueError("class_count must hold at least one example, got only zeros")
    return counts


def class_count(labels: Tensor | Sequence[int], num_classes: int | None = None) -> Tensor:
    """Number of examples of each class, (K,) int64; K is `num_classes` or the largest label + 1.

    Raises ValueError when a label does not fit in `num_classes`.
    """
    labels = as_labels(labels)
    if num_classes is not None and labels.max() >= num_classes:
        raise ValueError(f"labels must be below num_classes = {num_classes}, got {int(labels.max())}")
    return torch.bincount(labels, minlength=num_classes or 0)


def class_prior(labels: Tensor | Sequence[int], num_classes: int | None = None) -> Tensor:
    """Share of each class among the labels, (K,) float64, summing to 1."""
    counts = class_count(labels, num_classes).double()
    return counts / counts.sum()


def imbalance_ratio(class_count: Tensor | Sequence[int]) -> float:
    """Largest class count over smallest, >= 1.

    Raises ValueError, naming the class, when a class is empty: the ratio is then not a number.
    """
    counts = _as_counts(class_count)
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
    counts = _as_counts(class_count)
    return _normalised(1 / counts.clamp_min(1), counts > 0)


def effective_number(class_count: Tensor | Sequence[int], beta: float = 0.999) -> Tensor:
    """Effective number of examples E_k = (1 - beta**n_k) / (1 - beta) of each class, (K,) float64.

    beta in [0, 1): at 0 every class that has examples counts as one; as beta -> 1, E_k -> n_k.

    Raises ValueError for beta outside [0, 1).
    Source: Cui et al. 2019, arXiv:1901.05555, Proposition 1.
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta must lie in [0, 1), got {beta}")
    counts = _as_counts(class_count)
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
