"""Every loss is torch's cross-entropy at its neutral setting, and its formula, written down anew, elsewhere."""

import inspect
from functools import partial
from itertools import product

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from torch import nn
from torch.nn import functional as F

from course_lib import losses
from course_lib.losses import (
    CosineClassifier,
    auxiliary_loss,
    class_log_odds,
    focal_loss,
    ldam_loss,
    ldam_margins,
    logit_adjusted_loss,
    weighted_cross_entropy,
)

REDUCTIONS = ("none", "mean", "sum")
DTYPES = (torch.float32, torch.float64)
CLASSES = (2, 3, 10, 100)


def batch(num_classes, size=17, dtype=torch.float64, seed=0, spread=3.0):
    """Random scores and labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(size, num_classes, generator=generator, dtype=dtype)
    return logits, torch.randint(num_classes, (size,), generator=generator)


def weights(num_classes, seed=1):
    return torch.rand(num_classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def gradient(loss, logits):
    """The slope of `loss(logits)`, by backpropagation."""
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(logits), logits)[0]


def numpy_log_softmax(logits):
    z = logits.double().numpy()
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


# ---- every loss at its neutral setting is torch's cross-entropy --------------------------------------------

NEUTRAL = {
    "weighted": lambda z, y, **kw: weighted_cross_entropy(z, y, [1.0] * z.shape[1], **kw),
    "weighted by batch": lambda z, y, **kw: weighted_cross_entropy(
        z, y, [1.0] * z.shape[1], normalise="batch_size", **kw
    ),
    "focal": lambda z, y, **kw: focal_loss(z, y, gamma=0, **kw),
    "auxiliary": lambda z, y, **kw: auxiliary_loss(z, y, 0, strength=0, **kw),
    "logit adjusted, tau 0": lambda z, y, **kw: logit_adjusted_loss(
        z, y, [1.0] + [0.0] * (z.shape[1] - 1), tau=0, **kw
    ),
    "balanced softmax, uniform": lambda z, y, **kw: logit_adjusted_loss(
        z, y, torch.full((z.shape[1],), 1 / z.shape[1]), **kw
    ),
    "ldam": lambda z, y, **kw: ldam_loss(z, y, range(1, z.shape[1] + 1), max_margin=0, scale=1, **kw),
}
NO_SOFT_FORM = {"ldam"}


@pytest.mark.parametrize(("name", "num_classes"), [*product(NEUTRAL, CLASSES)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_neutral_setting_is_cross_entropy(name, dtype, num_classes):
    logits, y = batch(num_classes, dtype=dtype)
    for reduction in REDUCTIONS:
        ours = partial(NEUTRAL[name], y=y, reduction=reduction)
        torchs = partial(F.cross_entropy, target=y, reduction=reduction)
        torch.testing.assert_close(ours(logits), torchs(logits))
        slopes = [gradient(lambda z, loss=loss: loss(z).sum(), logits) for loss in (ours, torchs)]
        torch.testing.assert_close(*slopes, atol=1e-6 if dtype == torch.float32 else 1e-12, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(set(NEUTRAL) - NO_SOFT_FORM))
def test_the_neutral_setting_is_cross_entropy_for_soft_targets(name):
    logits, _ = batch(4)
    soft = torch.softmax(batch(4, seed=5)[0], 1)
    for reduction in REDUCTIONS:
        expected = F.cross_entropy(logits, soft, reduction=reduction)
        torch.testing.assert_close(NEUTRAL[name](logits, soft, reduction=reduction), expected)
        # mixup builds its targets in float32, whatever the scores are
        torch.testing.assert_close(
            NEUTRAL[name](logits, soft.float(), reduction=reduction), expected, atol=1e-6, rtol=1e-6
        )
        assert NEUTRAL[name](logits.float(), soft, reduction=reduction).dtype == torch.float32


@pytest.mark.parametrize("name", sorted(set(NEUTRAL) - NO_SOFT_FORM))
def test_one_hot_targets_are_labels(name):
    logits, y = batch(4)
    one_hot = F.one_hot(y, 4).double()
    settings = {
        "weighted": partial(weighted_cross_entropy, class_weight=weights(4)),
        "weighted by batch": partial(weighted_cross_entropy, class_weight=weights(4), normalise="batch_size"),
        "focal": partial(focal_loss, class_weight=weights(4)),
        "auxiliary": partial(auxiliary_loss, prioritised_class=2, strength=0.7, pos_weight=3.0),
        "logit adjusted, tau 0": partial(logit_adjusted_loss, prior=[0.7, 0.1, 0.1, 0.1], tau=0.5),
        "balanced softmax, uniform": partial(logit_adjusted_loss, prior=[0.7, 0.1, 0.1, 0.1]),
    }
    torch.testing.assert_close(settings[name](logits, one_hot), settings[name](logits, y))


def test_soft_targets_average_the_losses_of_their_classes():
    """So a loss on mixup's targets is mixup's loss."""
    logits, y = batch(4)
    other, share = y.flip(0), 0.3
    soft = share * F.one_hot(y, 4).double() + (1 - share) * F.one_hot(other, 4).double()
    for loss in (
        partial(weighted_cross_entropy, class_weight=weights(4)),
        partial(focal_loss, class_weight=weights(4), gamma=1.5),
        partial(auxiliary_loss, prioritised_class=1, pos_weight=2.0),
        partial(logit_adjusted_loss, prior=[0.7, 0.1, 0.1, 0.1]),
    ):
        expected = share * loss(logits, y, reduction="none") + (1 - share) * loss(
            logits, other, reduction="none"
        )
        torch.testing.assert_close(loss(logits, soft, reduction="none"), expected)


# ---- class weights and what the mean divides by ------------------------------------------------------------


@pytest.mark.parametrize("num_classes", CLASSES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_normalising_by_weights_is_torch(reduction, dtype, num_classes):
    logits, y = batch(num_classes, dtype=dtype)
    w = weights(num_classes)
    expected = F.cross_entropy(logits, y, w.to(dtype), reduction=reduction)
    torch.testing.assert_close(weighted_cross_entropy(logits, y, w, reduction=reduction), expected)
    torch.testing.assert_close(focal_loss(logits, y, gamma=0, class_weight=w, reduction=reduction), expected)
    counts = range(1, num_classes + 1)
    torch.testing.assert_close(ldam_loss(logits, y, counts, 0.0, 1.0, w, reduction), expected)


def test_normalising_soft_targets_by_batch_size_is_torch():
    logits, _ = batch(4)
    soft, w = torch.softmax(batch(4, seed=5)[0], 1), weights(4)
    ours = weighted_cross_entropy(logits, soft, w, normalise="batch_size")
    torch.testing.assert_close(ours, F.cross_entropy(logits, soft, w))
    by_weights = weighted_cross_entropy(logits, soft, w)
    torch.testing.assert_close(
        by_weights, F.cross_entropy(logits, soft, w, reduction="sum") / (soft @ w).sum()
    )


def test_normalising_by_batch_size_divides_by_the_number_of_examples():
    logits, y = batch(3)
    w = weights(3)
    expected = F.cross_entropy(logits, y, w, reduction="sum") / len(y)
    torch.testing.assert_close(weighted_cross_entropy(logits, y, w, normalise="batch_size"), expected)


def test_weights_cancel_in_a_batch_of_one_class_unless_divided_by_its_size():
    logits, _ = batch(3)
    y = torch.full((len(logits),), 2)
    w = torch.tensor([1.0, 1.0, 50.0])
    plain = F.cross_entropy(logits, y)
    torch.testing.assert_close(F.cross_entropy(logits, y, w.double()), plain)  # the naive form: no effect
    torch.testing.assert_close(weighted_cross_entropy(logits, y, w, normalise="batch_size"), 50 * plain)
    one = weighted_cross_entropy(logits[:1], y[:1], w, normalise="batch_size")
    torch.testing.assert_close(one, 50 * F.cross_entropy(logits[:1], y[:1]))


def test_scaling_all_weights_does_nothing_unless_divided_by_batch_size():
    logits, y = batch(3)
    w = weights(3)
    torch.testing.assert_close(weighted_cross_entropy(logits, y, 7 * w), weighted_cross_entropy(logits, y, w))
    by_size = partial(weighted_cross_entropy, logits, y, normalise="batch_size")
    torch.testing.assert_close(by_size(7 * w), 7 * by_size(w))


def test_two_half_batches_add_up_only_when_divided_by_batch_size():
    logits, _ = batch(2, size=20)
    y = torch.tensor([0] * 15 + [1] * 5)
    halves = [(logits[:10], y[:10]), (logits[10:], y[10:])]
    w = torch.tensor([1.0, 9.0])

    def accumulated(**settings):
        return sum(weighted_cross_entropy(z, t, w, **settings) for z, t in halves) / 2

    whole = weighted_cross_entropy(logits, y, w)
    assert abs(accumulated() - whole) > 0.05 * whole  # the naive form: another loss, so another gradient
    whole = weighted_cross_entropy(logits, y, w, normalise="batch_size")
    torch.testing.assert_close(accumulated(normalise="batch_size"), whole)


def test_a_batch_without_weight_has_loss_zero_and_gradient_zero():
    logits, y = batch(3)
    y = torch.zeros_like(y)
    w = [0.0, 1.0, 1.0]
    assert F.cross_entropy(logits, y, torch.tensor(w).double()).isnan()  # the naive form
    for loss in (weighted_cross_entropy, partial(focal_loss, gamma=2.0)):
        slope = gradient(lambda z, loss=loss: loss(z, y, class_weight=w), logits)
        assert loss(logits, y, class_weight=w) == 0
        assert (slope == 0).all()


@given(seed=st.integers(0, 10**6), num_classes=st.integers(2, 12), size=st.integers(1, 30))
def test_a_class_that_is_not_in_the_batch_changes_nothing_by_its_weight(seed, num_classes, size):
    logits, y = batch(num_classes, size, seed=seed)
    y = y.clamp_max(num_classes - 2)
    w = weights(num_classes, seed)
    heavier = w.clone()
    heavier[-1] = 1e6
    for loss in (weighted_cross_entropy, partial(focal_loss, gamma=2.0)):
        assert loss(logits, y, class_weight=w) == loss(logits, y, class_weight=heavier)


def test_weights_may_be_a_list_or_whole_numbers_or_another_dtype():
    logits, y = batch(3, dtype=torch.float32)
    expected = F.cross_entropy(logits, y, torch.tensor([1.0, 2.0, 3.0]))
    for w in (
        [1, 2, 3],
        torch.tensor([1, 2, 3]),
        torch.tensor([1.0, 2.0, 3.0]).double(),
        np.array([1.0, 2, 3]),
    ):
        torch.testing.assert_close(weighted_cross_entropy(logits, y, w), expected)


# ---- focal loss --------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6),
    num_classes=st.integers(2, 100),
    gamma=st.floats(0, 6),
    weighted=st.booleans(),
)
def test_focal_is_its_formula(seed, num_classes, gamma, weighted):
    logits, y = batch(num_classes, seed=seed)
    w = weights(num_classes, seed) if weighted else torch.ones(num_classes, dtype=torch.float64)
    log_p = numpy_log_softmax(logits)[np.arange(len(y)), y.numpy()]
    expected = -w.numpy()[y] * (1 - np.exp(log_p)) ** gamma * log_p
    each = focal_loss(logits, y, gamma=gamma, class_weight=w if weighted else None, reduction="none")
    np.testing.assert_allclose(each.numpy(), expected, rtol=1e-9, atol=1e-12)
    mean = expected.sum() / w.numpy()[y].sum()
    np.testing.assert_allclose(
        focal_loss(logits, y, gamma=gamma, class_weight=w if weighted else None).item(),
        mean,
        rtol=1e-9,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        focal_loss(logits, y, gamma=gamma, class_weight=w if weighted else None, reduction="sum").item(),
        expected.sum(),
        rtol=1e-9,
        atol=1e-12,
    )


def test_focal_on_two_numbers():
    """p_true = 1/2 and 9/10 at gamma 2: (1/2)^2 log 2 and (1/10)^2 log(10/9)."""
    logits = torch.tensor([[0.0, 0.0], [0.0, np.log(9.0)]], dtype=torch.float64)
    each = focal_loss(logits, torch.tensor([0, 1]), reduction="none")
    torch.testing.assert_close(
        each, torch.tensor([0.25 * np.log(2), 0.01 * np.log(10 / 9)], dtype=torch.float64)
    )


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_weights_scale_the_loss_linearly(gamma):
    """At gamma 0 nobody could tell; at 2, p_true = exp(-weighted loss) is p**w, and bends the factor."""
    logits, y = batch(3)
    w = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    each = focal_loss(logits, y, gamma=gamma, class_weight=w, reduction="none")
    torch.testing.assert_close(each, w[y] * focal_loss(logits, y, gamma=gamma, reduction="none"))
    torch.testing.assert_close(
        focal_loss(logits, y, gamma=gamma, class_weight=3 * w, reduction="none"), 3 * each
    )
    weighted_ce = F.cross_entropy(logits, y, w, reduction="none")
    naive = (1 - torch.exp(-weighted_ce)) ** gamma * weighted_ce
    assert not torch.allclose(naive, w[y] * focal_loss(logits, y, gamma=gamma, reduction="none"), rtol=0.1)


def test_focal_of_the_mean_loss_points_where_cross_entropy_does():
    """One factor for the whole batch turns no gradient; the loss per example does."""
    logits, y = batch(3)
    plain = gradient(lambda z: F.cross_entropy(z, y), logits).flatten()

    def naive(z):
        mean = F.cross_entropy(z, y)
        return (1 - torch.exp(-mean)) ** 2 * mean

    def angle(loss):
        return F.cosine_similarity(gradient(loss, logits).flatten(), plain, dim=0).item()

    assert angle(naive) == pytest.approx(1, abs=1e-12)
    assert angle(lambda z: focal_loss(z, y)) < 0.999


def test_focal_without_a_class_factor_prioritises_no_class():
    """Renaming the classes changes nothing, until a class has a factor."""
    logits, y = batch(3)
    renamed = torch.tensor([2, 0, 1])
    turned = logits[:, renamed.argsort()]
    torch.testing.assert_close(focal_loss(turned, renamed[y]), focal_loss(logits, y))
    factor = [1.0, 1.0, 5.0]
    assert (
        abs(focal_loss(turned, renamed[y], class_weight=factor) - focal_loss(logits, y, class_weight=factor))
        > 0.01
    )


def test_focal_gives_a_mislabelled_example_a_larger_share_of_the_gradient():
    """It lifts what is hard; a wrong label on a clear case is the hardest of all."""
    logits = torch.tensor([[4.0, 0.0]] * 19 + [[4.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([0] * 19 + [1])

    def share_of_the_last(loss):
        size = gradient(lambda z: loss(z, y), logits).norm(dim=1)
        return (size[-1] / size.sum()).item()

    assert share_of_the_last(focal_loss) > 0.99 > 0.8 > share_of_the_last(F.cross_entropy)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 0.99, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("scale", [20.0, 100.0, 1e4, 1e30])
def test_focal_gradients_are_finite_when_saturated(scale, gamma, dtype):
    logits = torch.tensor([[scale, 0.0], [-scale, 0.0], [0.0, 0.0]], dtype=dtype, requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0, 0, 1]), gamma=gamma, reduction="none")
    slope = torch.autograd.grad(loss.sum(), logits)[0]
    assert torch.isfinite(loss).all() and torch.isfinite(slope).all()
    assert loss[1].item() == pytest.approx(scale)  # a hopeless example keeps its whole loss
    assert loss[0] <= 1e-6
    soft = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]], dtype=dtype)
    slope = torch.autograd.grad(focal_loss(logits, soft, gamma=gamma), logits)[0]
    assert torch.isfinite(slope).all()


def test_the_obvious_focal_loss_has_no_gradient_at_certainty():
    logits = torch.tensor([[200.0, 0.0]])

    def naive(z):
        p = torch.softmax(z, 1)[:, 0]
        return (-((1 - p) ** 0.5) * p.log()).mean()

    assert gradient(naive, logits).isnan().any()
    assert torch.isfinite(gradient(lambda z: focal_loss(z, torch.tensor([0]), gamma=0.5), logits)).all()


def test_focal_keeps_its_digits_near_certainty():
    """1 - p by expm1: at a gap of 12 plain float32 subtraction loses the factor's digits."""
    logits = torch.tensor([[12.0, 0.0]])
    exact = focal_loss(logits.double(), torch.tensor([0]), gamma=1.0).item()
    assert focal_loss(logits, torch.tensor([0]), gamma=1.0).item() == pytest.approx(exact, rel=0.05)
    log_p = torch.tensor([-1e-9])
    assert (1 - log_p.exp()).item() == 0 and (-torch.expm1(log_p)).item() == pytest.approx(1e-9)


