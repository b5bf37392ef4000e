"""What is to be learned: a `Task` with its three splits, and the small sets that need no download.

The data is split before anything else touches it. A multi-class long tail thins the training part only, so that
validation and test stay balanced (label shift, and `target_prior` says so); a prevalence task is rare everywhere.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models import MLP
from course_lib.priors import as_labels, as_shares, class_count, class_prior

KINDS = ("classification", "regression", "reconstruction")
FEWEST_POSITIVES = 5


class Split(NamedTuple):
    """Examples of one part: x (N, ...), y (N,) or (N, d), group (N,) int64, the class whose share a mix controls."""

    x: Tensor
    y: Tensor
    group: Tensor

    def to(self, device) -> "Split":
        return Split(*(part.to(device) for part in self))

    def take(self, index: Tensor) -> "Split":
        """The rows named by `index`, an integer tensor on the split's device."""
        return Split(*(part[index] for part in self))


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
    return (outputs - y).square().flatten(1).sum(1)


@dataclass(frozen=True)
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
                raise ValueError(f"{part} must hold as many x as y and group, got {[len(field) for field in split]}")
            class_count(split.group, self.num_groups)

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
        return replace(self, **{part: getattr(self, part).to(device) for part in ("train", "validation", "test")})


# ---- splitting, thinning, scaling -------------------------------------------------------------------------


