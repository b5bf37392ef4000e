"""data: nothing leaks between the parts, counts follow the profile, and the made sets are what they say."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import data
from course_lib.data import (
    Batch,
    Split,
    Task,
    cross_entropy_each,
    digits,
    fraud_like,
    gaussian_classes,
    imbalanced_counts,
    make_imbalanced,
    mean_estimation,
    rare_cancer,
    squared_error_each,
    standardise,
    stratified_split,
    table_task,
)
from course_lib.priors import class_count, imbalance_ratio

PARTS = ("train", "validation", "test")
LOADERS = {
    "digits": digits,
    "rare_cancer": rare_cancer,
    "gaussian_classes": gaussian_classes,
    "fraud_like": lambda **kw: fraud_like(num_train=2000, num_held=2000, **kw),
    "mean_estimation": lambda **kw: mean_estimation(num_held=100, **kw),
}


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_a_task_says_whether_another_seed_draws_new_data(make):
    """Where it does not, an example has its own copy under the other seed, nearer than any neighbour of its own set."""

    def rows(task):
        x = torch.cat([getattr(task, part).x.flatten(1) for part in PARTS]).double()
        return (x - x.mean(0)) / x.std(0).clamp_min(1e-9)

    task = make(seed=0)
    one, other = rows(task), rows(make(seed=1))
    own = torch.cdist(one[:300], one).topk(2, largest=False).values[:, 1]
    across = torch.cdist(one[:300], other).amin(1)
    assert task.fresh is bool(across.median() > own.median() / 2)


def rows_of(split):
    return {tuple(row) for row in split.x.flatten(1).tolist()}


@pytest.fixture(scope="module", params=LOADERS)
def loader(request):
    return LOADERS[request.param]


# ---- every task -------------------------------------------------------------------------------------------


def test_parts_do_not_overlap(loader):
    task = loader(seed=1)
    train, validation, test = (rows_of(getattr(task, part)) for part in PARTS)
    assert not train & validation and not train & test and not validation & test


def test_the_same_seed_gives_the_same_task_and_another_seed_another(loader):
    one, two, other = loader(seed=1), loader(seed=1), loader(seed=2)
    for part in PARTS:
        assert all(torch.equal(a, b) for a, b in zip(getattr(one, part), getattr(two, part), strict=True))
        assert rows_of(getattr(one, part)) != rows_of(getattr(other, part))


def test_model_and_loss_fit_the_data(loader):
    task = loader()
    batch = task.train.take(torch.arange(8))
    each = task.example_loss(task.model()(batch.x), batch.y)
    assert each.shape == (8,) and torch.isfinite(each).all()
    assert batch.x.dtype == torch.float32 and batch.group.dtype == torch.int64


def test_target_prior_is_that_of_the_test_part(loader):
    task = loader()
    shares = class_count(task.test.group, task.num_groups) / len(task.test.group)
    assert torch.allclose(task.target_prior, shares.double(), atol=1e-3)


def test_a_task_survives_pickling(loader):
    """Workers of an experiment get their task this way."""
    task = loader()
    again = pickle.loads(pickle.dumps(task))
    assert torch.equal(again.train.x, task.train.x)
    assert again.model()(again.train.x[:2]).shape == task.model()(task.train.x[:2]).shape


def test_task_knows_its_counts_and_moves(loader):
    task = loader().to("cpu")
    assert task.train_count.sum() == len(task.train.y)
    assert torch.allclose(task.train_prior, task.train_count.double() / len(task.train.y))
    assert task.train_prior.dtype == torch.float64


def small_task(**changes):
    split = Split(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 1]))
    fields = {
        "name": "small", "kind": "classification", "train": split, "validation": split, "test": split,
        "num_groups": 2, "group_names": ("a", "b"), "target_prior": torch.tensor([0.5, 0.5]),
        "model": lambda: torch.nn.Linear(2, 2),
    }  # fmt: skip
    return Task(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "ranking"}, "kind"),
        ({"group_names": ("a",)}, "group_names"),
        ({"target_prior": torch.tensor([0.5, 0.4])}, "target_prior"),
        ({"target_prior": torch.tensor([1.0])}, "target_prior"),
        ({"target_prior": torch.full((2, 2), 0.5)}, "target_prior"),
        ({"test": Split(torch.zeros(3, 2), torch.zeros(4), torch.zeros(4, dtype=torch.int64))}, "test must"),
        (
            {"num_groups": 1, "group_names": ("a",), "target_prior": torch.tensor([1.0])},
            r"^train.group must be 0\.\.0, got 1",
        ),
        ({"train": Split(torch.zeros(2, 2), [0, -1], [0, 1])}, r"^train.y must .* negative label -1"),
        (
            {"test": Split(torch.tensor([[1e300, 0]] * 2).double(), [0, 1], [0, 1])},
            "^test.x must be finite in torch.float32",
        ),
        ({"test": Split(torch.tensor([[float("nan"), 0]] * 2), [0, 1], [0, 1])}, "^test.x must be finite"),
    ],
)
def test_a_task_that_does_not_fit_together_is_refused(changes, named):
    with pytest.raises(ValueError, match=named):
        small_task(**changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"model": torch.nn.Linear(2, 2)},
            "model must build a fresh network whenever it is called.*got Linear",
        ),
        ({"model": None}, "model must build a fresh network.*got NoneType"),
        (
            {"train": Split(torch.zeros(2, 2), [0.5, 1], [0, 1])},
            r"^train.y must be whole numbers 0\.\.K-1, got 0.5",
        ),
        (
            {"validation": Split(torch.zeros(2, 2), ["a", "b"], [0, 1])},
            r"^validation.y must .*pandas.factorize",
        ),
        ({"num_groups": 2.0}, "^num_groups must be a whole number"),
    ],
)
def test_a_task_of_wrong_things_is_refused_when_it_is_made(changes, reason):
    with pytest.raises(TypeError, match=reason):
        small_task(**changes)


HAND_MADE = {
    "NumPy": (np.zeros((4, 2)), np.array([0, 0, 1, 1])),
    "float64 x": (torch.zeros(4, 2, dtype=torch.float64), torch.tensor([0, 0, 1, 1])),
    "float16 x": (torch.zeros(4, 2, dtype=torch.float16), torch.tensor([0, 0, 1, 1])),
    "float y": (torch.zeros(4, 2), torch.tensor([0.0, 0, 1, 1])),
    "int32 y": (torch.zeros(4, 2), torch.tensor([0, 0, 1, 1], dtype=torch.int32)),
    "bool y": (torch.zeros(4, 2), np.array([False, False, True, True])),
    "pandas": (
        pd.DataFrame(np.zeros((4, 2)), index=[3, 9, 1, 4]),
        pd.Series([0, 0, 1, 1], index=[3, 9, 1, 4]),
    ),
    "lists": ([[0.0, 0.0]] * 4, [0, 0, 1, 1]),
}


@pytest.mark.parametrize(("x", "y"), HAND_MADE.values(), ids=HAND_MADE)
def test_a_task_made_by_hand_trains(x, y):
    part = Split(x, y, y)
    task = small_task(train=part, validation=part, test=part)
    for name in PARTS:
        split = getattr(task, name)
        assert split.x.dtype == torch.float32 and split.y.dtype == torch.int64
        assert split.group is split.y and split.y.tolist() == [0, 0, 1, 1]
        task.example_loss(task.model()(split.x), split.y).mean().backward()
    assert task.target_prior.dtype == torch.float64


@pytest.mark.parametrize("y", [np.array([[1], [2]]), torch.tensor([[1.0], [2.0]]).double(), [[1], [2]]])
def test_numbers_to_be_guessed_become_those_of_networks(y):
    part = Split([[0.0, 1.0]] * 2, y, np.array([0, 1], dtype=np.int8))
    task = small_task(
        kind="regression", train=part, validation=part, test=part, example_loss=squared_error_each,
        model=lambda: torch.nn.Linear(2, 1),
    )  # fmt: skip
    assert task.train.y.dtype == torch.float32 and task.train.group.dtype == torch.int64
    task.example_loss(task.model()(task.train.x), task.train.y).mean().backward()


def test_pixels_and_words_in_whole_numbers_stay_whole():
    part = Split(torch.zeros(4, 3, dtype=torch.uint8), [0, 0, 1, 1], [0, 0, 1, 1])
    assert small_task(train=part).train.x.dtype == torch.uint8


def test_tasks_compare_by_identity():
    assert small_task() != small_task()


def test_batch_has_no_weight_unless_given():
    assert Batch(*[torch.zeros(2)] * 4).weight is None


# ---- example losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_example_losses_average_to_torchs(dtype):
    outputs, y = torch.randn(6, 3, dtype=dtype), torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.allclose(
        cross_entropy_each(outputs, y).mean(), torch.nn.functional.cross_entropy(outputs, y)
    )
    values = torch.randn(6, 3, dtype=dtype)
    assert torch.allclose(
        squared_error_each(outputs, values).mean(), 3 * torch.nn.functional.mse_loss(outputs, values)
    )
    assert squared_error_each(outputs[:, 0], values[:, 0]).shape == (6,)
    assert squared_error_each(outputs[:0], values[:0]).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_example_losses_in_half_precision_are_those_of_float32(dtype):
    outputs, y = torch.tensor([[300.0], [-2.0]], dtype=dtype), torch.zeros(2, 1, dtype=dtype)
    assert squared_error_each(outputs, y).tolist() == [90_000, 4]
    scores = torch.tensor([[3.0, -1.0]], dtype=dtype)
    assert cross_entropy_each(scores, torch.tensor([0])).dtype == torch.float32


def test_squared_error_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"y must have the shape of outputs, \(4, 1\), got \(4,\)"):
        squared_error_each(torch.zeros(4, 1), torch.zeros(4))


# ---- splitting --------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(20, 200), min_size=1, max_size=6), st.integers(0, 100))
def test_a_split_uses_every_row_once_and_keeps_the_shares(counts, seed):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    parts = stratified_split(labels, seed=seed)
    assert torch.cat(parts).sort().values.tolist() == list(range(len(labels)))
    for rows, share in zip(parts, (0.70, 0.15, 0.15), strict=True):
        expected = share * torch.tensor(counts)
        assert (class_count(labels[rows], len(counts)) - expected).abs().max() <= 2


@pytest.mark.parametrize("fewest", [1, 2, 3, 5])
def test_a_class_too_small_for_every_part_is_refused_with_its_counts(fewest):
    labels = torch.tensor([0] * 100 + [1] * fewest)
    with pytest.raises(
        ValueError, match=rf"labels: a class is too small.*counts \{{1: {fewest}\}}: bring more"
    ):
        stratified_split(labels)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=5).filter(any),
    st.sampled_from([(0.7, 0.15, 0.15), (0.9, 0.05, 0.05), (0.34, 0.33, 0.33), (0.1, 0.8, 0.1)]),
)
def test_the_seed_never_decides_whether_a_split_works(counts, fractions):
    """With five of a class scikit-learn's two splits fail for some seeds, and leave a part without it for others."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    works = set()
    for seed in range(12):
        try:
            parts = stratified_split(labels, fractions=fractions, seed=seed)
        except ValueError as error:
            assert "a class is too small" in str(error)
            works.add(False)
        else:
            works.add(True)
            present = set(labels.tolist())
            assert all(set(labels[part].tolist()) == present for part in parts)
    assert len(works) == 1


