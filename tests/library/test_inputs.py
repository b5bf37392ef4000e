"""inputs: numbers mean the same however they are brought, and what is refused is told why and how to mend it."""

import re
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.inputs import (
    as_choice,
    as_counts,
    as_generator,
    as_labels,
    as_number,
    as_prior,
    as_scores,
    as_seed,
    as_shares,
    as_size,
    as_table,
    as_tensor,
    as_weights,
    warn_of_probabilities,
)

COUNTS = st.lists(st.integers(1, 10**6), min_size=1, max_size=100)
NAN, INF = float("nan"), float("inf")


def read_only(values) -> np.ndarray:
    array = np.array(values)
    array.setflags(write=False)
    return array


SHUFFLED = [7, 2, 9]  # an index as it is after a split: no 0, no order

# ---- labels -------------------------------------------------------------------------------------------------

WIDTHS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]
SAME_LABELS = {
    **{f"torch {width}": torch.tensor([0, 2, 1]).to(getattr(torch, width)) for width in WIDTHS},
    **{f"numpy {width}": np.array([0, 2, 1], dtype=width) for width in WIDTHS},
    "bfloat16": torch.tensor([0, 2, 1], dtype=torch.bfloat16),
    "list": [0, 2, 1],
    "tuple": (0, 2, 1),
    "list of tensors": [torch.tensor(0), torch.tensor(2), torch.tensor(1)],
    "whole floats": [0.0, 2.0, 1.0],
    "other byte order": np.array([0, 2, 1], dtype=">i4"),
    "backwards": np.array([1, 2, 0])[::-1],
    "read-only": read_only([0, 2, 1]),
    "objects": np.array([0, 2, 1], dtype=object),
    "Series": pd.Series([0, 2, 1]),
    "Series after a split": pd.Series([0, 2, 1], index=SHUFFLED),
    "Series with names": pd.Series([0, 2, 1], index=["ann", "bob", "cy"]),
    "nullable": pd.Series([0, 2, 1], dtype="Int64", index=SHUFFLED),
    "category of numbers": pd.Series([0, 2, 1], dtype="category"),
    "Index": pd.Index([0, 2, 1]),
    "with a gradient": torch.tensor([0.0, 2.0, 1.0], requires_grad=True),
}


@pytest.mark.parametrize("labels", SAME_LABELS.values(), ids=SAME_LABELS)
def test_labels_mean_the_same_however_they_are_brought(labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = as_labels(labels, num_classes=3, num_examples=3)
    assert got.dtype == torch.int64 and got.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    "labels",
    [
        [True, False],
        np.array([True, False]),
        torch.tensor([True, False]),
        pd.Series([True, False], dtype="boolean"),
    ],
)
def test_yes_and_no_are_the_labels_one_and_zero(labels):
    assert as_labels(labels).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "error", "reason"),
    [
        (
            ["cat", "dog"],
            TypeError,
            "strings such as 'cat': encode them first, `codes, names = pandas.factorize",
        ),
        (pd.Series(["cat", "dog"], index=[3, 1]), TypeError, "sklearn.preprocessing.LabelEncoder"),
        (pd.Series(["cat", "dog"], dtype="category"), TypeError, "strings such as 'cat'"),
        (["1", "2"], TypeError, "strings such as '1'"),
        ("cat", TypeError, "strings such as 'cat'"),
        ([0, "dog"], TypeError, "encode them first"),
        (np.array([0, "dog"], dtype=object), TypeError, "strings such as 'dog'"),
        (
            pd.Series([0, None, 1], dtype="Int64"),
            ValueError,
            "1 missing (or infinite )?values, the first at position 1: drop",
        ),
        ([0, None], ValueError, "1 missing values, the first at position 1"),
        (pd.Series([0, None, 1]), ValueError, "1 missing or infinite values, the first at position 1: drop"),
        ([0.0, INF], ValueError, "1 missing or infinite values"),
        ([0.2, 0.7], TypeError, "got 0.2, no whole number; probabilities become labels by a threshold"),
        ([0, 1.5], TypeError, "got 1.5, no whole number$"),
        ([1j, 0j], TypeError, "complex"),
        ([-1, 0], ValueError, 'negative label -1: where it means "no label", drop these examples'),
        ([0, -100], ValueError, "negative label -100"),
        ([0, 3], ValueError, r" 0\.\.2, got 3"),
        ([], ValueError, r"shape \(N,\) with N >= 1, got \(0,\)"),
        (3, ValueError, r"got \(\)"),
        ([[0], [1]], ValueError, r"got \(2, 1\): take its column \[:, 0\]"),
        (torch.eye(3), ValueError, r"of one-hot rows or scores take \.argmax\(1\)"),
        ([[0, 1], [2]], ValueError, "whole numbers"),
        ({0, 1}, TypeError, "got set objects"),
        (np.array(["2020-01-01"], dtype="M8[D]"), TypeError, "datetime64"),
    ],
)
def test_what_is_no_label_is_refused_with_the_true_reason_under_its_own_name(labels, error, reason):
    with pytest.raises(error, match="^my_group must be.*" + reason):
        as_labels(labels, "my_group", 3)


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="y must hold one label per example, 3, got 2"):
        as_labels([0, 1], "y", num_examples=3)


