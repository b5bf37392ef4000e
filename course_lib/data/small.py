"""Small sets that scikit-learn carries, and a task from your own table: no download needed."""

from collections.abc import Sequence
from functools import partial

import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import Tensor

from course_lib.data.task import (
    FEWEST_POSITIVES,
    Split,
    Task,
    keep_counts,
    make_imbalanced,
    standardise,
    stratified_split,
)
from course_lib.inputs import as_labels, as_number, as_table
from course_lib.models import MLP
from course_lib.priors import class_count, class_prior


def _balanced_rows(rows: Tensor, labels: Tensor) -> Tensor:
    """The first rows of every class, as many as the smallest class has."""
    fewest = int(class_count(labels[rows]).min())
    return torch.cat([rows[labels[rows] == k][:fewest] for k in labels.unique()]).sort().values


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
    benign, malignant = class_count(y).tolist()
    prevalence = as_number(prevalence, "prevalence", 0, round(malignant / len(y), 2), above=True)
    rows = keep_counts(y, {1: round(benign * prevalence / (1 - prevalence))}, seed)
    name, names = f"rare cancer {prevalence:.0%}", ("benign", "malignant")
    return table_task(name, x[rows], y[rows], names=names, hidden=hidden, seed=seed)


def table_task(
    name: str, x, y, *, names: Sequence[str], hidden: Sequence[int] = (64,), seed: int = 0
) -> Task:
    """A classification task from your own table: stratified 70/15/15, columns scaled by the training part.

    x      (N, d) numbers: a tensor, an array or a DataFrame, whose categories you have encoded
    y      (N,) labels 0..K-1, the same prior in every part; with a DataFrame a Series, both by position
    names  one per class

    Raises ValueError when a part would hold fewer than 5 examples of a class: no number computed from so few
    means anything.
    """
    y = as_labels(y, "y", len(names))
    x = as_table(x, "x", len(y)).cpu()
    parts = stratified_split(y, seed=seed)
    fewest = min(int(class_count(y[rows], len(names)).min()) for rows in parts)
    if fewest < FEWEST_POSITIVES:
        few = f"a part would hold only {fewest} examples of a class, at least {FEWEST_POSITIVES} are needed"
        raise ValueError(f"{name}: {few}; bring more data or a higher prevalence")
    scaled = standardise(*(x[rows] for rows in parts))
    splits = [Split(part, y[rows], y[rows]) for part, rows in zip(scaled, parts, strict=True)]
    sizes = (x.shape[1], *hidden, len(names))
    return Task(
        name, "classification", *splits, len(names), tuple(names),
        target_prior=class_prior(splits[2].y, len(names)), model=partial(MLP, sizes),
    )  # fmt: skip