def test_ten_of_a_class_are_enough_at_the_default_fractions():
    for others in range(10, 60):
        stratified_split([0] * others + [1] * 10)


@pytest.mark.parametrize(
    "make", [lambda seed: stratified_split([0] * 40 + [1] * 40, seed=seed), *LOADERS.values()]
)
@pytest.mark.parametrize("seed", [-1, 2**40])
def test_a_seed_out_of_range_is_refused_as_a_seed(make, seed):
    with pytest.raises(ValueError, match=rf"^seed must be in 0\.\.4294967295, got {seed}"):
        make(seed=seed)


@pytest.mark.parametrize("name", LOADERS)
def test_numpy_integers_are_seeds(name):
    assert torch.equal(LOADERS[name](seed=np.int64(3)).train.x, LOADERS[name](seed=3).train.x)


@pytest.mark.parametrize(
    "labels",
    [
        pd.Series([0, 1] * 50, index=range(7, 107)),
        np.array([0, 1] * 50, dtype=np.uint8),
        [0.0, 1.0] * 50,
        pd.Series([0, 1] * 50, dtype="Int64"),
    ],
)
def test_labels_however_brought_are_split_and_thinned_alike(labels):
    plain = torch.tensor([0, 1] * 50)
    assert all(
        torch.equal(a, b) for a, b in zip(stratified_split(labels), stratified_split(plain), strict=True)
    )
    assert torch.equal(
        make_imbalanced(labels, 5, order=np.array([1, 0])), make_imbalanced(plain, 5, order=[1, 0])
    )


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.8, 0.1, 0.2), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1)])
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(ValueError, match="fractions must be three positive shares"):
        stratified_split(torch.zeros(10, dtype=torch.int64), fractions=fractions)


