"""metrics: equal to scikit-learn and imbalanced-learn where they have the number, by hand where they do not."""

import math
import pickle
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
from course_lib.metrics import METRICS, Metric, Part, confusion, per_class_recall, t_interval, wilson_interval


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
    assert metrics.worst_recall(split_of(y), outputs, predicted) == pytest.approx(theirs.min())
    rarest = max(range(num_classes), key=lambda k: (-int((y == k).sum()), k))
    assert metrics.rarest_recall(split_of(y), outputs, predicted) == pytest.approx(theirs[rarest])


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
    outputs = torch.tensor([[2.0, 0.0]]).expand(100, 2)
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


@pytest.mark.parametrize("num_classes", [2, 100])
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
    outputs = outputs.double()  # in float32 two scores may differ by rounding only, and tie
    split, chance = split_of(y), torch.softmax(outputs, 1).numpy()
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


@pytest.mark.parametrize(
    ("successes", "trials", "named"), [(-1, 5, "successes"), (6, 5, "successes"), (0, 0, "trials")]
)
def test_wilson_interval_refuses_impossible_counts(successes, trials, named):
    with pytest.raises(ValueError, match=named):
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


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.floats(0, 2))
def test_overlapping_test_parts_widen_the_interval(values, overlap):
    """The corrected resampled t-test: s^2 (1/n + n_test / n_train) in place of s^2 / n."""
    mean, low, high = t_interval(values, overlap=overlap)
    plain = t_interval(values)
    assert mean == plain[0]
    widening = math.sqrt(1 + len(values) * overlap)
    assert high - low == pytest.approx(widening * (plain[2] - plain[1]), rel=1e-9, abs=1e-9)


# ---- ties, ruled-out classes, constant scores -------------------------------------------------------------


def test_exact_ties_of_many_classes_stay_ties():
    """Class 0 of rows 0 and 1 has the probability .4 in both: half a pair each, whatever the other classes have."""
    chance = torch.tensor([[0.4, 0.35, 0.25], [0.4, 0.1, 0.5], [0.9, 0.05, 0.05], [0.2, 0.7, 0.1]]).double()
    chance = torch.tensor(chance.numpy().round(6))
    y = torch.tensor([0, 2, 0, 1])
    for outputs in (chance.log(), chance.float().log(), chance.log() + 5, chance.log().float() - 3):
        scores = metrics.one_vs_rest_scores(outputs)[:, 0]
        assert scores[0] == scores[1]
        expected = [sk.roc_auc_score(y == k, chance[:, k].numpy().round(6)) for k in range(3)]
        assert expected[0] == 0.875
        assert metrics.roc_auc(split_of(y), outputs, None) == pytest.approx(np.mean(expected), abs=1e-12)
        expected = [sk.average_precision_score(y == k, chance[:, k].numpy().round(6)) for k in range(3)]
        assert metrics.average_precision(split_of(y), outputs, None) == pytest.approx(
            np.mean(expected), abs=1e-12
        )


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(3, 6), st.booleans())
def test_rounded_probabilities_tie_as_people_expect(seed, num_classes, double):
    """Probabilities in steps of .05 tie often; the ranking metrics see the ties that scikit-learn sees."""
    rng = np.random.default_rng(seed)
    steps = rng.multinomial(20 - num_classes, np.full(num_classes, 1 / num_classes), size=40) + 1  # of 20
    y = torch.tensor(rng.integers(num_classes, size=40))
    y[:num_classes] = torch.arange(num_classes)
    outputs = torch.tensor(np.log(steps / 20)).to(torch.float64 if double else torch.float32)
    expected = np.mean([sk.roc_auc_score(y == k, steps[:, k]) for k in range(num_classes)])
    assert metrics.roc_auc(split_of(y), outputs, None) == pytest.approx(expected, abs=1e-12)


