"""Verdicts: calibrated when nothing differs, able to see what does, corrected for shared data and for many recipes."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from course_lib.experiments import (
    BETTER,
    EQUAL,
    UNCLEAR,
    WORSE,
    differences,
    summarise,
    validation_curves,
    verdict,
)
from course_lib.metrics import t_interval


def table_of(
    metric="balanced_accuracy", up=True, fresh=True, n_train=700, n_test=150, rising=False, **columns
):
    """What compare returns, made by hand: recipe name -> one value per seed."""
    rows = [
        {
            "task": "t", "recipe": name, "seed": seed, "decision": "own", "metric": metric, "value": value,
            "budget": "300 steps", "n_train": n_train, "n_test": n_test, "fresh": fresh, "higher_is_better": up,
            "late_gain": 0.0, "rising": rising,
        }
        for name, numbers in columns.items()
        for seed, value in enumerate(numbers)
    ]  # fmt: skip
    return pd.DataFrame(rows)


# ---- the one verdict --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "up", "said"),
    [
        (0.02, 0.05, True, BETTER), (0.02, 0.05, False, WORSE), (-0.05, -0.02, True, WORSE),
        (-0.05, -0.02, False, BETTER), (-0.05, 0.02, True, UNCLEAR), (-0.009, 0.009, True, EQUAL),
        (0.001, 0.009, True, EQUAL), (0.001, 0.011, True, BETTER), (0.0, 0.0, True, EQUAL), (-0.01, 0.01, True, EQUAL),
        (-0.011, 0.01, False, UNCLEAR), (0.0, 0.02, True, UNCLEAR),
    ],
)  # fmt: skip
def test_a_verdict_says_what_the_interval_says(low, high, up, said):
    assert verdict(low, high, smallest=0.01, higher_is_better=up) == said


def test_without_a_size_too_small_to_matter_nothing_is_practically_equal():
    assert verdict(-0.001, 0.001, smallest=0) == UNCLEAR
    assert verdict(0.0001, 0.001, smallest=0) == BETTER


@pytest.mark.parametrize("wrong", [{"smallest": -1}, {"low": 2, "high": 1}, {"low": float("nan")}])
def test_a_verdict_refuses_what_is_no_interval(wrong):
    with pytest.raises(ValueError, match="must"):
        verdict(**({"low": 0, "high": 1} | wrong))


# ---- null and power, by simulation ------------------------------------------------------------------------


def told_apart(make_runs, comparisons, **options):
    """Shares of comparisons with the verdicts better and worse."""
    said = [
        differences(
            make_runs(np.random.default_rng(seed)), "balanced_accuracy", smallest=0, **options
        ).verdict
        for seed in range(comparisons)
    ]
    said = pd.concat(said)
    return {word: float((said == word).mean()) for word in (BETTER, WORSE, UNCLEAR)}


def fresh_runs(rng, gain=0.0, seeds=8):
    """Every seed draws new data: a difficulty that both methods share, and noise of each one's own."""
    shared = 0.8 + 0.05 * rng.normal(size=seeds)
    plain, other = shared + 0.02 * rng.normal(size=(2, seeds))
    return table_of(plain=plain, other=other + gain, fresh=True)