# ---- thinning ---------------------------------------------------------------------------------------------


@given(
    st.integers(1, 10_000),
    st.integers(1, 100),
    st.floats(1, 1000),
    st.sampled_from(["long_tailed", "step"]),
)
def test_counts_fall_from_most_to_most_over_ratio(most, num_classes, ratio, profile):
    counts = imbalanced_counts(most, num_classes, ratio, profile)
    assert counts.dtype == torch.int64 and len(counts) == num_classes
    assert counts[0] == most
    assert (counts.diff() <= 0).all() and (counts >= 1).all()
    if num_classes > 1:
        assert counts[-1] == max(1, round(most / ratio)) or abs(counts[-1] - most / ratio) <= 0.5 + 1e-6


def test_a_long_tail_is_a_straight_line_on_a_log_axis():
    logs = imbalanced_counts(10**9, 10, 100).double().log()
    assert torch.allclose(logs.diff(), logs.diff().mean().expand(9), atol=1e-6)


def test_a_step_has_two_levels():
    assert imbalanced_counts(100, 5, 10, "step").tolist() == [100, 100, 100, 10, 10]


@settings(deadline=None)
@given(
    st.lists(st.integers(50, 300), min_size=2, max_size=8),
    st.floats(1, 20),
    st.sampled_from(["long_tailed", "step"]),
    st.randoms(use_true_random=False),
)
def test_thinning_reaches_the_ratio_with_as_many_as_possible(counts, ratio, profile, random):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    order = random.sample(range(len(counts)), len(counts))
    rows = make_imbalanced(labels, ratio, profile=profile, order=order, seed=random.randrange(100))
    assert len(rows.unique()) == len(rows) and (rows.diff() > 0).all()
    kept = class_count(labels[rows], len(counts))[order]
    assert kept.tolist() == imbalanced_counts(int(kept[0]), len(counts), ratio, profile).tolist()
    one_more = imbalanced_counts(int(kept[0]) + 1, len(counts), ratio, profile)
    assert (one_more > torch.tensor(counts)[order]).any()


