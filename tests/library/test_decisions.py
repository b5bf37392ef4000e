"""Decisions are held to brute force, to exact posteriors, and to what must not move."""

import math
import pickle
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, f1_score, roc_auc_score
from torch.nn import functional as F

from course_lib import metrics
from course_lib.data import Gaussians, gaussian_classes
from course_lib.decisions import (
    CUT_METRICS,
    LABEL_METRICS,
    Decision,
    alert_budget,
    argmax,
    compose,
    cost_matrix,
    em_prior,
    estimate_prior,
    fit_temperature,
    logit_adjustment,
    prior_correction,
    temperature,
    threshold,
    threshold_for_costs,
    tune_class_offsets,
    tune_tau,
    tune_threshold,
    tuned,
)

NAN, INF = float("nan"), float("inf")
Z, Y = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.2]]), torch.tensor([1, 0, 1])


def scores(size=200, num_classes=2, seed=0, decimals=None, dtype=torch.float64):
    """Scores that know something about their labels; the classes get rarer; few decimals make ties."""
    generator = torch.Generator().manual_seed(seed)
    share = 3.0 ** -torch.arange(num_classes, dtype=torch.float64)
    y = torch.multinomial(share, size, replacement=True, generator=generator)
    y[:num_classes] = torch.arange(num_classes)
    outputs = torch.randn(size, num_classes, generator=generator, dtype=torch.float64)
    outputs = outputs + 1.2 * F.one_hot(y, num_classes) + share.log()
    if decimals is not None:
        outputs = outputs.round(decimals=decimals)
    return outputs.to(dtype), y


def log_odds(outputs):
    return outputs[:, 1] - outputs[:, 0]


def judged(metric, outputs, y, predicted):
    return getattr(metrics, metric)(SimpleNamespace(y=y, group=y), outputs, predicted)


# ---- argmax and thresholds that are given ------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [2, 10])
def test_argmax_takes_the_highest_score_and_leaves_the_scores_alone(num_classes):
    outputs, _ = scores(num_classes=num_classes)
    assert torch.equal(argmax().decide(outputs), outputs.argmax(1))
    assert argmax().adjust(outputs) is outputs
    assert argmax() == Decision()


@given(seed=st.integers(0, 10**6), probability=st.floats(0, 1))
def test_threshold_compares_the_probability_of_class_one(seed, probability):
    outputs, _ = scores(seed=seed, dtype=torch.float32)
    p = torch.softmax(outputs.double(), 1)[:, 1]
    clear = (p - probability).abs() > 1e-6  # the rounding of float32 scores
    decided = threshold(probability).decide(outputs)
    assert decided.dtype == torch.int64
    assert torch.equal(decided[clear], (p >= probability).long()[clear])
    assert threshold(probability).choose.probability == pytest.approx(probability, abs=1e-12)


def test_threshold_one_half_is_argmax():
    outputs, _ = scores()
    assert torch.equal(threshold(0.5).decide(outputs), argmax().decide(outputs))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("common", ["logarithms", "one score"])
def test_a_probability_of_exactly_the_threshold_reaches_it(dtype, common):
    """.01, .02, ... .99: the log-odds of a round probability are rounded, on either side."""
    p = torch.arange(1, 100, dtype=torch.float64) / 100
    outputs = torch.stack([(1 - p).log(), p.log()], 1)
    if common == "one score":
        outputs = torch.stack([torch.zeros(99, dtype=torch.float64), p.logit()], 1)
    outputs = outputs.to(dtype)
    apart = 0.005 if dtype == torch.float16 else 0.0001
    for row, cut in enumerate(p.tolist()):
        assert threshold(cut).decide(outputs[row : row + 1]).item() == 1, cut
        assert threshold(cut + apart).decide(outputs[row : row + 1]).item() == 0, cut


def test_thresholds_at_the_ends_always_and_never_flag():
    outputs = torch.tensor([[0.0, 1e4], [0.0, -1e4], [0.0, INF], [INF, 0.0]])
    assert threshold(0.0).decide(outputs).tolist() == [1, 1, 1, 1]
    assert threshold(1.0).decide(outputs).tolist() == [0, 0, 0, 0]


def test_a_threshold_leaves_the_probabilities_alone():
    outputs, y = scores()
    for decision in (threshold(0.1), tune_threshold(outputs, y), alert_budget(outputs, 0.1)):
        assert decision.adjust(outputs) is outputs


# ---- a threshold for a metric ------------------------------------------------------------------------------


def counts_of(y, predicted):
    (tn, fp), (fn, tp) = metrics.confusion(y, predicted, 2).numpy().astype(float)
    return {"tp": tp, "fp": fp, "fn": fn, "tn": tn}


def brute_force(outputs, y, metric):
    """The best value over every way to cut the scores in two, found by trying each."""
    odds = log_odds(outputs)
    predicted = [(odds >= cut).long() for cut in odds.unique()] + [torch.zeros_like(y)]
    return max(metric(**counts_of(y, p)) for p in predicted)


MAY_LOOK = pytest.mark.filterwarnings(
    "ignore:outputs look like probabilities"
)  # two rows of round numbers may


@MAY_LOOK
@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("name", CUT_METRICS)
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 40))
def test_tuned_threshold_is_the_best_of_all_cuts(name, decimals, seed, size):
    outputs, y = scores(size, seed=seed, decimals=decimals)
    metric = CUT_METRICS[name]
    reached = metric(**counts_of(y, tune_threshold(outputs, y, name).decide(outputs)))
    assert reached == pytest.approx(brute_force(outputs, y, metric), abs=1e-12)


@pytest.mark.parametrize("name", sorted({*CUT_METRICS} & {*metrics.METRICS}))
def test_cut_metrics_are_those_of_the_metrics_module(name):
    outputs, y = scores()
    for cut in (-3.0, -1.0, 0.0, INF):
        predicted = (log_odds(outputs) >= cut).long()
        assert CUT_METRICS[name](**counts_of(y, predicted)) == pytest.approx(
            judged(name, outputs, y, predicted)
        )
        f1 = f1_score(y, predicted, zero_division=0)
        assert CUT_METRICS["f1"](**counts_of(y, predicted)) == pytest.approx(f1)