def test_the_labels_that_came_in_stay_as_they_were():
    array = np.array([0, 1, 1])
    as_labels(array).add(1)
    assert array.tolist() == [0, 1, 1]


# ---- counts, shares, weights: one number per class ---------------------------------------------------------

Y = pd.Series([1, 1, 1, 0, 2, 2], index=[4, 9, 1, 0, 7, 3])
BY_NAME = {
    "value_counts": Y.value_counts(),
    "value_counts of floats": Y.astype(float).value_counts(),
    "value_counts of a nullable": Y.astype("Int64").value_counts(),
    "sorted": Y.value_counts().sort_index(),
    "Counter": Counter(Y.tolist()),
    "dict": {2: 2, 1: 3, 0: 1},
}
BY_POSITION = {
    "list": [1, 3, 2],
    "array": np.array([1, 3, 2]),
    "int32": torch.tensor([1, 3, 2], dtype=torch.int32),
    "read-only": read_only([1, 3, 2]),
}


@pytest.mark.parametrize("counts", [*BY_NAME.values(), *BY_POSITION.values()], ids=[*BY_NAME, *BY_POSITION])
@pytest.mark.parametrize("convert", [as_counts, as_weights])
def test_value_counts_never_swap_the_classes(convert, counts):
    assert convert(counts).tolist() == [1, 3, 2]
    assert convert(counts, "n", 3).tolist() == [1, 3, 2]


def test_value_counts_as_shares_never_swap_the_classes():
    for shares in (Y.value_counts(normalize=True), {1: 0.5, 2: 1 / 3, 0: 1 / 6}):
        assert as_prior(shares).tolist() == pytest.approx([1 / 6, 1 / 2, 1 / 3])
        assert as_shares(shares, 3).tolist() == pytest.approx([1 / 6, 1 / 2, 1 / 3])


def test_a_class_that_value_counts_lacks_is_empty_where_k_is_known_and_asked_for_where_not():
    counts = pd.Series([0, 0, 2]).value_counts()
    assert as_counts(counts, num_classes=3).tolist() == [2, 0, 1]
    with pytest.raises(
        ValueError, match=r"named by the classes 0\.\.1, each once, got the names \[0, 2\].*reindex"
    ):
        as_counts(counts)


@pytest.mark.parametrize(
    "counts",
    [
        pd.Series(["cat", "dog", "dog"]).value_counts(),
        pd.Series([3, 4], index=[5, 6]),
        pd.Series([3, 4], index=[1, 1]),
        {0.5: 3, 1: 4},
        {-1: 3, 0: 4},
        {None: 3, 0: 4},
        {NAN: 3, 0: 4},
        pd.DataFrame({"y": [0, 1, 1]}).value_counts(),
    ],
)
def test_names_that_are_no_classes_are_refused(counts):
    for convert in (as_counts, as_weights):
        with pytest.raises(ValueError, match="my_counts must be named by the classes"):
            convert(counts, "my_counts")


@pytest.mark.parametrize("counts", [[], [0, 0], [-1, 2], [NAN, 1], [INF, 1], [[1, 2]], 3])
def test_bad_counts_are_refused_by_name(counts):
    with pytest.raises(ValueError, match="my_counts must"):
        as_counts(counts, "my_counts")


@pytest.mark.parametrize("weight", [[], [-1, 2], [NAN, 1], [INF, 1], [[1, 2]], 3, [1, 2, 3]])
def test_bad_weights_are_refused_by_name(weight):
    with pytest.raises(ValueError, match="my_weight must"):
        as_weights(weight, "my_weight", 2)


def test_weights_of_examples_go_by_position_whatever_the_index():
    assert as_weights(pd.Series([1.0, 2.0, 3.0], index=SHUFFLED), "weight", num_examples=3).tolist() == [
        1,
        2,
        3,
    ]
    assert as_shares(pd.Series([0.2, 0.3, 0.5], index=[2, 0, 1]), num_examples=3).tolist() == [0.2, 0.3, 0.5]
    with pytest.raises(ValueError, match="one share for each of the 4 examples, got 3"):
        as_shares([0.2, 0.3, 0.5], num_examples=4)


@given(COUNTS)
def test_shares_of_counts_are_accepted_unchanged(counts):
    shares = torch.tensor(counts, dtype=torch.float64)
    shares = shares / shares.sum()
    assert torch.equal(as_shares(shares, len(counts)), shares)


