"""What is to be learned: a `Task` with its three splits, how a set is split, thinned and scaled.

The data is split before anything else touches it. A multi-class long tail thins the training part only, so
that validation and test stay balanced (label shift, and `target_prior` says so); a prevalence task is rare
everywhere.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.priors import as_labels, as_shares, class_count, class_prior

KINDS = ("classification", "regression", "reconstruction")
FEWEST_POSITIVES = 5


class Split(NamedTuple):
    """Examples of one part: x (N, ...), y (N,) or (N, d); group (N,) int64, the class whose share a mix controls."""

    x: Tensor
    y: Tensor
    group: Tensor

    def to(self, device) -> "Split":
        """The same examples on `device`."""
        return self._each(lambda part: part.to(device))

    def take(self, index: Tensor) -> "Split":
        """The rows named by `index`, an integer tensor on the split's device."""
        return self._each(lambda part: part[index])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Split":
        y = change(self.y)  # where the label is the group one tensor stays both: training gathers it once
        return Split(change(self.x), y, y if self.group is self.y else change(self.group))


class Batch(NamedTuple):
    """What one step sees. index (M,): rows of the training part; weight (M,) or None."""

    x: Tensor
    y: Tensor
    group: Tensor
    index: Tensor
    weight: Tensor | None = None