def test_g_mean_is_the_geometric_mean_of_the_recalls():
    assert CUT_METRICS["g_mean"](tp=9.0, fp=36.0, fn=1.0, tn=64.0) == pytest.approx(math.sqrt(0.9 * 0.64))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), cost=st.floats(0.1, 50))
def test_tuned_threshold_takes_any_function_of_the_counts(seed, cost):
    outputs, y = scores(50, seed=seed)

    def gain(tp, fp, fn, tn):
        return -(cost * fn + fp)

    reached = gain(**counts_of(y, tune_threshold(outputs, y, gain).decide(outputs)))
    assert reached == pytest.approx(brute_force(outputs, y, gain))


def test_tuned_threshold_lies_midway_between_neighbouring_scores():
    outputs = torch.tensor([[0.0, -3.0], [0.0, -2.0], [0.0, 1.0], [0.0, 2.0]])
    decision = tune_threshold(outputs, torch.tensor([0, 0, 1, 1]))
    assert decision.choose.log_odds == -0.5
    assert decision.choose.probability == pytest.approx(1 / (1 + math.exp(0.5)))


def test_tuned_threshold_of_equally_good_cuts_is_the_one_nearest_argmax():
    outputs = torch.tensor([[0.0, -4.0], [0.0, -2.0], [0.0, 1.0], [0.0, 4.0]])
    y = torch.tensor([0, 1, 0, 1])  # balanced accuracy .75 at -3 and at 2.5
    assert tune_threshold(outputs, y).choose.log_odds == 2.5
    assert tune_threshold(-outputs.flip(1), y).choose.log_odds == 2.5  # same odds, other scores


def test_tuned_threshold_may_say_always_or_never():
    outputs, y = torch.tensor([[0.0, 5.0], [0.0, -5.0], [0.0, -6.0]]), torch.tensor([0, 1, 1])
    always = tune_threshold(outputs, y, lambda tp, fp, fn, tn: tp)
    assert always.decide(outputs).tolist() == [1, 1, 1]
    never = tune_threshold(outputs, y, lambda tp, fp, fn, tn: -fp)
    assert never.choose.log_odds == 0.0 or never.decide(outputs)[0] == 0


@pytest.mark.parametrize("score", [-1.5, 0.0, 1.5])
@pytest.mark.parametrize("metric", ["balanced_accuracy", metrics.mean_cost([[0, 1], [1, 0]])])
def test_tuning_on_constant_scores_decides_as_argmax(score, metric):
    """Always and never are equally good: nothing was learned, so nothing is changed."""
    outputs, y = torch.tensor([[0.0, score]]).expand(6, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    assert torch.equal(tune_threshold(outputs, y, metric).decide(outputs), outputs.argmax(1))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(5, 150))
def test_a_threshold_for_any_metric_is_the_best_of_all_cuts(seed, size):
    """A `Metric` that only judges labels gives what the same metric by counts gives."""
    outputs, y = scores(size, seed=seed)
    mine = metrics.Metric("my F1", metrics.macro_f1)
    cost = metrics.mean_cost([[0, 1], [7, 0]])
    for metric, counts in ((mine, "macro_f1"), (cost, lambda tp, fp, fn, tn: -(fp + 7 * fn))):
        assert tune_threshold(outputs, y, metric).choose == tune_threshold(outputs, y, counts).choose


def test_many_cuts_are_thinned_for_a_metric_of_ones_own():
    outputs, y = scores(5_000)
    calls = []

    def count(split, outputs, predicted):
        calls.append(1)
        return metrics.balanced_accuracy(split, outputs, predicted)

    reached = tune_threshold(outputs, y, metrics.Metric("mine", count)).decide(outputs)
    best = tune_threshold(outputs, y).decide(outputs)
    assert len(calls) <= 401
    assert balanced_accuracy_score(y, reached) > balanced_accuracy_score(y, best) - 0.005


def test_tuned_threshold_separates_neighbouring_floating_point_numbers():
    """Where no number lies between two scores, the cut is the higher one."""
    low = 1.5
    high = np.nextafter(low, 2)
    outputs = torch.tensor([[0.0, low], [0.0, high]], dtype=torch.float64)
    assert tune_threshold(outputs, torch.tensor([0, 1])).decide(outputs).tolist() == [0, 1]
    huge = torch.tensor([[0.0, -1e300], [0.0, 1e300]], dtype=torch.float64)
    assert tune_threshold(huge, torch.tensor([0, 1])).decide(huge).tolist() == [0, 1]


def test_tuned_threshold_ignores_cuts_without_a_value():
    """Precision of flagging nothing is 0 / 0: never best."""
    outputs, y = scores()

    def precision(tp, fp, fn, tn):
        with np.errstate(invalid="ignore"):
            return tp / (tp + fp)

    decided = tune_threshold(outputs, y, precision).decide(outputs)
    assert decided.sum() > 0


def test_tuned_threshold_of_exact_probabilities_is_the_prevalence():
    """Balanced accuracy is best served by flagging whoever is likelier than average."""
    task = gaussian_classes((0.9, 0.1), num_held=50_000)
    outputs = task.posterior(task.validation.x).log()
    assert tune_threshold(outputs, task.validation.y).choose.probability == pytest.approx(0.1, abs=0.03)


def test_a_threshold_chosen_on_the_test_part_flatters():
    """On scores that know nothing: never below chance where it was chosen, chance elsewhere."""
    claimed, honest = [], []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        y = torch.arange(100) // 50
        here, there = torch.randn(2, 100, 2, generator=generator)
        decision = tune_threshold(here, y)
        claimed.append(balanced_accuracy_score(y, decision.decide(here)))
        honest.append(balanced_accuracy_score(y, decision.decide(there)))
    assert np.mean(claimed) > 0.54
    assert np.mean(honest) == pytest.approx(0.5, abs=0.02)


