"""A comparison is fair by construction, paired by seed, and the same however it is run."""

import functools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from course_lib import data, experiments, recipes
from course_lib.experiments import NO_DIFFERENCE, compare, differences, learning_rates, summarise
from course_lib.metrics import METRICS
from course_lib.recipes import RECIPES, Budget

BUDGET = Budget(steps=15, batch_size=20, steps_per_round=3)


make_cancer = functools.partial(data.rare_cancer, 0.10)


def run(chosen, **options):
    options = {"budget": BUDGET, "progress": False, "metrics": ("balanced_accuracy",)} | options
    return compare(chosen, make_cancer, options.pop("seeds", [0, 1]), **options)


def values(table):
    return (
        table.drop(columns="seconds")
        .sort_values(["recipe", "seed", "decision", "metric"])
        .reset_index(drop=True)
    )


def test_controls_are_always_in():
    assert set(run(["focal"]).recipe) == {"plain", "focal"}
    assert set(run(["learn2mix"]).recipe) == {"plain", "uniform", "learn2mix"}
    assert set(run([]).recipe) == {"plain"}


def test_one_row_per_recipe_seed_decision_and_metric():
    table = run(["focal"], metrics=("balanced_accuracy", "brier"))
    assert len(table) == 2 * 2 * 2 * 2
    assert not table.duplicated(["task", "recipe", "seed", "decision", "metric"]).any()
    assert (table.steps == 15).all() and (table.examples == 300).all() and (table.seconds > 0).all()


def test_a_recipe_gets_the_same_numbers_alone_and_in_company():
    alone, company = run(["focal"]), run(["learn2mix", "focal", "smote"])
    for name in ("plain", "focal"):
        pd.testing.assert_frame_equal(
            values(alone[alone.recipe == name]), values(company[company.recipe == name])
        )


def test_workers_do_not_change_the_table():
    pd.testing.assert_frame_equal(values(run(["focal"])), values(run(["focal"], workers=2)))


def test_the_callers_random_stream_and_threads_are_left_alone():
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run(["focal"])
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_identical_recipes_never_differ():
    table = run(["focal", replace(RECIPES["focal"], name="focal again")], seeds=[0, 1, 2])
    gap = differences(table, "balanced_accuracy", baseline="focal")
    assert gap.loc["focal again", "difference"] == 0 and gap.loc["focal again", "verdict"] == NO_DIFFERENCE


def test_tuned_threshold_is_chosen_on_validation_not_on_test(monkeypatch):
    seen = []
    original = recipes.tuned

    def spy(run, outputs, y, **options):
        seen.append((run.task, len(y)))
        return original(run, outputs, y, **options)

    monkeypatch.setattr(recipes, "tuned", spy)
    run(["focal"])
    assert seen and all(size == len(task.validation.y) for task, size in seen)
    assert all(len(task.validation.y) != len(task.train.y) for task, _ in seen)


def test_tuning_judges_on_validation_and_tests_the_winner():
    """A candidate that cannot learn must lose to one that can, for every recipe and seed."""
    tune = learning_rates(1e-9, 1e-2)
    tuned = run(["focal"], tune=tune, tune_metric="log_loss", budget=Budget(steps=60, batch_size=20))
    good = run(["focal"], budget=Budget(steps=60, batch_size=20))
    pd.testing.assert_frame_equal(values(tuned), values(good))


def test_tuning_metrics_that_are_better_when_smaller_are_minimised():
    for metric in METRICS:
        assert (metric in experiments.LOWER_IS_BETTER) == any(w in metric for w in ("brier", "loss", "error"))


def test_unequal_tuning_is_refused():
    def uneven(recipe, budget):
        return [(recipe, budget)] * (2 if recipe.name == "focal" else 1)

    with pytest.raises(ValueError, match="equally many candidates"):
        run(["focal"], tune=uneven)
    with pytest.raises(ValueError, match="leave steps and batch size alone"):
        run(["focal"], tune=lambda recipe, budget: [(recipe, replace(budget, steps=99))])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"chosen": ["fokal"]}, "recipe must be one of"),
        ({"chosen": ["focal", "focal"]}, "different names"),
        ({"seeds": [1]}, "at least two different"),
        ({"seeds": [1, 1]}, "at least two different"),
        ({"metrics": ("f2",)}, "metrics must be names"),
        ({"tune_metric": "f2"}, "metrics must be names"),
        ({"metrics": ()}, "metrics must be"),
    ],
)
def test_bad_arguments_are_named_before_any_training(wrong, message):
    with pytest.raises(ValueError, match=message):
        run(**({"chosen": ["focal"]} | wrong))


# ---- the cache --------------------------------------------------------------------------------------------


