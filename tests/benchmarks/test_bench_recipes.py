"""What a recipe costs: an epoch of LeNet-5 at MNIST size beside plain, and a whole comparison. No timed assertion."""

import functools
import time

import pytest
import torch

from course_lib import data, experiments
from course_lib.models import LeNet5
from course_lib.recipes import RECIPES
from course_lib.runs import Budget, start, train
from course_lib.training import prepare

EPOCH = Budget(steps=60, batch_size=1000, optimizer=functools.partial(torch.optim.Adam, lr=1e-3))


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


# SMOTE on 784 pixels is measured by itself; resampling the rest is not what an epoch costs.
@pytest.mark.parametrize("name", [n for n, row in RECIPES.items() if n != "smote" and row.members == 1])
# Processor time, in one thread: what else the machine does changes it less than it changes the clock on the wall.
@pytest.mark.benchmark(
    group="one training epoch of LeNet-5 at MNIST size (ratio to plain)", timer=time.process_time
)
def test_lenet_epoch(benchmark, name):
    prepare(0)
    recipe = RECIPES[name]

    def ready():
        return (recipe, start(recipe, mnist_like(), EPOCH)), {}

    benchmark.pedantic(
        lambda recipe, run: list(train(recipe, run, validation=False)), setup=ready, rounds=3, warmup_rounds=1
    )


@pytest.mark.benchmark(
    group="8 recipes x 20 seeds x 30 epochs on long-tailed digits (aim: under 30 s on two cores)"
)
def test_comparison(benchmark):
    make_task = functools.partial(data.digits, 20)
    names = [
        "plain",
        "uniform",
        "class_weights",
        "focal",
        "logit_adjustment",
        "smote",
        "learn2mix",
        "group_dro",
    ]
    steps = 30 * (len(make_task().train.x) // 32)
    table = benchmark.pedantic(
        lambda: experiments.compare(
            names, make_task, range(20), budget=Budget(steps), workers=2, progress=False
        ),
        rounds=1,
    )
    assert table.recipe.nunique() == 8 and table.seed.nunique() == 20