# ---- costs -------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), num_classes=st.integers(2, 12))
def test_cost_matrix_takes_the_least_expected_cost(seed, num_classes):
    outputs, _ = scores(20, num_classes, seed)
    cost = torch.randn(num_classes, num_classes, generator=torch.Generator().manual_seed(seed)).double()
    p = torch.softmax(outputs, 1).tolist()
    decided = cost_matrix(cost).decide(outputs).tolist()
    cost = cost.tolist()
    for row, choice in zip(p, decided, strict=True):
        expected = [sum(row[true] * cost[true][k] for true in range(num_classes)) for k in range(num_classes)]
        assert expected[choice] <= min(expected) + 1e-12


def test_equal_costs_of_every_error_are_argmax():
    outputs, _ = scores(num_classes=5)
    assert torch.equal(cost_matrix(1 - torch.eye(5)).decide(outputs), outputs.argmax(1))


def test_rows_of_the_cost_matrix_are_true_classes():
    """Missing class 1 is dear: say 1 though it is unlikely."""
    outputs = torch.tensor([[0.8, 0.2]]).log()
    assert cost_matrix([[0, 1], [9, 0]]).decide(outputs).tolist() == [1]
    assert cost_matrix([[0, 9], [1, 0]]).decide(outputs).tolist() == [0]


def test_adding_to_a_row_of_costs_changes_no_decision():
    """What a true class costs whatever one says cannot matter."""
    outputs, _ = scores(num_classes=3)
    cost = torch.tensor([[0.0, 1, 2], [4, 0, 1], [9, 3, 0]])
    shifted = cost + torch.tensor([[5.0], [-2.0], [7.0]])
    assert torch.equal(cost_matrix(cost).decide(outputs), cost_matrix(shifted).decide(outputs))


@given(
    seed=st.integers(0, 10**6),
    c=st.lists(st.floats(0.01, 100), min_size=2, max_size=2),
    right=st.floats(-5, 5),
)
def test_the_closed_form_threshold_is_the_cost_matrix(seed, c, right):
    outputs, _ = scores(seed=seed)
    cost = [[right, right + c[0]], [c[1] - right, -right]]
    cut = threshold_for_costs(cost)
    assert cut == pytest.approx(c[0] / (c[0] + c[1]), rel=1e-6)
    clear = (torch.softmax(outputs, 1)[:, 1] - cut).abs() > 1e-9
    assert torch.equal(threshold(cut).decide(outputs)[clear], cost_matrix(cost).decide(outputs)[clear])


def test_costs_on_exact_probabilities_beat_every_other_cut():
    task = gaussian_classes((0.9, 0.1), num_held=20_000)
    cost = torch.tensor([[0.0, 1.0], [9.0, 0.0]])

    def paid(decision):
        return cost[task.test.y, decision.decide(task.posterior(task.test.x).log())].mean().item()

    right = paid(cost_matrix(cost))
    assert right < paid(argmax())
    assert all(right <= paid(threshold(p)) + 0.01 for p in np.linspace(0.01, 0.9, 30))


# ---- a budget ----------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), size=st.integers(1, 200), share=st.floats(0, 1))
def test_budget_flags_exactly_the_top_share(seed, size, share):
    outputs, _ = scores(max(size, 2), seed=seed)
    flagged = alert_budget(outputs, share).decide(outputs)
    assert flagged.sum() == math.floor(share * len(outputs) + 1e-9)
    odds = log_odds(outputs)
    if 0 < flagged.sum() < len(odds):
        assert odds[flagged == 1].min() > odds[flagged == 0].max()


@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
def test_budget_is_kept_where_scores_tie(seed, share):
    """Ties at the limit are left out together, and no score above them is."""
    outputs, _ = scores(seed=seed, decimals=0)
    odds, flagged = log_odds(outputs), alert_budget(outputs, share).decide(outputs)
    allowed = math.floor(share * len(outputs) + 1e-9)
    assert flagged.sum() <= allowed
    if flagged.sum() < len(odds):
        next_best = odds[flagged == 0].max()
        assert flagged.sum() + (odds == next_best).sum() > allowed


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.29, 29), (1.0, 100), (0.009, 0)])
def test_budget_counts_as_people_do(share, expected):
    """0.29 * 100 is 28.999999999999996."""
    outputs, _ = scores(100)
    assert alert_budget(outputs, share).decide(outputs).sum() == expected


def test_budget_of_equal_scores_flags_all_or_none():
    outputs = torch.zeros(10, 2)
    assert alert_budget(outputs, 0.5).decide(outputs).sum() == 0
    assert alert_budget(outputs, 1.0).decide(outputs).sum() == 10


# ---- another prior -----------------------------------------------------------------------------------------


def at_prior(truth, prior):
    """The same classes, met with other shares."""
    return Gaussians(torch.as_tensor(prior, dtype=torch.float64), truth.means, truth.std)


@pytest.mark.parametrize(
    ("train", "target"),
    [
        ((0.5, 0.5), (0.99, 0.01)),
        ((0.95, 0.05), (0.5, 0.5)),
        ((0.7, 0.2, 0.1), (0.1, 0.1, 0.8)),
        ((0.25, 0.25, 0.25, 0.25), (0.97, 0.01, 0.01, 0.01)),
    ],
)
def test_prior_correction_restores_the_exact_posterior(train, target):
    task = gaussian_classes(train, num_train=500, num_held=500)
    trained = at_prior(task.posterior, train)(task.test.x).log()
    corrected = prior_correction(train, target).adjust(trained)
    expected = at_prior(task.posterior, target)(task.test.x)
    assert (torch.softmax(corrected, 1) - expected).abs().max() < 1e-10


