"""A comparison is fair by construction, paired by seed, and the same however it is run."""

import functools
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from torch import nn

from course_lib import data, decisions, experiments
from course_lib.experiments import (
    BETTER,
    EQUAL,
    Rival,
    RunError,
    compare,
    differences,
    jobs,
    learning_rates,
    validation_curves,
)
from course_lib.experiments.trials import late_gain
from course_lib.metrics import METRICS, Metric, balanced_accuracy
from course_lib.recipes import RECIPES, Budget, Recipe, start, train
from course_lib.training import predict

BUDGET = Budget(steps=15, batch_size=20)
make_cancer = functools.partial(data.rare_cancer, 0.10)
make_blobs = functools.partial(data.gaussian_classes, (0.7, 0.2, 0.1), num_train=400, num_held=200)


def run(chosen, make_task=make_cancer, **options):
    options = {"budget": BUDGET, "progress": False, "metrics": ("balanced_accuracy",)} | options
    return compare(chosen, make_task, options.pop("seeds", [0, 1]), **options)


def values(table):
    keys = ["recipe", "seed", "decision", "metric"]
    return table.drop(columns=["seconds", "rising"]).sort_values(keys).reset_index(drop=True)


# ---- what is in a comparison ------------------------------------------------------------------------------


def test_controls_are_always_in():
    assert set(run(["focal"]).recipe) == {"plain", "focal"}
    assert set(run(["power_mix"]).recipe) == {"plain", "uniform", "shuffled", "power_mix"}
    assert set(run([]).recipe) == {"plain"}


def test_one_row_per_recipe_seed_decision_and_metric():
    table = run(["focal"], metrics=("balanced_accuracy", "brier", "roc_auc"))
    assert len(table) == 2 * 2 * (2 + 1 + 1)
    assert not table.duplicated(["task", "recipe", "seed", "decision", "metric"]).any()
    assert (table.steps == 15).all() and (table.examples == 300).all() and (table.seconds > 0).all()
    task = make_cancer()
    assert (table.n_train == len(task.train.x)).all() and (table.n_test == len(task.test.x)).all()
    assert not table.fresh.any() and run([], make_blobs).fresh.all()
    assert set(table.budget) == {"15 steps of 20, Adam(lr=0.01)"}