@given(seed=st.integers(0, 10**6), gamma=st.floats(0.01, 5))
def test_focal_is_never_above_cross_entropy_and_falls_with_gamma(seed, gamma):
    logits, y = batch(5, seed=seed)
    plain = F.cross_entropy(logits, y, reduction="none")
    focal = focal_loss(logits, y, gamma=gamma, reduction="none")
    assert (focal <= plain + 1e-12).all() and (focal >= 0).all()
    assert (focal_loss(logits, y, gamma=gamma + 1, reduction="none") <= focal + 1e-12).all()


def test_focal_bends_probabilities_towards_the_middle():
    """The best constant prediction at 10 % prevalence is 10 % for cross-entropy, more for focal loss."""
    y = torch.tensor([0] * 9 + [1])
    share = torch.linspace(0.01, 0.6, 600, dtype=torch.float64)

    def best(loss):
        rows = [torch.stack([(1 - p).log(), p.log()]).expand(10, 2) for p in share]
        return share[torch.stack([loss(row, y) for row in rows]).argmin()].item()

    assert best(F.cross_entropy) == pytest.approx(0.1, abs=0.001)
    assert best(focal_loss) > 0.15


@pytest.mark.parametrize("soft", [False, True])
def test_focal_normalises_as_weighted_cross_entropy_does(soft):
    logits, y = batch(3)
    y = F.one_hot(y, 3).double() if soft else y
    w = weights(3)
    for normalise in losses.NORMALISATIONS:
        for reduction in REDUCTIONS:
            settings = {"class_weight": w, "normalise": normalise, "reduction": reduction}
            torch.testing.assert_close(
                focal_loss(logits, y, gamma=0, **settings), weighted_cross_entropy(logits, y, **settings)
            )
    by_count = focal_loss(logits, y, class_weight=w, normalise="batch_size")
    torch.testing.assert_close(by_count, focal_loss(logits, y, class_weight=w, reduction="sum") / len(y))
    torch.testing.assert_close(focal_loss(logits, y, normalise="batch_size"), focal_loss(logits, y))


