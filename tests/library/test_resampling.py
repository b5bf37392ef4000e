"""Over- and under-sampling, SMOTE and imbalanced-learn's family: held to imbalanced-learn and to what they promise."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import ADASYN, SMOTE, SMOTENC, SVMSMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import EditedNearestNeighbours, RandomUnderSampler, TomekLinks
from scipy.stats import chisquare
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils import check_random_state

from course_lib import resampling
from course_lib.data import Split
from course_lib.priors import class_count
from course_lib.resampling import (
    from_imblearn,
    interpolate,
    nearest_neighbours,
    random_oversample,
    random_undersample,
    smote,
    smote_with_report,
)

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
RESAMPLERS = {
    "over": random_oversample,
    "under": random_undersample,
    "smote": smote,
    "imbalanced-learn": from_imblearn(BorderlineSMOTE()),
    "imbalanced-learn, cleaning": from_imblearn(TomekLinks()),
}


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def cloud(counts, *, columns: int = 3, seed: int = 0, dtype=torch.float32, shuffled: bool = True) -> Split:
    """Normal classes with the given counts, overlapping."""
    generator = seeded(seed)
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    if shuffled:
        y = y[torch.randperm(len(y), generator=generator)]
    x = torch.randn(len(y), columns, generator=generator, dtype=torch.float64)
    return Split((x + y[:, None] / 2).to(dtype), y, y.clone())


def copy_of(split: Split) -> Split:
    return Split(*(part.clone() for part in split))


def assert_same(one: Split, other: Split) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b)


def counts_of(split: Split, num_classes: int) -> list[int]:
    return class_count(split.group, num_classes).tolist()


splits = st.builds(
    cloud,
    st.lists(st.integers(7, 14), min_size=2, max_size=4),
    columns=st.integers(1, 3),
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)


# ---- what every resampler promises ------------------------------------------------------------------------


@pytest.mark.parametrize("resample", RESAMPLERS.values(), ids=RESAMPLERS)
def test_same_seed_same_result_whatever_the_global_generators_say(resample):
    split = cloud([40, 12, 8])
    torch.manual_seed(1)
    np.random.seed(1)
    first = resample(split, seeded(5))
    torch.manual_seed(2)
    np.random.seed(2)
    before = torch.get_rng_state()
    assert_same(first, resample(split, seeded(5)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("resample", list(RESAMPLERS.values())[:4], ids=list(RESAMPLERS)[:4])
def test_the_generator_moves_on_so_two_calls_differ(resample):
    split, generator = cloud([40, 12, 8]), seeded()
    first, second = resample(split, generator), resample(split, generator)
    assert not torch.equal(first.x, second.x)


@pytest.mark.parametrize("resample", RESAMPLERS.values(), ids=RESAMPLERS)
def test_the_input_is_left_as_it_was(resample):
    split = cloud([30, 9])
    before = copy_of(split)
    made = resample(split, seeded())
    made.x.add_(1)
    assert_same(split, before)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("resample", RESAMPLERS.values(), ids=RESAMPLERS)
def test_device_and_dtype_are_kept(resample, dtype, device):
    split = cloud([30, 9], dtype=dtype).to(device)
    for generator in (seeded(), seeded(0, device)):
        made = resample(split, generator)
        assert made.x.dtype == dtype and made.y.dtype == made.group.dtype == torch.int64
        assert {part.device for part in made} == {split.x.device}


@pytest.mark.parametrize("shape", [(1, 4, 4), (5, 3), ()])
@pytest.mark.parametrize("resample", RESAMPLERS.values(), ids=RESAMPLERS)
def test_examples_of_any_shape_keep_it(resample, shape):
    y = torch.tensor([0] * 20 + [1] * 8)
    made = resample(Split(torch.rand(28, *shape, generator=seeded()), y, y), seeded())
    assert made.x.shape[1:] == shape


@pytest.mark.parametrize("resample", RESAMPLERS.values(), ids=RESAMPLERS)
def test_bad_splits_and_generators_are_refused(resample):
    split = cloud([30, 9])
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator, got int"):
        resample(split, 0)
    with pytest.raises(ValueError, match="split must hold as many x as y and group"):
        resample(split._replace(y=split.y[1:]), seeded())
    with pytest.raises(ValueError, match=r"^group must be one label per example"):
        resample(split.take(torch.zeros(0, dtype=torch.int64)), seeded())
    with pytest.raises(ValueError, match=r"^group must be .* negative label -1"):
        resample(split._replace(group=split.group - 1), seeded())


# ---- random over- and under-sampling ----------------------------------------------------------------------


@given(splits, st.integers(0, 1000))
def test_oversampling_repeats_rows_of_the_class_up_to_the_largest(split, seed):
    K = int(split.y.max()) + 1
    made = random_oversample(split, seeded(seed))
    assert counts_of(made, K) == [max(counts_of(split, K))] * K
    assert_same(made.take(torch.arange(len(split.x))), split)  # originals first
    known = {(tuple(x), y) for x, y in zip(split.x.tolist(), split.y.tolist(), strict=True)}
    assert all((tuple(x), y) in known for x, y in zip(made.x.tolist(), made.y.tolist(), strict=True))
    assert torch.equal(made.y, made.group)


@given(splits, st.integers(0, 1000))
def test_undersampling_keeps_distinct_rows_in_order_down_to_the_smallest(split, seed):
    K = int(split.y.max()) + 1
    numbered = split._replace(x=torch.arange(len(split.x), dtype=torch.float64))
    made = random_undersample(numbered, seeded(seed))
    assert counts_of(made, K) == [min(counts_of(split, K))] * K
    assert (made.x.diff() > 0).all()
    assert torch.equal(made.y, split.y[made.x.long()])


@pytest.mark.parametrize(
    ("resample", "theirs"), [(random_oversample, RandomOverSampler), (random_undersample, RandomUnderSampler)]
)
def test_random_resampling_draws_as_imbalanced_learn_does(resample, theirs):
    split = cloud([30, 10])
    split = split._replace(x=torch.arange(40.0)[:, None])
    ours, reference = torch.zeros(40), torch.zeros(40)
    for seed in range(300):
        ours += torch.bincount(resample(split, seeded(seed)).x.flatten().long(), minlength=40)
        drawn, _ = theirs(random_state=seed).fit_resample(split.x.numpy(), split.y.numpy())
        reference += torch.bincount(torch.tensor(drawn).flatten().long(), minlength=40)
    assert ours.sum() == reference.sum()
    for k in (0, 1):
        mine, yours = ours[split.y == k], reference[split.y == k]
        assert mine.sum() == yours.sum()
        if mine.std() > 0:  # a class that is only kept occurs once each time
            assert chisquare(mine.numpy()).pvalue > 0.001 and chisquare(yours.numpy()).pvalue > 0.001
            assert 0.5 < mine.std() / yours.std() < 2


def test_chosen_counts_are_reached():
    split = cloud([20, 10, 8])
    assert counts_of(random_oversample(split, seeded(), target_count=[20, 11, 30]), 3) == [20, 11, 30]
    assert counts_of(random_undersample(split, seeded(), target_count=torch.tensor([5, 10, 0])), 3) == [
        5,
        10,
        0,
    ]
    assert counts_of(smote(split, seeded(), target_count=(25, 10, 9)), 3) == [25, 10, 9]


@pytest.mark.parametrize(
    ("resample", "target", "error", "match"),
    [
        (
            random_oversample,
            [19, 10],
            ValueError,
            "19 examples of class 0, which has 20 examples and none is dropped",
        ),
        (
            random_oversample,
            [20, 10, 1],
            ValueError,
            "1 examples of class 2, which has no example to start from",
        ),
        (smote, [20, 9], ValueError, "9 examples of class 1"),
        (random_undersample, [20, 11], ValueError, "11 examples of class 1, which has only 10"),
        (
            random_undersample,
            [20],
            ValueError,
            r"target_count must be 2 whole numbers, one for each class, got \[20\.0\]",
        ),
        (random_undersample, [-1, 5], ValueError, "target_count"),
        (random_undersample, [0, 0], ValueError, "target_count must hold at least one example"),
        (random_oversample, [20.0, 10.5], ValueError, "target_count must be 2 whole numbers"),
        (
            random_oversample,
            pd.Series([20, 20], index=[3, 4]),
            ValueError,
            "target_count must be named by the classes",
        ),
    ],
)
def test_counts_out_of_reach_are_refused(resample, target, error, match):
    with pytest.raises(error, match=match):
        resample(cloud([20, 10]), seeded(), target_count=target)


@pytest.mark.parametrize("resample", RESAMPLERS.values(), ids=RESAMPLERS)
def test_a_split_of_arrays_or_pandas_is_resampled_as_one_of_tensors(resample):
    split = cloud([30, 9], dtype=torch.float64)
    x, y = split.x.numpy(), split.y.numpy()
    mixed = np.random.default_rng(0).permutation(39)  # an index as it is after a split
    fixed = x.copy()
    fixed.setflags(write=False)
    for brought in (
        Split(fixed, y.astype(np.int64), y.astype(np.int32)),
        Split(pd.DataFrame(x, index=mixed), pd.Series(y, index=mixed), pd.Series(y, index=mixed)),
        Split(x.tolist(), y.tolist(), y.astype(float).tolist()),
    ):
        assert_same(resample(brought, seeded()), resample(split, seeded()))


@pytest.mark.parametrize("resample", [random_oversample, random_undersample, smote])
def test_counts_of_numpy_and_pandas_are_those_of_a_list(resample):
    """And `value_counts`, in the order of frequency, never swaps two classes."""
    split = cloud([10, 30])
    wanted = pd.Series([1] * 30 + [0] * 10).value_counts()
    assert wanted.tolist() == [30, 10]
    for target in (wanted, {1: 30, 0: 10}, np.array([10, 30], dtype=np.int32), [10.0, 30.0]):
        assert counts_of(resample(split, seeded(), target_count=target), 2) == [10, 30]


@pytest.mark.parametrize("k_neighbors", [np.int64(3), torch.tensor(3), np.uint8(3)])
def test_neighbours_may_be_numbered_by_numpy(k_neighbors):
    split = cloud([20, 9])
    assert_same(smote(split, seeded(), k_neighbors=k_neighbors), smote(split, seeded(), k_neighbors=3))


@pytest.mark.parametrize("resample", [random_oversample, random_undersample, smote])
def test_an_empty_class_stays_empty(resample):
    y = torch.tensor([0] * 12 + [2] * 7)
    made = resample(Split(torch.rand(19, 2, generator=seeded()), y, y), seeded())
    zero, one, two = counts_of(made, 3)
    assert one == 0 and zero == two > 0


@pytest.mark.parametrize("resample", [random_oversample, random_undersample])
def test_regression_targets_travel_with_their_rows(resample):
    group = torch.tensor([0] * 9 + [1] * 3)
    x = torch.arange(12.0)[:, None]
    made = resample(Split(x, 10 * x, group), seeded())
    assert torch.equal(made.y, 10 * made.x)
    assert torch.equal(made.group, group[made.x.flatten().long()])


@pytest.mark.parametrize("resample", [random_oversample, random_undersample, smote])
def test_a_balanced_split_comes_back_as_it_is(resample):
    split = cloud([6, 6, 6])
    assert_same(resample(split, seeded()), split)


# ---- SMOTE: neighbours and interpolation ------------------------------------------------------------------


@given(st.integers(2, 40), st.integers(1, 6), st.integers(0, 10_000), st.sampled_from([1, 7, 2**20]))
def test_neighbours_are_the_nearest_other_rows_nearest_first(n, columns, seed, chunk):
    x = torch.randn(n, columns, generator=seeded(seed), dtype=torch.float64)
    k = min(5, n - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "CHUNK", chunk)
        found = nearest_neighbours(x, k)
    distance = (x[:, None] - x).norm(dim=2).fill_diagonal_(torch.inf)
    assert not (found == torch.arange(n)[:, None]).any()
    torch.testing.assert_close(distance.gather(1, found), distance.sort(1).values[:, :k], rtol=0, atol=1e-6)


def test_neighbours_are_those_of_scikit_learn():
    x = cloud([300], columns=64).x
    theirs = (
        NearestNeighbors(n_neighbors=6).fit(x.numpy()).kneighbors(x.numpy(), return_distance=False)[:, 1:]
    )
    assert torch.equal(nearest_neighbours(x, 5), torch.tensor(theirs))
    some = torch.tensor([7, 0, 7])
    assert torch.equal(nearest_neighbours(x, 5, some), torch.tensor(theirs)[some])


def test_neighbours_are_found_far_from_the_origin():
    x = torch.randn(60, 2, generator=seeded(), dtype=torch.float64)
    assert torch.equal(nearest_neighbours(x, 3), nearest_neighbours(x + 1e6, 3))


def test_a_duplicate_is_a_neighbour_and_a_point_never_its_own():
    # scikit-learn's first neighbour of a duplicate may be the point itself or its twin; dropping the first column
    # then leaves a point among its own neighbours.
    x = torch.ones(9, 2)
    naive = NearestNeighbors(n_neighbors=4).fit(x.numpy()).kneighbors(x.numpy(), return_distance=False)[:, 1:]
    assert (naive == np.arange(9)[:, None]).any()
    ours = nearest_neighbours(x, 3)
    assert not (ours == torch.arange(9)[:, None]).any()
    assert all(len(set(row)) == 3 for row in ours.tolist())


@pytest.mark.parametrize("k", [0, 4, -1])
def test_neighbours_out_of_range_are_refused(k):
    with pytest.raises(ValueError, match=rf"k must lie in 1\.\.3 for 4 points, got {k}"):
        nearest_neighbours(torch.rand(4, 2), k)


def test_no_rows_have_no_neighbours():
    assert nearest_neighbours(torch.rand(4, 2), 3, torch.zeros(0, dtype=torch.int64)).shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_interpolation_equals_imbalanced_learn_point_by_point(dtype):
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 8)).astype(dtype)
    neighbours = NearestNeighbors(n_neighbors=6).fit(x).kneighbors(x, return_distance=False)[:, 1:]
    rows, columns = random.integers(50, size=400), random.integers(5, size=400)
    gap = random.uniform(size=400)
    theirs = SMOTE()._generate_samples(x, x, neighbours, rows, columns, gap[:, None])
    ours = interpolate(
        torch.tensor(x),
        torch.tensor(rows),
        torch.tensor(neighbours[rows, columns]),
        torch.tensor(gap.astype(dtype)),
    )
    if dtype == np.float64:
        assert np.array_equal(ours.numpy(), theirs)
    torch.testing.assert_close(ours, torch.tensor(theirs))


def test_smote_equals_imbalanced_learn_point_by_point_given_its_draws():
    """Its whole output, rebuilt with our neighbours and our interpolation from the numbers its random_state draws."""
    split = cloud([60, 25, 9], columns=6, dtype=torch.float64)
    x_theirs, y_theirs = SMOTE(random_state=3).fit_resample(split.x.numpy(), split.y.numpy())
    parts, labels = [split.x], [split.y]
    for k, size in ((1, 35), (2, 51)):
        x = split.x[split.y == k]
        draws = check_random_state(3)
        drawn = torch.tensor(draws.randint(low=0, high=5 * len(x), size=size))
        gap = torch.tensor(draws.uniform(size=size))
        base, choice = drawn // 5, drawn % 5
        parts.append(interpolate(x, base, nearest_neighbours(x, 5)[base, choice], gap))
        labels.append(torch.full((size,), k))
    assert np.array_equal(torch.cat(labels).numpy(), y_theirs)
    assert np.array_equal(torch.cat(parts).numpy(), x_theirs)


def energy_p_value(a: torch.Tensor, b: torch.Tensor, permutations: int = 199) -> float:
    """Two-sample permutation test of equal distribution by the energy distance (Szekely & Rizzo 2004)."""
    distance = torch.cdist(torch.cat([a, b]), torch.cat([a, b]))
    generator = seeded()

    def energy(order):
        side = torch.ones(len(order), dtype=distance.dtype)
        side[order[: len(a)]] = -1  # equal sizes: -s'Ds is proportional to the energy distance
        return float(-side @ distance @ side)

    observed = energy(torch.arange(len(distance)))
    others = [energy(torch.randperm(len(distance), generator=generator)) for _ in range(permutations)]
    return (1 + sum(other >= observed for other in others)) / (permutations + 1)


@pytest.mark.parametrize("columns", [2, 12])
def test_smote_equals_imbalanced_learn_in_distribution(columns):
    split = cloud([500, 30, 8], columns=columns, dtype=torch.float64)
    theirs, y_theirs = (
        torch.tensor(part) for part in SMOTE(random_state=1).fit_resample(split.x.numpy(), split.y.numpy())
    )
    ours = smote(split, seeded(1))
    N = len(split.x)
    assert torch.equal(ours.y.bincount(), y_theirs.bincount())
    for k in (1, 2):
        a, b = ours.x[N:][ours.y[N:] == k], theirs[N:][y_theirs[N:] == k]
        assert energy_p_value(a, b) > 0.01
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() < 4 * error).all()
        assert ((a.std(0) / b.std(0) - 1).abs() < 0.2).all()
        # and the test would see a difference: copies, which are random oversampling
        copies = random_oversample(split, seeded(2))
        assert energy_p_value(a, copies.x[N:][copies.y[N:] == k][: len(a)]) < 0.05


def test_every_pair_of_base_and_neighbour_is_equally_likely_and_gaps_are_uniform():
    split = cloud([4000, 10], dtype=torch.float64)
    _, report = smote_with_report(split, seeded(), k_neighbors=3)
    pairs = torch.stack([report.base, report.partner]).unique(dim=1, return_counts=True)[1]
    assert len(pairs) == 30
    assert chisquare(pairs.numpy()).pvalue > 0.001
    assert chisquare(torch.histc(report.gap, 20, 0, 1).numpy()).pvalue > 0.001


# ---- SMOTE: what it promises ------------------------------------------------------------------------------


@given(splits, st.integers(1, 6), st.integers(0, 1000))
def test_synthetic_points_lie_between_a_point_and_a_near_one_of_its_class(split, k_neighbors, seed):
    K, N = int(split.y.max()) + 1, len(split.x)
    made, report = smote_with_report(split, seeded(seed), k_neighbors=k_neighbors)
    assert counts_of(made, K) == [max(counts_of(split, K))] * K
    assert_same(made.take(torch.arange(N)), split)  # originals first
    assert torch.equal(made.y, made.group)
    x, group = split.x.double(), split.group
    for row, base, partner, gap in zip(
        made.x[N:].double(), report.base, report.partner, report.gap, strict=True
    ):
        assert group[base] == group[partner] and base != partner and 0 <= gap <= 1
        start, end = x[base], x[partner]
        reach = (end - start).norm()
        torch.testing.assert_close((row - start).norm() + (end - row).norm(), reach, rtol=1e-5, atol=1e-5)
        nearer = ((x - start).norm(dim=1) < reach - 1e-6) & (group == group[base])
        assert nearer.sum() - 1 < k_neighbors  # the base itself is nearer than any other
    assert torch.equal(made.group[N:], group[report.base])


def test_smote_copes_with_duplicates_and_all_equal_points():
    y = torch.tensor([0] * 20 + [1] * 7)
    same = Split(torch.full((27, 3), 0.1), y, y)
    assert torch.equal(smote(same, seeded()).x, torch.full((40, 3), 0.1))
    x = torch.cat([torch.randn(20, 3, generator=seeded()), torch.eye(3).repeat(3, 1)[:7]])
    made = smote(Split(x, y, y), seeded())
    assert torch.isfinite(made.x).all() and counts_of(made, 2) == [20, 20]


@pytest.mark.parametrize("num_classes", [2, 100])
def test_smote_serves_few_and_many_classes(num_classes):
    split = cloud([6 + k % 3 for k in range(num_classes)])
    assert counts_of(smote(split, seeded()), num_classes) == [8 if num_classes > 2 else 7] * num_classes


def test_groups_finer_than_labels_keep_their_label():
    group = torch.tensor([0] * 12 + [1] * 8 + [2] * 7)
    label = torch.tensor([1, 0, 1])
    x = torch.rand(27, 2, generator=seeded())
    made = smote(Split(x, label[group], group), seeded())
    assert torch.equal(made.y, label[made.group])
    made = from_imblearn(SMOTE())(Split(x, label[group], group), seeded())
    assert torch.equal(made.y, label[made.group])


def test_smote_detaches_from_a_graph():
    split = cloud([10, 7])
    made = smote(split._replace(x=split.x.clone().requires_grad_()), seeded())
    assert not made.x.requires_grad


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_class_too_small_is_refused_with_advice(n):
    split, generator = cloud([12, 8, n]), seeded()
    before = generator.get_state()
    advice = f"lower k_neighbors to {n - 1}" if n > 1 else "random_oversample"
    with pytest.raises(
        ValueError, match=rf"k_neighbors = 5 needs 6 .* class 2 has {n}: .*{advice}.*strict=False"
    ):
        smote(split, generator)
    assert torch.equal(before, generator.get_state())


def test_a_class_too_small_that_does_not_grow_is_no_trouble():
    assert counts_of(smote(cloud([12, 8, 2]), seeded(), target_count=[12, 12, 2]), 3) == [12, 12, 2]


def test_lenient_smote_takes_what_there_is_and_says_so(caplog):
    split = cloud([12, 3, 1], columns=2)
    made, report = smote_with_report(split, seeded(), strict=False)
    assert counts_of(made, 3) == [12, 12, 12]
    assert report.neighbours.tolist() == [0, 2, 0]
    assert report.notes == ("class 1 of 3 took k_neighbors = 2 instead of 5", "class 2 of 1 took copies")
    only = split.x[split.y == 2]
    assert torch.equal(made.x[made.y == 2], only.expand(12, 2))
    with caplog.at_level(logging.WARNING, "course_lib.resampling"):
        assert_same(smote(split, seeded(), strict=False), made)
        smote(cloud([12, 8]), seeded(), strict=False)  # nothing to say
    assert [record.getMessage() for record in caplog.records] == ["smote: " + "; ".join(report.notes)]


def test_lenient_smote_is_the_strict_one_where_there_is_enough():
    split = cloud([20, 9, 6])
    assert_same(smote(split, seeded(), strict=False), smote(split, seeded(), strict=True))


@pytest.mark.parametrize(
    ("change", "options", "error", "match"),
    [
        ({}, {"k_neighbors": 0}, ValueError, "k_neighbors must be >= 1, got 0"),
        ({}, {"k_neighbors": 2.0}, TypeError, r"k_neighbors must be a whole number, got 2\.0"),
        ({}, {"k_neighbors": True}, TypeError, "k_neighbors must be a whole number"),
        ({"x": torch.ones(30, 2, dtype=torch.int64)}, {}, TypeError, r"x must be floating point.*SMOTENC"),
        ({"x": torch.ones(30, 2, dtype=torch.bool)}, {}, TypeError, "x must be floating point"),
        ({"x": torch.full((30, 2), torch.nan)}, {}, ValueError, "x must be finite"),
        ({"y": torch.rand(30, 1)}, {}, ValueError, r"y must be \(N,\) whole numbers.*random_oversample"),
        ({"y": torch.arange(30)}, {}, ValueError, "smote needs one label per group"),
    ],
)
def test_smote_refuses_what_it_cannot_blend(change, options, error, match):
    with pytest.raises(error, match=match):
        smote(cloud([20, 10])._replace(**change), seeded(), **options)


# ---- imbalanced-learn's family ----------------------------------------------------------------------------

FAMILY = [
    ADASYN(),
    BorderlineSMOTE(),
    SVMSMOTE(),
    SMOTE(),
    TomekLinks(),
    EditedNearestNeighbours(),
    RandomUnderSampler(),
]


@pytest.mark.parametrize("sampler", FAMILY, ids=lambda sampler: type(sampler).__name__)
def test_the_adapter_gives_what_the_sampler_gives(sampler):
    split = cloud([60, 20], dtype=torch.float64)
    made = from_imblearn(sampler)(split, seeded(4))
    direct = type(sampler)()
    if "random_state" in direct.get_params():
        direct.set_params(random_state=int(torch.randint(2**31 - 1, (1,), generator=seeded(4))))
    x, y = direct.fit_resample(split.x.numpy(), split.y.numpy())
    assert np.array_equal(made.x.numpy(), x) and np.array_equal(made.y.numpy(), y)
    assert torch.equal(made.y, made.group)
    assert not hasattr(sampler, "sampling_strategy_")  # the sampler given is cloned, not fitted


def test_the_adapter_seeds_nested_samplers_and_leaves_the_generator_where_nothing_is_random():
    split = cloud([60, 20])
    resample = from_imblearn(SMOTEENN(smote=SMOTE(k_neighbors=3)))
    assert_same(resample(split, seeded()), resample(split, seeded()))
    generator = seeded()
    before = generator.get_state()
    from_imblearn(TomekLinks())(split, generator)
    assert torch.equal(before, generator.get_state())


def test_the_adapter_overrides_a_fixed_random_state():
    split = cloud([60, 20])
    resample, generator = from_imblearn(SMOTE(random_state=0)), seeded()
    assert not torch.equal(resample(split, generator).x, resample(split, generator).x)


def test_a_selecting_sampler_keeps_any_target_and_whole_numbers():
    group = torch.tensor([0] * 9 + [1] * 3)
    x = torch.arange(12)[:, None] + 2**40
    y = torch.rand(12, 2, generator=seeded())
    made = from_imblearn(RandomUnderSampler())(Split(x, y, group), seeded())
    rows = (made.x - 2**40).flatten()
    assert (
        made.x.dtype == torch.int64 and torch.equal(made.y, y[rows]) and torch.equal(made.group, group[rows])
    )


def test_a_sampler_that_perturbs_what_it_selects_is_not_taken_for_a_selection():
    split = cloud([30, 6])
    made = from_imblearn(RandomOverSampler(shrinkage=1.0))(split, seeded())
    assert counts_of(made, 2) == [30, 30]
    assert len(made.x[made.y == 1].unique(dim=0)) == 30


def test_half_precision_survives_the_adapter():
    split = cloud([30, 8], dtype=torch.bfloat16)
    assert from_imblearn(SMOTE())(split, seeded()).x.dtype == torch.bfloat16


def test_smotenc_through_the_adapter_makes_no_half_categories():
    split = cloud([40, 10], columns=2)
    kind = torch.randint(3, (50, 1), generator=seeded()).float()
    mixed = split._replace(x=torch.cat([split.x, kind], 1))
    made = from_imblearn(SMOTENC(categorical_features=[2]))(mixed, seeded())
    assert counts_of(made, 2) == [40, 40]
    assert set(made.x[:, 2].tolist()) <= {0.0, 1.0, 2.0}
    naive = smote(mixed, seeded())  # columns of kinds 0, 1, 2 that nobody declared
    assert set(naive.x[:, 2].tolist()) - {0.0, 1.0, 2.0}


def test_a_refusal_names_the_sampler():
    with pytest.raises(ValueError, match=r"sampler SMOTE\(k_neighbors=9\) refused the split: .*n_neighbors"):
        from_imblearn(SMOTE(k_neighbors=9))(cloud([20, 4]), seeded())


class Ragged(RandomOverSampler):
    """Gives a label fewer than rows."""

    def fit_resample(self, X, y, **params):
        made, labels = super().fit_resample(X, y, **params)
        return made, labels[:-1]


@pytest.mark.parametrize(
    ("sampler", "came"),
    [
        (
            make_pipeline(PCA(2), SMOTE()),
            r"\(40, 2\) with 40 labels: leave steps that change the columns out",
        ),
        (make_pipeline(PolynomialFeatures(), RandomUnderSampler()), r"\(20, 15\) with 20 labels"),
        (Ragged(), r"\(40, 4\) with 39 labels"),
    ],
    ids=["fewer columns", "more columns", "fewer labels"],
)
def test_a_sampler_that_changes_the_columns_is_refused(sampler, came):
    """Rows of two columns were glued together in pairs: x (20, 4) beside 40 labels."""
    split = cloud([20, 10], columns=4)
    before = copy_of(split)
    with pytest.raises(ValueError, match=rf"(?s)^sampler .* must keep the 4 columns of x .*{came}"):
        from_imblearn(sampler)(split, seeded())
    assert_same(split, before)


def test_a_pipeline_that_keeps_the_columns_is_adapted():
    made = from_imblearn(make_pipeline(PCA(4), SMOTE()))(cloud([20, 10], columns=4), seeded())
    assert made.x.shape == (40, 4) and len(made.y) == 40


@pytest.mark.parametrize("sampler", [SMOTE, "SMOTE", RandomForestClassifier()])
def test_only_samplers_are_adapted(sampler):
    with pytest.raises(TypeError, match="sampler must be an object with fit_resample and get_params"):
        from_imblearn(sampler)


def test_a_making_sampler_refuses_regression_targets():
    split = cloud([20, 8])
    with pytest.raises(ValueError, match=r"y must be .* for SMOTE"):
        from_imblearn(SMOTE())(split._replace(y=split.x), seeded())


# ---- naive forms that fail --------------------------------------------------------------------------------


def test_default_neighbours_fail_on_two_minority_rows_where_ours_advise_or_repair():
    x = torch.tensor([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 5.0], [5.0, 6.0], [6.0, 7.0]])
    y = torch.tensor([0, 0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match="n_neighbors"):  # speaks of neighbours, says nothing of what to do
        SMOTE(random_state=0).fit_resample(x.numpy(), y.numpy())
    with pytest.raises(ValueError, match="lower k_neighbors to 1, or pass strict=False"):
        smote(Split(x, y, y), seeded())
    made, report = smote_with_report(Split(x, y, y), seeded(), strict=False)
    assert counts_of(made, 2) == [4, 4] and report.notes
    assert ((made.x[6:] >= 5) & (made.x[6:] <= 7)).all()


def test_whole_number_features_are_silently_cast_back_where_ours_refuse():
    x = torch.tensor([[1, 2], [2, 3], [3, 4], [4, 5], [1, 1], [3, 4]])
    y = torch.tensor([0, 0, 0, 0, 1, 1])
    split = Split(x, y, y)
    naive, _ = SMOTE(k_neighbors=1, random_state=0).fit_resample(x.numpy(), y.numpy())
    # Truncated, the blends of (1, 1) and (3, 4) land on old rows, among them rows of the *other* class.
    assert naive.dtype == np.int64
    old = {tuple(row) for row in x.tolist()}
    assert any(tuple(row) in old for row in naive[6:].tolist())
    landed = {
        tuple(row)
        for seed in range(20)
        for row in SMOTE(k_neighbors=1, random_state=seed).fit_resample(x.numpy(), y.numpy())[0][6:].tolist()
    }
    assert (1, 2) in landed
    with pytest.raises(TypeError, match=r"x must be floating point, got torch\.int64.*SMOTENC"):
        smote(split, seeded(), k_neighbors=1)
    with pytest.raises(
        TypeError, match=r"made fractions in columns \[0, 1\] of x, whose dtype is torch\.int64"
    ):
        from_imblearn(SMOTE(k_neighbors=1))(split, seeded())
    float_split = split._replace(x=x.float())
    assert (smote(float_split, seeded(), k_neighbors=1).x[6:] % 1 != 0).any()


@pytest.mark.parametrize("resample", [random_oversample, smote])
def test_resampling_before_the_split_flatters(resample):
    """F1 of the rare class where nothing can be learned: high when resampled first, near 0 done in order."""
    generator = seeded()
    x = torch.randn(800, 10, generator=generator)
    y = (torch.rand(800, generator=generator) < 0.08).long()
    whole = Split(x, y, y)

    def f1(train: Split, test: Split) -> float:
        forest = RandomForestClassifier(40, random_state=0).fit(train.x.numpy(), train.y.numpy())
        return float(f1_score(test.y.numpy(), forest.predict(test.x.numpy())))

    def halves(split: Split) -> tuple[Split, Split]:
        rows = train_test_split(
            np.arange(len(split.x)), test_size=0.3, stratify=split.y.numpy(), random_state=0
        )
        return tuple(split.take(torch.tensor(part)) for part in rows)

    wrong = f1(*halves(resample(whole, seeded())))
    train, test = halves(whole)
    right = f1(resample(train, seeded()), test)
    assert wrong > 0.85 and right < 0.15