def test_a_budget_may_be_said_in_epochs():
    table = run([], budget=Budget(epochs=2, batch_size=50))
    assert set(table.steps) == {2 * (len(make_cancer().train.x) // 50)}
    assert set(table.budget) == {"2 epochs of 50, Adam(lr=0.01)"}


def test_a_recipe_gets_the_same_numbers_alone_and_in_company():
    alone, company = run(["focal"]), run(["power_mix", "focal", "smote"])
    for name in ("plain", "focal"):
        pd.testing.assert_frame_equal(
            values(alone[alone.recipe == name]), values(company[company.recipe == name])
        )


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
    assert gap.loc["focal again", "difference"] == 0 and gap.loc["focal again", "verdict"] == EQUAL


def test_looking_at_validation_on_the_way_changes_nothing():
    task = make_cancer(seed=0)
    blind, seen = (
        experiments.execute(RECIPES["balanced_ensemble"], task, Budget(steps=40), looks=n) for n in (0, 12)
    )
    assert torch.equal(blind.test, seen.test) and list(blind.looks) == [40]
    assert len(seen.looks) > 5 and torch.equal(seen.looks[40], seen.validation)


def test_a_curve_of_an_ensemble_is_that_of_the_ensemble():
    """Half way through, the average of all five members half way through."""
    task, recipe = make_cancer(seed=0), RECIPES["balanced_ensemble"]
    seen = experiments.execute(recipe, task, Budget(steps=40), looks=4)
    halves = []
    for member in range(5):
        half = start(recipe, task, Budget(steps=40), 0, member)
        half.steps = 4
        list(train(half, validation=False))
        halves.append(predict(half.model, task.validation.x))
    torch.testing.assert_close(seen.looks[20], experiments.average(halves, task.kind))


def test_a_value_before_the_end_is_that_of_the_network_as_it_was():
    """At a quarter of the budget, with the decision tuned on validation at that moment; rivals have the end alone."""
    budget, metrics = Budget(steps=40), ["balanced_accuracy", "roc_auc"]
    rival = Rival("forest", functools.partial(RandomForestClassifier, n_estimators=5))
    table = run([rival], budget=budget, metrics=metrics, at=(0.25,))
    short = table[table["at"] == 0.25]
    assert set(short.recipe) == {"plain"} and set(table[table.recipe == "forest"]["at"]) == {1.0}
    assert (short.steps == 10).all() and (short.examples == 320).all() and short.late_gain.isna().all()
    assert (
        short.seconds.to_numpy() < table[(table["at"] == 1) & (table.recipe == "plain")].seconds.to_numpy()
    ).all()
    for seed in (0, 1):
        task = make_cancer(seed=seed)
        quarter = start(RECIPES["plain"], task, budget, seed)
        quarter.steps = 10
        list(train(quarter, validation=False))
        validation, test = (predict(quarter.model, part.x) for part in (task.validation, task.test))
        target = METRICS["balanced_accuracy"]
        made = decisions.tuned(validation, task.validation.y, target, task.train_prior)
        expected = {
            ("roc_auc", "own"): METRICS["roc_auc"](task.test, test, None),
            ("balanced_accuracy", "own"): target(task.test, test, test.argmax(1)),
            ("balanced_accuracy", "tuned"): target(task.test, test, made.choose(made.adjust(test))),
        }
        mine = short[short.seed == seed].set_index(["metric", "decision"]).value.to_dict()
        assert mine == pytest.approx(expected)


def test_moments_are_not_mixed_when_a_table_is_read():
    table = run(["focal"], at=(0.5,))
    with pytest.raises(ValueError, match="at"):
        differences(table, "balanced_accuracy")
    for at in (0.5, 1.0):
        assert list(differences(table[table["at"] == at], "balanced_accuracy").index) == ["focal"]
    pd.testing.assert_frame_equal(values(table[table["at"] == 1]), values(run(["focal"])))
    with pytest.raises(ValueError, match="at must"):
        run(["focal"], at=(0.0,))


# ---- workers ----------------------------------------------------------------------------------------------


def test_workers_never_answer_with_the_data_of_another_comparison(tmp_path):
    """Lambdas over several tables, one after the other, in workers that outlive each call; then a file that changes."""
    alone, together = [], []
    for prevalence in (0.09, 0.2, 0.3):
        make = lambda seed, p=prevalence: data.rare_cancer(p, seed=seed)  # noqa: E731
        together.append(run([], make, workers=2))
        del make
        alone.append(run([], lambda seed, p=prevalence: data.rare_cancer(p, seed=seed)))
    for one, other in zip(alone, together):
        pd.testing.assert_frame_equal(values(one), values(other))
    share = tmp_path / "prevalence.txt"
    make = functools.partial(from_file, str(share))
    names = []
    for prevalence in ("0.1", "0.3"):
        share.write_text(prevalence)
        names.append(set(run([], make, workers=2).task))
    assert names == [{"rare cancer 10%"}, {"rare cancer 30%"}]


def from_file(path, seed):
    with open(path) as file:
        return data.rare_cancer(float(file.read()), seed=seed)


# ---- tuned ------------------------------------------------------------------------------------------------


def test_tuned_is_tuned_for_the_metric_of_its_row():
    """macro-F1 and balanced accuracy want different thresholds; each row has its own."""
    names = ("balanced_accuracy", "macro_f1", "accuracy")
    for make_task in (make_cancer, make_blobs):
        table = run(["class_weights"], make_task, metrics=names, budget=Budget(steps=60))
        tuned = table[table.decision == "tuned"]
        assert (tuned.tuned_for == tuned.metric).all()
        assert tuned.groupby(["recipe", "seed"]).setting.nunique().max() > 1


def test_tuning_moves_no_probability_and_no_ranking():
    table = run(["class_weights"], metrics=("brier", "log_loss", "roc_auc", "average_precision"))
    assert set(table.decision) == {"own"}


def test_recall_of_one_class_is_decided_as_tuned_for_another_metric():
    """Tuned for recall alone everybody would be flagged."""
    names = ("rarest_recall", "recall of malignant", "macro_f1", "balanced_accuracy")
    table = run([], metrics=names, budget=Budget(steps=80))
    tuned = table[table.decision == "tuned"]
    assert set(tuned[tuned.metric.str.contains("recall")].tuned_for) == {"macro_f1"}
    assert (
        tuned[tuned.metric == "rarest_recall"].value.to_numpy() == tuned[tuned.metric == names[1]].value
    ).all()
    assert set(run([], metrics=("rarest_recall",)).tuned_for) == {"", "balanced_accuracy"}


def test_resampling_recipes_are_tuned_with_the_prior_of_the_task():
    """After oversampling the training part is balanced, and tau times the log of its prior would do nothing."""
    table = run(
        ["random_oversample"], make_blobs, metrics=("accuracy",), budget=Budget(steps=150), seeds=[0, 1, 2]
    )
    both = table[table.recipe == "random_oversample"].pivot(index="seed", columns="decision", values="value")
    assert (both.tuned > both.own + 0.02).any()


def test_each_row_gets_the_candidate_that_wins_under_its_decision():
    """A metric whose best candidate differs by decision: at argmax the slow one wins, tuned the fast one."""
    budget = Budget(steps=60, batch_size=20)
    rates = (1e-6, 1e-2)
    both = run(
        ["focal"], tune=learning_rates(*rates), budget=budget, metrics=("balanced_accuracy", "log_loss")
    )
    alone = {
        f"Adam(lr={rate})": run(
            ["focal"], budget=replace(budget, optimizer=functools.partial(torch.optim.Adam, lr=rate)),
            metrics=("balanced_accuracy", "log_loss"),
        ).set_index(["recipe", "seed", "decision", "metric"]).value
        for rate in rates
    }  # fmt: skip
    for _, row in both.iterrows():
        assert row.value == alone[row.candidate][row.recipe, row.seed, row.decision, row.metric]
    assert (both[both.metric == "log_loss"].candidate == "Adam(lr=0.01)").all()


def test_tuning_metrics_that_are_better_when_smaller_are_minimised():
    tuned = run(["focal"], tune=learning_rates(1e-9, 1e-2), tune_metric="log_loss", budget=Budget(steps=60))
    assert set(tuned.candidate) == {"Adam(lr=0.01)"}


def poisoned(make_task, part, seed):
    """The same task, the labels of one part turned around."""
    task = make_task(seed=seed)
    split = getattr(task, part)
    wrong = task.num_groups - 1 - split.y
    return replace(task, **{part: split._replace(y=wrong, group=wrong)})


@pytest.mark.parametrize("make_task", [make_cancer, make_blobs], ids=["two classes", "three classes"])
def test_poisoned_test_labels_move_neither_decision_nor_candidate(make_task):
    options = {
        "tune": learning_rates(1e-3, 1e-2), "metrics": ("balanced_accuracy", "brier"),
        "budget": Budget(steps=40), "curves": True,
    }  # fmt: skip
    clean = run(["em_prior", "threshold"], make_task, **options)
    test, validation = (
        run(["em_prior", "threshold"], functools.partial(poisoned, make_task, part), **options)
        for part in ("test", "validation")
    )
    assert test.setting.equals(clean.setting) and test.candidate.equals(clean.candidate)
    assert test.curve.equals(clean.curve) and not np.allclose(test.value, clean.value)
    # and the check can see a cheat: validation labels do move them
    assert not validation.setting.equals(clean.setting) and not validation.candidate.equals(clean.candidate)


def test_decisions_see_the_validation_part_alone(monkeypatch):
    seen = []
    original = decisions.tuned

    def spy(outputs, y, *rest, **options):
        seen.append(y)
        return original(outputs, y, *rest, **options)

    monkeypatch.setattr(decisions, "tuned", spy)
    run(["focal"])
    wanted = [make_cancer(seed=seed).validation.y for seed in (0, 1)]
    assert seen and all(any(torch.equal(y, w) for w in wanted) for y in seen)


def test_more_than_two_classes_are_tuned_too():
    """Not argmax once more: the tuned row of three classes improves worst recall of a plain network."""
    table = run([], make_blobs, metrics=("worst_recall",), budget=Budget(steps=200), seeds=range(4))
    both = table.pivot(index="seed", columns="decision", values="value")
    assert (both.tuned - both.own).mean() > 0.1 and (both.tuned > both.own).sum() >= 3
    assert table[table.decision == "tuned"].setting.str.startswith("tau ").all()


# ---- still rising -----------------------------------------------------------------------------------------


def test_a_budget_that_ends_too_early_is_marked():
    short = run([], make_blobs, budget=Budget(steps=30, optimizer=functools.partial(torch.optim.SGD, lr=0.01)),
                metrics=("log_loss",), seeds=range(3))  # fmt: skip
    assert short.rising.all() and (short.late_gain > 0).all()
    done = run([], make_blobs, budget=Budget(steps=600), metrics=("log_loss",), seeds=range(3))
    assert not done.rising.any()


@pytest.mark.parametrize(("name", "sign"), [("accuracy", 1), ("brier", -1)])
def test_late_gain_compares_the_last_quarter_with_the_one_before(name, sign):
    curve = [(step, 100.0 if step <= 50 else sign * step) for step in range(10, 101, 10)]
    assert late_gain(curve, METRICS[name]) == pytest.approx((80 + 90 + 100) / 3 - (60 + 70) / 2)
    assert np.isnan(late_gain(curve[:3], METRICS[name]))


def test_curves_are_given_on_request():
    assert "curve" not in run([])
    table = run([], curves=True)
    curves = validation_curves(table)
    assert set(curves.columns) == {"task", "budget", "recipe", "seed", "decision", "metric", "step", "value"}
    end = curves[curves.step == 15]
    assert len(end) == len(table) and len(curves) > 4 * len(table)
    assert curves.value.between(0, 1).all()


# ---- one's own metric, a rival, devices, models -----------------------------------------------------------


def flagged(split, outputs, predicted):
    return float((predicted == 1).double().mean())


def test_a_metric_of_ones_own_stands_beside_the_others():
    fewest = Metric("flagged", flagged, higher_is_better=False)
    table = run(["focal"], metrics=[fewest, "balanced_accuracy"])
    mine = table[table.metric == "flagged"]
    assert not mine.higher_is_better.any() and (mine[mine.decision == "tuned"].value <= 0.1).all()
    assert differences(table, "flagged").index.tolist() == ["focal"]
    with pytest.raises(TypeError, match="which direction is better"):
        run(["focal"], metrics=[flagged])


def test_a_rival_from_scikit_learn_is_a_row_like_any_other():
    make = functools.partial(LogisticRegression, max_iter=1000)
    names = ("balanced_accuracy", "brier", "roc_auc")
    table = run(["focal", Rival("logistic", make)], metrics=names, tune=learning_rates(1e-3, 1e-2))
    rival = table[table.recipe == "logistic"].set_index(["seed", "decision", "metric"])
    assert set(table.recipe) == {"plain", "focal", "logistic"} and (rival.steps == 0).all()
    for seed in (0, 1):
        task = make_cancer(seed=seed)
        fitted = make().fit(task.train.x.numpy(), task.train.y.numpy())
        p = fitted.predict_proba(task.test.x.numpy()).clip(1e-15)
        brier = ((p[:, 1] - task.test.y.numpy()) ** 2).mean()
        assert rival.value[seed, "own", "brier"] == pytest.approx(brier)
        outputs = torch.tensor(np.log(fitted.predict_proba(task.validation.x.numpy()).clip(1e-15)))
        decision = decisions.tune_threshold(outputs, task.validation.y)
        decided = decision.decide(torch.tensor(np.log(p)))
        assert rival.value[seed, "tuned", "balanced_accuracy"] == pytest.approx(
            balanced_accuracy(task.test, outputs, decided)
        )
    assert set(differences(table, "brier").index) == {"focal", "logistic"}


@pytest.mark.parametrize("make", [RidgeClassifier, functools.partial(RandomForestClassifier, n_estimators=5)])
@pytest.mark.parametrize("make_task", [make_cancer, make_blobs], ids=["two classes", "three classes"])
def test_rivals_without_probabilities_and_with_a_random_state(make, make_task):
    one, two = (run([Rival("rival", make)], make_task) for _ in range(2))
    pd.testing.assert_frame_equal(values(one), values(two))
    task = make_task(seed=0)
    estimator = make()
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    predicted = torch.tensor(
        estimator.fit(task.train.x.numpy(), task.train.y.numpy()).predict(task.test.x.numpy())
    )
    own = one[(one.recipe == "rival") & (one.seed == 0) & (one.decision == "own")].value.item()
    assert own == pytest.approx(balanced_accuracy(task.test, torch.zeros(1, task.num_groups), predicted))


def test_a_rival_of_a_regression():
    table = run([Rival("line", LinearRegression)], data.mean_estimation, metrics=("squared_error",))
    assert set(table.recipe) == {"plain", "line"} and set(table.decision) == {"own"}
    assert np.isfinite(table.value).all()


def test_a_rival_says_what_it_takes():
    with pytest.raises(TypeError, match="a function that makes an estimator"):
        Rival("forest", RandomForestClassifier())


def test_the_device_is_handed_to_the_task():
    pd.testing.assert_frame_equal(values(run(["focal"])), values(run(["focal"], device="cpu")))
    with pytest.raises(RuntimeError):
        run([], device="meta:nowhere")
    if torch.cuda.is_available():
        assert len(run(["focal"], device="cuda")) == 8


def test_models_are_stored_on_request(tmp_path):
    table = run(
        ["focal", Rival("logistic", LogisticRegression)], models=tmp_path, tune=learning_rates(1e-4, 1e-2)
    )
    for row in table.itertuples():
        task = make_cancer(seed=row.seed)
        [model] = torch.load(row.model, weights_only=False)
        if row.recipe == "logistic":
            assert model.predict(task.test.x.numpy()).shape == task.test.y.shape
        elif row.decision == "own":
            predicted = model.eval()(task.test.x).argmax(1)
            assert balanced_accuracy(task.test, torch.zeros(1, 2), predicted) == row.value


# ---- errors -----------------------------------------------------------------------------------------------


def broken_at(step, outputs, y, reduction="mean"):
    raise ArithmeticError("no loss today")


def test_an_error_names_recipe_seed_and_part_and_keeps_what_is_finished():
    bad = Recipe("bad", loss=functools.partial(broken_at, 1))
    with pytest.raises(
        RunError, match="recipe 'bad', seed 0, while training: ArithmeticError: no loss today"
    ) as caught:
        run(["focal", bad])
    assert set(caught.value.finished.recipe) == {"plain", "focal"}
    assert "broken_at" in caught.value.__notes__[0]
    with pytest.raises(RunError, match="recipe 'bad', seed 0"):
        run([bad], workers=2)


def test_finished_runs_of_a_failed_comparison_are_in_the_cache(tmp_path):
    bad = replace(RECIPES["focal"], name="bad", decide=no_decision)
    with pytest.raises(
        RunError, match=r"'bad', seed 0, while judging balanced_accuracy \(own\) on validation"
    ):
        run(["focal", bad], cache=tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2


def no_decision(run, outputs, y):
    raise KeyError("lost")


def test_what_a_run_refuses_is_a_value_error():
    net = nn.Linear(30, 2)
    with pytest.raises(ValueError, match=r"recipe 'plain', seed 1.*must build a new network at every call"):
        run([], functools.partial(same_network, net))
    with pytest.raises(ValueError, match=r"recipe 'learn2mix', seed 0.*at least 5"):
        run(["learn2mix"])


def same_network(net, seed):
    return replace(data.rare_cancer(0.1, seed=seed), model=lambda: net)


def lacking(seed):
    task = data.gaussian_classes((0.7, 0.2, 0.1), num_train=200, num_held=100, seed=seed)
    return replace(task, validation=task.validation.take((task.validation.y < 2).nonzero().flatten()))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"chosen": ["fokal"]}, ValueError, "recipe must be one of"),
        ({"chosen": "focal"}, TypeError, "chosen must be a list of recipes"),
        ({"chosen": [3]}, TypeError, "recipe must be a name, a Recipe or a Rival, got 3"),
        ({"chosen": ["focal", "focal"]}, ValueError, "different names"),
        ({"seeds": [1]}, ValueError, "at least two different"),
        ({"seeds": [1, 1]}, ValueError, "at least two different"),
        ({"seeds": 5}, TypeError, r"seeds must be several whole numbers, such as range\(5\), got 5"),
        ({"seeds": [0, 2**32]}, ValueError, "seeds must"),
        ({"seeds": [0, -1]}, ValueError, "seeds must"),
        ({"metrics": ("f2",)}, ValueError, "metrics must be names"),
        ({"metrics": ()}, ValueError, "metrics must be"),
        ({"metrics": ("squared_error",)}, ValueError, "must fit a classification task, got 'squared_error'"),
        ({"tune_metric": "f2"}, ValueError, "metrics must be names"),
        ({"workers": 0}, ValueError, "workers must be >= 1"),
        ({"at": (1.5,)}, ValueError, r"at must lie in \(0, 1\], got 1.5"),
        ({"make_task": lambda: make_cancer()}, TypeError, "callable with a seed alone"),
        ({"make_task": None}, TypeError, "make_task must be a function"),
        ({"make_task": lambda seed: 3}, TypeError, "make_task must return a Task, got int"),
        (
            {"make_task": lacking},
            ValueError,
            "must hold every class, since decisions are tuned on it, got none of",
        ),
    ],
)
def test_bad_arguments_are_named_before_any_training(monkeypatch, wrong, error, message):
    monkeypatch.setattr(jobs, "execute", lambda *a, **k: sys.exit("trained"))
    with pytest.raises(error, match=message):
        run(**({"chosen": ["focal"]} | wrong))