@given(COUNTS, st.sampled_from([torch.bfloat16, torch.float16, torch.float32]))
def test_shares_of_any_precision_are_completed_to_sum_to_one_in_float64(counts, dtype):
    """61 equal shares sum to .996 in bfloat16."""
    exact = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    for given_shares, truth in ((exact, exact), (torch.full((61,), 1 / 61), torch.full((61,), 1 / 61))):
        shares = as_shares(given_shares.to(dtype))
        assert shares.dtype == torch.float64
        assert shares.sum().item() == pytest.approx(1, abs=1e-15 * len(shares))
        assert torch.allclose(shares, truth.double(), rtol=2 * torch.finfo(dtype).eps, atol=1e-7)


def test_a_sum_that_rounding_does_not_explain_is_refused_in_half_precision_too():
    with pytest.raises(ValueError, match=r"mix must sum to 1, got a sum of 0\.9"):
        as_shares(torch.tensor([0.5, 0.45], dtype=torch.bfloat16))


def test_rows_of_shares_are_checked_row_by_row():
    assert as_shares([[1, 0], [0.5, 0.5]]).shape == (2, 2)
    with pytest.raises(ValueError, match=r"mix must sum to 1, got a sum of 0\.9"):
        as_shares([[1.0, 0.0], [0.5, 0.4]])


@pytest.mark.parametrize(
    "shares", [[0.5, 0.4], [1.5, -0.5], [NAN, 1.0], [INF, 0.0], [], [[[1.0]]], [0.0, 0.0]]
)
def test_bad_shares_are_refused_by_name(shares):
    with pytest.raises(ValueError, match="my_shares must"):
        as_shares(shares, name="my_shares")


def test_shares_of_the_wrong_number_of_classes_are_refused():
    with pytest.raises(ValueError, match="each of the 3 classes, got 2"):
        as_shares([0.5, 0.5], 3)
    with pytest.raises(ValueError, match=r"prior must have shape \(K,\), got \(1, 2\)"):
        as_prior([[0.5, 0.5]])


# ---- scores and features -----------------------------------------------------------------------------------


def test_scores_keep_their_gradient_and_their_dtype():
    scores = torch.tensor([[0.5, -1.0]], dtype=torch.float16, requires_grad=True)
    assert as_scores(scores) is scores


@pytest.mark.parametrize(
    ("scores", "error", "reason"),
    [
        (
            torch.zeros(4, 1),
            ValueError,
            r"shape \(N, K\) with K >= 2, got \(4, 1\): with z = my_z\.flatten\(\)",
        ),
        (torch.zeros(4), ValueError, r"got \(4,\): with z"),
        (torch.zeros(4, 3), ValueError, None),
        (torch.zeros(4, 2, dtype=torch.int64), TypeError, "floating point, got dtype torch.int64"),
    ],
)
def test_what_is_no_score_per_class_is_refused(scores, error, reason):
    if reason is None:
        with pytest.raises(error, match=r"my_z must hold a score per class, shape \(N, 2\)"):
            as_scores(scores, "my_z", 2)
        return
    with pytest.raises(error, match=f"my_z must .*{reason}"):
        as_scores(scores, "my_z")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_probabilities_bring_a_warning_where_scores_are_due(dtype):
    chances = torch.softmax(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), 1).to(dtype)
    with pytest.warns(UserWarning, match="my_z look like probabilities"):
        as_scores(chances, "my_z")


@given(st.integers(0, 10**6), st.integers(2, 20))
def test_scores_bring_no_warning(seed, num_classes):
    scores = torch.randn(16, num_classes, generator=torch.Generator().manual_seed(seed))
    for fine in (
        scores,
        torch.zeros_like(scores),
        scores.log_softmax(1),
        scores - scores.mean(1, keepdim=True),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_probabilities(fine, "z")


def test_a_first_row_that_sums_to_one_does_not_decide_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_probabilities(torch.tensor([[0.5, 0.5], [3.0, -1.0]]), "z")
        warn_of_probabilities(torch.tensor([[2.0, -1.0], [3.0, -2.0]]), "z")


@pytest.mark.parametrize(
    "x",
    [
        pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}, index=[9, 2]),
        pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}, index=[9, 2]).astype({"a": "Int64"}),
        [[1, 0.5], [2, 1.5]],
        read_only([[1, 0.5], [2, 1.5]]),
    ],
)
def test_a_table_goes_by_position_whatever_the_index(x):
    table = as_table(x, num_examples=2)
    assert table.dtype == torch.float64 and table.tolist() == [[1, 0.5], [2, 1.5]]


