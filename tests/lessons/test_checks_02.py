"""Exercises of lesson 02: right answers in another form pass, typical wrong ones hear what is meant for them."""

import pytest
import torch

from course_lib import decisions
from course_lib.classroom.lessons.lesson_02.checks import (
    at_budget,
    best_threshold,
    divided,
    em_share,
    net_benefit,
    some_costs,
    some_place,
    some_probabilities,
    some_visitors,
)
from tests.lessons.answers import passes, refused
from tests.lessons.books import NOTEBOOKS, read


def scores_of(p):
    """Scores (N, 2) of two classes with these probabilities of class 1."""
    return torch.stack([torch.zeros_like(p), torch.logit(p.double())], 1)


# ---- 02.1: dividing the odds ----


def test_dividing_the_odds_is_the_librarys_prior_correction():
    p, factor = some_probabilities()
    there = torch.tensor([1.0, 1 / factor], dtype=torch.float64)
    correction = decisions.prior_correction([0.5, 0.5], there / there.sum())
    assert torch.allclose(correction.adjust(scores_of(p)).softmax(1)[:, 1], divided(p, factor))


@pytest.mark.parametrize(
    "function",
    [
        divided,
        lambda p, factor: p / (p + factor * (1 - p)),
        lambda p, factor: torch.sigmoid(torch.logit(p) - torch.tensor(factor).log()),
    ],
)
def test_divided_odds_pass_however_they_are_written(function):
    passes("02.1", function)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda p, factor: p / factor, "divided the probability"),
        (lambda p, factor: p / (1 - p) / factor, "back into a probability"),
        (lambda p, factor: divided(p, 1 / factor), "multiplied"),
        (lambda p, factor: p / factor / (1 + p / factor), "second number of the odds"),
        (lambda p, factor: p, "did nothing"),
        (lambda p, factor: 1 - divided(p, factor), "by hand"),
    ],
)
def test_other_divisions_hear_why(function, said):
    assert said in refused("02.1", function)


# ---- 02.2: every threshold tried ----


def by_loop(p, y, miss):
    best, cost = None, float("inf")
    for threshold in torch.linspace(0, 1, 201):
        errors = 0
        for chance, truth in zip(p, y):
            called = chance > threshold
            errors += 1 if called and truth == 0 else miss if not called and truth == 1 else 0
        if errors < cost:
            best, cost = threshold.item(), errors
    return best, 10_000 * cost / len(y)


def by_filters(p, y, miss):
    thresholds = torch.linspace(0, 1, 201)
    cost = torch.tensor([(p[y == 0] > t).sum() + miss * (p[y == 1] <= t).sum() for t in thresholds])
    return thresholds[cost.argmin()], 10_000 * cost.min() / len(y)


@pytest.mark.parametrize("function", [best_threshold, by_filters])
def test_the_cheapest_threshold_passes_however_it_is_found(function):
    passes("02.2", function)


def test_the_loop_over_people_finds_the_same():
    p, y, miss = some_visitors()
    assert by_loop(p, y, miss) == pytest.approx(best_threshold(p, y, miss))


def test_the_librarys_threshold_costs_no_more_than_the_best_of_the_grid():
    p, y, miss = some_visitors()
    found = decisions.tune_threshold(scores_of(p), y, lambda tp, fp, fn, tn: -(miss * fn + fp))
    called = found.decide(scores_of(p))
    cost = ((called == 1) & (y == 0)).sum() + miss * ((called == 0) & (y == 1)).sum()
    assert 10_000 * cost.item() / len(y) <= best_threshold(p, y, miss)[1] + 1e-6


def sweep(errors):
    def wrong(p, y, miss):
        thresholds = torch.linspace(0, 1, 201)
        cost = torch.stack([torch.as_tensor(errors(p > t, y, miss)).float() for t in thresholds])
        return thresholds[cost.argmin()].item(), 10_000 * cost.min().item() / len(y)

    return wrong


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        (lambda c, y, miss: (c & (y == 0)).sum() + (~c & (y == 1)).sum(), "must cost `miss`"),
        (lambda c, y, miss: miss * (c & (y == 0)).sum() + (~c & (y == 1)).sum(), "changed places"),
        (lambda c, y, miss: (c & (y == 0)).sum() + miss * (c & (y == 1)).sum(), "found, not missed"),
        (lambda c, y, miss: c.sum() + miss * (~c & (y == 1)).sum(), "Only the healthy"),
        (lambda c, y, miss: (c & (y == 0)).sum() + miss * (~c).sum(), "Only the ill"),
    ],
)
def test_other_sums_of_errors_hear_why(errors, said):
    assert said in refused("02.2", sweep(errors))


# ---- numbers and letters ----


@pytest.mark.parametrize(
    ("key", "number", "said"),
    [
        ("02.3", 1 / 3, "this is the threshold"),
        ("02.3", 0.5, "which direction"),
        ("02.3", 1, "The weight has changed it"),
        ("02.3", 5, "too large"),
        ("02.4", 0.9, "recall"),
        ("02.4", 0.5, "Count both groups"),
        ("02.4", 0.001, "before the test"),
        ("02.4", 0.0833, "10 of 1,000 are ill"),
    ],
)
def test_wrong_numbers_hear_why(key, number, said):
    assert said in refused(key, number)


def test_right_numbers_pass_with_few_digits_and_many():
    passes("02.3", 2.0)
    passes("02.4", 0.0089)
    passes("02.4", 9 / 1008)