def test_a_task_in_place_of_its_maker_is_explained():
    task = make_cancer()
    for call in (lambda: compare(task), lambda: compare(["focal"], task, range(3))):
        with pytest.raises(TypeError, match="function that makes the task"):
            call()


def test_unequal_tuning_is_refused():
    def uneven(recipe, budget):
        return [(recipe, budget)] * (2 if recipe.name == "focal" else 1)

    with pytest.raises(ValueError, match="equally many candidates"):
        run(["focal"], tune=uneven)
    for change in ({"steps": 99}, {"batch_size": 7}, {"steps": None, "epochs": 3}):
        with pytest.raises(ValueError, match="leave steps and batch size alone"):
            run(["focal"], tune=lambda recipe, budget, c=change: [(recipe, replace(budget, **c))])


# ---- a small real one -------------------------------------------------------------------------------------


def test_a_real_comparison_knows_equal_from_different():
    """Balanced accuracy of a plain network at 3 %: class weights help by far; focal again is focal."""
    make_task = functools.partial(data.gaussian_classes, (0.97, 0.03), num_train=1_000, num_held=2_000)
    twin = replace(RECIPES["class_weights"], name="twin")
    table = run(["class_weights", twin], make_task, budget=Budget(steps=150), seeds=range(5))
    found = differences(table, "balanced_accuracy")
    assert found.verdict["class_weights"] == BETTER and found.low["class_weights"] > 0.03
    assert differences(table, "balanced_accuracy", baseline="class_weights").verdict["twin"] == EQUAL