def test_prior_correction_divides_the_odds_by_the_shift():
    """From balanced training to prevalence pi: odds / ((1 - pi) / pi)."""
    outputs, _ = scores()
    pi = 0.02
    odds = log_odds(prior_correction([0.5, 0.5], [1 - pi, pi]).adjust(outputs)).exp()
    torch.testing.assert_close(odds, log_odds(outputs).exp() / ((1 - pi) / pi))


def test_balanced_training_bends_probabilities_and_dividing_the_odds_restores_them():
    """Mean probability and Brier score move, ranking does not; the correction gives both back."""
    task = gaussian_classes((0.98, 0.02), num_train=20_000)
    x, y = task.train.x.numpy(), task.train.y.numpy()
    test_x, test_y = task.test.x.numpy(), task.test.y.numpy()

    def outputs(**how):
        model = LogisticRegression(**how).fit(x, y)
        return torch.tensor(np.stack([np.zeros(len(test_x)), model.decision_function(test_x)], 1))

    plain, balanced = outputs(), outputs(class_weight="balanced")
    corrected = prior_correction([0.5, 0.5], task.train_prior).adjust(balanced)
    p, bent, restored = (torch.softmax(z, 1)[:, 1].numpy() for z in (plain, balanced, corrected))
    assert p.mean() == pytest.approx(0.02, abs=0.003)
    assert bent.mean() > 5 * p.mean()
    assert brier_score_loss(test_y, bent) > 3 * brier_score_loss(test_y, p)
    assert restored.mean() == pytest.approx(p.mean(), abs=0.003)
    assert brier_score_loss(test_y, restored) == pytest.approx(brier_score_loss(test_y, p), rel=0.05)
    assert roc_auc_score(test_y, restored) == pytest.approx(roc_auc_score(test_y, bent), abs=1e-9)
    assert roc_auc_score(test_y, bent) == pytest.approx(roc_auc_score(test_y, p), abs=0.005)
    # and the plain model cut at the prevalence decides as the balanced one at one half
    same = threshold(0.02).decide(plain) == argmax().decide(balanced)
    assert same.double().mean() > 0.98


def test_a_plain_posterior_cut_at_the_prevalence_is_the_balanced_one_at_one_half():
    task = gaussian_classes((0.98, 0.02))
    plain = task.posterior(task.test.x).log()
    balanced = at_prior(task.posterior, (0.5, 0.5))(task.test.x).log()
    assert torch.equal(threshold(0.02).decide(plain), argmax().decide(balanced))


def test_corrections_do_not_stack():
    """Adjusting twice for one imbalance overshoots: the common class is then all but lost."""
    task = gaussian_classes((0.95, 0.05))
    once = logit_adjustment(task.train_prior)
    z = task.posterior(task.test.x).log()
    recalls = [metrics.per_class_recall(task.test.y, d.decide(z), 2) for d in (once, compose(once, once))]
    assert recalls[1].mean() < recalls[0].mean() - 0.05
    assert recalls[1][0] < recalls[0][0] - 0.2


@given(seed=st.integers(0, 10**6), num_classes=st.integers(2, 20))
def test_prior_correction_there_and_back_changes_nothing(seed, num_classes):
    outputs, _ = scores(30, num_classes, seed)
    a, b = (
        torch.rand(2, num_classes, generator=torch.Generator().manual_seed(seed)).double() + 0.01
    ).unbind()
    a, b = a / a.sum(), b / b.sum()
    back = compose(prior_correction(a, b), prior_correction(b, a))
    torch.testing.assert_close(back.adjust(outputs), outputs)


def test_a_class_that_deployment_does_not_hold_is_never_chosen():
    outputs, _ = scores(num_classes=3)
    for train in ([0.5, 0.3, 0.2], [0.6, 0.4, 0.0]):
        decision = prior_correction(train, [0.5, 0.5, 0.0])
        p = torch.softmax(decision.adjust(outputs), 1)
        assert (p[:, 2] == 0).all() and not p.isnan().any()
        assert (decision.decide(outputs) < 2).all()


def test_a_class_that_training_did_not_hold_cannot_be_corrected():
    with pytest.raises(ValueError, match=r"train_prior must be positive wherever target_prior is.*\[0, 2\]"):
        prior_correction([0.0, 1.0, 0.0], [0.4, 0.4, 0.2])


# ---- a prior that nobody knows: EM ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "target"),
    [
        ((0.5, 0.5), (0.95, 0.05)),
        ((0.9, 0.1), (0.4, 0.6)),
        ((0.7, 0.2, 0.1), (0.1, 0.3, 0.6)),
        ((0.4, 0.3, 0.2, 0.1), (0.1, 0.2, 0.3, 0.4)),
    ],
)
def test_em_recovers_a_shifted_prior_from_exact_posteriors(train, target):
    """Scores that are right for `train`, examples drawn at `target`: the shares come back, no label used."""
    task = gaussian_classes(target, num_train=500, num_held=40_000)
    outputs = at_prior(task.posterior, train)(task.test.x).log()
    found = estimate_prior(outputs, train)
    assert found.sum() == pytest.approx(1) and found.dtype == torch.float64
    assert (found - torch.tensor(target)).abs().max() < 0.015
    # and the corrected probabilities are those of the prior that was never told
    corrected = em_prior(train).adjust(outputs).softmax(1)
    assert (corrected - at_prior(task.posterior, target)(task.test.x)).abs().mean() < 0.01


def test_em_leaves_a_prior_that_did_not_shift():
    task = gaussian_classes((0.8, 0.2), num_train=500, num_held=40_000)
    found = estimate_prior(task.posterior(task.test.x).log(), (0.8, 0.2))
    assert (found - torch.tensor([0.8, 0.2])).abs().max() < 0.015


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), num_classes=st.integers(2, 6))
def test_em_never_lowers_the_likelihood_and_ends_where_a_step_changes_nothing(seed, num_classes):
    outputs, y = scores(300, num_classes, seed)
    train = torch.bincount(y, minlength=num_classes).double() / len(y)
    ratio = outputs.softmax(1) / train

    def likelihood(prior):
        return (ratio @ prior).log().mean().item()

    path = [estimate_prior(outputs, train, max_steps=steps) for steps in (1, 2, 3, 5, 10, 50)]
    values = [likelihood(prior) for prior in (train, *path)]
    assert all(after >= before - 1e-12 for before, after in zip(values, values[1:]))
    end = estimate_prior(outputs, train)
    joint = ratio * end
    assert ((joint / joint.sum(1, keepdim=True)).mean(0) - end).abs().max() < 1e-9
    assert likelihood(end) >= values[-1] - 1e-12


