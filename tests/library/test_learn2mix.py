"""learn2mix: the update, its limits, and the proposition where its conditions hold and where they do not."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from course_lib.data import gaussian_classes
from course_lib.learn2mix import Learn2Mix
from course_lib.priors import class_prior
from course_lib.sampling import ClassMixBatchSampler
from course_lib.training import SplitLoader, fit

NAN, INF = float("nan"), float("inf")
PRIOR = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)


def tensor(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


loss_values = st.one_of(st.just(0.0), st.floats(1e-12, 1e12), st.sampled_from([1.0, 5e-324, 1e308]))
rates = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 1.0]))


@st.composite
def simplexes(draw, min_classes: int = 1, max_classes: int = 8, absent: bool = True):
    """Class shares, some of them 0 unless `absent` is false."""
    share = st.one_of(st.just(0.0), st.floats(1e-6, 1)) if absent else st.floats(1e-6, 1)
    raw = draw(st.lists(share, min_size=min_classes, max_size=max_classes).filter(any))
    mix = torch.tensor(raw, dtype=torch.float64)
    return mix / mix.sum()


def one_step(mix, rate, loss):
    """The formula of the paper, number by number, with exact sums."""
    total = math.fsum(loss)
    return [a + rate * (value / total - a) for a, value in zip(mix, loss, strict=True)]


# ---- the update ---------------------------------------------------------------------------------------------


@given(st.data())
def test_learn2mix_stays_on_the_simplex(data):
    prior = data.draw(simplexes())
    K, present = len(prior), prior > 0
    floor = data.draw(st.floats(0, 1)) / int(present.sum())
    control = Learn2Mix(prior, data.draw(rates), floor=floor, smoothing=data.draw(st.floats(0, 0.99)))
    for _ in range(data.draw(st.integers(1, 8))):
        loss = data.draw(st.lists(loss_values, min_size=K, max_size=K))
        count = data.draw(st.lists(st.integers(0, 5), min_size=K, max_size=K))
        mix = control.update(loss, count)
        assert mix.dtype == torch.float64 and torch.isfinite(mix).all()
        assert (mix >= 0).all() and abs(mix.sum() - 1) < 1e-12
        assert (mix[~present] == 0).all(), "a class without training examples keeps share 0"


@given(simplexes(), rates)
def test_learn2mix_rests_when_shares_match_losses(prior, rate):
    control = Learn2Mix(prior, rate)
    for scale in (1.0, 7.0, 1e-9):
        assert torch.allclose(control.update(scale * prior), prior, rtol=0, atol=1e-14)


@given(st.data())
def test_one_step_is_the_formula(data):
    prior = data.draw(simplexes(absent=False))
    loss = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=len(prior), max_size=len(prior)))
    rate = data.draw(rates)
    mix = Learn2Mix(prior, rate).update(loss)
    assert torch.allclose(mix, tensor(*one_step(prior.tolist(), rate, loss)), rtol=0, atol=1e-14)


def test_one_step_by_hand():
    assert Learn2Mix([0.8, 0.2], 0.5).update([0.1, 0.3]).tolist() == pytest.approx([0.525, 0.475])


def test_ten_steps_are_the_formula_ten_times():
    control, mix = Learn2Mix(PRIOR, 0.3), PRIOR.tolist()
    for step in range(10):
        loss = [1.0 + step, 2.0, 0.5 * step + 0.1]
        mix = one_step(mix, 0.3, loss)
        assert control.update(loss).tolist() == pytest.approx(mix, abs=1e-14)


@given(simplexes(), st.lists(loss_values, min_size=8, max_size=8))
def test_mixing_rate_zero_keeps_the_prior_bit_for_bit(prior, loss):
    control = Learn2Mix(prior, 0.0)
    for _ in range(3):
        assert torch.equal(control.update(loss[: len(prior)]), prior)


def test_mixing_rate_one_follows_the_losses():
    control = Learn2Mix(PRIOR, 1.0)
    for loss in ([1.0, 2.0, 5.0], [3.0, 0.0, 1.0]):
        assert torch.allclose(control.update(loss), tensor(*loss) / sum(loss), atol=1e-15)


def test_update_takes_lists_and_float32_and_carries_no_gradient():
    expected = Learn2Mix(PRIOR).update([1.0, 2.0, 3.0])
    loss = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    mix = Learn2Mix(PRIOR).update(loss)
    assert torch.equal(mix, expected) and not mix.requires_grad


@given(st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3), st.floats(1e-200, 1e200))
def test_scale_of_the_losses_does_not_matter(loss, scale):
    scaled = Learn2Mix(PRIOR, 0.4).update([scale * value for value in loss])
    assert torch.allclose(scaled, Learn2Mix(PRIOR, 0.4).update(loss), atol=1e-12)


def test_huge_losses_do_not_overflow_and_tiny_ones_do_not_vanish():
    assert Learn2Mix([0.5, 0.5], 1.0).update([1.7e308, 1.7e308]).tolist() == [0.5, 0.5]
    assert Learn2Mix([0.5, 0.5], 1.0).update([1.7e308, 0.0]).tolist() == [1.0, 0.0]
    assert Learn2Mix([0.5, 0.5], 1.0).update([5e-324, 5e-324]).tolist() == [0.5, 0.5]


def test_all_zeros_change_nothing():
    control = Learn2Mix(PRIOR, 0.5)
    assert torch.equal(control.update([0.0, 0.0, 0.0]), PRIOR)
    moved = control.update([1.0, 2.0, 3.0])
    assert torch.equal(control.update([0.0, 0.0, 0.0]), moved)


def test_one_class_keeps_share_one():
    assert Learn2Mix([1.0], 0.3).update([4.2]).tolist() == [1.0]


# ---- classes that were not met ------------------------------------------------------------------------------


def test_class_not_met_keeps_its_latest_loss():
    control, twin = Learn2Mix(PRIOR, 0.5), Learn2Mix(PRIOR, 0.5)
    control.update([1.0, 2.0, 3.0])
    twin.update([1.0, 2.0, 3.0])
    assert torch.equal(control.update([1.5, 2.5, NAN], [70, 20, 0]), twin.update([1.5, 2.5, 3.0]))
    assert torch.equal(control.update([1.0, 99.0, 1.0], [70, 0, 20]), twin.update([1.0, 2.5, 1.0]))


def test_class_never_met_takes_the_mean_of_those_seen():
    mix = Learn2Mix(PRIOR, 0.5).update([1.0, 3.0, NAN], [70, 20, 0])
    assert mix.tolist() == pytest.approx(one_step(PRIOR.tolist(), 0.5, [1.0, 3.0, 2.0]))


def test_nothing_met_at_all_changes_nothing():
    assert torch.equal(Learn2Mix(PRIOR, 0.5).update([NAN, NAN, NAN], [0, 0, 0]), PRIOR)


def test_class_without_examples_keeps_share_zero_whatever_its_loss():
    control = Learn2Mix([0.7, 0.0, 0.3], 0.5, floor=0.1)
    for loss in ([1.0, NAN, 3.0], [1.0, 1e9, 3.0], [1.0, -1.0, 3.0]):
        mix = control.update(loss)
        assert mix[1] == 0 and abs(mix.sum() - 1) < 1e-15


def test_mean_of_those_seen_leaves_out_the_class_without_examples():
    mix = Learn2Mix([0.5, 0.0, 0.5], 1.0).update([4.0, 1000.0, NAN], [5, 5, 0])
    assert mix.tolist() == [0.5, 0.0, 0.5]


# ---- floor and smoothing ------------------------------------------------------------------------------------


@given(simplexes(), st.floats(0.01, 1), st.lists(loss_values, min_size=8, max_size=8), rates.filter(bool))
def test_floor_holds_for_every_class_with_examples(prior, part, loss, rate):
    present = prior > 0
    floor = part / int(present.sum())
    loss = loss[: len(prior)]
    assume(max(value for value, there in zip(loss, present, strict=True) if there) > 0)
    mix = Learn2Mix(prior, rate, floor=floor).update(loss)
    assert (mix[present] >= floor).all()
    assert abs(mix.sum() - 1) < 1e-12


def test_floor_shrinks_the_others_in_proportion_to_what_they_have_above_it():
    mix = Learn2Mix([1 / 3] * 3, 1.0, floor=0.1).update([0.0, 1.0, 3.0])
    assert mix.tolist() == pytest.approx([0.1, 0.1 + 0.7 * 0.15 / 0.8, 0.1 + 0.7 * 0.65 / 0.8])


def test_largest_floor_is_the_uniform_mix():
    assert Learn2Mix(PRIOR, 0.5, floor=1 / 3).update([1.0, 5.0, 9.0]).tolist() == pytest.approx([1 / 3] * 3)


def test_without_floor_a_class_of_share_and_loss_zero_never_comes_back_and_with_one_it_does():
    def later(floor):
        control = Learn2Mix([0.5, 0.5], 1.0, floor=floor)
        mix = control.update([1.0, 0.0])
        for _ in range(3):  # a class without a share is not met; met again, its loss has risen
            mix = control.update([1.0, 1.0], [10, int(10 * mix[1])])
        return mix[1].item()

    assert later(0.0) == 0.0
    assert later(0.1) == pytest.approx(0.5)


def test_smoothing_follows_an_average_of_old_and_new_losses():
    control = Learn2Mix([0.5, 0.5], 1.0, smoothing=0.75)
    assert control.update([1.0, 1.0]).tolist() == [0.5, 0.5]
    assert control.update([1.0, 9.0]).tolist() == pytest.approx([0.25, 0.75])  # 0.75 * 1 + 0.25 * 9 = 3
    assert control.update([1.0, NAN], [5, 0]).tolist() == pytest.approx([0.25, 0.75])


# ---- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "count"),
    [
        ([NAN, 1.0, 1.0], None),
        ([1.0, INF, 1.0], None),
        ([1.0, 1.0, -1e-9], None),
        ([1.0, NAN, 1.0], [5, 5, 0]),
        ([1.0, 1.0], None),
        ([[1.0, 1.0, 1.0]], None),
        (1.0, None),
        ([1.0, 1.0, 1.0], [5, 5]),
        ([1.0, 1.0, 1.0], [5, 5, -1]),
        ([1.0, 1.0, 1.0], [5, 5, NAN]),
    ],
)
def test_bad_losses_raise_and_change_nothing(loss, count):
    control, twin = (Learn2Mix(PRIOR, 0.5, smoothing=0.5) for _ in range(2))
    control.update([1.0, 2.0, 3.0])
    twin.update([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"class_loss|class_count"):
        control.update(loss, count)
    assert torch.equal(control.mix, twin.mix)
    assert torch.equal(control.update([3.0, 1.0, NAN], [5, 5, 0]), twin.update([3.0, 1.0, NAN], [5, 5, 0]))


def test_bad_loss_names_the_class():
    with pytest.raises(ValueError, match=r"got \[nan, -2.0\] for class \[0, 2\]"):
        Learn2Mix(PRIOR).update([NAN, 1.0, -2.0])


@pytest.mark.parametrize("prior", [[0.5, 0.6], [-0.5, 1.5], [NAN, 1.0], [], [[0.5, 0.5]], 1.0])
def test_prior_off_the_simplex_raises(prior):
    with pytest.raises(ValueError, match="prior"):
        Learn2Mix(prior)


@pytest.mark.parametrize(
    ("name", "value"),
    [("mixing_rate", -0.1), ("mixing_rate", 1.1), ("mixing_rate", NAN), ("floor", -0.1), ("floor", 0.34),
     ("floor", NAN), ("smoothing", 1.0), ("smoothing", -0.1), ("smoothing", NAN)],
)  # fmt: skip
def test_option_out_of_range_raises(name, value):
    with pytest.raises(ValueError, match=name):
        Learn2Mix(PRIOR, **{name: value})


def test_mixing_rate_can_be_changed_and_stays_checked():
    control = Learn2Mix(PRIOR, 0.1)
    control.mixing_rate = 1
    with pytest.raises(ValueError, match="mixing_rate"):
        control.mixing_rate = 2
    assert control.mixing_rate == 1.0
    assert control.update([1.0, 1.0, 2.0]).tolist() == [0.25, 0.25, 0.5]


def test_callers_tensors_and_ours_are_separate():
    prior, loss = tensor(0.5, 0.5), tensor(1.0, 3.0)
    control = Learn2Mix(prior, 1.0)
    mix = control.update(loss)
    prior.zero_(), loss.zero_(), mix.zero_(), control.mix.zero_()
    assert control.update([NAN, NAN], [0, 0]).tolist() == [0.25, 0.75]


# ---- saved state --------------------------------------------------------------------------------------------


def test_saved_state_continues_the_same_path():
    control = Learn2Mix(PRIOR, 0.3, floor=0.05, smoothing=0.5)
    control.update([1.0, 2.0, NAN], [5, 5, 0])
    control.mixing_rate = 0.2
    other = Learn2Mix([0.2, 0.2, 0.6], 0.9, floor=0.05, smoothing=0.5)
    state = control.state_dict()
    other.load_state_dict(state)
    for loss, count in (([2.0, 1.0, NAN], [1, 1, 0]), ([2.0, 1.0, 5.0], None), ([NAN, 1.0, 4.0], [0, 1, 1])):
        assert torch.equal(other.update(loss, count), control.update(loss, count))
    assert not torch.equal(state["mix"], control.mix), "a state is a copy"


@pytest.mark.parametrize(
    "change",
    [
        {"mix": tensor(0.5, 0.5)},
        {"mix": tensor(0.5, 0.5, 0.5)},
        {"mix": torch.full((2, 3), 1 / 3)},
        {"loss": tensor(1.0, 1.0)},
        {"mixing_rate": 2.0},
    ],
)
def test_state_of_other_classes_raises_and_changes_nothing(change):
    control, twin = Learn2Mix(PRIOR, 0.3), Learn2Mix(PRIOR, 0.3)
    with pytest.raises(ValueError, match=r"state|mix"):
        control.load_state_dict(Learn2Mix([0.1, 0.1, 0.8]).state_dict() | change)
    assert torch.equal(control.update([1.0, 2.0, NAN], [1, 1, 0]), twin.update([1.0, 2.0, NAN], [1, 1, 0]))


# ---- in training --------------------------------------------------------------------------------------------


def trained(mixing_rate: float | None, rounds: int = 4):
    """Weights after some rounds, and the mixes used; None trains without learn2mix."""
    task = gaussian_classes((0.8, 0.15, 0.05), num_train=400, num_held=100, seed=3)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    prior = class_prior(task.train.y, 3)
    sampler = ClassMixBatchSampler(task.train.y, 20, prior, seed=1)
    mixes = []

    def feedback(stats):
        if mixing_rate is not None:
            sampler.set_mix(control.update(stats.class_loss, stats.class_count))
        mixes.append(sampler.mix)

    if mixing_rate is not None:
        control = Learn2Mix(prior, mixing_rate)
    fit(
        model, SplitLoader(task.train, sampler), F.cross_entropy, torch.optim.Adam(model.parameters(), 0.01),
        rounds=rounds, num_groups=3, on_round_end=feedback,
    )  # fmt: skip
    return nn.utils.parameters_to_vector(model.parameters()), torch.stack(mixes)


def test_mixing_rate_zero_is_plain_training_bit_for_bit():
    plain, _ = trained(None)
    resting, mixes = trained(0.0)
    moving, _ = trained(0.3)
    assert torch.equal(plain, resting) and not torch.equal(plain, moving)
    assert (mixes == mixes[0]).all()


def test_rare_hard_class_gets_a_growing_share():
    _, mixes = trained(0.2, rounds=6)
    assert mixes[-1, 2] > 3 * 0.05


# ---- the proposition ----------------------------------------------------------------------------------------


def on_quadratics(curvature, minimiser, least, *, rounds, step, rate, prior):
    """Full-gradient steps on sum_k mix_k L_k with L_k = h_k/2 |theta - m_k|^2 + c_k; a step and an update a round."""
    curvature, minimiser, least = (
        tensor(*curvature),
        torch.tensor(minimiser, dtype=torch.float64),
        tensor(*least),
    )
    theta = torch.full_like(minimiser[0], 5.0)
    control = Learn2Mix(prior, rate)
    for _ in range(rounds):
        gap = theta - minimiser
        loss = curvature / 2 * gap.square().sum(1) + least
        theta = theta - step * ((control.mix * curvature)[:, None] * gap).sum(0)
        control.update(loss)
    return theta, control.mix


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.99])
@pytest.mark.parametrize("step", [0.1, 0.49])
def test_with_a_shared_minimiser_parameters_and_mix_reach_the_limits_of_the_proposition(rate, step):
    """Step sizes up to 2 / L* = 0.5, mixing rates in (0, 1): theta -> theta*, mix -> L(theta*) / sum L(theta*)."""
    shared, least = [1.0, -2.0], (0.1, 0.3, 0.6)
    theta, mix = on_quadratics(
        (0.5, 1.0, 4.0), [shared] * 3, least, rounds=1500, step=step, rate=rate, prior=PRIOR
    )  # fmt: skip
    assert torch.allclose(theta, tensor(*shared), rtol=0, atol=1e-12)
    assert torch.allclose(mix, tensor(*least) / sum(least), rtol=0, atol=1e-12)


def test_with_different_minimisers_learn2mix_settles_elsewhere():
    """Another fixed point than plain training's: better for the worst class, worse for the prior-weighted loss."""
    h, minimiser, least, prior = (1.0, 1.0), [[0.0], [2.0]], (0.1, 0.1), [0.9, 0.1]
    theta, mix = on_quadratics(h, minimiser, least, rounds=1500, step=0.2, rate=0.1, prior=prior)
    plain, _ = on_quadratics(h, minimiser, least, rounds=1500, step=0.2, rate=0.0, prior=prior)

    def losses(at):
        return torch.stack([(at[0] - m[0]) ** 2 / 2 + c for m, c in zip(minimiser, least, strict=True)])

    assert plain.item() == pytest.approx(0.2), "the prior-weighted mean of the minimisers"
    # At rest the gradient of the mixed loss vanishes and the mix equals the normalised losses.
    assert theta.item() == pytest.approx((mix[1] * 2.0).item(), abs=1e-9)
    assert torch.allclose(mix, losses(theta) / losses(theta).sum(), atol=1e-9)
    assert abs(theta.item() - plain.item()) > 0.5
    assert losses(theta).max() < losses(plain).max()
    assert tensor(*prior) @ losses(theta) > tensor(*prior) @ losses(plain)


