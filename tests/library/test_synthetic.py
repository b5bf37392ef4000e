"""synthetic: the posterior is the true one, and the Bayes limits are those of the closed forms."""

import math
import time

import numpy as np
import pytest
import torch
from imblearn.over_sampling import SMOTENC
from scipy.stats import multivariate_normal, norm
from sklearn.metrics import average_precision_score

from course_lib.data import fraud_like, gaussian_classes
from course_lib.data.synthetic import (
    FRAUD_CATEGORICAL,
    FRAUD_NUMERIC,
    Fraud,
    Gaussians,
    KnownPosterior,
    ten_draws,
)


def two_gaussians(prevalence, distance, std=1.0):
    prior = torch.tensor([1 - prevalence, prevalence], dtype=torch.float64)
    means = torch.tensor([[1.0, 0.5], [1.0 + distance, 0.5]], dtype=torch.float64)
    return Gaussians(prior, means, torch.full((2,), std, dtype=torch.float64))


def error_in_closed_form(prevalence, distance):
    """Two unit Gaussians: the boundary lies where the log-odds are 0."""
    boundary = distance / 2 + math.log((1 - prevalence) / prevalence) / distance
    return (1 - prevalence) * norm.sf(boundary) + prevalence * norm.cdf(boundary - distance)


def average_precision_in_closed_form(prevalence, distance):
    """The optimal score grows along the line between the means, so precision and recall are normal tails."""
    threshold = np.linspace(-10, 10 + distance, 200_001)
    recall, alarms = norm.sf(threshold - distance), norm.sf(threshold)
    precision = prevalence * recall / (prevalence * recall + (1 - prevalence) * alarms)
    return -np.trapezoid(precision, recall)


# ---- Gaussians --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("prevalence", [0.5, 0.2, 0.05, 0.01, 0.001])
def test_bayes_limits_are_those_of_the_closed_form(prevalence, distance):
    truth = two_gaussians(prevalence, distance)
    assert truth.bayes_error == pytest.approx(error_in_closed_form(prevalence, distance), abs=1e-5)
    expected = average_precision_in_closed_form(prevalence, distance)
    assert truth.bayes_average_precision == pytest.approx(expected, abs=1e-5)


def test_bayes_limits_do_not_depend_on_the_unit():
    small, large = two_gaussians(0.05, 2e-3, 1e-3), two_gaussians(0.05, 2e3, 1e3)
    assert small.bayes_error == pytest.approx(large.bayes_error)
    assert small.bayes_average_precision == pytest.approx(large.bayes_average_precision)


@pytest.mark.parametrize(
    "task",
    [
        pytest.param({"prior": (0.8, 0.15, 0.05)}, id="three"),
        pytest.param({"prior": (0.95, 0.05), "std": (3.0, 0.3), "means": [[0, 0], [0.5, 0.5]]}, id="one inside"),
        pytest.param({"prior": [0.1] * 10, "std": 2.0}, id="ten"),
    ],
)  # fmt: skip
def test_bayes_limits_are_those_of_a_large_sample(task):
    truth = gaussian_classes(**task).posterior
    counts = (400_000 * truth.prior).round().long()
    x, y = truth.sample(counts, torch.Generator().manual_seed(0))
    chance = truth(x)
    assert truth.bayes_error == pytest.approx((chance.argmax(1) != y).double().mean().item(), abs=3e-3)
    rare = y == len(counts) - 1
    assert truth.bayes_average_precision == pytest.approx(
        average_precision_score(rare, chance[:, -1]), abs=1e-2
    )


@pytest.mark.parametrize("num_classes", [1, 2, 10])
def test_bayes_limits_are_quick_enough_for_a_slider(num_classes):
    prior = torch.full((num_classes,), 1 / num_classes, dtype=torch.float64)
    means = torch.stack([torch.arange(num_classes), torch.arange(num_classes)], 1).double()
    best = math.inf
    for _ in range(3):
        truth = Gaussians(prior, means, torch.ones(num_classes, dtype=torch.float64))
        start = time.perf_counter()
        assert 0 <= truth.bayes_error < 1 and 0 < truth.bayes_average_precision <= 1 + 1e-12
        best = min(best, time.perf_counter() - start)
    assert best < 0.5  # 0.03 s for two classes and 0.07 s for ten on an idle core


def test_one_class_has_nothing_to_confuse():
    truth = Gaussians(torch.ones(1).double(), torch.zeros(1, 2).double(), torch.ones(1).double())
    assert truth.bayes_error == pytest.approx(0)
    assert truth.bayes_average_precision == pytest.approx(1)


