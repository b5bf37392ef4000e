"""data: nothing leaks between the parts, counts follow the profile, and the made sets are what they say."""

import pickle

import numpy as np
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
        "num_groups": 2, "group_names": ("a", "b"), "target_prior": torch.tensor([0.5, 0.5]), "model": None,
    }  # fmt: skip
    return Task(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "ranking"}, "kind"),
        ({"group_names": ("a",)}, "group_names"),
        ({"target_prior": torch.tensor([0.5, 0.4])}, "target_prior"),
        ({"target_prior": torch.tensor([1.0])}, "target_prior"),
        ({"test": Split(torch.zeros(3, 2), torch.zeros(4), torch.zeros(4, dtype=torch.int64))}, "test"),
        ({"num_groups": 1, "group_names": ("a",), "target_prior": torch.tensor([1.0])}, "labels"),
    ],
)
def test_a_task_that_does_not_fit_together_is_refused(changes, named):
    with pytest.raises(ValueError, match=named):
        small_task(**changes)


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


@pytest.mark.parametrize("fewest", [1, 2, 3])
def test_a_class_too_small_for_every_part_is_refused_with_its_counts(fewest):
    labels = torch.tensor([0] * 100 + [1] * fewest)
    with pytest.raises(ValueError, match=rf"labels: a class is too small.*1: {fewest}"):
        stratified_split(labels)


@pytest.mark.parametrize("fewest", [2, 4, 6, 8])
def test_a_split_that_succeeds_has_every_class_in_every_part(fewest):
    """scikit-learn's stratified split alone lets a class of two miss a part in silence."""
    labels = torch.tensor([0] * 100 + [1] * fewest)
    for seed in range(20):
        try:
            parts = stratified_split(labels, fractions=(0.9, 0.05, 0.05), seed=seed)
        except ValueError as error:
            assert "a class is too small" in str(error)
        else:
            assert all(labels[part].any() for part in parts)


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
    with pytest.raises(ValueError, match="most and num_classes"):
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
    with pytest.raises(ValueError, match="counts"):
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