def test_em_of_certain_scores_counts_the_classes():
    y = torch.tensor([0] * 7 + [1] * 2 + [2])
    outputs = torch.where(F.one_hot(y, 3) > 0, 0.0, -math.inf)
    assert torch.allclose(estimate_prior(outputs, [0.2, 0.3, 0.5]), torch.tensor([0.7, 0.2, 0.1]).double())
    assert torch.allclose(
        estimate_prior(1e4 * F.one_hot(y, 3).float(), [0.2, 0.3, 0.5]), torch.tensor([0.7, 0.2, 0.1]).double()
    )


def test_em_gives_a_class_without_training_share_no_share():
    outputs, _ = scores(100, 3)
    found = estimate_prior(outputs, [0.6, 0.4, 0.0])
    assert found[2] == 0 and found.sum() == pytest.approx(1)
    assert (em_prior([0.6, 0.4, 0.0]).decide(outputs) < 2).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate_prior(Z[:0], [0.5, 0.5]), "at least one example"),
        (lambda: estimate_prior(Z * NAN, [0.5, 0.5]), "no NaN"),
        (lambda: estimate_prior(Z, [0.5, 0.3, 0.2]), "train_prior must"),
        (lambda: estimate_prior(Z, [0.5, 0.5], max_steps=0), "max_steps must be >= 1"),
        (lambda: estimate_prior(Z, [0.5, 0.5], tolerance=-1), "tolerance must be"),
        (
            lambda: estimate_prior(torch.tensor([[-INF, 0.0], [0.0, 0.0]]), [1.0, 0.0]),
            "at least one class that",
        ),
        (lambda: em_prior([0.5, 0.6]), "train_prior must sum to 1"),
    ],
)
def test_em_refuses_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- logit adjustment --------------------------------------------------------------------------------------


def test_logit_adjustment_is_a_correction_to_the_uniform_prior():
    task = gaussian_classes((0.7, 0.2, 0.1), num_train=500, num_held=500)
    trained = at_prior(task.posterior, (0.7, 0.2, 0.1))(task.test.x).log()
    adjusted = logit_adjustment([0.7, 0.2, 0.1]).adjust(trained)
    expected = at_prior(task.posterior, (1 / 3, 1 / 3, 1 / 3))(task.test.x)
    assert (torch.softmax(adjusted, 1) - expected).abs().max() < 1e-10


def test_logit_adjustment_with_tau_zero_changes_nothing():
    outputs, _ = scores(num_classes=4)
    assert torch.equal(logit_adjustment([0.4, 0.3, 0.2, 0.1], 0.0).adjust(outputs), outputs)


def test_logit_adjustment_refuses_a_class_that_would_always_win():
    with pytest.raises(ValueError, match="prior must hold a positive share for each class"):
        logit_adjustment([0.5, 0.5, 0.0])


@pytest.mark.parametrize("metric", LABEL_METRICS)
def test_tuned_tau_is_the_best_of_the_grid(metric):
    outputs, y = scores(500, 4)
    prior = torch.bincount(y).double() / len(y)
    taus = [0.0, 0.3, 0.7, 1.0, 1.5]
    tried = [judged(metric, outputs, y, (outputs - tau * prior.log()).argmax(1)) for tau in taus]
    assert judged(metric, outputs, y, tune_tau(outputs, y, prior, metric, taus).decide(outputs)) == max(tried)


def test_tuned_tau_takes_the_smallest_of_equals_and_any_function():
    outputs, y = scores(50, 3)
    decision = tune_tau(outputs, y, [0.5, 0.3, 0.2], lambda split, outputs, predicted: 1.0, [2.0, 0.5, 1.0])
    torch.testing.assert_close(decision.adjust.offset, -0.5 * torch.tensor([0.5, 0.3, 0.2]).double().log())
    last = tune_tau(outputs, y, [0.5, 0.3, 0.2], lambda s, o, p: 0.0 if o[0, 2] > 2 else NAN, [0.0, 3.0])
    assert (last.adjust.offset == 0).all() or last.adjust.offset[2] > 0


def test_tuned_tau_leaves_a_class_without_training_share_where_it_is():
    """Its log prior is -inf, and 0 * inf is no number."""
    outputs, y = scores(300, 3)
    found = tune_tau(outputs, y, [0.9, 0.1, 0.0])
    assert found.says != "tau 0" and found.adjust.offset[1] != 0
    assert found.adjust.offset[2] == 0 and torch.isfinite(found.adjust.offset).all()


def test_tuned_tau_may_undo_weights_that_went_too_far():
    """Scores of a network whose weights favoured the rare classes too much: accuracy wants tau below 0."""
    outputs, y = scores(2_000, 4)
    prior = torch.bincount(y).double() / len(y)
    pushed = outputs - 1.0 * prior.log()
    found = tune_tau(pushed, y, prior, "accuracy")
    assert found.adjust.offset[3] < 0 and "tau -" in found.says
    assert judged("accuracy", pushed, y, found.decide(pushed)) > judged(
        "accuracy", pushed, y, pushed.argmax(1)
    )


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "worst_recall", "macro_f1"])
def test_tuned_never_moves_the_probabilities_and_never_loses_on_validation(num_classes, metric):
    outputs, y = scores(400, num_classes)
    decision = tuned(outputs, y, metric, torch.bincount(y).double() / len(y))
    assert decision.adjust(outputs) is outputs
    assert decision.says.startswith("threshold " if num_classes == 2 else "tau ")
    before, after = (judged(metric, outputs, y, d.decide(outputs)) for d in (argmax(), decision))
    assert after >= before


