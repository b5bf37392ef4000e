"""What a recipe costs: an epoch of LeNet-5 at MNIST size beside plain. No timed assertion."""

import ctypes
import functools
import time

import pytest
import torch

from course_lib import data
from course_lib.models import LeNet5
from course_lib.recipes import RECIPES, Budget, start, train
from course_lib.training import prepare

EPOCH = Budget(
    steps=60, batch_size=1000, steps_per_round=12, optimizer=functools.partial(torch.optim.Adam, lr=1e-3)
)


@functools.cache
def mnist_like() -> data.Task:
    """60,000 images of noise with ten slightly unequal classes: the cost of a step does not depend on what it shows."""
    generator = torch.Generator().manual_seed(0)

    def part(n):
        y = torch.randint(0, 10, (n,), generator=generator)
        return data.Split(torch.rand(n, 1, 28, 28, generator=generator), y, y)

    return data.Task(
        name="MNIST size", kind="classification", train=part(60_000), validation=part(1000), test=part(1000),
        num_groups=10, group_names=tuple("0123456789"), target_prior=torch.full((10,), 0.1), model=LeNet5,
    )  # fmt: skip


def epoch_of(name: str):
    recipe = RECIPES[name]
    run = start(recipe, mnist_like(), EPOCH)
    return lambda: list(train(run, validation=False))


@pytest.fixture(scope="module")
def memory_kept():
    """Memory that a step frees stays with the process: getting it anew can be a third of an epoch, now in one recipe,
    now in another. For the rest of the process, hence a file of its own; where there is no mallopt, without."""
    trim_threshold, mmap_max, most = -1, -4, 2**31 - 1
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: None)
    mallopt(trim_threshold, most)
    mallopt(mmap_max, 0)


# SMOTE on 784 pixels is measured by itself; resampling the rest is not what an epoch costs.
@pytest.mark.parametrize("name", [n for n, row in RECIPES.items() if n != "smote" and row.members == 1])
# Processor time, in one thread: what else the machine does changes it less than it changes the clock on the wall.
@pytest.mark.benchmark(
    group="one training epoch of LeNet-5 at MNIST size (ratio to plain)", timer=time.process_time
)
def test_lenet_epoch(benchmark, memory_kept, name):
    """Each epoch has one of plain before it: over minutes a machine's speed drifts by more than recipes differ."""
    prepare(0)
    beside = []

    def ready():
        epoch, began = epoch_of("plain"), time.process_time()
        epoch()
        beside.append(time.process_time() - began)
        return (epoch_of(name),), {}

    benchmark.extra_info["aim"] = 1.05 if name == "learn2mix" else None
    benchmark.pedantic(lambda epoch: epoch(), setup=ready, rounds=2)
    benchmark.extra_info["base_seconds"] = min(beside)