def resplit_runs(rng, gain=0.0, seeds=10, size=400):
    """One finite set, split anew by every seed. Which examples a method wins on is a property of the set: the mean over
    the test part of one fixed list, plus what the training part, drawn from the same set, makes of it."""
    wins, lessons = rng.normal(size=size), rng.normal(size=size)
    gaps = []
    for _ in range(seeds):
        order = rng.permutation(size)
        test, train = order[: size // 5], order[size // 5 :]
        gaps.append(0.1 * wins[test].mean() + 0.05 * lessons[train].mean())
    plain = 0.8 + 0.05 * rng.normal(size=seeds)
    return table_of(
        plain=plain, other=plain + gain + gaps, fresh=False, n_train=size * 4 // 5, n_test=size // 5
    )


def test_two_equal_methods_are_told_apart_in_five_percent_of_comparisons():
    """Fresh data: 250 comparisons, so the share lies within .05 +- .036 in 99 of 100 such tests."""
    said = told_apart(fresh_runs, 250)
    assert said[BETTER] + said[WORSE] == pytest.approx(0.05, abs=0.036)


def test_two_equal_methods_are_not_told_apart_by_splitting_one_set_again_and_again():
    """More seeds on one set would make any method win: without the correction a third of the verdicts are false."""
    corrected = told_apart(resplit_runs, 200)
    assert 0.01 < corrected[BETTER] + corrected[WORSE] <= 0.08
    naive = told_apart(lambda rng: resplit_runs(rng).assign(fresh=True), 60)
    assert naive[BETTER] + naive[WORSE] > 0.2


def test_a_real_difference_is_found():
    """A gain of .04 where one seed's difference scatters by .028: 8 fresh seeds find it nearly always."""
    said = told_apart(lambda rng: fresh_runs(rng, gain=0.04), 80)
    assert said[BETTER] > 0.9 and said[WORSE] == 0


def test_a_real_difference_is_found_on_one_set_too():
    said = told_apart(lambda rng: resplit_runs(rng, gain=0.05), 80)
    assert said[BETTER] > 0.9 and said[WORSE] == 0


def test_many_equal_recipes_together_are_told_apart_in_five_percent_of_comparisons():
    """Holm: with six recipes and no correction, one in four comparisons would announce a winner."""

    def six(rng):
        values = {f"recipe {k}": 0.8 + 0.02 * rng.normal(size=8) for k in range(6)}
        return table_of(plain=np.full(8, 0.8), **values)

    any_said = [
        differences(six(np.random.default_rng(seed)), "balanced_accuracy", smallest=0)
        .verdict.isin([BETTER, WORSE])
        .any()
        for seed in range(150)
    ]
    assert np.mean(any_said) == pytest.approx(0.05, abs=0.04)


def test_practically_equal_is_said_of_methods_that_differ_less_than_matters():
    rng = np.random.default_rng(0)
    said = [
        differences(
            table_of(plain=(base := rng.normal(size=8)), other=base + 0.002 + 0.003 * rng.normal(size=8)),
            "balanced_accuracy",
            smallest=0.01,
        ).verdict["other"]
        for _ in range(100)
    ]
    assert said.count(EQUAL) > 95


# ---- the arithmetic ---------------------------------------------------------------------------------------


def test_differences_are_paired_by_seed():
    noise = np.array([0.1, 0.5, 0.9, 0.3, 0.7])
    table = table_of(plain=noise, better=noise + [0.02, 0.021, 0.019, 0.02, 0.02], other=noise[::-1])
    table = table.sample(frac=1, random_state=0)  # in any order
    found = differences(table, "balanced_accuracy")
    assert found.loc["better", "verdict"] == BETTER
    assert found.loc["better", "difference"] == pytest.approx(0.02)
    assert sorted(found.loc["better", "gaps"]) == pytest.approx([0.019, 0.02, 0.02, 0.02, 0.021])
    assert found.loc["other", "verdict"] == UNCLEAR
    assert differences(table, "balanced_accuracy", baseline="better").loc["plain", "verdict"] == WORSE


def test_a_smaller_error_is_better():
    table = table_of(metric="brier", up=False, plain=[0.5, 0.6, 0.7], low=[0.4, 0.5, 0.6001])
    assert differences(table, "brier").loc["low", "verdict"] == BETTER


def test_one_recipe_alone_has_the_ordinary_paired_t_interval():
    rng = np.random.default_rng(1)
    plain, other = rng.normal(size=(2, 7))
    found = differences(table_of(plain=plain, other=other), "balanced_accuracy").loc["other"]
    theirs = stats.ttest_rel(other, plain)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))


def test_resplit_seeds_widen_the_interval_by_the_share_of_the_test_part():
    rng = np.random.default_rng(2)
    plain, other = rng.normal(size=(2, 7))
    wide = differences(
        table_of(plain=plain, other=other, fresh=False, n_train=300, n_test=90), "balanced_accuracy"
    )
    assert (wide.low["other"], wide.high["other"]) == pytest.approx(
        t_interval(other - plain, overlap=0.3)[1:]
    )
    mean = summarise(table_of(plain=plain, fresh=False, n_train=300, n_test=90)).loc["plain"].iloc[0]
    assert (mean["low"], mean["high"]) == pytest.approx(t_interval(plain, overlap=0.3)[1:])


