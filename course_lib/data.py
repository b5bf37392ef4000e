"""What is to be learned: a `Task` with its three splits, and the small sets that need no download.

The data is split before anything else touches it. A multi-class long tail thins the training part only, so
that validation and test stay balanced (label shift, and `target_prior` says so); a prevalence task is rare
everywhere.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models import MLP
from course_lib.priors import as_labels, as_shares, class_count, class_prior
from course_lib.synthetic import MEAN_GROUPS, Fraud, Gaussians, ten_draws

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


def _balanced_rows(rows: Tensor, labels: Tensor) -> Tensor:
    """The first rows of every class, as many as the smallest class has."""
    fewest = int(class_count(labels[rows]).min())
    return torch.cat([rows[labels[rows] == k][:fewest] for k in labels.unique()]).sort().values


# ---- the sets ---------------------------------------------------------------------------------------------


def digits(
    imbalance_ratio: float = 20.0, *, profile: str = "long_tailed", order: Sequence[int] | None = None,
    hidden: Sequence[int] = (64,), seed: int = 0,
) -> Task:  # fmt: skip
    """Handwritten digits, 8 x 8 pixels in [0, 1], ten classes, the training part made imbalanced.

    imbalance_ratio  largest over smallest class count in the training part; 1 leaves it balanced
    profile, order   see `make_imbalanced`; digit 9 is the rarest by default
    hidden           widths of the network's hidden layers

    Validation and test hold equally many examples of every digit: `target_prior` is uniform. They are small
    (about 26 a class), so they illustrate; they do not settle close contests.
    Source: UCI optical recognition of handwritten digits, as scikit-learn carries it (1,797 examples).
    """
    raw = load_digits()
    x = torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(raw.target)
    train, validation, test = stratified_split(y, seed=seed)
    train = train[make_imbalanced(y[train], imbalance_ratio, profile=profile, order=order, seed=seed)]
    whole = Split(x, y, y)
    parts = [whole.take(rows) for rows in (train, _balanced_rows(validation, y), _balanced_rows(test, y))]
    return Task(
        f"digits 1:{imbalance_ratio:g}", "classification", *parts, 10, tuple(str(k) for k in range(10)),
        target_prior=torch.full((10,), 0.1, dtype=torch.float64), model=partial(MLP, (64, *hidden, 10)),
    )  # fmt: skip


def rare_cancer(prevalence: float = 0.10, *, hidden: Sequence[int] = (16,), seed: int = 0) -> Task:
    """Breast-cancer cell nuclei, 30 measurements: benign (0) or malignant (1), the latter made rare in every part.

    prevalence  share of malignant cases, at most 0.37, that of the original set; below 0.082 a part would
                hold fewer than 5 of them

    Raises ValueError for a prevalence that cannot be had.
    Source: Wisconsin diagnostic breast cancer, as scikit-learn carries it (569 cases).
    """
    raw = load_breast_cancer()
    x = torch.tensor(raw.data, dtype=torch.float32)
    y = 1 - torch.tensor(raw.target)  # scikit-learn calls malignant 0; the rare class is the last one here
    benign, malignant = (y == 0).nonzero().flatten(), (y == 1).nonzero().flatten()
    most = len(malignant) / len(y)
    if not 0 < prevalence <= most:
        raise ValueError(f"prevalence must lie in (0, {most:.2f}], got {prevalence}")
    positives = round(len(benign) * prevalence / (1 - prevalence))
    generator = torch.Generator().manual_seed(seed)
    kept = malignant[torch.randperm(len(malignant), generator=generator)[:positives]]
    rows = torch.cat([benign, kept]).sort().values
    name, names = f"rare cancer {prevalence:.0%}", ("benign", "malignant")
    return table_task(name, x[rows], y[rows], names=names, hidden=hidden, seed=seed)


def table_task(
    name: str, x: Tensor, y: Tensor, *, names: Sequence[str], hidden: Sequence[int] = (64,), seed: int = 0
) -> Task:
    """A classification task from your own table: stratified 70/15/15, columns scaled by the training part.

    x      (N, d) float features
    y      (N,) labels 0..K-1, the same prior in every part
    names  one per class

    Raises ValueError when a part would hold fewer than 5 examples of a class: no number computed from so few
    means anything.
    """
    x, y = torch.as_tensor(x), as_labels(y, "y")
    if x.ndim != 2 or len(x) != len(y):
        raise ValueError(f"x must have shape ({len(y)}, d), one row per label, got {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError(
            f"x must be finite, got {int((~torch.isfinite(x)).sum())} missing or infinite values"
        )
    parts = stratified_split(y, seed=seed)
    fewest = min(int(class_count(y[rows], len(names)).min()) for rows in parts)
    if fewest < FEWEST_POSITIVES:
        few = f"a part would hold only {fewest} examples of a class, at least {FEWEST_POSITIVES} are needed"
        raise ValueError(f"{name}: {few}; bring more data or a higher prevalence")
    scaled = standardise(*(x[rows].float() for rows in parts))
    splits = [Split(part, y[rows], y[rows]) for part, rows in zip(scaled, parts, strict=True)]
    sizes = (x.shape[1], *hidden, len(names))
    return Task(
        name, "classification", *splits, len(names), tuple(names),
        target_prior=class_prior(splits[2].y, len(names)), model=partial(MLP, sizes),
    )  # fmt: skip


def gaussian_classes(
    prior: Sequence[float] | Tensor = (0.95, 0.05),
    *,
    means: Sequence[Sequence[float]] | None = None,
    std: float | Sequence[float] = 1.0,
    num_train: int = 2000,
    num_held: int = 10_000,
    hidden: Sequence[int] = (),
    seed: int = 0,
) -> Task:
    """Round normal classes in the plane, with any prior; `task.posterior` is exact, a `Gaussians`.

    prior      (K,) shares in every part, the last class the one of interest
    means      (K, 2), default: on a circle, neighbours 2 apart
    std        one for all classes or (K,)
    num_train  training examples; validation and test hold `num_held` each
    hidden     widths of the network's hidden layers, none for a linear model

    Class counts are num * prior, rounded. Raises ValueError when a part would hold fewer than 5 examples of a
    class that has a positive prior.
    """
    prior = as_shares(torch.as_tensor(prior), name="prior")
    if prior.ndim != 1:
        raise ValueError(f"prior must have shape (K,), got {tuple(prior.shape)}")
    K = len(prior)
    if means is None:
        angle = torch.arange(K, dtype=torch.float64) * 2 * math.pi / K
        radius = 1 / math.sin(math.pi / K) if K > 1 else 0.0
        means = radius * torch.stack([angle.cos(), angle.sin()], 1)
    means = torch.as_tensor(means, dtype=torch.float64)
    std = torch.as_tensor(std, dtype=torch.float64)
    if std.shape not in ((), (1,), (K,)):
        raise ValueError(f"std must be one number or {K}, got shape {tuple(std.shape)}")
    std = std.expand(K).contiguous()
    if means.shape != (K, 2):
        raise ValueError(f"means must have shape ({K}, 2), got {tuple(means.shape)}")
    if not torch.isfinite(means).all():
        raise ValueError(f"means must be finite, got {means.tolist()}")
    if not (torch.isfinite(std).all() and (std > 0).all()):
        raise ValueError(f"std must be positive, got {std.tolist()}")
    truth = Gaussians(prior, means, std)
    parts = _draw(truth, num_train, num_held, seed)
    return Task(
        f"{K} Gaussians", "classification", *parts, K, tuple(f"class {k}" for k in range(K)),
        target_prior=prior, model=partial(MLP, (2, *hidden, K)), posterior=truth,
    )  # fmt: skip


def _draw(truth: Gaussians | Fraud, num_train: int, num_held: int, seed: int) -> list[Split]:
    """Training, validation and test part of made data, each with the class shares of the prior."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for argument, size in (("num_train", num_train), ("num_held", num_held), ("num_held", num_held)):
        counts = (size * truth.prior).round().long()
        if (counts[truth.prior > 0] < FEWEST_POSITIVES).any():
            raise ValueError(
                f"{argument} = {size} gives class counts {counts.tolist()}, at least 5 of each are needed"
            )
        x, y = truth.sample(counts, generator)
        parts.append(Split(x, y, y))
    return parts


