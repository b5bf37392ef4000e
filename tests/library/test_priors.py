"""priors: counts and shares against their definitions, weights against scikit-learn and Cui's formula."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from course_lib.priors import (
    class_count,
    class_prior,
    effective_number,
    effective_number_weights,
    imbalance_ratio,
    inverse_frequency_weights,
)

COUNTS = st.lists(st.integers(1, 10**6), min_size=1, max_size=100)
BETAS = st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999])


# ---- counts -----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 99), min_size=1, max_size=300))
def test_counts_are_those_of_numpy_and_prior_is_their_share(labels):
    counts = class_count(labels, 100)
    assert counts.tolist() == np.bincount(labels, minlength=100).tolist()
    prior = class_prior(labels, 100)
    assert prior.dtype == torch.float64
    assert prior.sum().item() == pytest.approx(1)
    assert (prior * len(labels)).round().long().tolist() == counts.tolist()


def test_one_example_is_enough():
    assert class_count([0]).tolist() == [1]
    assert class_prior([1], 3).tolist() == [0, 1, 0]


def test_a_label_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"labels must be 0\.\.1, got 2"):
        class_count([0, 2], 2)


@given(COUNTS)
def test_imbalance_ratio_is_largest_over_smallest(counts):
    ratio = imbalance_ratio(counts)
    assert ratio == pytest.approx(max(counts) / min(counts))
    assert ratio >= 1


def test_imbalance_ratio_names_the_empty_class():
    with pytest.raises(
        ValueError, match=r"class_count must be positive everywhere, got no example of class \[1\]"
    ):
        imbalance_ratio([3, 0, 2])


@pytest.mark.parametrize("counts", [[], [0, 0], [-1, 2], [float("nan"), 1], [float("inf"), 1], [[1, 2]]])
@pytest.mark.parametrize("weigh", [imbalance_ratio, inverse_frequency_weights, effective_number_weights])
def test_bad_counts_are_refused_by_name(weigh, counts):
    with pytest.raises(ValueError, match="class_count"):
        weigh(counts)


# ---- weights ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 60), min_size=1, max_size=100))
def test_inverse_frequency_is_scikit_learns_balanced_up_to_scale(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    theirs = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    ours = inverse_frequency_weights(counts)
    assert ours.dtype == torch.float32
    assert np.allclose(ours.numpy(), theirs / theirs.mean(), rtol=1e-5)


@given(COUNTS, BETAS)
def test_weights_have_mean_one_and_never_favour_the_larger_class(counts, beta):
    for weight in (inverse_frequency_weights(counts), effective_number_weights(counts, beta)):
        assert weight.mean().item() == pytest.approx(1, rel=1e-4)
        assert (weight > 0).all()
        assert (weight[torch.tensor(counts).argsort()].diff() <= 1e-6).all()


@pytest.mark.parametrize("weigh", [inverse_frequency_weights, effective_number_weights])
def test_an_empty_class_weighs_nothing_and_leaves_the_others_alone(weigh):
    with_empty, without = weigh([90, 0, 10]), weigh([90, 10])
    assert with_empty[1] == 0
    assert torch.equal(with_empty[[0, 2]], without)


def test_effective_number_keeps_its_digits_for_small_counts():
    """In float32, 1 - beta**n gives 2.0000 here."""
    assert effective_number([2], 0.9999).item() == pytest.approx(1.9999, abs=1e-12)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=10).filter(any), BETAS)
def test_effective_number_is_the_sum_that_it_abbreviates(counts, beta):
    for count, effective in zip(counts, effective_number(counts, beta).tolist(), strict=True):
        assert effective == pytest.approx(sum(beta**power for power in range(count)), rel=1e-9)


def test_effective_number_runs_from_no_weighting_to_inverse_frequency():
    counts = [1000, 100, 10]
    assert effective_number_weights(counts, 0).tolist() == [1, 1, 1]
    nearly = effective_number_weights(counts, 1 - 1e-12)
    assert torch.allclose(nearly, inverse_frequency_weights(counts), rtol=1e-5)


@pytest.mark.parametrize("beta", [-0.1, 1, 1.5, float("nan")])
def test_beta_out_of_range_is_refused(beta):
    for function in (effective_number, effective_number_weights):
        with pytest.raises(ValueError, match="beta must lie in"):
            function([1, 2], beta)