def test_tuned_is_tuned_for_the_metric_it_is_given():
    """Not for balanced accuracy whatever is reported: each metric is best served by its own threshold and tau."""
    for num_classes in (2, 5):
        outputs, y = scores(3_000, num_classes)
        prior = torch.bincount(y).double() / len(y)
        for metric in LABEL_METRICS:
            reached = {
                name: judged(metric, outputs, y, tuned(outputs, y, name, prior).decide(outputs))
                for name in LABEL_METRICS
            }
            assert reached[metric] == max(reached.values())
        assert len({tuned(outputs, y, name, prior).says for name in LABEL_METRICS}) > 2


def test_a_metric_may_look_at_its_split():
    outputs, y = scores(200)
    part = metrics.Part(y, y, names=("healthy", "ill"))
    seen = []

    def look(split, outputs, predicted):
        seen.append(split.names)
        return metrics.accuracy(split, outputs, predicted)

    mine = metrics.Metric("mine", look)
    assert tuned(outputs, y, mine, split=part).choose == tune_threshold(outputs, y, "accuracy").choose
    assert tune_tau(*scores(200, 3), [0.5, 0.3, 0.2], mine, split=part).says.startswith("tau")
    assert set(seen) == {("healthy", "ill")}


# ---- offsets per class -------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), num_classes=st.integers(2, 6), decimals=st.sampled_from([None, 0]))
def test_class_offsets_never_lose_on_validation(seed, num_classes, decimals):
    outputs, y = scores(40, num_classes, seed, decimals)
    for metric in ("balanced_accuracy", "worst_recall"):
        decision = tune_class_offsets(outputs, y, metric, max_candidates=15)
        before = judged(metric, outputs, y, outputs.argmax(1))
        assert judged(metric, outputs, y, decision.decide(outputs)) >= before


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_class_offsets_of_two_classes_are_a_threshold(seed):
    outputs, y = scores(60, seed=seed)
    best = balanced_accuracy_score(y, tune_threshold(outputs, y).decide(outputs))
    decided = tune_class_offsets(outputs, y, max_candidates=1000).decide(outputs)
    assert balanced_accuracy_score(y, decided) == pytest.approx(best)


def test_class_offsets_raise_balanced_accuracy_near_the_exact_correction():
    task = gaussian_classes((0.8, 0.15, 0.05))
    validation, test = (task.posterior(part.x).log() for part in (task.validation, task.test))
    tuned = tune_class_offsets(validation, task.validation.y)
    exact = logit_adjustment(task.train_prior)
    plain, ours, best = (
        judged("balanced_accuracy", test, task.test.y, d.decide(test)) for d in (argmax(), tuned, exact)
    )
    assert ours > plain + 0.1
    assert ours == pytest.approx(best, abs=0.02)


def test_class_offsets_are_deterministic_and_leave_the_probabilities_alone():
    outputs, y = scores(100, 4)
    first, second = (tune_class_offsets(outputs, y) for _ in range(2))
    assert torch.equal(first.choose.first.offset, second.choose.first.offset)
    assert first.adjust(outputs) is outputs


def test_class_offsets_stop_when_nothing_is_gained():
    outputs, y = scores(50, 3)
    calls = []

    def constant(split, outputs, predicted):
        calls.append(1)
        return 1.0

    decision = tune_class_offsets(outputs, y, constant, max_passes=100, max_candidates=7)
    assert (decision.choose.first.offset == 0).all()
    assert len(calls) == 1 + 3 * 7


# ---- temperature -------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), num_classes=st.integers(2, 20), sharp=st.floats(0.2, 8))
def test_fitted_temperature_is_the_minimum_of_the_log_loss(seed, num_classes, sharp):
    outputs, y = scores(300, num_classes, seed)
    outputs = sharp * outputs
    fitted = fit_temperature(outputs, y).adjust.temperature

    def loss(log_t):
        return F.cross_entropy(outputs / math.exp(log_t), y).item()

    reference = minimize_scalar(loss, bounds=(math.log(0.01), math.log(100)), method="bounded")
    assert loss(math.log(fitted)) <= reference.fun + 1e-12
    assert math.log(fitted) == pytest.approx(reference.x, abs=1e-3)
    grid = np.linspace(math.log(0.02), math.log(50), 40)
    assert all(loss(math.log(fitted)) <= loss(point) + 1e-12 for point in grid)


@pytest.mark.parametrize("true_temperature", [0.05, 0.5, 1.0, 4.0])
def test_temperature_undoes_a_scaling_of_exact_scores(true_temperature):
    task = gaussian_classes((0.6, 0.3, 0.1))
    exact = task.posterior(task.validation.x).log()
    fitted = fit_temperature(true_temperature * exact, task.validation.y)
    assert fitted.adjust.temperature == pytest.approx(true_temperature, rel=0.05)


def test_temperature_keeps_the_argmax_and_moves_the_probabilities():
    outputs, y = scores(300, 5)
    decision = fit_temperature(5 * outputs, y)
    assert torch.equal(decision.decide(5 * outputs), outputs.argmax(1))
    assert F.cross_entropy(decision.adjust(5 * outputs), y) < F.cross_entropy(5 * outputs, y)