def fraud_like(
    prevalence: float = 0.01,
    *,
    num_train: int = 20_000,
    num_held: int = 20_000,
    label_noise: float = 0.0,
    hidden: Sequence[int] = (32,),
    seed: int = 0,
) -> Task:
    """Made-up card payments, genuine (0) or fraud (1); `task.posterior` is exact, a `Fraud`.

    prevalence   share of fraud in every part, in (0, 0.5]; at the default sizes down to 1:1000 and below
    num_train    training examples; validation and test hold `num_held` each
    label_noise  in [0, 1): this share of the training frauds is recorded as genuine, and as many genuine
                 payments are recorded as fraud, so the counts stay. Validation, test and the posterior keep
                 the true labels.
    hidden       widths of the network's hidden layers

    The numbers in x are scaled by the training part; `task.posterior.to_table(x)` gives the unscaled mixed
    table.
    Raises ValueError for a prevalence or label_noise out of range, or when a part would hold fewer than 5
    frauds.
    """
    if not 0 < prevalence <= 0.5:
        raise ValueError(f"prevalence must lie in (0, 0.5], got {prevalence}")
    if not 0 <= label_noise < 1:
        raise ValueError(f"label_noise must lie in [0, 1), got {label_noise}")
    prior = torch.tensor([1 - prevalence, prevalence], dtype=torch.float64)
    unscaled = Fraud(prior, torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    parts = _draw(unscaled, num_train, num_held, seed)
    truth = Fraud(prior, *_scaling(parts[0].x[:, :4]))
    parts = [
        part._replace(x=torch.cat([((part.x[:, :4] - truth.center) / truth.scale).float(), part.x[:, 4:]], 1))
        for part in parts
    ]
    recorded = parts[0].y.clone()
    # The rows come in random order, so the first ones are as good as any.
    frauds, genuine = (recorded == 1).nonzero().flatten(), (recorded == 0).nonzero().flatten()
    swapped = round(label_noise * len(frauds))
    recorded[frauds[:swapped]], recorded[genuine[:swapped]] = 0, 1
    parts[0] = Split(parts[0].x, recorded, recorded)
    return Task(
        f"fraud {prevalence:.2%}", "classification", *parts, 2, ("genuine", "fraud"),
        target_prior=class_prior(parts[2].y, 2), model=partial(MLP, (len(truth.columns), *hidden, 2)),
        posterior=truth,
    )  # fmt: skip


def mean_estimation(
    counts: Sequence[int] = (1000, 1000, 800, 200), *, num_held: int = 1000, hidden: Sequence[int] = (64,),
    seed: int = 0,
) -> Task:  # fmt: skip
    """Guess the mean of a distribution from ten draws; four kinds of distribution are the groups.

    counts    training examples of each kind: normal (variance 1), exponential, chi-squared, all three with
              means uniform on [0, 1], and uniform with mean on [20, 50] and half-width 10
    num_held  validation and test examples of each kind, so both are balanced
    hidden    widths of the network's hidden layers

    x (N, 10) is not scaled, y (N, 1) is the mean. The mean of the ten draws has a squared error of 0.89 on
    average.
    Raises ValueError unless counts are four numbers >= 5 and num_held >= 5.
    Source: arXiv:2412.16482, the mean estimation experiment.
    """
    counts = tuple(counts)
    if len(counts) != 4 or min(*counts, num_held) < FEWEST_POSITIVES:
        raise ValueError(f"counts (four numbers) and num_held must be >= 5, got {counts} and {num_held}")
    generator = np.random.default_rng(seed)
    parts = [Split(*ten_draws(sizes, generator)) for sizes in (counts, [num_held] * 4, [num_held] * 4)]
    return Task(
        "mean estimation", "regression", *parts, 4, MEAN_GROUPS,
        target_prior=torch.full((4,), 0.25, dtype=torch.float64), model=partial(MLP, (10, *hidden, 1)),
        example_loss=squared_error_each,
    )  # fmt: skip