def stratified_split(
    labels: Tensor, *, fractions: Sequence[float] = (0.70, 0.15, 0.15), seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers of the training, validation and test part, each with the class shares of the whole.

    Raises ValueError unless `fractions` are three positive shares summing to 1, and where a class is too small to
    be in every part.
    """
    labels = as_labels(labels)
    if len(fractions) != 3 or min(fractions) <= 0 or not math.isclose(sum(fractions), 1):
        raise ValueError(f"fractions must be three positive shares that sum to 1, got {tuple(fractions)}")
    rows = torch.arange(len(labels)).numpy()
    held = fractions[1] + fractions[2]
    train, rest = train_test_split(rows, test_size=held, stratify=labels.numpy(), random_state=seed)
    validation, test = train_test_split(
        rest, test_size=fractions[2] / held, stratify=labels.numpy()[rest], random_state=seed
    )
    return torch.as_tensor(train), torch.as_tensor(validation), torch.as_tensor(test)


def imbalanced_counts(most: int, num_classes: int, imbalance_ratio: float, profile: str = "long_tailed") -> Tensor:
    """Class counts (K,) int64 that fall from `most` to most / imbalance_ratio, class 0 first.

    profile  "long_tailed": n_k = most * ratio**(-k / (K - 1)), a straight line on a log axis;
             "step": the first half of the classes keep `most`, the others most / ratio

    Every class keeps at least one example. Raises ValueError for arguments out of range.
    Source: Cui et al. 2019 (long-tailed), Buda et al. 2018, arXiv:1710.05381 (step).
    """
    if most < 1 or num_classes < 1:
        raise ValueError(f"most and num_classes must be >= 1, got {most} and {num_classes}")
    if not (math.isfinite(imbalance_ratio) and imbalance_ratio >= 1):
        raise ValueError(f"imbalance_ratio is largest over smallest class count, so >= 1, got {imbalance_ratio}")
    if profile not in ("long_tailed", "step"):
        raise ValueError(f"profile must be 'long_tailed' or 'step', got {profile!r}")
    k = torch.arange(num_classes, dtype=torch.float64)
    steps = k / max(num_classes - 1, 1) if profile == "long_tailed" else (k >= (num_classes + 1) // 2).double()
    return (most * imbalance_ratio**-steps).round().clamp_min(1).long()


def make_imbalanced(
    labels: Tensor, imbalance_ratio: float, *, profile: str = "long_tailed", order: Sequence[int] | None = None,
    seed: int = 0,
) -> Tensor:  # fmt: skip
    """Row numbers to keep, sorted, so that the class counts follow `imbalanced_counts`.

    order  classes from most to least frequent, default 0, 1, ..., K-1

    The smallest class sets the size of the largest that all can reach, so the ratio holds exactly up to rounding.
    Raises ValueError for an order that is not a permutation of the classes or a class without examples.
    """
    labels = as_labels(labels)
    available = class_count(labels)
    order = torch.as_tensor(range(len(available)) if order is None else list(order))
    if sorted(order.tolist()) != list(range(len(available))):
        raise ValueError(f"order must name each class 0..{len(available) - 1} once, got {order.tolist()}")
    if (available == 0).any():
        raise ValueError(f"labels must hold every class, got none of {(available == 0).nonzero().flatten().tolist()}")
    most = int(available.max())
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
    """Every column to mean 0 and standard deviation 1 *of the training part*; constant columns become 0."""
    mean, std = train.mean(0), train.std(0, correction=0)
    std = torch.where(std > 0, std, torch.ones_like(std))
    return tuple((part - mean) / std for part in (train, *others))


def _balanced_rows(rows: Tensor, labels: Tensor) -> Tensor:
    """The first rows of every class, as many as the smallest class has."""
    fewest = int(class_count(labels[rows]).min())
    return torch.cat([rows[labels[rows] == k][:fewest] for k in labels.unique()]).sort().values


# ---- the sets ---------------------------------------------------------------------------------------------


def digits(
    imbalance_ratio: float = 20.0,
    *,
    profile: str = "long_tailed",
    order: Sequence[int] | None = None,
    hidden: Sequence[int] = (64,),
    seed: int = 0,
) -> Task:
    """Handwritten digits, 8 x 8 pixels in [0, 1], ten classes, the training part made imbalanced.

    imbalance_ratio  largest over smallest class count in the training part; 1 leaves it balanced
    profile, order   see `make_imbalanced`; digit 9 is the rarest by default
    hidden           widths of the network's hidden layers

    Validation and test hold equally many examples of every digit: `target_prior` is uniform. They are small (about
    26 a class), so they illustrate; they do not settle close contests.
    Source: UCI optical recognition of handwritten digits, as scikit-learn carries it (1,797 examples).
    """
    raw = load_digits()
    x = torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(raw.target)
    train, validation, test = stratified_split(y, seed=seed)
    train = train[make_imbalanced(y[train], imbalance_ratio, profile=profile, order=order, seed=seed)]
    whole = Split(x, y, y)
    return Task(
        name=f"digits 1:{imbalance_ratio:g}",
        kind="classification",
        train=whole.take(train),
        validation=whole.take(_balanced_rows(validation, y)),
        test=whole.take(_balanced_rows(test, y)),
        num_groups=10,
        group_names=tuple(str(k) for k in range(10)),
        target_prior=torch.full((10,), 0.1, dtype=torch.float64),
        model=lambda: MLP((64, *hidden, 10)),
    )


def rare_cancer(prevalence: float = 0.10, *, hidden: Sequence[int] = (16,), seed: int = 0) -> Task:
    """Breast-cancer cell nuclei, 30 measurements, benign (0) or malignant (1), malignant made rare in every part.

    prevalence  share of malignant cases, at most 0.37, that of the original set; below about 0.08 a part would
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
    return table_task(
        f"rare cancer {prevalence:.0%}", x[rows], y[rows], names=("benign", "malignant"), hidden=hidden, seed=seed
    )


def table_task(
    name: str, x: Tensor, y: Tensor, *, names: Sequence[str], hidden: Sequence[int] = (64,), seed: int = 0
) -> Task:
    """A classification task from your own table: stratified 70/15/15 split, columns scaled by the training part.

    x      (N, d) float features
    y      (N,) labels 0..K-1, the same prior in every part
    names  one per class

    Raises ValueError when a part would hold fewer than 5 examples of a class: no number computed from so few means
    anything.
    """
    y = as_labels(y, "y")
    if x.ndim != 2 or len(x) != len(y):
        raise ValueError(f"x must have shape ({len(y)}, d), one row per label, got {tuple(x.shape)}")
    parts = stratified_split(y, seed=seed)
    fewest = min(int(class_count(y[rows], len(names)).min()) for rows in parts)
    if fewest < FEWEST_POSITIVES:
        raise ValueError(
            f"{name}: a part would hold only {fewest} examples of a class, at least {FEWEST_POSITIVES} are needed; "
            "bring more data or a higher prevalence"
        )
    scaled = standardise(*(x[rows].float() for rows in parts))
    train, validation, test = (Split(part, y[rows], y[rows]) for part, rows in zip(scaled, parts, strict=True))
    sizes = (x.shape[1], *hidden, len(names))
    return Task(
        name, "classification", train, validation, test, len(names), tuple(names),
        target_prior=class_prior(test.y, len(names)), model=lambda: MLP(sizes),
    )  # fmt: skip


@dataclass(frozen=True)
class Gaussians:
    """K round normal classes in the plane: sample them, and know the best that any classifier can do.

    prior  (K,) shares summing to 1
    means  (K, 2)
    std    (K,) standard deviations > 0, equal in both directions

    Calling it gives the exact posterior: (N, 2) points -> (N, K) class probabilities in float64.
    """

    prior: Tensor
    means: Tensor
    std: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return torch.softmax(self._log_joint(x), 1)

    def _log_joint(self, x: Tensor) -> Tensor:
        """log prior_k + log density_k(x), (N, K)."""
        gap = torch.cdist(x.double(), self.means) / self.std
        return self.prior.log() - gap.square() / 2 - 2 * self.std.log() - math.log(2 * math.pi)

    def sample(self, counts: Sequence[int] | Tensor, generator: torch.Generator) -> Split:
        """`counts[k]` points of each class, in random order, as float32."""
        y = torch.repeat_interleave(torch.arange(len(self.prior)), torch.as_tensor(counts))
        y = y[torch.randperm(len(y), generator=generator)]
        noise = torch.randn(len(y), 2, generator=generator, dtype=torch.float64)
        return Split((self.means[y] + noise * self.std[y, None]).float(), y, y)

    @cached_property
    def _grid(self) -> tuple[Tensor, Tensor]:
        """Points that cover the plane and the probability mass of each class in their cells, (G, 2) and (G, K)."""
        reach = 7 * self.std.max()
        low, high = self.means.min(0).values - reach, self.means.max(0).values + reach
        axes = [torch.linspace(a, b, 500, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
        points = torch.cartesian_prod(*axes)
        mass = self._log_joint(points).exp()
        return points, mass / mass.sum()

    @cached_property
    def bayes_error(self) -> float:
        """Smallest error rate any classifier can reach, by summing over a fine grid (good to about 1e-4)."""
        _, mass = self._grid
        return float(1 - mass.max(1).values.sum())

    @cached_property
    def bayes_average_precision(self) -> float:
        """Largest average precision any score can reach for the last class against the rest (about 1e-4)."""
        points, mass = self._grid
        score = self(points)[:, -1]
        truth = torch.cat([torch.ones(len(points)), torch.zeros(len(points))])
        weight = torch.cat([mass[:, -1], mass[:, :-1].sum(1)])
        return float(average_precision_score(truth, torch.cat([score, score]), sample_weight=weight))


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
    K = len(prior)
    if means is None:
        angle = torch.arange(K, dtype=torch.float64) * 2 * math.pi / K
        radius = 1 / math.sin(math.pi / K) if K > 1 else 0.0
        means = radius * torch.stack([angle.cos(), angle.sin()], 1)
    means = torch.as_tensor(means, dtype=torch.float64)
    std = torch.as_tensor(std, dtype=torch.float64).expand(K).contiguous()
    if means.shape != (K, 2):
        raise ValueError(f"means must have shape ({K}, 2), got {tuple(means.shape)}")
    if not (torch.isfinite(std).all() and (std > 0).all()):
        raise ValueError(f"std must be positive, got {std.tolist()}")
    truth = Gaussians(prior, means, std)
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for part, size in (("num_train", num_train), ("num_held", num_held), ("num_held", num_held)):
        counts = (size * prior).round().long()
        if (counts[prior > 0] < FEWEST_POSITIVES).any():
            raise ValueError(f"{part} = {size} gives class counts {counts.tolist()}, at least 5 of each are needed")
        parts.append(truth.sample(counts, generator))
    return Task(
        f"{K} Gaussians", "classification", *parts, K, tuple(f"class {k}" for k in range(K)),
        target_prior=prior, model=lambda: MLP((2, *hidden, K)), posterior=truth,
    )  # fmt: skip
