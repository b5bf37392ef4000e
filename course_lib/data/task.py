"""What is to be learned: a `Task` with its three splits, how a set is split, thinned and scaled.

The data is split before anything else touches it. A multi-class long tail thins the training part only, so
that validation and test stay balanced (label shift, and `target_prior` says so); a prevalence task is rare
everywhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.inputs import as_choice, as_labels, as_number, as_prior, as_seed, as_size, as_tensor, wide
from course_lib.priors import class_count, class_prior

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
    return F.cross_entropy(wide(outputs), y, reduction="none")


def squared_error_each(outputs: Tensor, y: Tensor) -> Tensor:
    """Squared error of each example, summed over its numbers (the pixels of an image), -> (N,).

    Raises ValueError when the shapes differ: (N, 1) minus (N,) would silently broadcast to (N, N).
    """
    if outputs.shape != y.shape:
        raise ValueError(f"y must have the shape of outputs, {tuple(outputs.shape)}, got {tuple(y.shape)}")
    each = (wide(outputs) - wide(y)).square()
    return each.flatten(1).sum(1) if each.ndim > 1 else each


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learned: three parts, where it will be used, and the network and loss that fit it.

    name          short, for tables
    kind          "classification", "regression" or "reconstruction"
    train, validation, test
                  `Split`s; only `train` may be resampled, and nothing is ever chosen on `test`. Arrays, tables
                  and other dtypes are converted: floating x to that of networks, labels and groups to int64
    num_groups, group_names
                  the classes, or the groups of a regression
    target_prior  (K,) class shares at deployment, those of the test part; they differ from `train_prior`
                  under label shift
    model         builds a fresh network: a function or a class, not a network
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
        as_choice(self.kind, "kind", KINDS)
        K = as_size(self.num_groups, "num_groups")
        if len(self.group_names) != K:
            raise ValueError(f"group_names must hold {K} names, got {len(self.group_names)}")
        if isinstance(self.model, nn.Module) or not callable(self.model):
            raise TypeError(
                "model must build a fresh network whenever it is called, such as functools.partial(MLP, (2, 8, 2)), "
                f"got {type(self.model).__name__}"
            )
        changed = {part: self._converted(part, K) for part in ("train", "validation", "test")}
        changed["target_prior"] = as_prior(self.target_prior, K, "target_prior")
        for name, value in changed.items():
            object.__setattr__(self, name, value)  # the one moment at which a frozen task may change

    def _converted(self, part: str, num_groups: int) -> Split:
        """A part as training needs it. Raises ValueError or TypeError that names the part and its field."""
        given = Split(*getattr(self, part))
        x = _for_networks(given.x, f"{part}.x")
        N = len(x) if x.ndim else 0
        if not N == len(given.y) == len(given.group):
            sizes = [N, len(given.y), len(given.group)]
            raise ValueError(f"{part} must hold as many x as y and group, got {sizes}")
        if self.kind == "classification" and self.example_loss is cross_entropy_each:
            y = as_labels(given.y, f"{part}.y", device=x.device)
        else:
            y = _for_networks(given.y, f"{part}.y")
            y = y if self.kind == "classification" else y.to(torch.get_default_dtype())
        # Where label and group are one, one tensor stays both: training gathers it once.
        same = given.group is given.y and y.dtype == torch.int64
        group = as_labels(y if same else given.group, f"{part}.group", num_groups).to(x.device)
        return Split(x, y, y if same else group)

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


def _for_networks(values, name: str) -> Tensor:
    """Numbers as a tensor, floating ones in the dtype that networks have; whole ones may be pixels or words."""
    values = as_tensor(values, name)
    if values.is_floating_point():
        values = values.to(torch.get_default_dtype())
        if not torch.isfinite(values).all():
            wrong = int((~torch.isfinite(values)).sum())
            raise ValueError(
                f"{name} must be finite in {values.dtype}, got {wrong} missing or infinite values"
            )
    return values


# ---- splitting, thinning, scaling -------------------------------------------------------------------------


def stratified_split(
    labels: Tensor | Sequence[int], *, fractions: Sequence[float] = (0.70, 0.15, 0.15), seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers of the training, validation and test part, each with the class shares of the whole.

    Raises ValueError unless `fractions` are three positive shares summing to 1, and where a class is too small to be
    in every part whatever the seed: with the default fractions a class of ten is large enough.
    """
    labels, seed = as_labels(labels), as_seed(seed)
    if len(fractions) != 3 or min(fractions) <= 0 or not math.isclose(sum(fractions), 1):
        raise ValueError(f"fractions must be three positive shares that sum to 1, got {tuple(fractions)}")
    rows, classes, N = np.arange(len(labels)), labels.numpy(), len(labels)
    held, of_held = fractions[1] + fractions[2], fractions[2] / (fractions[1] + fractions[2])
    num_held = math.ceil(held * N)
    num_test = math.ceil(of_held * num_held)
    # What scikit-learn gives a class is its share rounded down or up, by the seed: down must leave one for each part.
    counts = class_count(labels)
    few = counts * num_held // N * min(num_test, num_held - num_test) // num_held < 1
    few = (few | (counts * (N - num_held) // N < 1)) & (counts > 0)
    if few.any():
        small = {k: int(counts[k]) for k in few.nonzero().flatten().tolist()}
        raise ValueError(
            f"labels: a class is too small to be in every part whatever the seed, got classes and counts {small}: "
            "bring more examples, merge classes or choose larger fractions"
        )
    train, rest = train_test_split(rows, test_size=held, stratify=classes, random_state=seed)
    validation, test = train_test_split(rest, test_size=of_held, stratify=classes[rest], random_state=seed)
    return tuple(torch.as_tensor(part) for part in (train, validation, test))


def imbalanced_counts(
    most: int, num_classes: int, imbalance_ratio: float, profile: str = "long_tailed"
) -> Tensor:
    """Class counts (K,) int64 that fall from `most` to most / imbalance_ratio, class 0 first.

    profile  "long_tailed": n_k = most * ratio**(-k / (K - 1)), a straight line on a log axis;
             "step": the first half of the classes keep `most`, the others most / ratio

    Every class keeps at least one example. Raises ValueError for arguments out of range.
    Source: Cui et al. 2019 (long-tailed), Buda et al. 2018, arXiv:1710.05381 (step).
    """
    most, num_classes = as_size(most, "most"), as_size(num_classes, "num_classes")
    imbalance_ratio = as_number(imbalance_ratio, "imbalance_ratio", 1)
    as_choice(profile, "profile", ("long_tailed", "step"))
    return (most * _fall(num_classes, imbalance_ratio, profile)).round().clamp_min(1).long()


def _fall(num_classes: int, imbalance_ratio: float, profile: str) -> Tensor:
    """Class counts relative to the largest, (K,) float64."""
    k = torch.arange(num_classes, dtype=torch.float64)
    if profile == "step":
        return imbalance_ratio ** -(k >= (num_classes + 1) // 2).double()
    return imbalance_ratio ** (-k / max(num_classes - 1, 1))


def make_imbalanced(
    labels: Tensor | Sequence[int],
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
    order = as_labels(range(len(available)) if order is None else list(order), "order")
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
    return keep_counts(labels, dict(zip(order.tolist(), keep.tolist(), strict=True)), seed)


def keep_counts(labels: Tensor, counts: Mapping[int, int], seed: int = 0) -> Tensor:
    """Row numbers, sorted: `counts[k]` rows of class k drawn at random, and every row of a class not named."""
    generator = torch.Generator().manual_seed(as_seed(seed))
    kept = [(~torch.isin(labels, torch.tensor(list(counts)))).nonzero().flatten()]
    for k, count in counts.items():
        rows = (labels == k).nonzero().flatten()
        kept.append(rows[torch.randperm(len(rows), generator=generator)[:count]])
    return torch.cat(kept).sort().values


def standardise(train, *others) -> tuple[Tensor, ...]:
    """Every column to mean 0 and standard deviation 1 *of the training part*.

    All parts (N, ...) numbers. The scaling is done in float64 (a time in seconds since 1970 has no digit to spare in
    float32); the result has the dtype of `train`, and the default one of networks where that is whole numbers.
    A column that is constant there is only moved to 0: it has no spread to divide by.
    """
    train, *others = (
        as_tensor(part, "train" if i == 0 else "others") for i, part in enumerate((train, *others))
    )
    center, scale = scaling(train)
    dtype = train.dtype if train.is_floating_point() else torch.get_default_dtype()
    return tuple(((part.double() - center) / scale).to(dtype) for part in (train, *others))


def scaling(train: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column in float64; 1 where a column is constant."""
    if len(train) == 0:
        raise ValueError("train must hold at least one example to be scaled by")
    train = train.double()
    # Not std == 0: that of a constant 0.1 is a rounding error, and dividing by it would blow it up.
    constant = train.amin(0) == train.amax(0)
    # By a power of 2, which costs no digit: the square of 1e300 is no number.
    size = torch.frexp(train.abs().amax(0)).exponent
    near_one = torch.ldexp(train, -size)
    mean = torch.where(constant, train[0], torch.ldexp(near_one.mean(0), size))
    return mean, torch.where(constant, 1.0, torch.ldexp(near_one.std(0, correction=0), size))