def test_thinning_gives_way_where_rounding_asks_for_one_too_many():
    """3 / 2 rounds to 2 and there is only 1."""
    labels = torch.tensor([0] * 10 + [1])
    assert class_count(labels[make_imbalanced(labels, 2)]).tolist() == [2, 1]


def test_thinning_is_quick_on_a_million_rows():
    labels = torch.cat([torch.zeros(1_000_000, dtype=torch.int64), torch.ones(10, dtype=torch.int64)])
    assert class_count(labels[make_imbalanced(labels, 1)]).tolist() == [10, 10]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"imbalance_ratio": 0.5}, "imbalance_ratio"),
        ({"imbalance_ratio": float("inf")}, "imbalance_ratio"),
        ({"imbalance_ratio": float("nan")}, "imbalance_ratio"),
        ({"imbalance_ratio": 2, "profile": "cliff"}, "profile"),
        ({"imbalance_ratio": 2, "order": [0, 0, 1]}, "order"),
        ({"imbalance_ratio": 2, "order": [0, 1]}, "order"),
        ({"imbalance_ratio": 2, "labels": torch.tensor([0, 2])}, "labels"),
    ],
)
def test_thinning_refuses_bad_arguments_by_name(arguments, named):
    with pytest.raises(ValueError, match=named):
        make_imbalanced(**({"labels": torch.tensor([0, 0, 1, 1, 2, 2])} | arguments))


@pytest.mark.parametrize(("most", "num_classes"), [(0, 3), (3, 0)])
def test_counts_need_classes_and_examples(most, num_classes):
    with pytest.raises(ValueError, match=r"(most|num_classes) must be >= 1, got 0"):
        imbalanced_counts(most, num_classes, 2)


# ---- scaling ----------------------------------------------------------------------------------------------