def cross_entropy_each(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each example, (N, K) scores and (N,) labels -> (N,)."""
    return F.cross_entropy(outputs, y, reduction="none")


def squared_error_each(outputs: Tensor, y: Tensor) -> Tensor:
    """Squared error of each example, summed over its numbers (the pixels of an image), -> (N,).

    Raises ValueError when the shapes differ: (N, 1) minus (N,) would silently broadcast to (N, N).
    """
    if outputs.shape != y.shape:
        raise ValueError(f"y must have the shape of outputs, {tuple(outputs.shape)}, got {tuple(y.shape)}")
    each = (outputs - y).square()
    return each.flatten(1).sum(1) if each.ndim > 1 else each


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learned: three parts, where it will be used, and the network and loss that fit it.

    name          short, for tables
    kind          "classification", "regression" or "reconstruction"
    train, validation, test
                  `Split`s; only `train` may be resampled, and nothing is ever chosen on `test`
    num_groups, group_names
                  the classes, or the groups of a regression
    target_prior  (K,) class shares at deployment, those of the test part; they differ from `train_prior`
                  under label shift
    model         builds a fresh network
    example_loss  (outputs, y) -> (M,), what learn2mix calls the class-wise loss
    posterior     x -> (N, K) exact class probabilities, where we made the data
    fresh         does another seed draw new data (True), or split one finite set anew (False)? In the second case
                  seeds are not independent, and intervals over seeds are wider
    """

    name: str
    kind: str
    train: Split
    validation: Split
    test: Split
    num_groups: int
    group_names: tuple[str, ...]
    target_prior: Tensor
    model: Callable[[], nn.Module]
    example_loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy_each
    posterior: Callable[[Tensor], Tensor] | None = None
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")
        if len(self.group_names) != self.num_groups:
            raise ValueError(f"group_names must hold {self.num_groups} names, got {len(self.group_names)}")
        as_shares(self.target_prior, self.num_groups, "target_prior")
        for part in ("train", "validation", "test"):
            split = getattr(self, part)
            if not len(split.x) == len(split.y) == len(split.group):
                sizes = [len(field) for field in split]
                raise ValueError(f"{part} must hold as many x as y and group, got {sizes}")
            class_count(split.group, self.num_groups)

    def __repr__(self) -> str:
        sizes = [len(part.x) for part in (self.train, self.validation, self.test)]
        return f"Task({self.name!r}, {self.kind}, {self.num_groups} groups, {'/'.join(map(str, sizes))} examples)"

    @cached_property
    def train_prior(self) -> Tensor:
        """(K,) float64 class shares of the training part."""
        return class_prior(self.train.group, self.num_groups)

    @cached_property
    def train_count(self) -> Tensor:
        """(K,) int64 examples of each class in the training part."""
        return class_count(self.train.group, self.num_groups)

    def to(self, device) -> "Task":
        """The same task with its three parts on `device`."""
        parts = {part: getattr(self, part).to(device) for part in ("train", "validation", "test")}
        return replace(self, **parts)


# ---- splitting, thinning, scaling -------------------------------------------------------------------------


def stratified_split(
    labels: Tensor, *, fractions: Sequence[float] = (0.70, 0.15, 0.15), seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers of the training, validation and test part, each with the class shares of the whole.

    Raises ValueError unless `fractions` are three positive shares summing to 1, and where a class is too
    small to be in every part.
    """
    labels = as_labels(labels)
    if len(fractions) != 3 or min(fractions) <= 0 or not math.isclose(sum(fractions), 1):
        raise ValueError(f"fractions must be three positive shares that sum to 1, got {tuple(fractions)}")
    rows, classes = np.arange(len(labels)), labels.numpy()
    held = fractions[1] + fractions[2]
    try:
        train, rest = train_test_split(rows, test_size=held, stratify=classes, random_state=seed)
        validation, test = train_test_split(
            rest, test_size=fractions[2] / held, stratify=classes[rest], random_state=seed
        )
        parts = train, validation, test
        if any(len(np.unique(classes[part])) < len(labels.unique()) for part in parts):
            raise ValueError("a part lacks a class")
    except ValueError as error:
        counts = dict(enumerate(class_count(labels).tolist()))
        raise ValueError(f"labels: a class is too small to be in every part, counts {counts}") from error
    return tuple(torch.as_tensor(part) for part in parts)


def imbalanced_counts(
    most: int, num_classes: int, imbalance_ratio: float, profile: str = "long_tailed"
) -> Tensor:
    """Class counts (K,) int64 that fall from `most` to most / imbalance_ratio, class 0 first.

    profile  "long_tailed": n_k = most * ratio**(-k / (K - 1)), a straight line on a log axis;
             "step": the first half of the classes keep `most`, the others most / ratio

    Every class keeps at least one example. Raises ValueError for arguments out of range.
    Source: Cui et al. 2019 (long-tailed), Buda et al. 2018, arXiv:1710.05381 (step).
    """
    if most < 1 or num_classes < 1:
        raise ValueError(f"most and num_classes must be >= 1, got {most} and {num_classes}")
    if not (math.isfinite(imbalance_ratio) and imbalance_ratio >= 1):
        raise ValueError(
            f"imbalance_ratio (largest over smallest class count) must be >= 1, got {imbalance_ratio}"
        )
    if profile not in ("long_tailed", "step"):
        raise ValueError(f"profile must be 'long_tailed' or 'step', got {profile!r}")
    return (most * _fall(num_classes, imbalance_ratio, profile)).round().clamp_min(1).long()


def _fall(num_classes: int, imbalance_ratio: float, profile: str) -> Tensor:
    """Class counts relative to the largest, (K,) float64."""
    k = torch.arange(num_classes, dtype=torch.float64)
    if profile == "step":
        return imbalance_ratio ** -(k >= (num_classes + 1) // 2).double()
    return imbalance_ratio ** (-k / max(num_classes - 1, 1))


def make_imbalanced(
    labels: Tensor,
    imbalance_ratio: float,
    *,
    profile: str = "long_tailed",
    order: Sequence[int] | None = None,
    seed: int = 0,
) -> Tensor:
    """Row numbers to keep, sorted, so that the class counts follow `imbalanced_counts`.

    order  classes from most to least frequent, default 0, 1, ..., K-1

    The smallest class sets the size of the largest that all can reach, so the ratio holds exactly up to
    rounding.
    Raises ValueError for an order that is not a permutation of the classes or a class without examples.
    """
    labels = as_labels(labels)
    available = class_count(labels)
    order = torch.as_tensor(range(len(available)) if order is None else list(order))
    if sorted(order.tolist()) != list(range(len(available))):
        raise ValueError(f"order must name each class 0..{len(available) - 1} once, got {order.tolist()}")
    if (available == 0).any():
        raise ValueError(f"labels must hold every class, got counts {available.tolist()}")
    keep = imbalanced_counts(1, len(available), imbalance_ratio, profile)  # refuses bad arguments
    # Rounding may allow the largest class less than this, never more.
    most = int(((available[order] + 0.5) / _fall(len(available), imbalance_ratio, profile)).min())
    keep = imbalanced_counts(most, len(available), imbalance_ratio, profile)
    while (keep > available[order]).any():
        most -= 1
        keep = imbalanced_counts(most, len(available), imbalance_ratio, profile)
    generator = torch.Generator().manual_seed(seed)
    kept = []
    for label, count in zip(order.tolist(), keep.tolist(), strict=True):
        rows = (labels == label).nonzero().flatten()
        kept.append(rows[torch.randperm(len(rows), generator=generator)[:count]])
    return torch.cat(kept).sort().values


def standardise(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Every column to mean 0 and standard deviation 1 *of the training part*.

    A column that is constant there is only moved to 0: it has no spread to divide by.
    """
    center, scale = _scaling(train)
    return tuple(((part - center) / scale).to(train.dtype) for part in (train, *others))


def _scaling(train: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column in float64; 1 where a column is constant."""
    if len(train) == 0:
        raise ValueError("train must hold at least one example to be scaled by")
    # Not std == 0: that of a constant 0.1 is a rounding error, and dividing by it would blow it up.
    constant = train.amin(0) == train.amax(0)
    train = train.double()
    mean = torch.where(constant, train[0], train.mean(0))
    return mean, torch.where(constant, torch.ones_like(mean), train.std(0, correction=0))