def test_holm_steps_down_and_stops_at_the_first_that_fails():
    """By hand: p .001, .02, .03, .5 of four recipes; corrected .004, .06, .06, .5."""
    from course_lib.experiments.reading import _holm

    level, corrected = _holm({"a": 0.5, "b": 0.001, "c": 0.03, "d": 0.02}, 0.05)
    assert corrected == pytest.approx({"a": 0.5, "b": 0.004, "c": 0.06, "d": 0.06})
    assert level == pytest.approx({"b": 0.05 / 4, "d": 0.05 / 3, "c": 0.05 / 3, "a": 0.05 / 3})
    level, corrected = _holm({"a": 0.01, "b": 0.001, "c": 0.02}, 0.05)
    assert corrected == pytest.approx({"b": 0.003, "a": 0.02, "c": 0.02})
    assert level == pytest.approx({"b": 0.05 / 3, "a": 0.05 / 2, "c": 0.05})


def test_interval_and_corrected_p_never_contradict_each_other():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        values = {f"r{k}": 0.03 * k + 0.05 * rng.normal(size=5) for k in range(5)}
        found = differences(table_of(plain=np.zeros(5), **values), "balanced_accuracy", smallest=0)
        outside = (found.low > 0) | (found.high < 0)
        assert ((found.p < 0.05) == outside).all()


def test_equal_runs_are_practically_equal():
    found = differences(table_of(plain=[0.1, 0.2], same=[0.1, 0.2]), "balanced_accuracy").loc["same"]
    assert (found.difference, found.low, found.high, found.p, found.verdict) == (0, 0, 0, 1, EQUAL)


# ---- what must not be mixed -------------------------------------------------------------------------------


def test_tasks_and_budgets_are_never_averaged():
    one = table_of(plain=[0.1, 0.2, 0.3], other=[0.2, 0.3, 0.1])
    for column, word in (("task", "another"), ("budget", "9000 steps")):
        both = pd.concat([one, one.assign(**{column: word})])
        for read in (lambda t: differences(t, "balanced_accuracy"), summarise):
            with pytest.raises(ValueError, match=rf"one {column}, got .* choose first"):
                read(both)
    with pytest.raises(ValueError, match="each run once"):
        summarise(pd.concat([one, one]))


def test_a_seed_that_only_one_side_has_is_refused():
    table = table_of(plain=[0.1, 0.2, 0.3], other=[0.2, 0.3])
    with pytest.raises(ValueError, match=r"same seeds for other and plain, only one has \[2\]"):
        differences(table, "balanced_accuracy")


def test_a_value_that_is_no_number_is_named():
    with pytest.raises(ValueError, match=r"'balanced_accuracy' of other is none at seeds \[1\]"):
        differences(table_of(plain=[0.1, 0.2], other=[0.1, float("nan")]), "balanced_accuracy")


def test_differences_names_what_is_missing():
    with pytest.raises(ValueError, match="decision 'tuned'"):
        differences(table_of(plain=[1, 2], other=[1, 2]), "balanced_accuracy", decision="tuned")
    with pytest.raises(ValueError, match="no column 'budget'"):
        summarise(table_of(plain=[1, 2]).drop(columns="budget"))
    with pytest.raises(ValueError, match="curves=True"):
        validation_curves(table_of(plain=[1, 2]))


def test_rising_is_handed_on():
    rising = table_of(plain=[1, 2], other=[1, 2], rising=True)
    assert differences(rising, "balanced_accuracy").rising.all() and summarise(rising).rising.all()
    assert not differences(table_of(plain=[1, 2], other=[1, 2]), "balanced_accuracy").rising.any()


def test_summary_holds_the_mean_between_its_bounds():
    row = summarise(table_of(plain=[0.1, 0.2, 0.4])).loc["plain", "own", "balanced_accuracy"]
    assert row["low"] < row["mean"] < row["high"] and row["mean"] == pytest.approx(0.7 / 3)