def test_scaling_looks_at_the_training_part_only():
    train, held = torch.randn(100, 3) * 5 + 2, torch.randn(50, 3) + 1000
    alone = standardise(train)[0]
    together, moved = standardise(train, held)
    assert torch.equal(alone, together)
    assert torch.allclose(together.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(together.std(0, correction=0), torch.ones(3), atol=1e-5)
    assert torch.allclose(moved, (held - train.mean(0)) / train.std(0, correction=0), rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaling_leaves_a_constant_column_unscaled(dtype):
    """The naive standard deviation of a constant 0.1 is a rounding error, not 0."""
    train, held = torch.full((1000, 1), 0.1, dtype=dtype), torch.tensor([[0.1], [0.6]], dtype=dtype)
    scaled, moved = standardise(train, held)
    assert scaled.dtype == dtype and (scaled == 0).all()
    assert moved.flatten().tolist() == pytest.approx([0, 0.5], abs=1e-6)
    assert standardise(train[:1])[0].tolist() == [[0]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_whole_numbers_keep_their_fractions_when_scaled(dtype):
    """Cast back to whole numbers, they lost them, and uint8 wrapped round."""
    train, held = torch.tensor([[0], [3], [10]], dtype=dtype), torch.tensor([[1]], dtype=dtype)
    expected = standardise(train.double(), held.double())
    for got, wanted in zip(standardise(train, held), expected, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted.float())


def test_a_column_of_times_keeps_its_digits():
    """Seconds since 1970 differ by hours; in float32 they are 128 seconds apart."""
    seconds = 1.7e9 + np.arange(1000.0)[:, None]
    expected = (np.arange(1000.0) - 499.5) / np.std(np.arange(1000.0))
    assert standardise(seconds)[0].flatten().tolist() == pytest.approx(expected.tolist(), abs=1e-9)
    task = table_task("times", np.hstack([seconds, -seconds]), [0, 1] * 500, names=("a", "b"))
    assert len(task.train.x[:, 0].unique()) == 700
    assert task.train.x.std(0, correction=0).tolist() == pytest.approx([1, 1], abs=1e-4)


@pytest.mark.parametrize("size", [1e300, 1e-300, 1e160])
def test_huge_and_tiny_columns_are_scaled_like_any_other(size):
    """The square of 1e300 is no number."""
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(standardise(size * x)[0], standardise(x)[0])
    task = table_task("huge", size * x, [0, 1] * 100, names=("a", "b"))
    assert torch.isfinite(task.train.x).all() and task.train.x.std(0, correction=0).tolist() == pytest.approx(
        [1, 1]
    )


def test_scaling_takes_arrays_and_tables_and_leaves_them_alone():
    x = np.array([[1, 5.0], [3, 5.0]])
    x.setflags(write=False)
    expected = standardise(torch.tensor(x))[0]
    for brought in (x, pd.DataFrame(x, index=[8, 2]), x.tolist()):
        assert torch.equal(standardise(brought)[0], expected)
    assert x.tolist() == [[1, 5], [3, 5]]


def test_scaling_needs_an_example():
    with pytest.raises(ValueError, match="train"):
        standardise(torch.zeros(0, 2))


def test_tasks_from_tables_are_scaled_by_the_training_part(loader):
    task = loader()
    if task.name.startswith(("rare", "fraud")):
        numbers = task.train.x[:, :4]
        assert torch.allclose(numbers.mean(0), torch.zeros(4), atol=1e-4)
        assert torch.allclose(numbers.std(0, correction=0), torch.ones(4), atol=1e-4)
        assert not torch.allclose(task.test.x[:, :4].mean(0), torch.zeros(4), atol=1e-4)


# ---- digits and rare_cancer -------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [1, 5, 20, 100])
def test_digits_are_thinned_in_training_only(ratio):
    task = digits(ratio, seed=3)
    assert imbalance_ratio(task.train_count) == pytest.approx(ratio, rel=0.5 if ratio == 100 else 0.1)
    for part in (task.validation, task.test):
        assert len(class_count(part.y).unique()) == 1 and class_count(part.y)[0] >= 24
    assert (task.target_prior == 0.1).all()
    assert task.train.x.shape[1:] == (1, 8, 8)
    assert task.train.x.min() >= 0 and task.train.x.max() <= 1


def test_digits_have_the_same_held_out_parts_for_every_ratio():
    one, two = digits(1, seed=4), digits(50, seed=4, order=range(9, -1, -1))
    assert torch.equal(one.test.x, two.test.x) and torch.equal(one.validation.x, two.validation.x)
    assert two.train_count.argmax() == 9


@pytest.mark.parametrize("prevalence", [0.09, 0.10, 0.37])
def test_rare_cancer_is_as_rare_in_every_part(prevalence):
    task = rare_cancer(prevalence, seed=2)
    for part in PARTS:
        y = getattr(task, part).y
        assert y.sum() >= 5
        assert y.double().mean().item() == pytest.approx(prevalence, abs=0.02)
    assert task.group_names == ("benign", "malignant")


@pytest.mark.parametrize("prevalence", [0, -0.1, 0.5, float("nan")])
def test_rare_cancer_refuses_a_prevalence_it_cannot_have(prevalence):
    with pytest.raises(ValueError, match="prevalence must lie in"):
        rare_cancer(prevalence)


def test_fewer_than_five_positives_in_a_part_are_refused():
    with pytest.raises(ValueError, match="examples of a class, at least 5 are needed"):
        rare_cancer(0.05)
    with pytest.raises(ValueError, match=r"num_held = 100 gives class counts \[99, 1\]"):
        gaussian_classes((0.99, 0.01), num_held=100)
    with pytest.raises(ValueError, match=r"num_train = 1000 gives class counts \[999, 1\]"):
        fraud_like(0.001, num_train=1000)


# ---- your own table ---------------------------------------------------------------------------------------


def test_a_table_may_be_an_array():
    generator = np.random.default_rng(0)
    task = table_task("mine", generator.normal(size=(200, 3)), [0] * 150 + [1] * 50, names=("no", "yes"))
    assert task.train.x.dtype == torch.float32 and len(task.train.y) == 140
    assert task.model()(task.test.x).shape == (30, 2)


def test_a_table_may_be_a_part_of_a_data_frame():
    """Its columns have names and its index neither a 0 nor an order."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(200, 3)), columns=["a", "b", "c"]).assign(n=range(200))
    y = pd.Series([0] * 150 + [1] * 50)
    mixed = generator.permutation(200)
    frame, y = frame.iloc[mixed], y.iloc[mixed]
    task = table_task("mine", frame, y, names=("no", "yes"))
    again = table_task("mine", frame.to_numpy(), y.tolist(), names=("no", "yes"))
    assert torch.equal(task.train.x, again.train.x) and torch.equal(task.test.y, again.test.y)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (
            pd.DataFrame({"a": np.arange(100.0), "town": ["x"] * 100}),
            [0, 1] * 50,
            r"x must .*\['town'\].*get_dummies",
        ),
        (np.random.rand(100, 2), ["no", "yes"] * 50, "y must .*strings such as 'no': encode them first"),
        (np.random.rand(100, 2), np.random.rand(100), "y must .*probabilities become labels by a threshold"),
    ],
)
def test_a_table_of_words_is_refused_with_what_to_do(x, y, reason):
    with pytest.raises(TypeError, match=reason):
        table_task("mine", x, y, names=("no", "yes"))


@pytest.mark.parametrize(
    ("x", "y", "named"),
    [
        (torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64), "x must have shape"),
        (torch.zeros(4), torch.zeros(4, dtype=torch.int64), "x must have shape"),
        (torch.full((100, 2), float("nan")), torch.arange(100) % 2, "x must be finite"),
        (torch.randn(100, 2), torch.arange(100) % 3, "must be 0..1, got 2"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(x, y, named):
    with pytest.raises(ValueError, match=named):
        table_task("mine", x, y, names=("no", "yes"))


# ---- gaussian_classes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [(1.0,), (0.5, 0.5), (0.99, 0.01), [0.1] * 10, (0.6, 0.0, 0.4)])
def test_gaussian_classes_follow_the_prior_in_every_part(prior):
    task = gaussian_classes(prior, num_train=1000, num_held=1000)
    for part in PARTS:
        counts = class_count(getattr(task, part).y, len(prior))
        assert counts.tolist() == [round(1000 * share) for share in prior]


def test_gaussian_means_are_neighbours_two_apart_by_default():
    for num_classes in (2, 3, 5):
        means = gaussian_classes([1 / num_classes] * num_classes).posterior.means
        gaps = (means - means.roll(1, 0)).norm(dim=1)
        assert torch.allclose(gaps, torch.full((num_classes,), 2.0, dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"prior": (0.5, 0.4)}, "prior"),
        ({"prior": [[0.5, 0.5]]}, "prior"),
        ({"means": [[0.0, 0.0]]}, "means"),
        ({"means": [[0.0, 0.0], [float("nan"), 0.0]]}, "means"),
        ({"std": 0.0}, "std"),
        ({"std": (1.0, -1.0)}, "std"),
        ({"std": (1.0, 1.0, 1.0)}, "std"),
        ({"std": float("inf")}, "std"),
    ],
)
def test_gaussian_classes_refuse_bad_arguments_by_name(arguments, named):
    with pytest.raises(ValueError, match=f"^{named} must"):
        gaussian_classes(**arguments)


# ---- fraud_like -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prevalence", [0.5, 0.01, 0.001])
def test_fraud_is_as_rare_in_every_part(prevalence):
    task = fraud_like(prevalence)
    for part in PARTS:
        assert getattr(task, part).y.sum() == round(20_000 * prevalence)


def test_label_noise_swaps_training_labels_and_nothing_else():
    clean, noisy = fraud_like(seed=5), fraud_like(label_noise=0.3, seed=5)
    assert torch.equal(clean.train.x, noisy.train.x)
    assert torch.equal(clean.validation.y, noisy.validation.y) and torch.equal(clean.test.y, noisy.test.y)
    assert torch.equal(clean.train_count, noisy.train_count)
    assert ((clean.train.y == 1) & (noisy.train.y == 0)).sum() == 60  # 0.3 of 200
    assert ((clean.train.y == 0) & (noisy.train.y == 1)).sum() == 60
    assert torch.equal(noisy.train.group, noisy.train.y)


@pytest.mark.parametrize(
    ("named", "value"),
    [
        ("prevalence", 0),
        ("prevalence", 0.6),
        ("prevalence", float("nan")),
        ("label_noise", -0.1),
        ("label_noise", 1.0),
    ],
)
def test_fraud_refuses_bad_arguments_by_name(named, value):
    with pytest.raises(ValueError, match=f"^{named} must"):
        fraud_like(**{named: value})


# ---- mean_estimation --------------------------------------------------------------------------------------


def test_mean_estimation_is_the_papers():
    task = mean_estimation()
    assert task.train_count.tolist() == [1000, 1000, 800, 200]
    assert class_count(task.test.group).tolist() == class_count(task.validation.group).tolist() == [1000] * 4
    assert task.test.x.shape == (4000, 10) and task.test.y.shape == (4000, 1)
    for kind, (low, high) in enumerate([(0, 1), (0, 1), (0, 1), (20, 50)]):
        means = task.test.y[task.test.group == kind]
        assert low <= means.min() and means.max() <= high
        assert means.mean().item() == pytest.approx((low + high) / 2, abs=0.05 * (high - low))


def test_the_mean_of_the_draws_has_the_error_that_theory_says():
    """Variance over ten: normal 1/10, exponential E[m^2]/10, chi-squared E[2m]/10, uniform (20^2/12)/10."""
    errors = []
    for seed in range(5):
        test = mean_estimation(seed=seed).test
        each = squared_error_each(test.x.mean(1, keepdim=True), test.y)
        errors.append([each[test.group == kind].mean().item() for kind in range(4)])
    errors = np.mean(errors, 0)
    assert errors == pytest.approx([0.1, 1 / 30, 0.1, 10 / 3], rel=0.1)
    assert errors.mean() == pytest.approx(0.890, abs=0.03)


@pytest.mark.parametrize(
    "arguments", [{"counts": (10, 10, 10)}, {"counts": (10, 10, 10, 4)}, {"num_held": 1}]
)
def test_mean_estimation_refuses_too_few(arguments):
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))} must be"):
        mean_estimation(**arguments)


def test_kinds_and_fewest_positives_are_public():
    assert data.FEWEST_POSITIVES == 5
    assert "reconstruction" in data.KINDS


def test_a_task_prints_as_a_line_and_not_as_its_tensors():
    text = repr(data.digits(20))
    assert "digits" in text and "423/260/260 examples" in text and len(text) < 120


def test_label_and_group_stay_one_tensor_where_they_are_one():
    y = torch.tensor([0, 1, 1])
    split = data.Split(torch.zeros(3, 2), y, y)
    for other in (split.take(torch.tensor([2, 0])), split.to("cpu")):
        assert other.y is other.group
    apart = data.Split(torch.zeros(3, 2), y, y.clone()).take(torch.tensor([1]))
    assert apart.y is not apart.group