@pytest.mark.parametrize(
    ("letter", "said"),
    [("a", "read too high"), ("b", "nobody notices"), ("d", "the old one")],
)
def test_other_first_steps_hear_why(letter, said):
    assert said in refused("02.9", letter)


def test_a_capital_letter_is_understood():
    passes("02.9", "C")


# ---- 02.5: many classes ----


def test_the_cheapest_decision_is_the_librarys():
    p, cost = some_costs()
    by_library = decisions.cost_matrix(cost.double()).decide(p.double().log())
    assert (by_library == (p @ cost).argmin(1)).float().mean() > 0.97  # rounding may turn a tie


@pytest.mark.parametrize(
    "function",
    [
        lambda p, cost: (p @ cost).argmin(1),
        lambda p, cost: (p[:, :, None] * cost).sum(1).min(1).indices,
        lambda p, cost: torch.tensor([int((cost * row[:, None]).sum(0).argmin()) for row in p]),
    ],
)
def test_the_least_expected_cost_passes_however_it_is_found(function):
    passes("02.5", function)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda p, cost: p.argmax(1), "costs play no part"),
        (lambda p, cost: (p @ cost).argmax(1), "most expensive"),
        (lambda p, cost: (p @ cost.T).argmin(1), "turned over"),
        (lambda p, cost: p @ cost, "Which decision"),
    ],
)
def test_other_decisions_hear_why(function, said):
    assert said in refused("02.5", function)


# ---- 02.6 and 02.7 ----


def test_both_at_a_budget_pass_by_sorting_too():
    def by_sorting(p, y, k):
        found = y[p.argsort(descending=True)[:k]].sum()
        return found / k, found / y.sum()

    passes("02.6", at_budget)
    passes("02.6", by_sorting)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda p, y, k: at_budget(p, y, k)[::-1], "changed places"),
        (lambda p, y, k: (at_budget(p, y, k)[0],) * 2, "both numbers are the precision"),
        (lambda p, y, k: (y[p.topk(k).indices].sum(), at_budget(p, y, k)[1]), "not divided yet"),
    ],
)
def test_other_measures_at_a_budget_hear_why(function, said):
    assert said in refused("02.6", function)


def test_net_benefit_is_what_the_cost_leaves_of_finding_everybody():
    """cost = alarms + r * missed with r = (1 - t) / t, so net benefit = share of the ill - cost / (r N)."""
    p, y, _ = some_visitors()
    t = 0.2
    called = p > t
    cost = (called & (y == 0)).sum() + 4 * (~called & (y == 1)).sum()
    assert float(net_benefit(p, y, t)) == pytest.approx(
        float(y.float().mean() - cost / (4 * len(y))), abs=1e-6
    )
    passes("02.7", net_benefit)


def with_price(price):
    """A slip: another price of a false alarm than t / (1 - t)."""

    def wrong(p, y, t):
        called = p > t
        return ((called & (y == 1)).sum() - price(t) * (called & (y == 0)).sum()) / len(y)

    return wrong


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda p, y, t: net_benefit(p, y, t) * len(y), "number of all visitors"),
        (with_price(lambda t: 1), "not 1."),
        (with_price(lambda t: (1 - t) / t), "turned over"),
        (with_price(lambda t: t), "not t."),
    ],
)
def test_other_benefits_hear_why(function, said):
    assert said in refused("02.7", function)


# ---- 02.8: EM ----


def test_the_share_is_the_librarys_estimate():
    p, trained = some_place()
    by_library = decisions.estimate_prior(scores_of(p), [1 - trained, trained])[1]
    assert em_share(p, trained) == pytest.approx(by_library.item(), abs=1e-3)
    passes("02.8", em_share)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda p, trained: float(p.mean()), "as it is"),
        (lambda p, trained: trained, "has not moved"),
        (lambda p, trained: 1 - em_share(p, trained), "first step"),
    ],
)
def test_other_shares_hear_why(function, said):
    assert said in refused("02.8", function)


def test_a_factor_that_is_turned_over_hears_so():
    def turned(p, trained):
        share = trained
        for _ in range(100):
            share = divided(p, share / (1 - share) / (trained / (1 - trained))).mean()
        return float(share)

    assert "turned over" in refused("02.8", turned)


# ---- the code to copy ----


@pytest.fixture(scope="module")
def decide():
    """The function that the lesson gives to copy."""
    [cell] = [c for c in read(NOTEBOOKS / "02_decisions.ipynb").cells if c.source.startswith("def decide(")]
    names = {"torch": torch}
    exec(cell.source.split("\n\n\n")[0], names)
    return names["decide"]


@pytest.mark.parametrize("cost", [[[0, 1], [9, 0]], [[0, 1], [20, 0]], [[-1, 2], [5, -4]]])
@pytest.mark.parametrize(("trained", "here"), [(0.5, 0.02), (0.02, 0.1), (0.3, 0.3)])
def test_the_code_to_copy_decides_as_the_library(decide, cost, trained, here, capsys):
    p = torch.rand(500, dtype=torch.float64)
    correct = decisions.prior_correction([1 - trained, trained], [1 - here, here])
    by_library = decisions.compose(correct, decisions.cost_matrix(cost))
    p_here, called = decide(p, cost, trained, here)
    assert torch.allclose(p_here, correct.adjust(scores_of(p)).softmax(1)[:, 1])
    assert torch.equal(called, by_library.decide(scores_of(p)))
    assert f"share {1000 * here:.0f} of 1,000" in capsys.readouterr().out
    assert decide(torch.tensor([0.0, 1.0]), cost, trained, here)[0].tolist() == [0.0, 1.0]  # sure p stay sure
