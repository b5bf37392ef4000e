"""What the loop costs beside a minimal one written by hand: 100,000 x 30 floats, two classes. No timed assertion.

Every path has the hand-written loop run right before it, so that a machine whose speed drifts changes both.
"""

import functools
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from course_lib import data
from course_lib.models import MLP
from course_lib.priors import class_prior
from course_lib.recipes import RECIPES, Budget, start, train
from course_lib.sampling import ClassMixBatchSampler
from course_lib.training import SplitLoader, fit, prepare

N, STEPS = 100_000, {64: 500, 1024: 300}
make_model = functools.partial(MLP, (30, 64, 2))
adam = functools.partial(torch.optim.Adam, lr=1e-3)


@functools.cache
def task() -> data.Task:
    generator = torch.Generator().manual_seed(0)

    def part(n):
        y = (torch.rand(n, generator=generator) < 0.02).long()
        return data.Split(torch.randn(n, 30, generator=generator) + y[:, None], y, y)

    return data.Task(
        "100,000 x 30", "classification", part(N), part(2000), part(2000), 2, ("common", "rare"),
        torch.tensor([0.98, 0.02]), make_model,
    )  # fmt: skip


def by_hand(batch_size: int) -> None:
    """Nothing but steps: shuffled rows, a gather, forward, backward."""
    x, y, _ = task().train
    model = make_model()
    optimizer = adam(model.parameters())
    wanted = STEPS[batch_size] * batch_size
    order = torch.cat([torch.randperm(N) for _ in range(-(-wanted // N))])
    for rows in order[:wanted].split(batch_size):
        loss = F.cross_entropy(model(x.index_select(0, rows)), y.index_select(0, rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def by_fit(batch_size: int, make_loader=SplitLoader) -> None:
    split, model = task().train, make_model()
    sampler = ClassMixBatchSampler(
        split.y, batch_size, class_prior(split.y), batches_per_epoch=STEPS[batch_size]
    )
    fit(
        model, make_loader(split, sampler), nn.functional.cross_entropy, adam(model.parameters()),
        rounds=1, num_groups=2,
    )  # fmt: skip


def by_recipe(batch_size: int, name: str) -> None:
    steps = STEPS[batch_size]
    run = start(RECIPES[name], task(), Budget(steps, batch_size, adam, steps_per_round=steps // 5))
    for _ in train(run, validation=False):
        pass


def one_gather(split: data.Split, sampler) -> DataLoader:
    return DataLoader(TensorDataset(split.x, split.y), sampler=sampler, batch_size=None)


def row_by_row(split: data.Split, sampler) -> DataLoader:
    return DataLoader(TensorDataset(split.x, split.y), batch_sampler=sampler)


PATHS = {
    "fit": (by_fit, 1.05),
    "fit, DataLoader with one gather": (functools.partial(by_fit, make_loader=one_gather), 1.25),
    "fit, DataLoader row by row": (functools.partial(by_fit, make_loader=row_by_row), None),
    "plain recipe": (functools.partial(by_recipe, name="plain"), 1.10),
    "focal": (functools.partial(by_recipe, name="focal"), 1.15),
    "learn2mix": (functools.partial(by_recipe, name="learn2mix"), 1.15),
    "class weights": (functools.partial(by_recipe, name="class_weights"), None),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("batch_size", STEPS)
def test_loop(benchmark, batch_size, path):
    prepare(0)
    run, aim = PATHS[path]
    beside = []

    def ready():
        began = time.process_time()
        by_hand(batch_size)
        beside.append(time.process_time() - began)

    benchmark.group = f"{STEPS[batch_size]} steps of {batch_size} of {N:,} x 30 (ratio to a loop by hand)"
    benchmark.extra_info.update(base=path == "fit", aim=aim)
    by_hand(batch_size)
    benchmark.pedantic(lambda: run(batch_size), setup=ready, rounds=5, warmup_rounds=0)
    benchmark.extra_info["base_seconds"] = min(beside)


test_loop = pytest.mark.benchmark(timer=time.process_time)(test_loop)
