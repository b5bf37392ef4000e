"""Explorer of lesson 05: shares of a gradient that autograd agrees with, and a model that answers."""

import numpy as np
import pytest
import torch

from course_lib import losses
from course_lib.classroom.lessons.lesson_05.explorer import (
    CLEAR,
    FROZEN,
    HEALTHY,
    HIDDEN,
    TRAINED,
    WRONG,
    compute,
    describe,
    fit,
    slopes,
    table,
    visitors,
)


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 5])
def test_slopes_are_those_of_autograd(gamma):
    margin = torch.linspace(-6, 6, 25, dtype=torch.float64, requires_grad=True)
    scores = torch.stack([torch.zeros_like(margin), margin], 1)
    losses.focal_loss(scores, torch.ones(25, dtype=torch.long), gamma=gamma, reduction="sum").backward()
    np.testing.assert_allclose(slopes(margin.detach().numpy(), gamma), -margin.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("noise", [0, 2, 10])
def test_a_trained_model_gives_each_label_half_with_every_gamma(noise):
    for gamma in (0, 1, 2, 5):
        assert compute(gamma, noise, TRAINED).share[HEALTHY] == pytest.approx(0.5, abs=0.01)


def test_on_a_frozen_model_wrong_labels_gain_and_the_easy_ill_lose():
    shares = np.array([compute(gamma, 2, FROZEN).share for gamma in (0, 1, 2, 5)])
    assert (np.diff(shares[:, WRONG]) > 0).all()
    assert (np.diff(shares[:, CLEAR]) < 0).all() and (np.diff(shares[:, HEALTHY]) < 0).all()
    assert shares[2, HIDDEN] > shares[0, HIDDEN] + 0.1


def test_gamma_zero_is_plain_training_whatever_the_model():
    for model in (FROZEN, TRAINED):
        result = compute(0, 2, model)
        np.testing.assert_allclose(result.share, result.plain, atol=0.01)
        assert result.each.sum() == pytest.approx(1)


def test_the_fit_is_a_minimum():
    x, kind = visitors(2)
    weight = fit(x, kind != HEALTHY, 2.0)
    sign = np.where(kind != HEALTHY, 1, -1)
    inputs = np.column_stack([x, np.ones(len(x))])
    gradient = (sign * slopes(sign * (inputs @ weight), 2.0)) @ inputs / len(x)
    assert abs(gradient).max() < 1e-4


@pytest.mark.parametrize(
    ("setting", "said"), [({"gamma": -1}, "gamma"), ({"noise": 30}, "noise"), ({"model": "new"}, "model")]
)
def test_settings_out_of_range_are_refused(setting, said):
    with pytest.raises(ValueError, match=f"{said} must"):
        compute(**setting)


def test_sentence_and_table_agree():
    result, before = compute(2, 2), compute(0, 2)
    rows = table(result).set_index("kind")
    assert rows.visitors.sum() == 1000 and rows["share now, %"].sum() == pytest.approx(100, abs=0.2)
    assert f"wrong label {result.share[WRONG]:.0%}" in describe(result)
    assert f"Before: hard ill {before.share[HIDDEN]:.0%}" in describe(result, before)