def test_focal_takes_no_third_argument_by_position():
    """Elsewhere the third is a class weight; here it would be taken for gamma without a word."""
    logits, y = batch(3)
    with pytest.raises(TypeError, match="positional"):
        focal_loss(logits, y, 0.25)


# ---- one class before the others ---------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), num_classes=st.integers(2, 100))
def test_class_log_odds_are_those_of_the_softmax(seed, num_classes):
    logits, _ = batch(num_classes, seed=seed)
    k = seed % num_classes
    torch.testing.assert_close(class_log_odds(logits, k).sigmoid(), torch.softmax(logits, 1)[:, k])
    torch.testing.assert_close(class_log_odds(logits + 5, k), class_log_odds(logits, k))


def test_class_log_odds_of_two_classes_are_the_difference():
    logits, _ = batch(2)
    torch.testing.assert_close(class_log_odds(logits, 1), logits[:, 1] - logits[:, 0])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("num_classes", [2, 7])
def test_auxiliary_is_cross_entropy_plus_torchs_binary_loss_over_all_examples(num_classes, reduction):
    logits, y = batch(num_classes)
    k = num_classes - 1
    term = F.binary_cross_entropy_with_logits(
        class_log_odds(logits, k),
        (y == k).double(),
        pos_weight=torch.tensor(4.0).double(),
        reduction=reduction,
    )
    expected = F.cross_entropy(logits, y, reduction=reduction) + 0.5 * term
    ours = auxiliary_loss(logits, y, k, strength=0.5, pos_weight=4.0, reduction=reduction)
    torch.testing.assert_close(ours, expected)


