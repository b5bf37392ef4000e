"""A whole comparison, as a lesson makes it, beside the bare steps of the same runs. No timed assertion."""

import functools
import time

import pytest
import torch

from course_lib import data, experiments
from course_lib.recipes import RECIPES, Budget, start, train

NAMES = [
    "plain", "uniform", "shuffled", "class_weights", "focal", "logit_adjustment", "smote", "learn2mix", "group_dro",
]  # fmt: skip
BUDGET = Budget(epochs=30)


@pytest.mark.benchmark(
    group="9 recipes x 20 seeds x 30 epochs on long-tailed digits (aim: under 30 s on two cores)"
)
def test_comparison(benchmark):
    make_task = functools.partial(data.digits, 20)
    table = benchmark.pedantic(
        lambda: experiments.compare(NAMES, make_task, range(20), budget=BUDGET, workers=2, progress=False),
        rounds=1,
    )
    assert table.recipe.nunique() == 9 and table.seed.nunique() == 20


TASKS = {
    "digits, 10 classes": functools.partial(data.digits, 20),
    "2 classes of 20,000": functools.partial(
        data.gaussian_classes, (0.98, 0.02), num_train=20_000, num_held=10_000
    ),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.benchmark(
    group="a comparison of 9 recipes x 2 seeds (ratio to its bare steps)", timer=time.process_time
)
def test_comparison_beside_its_steps(benchmark, task):
    """Data, curves, tuned decisions and metrics included; one process, one thread."""
    make_task = TASKS[task]
    budget = BUDGET if task.startswith("digits") else Budget(epochs=5, batch_size=256)

    def bare():
        for seed in (0, 1):
            made = make_task(seed=seed)
            for name in NAMES:
                list(train(start(RECIPES[name], made, budget, seed), validation=False))

    torch.set_num_threads(1)
    bare()
    began = time.process_time()
    bare()
    beside = time.process_time() - began
    benchmark.extra_info["aim"] = 1.2
    benchmark.pedantic(
        lambda: experiments.compare(NAMES, make_task, [0, 1], budget=budget, progress=False), rounds=2
    )
    benchmark.extra_info["base_seconds"] = beside
