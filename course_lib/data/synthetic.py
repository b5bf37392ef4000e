"""Made data whose truth is known: exact class probabilities, hence the best that any classifier can do.

`data.gaussian_classes` and `data.fraud_like` make tasks of these; as `task.posterior` they are called with x.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.data.task import FEWEST_POSITIVES, Split, Task, scaling, squared_error_each
from course_lib.inputs import as_number, as_prior, as_seed, as_size, as_tensor
from course_lib.models import MLP
from course_lib.priors import class_prior


class KnownPosterior:
    """Base of the distributions here: the exact posterior, and the Bayes limits that follow from it.

    A subclass has `log_joint` and `_cloud`. Calling it gives (N, d) inputs -> (N, K) class probabilities,
    computed on the CPU in float64.
    """

    def __call__(self, x: Tensor) -> Tensor:
        return torch.softmax(self.log_joint(x), 1)

    def log_joint(self, x: Tensor) -> Tensor:
        """log prior_k + log density_k(x), (N, K); a constant that all classes share may be missing."""
        raise NotImplementedError

    @cached_property
    def _cloud(self) -> tuple[Tensor, Tensor]:
        """Inputs (G, d) and weights (G,), summing to 1, that stand for the whole distribution."""
        raise NotImplementedError

    @cached_property
    def bayes_error(self) -> float:
        """Smallest error rate any classifier can reach."""
        x, weight = self._cloud
        return float((weight * (1 - self(x).amax(1))).sum())

    @cached_property
    def bayes_average_precision(self) -> float:
        """Largest average precision any score can reach for the last class against the rest.

        NaN when the last class has prior 0: there is nothing to find.
        """
        x, weight = self._cloud
        joint = self.log_joint(x)
        odds = joint[:, -1] - joint[:, :-1].logsumexp(1)
        order = odds.argsort(descending=True)
        # Each point counts as positive by its posterior, so two points with one score may come in any order.
        found, flagged = (weight * self(x)[:, -1])[order], weight[order]
        precision = (found.cumsum(0) - found / 2) / (flagged.cumsum(0) - flagged / 2)
        return float((found * precision).sum() / found.sum())


@dataclass(frozen=True, eq=False)
class Gaussians(KnownPosterior):
    """K round normal classes in the plane: sample them, and know the best that any classifier can do.

    prior  (K,) shares summing to 1
    means  (K, 2)
    std    (K,) standard deviations > 0, equal in both directions

    Calling it gives the exact posterior: (N, 2) points -> (N, K) class probabilities in float64.
    `bayes_error` and `bayes_average_precision` are sums over a fine grid, good to about 1e-4.
    """

    prior: Tensor
    means: Tensor
    std: Tensor

    def log_joint(self, x: Tensor) -> Tensor:
        """log prior_k + log density_k(x), (N, K)."""
        points = x.detach().to("cpu", torch.float64)
        gap = torch.stack([(points - mean).square().sum(1) for mean in self.means], 1) / self.std.square()
        return self.prior.log() - gap / 2 - 2 * self.std.log() - math.log(2 * math.pi)

    def sample(self, counts: Sequence[int] | Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`counts[k]` points of each class in random order: x (N, 2) float32 and y (N,) int64."""
        y = _shuffled_labels(counts, generator)
        noise = torch.randn(len(y), 2, generator=generator, dtype=torch.float64)
        return (self.means[y] + noise * self.std[y, None]).float(), y

    @cached_property
    def _cloud(self) -> tuple[Tensor, Tensor]:
        """One grid of normal quantiles for each class, as wide as the class."""
        side = int(240 / math.sqrt(len(self.prior)))
        axis = torch.linspace(-6, 6, side, dtype=torch.float64)
        density = torch.exp(-axis.square() / 2)
        weight = torch.outer(density, density).flatten()
        # Turned by an odd angle, no line of the grid lies along a boundary between classes.
        turn = torch.tensor(
            [[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]], dtype=torch.float64
        )
        points = torch.cartesian_prod(axis, axis)[weight > 1e-9] @ turn
        weight = weight[weight > 1e-9] / weight[weight > 1e-9].sum()
        x = torch.cat([mean + std * points for mean, std in zip(self.means, self.std, strict=True)])
        return x, torch.outer(self.prior, weight).flatten()


# ---- card payments ----------------------------------------------------------------------------------------

