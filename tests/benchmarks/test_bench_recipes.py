"""A whole comparison, as a lesson makes it. No timed assertion."""

import functools

import pytest

from course_lib import data, experiments
from course_lib.recipes import Budget


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