def naive_auxiliary(logits, y):
    """Binary loss on the raw score of class 1, its own examples only."""
    own = (y == 1).nonzero().flatten()
    return F.binary_cross_entropy_with_logits(logits[own, 1], torch.ones(len(own), dtype=logits.dtype))


def test_a_term_on_the_raw_score_can_be_zeroed_by_shifting_all_scores():
    """The softmax does not see the shift, so the model's predictions need not change at all."""
    logits, y = batch(2)
    assert naive_auxiliary(logits, y) > 0.1
    assert naive_auxiliary(logits + 100, y) < 1e-12
    torch.testing.assert_close(F.cross_entropy(logits + 100, y), F.cross_entropy(logits, y))
    torch.testing.assert_close(auxiliary_loss(logits + 100, y, 1), auxiliary_loss(logits, y, 1))


def test_a_term_on_positives_only_costs_a_false_alarm_nothing():
    """Even on log-odds: flagging everyone is free, unless the others have their say."""
    _, y = batch(2)
    flag_all = torch.tensor([0.0, 50.0]).double().expand(len(y), 2)
    own = y == 1
    positives_only = F.binary_cross_entropy_with_logits(
        class_log_odds(flag_all, 1)[own], torch.ones(int(own.sum())).double()
    )
    assert positives_only < 1e-12
    term = auxiliary_loss(flag_all, y, 1) - F.cross_entropy(flag_all, y)
    assert term > 10


def test_a_batch_without_the_prioritised_class_has_a_finite_loss():
    logits, y = batch(2)
    y = torch.zeros_like(y)
    assert naive_auxiliary(logits, y).isnan()
    assert torch.isfinite(auxiliary_loss(logits, y, 1))
    assert torch.isfinite(gradient(lambda z: auxiliary_loss(z, y, 1), logits)).all()


def test_the_naive_auxiliary_criterion_has_nothing_to_learn():
    """A learning rate for it changes nothing: it has no parameters."""
    assert list(nn.BCEWithLogitsLoss().parameters()) == []


def test_auxiliary_raises_the_recall_of_its_class():
    """A linear network on two overlapping classes, 5 % of the second; the naive term against ours."""
    generator = torch.Generator().manual_seed(0)
    y = (torch.arange(2000) % 20 == 0).long()
    x = torch.randn(2000, 2, generator=generator) + 1.5 * y[:, None]

    def recall(loss):
        torch.manual_seed(0)
        model = nn.Linear(2, 2)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(150):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        return (model(x).argmax(1)[y == 1] == 1).float().mean().item()

    plain = recall(F.cross_entropy)
    naive = recall(lambda z, y: F.cross_entropy(z, y) + 0.5 * naive_auxiliary(z, y))
    ours = recall(lambda z, y: auxiliary_loss(z, y, 1, strength=0.5, pos_weight=19.0))
    assert naive < plain + 0.1
    assert ours > plain + 0.2


def test_prioritising_by_class_weight_through_focal_raises_that_class_s_share_of_the_gradient():
    logits, y = batch(3, size=60)

    def share(**settings):
        size = gradient(lambda z: focal_loss(z, y, **settings), logits).norm(dim=1)
        return (size[y == 2].sum() / size.sum()).item()

    assert share(class_weight=[1.0, 1.0, 5.0]) > share() + 0.2


# ---- shifted scores ----------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), num_classes=st.integers(2, 100), tau=st.floats(0, 3))
def test_logit_adjusted_is_its_formula(seed, num_classes, tau):
    logits, y = batch(num_classes, seed=seed)
    prior = weights(num_classes, seed)
    prior = prior / prior.sum()
    log_p = numpy_log_softmax(logits + tau * prior.log())
    np.testing.assert_allclose(
        logit_adjusted_loss(logits, y, prior, tau, "none").numpy(),
        -log_p[np.arange(len(y)), y.numpy()],
        rtol=1e-9,
        atol=1e-12,
    )