FRAUD_NUMERIC = ("log_amount", "log_minutes_since_last", "log_km_from_home", "log_account_days")
FRAUD_CATEGORICAL = {
    "channel": ("chip", "contactless", "online", "cash machine"),
    "merchant": ("food", "household", "electronics", "games", "travel"),
    "country": ("home", "neighbour", "far"),
}
# Four patterns of behaviour, two a class; holidays look much like theft, which is what makes the task hard.
#                        everyday, holiday (genuine), card testing, cash out (fraud)
_SHARE = torch.tensor([0.85, 0.15, 0.40, 0.60], dtype=torch.float64)
_MEAN = torch.tensor(
    [[3.0, 6.0, 1.5, 6.5], [4.2, 5.0, 5.5, 6.5], [1.2, 2.5, 3.5, 5.5], [5.5, 3.5, 4.5, 5.5]],
    dtype=torch.float64,
)
_STD = torch.tensor(
    [[1.0, 1.2, 1.0, 1.0], [1.0, 1.3, 1.5, 1.0], [0.7, 1.0, 2.0, 1.2], [0.8, 1.2, 1.8, 1.2]],
    dtype=torch.float64,
)
_CATEGORY = torch.tensor(
    [
        [0.40, 0.35, 0.20, 0.05, 0.50, 0.30, 0.08, 0.05, 0.07, 0.94, 0.05, 0.01],
        [0.35, 0.15, 0.30, 0.20, 0.35, 0.10, 0.15, 0.05, 0.35, 0.25, 0.45, 0.30],
        [0.01, 0.09, 0.88, 0.02, 0.15, 0.10, 0.15, 0.55, 0.05, 0.50, 0.20, 0.30],
        [0.10, 0.05, 0.55, 0.30, 0.05, 0.10, 0.60, 0.05, 0.20, 0.40, 0.25, 0.35],
    ],
    dtype=torch.float64,
)
_SIZES = [len(values) for values in FRAUD_CATEGORICAL.values()]


@dataclass(frozen=True, eq=False)
class Fraud(KnownPosterior):
    """Card payments, genuine (0) or fraudulent (1): four numbers and three categories, two patterns a class.

    prior   (2,) shares summing to 1
    center, scale
            (4,) what was subtracted from the numbers and what they were divided by, in x

    x is (N, 16): the four scaled numbers, then the one-hot categories; `columns` names them. `to_table` gives
    back the mixed table that SMOTENC and tree models want, `from_table` turns it into x. Calling it gives the
    exact posterior; `bayes_error` and `bayes_average_precision` come from a fixed sample and are good to
    about 1e-2 of their value.
    """

    prior: Tensor
    center: Tensor
    scale: Tensor

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of x, "channel=online" for a one-hot one."""
        named = (f"{column}={value}" for column, values in FRAUD_CATEGORICAL.items() for value in values)
        return (*FRAUD_NUMERIC, *named)

    def log_joint(self, x: Tensor) -> Tensor:
        """log prior_k + log density_k(x), (N, 2), but for a constant."""
        x = x.detach().to("cpu", torch.float64)
        numbers, one_hot = x[:, :4] * self.scale + self.center, x[:, 4:]
        gap = (numbers[:, None] - _MEAN) / _STD
        pattern = -gap.square().sum(2) / 2 - _STD.log().sum(1) + one_hot @ _CATEGORY.log().T + _SHARE.log()
        return pattern.unflatten(1, (2, 2)).logsumexp(2) + self.prior.log()

    def sample(self, counts: Sequence[int] | Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`counts[k]` payments of each class in random order: x (N, 16) float32 and y (N,) int64."""
        y = _shuffled_labels(counts, generator)
        first = torch.rand(len(y), generator=generator, dtype=torch.float64) < _SHARE[2 * y]
        pattern = torch.where(first, 2 * y, 2 * y + 1)
        noise = torch.randn(len(y), 4, generator=generator, dtype=torch.float64)
        parts = [(_MEAN[pattern] + _STD[pattern] * noise - self.center) / self.scale]
        for share in _CATEGORY[pattern].split(_SIZES, 1):
            code = torch.multinomial(share, 1, generator=generator).squeeze(1)
            parts.append(F.one_hot(code, share.shape[1]))
        return torch.cat(parts, 1).float(), y

    @cached_property
    def _cloud(self) -> tuple[Tensor, Tensor]:
        """100,000 payments of each class, weighted by the prior."""
        size = 100_000
        x, y = self.sample((size, size), torch.Generator().manual_seed(0))
        return x, self.prior[y] / size

    def to_table(self, x: Tensor) -> pd.DataFrame:
        """x as a table with the numbers unscaled and each category in one column of dtype "category"."""
        x = x.detach().to("cpu", torch.float64)
        table = pd.DataFrame((x[:, :4] * self.scale + self.center).numpy(), columns=list(FRAUD_NUMERIC))
        for (column, values), one_hot in zip(
            FRAUD_CATEGORICAL.items(), x[:, 4:].split(_SIZES, 1), strict=True
        ):
            table[column] = pd.Categorical.from_codes(one_hot.argmax(1).numpy(), categories=list(values))
        return table

    def from_table(self, table: pd.DataFrame) -> Tensor:
        """A table like that of `to_table` as x, (N, 16) float32.

        Raises ValueError for a missing column or a category that is not known.
        """
        missing = [column for column in (*FRAUD_NUMERIC, *FRAUD_CATEGORICAL) if column not in table]
        if missing:
            raise ValueError(f"table must have the columns {missing}, got {list(table.columns)}")
        numbers = torch.tensor(table[list(FRAUD_NUMERIC)].to_numpy(dtype=float))
        parts = [(numbers - self.center) / self.scale]
        for column, values in FRAUD_CATEGORICAL.items():
            codes = pd.Index(values).get_indexer(table[column].astype(str))
            if (codes < 0).any():
                unknown = sorted(set(table[column].astype(str)) - set(values))
                raise ValueError(f"table: {column} must be one of {values}, got {unknown}")
            parts.append(F.one_hot(torch.tensor(codes, dtype=torch.int64), len(values)))
        return torch.cat(parts, 1).float()