def test_the_cache_gives_back_the_same_table_without_training(tmp_path, monkeypatch):
    def go():
        return compare(
            ["focal"], make_cancer, [0, 1], budget=BUDGET, metrics=("brier",), cache=tmp_path, progress=False
        )

    first = go()
    assert len(list(tmp_path.glob("*.json"))) == 4
    monkeypatch.setattr(experiments, "execute", lambda *a: pytest.fail("trained in spite of the cache"))
    pd.testing.assert_frame_equal(first, go())


def key(**changes):
    task = data.rare_cancer(changes.pop("prevalence", 0.10), seed=0)
    options = {
        "tries": [(RECIPES["focal"], BUDGET)], "make_task": make_cancer, "task": task, "seed": 0,
        "metrics": ("brier",), "tune_metric": "brier",
    } | changes  # fmt: skip
    return experiments._cache_file("folder", **options)


def test_the_cache_key_changes_with_everything_that_can_change_a_result(monkeypatch):
    gentle = RECIPES["focal"].vary(loss={"gamma": 1.0})
    keys = [
        key(),
        key(tries=[(gentle, BUDGET)]),
        key(tries=[(RECIPES["focal"], replace(BUDGET, steps=16))]),
        key(
            tries=[(RECIPES["focal"], replace(BUDGET, optimizer=functools.partial(torch.optim.SGD, lr=1e-2)))]
        ),
        key(prevalence=0.2),
        key(seed=1),
        key(metrics=("brier", "accuracy")),
    ]
    monkeypatch.setattr(experiments, "_source_hash", lambda: "other source")
    keys.append(key())
    assert None not in keys and len(set(keys)) == len(keys)
    assert key() == key()


def test_what_cannot_be_named_runs_uncached_and_says_so(tmp_path, capsys):
    odd = replace(RECIPES["focal"], name="odd", weigh=lambda run: None)
    run([odd], cache=tmp_path)
    assert "Not cached" in capsys.readouterr().out
    kept = [json.loads(path.read_text())[0]["recipe"] for path in tmp_path.glob("*.json")]
    assert set(kept) <= {"plain"} and kept
    compare(
        ["focal"],
        lambda seed: make_cancer(seed=seed),
        [0, 1],
        budget=BUDGET,
        cache=tmp_path / "b",
        progress=False,
    )
    assert "make_task cannot be named" in capsys.readouterr().out and not (tmp_path / "b").exists()


def test_a_thing_is_described_by_its_value():
    def inner():
        pass

    assert experiments.describe(inner) is None
    assert experiments.describe([1, inner]) is None
    assert experiments.describe(frozenset({"b", "a"})) == experiments.describe(frozenset({"a", "b"}))
    assert experiments.describe({"open": 1}) is None
    assert experiments.describe(RECIPES["learn2mix"]) != experiments.describe(RECIPES["plain"])


# ---- reading the table ------------------------------------------------------------------------------------


def table_of(**columns):
    rows = [
        {
            "task": "t",
            "recipe": name,
            "seed": seed,
            "decision": "own",
            "metric": "balanced_accuracy",
            "value": value,
        }
        for name, numbers in columns.items()
        for seed, value in enumerate(numbers)
    ]
    return pd.DataFrame(rows)


def test_differences_are_paired_by_seed():
    noise = np.array([0.1, 0.5, 0.9, 0.3, 0.7])
    table = table_of(plain=noise, better=noise + [0.01, 0.011, 0.009, 0.01, 0.01], shuffled=noise[::-1])
    found = differences(table, "balanced_accuracy")
    assert found.loc["better", "verdict"] == "better" and found.loc["better", "difference"] == pytest.approx(
        0.01
    )
    assert found.loc["shuffled", "verdict"] == NO_DIFFERENCE
    worse = differences(table, "balanced_accuracy", baseline="better")
    assert worse.loc["plain", "verdict"] == "worse"


def test_a_smaller_error_is_better():
    table = table_of(plain=[0.5, 0.6, 0.7], low=[0.4, 0.5, 0.6001]).replace("balanced_accuracy", "brier")
    assert differences(table, "brier").loc["low", "verdict"] == "better"


def test_differences_names_what_is_missing():
    with pytest.raises(ValueError, match="decision 'tuned'"):
        differences(table_of(plain=[1, 2], other=[1, 2]), "balanced_accuracy", decision="tuned")


def test_plain_with_a_tuned_threshold_can_be_the_baseline():
    table = run(["class_weights"], seeds=[0, 1, 2])
    found = differences(table, "balanced_accuracy", baseline_decision="tuned")
    assert {"plain", "class_weights"} == set(found.index)


def test_summary_holds_the_mean_between_its_bounds():
    found = summarise(table_of(plain=[0.1, 0.2, 0.4]))
    row = found.loc["plain", "own", "balanced_accuracy"]
    assert row["low"] < row["mean"] < row["high"] and row["mean"] == pytest.approx(0.7 / 3)
