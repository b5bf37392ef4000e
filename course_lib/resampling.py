"""Acting on the data: repeat, drop or synthesise examples until the class counts are as wanted.

Resample the training part only, after the split: a copy or a blend of a test example in the training part
gives the answer away. Every function takes a `Split` and your own `torch.Generator` and returns a new
`Split`; the input stays as it was. The generator may live on the CPU or on the device of the split.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from sklearn.base import clone
from torch import Generator, Tensor

from course_lib.data import Split
from course_lib.inputs import as_counts, as_generator, as_labels, as_size, as_tensor

logger = logging.getLogger(__name__)

CHUNK = 2**20  # distances held at a time, 8 MB in float64


def _checked(
    split: Split, generator: Generator, target_count, default: Callable
) -> tuple[Split, list[int], list[int]]:
    """The split as tensors, its class counts and those wanted; checks the arguments that every resampler shares."""
    as_generator(generator)
    if not len(split.x) == len(split.y) == len(split.group):
        raise ValueError(f"split must hold as many x as y and group, got {[len(part) for part in split]}")
    x, y = as_tensor(split.x, "x").detach(), as_tensor(split.y, "y")
    group = as_labels(split.group, "group")
    have = torch.bincount(group)
    y, group = y.to(x.device), group.to(x.device)
    # Where label and group are one, one tensor stays both: training gathers it once.
    same = split.group is split.y and y.dtype == torch.int64
    split = Split(x, y, y if same else group)
    if target_count is None:
        level = int(default(have[have > 0]))
        return split, have.tolist(), [level if n else 0 for n in have.tolist()]
    want = as_counts(target_count, "target_count")
    if len(want) < len(have) or (want != want.round()).any():
        raise ValueError(
            f"target_count must be {len(have)} whole numbers, one for each class, got {want.tolist()}"
        )
    return split, have.tolist() + [0] * (len(want) - len(have)), want.long().tolist()


def _no_fewer(have: list[int], want: list[int]) -> None:
    for k, (n, m) in enumerate(zip(have, want, strict=True)):
        if m < n or (n == 0 and m > 0):
            reason = f"has {n} examples and none is dropped here" if n else "has no example to start from"
            raise ValueError(f"target_count asks for {m} examples of class {k}, which {reason}")


def _randint(high: int, size: int, generator: Generator, device: torch.device) -> Tensor:
    return torch.randint(high, (size,), generator=generator, device=generator.device).to(device)


def _rows(split: Split, k: int) -> Tensor:
    return (split.group == k).nonzero().flatten()


# ---- repeat and drop --------------------------------------------------------------------------------------


def random_oversample(
    split: Split, generator: Generator, *, target_count: Sequence[int] | Tensor | None = None
) -> Split:
    """Repeats examples, drawn with replacement, until every class counts as many as the largest.

    target_count  (K,) counts to reach instead, none below what is there

    The originals come first, unchanged; repeats follow, class by class. A class without examples stays empty.
    Training part only: a repeat on both sides of a split is leakage, and this is the easiest way to get it.
    Raises ValueError for a count that repeating cannot reach.

    >>> few = Split(torch.arange(4.0), torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 1]))
    >>> random_oversample(few, torch.Generator().manual_seed(0)).x
    tensor([0., 1., 2., 3., 3., 3.])
    """
    split, have, want = _checked(split, generator, target_count, torch.max)
    _no_fewer(have, want)
    device = split.group.device
    kept = [torch.arange(len(split.x), device=device)]
    for k, (n, m) in enumerate(zip(have, want, strict=True)):
        if m > n:
            kept.append(_rows(split, k)[_randint(n, m - n, generator, device)])
    return split.take(torch.cat(kept))


def random_undersample(
    split: Split, generator: Generator, *, target_count: Sequence[int] | Tensor | None = None
) -> Split:
    """Drops examples at random until every class counts as few as the smallest that has any.

    target_count  (K,) counts to keep instead, none above what is there

    What is kept stays in its order. Training part only: a thinned test part has the wrong prior.
    Raises ValueError for a count above what is there.

    >>> few = Split(torch.arange(4.0), torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 1]))
    >>> random_undersample(few, torch.Generator().manual_seed(0)).y
    tensor([0, 1])
    """
    split, have, want = _checked(split, generator, target_count, torch.min)
    device = split.group.device
    kept = []
    for k, (n, m) in enumerate(zip(have, want, strict=True)):
        if m > n:
            raise ValueError(f"target_count asks for {m} examples of class {k}, which has only {n}")
        order = torch.randperm(n, generator=generator, device=generator.device).to(device)
        kept.append(_rows(split, k)[order[:m]])
    return split.take(torch.cat(kept).sort().values)


# ---- SMOTE ------------------------------------------------------------------------------------------------


class SmoteReport(NamedTuple):
    """How the synthetic rows came about; row i of the first three describes row N + i of the new split.

    base, partner  (S,) rows of the old split; equal where the row is a copy
    gap            (S,) how far from base to partner, in [0, 1)
    neighbours     (K,) int64 neighbours used for each class, 0 where nothing was made or only copies
    notes          a sentence for each class that got fewer neighbours than asked for
    """

    base: Tensor
    partner: Tensor
    gap: Tensor
    neighbours: Tensor
    notes: tuple[str, ...]


def nearest_neighbours(x: Tensor, k: int, rows: Tensor | None = None) -> Tensor:
    """The k nearest other rows of x for each row (or each of `rows`), nearest first, (N, k) int64.

    x     (N, ...), flattened to one point per row
    k     1..N-1
    rows  (R,) rows to answer for, default all

    A point is excluded by its row number, not by its distance: a duplicate of it is a neighbour like any
    other. The search is exhaustive and in float64 (which Apple's "mps" lacks: move such a split to the CPU
    first), by matrix products as in scikit-learn, a chunk of rows at a time so that memory stays bounded.
    Raises ValueError for k out of range.

    >>> nearest_neighbours(torch.tensor([0.0, 1.0, 5.0, 5.0]), 1).flatten()
    tensor([1, 0, 3, 2])
    """
    if not 1 <= k < len(x):
        raise ValueError(f"k must lie in 1..{len(x) - 1} for {len(x)} points, got {k}")
    points = x.detach().reshape(len(x), -1).double()
    points = points - points.mean(0)  # small numbers lose fewer digits in the products
    square = points.square().sum(1)
    rows = torch.arange(len(x), device=x.device) if rows is None else rows
    nearest = []
    for part in rows.split(max(1, CHUNK // len(x))):
        # |a - b|^2 without |a|^2, which is the same for every b and so does not change the order
        distance = torch.addmm(square, points[part], points.T, alpha=-2)
        distance[torch.arange(len(part), device=x.device), part] = torch.inf
        nearest.append(distance.topk(k, largest=False).indices)
    return torch.cat(nearest)


def interpolate(x: Tensor, base: Tensor, partner: Tensor, gap: Tensor) -> Tensor:
    """Points on the segments from x[base] to x[partner]: x[base] + gap * (x[partner] - x[base]), (S, ...).

    x              (N, ...)
    base, partner  (S,) row numbers
    gap            (S,) in [0, 1]

    Source: Chawla et al. 2002, doi:10.1613/jair.953, section 4.2, with one gap for all columns as in its text
    and in imbalanced-learn (its pseudo-code draws one for each).

    >>> interpolate(torch.tensor([[0.0, 0.0], [4.0, 8.0]]), *torch.tensor([[0], [1]]), torch.tensor([0.25]))
    tensor([[1., 2.]])
    """
    start = x[base]
    return start + gap.reshape(-1, *[1] * (x.ndim - 1)) * (x[partner] - start)


def _label_of_group(split: Split, who: str) -> Tensor:
    """(K,) the label that all examples of a group share, and that a synthetic one will bear."""
    y, group = split.y, split.group.long()
    if y.ndim != 1 or y.is_floating_point() or y.is_complex():
        raise ValueError(
            f"y must be (N,) whole numbers for {who}, which makes examples of a class, "
            f"got {tuple(y.shape)} of {y.dtype}; for a regression repeat examples, with random_oversample"
        )
    label = y.new_zeros(int(group.max()) + 1).index_copy(0, group, y)
    if (label[group] != y).any():
        raise ValueError(f"{who} needs one label per group, got examples of one group with different y")
    return label


def _check_smote(x: Tensor) -> None:
    if not x.is_floating_point():
        raise TypeError(
            f"x must be floating point, got {x.dtype}; if its whole numbers are categories, a blend of two is none: "
            "use imblearn.over_sampling.SMOTENC, through from_imblearn(SMOTENC(categorical_features=...))"
        )
    if not torch.isfinite(x).all():
        raise ValueError("x must be finite, got NaN or infinity: fill the gaps first, by the training part")


def smote_with_report(
    split: Split, generator: Generator, *, k_neighbors: int = 5, strict: bool = True,
    target_count: Sequence[int] | Tensor | None = None,
) -> tuple[Split, SmoteReport]:  # fmt: skip
    """`smote`, and how each synthetic row came about; with strict=False the report says what had to give."""
    split, have, want = _checked(split, generator, target_count, torch.max)
    _no_fewer(have, want)
    k_neighbors = as_size(k_neighbors, "k_neighbors")
    _check_smote(split.x)
    label = _label_of_group(split, "smote")
    small = [(c, n) for c, (n, m) in enumerate(zip(have, want, strict=True)) if m > n and n <= k_neighbors]
    notes = tuple(
        f"class {c} of {n} took " + (f"k_neighbors = {n - 1} instead of {k_neighbors}" if n > 1 else "copies")
        for c, n in small
    )
    if small and strict:
        c, n = min(small, key=lambda pair: pair[1])
        cure = f"lower k_neighbors to {n - 1}" if n > 1 else "repeat its example, with random_oversample"
        raise ValueError(
            f"k_neighbors = {k_neighbors} needs {k_neighbors + 1} examples of a class, "
            f"class {c} has {n}: {cure}, or pass strict=False to use what there is"
        )
    x, device = split.x, split.x.device
    bases, partners, gaps = [], [], []
    used = torch.zeros(len(have), dtype=torch.int64)
    for c, (n, m) in enumerate(zip(have, want, strict=True)):
        if m == n:
            continue
        k = min(k_neighbors, n - 1)
        rows = _rows(split, c)
        base = _randint(n, m - n, generator, device)
        partner = base
        if k:
            drawn, place = base.unique(return_inverse=True)  # neighbours only of the points that are drawn
            choice = _randint(k, m - n, generator, device)
            partner = nearest_neighbours(x[rows], k, drawn)[place, choice]
        used[c] = k
        bases.append(rows[base])
        partners.append(rows[partner])
        gaps.append(torch.rand(m - n, generator=generator, dtype=x.dtype, device=generator.device).to(device))
    nothing = torch.zeros(0, dtype=torch.int64, device=device)
    base, partner = torch.cat([nothing, *bases]), torch.cat([nothing, *partners])
    gap = torch.cat([nothing.to(x.dtype), *gaps])
    group = torch.cat([split.group, split.group[base]])
    made = Split(torch.cat([x, interpolate(x, base, partner, gap)]), label[group], group)
    return made, SmoteReport(base, partner, gap, used, notes)


def smote(
    split: Split, generator: Generator, *, k_neighbors: int = 5, strict: bool = True,
    target_count: Sequence[int] | Tensor | None = None,
) -> Split:  # fmt: skip
    """Adds points between an example and one of its nearest neighbours of the same class (SMOTE).

    split         training part only, columns on one scale (`data.standardise`): distance decides who is near.
                  y must be (N,) whole numbers, one value per group: SMOTE makes no regression targets
    k_neighbors   neighbours to choose from; a class that grows needs at least one example more
    strict        False: a class of n <= k_neighbors examples takes n - 1 neighbours, a single example is
                  copied, and the log says so (one line of level WARNING, logger "course_lib.resampling")
    target_count  (K,) counts to reach, none below what is there; default: the largest class

    The originals come first, unchanged; synthetic rows follow, class by class. An empty class stays empty.
    Images and other shapes are flattened to find neighbours, which is dubious: the blend of two pictures is
    rarely a picture. Prefer `augmentation` for them. A blend of two categories is none either: imbalanced-learn's
    SMOTENC, by `from_imblearn`, keeps the columns that hold them.
    A synthetic point brings no information that its class did not hold. It claims that what lies between two
    neighbours is of their class, which is false where another class lies between.

    Raises ValueError for a class too small for k_neighbors, an unreachable count, non-finite x or y as above;
    TypeError for x that is not floating point.
    Source: Chawla et al. 2002, doi:10.1613/jair.953.
    """
    made, report = smote_with_report(
        split, generator, k_neighbors=k_neighbors, strict=strict, target_count=target_count
    )
    if report.notes:
        logger.warning("smote: %s", "; ".join(report.notes))
    return made


# ---- imbalanced-learn's family ----------------------------------------------------------------------------


def from_imblearn(sampler) -> Callable[[Split, Generator], Split]:
    """Any sampler of imbalanced-learn (ADASYN, SMOTENC, TomekLinks, ...) as (Split, Generator) -> Split.

    sampler  anything with `fit_resample` and scikit-learn's parameters; cloned for every call, never fitted
             itself. Each of its `random_state` parameters is set from the generator, whatever it was, so that
             seeds reach it; a sampler without one leaves the generator alone.

    x is flattened for it, (N, ...) -> (N, D), and its shape, dtype and device are restored. A sampler that
    selects examples keeps whatever y they have; one that makes examples needs y to be one label per group.
    Whole-number x is handed over as float64, so that a fraction shows: TypeError then, no silent cast back.
    Training part only. Raises ValueError naming the sampler when it refuses the split, or when it is a pipeline that
    gives x other columns than it had.
    """
    if not (hasattr(sampler, "fit_resample") and hasattr(sampler, "get_params")) or isinstance(sampler, type):
        raise TypeError(f"sampler must be an object with fit_resample and get_params, got {sampler!r}")

    def resample(split: Split, generator: Generator) -> Split:
        split, _, _ = _checked(split, generator, None, torch.max)
        fresh = clone(sampler)
        seeds = sorted(name for name in fresh.get_params() if name.split("__")[-1] == "random_state")
        fresh.set_params(**{name: int(_randint(2**31 - 1, 1, generator, "cpu")) for name in seeds})
        x = split.x
        whole = not x.is_floating_point()
        # whole numbers as float64, or they would be cast back unseen; NumPy lacks bfloat16
        wide = torch.float64 if whole or x.dtype == torch.float64 else torch.float32
        table = x.reshape(len(x), -1).to("cpu", wide)
        try:
            made, group = fresh.fit_resample(table.clone().numpy(), split.group.cpu().numpy().copy())
        except (ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"sampler {sampler!r} refused the split: {error}") from error
        made, group = torch.as_tensor(made), torch.as_tensor(group, device=x.device).to(split.group.dtype)
        if made.shape != (len(group), table.shape[1]):
            raise ValueError(
                f"sampler {sampler!r} must keep the {table.shape[1]} columns of x and give a label per row, got "
                f"{tuple(made.shape)} with {len(group)} labels: leave steps that change the columns out of it"
            )
        rows = torch.as_tensor(getattr(fresh, "sample_indices_", []), dtype=torch.int64)
        if len(rows) == len(made) and torch.equal(table[rows], made):
            return split.take(rows.to(x.device))
        if whole and (made != made.round()).any():
            columns = (made != made.round()).any(0).nonzero().flatten().tolist()
            raise TypeError(
                f"sampler {sampler!r} made fractions in columns {columns} of x, whose dtype is {x.dtype}: "
                "give x as floating point, or name the columns that hold categories to SMOTENC"
            )
        made = made.to(x.device, x.dtype).reshape(-1, *x.shape[1:])
        return Split(made, _label_of_group(split, type(sampler).__name__)[group.long()], group)

    return resample