@pytest.mark.parametrize(
    ("x", "error", "reason"),
    [
        (pd.DataFrame({"a": [1, 2], "town": ["x", "y"]}), TypeError, r"columns \['town'\].*get_dummies"),
        (pd.DataFrame({"a": [1, 2], "kind": pd.Categorical(["x", "y"])}), TypeError, r"columns \['kind'\]"),
        (pd.DataFrame({"a": [1, NAN]}), ValueError, "1 missing or infinite values"),
        (
            pd.DataFrame({"a": pd.Series([1, None], dtype="Int64")}),
            ValueError,
            "1 missing or infinite values",
        ),
        ([1.0, 2.0], ValueError, r"shape \(2, d\), one row per example, got \(2,\)"),
        ([[1.0]], ValueError, r"shape \(2, d\)"),
        (np.zeros((2, 0)), ValueError, r"got \(2, 0\)"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(x, error, reason):
    with pytest.raises(error, match=f"my_x must .*{reason}"):
        as_table(x, "my_x", 2)


# ---- single values -----------------------------------------------------------------------------------------

WHOLE = [5, np.int8(5), np.uint64(5), torch.tensor(5), np.array(5)]


@pytest.mark.parametrize("value", WHOLE)
@pytest.mark.parametrize("convert", [as_size, as_seed])
def test_whole_numbers_of_every_make_are_seeds_and_sizes(convert, value):
    got = convert(value, "n")
    assert type(got) is int and got == 5


@pytest.mark.parametrize("value", [True, np.True_, 5.0, "5", None, [5], np.float64(5)])
@pytest.mark.parametrize("convert", [as_size, as_seed])
def test_what_is_no_whole_number_is_no_seed_and_no_size(convert, value):
    with pytest.raises(TypeError, match=re.escape(f"my_n must be a whole number, got {value!r}")):
        convert(value, "my_n")


@pytest.mark.parametrize("seed", [-1, 2**32, 2**40, np.int64(-1)])
def test_seeds_that_numpy_would_refuse_are_refused(seed):
    with pytest.raises(ValueError, match=rf"seed must be in 0\.\.4294967295, got {seed}"):
        as_seed(seed)


def test_the_smallest_and_largest_seed_serve_everywhere():
    for seed in (0, 2**32 - 1):
        np.random.default_rng(as_seed(seed))
        torch.Generator().manual_seed(as_seed(seed))


def test_sizes_out_of_range_are_refused():
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        as_size(0, "batch_size")
    with pytest.raises(ValueError, match=r"k must be in 1\.\.4, got 5"):
        as_size(5, "k", most=4)


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.int64(1), torch.tensor(1.0), np.array(1.0)])
def test_numbers_of_every_make_are_numbers(value):
    got = as_number(value, "n", 0, 1)
    assert type(got) is float and got == 1


@pytest.mark.parametrize("value", [True, "1", None, [1.0], 1j, torch.ones(1)])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="my_n must be a number"):
        as_number(value, "my_n")


@pytest.mark.parametrize(
    ("value", "limits", "wanted"),
    [
        (-1, {"low": 0}, "be finite and >= 0"),
        (0, {"low": 0, "above": True}, "be finite and > 0"),
        (INF, {"low": 0}, "be finite and >= 0"),
        (NAN, {}, "be finite"),
        (1.5, {"low": 0, "high": 1}, r"lie in \[0, 1\]"),
        (1, {"low": 0, "high": 1, "below": True}, r"lie in \[0, 1\)"),
        (0, {"low": 0, "high": 1, "above": True}, r"lie in \(0, 1\]"),
        (NAN, {"low": 0, "high": 1}, r"lie in \[0, 1\]"),
        (-INF, {"high": 1}, r"lie in \(-inf, 1\]"),
    ],
)
def test_numbers_out_of_range_are_refused(value, limits, wanted):
    with pytest.raises(ValueError, match=f"my_n must {wanted}, got"):
        as_number(value, "my_n", **limits)


def test_words_and_generators_are_checked():
    assert as_choice("mean", "reduction", ("none", "mean")) == "mean"
    with pytest.raises(ValueError, match=r"reduction must be one of \('none', 'mean'\), got 'max'"):
        as_choice("max", "reduction", ("none", "mean"))
    with pytest.raises(ValueError, match="got None"):
        as_choice(None, "reduction", ("none", "mean"))
    generator = torch.Generator()
    assert as_generator(generator) is generator
    with pytest.raises(TypeError, match=r"generator must be a torch.Generator, got int: .*manual_seed"):
        as_generator(3)


def test_numbers_are_shared_where_they_can_be_and_copied_where_they_must_be():
    array, fixed = np.zeros(3), read_only([0.0, 1.0])
    assert as_tensor(array, "x").data_ptr() == array.ctypes.data
    as_tensor(fixed, "x").add_(1)
    assert fixed.tolist() == [0, 1]