def test_balanced_softmax_learns_the_odds_without_the_prior():
    """One score per class and no input: the best plain logits are log prior, the best adjusted ones are equal."""
    y = torch.tensor([0] * 90 + [1] * 10)
    prior = torch.tensor([0.9, 0.1], dtype=torch.float64)

    def slope(z, loss):
        return gradient(lambda z: loss(z.expand(100, 2), y), z)

    torch.testing.assert_close(slope(prior.log(), F.cross_entropy), torch.zeros(2).double())
    equal = torch.zeros(2).double()
    torch.testing.assert_close(slope(equal, partial(logit_adjusted_loss, prior=prior)), equal)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tau", [0.0, 1.0, 2.0])
def test_a_class_with_prior_zero_leaves_the_loss_finite(tau, dtype):
    logits, y = batch(3, dtype=dtype)
    prior = [0.8, 0.2, 0.0]
    seen = y.clamp_max(1)
    loss = partial(logit_adjusted_loss, prior=prior, tau=tau)
    if tau > 0:
        unseen_left_out = logit_adjusted_loss(logits[:, :2], seen, prior[:2], tau)
        torch.testing.assert_close(loss(logits, seen), unseen_left_out)
        naive = F.cross_entropy(logits + tau * torch.tensor(prior, dtype=dtype).log(), torch.full_like(y, 2))
        assert naive.isinf()
    for labels in (seen, torch.full_like(y, 2)):
        assert torch.isfinite(loss(logits, labels))
        assert torch.isfinite(gradient(lambda z, labels=labels: loss(z, labels), logits)).all()


# ---- LDAM --------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6),
    counts=st.lists(st.integers(1, 10**6), min_size=2, max_size=100),
    max_margin=st.floats(0, 2),
    weighted=st.booleans(),
)
def test_ldam_is_its_formula(seed, counts, max_margin, weighted):
    logits, y = batch(len(counts), seed=seed, spread=0.3)
    w = weights(len(counts), seed) if weighted else None
    margin = 1 / np.array(counts) ** 0.25
    margin = margin * max_margin / margin.max()
    z = logits.numpy().copy()
    rows = np.arange(len(y))
    z[rows, y.numpy()] -= margin[y.numpy()]
    each = -numpy_log_softmax(torch.as_tensor(30 * z))[rows, y.numpy()]
    scale = np.ones(len(y)) if w is None else w.numpy()[y.numpy()]
    ours = partial(ldam_loss, logits, y, torch.tensor(counts).double(), max_margin, class_weight=w)
    np.testing.assert_allclose(ours(reduction="none").numpy(), scale * each, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours().item(), (scale * each).sum() / scale.sum(), rtol=1e-7, atol=1e-9)


def test_ldam_margins_fall_with_the_fourth_root_of_the_count():
    torch.testing.assert_close(ldam_margins([1, 16, 81]), torch.tensor([0.5, 0.25, 0.5 / 3]).double())
    torch.testing.assert_close(
        ldam_margins([160_000, 10_000], max_margin=1.0), torch.tensor([0.5, 1.0]).double()
    )


def test_ldam_margin_of_an_empty_class_is_the_largest_and_moves_no_other():
    torch.testing.assert_close(ldam_margins([0, 16, 256]), torch.tensor([0.5, 0.5, 0.25]).double())
    logits, y = batch(3, spread=0.3)
    assert torch.isfinite(ldam_loss(logits, y, [0, 16, 256]))


def test_ldam_asks_more_of_the_rare_class():
    logits = torch.zeros(2, 2)
    common, rare = ldam_loss(logits, torch.tensor([0, 1]), [10_000, 1], reduction="none")
    assert rare > common > F.cross_entropy(logits, torch.tensor([0, 1]))


def test_ldam_gradients_are_finite_when_saturated():
    logits = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) * 1e4
    slope = gradient(lambda z: ldam_loss(z, torch.tensor([0, 0]), [5, 1]), logits)
    assert torch.isfinite(slope).all()