def test_a_class_that_never_comes_has_no_average_precision():
    truth = two_gaussians(0.0, 2.0)
    assert math.isnan(truth.bayes_average_precision)
    assert truth.bayes_error == pytest.approx(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_posterior_is_scipys(dtype):
    prior, means, std = (0.7, 0.25, 0.05), [[0, 0], [2, 0], [1, 3]], (1.0, 0.5, 2.0)
    truth = gaussian_classes(prior, means=means, std=std).posterior
    x = torch.randn(200, 2, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 3
    joint = np.stack(
        [p * multivariate_normal(m, s**2).pdf(x.double()) for p, m, s in zip(prior, means, std, strict=True)],
        1,
    )
    assert torch.allclose(truth.log_joint(x), torch.tensor(np.log(joint)), atol=1e-6)
    assert np.allclose(truth(x), joint / joint.sum(1, keepdims=True))
    assert truth(x).dtype == torch.float64


def test_posterior_far_away_is_still_a_probability():
    chance = two_gaussians(0.01, 2.0)(torch.tensor([[1e4, 0.0], [-1e4, 0.0], [1e4, 1e4]]))
    assert torch.isfinite(chance).all() and torch.allclose(chance.sum(1), torch.ones(3).double())


def test_samples_have_the_moments_of_their_class():
    truth = gaussian_classes((0.5, 0.5), std=(1.0, 3.0)).posterior
    x, y = truth.sample((50_000, 50_000), torch.Generator().manual_seed(0))
    assert x.dtype == torch.float32
    for k in (0, 1):
        assert torch.allclose(x[y == k].mean(0).double(), truth.means[k], atol=0.05)
        assert x[y == k].std(0).tolist() == pytest.approx([truth.std[k].item()] * 2, rel=0.02)
    assert not torch.equal(y, y.sort().values)


def test_the_base_class_leaves_the_distribution_to_its_children():
    with pytest.raises(NotImplementedError):
        KnownPosterior()(torch.zeros(1, 2))
    with pytest.raises(NotImplementedError):
        _ = KnownPosterior().bayes_error


# ---- Fraud ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fraud():
    return fraud_like(0.02, num_train=20_000, num_held=50_000)


def test_fraud_posterior_is_calibrated(fraud):
    """Of the payments with a posterior near p, a share p is fraud: the property that makes it the posterior."""
    chance, y = fraud.posterior(fraud.test.x)[:, 1], fraud.test.y.double()
    for low, high in [(0, 0.01), (0.01, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)]:
        bin_ = (chance >= low) & (chance < high)
        expected, size = chance[bin_].mean().item(), int(bin_.sum())
        assert size > 50
        error = 4 * math.sqrt(expected * (1 - expected) / size)
        assert y[bin_].mean().item() == pytest.approx(expected, abs=error + 1e-4)


def test_fraud_bayes_limits_are_those_of_a_large_sample(fraud):
    chance, y = fraud.posterior(fraud.test.x), fraud.test.y
    error = (chance.argmax(1) != y).double().mean().item()
    assert fraud.posterior.bayes_error == pytest.approx(error, rel=0.15)
    precision = average_precision_score(y, chance[:, 1])
    assert fraud.posterior.bayes_average_precision == pytest.approx(precision, abs=0.03)
    assert 0.5 < fraud.posterior.bayes_average_precision < 0.95  # neither hopeless nor trivial


def test_fraud_posterior_does_not_depend_on_the_scaling(fraud):
    unscaled = Fraud(fraud.posterior.prior, torch.zeros(4).double(), torch.ones(4).double())
    x = fraud.test.x[:100]
    raw = unscaled.from_table(fraud.posterior.to_table(x))
    assert torch.allclose(unscaled(raw), fraud.posterior(x), atol=1e-4)


def test_fraud_columns_are_numbers_then_one_hot(fraud):
    columns = fraud.posterior.columns
    assert len(columns) == fraud.train.x.shape[1] == 16
    assert columns[:4] == FRAUD_NUMERIC and columns[4] == "channel=chip"
    start = 4
    for values in FRAUD_CATEGORICAL.values():
        one_hot = fraud.train.x[:, start : start + len(values)]
        assert (one_hot.sum(1) == 1).all() and ((one_hot == 0) | (one_hot == 1)).all()
        start += len(values)


def test_fraud_goes_through_a_table_and_back(fraud):
    x = fraud.train.x[:500]
    table = fraud.posterior.to_table(x)
    assert list(table) == [*FRAUD_NUMERIC, *FRAUD_CATEGORICAL]
    assert all(table[column].dtype == "category" for column in FRAUD_CATEGORICAL)
    assert torch.allclose(fraud.posterior.from_table(table), x, atol=1e-5)


def test_smotenc_takes_the_table_and_invents_no_category(fraud):
    table, y = fraud.posterior.to_table(fraud.train.x[:3000]), fraud.train.y[:3000].numpy()
    more, labels = SMOTENC(list(FRAUD_CATEGORICAL), random_state=0).fit_resample(table, y)
    x = fraud.posterior.from_table(more)
    assert (labels == 0).sum() == (labels == 1).sum() == len(x) // 2
    assert ((x[:, 4:] == 0) | (x[:, 4:] == 1)).all()


def test_from_table_refuses_what_it_does_not_know(fraud):
    table = fraud.posterior.to_table(fraud.train.x[:3])
    with pytest.raises(ValueError, match=r"table must have the columns \['country'\]"):
        fraud.posterior.from_table(table.drop(columns="country"))
    table["channel"] = ["chip", "post", "online"]
    with pytest.raises(ValueError, match=r"channel must be one of .* got \['post'\]"):
        fraud.posterior.from_table(table)


# ---- ten_draws --------------------------------------------------------------------------------------------


def test_ten_draws_come_from_the_kinds_they_say():
    x, mean, group = ten_draws([5000] * 4, np.random.default_rng(0))
    assert x.shape == (20_000, 10) and mean.shape == (20_000, 1)
    gap = (x - mean).double()
    # variance given the mean, averaged: 1, E[m^2], E[2 m], 20^2 / 12
    for kind, variance in enumerate([1, 1 / 3, 1, 100 / 3]):
        assert gap[group == kind].square().mean().item() == pytest.approx(variance, rel=0.06)
    assert (x[(group == 1) | (group == 2)] >= 0).all()
    assert gap[group == 3].abs().max() <= 10 + 1e-5
