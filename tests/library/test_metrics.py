"""metrics: equal to scikit-learn and imbalanced-learn where they have the number, by hand where they do not."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.metrics import macro_averaged_mean_absolute_error, sensitivity_score
from scipy import stats
from sklearn import metrics as sk

from course_lib import metrics
from course_lib.metrics import METRICS, confusion, per_class_recall, t_interval, wilson_interval


def split_of(y, group=None):
    return SimpleNamespace(x=None, y=y, group=y if group is None else group)


@st.composite
def predictions(draw, max_classes=12):
    """Labels that hold every class, scores, and the argmax of the scores."""
    num_classes = draw(st.integers(2, max_classes))
    size = draw(st.integers(0, 60))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    y = torch.cat([torch.arange(num_classes), torch.randint(num_classes, (size,), generator=generator)])
    outputs = 3 * torch.randn(len(y), num_classes, generator=generator)
    return y, outputs, outputs.argmax(1)


# ---- the confusion matrix and what comes from it ----------------------------------------------------------


@given(predictions())
def test_confusion_is_scikit_learns(case):
    y, outputs, predicted = case
    num_classes = outputs.shape[1]
    theirs = sk.confusion_matrix(y, predicted, labels=range(num_classes))
    assert (confusion(y, predicted, num_classes).numpy() == theirs).all()


@given(predictions())
def test_recalls_are_those_of_the_libraries(case):
    y, outputs, predicted = case
    num_classes = outputs.shape[1]
    recall = per_class_recall(y, predicted, num_classes)
    theirs = sensitivity_score(y.numpy(), predicted.numpy(), average=None, labels=range(num_classes))
    assert np.allclose(recall, theirs)
    scores = {name: METRICS[name](split_of(y), outputs, predicted) for name in METRICS if "recall" in name}
    assert scores == pytest.approx({"worst_recall": theirs.min(), "rarest_recall": theirs[-1]})


@settings(deadline=None, max_examples=50)
@given(predictions())
def test_label_metrics_are_scikit_learns(case):
    y, outputs, predicted = case
    split = split_of(y)
    assert metrics.accuracy(split, outputs, predicted) == pytest.approx(sk.accuracy_score(y, predicted))
    assert metrics.balanced_accuracy(split, outputs, predicted) == pytest.approx(
        sk.balanced_accuracy_score(y, predicted)
    )
    assert metrics.macro_f1(split, outputs, predicted) == pytest.approx(
        sk.f1_score(y, predicted, average="macro", zero_division=0)
    )


def test_balanced_accuracy_is_one_minus_the_class_wise_error_of_two_classes():
    y = torch.tensor([0] * 95 + [1] * 5)
    predicted = torch.tensor([0] * 90 + [1] * 5 + [0, 0, 1, 1, 1])
    error = macro_averaged_mean_absolute_error(y.numpy(), predicted.numpy())
    assert metrics.balanced_accuracy(split_of(y), torch.zeros(100, 2), predicted) == pytest.approx(1 - error)


def test_always_majority_is_accurate_and_worthless():
    y = torch.tensor([0] * 99 + [1])
    outputs = torch.tensor([[1.0, 0.0]]).expand(100, 2)
    predicted = outputs.argmax(1)
    scores = {name: METRICS[name](split_of(y), outputs, predicted) for name in METRICS if "error" not in name}
    assert scores["accuracy"] == pytest.approx(0.99)
    assert scores["balanced_accuracy"] == pytest.approx(0.5)
    assert scores["worst_recall"] == scores["rarest_recall"] == 0
    assert scores["average_precision"] == pytest.approx(0.01)  # the prevalence
    assert scores["roc_auc"] == pytest.approx(0.5)


def test_a_class_that_does_not_occur_is_no_number_and_is_left_out():
    y, predicted = torch.tensor([0, 0, 2]), torch.tensor([0, 1, 2])
    recall = per_class_recall(y, predicted, 3)
    assert recall[0] == 0.5 and math.isnan(recall[1]) and recall[2] == 1
    assert metrics.balanced_accuracy(split_of(y), torch.zeros(3, 3), predicted) == 0.75
    assert metrics.worst_recall(split_of(y), torch.zeros(3, 3), predicted) == 0.5


@pytest.mark.parametrize("num_classes", [1, 2, 100])
def test_one_right_example_scores_one(num_classes):
    y = torch.tensor([num_classes - 1])
    outputs = torch.nn.functional.one_hot(y, num_classes).double()
    for name in ("accuracy", "balanced_accuracy", "worst_recall", "rarest_recall", "macro_f1"):
        assert METRICS[name](split_of(y), outputs, y) == 1


@pytest.mark.parametrize(
    ("y", "predicted", "named"),
    [([0, 1], [0, 2], "predicted"), ([0, 3], [0, 1], "y"), ([0, -1], [0, 1], "y"), ([0, 1], [[0], [1]], "predicted"),
     ([0, 1], [0], "predicted")],
)  # fmt: skip
def test_labels_that_do_not_fit_are_refused_by_name(y, predicted, named):
    with pytest.raises(ValueError, match=f"^{named} must"):
        confusion(torch.tensor(y), torch.tensor(predicted), 2)


# ---- scores -----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(predictions(max_classes=6))
def test_score_metrics_are_scikit_learns(case):
    y, outputs, predicted = case
    split, chance = split_of(y), torch.softmax(outputs.double(), 1).numpy()
    num_classes = chance.shape[1]
    one_hot = np.eye(num_classes)[y]
    if num_classes == 2:
        precision, auc = sk.average_precision_score(y, chance[:, 1]), sk.roc_auc_score(y, chance[:, 1])
        brier = sk.brier_score_loss(y, chance[:, 1])
    else:
        precision = sk.average_precision_score(one_hot, chance)
        auc = sk.roc_auc_score(y, chance, multi_class="ovr")
        brier = ((chance - one_hot) ** 2).sum(1).mean()
    assert metrics.average_precision(split, outputs, predicted) == pytest.approx(precision)
    assert metrics.roc_auc(split, outputs, predicted) == pytest.approx(auc)
    assert metrics.brier(split, outputs, predicted) == pytest.approx(brier)
    assert metrics.log_loss(split, outputs, predicted) == pytest.approx(
        sk.log_loss(y, chance, labels=range(num_classes)), rel=1e-5
    )


@pytest.mark.parametrize("num_classes", [2, 3])
def test_scores_of_a_sure_network_do_not_tie(num_classes):
    """Probabilities of logits beyond 37 are all 1.0 in float64; the ranking must survive."""
    y = torch.tensor([0] * 50 + [num_classes - 1] * 50)
    outputs = torch.zeros(100, num_classes)
    outputs[:, -1] = torch.arange(100) + 100.0
    assert metrics.average_precision(split_of(y), outputs, None) == pytest.approx(1)
    assert metrics.roc_auc(split_of(y), outputs, None) == pytest.approx(1)
    naive = torch.softmax(outputs.double(), 1)[:, -1]
    assert sk.average_precision_score(y == num_classes - 1, naive) < 0.6


@given(predictions(max_classes=5))
def test_one_vs_rest_scores_are_log_odds(case):
    _, outputs, _ = case
    chance = torch.softmax(outputs.double(), 1)
    expected = chance.log() - (1 - chance).log()
    assert np.allclose(metrics.one_vs_rest_scores(outputs), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["average_precision", "roc_auc"])
def test_ranking_metrics_without_positives_are_no_number(name):
    outputs = torch.randn(4, 2)
    assert math.isnan(METRICS[name](split_of(torch.zeros(4, dtype=torch.int64)), outputs, None))
    assert math.isnan(METRICS[name](split_of(torch.ones(4, dtype=torch.int64)), outputs, None))
    assert math.isnan(METRICS[name](split_of(torch.zeros(4, dtype=torch.int64)), outputs[:, :1], None))


@pytest.mark.parametrize("name", ["average_precision", "roc_auc"])
def test_ranking_metrics_leave_out_a_class_that_does_not_occur(name):
    y = torch.tensor([0, 0, 2, 2, 2])
    outputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    scores = metrics.one_vs_rest_scores(outputs)
    theirs = {"average_precision": sk.average_precision_score, "roc_auc": sk.roc_auc_score}[name]
    expected = np.mean([theirs(y == k, scores[:, k]) for k in (0, 2)])
    assert METRICS[name](split_of(y), outputs, None) == pytest.approx(expected)


# ---- numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_squared_error_sums_over_the_numbers_of_an_example(dtype):
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(20, 1, 4, 4, generator=generator, dtype=dtype)
    predicted = torch.randn(20, 1, 4, 4, generator=generator, dtype=dtype)
    split = split_of(y, torch.arange(20) % 3)
    each = ((y - predicted) ** 2).flatten(1).sum(1)
    assert metrics.squared_error(split, predicted, predicted) == pytest.approx(each.mean().item())
    worst = max(each[split.group == g].mean().item() for g in range(3))
    assert metrics.worst_group_error(split, predicted, predicted) == pytest.approx(worst)
    flat = split_of(y.flatten(1))
    theirs = sk.mean_squared_error(y.flatten(1), predicted.flatten(1), multioutput="raw_values").sum()
    assert metrics.squared_error(flat, None, predicted.flatten(1)) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("metric", [metrics.squared_error, metrics.worst_group_error])
def test_squared_error_refuses_to_broadcast(metric):
    """(N,) minus (N, 1) would be (N, N)."""
    with pytest.raises(ValueError, match=r"predicted must have the shape of y, \(4, 1\), got \(4,\)"):
        metric(split_of(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64)), None, torch.zeros(4))


# ---- intervals --------------------------------------------------------------------------------------------


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_interval_is_scipys(trials, share, confidence):
    successes = round(share * trials)
    low, high = wilson_interval(successes, trials, confidence)
    theirs = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= low <= successes / trials <= high <= 1


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_interval_refuses_impossible_counts(successes, trials):
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(successes, trials)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30).filter(lambda values: np.std(values) > 1e-6))
def test_t_interval_is_scipys(values):
    mean, low, high = t_interval(values)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean == pytest.approx(np.mean(values), abs=1e-9)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), rel=1e-6, abs=1e-6)


def test_t_interval_of_equal_values_is_a_point():
    assert t_interval([0.25, 0.25, 0.25]) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_t_interval_needs_two_finite_values(values):
    with pytest.raises(ValueError, match="values"):
        t_interval(values)


@pytest.mark.parametrize("confidence", [0, 1, 1.5, -1, float("nan")])
def test_confidence_out_of_range_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, confidence)
    with pytest.raises(ValueError, match="confidence"):
        t_interval([1, 2], confidence)


def test_every_metric_is_listed_under_its_own_name():
    assert all(
        metric.__name__ == name and metric is getattr(metrics, name) for name, metric in METRICS.items()
    )