def _shuffled_labels(counts: Sequence[int] | Tensor, generator: torch.Generator) -> Tensor:
    counts = torch.as_tensor(counts)
    y = torch.repeat_interleave(torch.arange(len(counts)), counts)
    return y[torch.randperm(len(y), generator=generator)]


# ---- means ------------------------------------------------------------------------------------------------

MEAN_GROUPS = ("normal", "exponential", "chi-squared", "uniform")


def ten_draws(counts: Sequence[int], generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Ten draws from each of many distributions: x (N, 10), their means (N, 1), and the kind (N,) as in `MEAN_GROUPS`.

    `counts[k]` distributions of each kind in random order; see `data.mean_estimation`.
    """
    group = generator.permutation(np.repeat(np.arange(4), counts))
    mean = generator.uniform(0, 1, (len(group), 1))
    mean[group == 3] = 20 + 30 * mean[group == 3]
    draws = (
        lambda mean, shape: generator.normal(mean, 1, shape),
        generator.exponential,
        generator.chisquare,  # degrees of freedom = mean
        lambda mean, shape: generator.uniform(mean - 10, mean + 10, shape),
    )
    x = np.empty((len(group), 10))
    for kind, draw in enumerate(draws):
        rows = group == kind
        x[rows] = draw(mean[rows], (rows.sum(), 10))
    return torch.tensor(x).float(), torch.tensor(mean).float(), torch.tensor(group)


# ---- tasks made from them ----


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
    prior = as_prior(prior)
    K = len(prior)
    if means is None:
        angle = torch.arange(K, dtype=torch.float64) * 2 * math.pi / K
        radius = 1 / math.sin(math.pi / K) if K > 1 else 0.0
        means = radius * torch.stack([angle.cos(), angle.sin()], 1)
    means, std = as_tensor(means, "means").double(), as_tensor(std, "std").double()
    if means.shape != (K, 2) or not torch.isfinite(means).all():
        raise ValueError(f"means must be finite, of shape ({K}, 2), got {means.tolist()}")
    if std.shape not in ((), (1,), (K,)) or not (torch.isfinite(std) & (std > 0)).all():
        raise ValueError(f"std must be one positive number or {K}, got {std.tolist()}")
    std = std.expand(K).contiguous()
    truth = Gaussians(prior, means, std)
    parts = _draw(truth, num_train, num_held, seed)
    return Task(
        f"{K} Gaussians", "classification", *parts, K, tuple(f"class {k}" for k in range(K)),
        target_prior=prior, model=partial(MLP, (2, *hidden, K)), posterior=truth, fresh=True,
    )  # fmt: skip


def _draw(truth: Gaussians | Fraud, num_train: int, num_held: int, seed: int) -> list[Split]:
    """Training, validation and test part of made data, each with the class shares of the prior."""
    generator = torch.Generator().manual_seed(as_seed(seed))
    parts = []
    for argument, size in (("num_train", num_train), ("num_held", num_held), ("num_held", num_held)):
        counts = (as_size(size, argument) * truth.prior).round().long()
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
    prevalence = as_number(prevalence, "prevalence", 0, 0.5, above=True)
    label_noise = as_number(label_noise, "label_noise", 0, 1, below=True)
    prior = torch.tensor([1 - prevalence, prevalence], dtype=torch.float64)
    unscaled = Fraud(prior, torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    parts = _draw(unscaled, num_train, num_held, seed)
    truth = Fraud(prior, *scaling(parts[0].x[:, :4]))
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
        posterior=truth, fresh=True,
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
    counts = [as_size(count, "counts", FEWEST_POSITIVES) for count in counts]
    num_held = as_size(num_held, "num_held", FEWEST_POSITIVES)
    if len(counts) != len(MEAN_GROUPS):
        raise ValueError(f"counts must be four numbers, one for each of {MEAN_GROUPS}, got {counts}")
    generator = np.random.default_rng(as_seed(seed))
    parts = [Split(*ten_draws(sizes, generator)) for sizes in (counts, [num_held] * 4, [num_held] * 4)]
    return Task(
        "mean estimation", "regression", *parts, 4, MEAN_GROUPS,
        target_prior=torch.full((4,), 0.25, dtype=torch.float64), model=partial(MLP, (10, *hidden, 1)),
        example_loss=squared_error_each, fresh=True,
    )  # fmt: skip