def test_cosine_classifier_sees_directions_only():
    torch.manual_seed(0)
    head = CosineClassifier(5, 3).double()
    features = torch.randn(4, 5, dtype=torch.float64)
    expected = F.cosine_similarity(features[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(features), expected)
    torch.testing.assert_close(head(100 * features), expected)
    with torch.no_grad():
        head.weight[0] *= 100  # a longer weight vector wins nothing
    torch.testing.assert_close(head(features), expected)
    assert torch.autograd.gradcheck(head, features.requires_grad_())


def test_cosine_classifier_survives_dead_features():
    head = CosineClassifier(5, 3)
    features = torch.zeros(2, 5, requires_grad=True)
    out = head(features)
    out.sum().backward()
    assert (out == 0).all() and torch.isfinite(features.grad).all()


# ---- gradients, and what all losses share ------------------------------------------------------------------

ALL = {
    "weighted": partial(weighted_cross_entropy, class_weight=[1.0, 2.0, 0.5]),
    "weighted by batch": partial(
        weighted_cross_entropy, class_weight=[1.0, 2.0, 0.5], normalise="batch_size"
    ),
    "focal": partial(focal_loss, class_weight=[1.0, 2.0, 0.5]),
    "focal, gamma 0.5": partial(focal_loss, gamma=0.5),
    "focal, gamma 0": partial(focal_loss, gamma=0.0),
    "auxiliary": partial(auxiliary_loss, prioritised_class=1, strength=0.5, pos_weight=3.0),
    "logit adjusted": partial(logit_adjusted_loss, prior=[0.7, 0.2, 0.1], tau=1.5),
    "ldam": partial(ldam_loss, class_count=[100, 10, 1], scale=3.0),
    "ldam weighted": partial(ldam_loss, class_count=[100, 10, 1], scale=3.0, class_weight=[1.0, 2.0, 0.5]),
}


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_finite_differences(name):
    logits, y = batch(3, size=5, spread=1.0)
    logits.requires_grad_()
    for reduction in REDUCTIONS:
        assert torch.autograd.gradcheck(lambda z, r=reduction: ALL[name](z, y, reduction=r), logits)
    if "ldam" not in name:
        soft = torch.softmax(batch(3, size=5, seed=9)[0], 1)
        assert torch.autograd.gradcheck(lambda z: ALL[name](z, soft), logits)


@pytest.mark.parametrize("name", ALL)
def test_one_example_is_enough(name):
    logits, y = batch(3, size=1)
    assert torch.isfinite(ALL[name](logits, y))
    assert ALL[name](logits, y, reduction="none").shape == (1,)


@pytest.mark.parametrize("name", ALL)
def test_examples_do_not_see_each_other(name):
    logits, y = batch(3)
    each = ALL[name](logits, y, reduction="none")
    alone = torch.cat([ALL[name](logits[i : i + 1], y[i : i + 1], reduction="none") for i in range(len(y))])
    torch.testing.assert_close(each, alone)
    torch.testing.assert_close(ALL[name](logits, y, reduction="sum"), each.sum())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_loss_has_the_dtype_of_its_scores_and_leaves_its_arguments_alone(name, dtype):
    logits, y = batch(3, dtype=dtype)
    before = logits.clone(), y.clone()
    assert ALL[name](logits, y).dtype == dtype
    assert torch.equal(logits, before[0]) and torch.equal(y, before[1])


@pytest.mark.parametrize("name", ALL)
def test_a_step_on_an_accelerator_never_waits_for_a_number(name):
    """The meta device has shapes and no numbers: asking for one raises."""
    logits, y = torch.empty(6, 3, device="meta"), torch.empty(6, dtype=torch.int64, device="meta")
    with pytest.raises(RuntimeError):
        y.max().item()
    assert ALL[name](logits, y).shape == ()
    if "ldam" not in name:
        assert ALL[name](logits, torch.empty(6, 3, device="meta")).shape == ()


def test_no_argument_is_called_alpha():
    for function in vars(losses).values():
        if inspect.isfunction(function):
            assert "alpha" not in inspect.signature(function).parameters


# ---- bad input ---------------------------------------------------------------------------------------------

Z, Y = batch(3, size=4, dtype=torch.float32)[0], torch.tensor([0, 1, 2, 1])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("logits", "y", "error", "message"),
    [
        (Z, Y + 3, ValueError, r"targets must be 0\.\.2, got 5"),
        (
            Z,
            Y - 100,
            ValueError,
            r"targets must be 0\.\.K-1, got the negative label -100: .*drop these examples",
        ),
        (Z, Y[:3], ValueError, r"targets must hold one label per example, 4, got 3"),
        (Z, Y[:, None], ValueError, r"targets must be one label per example.*\(4, 1\): take its column"),
        (Z, F.one_hot(Y, 3), ValueError, r"targets must be one label .*\(4, 3\): of one-hot rows .*argmax"),
        (Z, Y + 0.5, TypeError, "targets must be whole numbers"),
        (Z, ["a", "b", "c", "b"], TypeError, "targets must be numbers.*encode them first"),
        (Z.long(), Y, TypeError, r"logits must be raw scores, floating point, got dtype torch.int64"),
        (Z[0], Y[:1], ValueError, r"logits must hold a score per class, shape \(N, K\).*got \(3,\)"),
        (Z[:, :1], Y * 0, ValueError, r"logits must hold a score per class.* K >= 2, got \(4, 1\): with z ="),
        (Z[:0], Y[:0], ValueError, r"logits must hold at least one example, got shape \(0, 3\)"),
        (Z[..., None], Y, ValueError, r"logits must hold a score per class.*got \(4, 3, 1\)"),
        (Z.to("meta"), Y, ValueError, r"targets must be on the device of logits, meta, got cpu: move it"),
    ],
)
def test_scores_and_labels_that_do_not_fit_are_refused(name, logits, y, error, message):
    with pytest.raises(error, match=message):
        ALL[name](logits, y)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("reduction", ["avg", "Mean", "", None])
def test_an_unknown_reduction_names_the_choices(name, reduction):
    with pytest.raises(ValueError, match=r"reduction must be one of \('none', 'mean', 'sum'\), got"):
        ALL[name](Z, Y, reduction=reduction)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"ldam", "ldam weighted"}))
@pytest.mark.parametrize(
    ("soft", "message"),
    [
        (torch.full((4, 2), 0.5), r"targets.*class probabilities \(4, 3\), got shape \(4, 2\)"),
        (torch.full((4, 3), 0.5), "targets must hold rows that sum to 1"),
        (torch.tensor([[2.0, -1.0, 0.0]] * 4), "targets must be finite and >= 0"),
        (torch.tensor([[float("nan"), 0.5, 0.5]] * 4), "targets must be finite and >= 0"),
    ],
)
def test_soft_targets_that_are_no_probabilities_are_refused(name, soft, message):
    with pytest.raises(ValueError, match=message):
        ALL[name](Z, soft)