def test_temperature_of_separated_classes_stays_at_its_lower_bound():
    outputs = torch.tensor([[2.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    assert fit_temperature(outputs, torch.tensor([0, 1, 0])).adjust.temperature == 0.01
    bounded = fit_temperature(outputs, torch.tensor([0, 1, 0]), bounds=(0.5, 2.0))
    assert bounded.adjust.temperature == 0.5


def test_temperature_of_scores_that_are_wrong_stays_at_its_upper_bound():
    outputs = torch.tensor([[2.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    assert fit_temperature(outputs, torch.tensor([1, 0, 1])).adjust.temperature == 100
    assert fit_temperature(torch.zeros(3, 2), torch.tensor([0, 1, 0])).adjust.temperature == 100


def test_temperature_of_huge_scores_is_finite():
    outputs, y = scores(100, 3)
    assert 0.01 < fit_temperature(10 * outputs, y).adjust.temperature < 100
    assert fit_temperature(1e6 * outputs, y).adjust.temperature == 100


def test_a_temperature_given_divides():
    outputs, _ = scores(num_classes=3)
    torch.testing.assert_close(temperature(1 / 30).adjust(outputs), 30 * outputs)


# ---- one after the other -----------------------------------------------------------------------------------


def test_composition_adjusts_twice_and_chooses_once():
    outputs, y = scores()
    fitted = fit_temperature(3 * outputs, y)
    both = compose(fitted, cost_matrix([[0, 1], [9, 0]]))
    by_hand = cost_matrix([[0, 1], [9, 0]]).decide(fitted.adjust(3 * outputs))
    assert torch.equal(both.decide(3 * outputs), by_hand)
    assert torch.equal(both.adjust(3 * outputs), fitted.adjust(3 * outputs))


def test_calibrating_before_costs_pays():
    task = gaussian_classes((0.9, 0.1))
    cost = torch.tensor([[0.0, 1.0], [20.0, 0.0]])
    overconfident = [4 * task.posterior(part.x).log() for part in (task.validation, task.test)]
    calibrated = compose(fit_temperature(overconfident[0], task.validation.y), cost_matrix(cost))

    def paid(decision):
        return cost[task.test.y, decision.decide(overconfident[1])].mean().item()

    assert paid(calibrated) < 0.9 * paid(cost_matrix(cost))


def test_argmax_is_neutral_in_a_composition():
    outputs, y = scores()
    for decision in (tune_threshold(outputs, y), prior_correction([0.5, 0.5], [0.9, 0.1]), temperature(2.0)):
        assert torch.equal(compose(argmax(), decision).decide(outputs), decision.decide(outputs))
    assert torch.equal(compose(temperature(2.0), argmax()).decide(outputs), outputs.argmax(1))


def test_a_composition_never_drops_a_rule_silently():
    with pytest.raises(ValueError, match="first must choose by argmax"):
        compose(threshold(0.1), temperature(2.0))


# ---- what all decisions share ------------------------------------------------------------------------------


def every_decision(outputs, y):
    yield argmax()
    yield logit_adjustment([0.75, 0.25])
    yield prior_correction([0.75, 0.25], [0.5, 0.5])
    yield temperature(2.0)
    yield threshold(0.3)
    yield cost_matrix([[0, 1], [9, 0]])
    yield tune_threshold(outputs, y)
    yield alert_budget(outputs, 0.1)
    yield tune_tau(outputs, y, [0.75, 0.25])
    yield tune_class_offsets(outputs, y)
    yield fit_temperature(outputs, y)
    yield compose(fit_temperature(outputs, y), threshold(0.2))


def test_decisions_survive_pickling_and_print_their_numbers():
    outputs, y = scores()
    for decision in every_decision(outputs, y):
        copy = pickle.loads(pickle.dumps(decision))
        assert torch.equal(copy.decide(outputs), decision.decide(outputs))
    assert "log_odds=" in repr(tune_threshold(outputs, y)) and "offset=tensor" in repr(
        logit_adjustment([0.5, 0.5])
    )


def test_decisions_give_labels_for_any_floating_dtype_and_for_no_example():
    outputs, y = scores()
    for decision in every_decision(outputs, y):
        for dtype in (torch.float16, torch.float32, torch.float64):
            decided = decision.decide(outputs.to(dtype))
            assert decided.shape == y.shape and decided.dtype == torch.int64
        assert decision.decide(outputs[:0]).shape == (0,)


def test_tuning_leaves_its_arguments_alone_and_needs_no_gradient():
    outputs, y = scores()
    before, labels = outputs.clone(), y.clone()
    for decision in every_decision(outputs.requires_grad_(), y):
        decision.decide(outputs)
    assert torch.equal(outputs, before) and torch.equal(y, labels) and outputs.grad is None


def test_an_example_is_decided_without_the_others():
    outputs, y = scores(40)
    for decision in every_decision(outputs, y):
        alone = torch.cat([decision.decide(outputs[i : i + 1]) for i in range(len(outputs))])
        assert torch.equal(alone, decision.decide(outputs))


def test_every_factory_says_in_one_line_what_it_is():
    for factory in (argmax, threshold, cost_matrix, prior_correction, logit_adjustment, temperature, compose):
        assert factory.__doc__
    for factory in (tune_threshold, alert_budget, tune_tau, tune_class_offsets, fit_temperature):
        assert len(factory.__doc__.splitlines()[0]) <= 45


# ---- bad input ---------------------------------------------------------------------------------------------

TUNERS = [tune_threshold, tune_class_offsets, fit_temperature, lambda z, y: tune_tau(z, y, [0.5, 0.5])]


@pytest.mark.parametrize("tune", TUNERS)
@pytest.mark.parametrize(
    ("outputs", "y", "error", "message"),
    [
        (Z[:, 0], Y, ValueError, r"outputs must hold a score per class, .* got \(3,\)"),
        (Z.long(), Y, TypeError, "outputs must be raw scores, floating point, got dtype torch.int64"),
        (Z[:0], Y[:0], ValueError, "at least one validation example"),
        (Z * NAN, Y, ValueError, "outputs must be finite"),
        (Z * INF, Y, ValueError, "outputs must be finite"),
        (Z, Y[:2], ValueError, "y must hold one label per example, 3, got 2"),
        (Z, Y + 1, ValueError, r"y must be (labels )?0\.\.1, got 2"),
        (Z, Y - 101, ValueError, "y must be 0..K-1, got the negative label -101"),
        (Z[:, :1], Y, ValueError, r"outputs must hold a score per class, .* got \(3, 1\)"),
        (Z, Y - 1, ValueError, "y must be 0..K-1, got the negative label -1"),
        (Z, Y + 0.5, TypeError, "y must be whole numbers"),
        (Z, Y[:, None], ValueError, "y must be one label per example"),
    ],
)
def test_validation_scores_that_do_not_fit_are_refused(tune, outputs, y, error, message):
    with pytest.raises(error, match=message):
        tune(outputs, y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: tune_threshold(Z, Y, "recall"),
            r"metric must be one of \['accuracy', .* or a function, got 'recall'",
        ),
        (
            lambda: tune_threshold(torch.zeros(3, 3), Y),
            r"outputs must hold a score per class, shape \(N, 2\)",
        ),
        (
            lambda: tune_threshold(Z, torch.ones(3).long()),
            r"y must hold every class .* no validation example of class \[0\]",
        ),
        (
            lambda: tune_threshold(Z, torch.zeros(3).long()),
            r"y must hold every class .* no validation example of class \[1\]",
        ),
        (lambda: tune_threshold(Z, Y, lambda tp, fp, fn, tn: 1.0), "metric must give one number per cut, 4"),
        (
            lambda: tune_threshold(Z, Y, lambda tp, fp, fn, tn: tp * NAN),
            "metric must give one number per cut",
        ),
        (lambda: tune_tau(Z, Y, [0.5, 0.5], "log_loss"), "metric must be one of"),
        (
            lambda: tune_tau(Z, Y, [0.5, 0.5], metrics.brier),
            "metric must judge labels, larger being better, got brier",
        ),
        (lambda: tune_tau(Z, Y, [0.5, 0.5], taus=[]), "taus must hold at least one value"),
        (lambda: tune_tau(Z, Y, [0.5, 0.5], taus=[NAN]), "tau must be finite"),
        (lambda: tune_class_offsets(torch.randn(3, 3), Y), r"y must hold every class .* of class \[2\]"),
        (
            lambda: tune_tau(torch.randn(3, 3), Y, [0.4, 0.3, 0.3]),
            r"y must hold every class .* of class \[2\]",
        ),
        (lambda: tuned(torch.randn(3, 3), Y, "accuracy", [0.4, 0.3, 0.3]), r"every class .* of class \[2\]"),
        (
            lambda: tune_tau(Z, Y, [0.2, 0.3, 0.5]),
            "prior must hold one share for each of the 2 classes, got 3",
        ),
        (lambda: tune_class_offsets(Z, Y, "rarest_recall"), "metric must be one of"),
        (
            lambda: tune_class_offsets(Z, Y, max_passes=0),
            "max_passes must be >= 1, got 0",
        ),
        (lambda: alert_budget(Z, 1.1), r"share must (lie|be) in \[0, 1\], got 1.1"),
        (lambda: alert_budget(Z, NAN), r"share must (lie|be) in \[0, 1\], got nan"),
        (lambda: alert_budget(Z[:0], 0.1), "at least one validation example"),
        (
            lambda: alert_budget(torch.zeros(3, 3), 0.1),
            r"outputs must hold a score per class, shape \(N, 2\)",
        ),
        (
            lambda: argmax().decide(torch.zeros(3, 1)),
            r"outputs must hold a score per class, shape \(N, K\) with K >= 2, got \(3, 1\)",
        ),
        (lambda: threshold(-0.1), r"probability must (lie|be) in \[0, 1\], got -0.1"),
        (lambda: threshold(NAN), r"probability must (lie|be) in \[0, 1\], got nan"),
        (
            lambda: threshold(0.5).decide(torch.zeros(3, 3)),
            r"outputs must hold a score per class, shape \(N, 2\)",
        ),
        (
            lambda: cost_matrix([[0, 1, 2], [1, 0, 2]]),
            r"cost must have shape \(K, K\), row = true class, got \(2, 3\)",
        ),
        (lambda: cost_matrix([[0, NAN], [1, 0]]), "cost must be finite"),
        (
            lambda: cost_matrix([[0, 1], [1, 0]]).decide(torch.zeros(3, 3)),
            r"outputs must hold a score per class, shape \(N, 2\)",
        ),
        (lambda: threshold_for_costs(1 - torch.eye(3)), r"cost must have shape \(2, 2\), got \(3, 3\)"),
        (lambda: threshold_for_costs([[1, 0], [9, 0]]), "cost must make an error dearer than being right"),
        (lambda: threshold_for_costs([[0, 1], [0, 0]]), "cost must make an error dearer than being right"),
        (
            lambda: prior_correction([0.5, 0.5], [1.0]),
            "target_prior must hold one share for each of the 2 classes",
        ),
        (lambda: prior_correction([[0.5, 0.5]], [0.5, 0.5]), r"train_prior must have shape \(K,\)"),
        (lambda: prior_correction([0.5, 0.6], [0.5, 0.5]), "train_prior must sum to 1, got a sum of 1.1"),
        (
            lambda: prior_correction([0.5, 0.5], [0.9, 0.1]).decide(torch.zeros(3, 3)),
            r"outputs must hold a score per class, shape \(N, 2\)",
        ),
        (lambda: logit_adjustment([0.5, 0.5], -1), "tau must be finite and >= 0, got -1"),
        (lambda: logit_adjustment([0.5, 0.5], NAN), "tau must be finite and >= 0, got nan"),
        (lambda: logit_adjustment([[0.5, 0.5]]), r"prior must have shape \(K,\), got \(1, 2\)"),
        (lambda: temperature(0.0), "value must be finite and > 0, got 0"),
        (lambda: temperature(INF), "value must be finite and > 0, got inf"),
        (lambda: fit_temperature(Z, Y, (1.0, 0.5)), "bounds must be 0 < lowest < highest, finite"),
        (lambda: fit_temperature(Z, Y, (0.0, 2.0)), "bounds must be 0 < lowest < highest, finite"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