def test_where_all_least_losses_are_zero_the_mix_still_stays_on_the_simplex():
    _, mix = on_quadratics(
        (1.0, 3.0), [[0.5]] * 2, (0.0, 0.0), rounds=2000, step=0.3, rate=0.1, prior=[0.9, 0.1]
    )
    assert torch.isfinite(mix).all() and abs(mix.sum() - 1) < 1e-12


def test_the_highest_floor_keeps_the_mix_uniform():
    """At 1/K nothing is left to share out, also where that makes every share sit exactly on the floor."""
    control = Learn2Mix(torch.full((4,), 0.25, dtype=torch.float64), mixing_rate=1.0, floor=0.25)
    assert torch.equal(control.update([1.0, 1.0, 1.0, 1.0]), torch.full((4,), 0.25, dtype=torch.float64))
    torch.testing.assert_close(
        control.update([9.0, 1.0, 1.0, 1.0]), torch.full((4,), 0.25, dtype=torch.float64)
    )


def test_messages_name_the_argument_and_its_range():
    with pytest.raises(ValueError, match=r"floor must lie in \[0, 0\.25\], got 0\.3"):
        Learn2Mix([0.25] * 4, floor=0.3)
    with pytest.raises(ValueError, match=r"^prior must sum to 1"):
        Learn2Mix([0.5, 0.6])