def test_ldam_says_that_it_has_no_soft_form():
    with pytest.raises(TypeError, match="targets must be labels here, this loss has no soft form"):
        ldam_loss(Z, torch.full((4, 3), 1 / 3), [3, 2, 1])


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        *(
            (partial(loss, class_weight=w), ValueError, message)
            for loss in (weighted_cross_entropy, focal_loss, partial(ldam_loss, class_count=[3, 2, 1]))
            for w, message in [
                ([1.0, 2.0], r"class_weight must have shape \(3,\).*got \(2,\)"),
                ([[1.0, 2.0, 3.0]], r"class_weight must have shape \(3,\).*got \(1, 3\)"),
                ([1.0, NAN, 1.0], "class_weight must be finite and >= 0, got values from nan"),
                ([1.0, -2.0, 1.0], "class_weight must be finite and >= 0, got values from -2 to 1"),
                ([1.0, INF, 1.0], "class_weight must be finite and >= 0, got values from 1 to inf"),
            ]
        ),
        (
            partial(weighted_cross_entropy, class_weight=[1, 1, 1], normalise="batch"),
            ValueError,
            r"normalise must be one of \('weights', 'batch_size'\), got 'batch'",
        ),
        (partial(focal_loss, gamma=-0.1), ValueError, "gamma must be finite and >= 0, got -0.1"),
        (partial(focal_loss, gamma=NAN), ValueError, "gamma must be finite and >= 0, got nan"),
        (partial(focal_loss, gamma=INF), ValueError, "gamma must be finite and >= 0, got inf"),
        (partial(focal_loss, gamma="2"), TypeError, "gamma must be a number, got '2'"),
        (
            partial(auxiliary_loss, prioritised_class=3),
            ValueError,
            r"prioritised_class must be in 0\.\.2, got 3",
        ),
        (partial(auxiliary_loss, prioritised_class=-1), ValueError, r"prioritised_class must be in 0\.\.2"),
        (
            partial(auxiliary_loss, prioritised_class=0.5),
            TypeError,
            "prioritised_class must be a whole number",
        ),
        (
            partial(auxiliary_loss, prioritised_class=0, strength=-1),
            ValueError,
            "strength must be .* >= 0, got -1",
        ),
        (
            partial(auxiliary_loss, prioritised_class=0, pos_weight=0),
            ValueError,
            "pos_weight must be .* > 0, got 0",
        ),
        (
            partial(logit_adjusted_loss, prior=[0.5, 0.5]),
            ValueError,
            "prior must hold one share for each of the 3 classes, got 2",
        ),
        (
            partial(logit_adjusted_loss, prior=[0.5, 0.5, 0.5]),
            ValueError,
            "prior must sum to 1, got a sum of 1.5",
        ),
        (partial(logit_adjusted_loss, prior=[1.5, -0.5, 0]), ValueError, "prior must be finite and >= 0"),
        (
            partial(logit_adjusted_loss, prior=[1, 0, 0], tau=-1),
            ValueError,
            "tau must be finite and >= 0",
        ),
        (partial(ldam_loss, class_count=[3, 2]), ValueError, r"class_count must have shape \(3,\)"),
        (
            partial(ldam_loss, class_count=[[3, 2, 1]]),
            ValueError,
            r"class_count must have shape \(3,\), got \(1, 3\)",
        ),
        (partial(ldam_loss, class_count=[0, 0, 0]), ValueError, "class_count must hold at least one example"),
        (partial(ldam_loss, class_count=[3, -2, 1]), ValueError, "class_count must be finite and >= 0"),
        (
            partial(ldam_loss, class_count=[3, 2, 1], max_margin=-1),
            ValueError,
            "max_margin must be .* >= 0, got -1",
        ),
        (
            partial(ldam_loss, class_count=[3, 2, 1], scale=0),
            ValueError,
            "scale must be finite and > 0, got 0",
        ),
    ],
)
def test_settings_out_of_range_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call(Z, Y)


def test_class_log_odds_need_a_rest():
    with pytest.raises(ValueError, match=r"K >= 2, got \(4, 1\)"):
        class_log_odds(Z[:, :1], 0)


@pytest.mark.parametrize("sizes", [(0, 3), (5, 0)])
def test_cosine_classifier_refuses_empty_layers(sizes):
    with pytest.raises(ValueError, match=r"(in_features|num_classes) must be >= 1, got 0"):
        CosineClassifier(*sizes)


def test_a_scaled_cosine_head_with_a_scaled_margin_is_ldam():
    torch.manual_seed(0)
    head, features, targets = CosineClassifier(5, 3), torch.randn(8, 5), torch.randint(3, (8,))
    scaled = CosineClassifier(5, 3, scale=30.0)
    scaled.weight = head.weight
    counts = torch.tensor([50, 10, 2])
    torch.testing.assert_close(
        ldam_loss(scaled(features), targets, counts, max_margin=15.0, scale=1.0),
        ldam_loss(head(features), targets, counts, max_margin=0.5, scale=30.0),
    )


# ---- small promises that a changed line would break ---------------------------------------------------------


def test_the_first_label_beyond_the_last_class_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^targets must"):
        losses.focal_loss(torch.zeros(2, 3), torch.tensor([0, 3]))


def test_weights_in_a_list_keep_their_digits():
    logits, targets = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([1])
    loss = losses.weighted_cross_entropy(logits, targets, [1.0, 0.1], normalise="batch_size")
    assert loss.item() == pytest.approx(0.1 * torch.tensor(2.0, dtype=torch.float64).log().item(), rel=1e-15)


def test_defaults_are_those_of_the_docstring():
    torch.manual_seed(0)
    logits, targets, counts = torch.randn(6, 3), torch.randint(3, (6,)), torch.tensor([9, 3, 1])
    torch.testing.assert_close(
        losses.auxiliary_loss(logits, targets, 1),
        losses.auxiliary_loss(logits, targets, 1, strength=1.0, pos_weight=1.0),
    )
    torch.testing.assert_close(
        ldam_loss(logits, targets, counts), ldam_loss(logits, targets, counts, max_margin=0.5, scale=30.0)
    )


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_cosine_head_names_a_scale_that_is_none(scale):
    with pytest.raises(ValueError, match=r"^scale must"):
        CosineClassifier(4, 2, scale=scale)


def test_a_cosine_head_may_have_one_feature_and_one_class():
    assert CosineClassifier(1, 1)(torch.ones(2, 1)).shape == (2, 1)


def test_margins_of_whole_counts_are_those_of_the_same_numbers_as_floats():
    whole = losses.ldam_margins(torch.tensor([16, 1]))
    torch.testing.assert_close(whole, losses.ldam_margins(torch.tensor([16.0, 1.0])))
    torch.testing.assert_close(whole, torch.tensor([0.25, 0.5]).double())


# ---- half precision ----------------------------------------------------------------------------------------

HALF = (torch.float16, torch.bfloat16)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", HALF)
def test_scores_in_half_precision_give_the_loss_of_the_same_scores_in_float32(name, dtype):
    logits, y = batch(3, dtype=torch.float32)
    logits = logits.to(dtype)
    settings = [y] if "ldam" in name else [y, torch.softmax(batch(3, seed=9, dtype=torch.float32)[0], 1)]
    for targets in settings:
        loss = partial(ALL[name], targets=targets)
        assert loss(logits).dtype == torch.float32
        assert torch.equal(loss(logits), loss(logits.float()))
        slope = gradient(loss, logits)
        assert slope.dtype == dtype
        torch.testing.assert_close(slope, gradient(loss, logits.float()).to(dtype))


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("loss", [weighted_cross_entropy, focal_loss, partial(ldam_loss, class_count=[9, 1])])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_sum_of_weights_beyond_half_precision_loses_no_loss(loss, dtype, autocast):
    """50 * 2,048 is above 65,504, the largest float16: the loss was divided by infinity."""
    features = torch.randn(2048, 4, generator=torch.Generator().manual_seed(0))
    head, y = nn.Linear(4, 2), torch.ones(2048, dtype=torch.int64)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=autocast):
        logits = head(features).to(dtype)
        heavy = loss(logits, y, class_weight=[1.0, 50.0])
    torch.testing.assert_close(heavy, loss(logits.float(), y, class_weight=[1.0, 1.0]))
    assert heavy > 0.1


