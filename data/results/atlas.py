"""The atlas: for every row of the course's table a setting where it beats plain training with a tuned decision, and
one where it loses. `python data/results/atlas.py` runs each of them on ten seeds and writes atlas.csv.

The settings of ENTRIES were chosen by `--search`: every row in every setting, on four other seeds. So no row is
judged by the runs that it was chosen by. None: the search found no setting for it. Finished runs are kept in
build/results/.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from study import HERE, KEEP, stamped
from torch import Tensor

from course_lib.data import Split, Task
from course_lib.experiments import compare
from course_lib.models import MLP
from course_lib.recipes import RECIPES, Budget, argmax

# ---- the generators ---------------------------------------------------------------------------------------


def ill_and_healthy(
    centers: Sequence[Sequence[float]], ill: float, num_train: int, *, columns: int = 2, spread: float = 1.0,
    wrong: float = 0.0, ill_later: float | None = None, hidden: Sequence[int] = (), name: str, seed: int = 0,
) -> Task:  # fmt: skip
    """The healthy are one round cloud around 0, the ill small clouds around `centers`.

    ill        share of the ill; `ill_later` is that of the test part, where it differs
    spread     standard deviation of the clouds of the ill
    wrong      this share of the healthy of the training part is recorded as ill
    """
    generator = torch.Generator().manual_seed(seed)

    def part(n: int, share: float, wrong: float = 0.0) -> Split:
        y = (torch.arange(n) < round(n * share)).long()
        x = torch.randn(n, columns, generator=generator)
        place = torch.tensor(centers)[torch.randint(len(centers), (n,), generator=generator)]
        sick = y == 1
        x[sick] *= spread
        x[sick, : place.shape[1]] += place[sick]
        recorded = y.clone()
        recorded[round(n * share) : round(n * share) + round(wrong * (n - round(n * share)))] = 1
        order = torch.randperm(n, generator=generator)
        return Split(x[order], recorded[order], recorded[order])

    later = ill if ill_later is None else ill_later
    return Task(
        name, "classification", part(num_train, ill, wrong), part(2000, ill), part(10_000, later), 2,
        ("healthy", "ill"), target_prior=torch.tensor([1 - later, later], dtype=torch.float64),
        model=partial(MLP, (columns, *hidden, 2)), fresh=True,
    )  # fmt: skip


def long_tail(
    most: int = 300, ratio: float = 50, *, held: int = 100, apart: float = 2.2, hidden: Sequence[int] = (32,),
    name: str, seed: int = 0,
) -> Task:  # fmt: skip
    """Eight classes, two clouds each, in eight columns; the counts fall in the training part alone."""
    generator = torch.Generator().manual_seed(seed)
    places = apart * torch.randn(8, 2, 8, generator=generator) / 2
    counts = (most * ratio ** (-torch.arange(8) / 7)).round().long()

    def part(counts: Tensor) -> Split:
        y = torch.repeat_interleave(torch.arange(8), counts)
        cloud = torch.randint(2, (len(y),), generator=generator)
        x = places[y, cloud] + torch.randn(len(y), 8, generator=generator)
        order = torch.randperm(len(y), generator=generator)
        return Split(x[order], y[order], y[order])

    equal = torch.ones(8, dtype=torch.long)
    return Task(
        name, "classification", part(counts), part(held * equal), part(500 * equal), 8,
        tuple(f"class {k}" for k in range(8)), target_prior=torch.full((8,), 1 / 8, dtype=torch.float64),
        model=partial(MLP, (8, *hidden, 8)), fresh=True,
    )  # fmt: skip


def stripes(
    width: float, num_train: int, *, hidden: Sequence[int] = (64, 64), name: str, seed: int = 0
) -> Task:
    """One column says it all: narrow stripes of the ill among the healthy."""
    generator = torch.Generator().manual_seed(seed)

    def part(n: int) -> Split:
        x = torch.rand(n, 2, generator=generator) * 2 - 1
        y = ((x[:, 0] / width).floor() % 4 == 0).long()
        return Split(x, y, y)

    return Task(
        name, "classification", part(num_train), part(2000), part(10_000), 2, ("healthy", "ill"),
        target_prior=torch.tensor([0.75, 0.25], dtype=torch.float64), model=partial(MLP, (2, *hidden, 2)), fresh=True,
    )  # fmt: skip


# ---- the settings -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """Data, budget and the measure that decides.

    says  the setting in a few words
    """

    says: str
    make_task: Callable[..., Task]
    budget: Budget
    metric: str = "balanced_accuracy"


def steps(number: int, optimizer: Callable, batch_size: int = 64) -> Budget:
    return Budget(steps=number, batch_size=batch_size, optimizer=optimizer, steps_per_round=number // 20)


def adam(rate: float) -> Callable:
    return partial(torch.optim.Adam, lr=rate)


def sgd(rate: float, momentum: float = 0.0, weight_decay: float = 0.0) -> Callable:
    return partial(torch.optim.SGD, lr=rate, momentum=momentum, weight_decay=weight_decay)


def made(generator: Callable, *given, name: str, **more) -> Callable:
    return partial(generator, *given, name=name, **more)


RIGHT, ISLANDS = [[1.75]], [[2.0, 1.5], [-2.0, 1.5]]
_SETTINGS = {
    "trained out": (
        "one cloud, linear network, enough steps",
        (ill_and_healthy, RIGHT, 0.02, 4000), {}, steps(600, adam(0.02)), "balanced_accuracy",
    ),
    "first steps": (
        "two islands, 1 % ill, network at its usual start, 300 steps",
        (ill_and_healthy, ISLANDS, 0.01, 6000), {"columns": 10, "hidden": (32,)}, steps(300, adam(1e-3)),
        "balanced_accuracy",
    ),
    "20 ill": (
        "20 ill, 1,980 healthy, large network, many steps",
        (ill_and_healthy, RIGHT, 0.01, 2000), {"hidden": (64, 64)}, steps(1500, sgd(0.05, 0.9)), "balanced_accuracy",
    ),
    "wrong labels": (
        "two islands, 5 % ill, 10 % of the healthy recorded as ill",
        (ill_and_healthy, ISLANDS, 0.05, 3000), {"columns": 10, "hidden": (64,), "wrong": 0.1}, steps(800, adam(3e-3)),
        "balanced_accuracy",
    ),
    "ill on both sides": (
        "15 ill in five small islands around the healthy",
        (ill_and_healthy, [[3.0, 0.0], [0.9, 2.9], [-2.4, 1.8], [-2.4, -1.8], [0.9, -2.9]], 0.015, 1000),
        {"hidden": (32, 32), "spread": 0.4}, steps(800, adam(3e-3)), "balanced_accuracy",
    ),
    "probabilities": (
        "one cloud; the probabilities are used as they are",
        (ill_and_healthy, RIGHT, 0.02, 4000), {}, steps(600, adam(0.02)), "log_loss",
    ),
    "another hospital": (
        "2 % ill in training and validation, 30 % where the model is used",
        (ill_and_healthy, RIGHT, 0.02, 4000), {"ill_later": 0.3}, steps(600, adam(0.02)), "accuracy",
    ),
    "few rows": (
        "40 ill, 40 healthy, 20 columns, large network",
        (ill_and_healthy, [[1.0] * 4], 0.5, 80), {"columns": 20, "hidden": (64, 64)}, steps(400, adam(3e-3), 16),
        "balanced_accuracy",
    ),
    "stripes": (
        "25 % ill in stripes as narrow as the noise of an augmentation",
        (stripes, 0.125, 4000), {}, steps(2000, adam(3e-3)), "balanced_accuracy",
    ),
    "long tail": (
        "eight classes, 300 to 6 examples",
        (long_tail,), {}, steps(600, adam(3e-3)), "balanced_accuracy",
    ),
    "long tail, 3 held": (
        "eight classes, 300 to 6 examples, 3 of each for validation",
        (long_tail,), {"held": 3}, steps(600, adam(3e-3)), "balanced_accuracy",
    ),
    "long tail, SGD": (
        "eight classes, 300 to 6 examples, SGD with weight decay",
        (long_tail,), {}, steps(600, sgd(0.1, 0.9, 0.02)), "balanced_accuracy",
    ),
    "long tail, 60 steps": (
        "eight classes, 300 to 6 examples, 60 steps",
        (long_tail,), {}, steps(60, adam(3e-3)), "balanced_accuracy",
    ),
}  # fmt: skip
SETTINGS: dict[str, Setting] = {
    name: Setting(says, made(*given, name=name, **more), budget, metric)
    for name, (says, given, more, budget, metric) in _SETTINGS.items()
}

# ---- the entries: (wins, loses) ---------------------------------------------------------------------------

ENTRIES: dict[str, tuple[str | None, str | None]] = {
    "threshold": ("another hospital", None),
    "em_prior": ("long tail, 3 held", "trained out"),
    "prior_correction": ("another hospital", "trained out"),
    "posthoc_adjustment": ("long tail, 3 held", "wrong labels"),
    "tau_norm": (None, "wrong labels"),
    "crt": ("first steps", "probabilities"),
    "class_weights": ("first steps", "probabilities"),
    "effective_number": ("long tail, 60 steps", "probabilities"),
    "focal": ("long tail, 60 steps", "probabilities"),
    "prioritised": ("first steps", "probabilities"),
    "auxiliary": ("long tail, 60 steps", "stripes"),
    "label_smoothing": ("long tail, 60 steps", "probabilities"),
    "logit_adjustment": ("long tail, 60 steps", "probabilities"),
    "ldam": ("long tail, 60 steps", "probabilities"),
    "random_oversample": ("first steps", "wrong labels"),
    "random_undersample": ("first steps", "long tail, SGD"),
    "smote": ("first steps", "wrong labels"),
    "augmentation": ("first steps", "stripes"),
    "mixup": (None, "long tail, 60 steps"),
    "balanced_ensemble": ("first steps", "long tail"),
    "uniform": ("first steps", "20 ill"),
    "shuffled": (None, "long tail, 60 steps"),
    "power_mix": ("first steps", "probabilities"),
    "progressive_mix": ("first steps", "wrong labels"),
    "weighted_sampler": ("first steps", "probabilities"),
    "importance": (None, "long tail, 60 steps"),
    "curriculum": (None, "long tail, SGD"),
    "alternating": ("first steps", "long tail, SGD"),
    "learn2mix": ("long tail, 60 steps", "probabilities"),
    "group_dro": ("first steps", "20 ill"),
    "cdb": ("long tail, 60 steps", "long tail, SGD"),
    "excess_loss_mix": (None, "long tail, 60 steps"),
}
SEARCHED, CONFIRMED = range(1000, 1004), range(10)


def gains(table: pd.DataFrame, metric: str, recipe: str) -> pd.Series:
    """What a row gains on plain training with a tuned decision, one number per seed; more than 0 is better.

    A row that acts on the decision keeps its own; every other one has its decision tuned as well. The log loss has
    none.
    """
    rows = table[table.metric == metric]
    tuned = (rows.decision == "tuned").any()
    own = not tuned or RECIPES[recipe].decide is not argmax
    value = rows.pivot_table(index="seed", columns=["recipe", "decision"], values="value")
    sign = 1 if rows.higher_is_better.iloc[0] else -1
    return sign * (value[recipe, "own" if own else "tuned"] - value["plain", "tuned" if tuned else "own"])


def chosen_for(setting: str) -> list[str]:
    return [row for row, places in ENTRIES.items() if setting in places]


def record(setting: str, rows: list[str], seeds: range, workers: int = 1) -> pd.DataFrame:
    """The runs of some rows, and of plain, in one setting."""
    s = SETTINGS[setting]
    table = compare(
        rows,
        s.make_task,
        seeds,
        budget=s.budget,
        metrics=[s.metric],
        workers=workers,
        cache=KEEP,
        progress=False,
    )
    table = table[table.recipe.isin(["plain", *rows])].copy()
    table.insert(0, "part", setting)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--search", action="store_true", help="every row in every setting, on four other seeds; printed"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes, default all cores"
    )
    given = parser.parse_args()
    rows = {name: list(ENTRIES) if given.search else chosen_for(name) for name in SETTINGS}
    found = []
    for name, chosen in rows.items():
        print(f"== {name} ==", flush=True)
        found.append(record(name, chosen, SEARCHED if given.search else CONFIRMED, given.workers))
        if given.search:
            for row in chosen:
                gain = gains(found[-1], SETTINGS[name].metric, row)
                print(f"{row:20} {gain.mean():+.3f}, seeds {gain.round(3).tolist()}", flush=True)
    if not given.search:
        table = stamped(pd.concat(found), "python data/results/atlas.py")
        table.drop(columns=["model"], errors="ignore").to_csv(
            HERE / "atlas.csv", index=False, float_format="%.6g"
        )


if __name__ == "__main__":
    from atlas import main  # under its own name, by which the cache can key it

    main()