def test_a_dense_crowd_of_scores_is_no_tie():
    """A million float32 scores lie closer together than rounding allows to tell, but not all at once."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=300_000) * 1e-2
    merged = metrics._with_ties(scores, 1e-6)
    assert np.abs(merged - scores).max() <= 2e-5 and len(np.unique(merged)) > 100


@pytest.mark.parametrize("num_classes", [2, 4])
def test_constant_scores_rank_by_chance(num_classes):
    y = torch.arange(40) % num_classes
    outputs = torch.randn(num_classes).expand(40, num_classes)
    assert metrics.roc_auc(split_of(y), outputs, None) == 0.5
    assert metrics.average_precision(split_of(y), outputs, None) == pytest.approx(1 / num_classes)


def test_a_class_that_is_ruled_out_ranks_last_and_breaks_nothing():
    generator = torch.Generator().manual_seed(0)
    outputs, y = torch.randn(60, 3, generator=generator), torch.arange(60) % 3
    masked = outputs.clone()
    masked[:, 2] = -math.inf
    assert 0 < metrics.roc_auc(split_of(y), masked, None) < 1
    assert 0 < metrics.average_precision(split_of(y), masked, None) < 1
    assert metrics.log_loss(split_of(y), masked, None) == math.inf
    assert math.isfinite(metrics.brier(split_of(y), masked, None))
    some = torch.randn(60, 2, generator=generator)
    some[:7], far = torch.tensor([0.0, -math.inf]), some.clone()
    far[:7] = torch.tensor([0.0, -1e3])
    assert metrics.roc_auc(split_of(y % 2), some, None) == metrics.roc_auc(split_of(y % 2), far, None)


# ---- what comes in ----------------------------------------------------------------------------------------

LABELS_OF_THREE = torch.tensor([0, 1, 2, 1])
SCORES_OF_THREE = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
FOR_CLASSES = [name for name, metric in METRICS.items() if metric.needs != "numbers"]


@pytest.mark.parametrize("name", FOR_CLASSES)
@pytest.mark.parametrize("wrong", [-1, -100, 3])
def test_labels_outside_the_classes_are_refused(name, wrong):
    y = LABELS_OF_THREE.clone()
    y[1] = wrong
    with pytest.raises(ValueError, match=r"^y must be"):
        METRICS[name](split_of(y), SCORES_OF_THREE, torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("name", FOR_CLASSES)
def test_one_column_of_scores_is_refused(name):
    with pytest.raises(ValueError, match=r"outputs must .* got \(4, 1\)"):
        METRICS[name](split_of(LABELS_OF_THREE % 2), SCORES_OF_THREE[:, :1], LABELS_OF_THREE % 2)


@pytest.mark.parametrize("name", [name for name in FOR_CLASSES if METRICS[name].needs == "labels"])
def test_probabilities_are_no_predictions(name):
    with pytest.raises(TypeError, match="predicted must be whole numbers"):
        METRICS[name](split_of(LABELS_OF_THREE), SCORES_OF_THREE, torch.tensor([0.1, 0.9, 0.3, 0.2]))


@pytest.mark.parametrize("name", [name for name in FOR_CLASSES if METRICS[name].needs != "labels"])
def test_probabilities_in_place_of_scores_bring_a_warning(name):
    with pytest.warns(UserWarning, match="look like probabilities"):
        METRICS[name](split_of(LABELS_OF_THREE), SCORES_OF_THREE.softmax(1), None)
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="outputs must hold numbers"):
            METRICS[name](split_of(LABELS_OF_THREE), SCORES_OF_THREE * wrong, None)


# ---- metrics of one's own, and by name --------------------------------------------------------------------


def test_the_rarest_class_is_the_one_with_the_fewest_training_examples():
    """Not the last one, and not the rarest of a balanced test part."""
    y, predicted = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 0, 0, 0])
    outputs = torch.zeros(6, 3)
    for counts, expected in (((5, 90, 30), 1.0), ((90, 5, 30), 0.5), ((90, 30, 5), 0.0), ((0, 5, 9), 0.5)):
        part = Part(y, y, train_count=torch.tensor(counts))
        assert metrics.rarest_recall(part, outputs, predicted) == expected
    y, predicted = torch.tensor([0, 1, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 0, 2, 2])
    assert metrics.rarest_recall(split_of(y), outputs, predicted) == 1  # without counts: its own
    with pytest.raises(ValueError, match="train_count must hold a count per class, 3, got 2"):
        metrics.rarest_recall(Part(y, y, train_count=torch.tensor([1, 2])), outputs, predicted)


def test_recall_of_a_class_by_its_name():
    y, predicted = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1])
    part = Part(y, y, names=("healthy", "ill"))
    assert metrics.recall_of("ill")(part, torch.zeros(4, 2), predicted) == 0.5
    assert metrics.as_metric("recall of healthy")(part, torch.zeros(4, 2), predicted) == 1
    assert metrics.recall_of(1)(split_of(y), torch.zeros(4, 2), predicted) == 0.5
    with pytest.raises(ValueError, match=r"one of the classes \['healthy', 'ill'\], got 'sick'"):
        metrics.recall_of("sick")(part, torch.zeros(4, 2), predicted)


@given(predictions(max_classes=4), st.integers(0, 10**6))
def test_mean_cost_is_what_the_examples_cost(case, seed):
    y, outputs, predicted = case
    num_classes = outputs.shape[1]
    cost = torch.rand(num_classes, num_classes, generator=torch.Generator().manual_seed(seed))
    metric = metrics.mean_cost(cost)
    assert not metric.higher_is_better
    assert metric(split_of(y), outputs, predicted) == pytest.approx(
        cost[y, predicted].mean().item(), rel=1e-5
    )


def test_precision_at_an_alert_budget_counts_the_ill_among_the_alerts():
    odds = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0, -4.0])
    outputs, y = torch.stack([torch.zeros(10), odds], 1), torch.tensor([1, 0, 1, 1, 0, 0, 0, 0, 0, 1])
    for share, expected in ((0.1, 1), (0.2, 1 / 2), (0.3, 2 / 3), (0.29, 1 / 2), (1.0, 0.4), (0.001, 1)):
        assert metrics.precision_at(share)(split_of(y), outputs, None) == pytest.approx(expected)


def test_alerts_that_tie_at_the_limit_are_drawn_at_random():
    odds, y = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.0]), torch.tensor([1, 1, 0, 0, 1])
    outputs = torch.stack([torch.zeros(5), odds], 1)
    assert metrics.precision_at(0.4)(split_of(y), outputs, None) == pytest.approx((1 + 1 / 3) / 2)


@pytest.mark.parametrize("share", [0, 1.1, math.nan, -0.1])
def test_an_alert_budget_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="share must"):
        metrics.precision_at(share)


def test_every_metric_says_its_name_direction_and_need():
    assert all(metric.name == name for name, metric in METRICS.items())
    lower = {name for name, metric in METRICS.items() if not metric.higher_is_better}
    assert lower == {"brier", "log_loss", "squared_error", "worst_group_error"}
    assert METRICS["brier"].gain(0.2) == -0.2 and METRICS["accuracy"].gain(0.2) == 0.2
    assert METRICS["brier"].gain(math.nan) == -math.inf
    for metric in (
        *METRICS.values(),
        metrics.recall_of("a"),
        metrics.precision_at(0.1),
        metrics.mean_cost([[0, 1], [1, 0]]),
    ):
        assert repr(pickle.loads(pickle.dumps(metric))) == repr(metric)  # workers get it so


def test_a_function_without_a_direction_is_no_metric():
    def mine(split, outputs, predicted):
        return 1

    with pytest.raises(TypeError, match="which direction is better"):
        metrics.as_metric(mine)
    with pytest.raises(ValueError, match="metrics must be names from"):
        metrics.as_metric("f2")
    with pytest.raises(ValueError, match="needs must be one of"):
        Metric("mine", mine, needs="score")
    with pytest.raises(TypeError, match="a name and a function"):
        Metric(mine, "mine")
    assert metrics.as_metric(Metric("mine", mine))(None, None, None) == 1.0
