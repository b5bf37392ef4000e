"""Batches with a chosen class mix, and batches drawn example by example: what both engines promise."""

import copy
import io
import json
import pickle
import random

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import skorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from course_lib.priors import class_prior, inverse_frequency_weights
from course_lib.sampling import (
    ORDERS,
    ClassMixBatchSampler,
    ExampleBatchSampler,
    Rows,
    alternating_mix,
    class_order,
    split_counts,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels_of(*counts: int, seed: int = 0) -> torch.Tensor:
    """`counts[k]` labels k, in random order."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=generator(seed))]


def long_tail(num_classes: int, ratio: float) -> torch.Tensor:
    shares = ratio ** -torch.linspace(0, 1, num_classes, dtype=torch.float64)
    return shares / shares.sum()


def batches_of(sampler, passes: int = 1) -> list[list[int]]:
    return [list(rows) for _ in range(passes) for rows in sampler]


def drawn_by(sampler, passes: int = 1) -> torch.Tensor:
    """All row numbers in the order of drawing."""
    return torch.cat([rows.tensor for _ in range(passes) for rows in sampler])


@st.composite
def mixes(draw, max_classes: int = 12, rows: int | None = None):
    """Shares on the simplex, many of them 0 or tiny."""
    K = draw(st.integers(1, max_classes))
    share = st.one_of(st.just(0.0), st.floats(1e-9, 1.0), st.sampled_from([1.0, 0.5, 1 / 3, 0.1, 1e-6]))
    raw = draw(
        st.lists(st.lists(share, min_size=K, max_size=K).filter(any), min_size=rows or 1, max_size=rows or 1)
    )
    mix = torch.tensor(raw, dtype=torch.float64)
    mix = mix / mix.sum(1, keepdim=True)
    return mix if rows else mix[0]


# ---- whole numbers that follow a mix ------------------------------------------------------------------------


@given(mixes(), st.integers(1, 300), st.integers(0, 2**32))
def test_counts_sum_exactly_stay_within_one_and_spare_share_zero(mix, batch_size, seed):
    counts = split_counts(batch_size, mix, generator(seed), 50)
    assert counts.dtype == torch.int64 and counts.shape == (50, len(mix))
    assert (counts.sum(1) == batch_size).all()
    assert (counts >= 0).all()
    assert ((counts - batch_size * mix).abs() < 1 + 1e-9).all()
    assert (counts[:, mix == 0] == 0).all()


@pytest.mark.parametrize("batch_size", [1, 7, 32, 1000])
@pytest.mark.parametrize("num_classes", [1, 2, 10, 100])
def test_counts_are_right_on_average(num_classes, batch_size):
    mix = long_tail(num_classes, 200.0)
    draws = 40_000 if num_classes < 100 else 10_000
    counts = split_counts(batch_size, mix, generator(1), draws).double()
    # A rounded share has variance at most 1/4: five standard errors of the mean, for 100 classes at once.
    assert (counts.mean(0) - batch_size * mix).abs().max() < 5 * 0.5 / draws**0.5


def test_share_below_one_per_batch_is_still_seen_as_often_as_it_should():
    mix = torch.tensor([0.995, 0.005], dtype=torch.float64)
    seen = split_counts(10, mix, generator(2), 20_000)[:, 1]
    assert seen.max() == 1
    assert abs(seen.double().mean() - 0.05) < 5 * (0.05 * 0.95 / 20_000) ** 0.5


def test_two_rare_classes_meet_nearly_as_often_as_independence_says():
    mix = long_tail(10, 100.0)
    seen = (split_counts(32, mix, generator(3), 100_000) > 0).double()
    rare = (32 * mix < 0.9).nonzero().flatten().tolist()
    assert len(rare) >= 4
    ratio = [
        ((seen[:, a] * seen[:, b]).mean() / (seen[:, a].mean() * seen[:, b].mean())).item()
        for a in rare
        for b in rare
        if a < b
    ]
    # Not 1: the counts sum to M and stay within 1, so some pairs have to meet a little less often.
    assert min(ratio) > 0.65 and max(ratio) < 1.1

    in_fixed_order = torch.floor((mix.cumsum(0) * 32) + torch.rand(100_000, 1, generator=generator(3)))
    naive = torch.diff(in_fixed_order, dim=1, prepend=torch.zeros(100_000, 1)) > 0
    assert not (naive[:, -1] & naive[:, -2]).any(), "neighbours in a fixed order never meet"


def test_cumulative_rounding_never_hands_an_example_to_share_zero():
    """Ten shares of 0.1 sum to 0.9999999999999999: unless divided by that, share 0 gets what is missing."""
    shares = torch.zeros(40, 12, dtype=torch.float64)
    for row in range(40):
        shares[row, : row % 11 + 1] = 1 / (row % 11 + 1)
    counts = torch.cat([split_counts(97, shares, generator(seed), 40) for seed in range(200)])
    assert (counts[shares.repeat(200, 1) == 0] == 0).all()


@pytest.mark.parametrize("start", [0.0, 1 - 2**-53])
@pytest.mark.parametrize("mix", [[0.3, 0.0, 0.7], [0.1] * 10 + [0.0]])
def test_counts_hold_at_both_ends_of_what_a_draw_can_be(monkeypatch, mix, start):
    """Ten shares of 0.1 reach 0.9999999999999999, and 1000.99... rounds up to 1001."""
    rand = torch.rand

    def extreme(*size, **options):
        drawn = rand(*size, **options)
        return torch.full_like(drawn, start) if drawn.dtype == torch.float64 else drawn

    monkeypatch.setattr(torch, "rand", extreme)
    mix = torch.tensor(mix, dtype=torch.float64)
    counts = split_counts(1000, mix, generator(), 200)
    assert (counts >= 0).all() and (counts.sum(1) == 1000).all() and (counts[:, mix == 0] == 0).all()


def test_counts_of_one_draw_have_shape_K():
    assert split_counts(5, torch.tensor([0.2, 0.8]), generator()).tolist() == [1, 4]


@pytest.mark.parametrize("mix", [torch.full((2, 2), 0.5), torch.full((4, 2), 0.5)])
@pytest.mark.parametrize("batches", [None, 3])
def test_counts_need_one_row_of_shares_per_batch(mix, batches):
    with pytest.raises(ValueError, match="mix must have shape"):
        split_counts(4, mix, generator(), batches)


# ---- batches with a class mix -------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data())
def test_batches_hold_exactly_M_and_follow_the_mix(data):
    mix = data.draw(mixes(max_classes=6))
    counts = [data.draw(st.integers(1, 30)) if share > 0 else data.draw(st.integers(0, 5)) for share in mix]
    labels = labels_of(*counts, seed=data.draw(st.integers(0, 99)))
    M = data.draw(st.integers(1, 40))
    sampler = ClassMixBatchSampler(labels, M, mix, batches_per_epoch=5, seed=data.draw(st.integers(0, 99)))
    for rows in sampler:
        assert len(rows) == M
        got = torch.bincount(labels[torch.tensor(list(rows))], minlength=len(mix))
        assert ((got - M * mix).abs() < 1 + 1e-9).all()
        assert (got[mix == 0] == 0).all()


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
    st.integers(1, 25),
    st.integers(1, 6),
    st.integers(0, 99),
)
def test_deck_visits_every_example_before_repeating(counts, batch_size, steps, seed):
    """Across batches, passes and changes of the mix alike."""
    labels = labels_of(*counts, seed=seed)
    K = len(counts)
    sampler = ClassMixBatchSampler(
        labels, batch_size, torch.full((K,), 1 / K), batches_per_epoch=steps, seed=seed
    )
    first = drawn_by(sampler)
    sampler.set_mix(long_tail(K, 50.0))
    drawn = torch.cat([first, drawn_by(sampler, 2)])
    for k, size in enumerate(counts):
        for shuffle in drawn[labels[drawn] == k].split(size):
            assert len(set(shuffle.tolist())) == len(shuffle)


def test_tiny_class_dealt_very_often_is_still_a_deck():
    labels = labels_of(500, 3)
    drawn = drawn_by(ClassMixBatchSampler(labels, 100, [0.5, 0.5]))
    rare = drawn[labels[drawn] == 1].view(-1, 1)[: 250 // 3 * 3].view(-1, 3)
    assert len(rare) > 8, "more reshuffles than are drawn one by one"
    assert (rare.sort(1).values == rare.sort(1).values[0]).all()
    assert len({tuple(order) for order in rare.tolist()}) == 6, "every order of three occurs"


def test_prior_mix_is_an_ordinary_epoch():
    labels = labels_of(70, 20, 10)
    sampler = ClassMixBatchSampler(labels, 10, class_prior(labels))
    assert len(sampler) == 10
    assert sorted(drawn_by(sampler).tolist()) == list(range(100)), "each example once"


def test_long_run_shares_are_those_of_the_mix():
    labels, mix = labels_of(400, 40, 4), torch.tensor([0.21, 0.333, 0.457])
    drawn = drawn_by(ClassMixBatchSampler(labels, 8, mix, batches_per_epoch=4000))
    assert torch.allclose(class_prior(labels[drawn]), mix.double(), atol=5 * 0.5 / 4000**0.5 / 8)


def test_every_example_of_a_class_is_drawn_equally_often():
    labels = labels_of(30, 7)
    sampler = ClassMixBatchSampler(labels, 5, [0.5, 0.5], batches_per_epoch=100)
    times = torch.bincount(drawn_by(sampler, 3), minlength=37)
    for k in range(2):
        assert times[labels == k].max() - times[labels == k].min() <= 1


@pytest.mark.parametrize("K", [1, 2, 100])
def test_any_number_of_classes_works(K):
    labels = torch.arange(K).repeat(3)
    sampler = ClassMixBatchSampler(labels, 50, torch.full((K,), 1 / K), batches_per_epoch=20)
    assert all(len(rows) == 50 for rows in sampler)


def test_one_example_and_a_batch_larger_than_the_data_work():
    assert batches_of(ClassMixBatchSampler([0], 4, [1.0])) == [[0, 0, 0, 0]]
    (rows,) = batches_of(ClassMixBatchSampler([0, 1, 1], 10, [0.5, 0.5]))
    assert sorted(rows)[:5] == [0] * 5 and len(rows) == 10


def test_number_of_batches_does_not_depend_on_the_mix():
    labels = labels_of(95, 15)
    assert {len(ClassMixBatchSampler(labels, 20, mix)) for mix in ([0.9, 0.1], [0.5, 0.5], [0, 1])} == {5}
    assert len(ClassMixBatchSampler(labels, 20, [0.5, 0.5], batches_per_epoch=7)) == 7


def test_whole_numbers_of_numpy_and_torch_are_sizes():
    sampler = ClassMixBatchSampler(
        np.array([0, 1]), np.int64(2), np.array([0.5, 0.5]), batches_per_epoch=torch.tensor(3)
    )
    assert len(list(sampler)) == 3


def test_absent_class_may_have_share_zero():
    drawn = drawn_by(ClassMixBatchSampler([0, 2, 2], 4, [0.5, 0, 0.5], batches_per_epoch=9))
    assert set(drawn.tolist()) == {0, 1, 2}


def test_caller_changing_its_tensors_changes_nothing():
    labels, mix = torch.tensor([0, 0, 1, 1]), torch.tensor([0.5, 0.5], dtype=torch.float64)
    sampler, twin = ClassMixBatchSampler(labels, 2, mix), ClassMixBatchSampler(labels.clone(), 2, mix.clone())
    labels.zero_(), mix.zero_(), sampler.mix.zero_()
    assert batches_of(sampler, 3) == batches_of(twin, 3)
    q = torch.full((9,), 1 / 9, dtype=torch.float64)
    sampler, twin = ExampleBatchSampler(q, 2), ExampleBatchSampler(q.clone(), 2)
    q.zero_(), sampler.probability.zero_()
    assert batches_of(sampler, 3) == batches_of(
        twin, 3
    ) and sampler.probability.sum().item() == pytest.approx(1)


# ---- rows of a mix in turn ----------------------------------------------------------------------------------


def test_rows_of_a_mix_come_in_turn_across_passes_and_start_anew_when_set():
    labels = labels_of(5, 5, 5)
    mix = torch.eye(3)[[2, 0, 1, 1]]
    sampler = ClassMixBatchSampler(labels, 3, mix, batches_per_epoch=3)

    def classes(passes):
        return [set(labels[torch.tensor(list(rows))].tolist()) for _ in range(passes) for rows in sampler]

    assert classes(3) == [{2}, {0}, {1}, {1}, {2}, {0}, {1}, {1}, {2}]
    sampler.set_mix(mix)
    assert classes(1) == [{2}, {0}, {1}]


def test_shares_may_move_within_a_pass():
    labels = labels_of(50, 50)
    sampler = ClassMixBatchSampler(labels, 10, [[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]], batches_per_epoch=3)
    got = [int(labels[torch.tensor(list(rows))].sum()) for rows in sampler]
    assert got == [1, 5, 9]


# ---- setting a mix ------------------------------------------------------------------------------------------


def test_new_mix_holds_only_from_the_next_pass_on():
    labels = labels_of(50, 50)
    sampler = ClassMixBatchSampler(labels, 5, [1.0, 0.0], batches_per_epoch=4)
    seen = []
    for rows in sampler:
        sampler.set_mix([0.0, 1.0])
        seen += labels[torch.tensor(list(rows))].tolist()
    assert set(seen) == {0}
    assert set(labels[drawn_by(sampler)].tolist()) == {1}


BAD_MIXES = {
    "negative": ([1.2, -0.2, 0.0], ValueError),
    "sum": ([0.5, 0.4, 0.0], ValueError),
    "NaN": ([float("nan"), 0.5, 0.5], ValueError),
    "infinite": ([float("inf"), 0.0, 0.0], ValueError),
    "too few": ([0.5, 0.5], ValueError),
    "too many": ([0.25, 0.25, 0.25, 0.25], ValueError),
    "a number": (0.5, ValueError),
    "three axes": (torch.full((1, 1, 3), 1 / 3), ValueError),
    "nothing": ([], ValueError),
    "empty class": ([0.5, 0.4, 0.1], ValueError),
    "empty class in one row": ([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], ValueError),
}


@pytest.mark.parametrize(("mix", "error"), BAD_MIXES.values(), ids=BAD_MIXES)
def test_bad_mix_raises_and_leaves_the_sampler_as_it_was(mix, error):
    labels = [0, 0, 1, 1, 1]  # class 2 has no example
    sampler, twin = (ClassMixBatchSampler(labels, 2, [[0.5, 0.5, 0], [1, 0, 0]]) for _ in range(2))
    next(iter(sampler)), next(iter(twin))
    with pytest.raises(error, match="mix"):
        sampler.set_mix(mix)
    assert torch.equal(sampler.mix, twin.mix)
    assert batches_of(sampler, 3) == batches_of(twin, 3)


def test_empty_class_with_a_share_is_named():
    with pytest.raises(ValueError, match=r"class \[2\], which has no example"):
        ClassMixBatchSampler([0, 1], 2, [0.4, 0.4, 0.2])


@pytest.mark.parametrize("engine", [lambda **k: ClassMixBatchSampler([0, 1], mix=[0.5, 0.5], **k),
                                    lambda **k: ExampleBatchSampler([0.5, 0.5], **k)])  # fmt: skip
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("batch_size", 0, ValueError),
        ("batch_size", -1, ValueError),
        ("batch_size", 2.0, TypeError),
        ("batch_size", True, TypeError),
        ("batch_size", "2", TypeError),
        ("batches_per_epoch", 0, ValueError),
        ("batches_per_epoch", 1.5, TypeError),
    ],
)
def test_size_out_of_range_is_named(engine, name, value, error):
    with pytest.raises(error, match=name):
        engine(**{"batch_size": 2, name: value})


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ([0.0, 0.5], TypeError),
        (["a", "b"], TypeError),
        ([-1, 0], ValueError),
        ([0, 1, 2], ValueError),
        ([[0, 1]], ValueError),
        ([], (TypeError, ValueError)),
    ],
)
def test_labels_that_are_no_classes_raise(labels, error):
    with pytest.raises(error, match="labels"):
        ClassMixBatchSampler(labels, 2, [0.5, 0.5])


# ---- same seed, saved state ---------------------------------------------------------------------------------

LABELS = labels_of(23, 9, 4)


def class_engine(seed=0):
    return ClassMixBatchSampler(LABELS, 5, [[0.2, 0.3, 0.5], [1, 0, 0]], batches_per_epoch=7, seed=seed)


def example_engine(seed=0):
    return ExampleBatchSampler(long_tail(36, 9.0), 5, batches_per_epoch=7, seed=seed)


def change(sampler):
    if isinstance(sampler, ClassMixBatchSampler):
        sampler.set_mix([0.6, 0.4, 0.0])
    else:
        sampler.set_probability(long_tail(36, 9.0).flip(0))


ENGINES = pytest.mark.parametrize("make", [class_engine, example_engine], ids=["class", "example"])


@ENGINES
def test_same_seed_same_batches_and_another_seed_others(make):
    assert batches_of(make(3), 4) == batches_of(make(3), 4)
    assert batches_of(make(3), 4) != batches_of(make(4), 4)
    first, second = batches_of(make(3), 2)[:7], batches_of(make(3), 2)[7:]
    assert first != second


@ENGINES
def test_batches_do_not_depend_on_the_global_seed(make):
    torch.manual_seed(1)
    first = batches_of(make())
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert batches_of(make()) == first
    assert torch.equal(torch.get_rng_state(), state)


@ENGINES
@settings(max_examples=25)
@given(taken=st.integers(0, 21), changed=st.booleans(), seed=st.integers(0, 99))
def test_saved_state_continues_the_same_stream(make, taken, changed, seed):
    """At the border of a pass and in the middle of it, also where the mix was changed in between."""

    def stream(sampler):
        while True:
            yield from (list(rows) for rows in sampler)

    sampler = make(seed)
    batches = stream(sampler)
    for _ in range(taken):
        next(batches)
    if changed:
        change(sampler)
    file = io.BytesIO()
    torch.save(sampler.state_dict(), file)
    file.seek(0)
    other = make(seed + 1)
    next(iter(other))
    other.load_state_dict(torch.load(file, weights_only=True))
    resumed = stream(other)
    assert [next(resumed) for _ in range(20)] == [next(batches) for _ in range(20)]


@ENGINES
def test_state_saved_again_before_use_is_the_same_state(make):
    sampler, other, third = make(1), make(2), make(3)
    next(batches := iter(sampler))
    other.load_state_dict(sampler.state_dict())
    third.load_state_dict(other.state_dict())
    assert batches_of(third, 2)[:6] == [list(rows) for rows in batches]


@ENGINES
def test_state_saved_after_the_last_batch_of_a_pass_begins_a_new_one(make):
    """A loop that stops after `len(sampler)` steps never learns that the pass was over."""
    sampler, other = make(1), make(2)
    batches = iter(sampler)
    for _ in range(len(sampler)):
        next(batches)
    other.load_state_dict(sampler.state_dict())
    assert len(batches_of(other)) == len(sampler)


@ENGINES
def test_saved_state_is_a_copy(make):
    sampler, other = make(), make()
    state = sampler.state_dict()
    expected = batches_of(sampler, 3)
    other.load_state_dict(state)
    assert batches_of(other, 3) == expected
    other.load_state_dict(state)
    assert batches_of(other, 3) == expected


@ENGINES
def test_state_of_another_sampler_raises_and_changes_nothing(make):
    sampler, twin = make(), make()
    good = sampler.state_dict()
    bad = [
        ({k: v for k, v in good.items() if k != "generator"}, "without"),
        (good | {"rest": torch.zeros(2, 6, dtype=torch.long)}, "batches of 5"),
        (ClassMixBatchSampler([0, 1], 5, [0.5, 0.5]).state_dict(), "state"),
        (ExampleBatchSampler([0.5, 0.5], 5).state_dict(), "state|probability"),
    ]
    for state, message in bad:
        with pytest.raises(ValueError, match=message):
            sampler.load_state_dict(state)
    assert batches_of(sampler, 2) == batches_of(twin, 2)


@ENGINES
@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["deepcopy", "pickle"]
)
def test_sampler_can_be_copied_and_pickled(make, clone):
    sampler = make()
    next(iter(sampler))
    assert batches_of(clone(sampler), 2) == batches_of(sampler, 2)


# ---- in a DataLoader ----------------------------------------------------------------------------------------


class ByName(Dataset):
    """A set whose keys have to be real ints: a tensor or a NumPy integer is not found."""

    def __init__(self, size: int) -> None:
        self.items = {f"{i:d}" if i % 2 else i: i for i in range(size)}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        if type(i) is not int:
            raise TypeError(f"index must be an int, got {type(i)}")
        return torch.tensor([float(i)]), self.items[str(i) if i % 2 else i]


@pytest.mark.parametrize("workers", [0, 2])
@ENGINES
def test_sampler_drives_dataloader_batch_by_batch(make, workers):
    loader = DataLoader(ByName(36), batch_sampler=make(), num_workers=workers)
    assert len(loader) == 7
    got = [y.tolist() for _, y in loader]
    assert got == batches_of(make())


@pytest.mark.parametrize("workers", [0, 2])
@ENGINES
def test_sampler_drives_dataloader_with_one_gather_per_batch(make, workers):
    x = torch.randn(36, 3)
    loader = DataLoader(
        TensorDataset(x, torch.arange(36)), sampler=make(), batch_size=None, num_workers=workers
    )
    got = list(loader)
    assert [rows.tolist() for _, rows in got] == batches_of(make())
    assert all(torch.equal(part, x[rows]) and type(part) is torch.Tensor for part, rows in got)


def test_new_mix_reaches_dataloader_workers_that_stay():
    labels = labels_of(40, 40)
    sampler = ClassMixBatchSampler(labels, 5, [1.0, 0.0], batches_per_epoch=3)
    loader = DataLoader(
        TensorDataset(labels), sampler=sampler, batch_size=None, num_workers=2, persistent_workers=True
    )
    assert {int(y) for (part,) in loader for y in part} == {0}
    sampler.set_mix([0.0, 1.0])
    assert {int(y) for (part,) in loader for y in part} == {1}


def test_rows_index_like_a_tensor_and_iterate_as_ints():
    rows = next(iter(class_engine()))
    assert isinstance(rows, Rows) and all(type(i) is int for i in rows)
    plain = torch.tensor(list(rows))
    for x in (torch.randn(36), torch.randn(36, 2, 3), torch.arange(36)):
        assert torch.equal(x[rows], x[plain]) and type(x[rows]) is torch.Tensor
    assert np.array_equal(np.arange(36)[rows], plain.numpy())
    weight = torch.randn(36, requires_grad=True)
    weight[rows].sum().backward()
    assert torch.equal(weight.grad, torch.bincount(plain, minlength=36).float())


def test_rows_serve_where_torch_takes_an_index_tensor():
    rows, x = next(iter(class_engine())), torch.randn(36, 2)
    plain = rows.tensor
    assert torch.equal(x.index_select(0, rows), x[plain]) and torch.equal(
        torch.take(x, index=rows), x.take(plain)
    )
    x[rows] = 0.0
    assert not x[plain].any()
    assert torch.equal(x[rows, ...], x[plain]) and torch.equal(x[rows, 1], x[plain, 1])
    assert torch.equal(torch.cat([x[rows], x])[:, 1], torch.cat([x[plain, 1], x[:, 1]]))
    found = torch.zeros(36).index_add(0, rows, torch.ones(len(rows)))
    assert torch.equal(found, torch.bincount(plain, minlength=36).float())


def test_rows_are_a_list_that_cannot_be_changed():
    """A changed list would index with the old numbers."""
    rows = next(iter(class_engine()))
    before = list(rows)
    assert isinstance(rows, list) and all(type(i) is int for i in rows) and rows == rows.tensor.tolist()
    for change_it in (
        lambda: rows.append(1), lambda: rows.extend([1]), lambda: rows.insert(0, 1), lambda: rows.pop(),
        lambda: rows.remove(rows[0]), lambda: rows.clear(), lambda: rows.sort(), lambda: rows.reverse(),
        lambda: rows.__setitem__(0, 1), lambda: rows.__delitem__(0), lambda: rows.__iadd__([1]),
        lambda: rows.__imul__(2), lambda: random.shuffle(rows),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="take list"):
            change_it()
    assert rows == before == rows.tensor.tolist()


class SparseTable(Dataset):
    """A set that reads a SciPy table a batch at a time, by `__getitems__`."""

    def __init__(self) -> None:
        self.table, self.labels = scipy.sparse.csr_array(np.diag(np.arange(36.0))), np.arange(36) % 3

    def __len__(self) -> int:
        return 36

    def __getitems__(self, rows: list[int]) -> list[tuple[torch.Tensor, int]]:
        x = torch.from_numpy(self.table[rows].toarray())
        return list(zip(x, self.labels[rows], strict=True))


@pytest.mark.parametrize("workers", [0, 1])
@ENGINES
def test_a_set_that_reads_a_scipy_table_by_getitems_serves(make, workers):
    got = [
        x.argmax(1).tolist() for x, _ in DataLoader(SparseTable(), batch_sampler=make(), num_workers=workers)
    ]
    assert [sorted(rows) for rows in got] == [sorted(rows) for rows in batches_of(make())]


@ENGINES
def test_tables_of_scipy_and_pandas_and_lists_take_rows(make):
    rows = next(iter(make()))
    assert scipy.sparse.csr_matrix(np.eye(36))[rows].shape == (len(rows), 36)
    assert pd.DataFrame(np.arange(36)).iloc[rows][0].tolist() == list(rows)
    assert [0] + rows == [0, *rows] and json.loads(json.dumps(rows)) == rows


@pytest.mark.parametrize(
    ("argument", "batch_size"), [("sampler", None), ("batch_sampler", 1)], ids=["one gather", "row by row"]
)
def test_skorch_trains_on_class_mix_batches(argument, batch_size):
    labels = torch.arange(60) % 3
    x = torch.randn(60, 4, generator=generator()) + 2 * labels[:, None]
    torch.manual_seed(0)
    how = {
        f"iterator_train__{argument}": ClassMixBatchSampler(labels, 12, [0.5, 0.3, 0.2]),
        "iterator_train__batch_size": batch_size,
    }
    net = skorch.NeuralNetClassifier(
        torch.nn.Linear, module__in_features=4, module__out_features=3, criterion=torch.nn.CrossEntropyLoss,
        batch_size=20, train_split=None, max_epochs=30, lr=0.1, verbose=0, **how,
    )  # fmt: skip
    assert (net.fit(x, labels).predict(x) == labels.numpy()).mean() > 0.6


@ENGINES
def test_batches_of_batches_are_refused(make):
    with pytest.raises(TypeError, match="batch_sampler=sampler"):
        next(iter(DataLoader(TensorDataset(torch.arange(36)), sampler=make(), batch_size=8)))


@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))], ids=["deepcopy", "pickle"]
)
def test_rows_survive_a_copy_and_a_pickle(clone):
    rows = next(iter(class_engine()))
    assert type(clone(rows)) is Rows and list(clone(rows)) == list(rows)


# ---- how much the counts vary -------------------------------------------------------------------------------


def rare_counts(counts: str, batches: int = 4000) -> torch.Tensor:
    labels = labels_of(4900, 100)
    sampler = ClassMixBatchSampler(labels, 32, [0.98, 0.02], batches_per_epoch=batches, counts=counts)
    return torch.stack([labels[rows].sum() for rows in sampler]).double()


def test_exact_counts_are_stratified_and_multinomial_ones_vary_as_chance_has_it():
    """The numbers of the docstring: 36 % of exact batches hold no rare example, 52 % of independent draws."""
    exact, drawn = rare_counts("exact"), rare_counts("multinomial")
    assert (exact == 0).double().mean().item() == pytest.approx(0.36, abs=0.02) and exact.max() == 1
    assert (drawn == 0).double().mean().item() == pytest.approx(0.98**32, abs=0.03) and drawn.max() > 2
    assert drawn.mean().item() == pytest.approx(0.64, abs=0.05)
    assert drawn.var().item() == pytest.approx(32 * 0.02 * 0.98, rel=0.1)  # the binomial's
    assert exact.var().item() == pytest.approx(0.64 * 0.36, rel=0.05)


def test_multinomial_counts_are_those_of_a_shuffled_loader_in_distribution():
    labels = labels_of(4900, 100)
    loader = DataLoader(TensorDataset(labels), batch_size=32, shuffle=True, generator=generator(1))
    shuffled = torch.tensor([part.sum() for _ in range(25) for (part,) in loader]).double()
    drawn = rare_counts("multinomial")
    for count in range(4):
        assert (drawn == count).double().mean() == pytest.approx(
            float((shuffled == count).double().mean()), abs=0.035
        )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any), st.integers(1, 9), st.integers(0, 99))
def test_multinomial_batches_hold_exactly_M_and_spare_share_zero(weights, batch_size, seed):
    mix = torch.tensor(weights, dtype=torch.float64)
    labels = torch.arange(len(weights)).repeat(3)
    sampler = ClassMixBatchSampler(labels, batch_size, mix / mix.sum(), counts="multinomial", seed=seed)
    for rows in sampler:
        assert len(rows) == batch_size and (mix[labels[rows]] > 0).all()


def test_multinomial_counts_follow_rows_of_a_mix_and_deal_from_decks():
    labels = torch.arange(40) % 2
    sampler = ClassMixBatchSampler(
        labels, 5, [[1.0, 0.0], [0.0, 1.0]], batches_per_epoch=8, counts="multinomial"
    )
    got = [labels[rows].unique().tolist() for rows in sampler]
    assert got == [[0], [1]] * 4
    even = ClassMixBatchSampler(torch.zeros(40, dtype=torch.long), 8, [1.0], counts="multinomial")
    assert sorted(drawn_by(even).tolist()) == list(range(40)), "each example once"


def test_unknown_counts_are_named():
    with pytest.raises(ValueError, match="counts must be one of"):
        ClassMixBatchSampler([0, 1], 2, [0.5, 0.5], counts="poisson")


# ---- drawn example by example -------------------------------------------------------------------------------


def test_examples_are_drawn_as_often_as_their_probability_says():
    q = long_tail(50, 100.0)
    draws = 200_000
    drawn = drawn_by(ExampleBatchSampler(q, 1000, batches_per_epoch=200))
    error = torch.bincount(drawn, minlength=50) / draws - q
    assert (error.abs() < 5 * (q * (1 - q) / draws).sqrt()).all()


@settings(max_examples=50)
@given(mixes(max_classes=30), st.integers(0, 999))
def test_example_with_probability_zero_is_never_drawn(q, seed):
    drawn = drawn_by(ExampleBatchSampler(q, 64, batches_per_epoch=4, seed=seed))
    assert ((drawn >= 0) & (drawn < len(q))).all()
    assert (q[drawn] > 0).all()


def test_extreme_tickets_stay_on_examples_with_a_probability(monkeypatch):
    q = [0.0, 0.1, 0.2, 0.0, 0.7, 0.0]
    sampler = ExampleBatchSampler(q, 2, batches_per_epoch=1)
    tickets = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *size, **kw: tickets)
    assert batches_of(sampler) == [[1, 4]]
    tenths = torch.full((10,), 0.1, dtype=torch.float64)  # they sum to 0.9999999999999999
    assert batches_of(ExampleBatchSampler(tenths, 2, batches_per_epoch=1)) == [[0, 9]]


def test_new_probability_holds_only_from_the_next_pass_on():
    sampler = ExampleBatchSampler([1.0, 0.0], 3, batches_per_epoch=4)
    seen = set()
    for rows in sampler:
        sampler.set_probability([0.0, 1.0])
        seen |= set(rows)
    assert seen == {0}
    assert set(drawn_by(sampler).tolist()) == {1}


def test_weights_per_class_given_for_weights_per_example_raise():
    labels = labels_of(90, 10)
    per_class = torch.tensor([0.1, 0.9])
    with pytest.raises(ValueError, match=r"\(100,\), one share per example, got \(2,\)"):
        ExampleBatchSampler(per_class, 10, num_examples=len(labels))
    sampler = ExampleBatchSampler(per_class[labels] / per_class[labels].sum(), 10, num_examples=len(labels))
    assert torch.allclose(sampler.probability[labels == 1].sum(), torch.tensor(0.5, dtype=torch.float64))


@pytest.mark.parametrize(
    "q",
    [[0.5, 0.6], [1.5, -0.5], [float("nan"), 1.0], [1.0], [[0.5, 0.5]]],
    ids=["sum", "negative", "NaN", "N", "rows"],
)
def test_bad_probability_raises_and_leaves_the_sampler_as_it_was(q):
    sampler, twin = (ExampleBatchSampler([0.3, 0.7], 4, batches_per_epoch=3) for _ in range(2))
    with pytest.raises(ValueError, match="probability"):
        sampler.set_probability(q)
    assert torch.equal(sampler.probability, twin.probability)
    assert batches_of(sampler, 2) == batches_of(twin, 2)


def test_float32_probabilities_of_many_examples_are_welcome():
    q = torch.rand(300_000, generator=generator()) + 0.1
    sampler = ExampleBatchSampler(q / q.sum(), 100, batches_per_epoch=1)
    assert abs(sampler.probability.sum() - 1) < 1e-12


def test_importance_weights_keep_the_mean_unbiased():
    values = torch.randn(200, generator=generator(), dtype=torch.float64)
    q = values.abs() + 0.05
    q = q / q.sum()
    weight = 1 / (len(q) * q)
    drawn = drawn_by(ExampleBatchSampler(q, 1000, batches_per_epoch=100))
    estimate = values[drawn] * weight[drawn]
    error = 5 * estimate.std() / len(drawn) ** 0.5  # five standard errors of the Monte Carlo mean
    assert abs(estimate.mean() - values.mean()) < error < 0.02
    assert abs(values[drawn].mean() - values.mean()) > error, "without the weights it is biased"


def test_weighting_a_class_equals_mixing_it_in_expectation():
    """Sampling class c with share a_c has the expected gradient of weighting its loss by a_c / prior_c, mean over M."""
    g = generator(5)
    labels = labels_of(300, 60, 15)
    x = torch.randn(375, 4, generator=g, dtype=torch.float64)
    theta = torch.randn(4, 3, generator=g, dtype=torch.float64)
    # Gradient of each example's cross-entropy at fixed parameters, (N, 4 * 3).
    gap = torch.softmax(x @ theta, 1) - torch.nn.functional.one_hot(labels, 3)
    gradient = (x[:, :, None] * gap[:, None, :]).flatten(1)
    prior, mix = class_prior(labels), torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    exact = ((mix / prior)[labels][:, None] * gradient).mean(0)

    def monte_carlo(shares, weight):
        sampler = ClassMixBatchSampler(labels, 16, shares, batches_per_epoch=20_000)
        rows = torch.stack([rows.tensor for rows in sampler])
        means = (weight[labels][rows][..., None] * gradient[rows]).mean(1)
        return means.mean(0), means.std(0)

    by_mix, spread_mix = monte_carlo(mix, torch.ones(3, dtype=torch.float64))
    by_weight, spread_weight = monte_carlo(prior, mix / prior)
    # Five standard errors as if batches were independent; decks make the error smaller than that.
    assert (by_mix - exact).abs().max() < 5 * (spread_mix / 20_000**0.5).max() < 0.02
    assert (by_weight - exact).abs().max() < 5 * (spread_weight / 20_000**0.5).max() < 0.02
    assert spread_weight.mean() > 1.5 * spread_mix.mean(), "what differs is the variance"


def test_weighted_drawing_by_example_gives_the_class_shares_of_the_weights():
    labels = labels_of(900, 90, 10)
    weight = inverse_frequency_weights(torch.bincount(labels)).double()[labels]
    drawn = drawn_by(ExampleBatchSampler(weight / weight.sum(), 100, batches_per_epoch=300))
    assert torch.allclose(
        class_prior(labels[drawn]), torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.015
    )


# ---- alternating classes ------------------------------------------------------------------------------------


def test_orders_by_name():
    labels = labels_of(3, 9, 0, 5, 9)
    x = torch.tensor([0.0, 10.0, 0.0, 2.0, 7.0])[labels] + torch.randn(26, generator=generator()) / 100
    assert class_order("cyclic", labels) == [0, 1, 3, 4], "a class without examples has no turn"
    assert class_order("frequency", labels) == [1, 4, 3, 0], "ties: the lower class first"
    assert class_order("similarity", labels, x) == [1, 4, 3, 0]
    assert class_order("similarity", labels, x[:, None, None].float()) == [1, 4, 3, 0]
    assert class_order([4, 0, 3, 1], labels) == [4, 0, 3, 1]
    assert class_order(torch.tensor([4, 0, 3, 1]), labels) == [4, 0, 3, 1]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any), st.integers(0, 99))
def test_every_order_is_a_permutation_of_the_classes_that_have_examples(counts, seed):
    labels = labels_of(*counts, seed=seed)
    x = torch.randn(len(labels), 2, generator=generator(seed))
    present = [k for k, n in enumerate(counts) if n]
    for kind in ORDERS:
        order = class_order(kind, labels, x)
        assert sorted(order) == present and all(type(k) is int for k in order)


@given(st.integers(2, 7), st.integers(0, 99))
def test_similarity_goes_to_the_nearest_mean_still_to_come(K, seed):
    labels = torch.arange(K).repeat(5)
    x = torch.randn(len(labels), 3, generator=generator(seed), dtype=torch.float64)
    means = torch.stack([x[labels == k].mean(0) for k in range(K)])
    order = class_order("similarity", labels, x)
    for turn in range(1, K):
        here, rest = means[order[turn - 1]], order[turn:]
        nearest = min((means[k] - here).norm() for k in rest)
        assert torch.allclose((means[order[turn]] - here).norm(), nearest)


@pytest.mark.parametrize(
    ("order", "x", "message"),
    [
        ("random", None, "order must be one of"),
        ("similarity", None, "x must hold 4 examples, got None"),
        ("similarity", torch.zeros(3, 2), "x must hold 4 examples, got 3"),
        ([0, 1], None, "order must name each class"),
        ([0, 1, 2, 2], None, "order must name each class"),
        ([0, 1, 3], None, "order must name each class"),
    ],
)
def test_bad_order_is_named(order, x, message):
    with pytest.raises(ValueError, match=message):
        class_order(order, [0, 1, 2, 2], x)


@given(st.permutations(range(5)), st.integers(1, 4), st.integers(1, 6), st.booleans(), st.integers(0, 99))
def test_alternating_visits_are_equal_whole_and_a_permutation_per_cycle(order, steps, cycles, shuffled, seed):
    mix = alternating_mix(order, steps, 5, cycles, generator(seed) if shuffled else None)
    assert mix.shape == (cycles * 5 * steps, 5) and mix.dtype == torch.float64
    assert (mix.sum(1) == 1).all() and ((mix == 0) | (mix == 1)).all()
    assert (mix.sum(0) == cycles * steps).all(), "equal visits"
    visits = mix.argmax(1).view(-1, steps)
    assert (visits == visits[:, :1]).all(), "a visit lasts steps_per_visit batches"
    for cycle in visits[:, 0].view(-1, 5).tolist():
        assert sorted(cycle) == list(range(5))
        assert shuffled or cycle == list(order)


def test_shuffled_cycles_differ_and_come_from_the_generator():
    first = alternating_mix(range(6), 1, 6, 20, generator(1)).argmax(1).view(20, 6).tolist()
    assert first == alternating_mix(range(6), 1, 6, 20, generator(1)).argmax(1).view(20, 6).tolist()
    assert len({tuple(cycle) for cycle in first}) > 15


def test_class_may_have_two_turns_in_a_cycle():
    assert alternating_mix([0, 1, 0, 2], 1, 3).sum(0).tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"order": [0, 3], "steps_per_visit": 1, "num_classes": 3}, ValueError),
        ({"order": [0, -1], "steps_per_visit": 1, "num_classes": 3}, ValueError),
        ({"order": [0.0, 0.5], "steps_per_visit": 1, "num_classes": 3}, TypeError),
        ({"order": [0], "steps_per_visit": 0, "num_classes": 3}, ValueError),
        ({"order": [0], "steps_per_visit": 1.0, "num_classes": 3}, TypeError),
        ({"order": [0], "steps_per_visit": 1, "num_classes": 0}, ValueError),
        ({"order": [0], "steps_per_visit": 1, "num_classes": 3, "cycles": 0}, ValueError),
    ],
)
def test_bad_alternation_raises(arguments, error):
    with pytest.raises(error):
        alternating_mix(**arguments)


def test_alternating_mix_feeds_the_sampler_one_class_at_a_time():
    labels = labels_of(40, 8, 3)
    mix = alternating_mix(class_order("frequency", labels), 2, 3)
    sampler = ClassMixBatchSampler(labels, 4, mix, batches_per_epoch=12)
    classes = [labels[torch.tensor(list(rows))].unique().tolist() for rows in sampler]
    assert classes == [[0], [0], [1], [1], [2], [2]] * 2


# ---- small promises that a changed line would break ---------------------------------------------------------


def test_similarity_compares_means_and_not_sums():
    """Class 1 has many small points and class 2 one large: by mean class 2 is far away, by sum it would be near."""
    labels = [0] * 5 + [1] * 4 + [2]
    x = torch.tensor([[0.0]] * 5 + [[1.0]] * 4 + [[4.0]])
    assert class_order("similarity", labels, x) == [0, 1, 2]
    one_each = torch.tensor(
        [[0.0]] * 5 + [[3.0]] * 4 + [[2.0]]
    )  # by halved mean of the single example: 0, 2 too
    assert class_order("similarity", labels, one_each) == [0, 2, 1]
    single = torch.tensor(
        [[0.0]] * 5 + [[-3.0]] * 4 + [[5.0]]
    )  # a single example is its own mean, not half of it
    assert class_order("similarity", labels, single) == [0, 1, 2]


def test_shares_too_small_for_float32_are_drawn_as_often_as_they_should():
    """Tickets have 53 bits; with the 24 of float32 a share of 1e-9 would come about 60 times too often."""
    probability = torch.full((1000,), (1 - 1e-9) / 999, dtype=torch.float64)
    probability[0] = 1e-9
    sampler = ExampleBatchSampler(probability / probability.sum(), 7, batches_per_epoch=1, seed=3)
    ticket = torch.rand(7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    reached = (probability / probability.sum()).cumsum(0)
    assert next(iter(sampler)) == torch.searchsorted(reached / reached[-1], ticket, right=True).tolist()


def test_seed_zero_is_the_default():
    probability = torch.full((50,), 0.02, dtype=torch.float64)
    assert next(iter(ExampleBatchSampler(probability, 9))) == next(
        iter(ExampleBatchSampler(probability, 9, seed=0))
    )


def test_alternating_rows_have_a_column_for_every_class_also_for_those_without_a_turn():
    assert alternating_mix([0, 1], 1, num_classes=4).shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], 0, 2), "^steps_per_visit must be"),
        (([0, 1], 1, 2, 0), "^cycles must be"),
        (([0, 1], 1, 0), "^num_classes must be"),
        (([0.5, 1.0], 1, 2), "^order must be"),
        (([0, 3], 1, 2), r"^order must hold classes 0\.\.1, got \[0, 3\]"),
    ],
)
def test_alternating_mix_names_what_is_wrong(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        alternating_mix(*arguments)


def test_a_probability_of_the_wrong_shape_or_sum_is_named_with_its_cure():
    with pytest.raises(ValueError, match=r"from weights per class w: w\[labels\] / w\[labels\]\.sum\(\)"):
        ExampleBatchSampler([0.5, 0.5], 4, num_examples=10)
    with pytest.raises(ValueError, match=r"^num_examples must be"):
        ExampleBatchSampler([0.5, 0.5], 4, num_examples=0)
    sampler = ExampleBatchSampler([0.5, 0.5], 4)
    with pytest.raises(ValueError, match=r"^probability must sum to 1"):
        sampler.set_probability([0.5, 0.6])


def test_a_foreign_state_is_refused_by_name():
    sampler = ExampleBatchSampler([0.5, 0.5], 4)
    with pytest.raises(ValueError, match="state_dict of ExampleBatchSampler"):
        sampler.load_state_dict({})


def test_a_tiny_class_dealt_very_often_follows_the_samplers_own_seed():
    """More than eight shuffles at once take another path; it must not draw from torch's global stream."""
    labels = [0] * 50 + [1] * 2

    def stream(global_seed):
        torch.manual_seed(global_seed)
        return list(ClassMixBatchSampler(labels, 20, [0.1, 0.9], batches_per_epoch=5))

    assert stream(0) == stream(1)
    dealt = torch.tensor(stream(0)).flatten()
    dealt = dealt[dealt >= 50].view(-1, 2)
    assert (dealt.sort(1).values == torch.tensor([50, 51])).all()  # every shuffle holds each of the two once


def test_the_default_seed_of_both_samplers_is_zero():
    labels = [0] * 30 + [1] * 30
    one, other = (
        ClassMixBatchSampler(labels, 8, [0.5, 0.5]),
        ClassMixBatchSampler(labels, 8, [0.5, 0.5], seed=0),
    )
    assert list(one) == list(other)


def test_rows_pass_keyword_arguments_on():
    rows = next(iter(ClassMixBatchSampler([0, 0, 1, 1], 4, [0.5, 0.5])))
    assert torch.sum(rows, dim=0, keepdim=True).shape == (1,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, [0.5, 0.5]), "^batch_size must be"), ((4, [0.5, 0.5], None, 0), "^batches must be")],
)
def test_split_counts_names_what_is_wrong(arguments, message):
    size, mix, *rest = arguments
    with pytest.raises(ValueError, match=message):
        split_counts(size, torch.tensor(mix), torch.Generator(), *rest[1:])


@pytest.mark.parametrize("name", ["batch_size", "batches_per_epoch"])
def test_samplers_name_a_size_that_is_wrong(name):
    sizes = {"batch_size": 4, "batches_per_epoch": 2} | {name: 0}
    with pytest.raises(ValueError, match=f"^{name} must be"):
        ClassMixBatchSampler(
            [0, 1], sizes["batch_size"], [0.5, 0.5], batches_per_epoch=sizes["batches_per_epoch"]
        )