@pytest.mark.parametrize("dtype", [*HALF, *DTYPES])
@pytest.mark.parametrize("soft", [False, True])
def test_a_batch_without_weight_has_loss_zero_in_every_precision(dtype, soft):
    logits, y = batch(3, dtype=dtype)
    y = torch.zeros_like(y)
    y = F.one_hot(y, 3).to(dtype) if soft else y
    weighted = [weighted_cross_entropy, focal_loss] + (
        [] if soft else [partial(ldam_loss, class_count=[3, 2, 1])]
    )
    for loss in weighted:
        weightless = partial(loss, targets=y, class_weight=[0.0, 1.0, 1.0])
        assert weightless(logits) == 0
        assert (gradient(weightless, logits) == 0).all()


@pytest.mark.parametrize("dtype", HALF)
def test_a_long_tail_of_a_thousand_classes_keeps_its_priors_in_half_precision(dtype):
    """Shares down to one in a billion, which are 0 in float16."""
    prior = torch.logspace(0, -9, 1000, dtype=torch.float64)
    prior = prior / prior.sum()
    logits, y = batch(1000, size=8, dtype=torch.float64)
    logits, y = logits.to(dtype), torch.tensor([0, 1, 10, 500, 900, 997, 998, 999])
    expected = F.cross_entropy(logits.double() + prior.log(), y, reduction="none")
    for shares in (prior, prior.tolist(), prior.float()):
        each = logit_adjusted_loss(logits, y, shares, reduction="none")
        torch.testing.assert_close(each.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_uniform_prior_over_61_classes_in_bfloat16_is_a_prior():
    """Its rounded sum is .996."""
    prior = torch.full((61,), 1 / 61, dtype=torch.bfloat16)
    logits, y = batch(61, dtype=torch.float32)
    torch.testing.assert_close(logit_adjusted_loss(logits, y, prior), F.cross_entropy(logits, y))


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("autocast", [False, True])
def test_a_cosine_head_survives_dead_features_in_half_precision(dtype, autocast):
    head = CosineClassifier(5, 3)
    features = torch.zeros(2, 5, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype, enabled=autocast):
        out = (head if autocast else head.to(dtype))(features)
    out.float().sum().backward()
    assert (out == 0).all() and torch.isfinite(features.grad).all()


# ---- what people bring -------------------------------------------------------------------------------------

BROUGHT = {
    "list": [0, 2, 1, 1],
    "array": np.array([0, 2, 1, 1]),
    "int32": torch.tensor([0, 2, 1, 1], dtype=torch.int32),
    "uint8": np.array([0, 2, 1, 1], dtype=np.uint8),
    "whole floats": torch.tensor([0.0, 2.0, 1.0, 1.0]),
    "Series after a split": pd.Series([0, 2, 1, 1], index=[5, 3, 9, 7]),
    "nullable": pd.Series([0, 2, 1, 1], dtype="Int64"),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("y", BROUGHT.values(), ids=BROUGHT)
def test_labels_however_brought_give_the_same_loss(name, y):
    assert torch.equal(ALL[name](Z, y), ALL[name](Z, torch.tensor([0, 2, 1, 1])))


def test_soft_targets_may_come_as_a_list():
    soft = torch.softmax(batch(3, size=4, seed=9)[0], 1)
    torch.testing.assert_close(
        focal_loss(Z.double(), soft.tolist()), focal_loss(Z.double(), soft), rtol=1e-12, atol=0
    )


def test_value_counts_swap_no_weight_no_prior_and_no_margin():
    y = pd.Series([1] * 6 + [2] * 3 + [0])  # in the order of frequency: 1, 2, 0
    counts, shares = y.value_counts(), y.value_counts(normalize=True)
    assert ldam_loss(Z, Y, counts) == ldam_loss(Z, Y, [1, 6, 3])
    assert logit_adjusted_loss(Z, Y, shares) == logit_adjusted_loss(Z, Y, [0.1, 0.6, 0.3])
    for loss in (weighted_cross_entropy, focal_loss):
        assert loss(Z, Y, class_weight=1 / counts) == loss(Z, Y, class_weight=[1.0, 1 / 6, 1 / 3])
    assert weighted_cross_entropy(Z, Y, {1: 6, 2: 3, 0: 1}) == weighted_cross_entropy(Z, Y, [1, 6, 3])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("masked", [0, 1, 2])
@pytest.mark.parametrize("soft", [False, True])
def test_a_masked_class_leaves_loss_and_gradient_finite(name, masked, soft):
    """Its score is -inf in every row and no target names it; whatever its place, prioritised or not."""
    if soft and "ldam" in name:
        pytest.skip("no soft form")
    logits, _ = batch(3)
    logits[:, masked] = -torch.inf
    first, second = (k for k in range(3) if k != masked)
    y = torch.where(torch.arange(len(logits)) % 2 == 0, first, second)
    targets = 0.7 * F.one_hot(y, 3).double() + 0.3 * F.one_hot(y.flip(0), 3).double() if soft else y
    slope = gradient(lambda z: ALL[name](z, targets), logits)
    assert torch.isfinite(ALL[name](logits, targets)) and torch.isfinite(slope).all()
    assert (slope[:, masked] == 0).all()
    low = logits.clone()
    low[:, masked] = -1e3
    torch.testing.assert_close(ALL[name](logits, targets), ALL[name](low, targets))


@pytest.mark.parametrize("name", ALL)
def test_probabilities_in_place_of_scores_bring_a_warning(name):
    with pytest.warns(UserWarning, match="logits look like probabilities"):
        ALL[name](Z.softmax(1), Y)
