"""Exercises of lesson 01: right answers written differently pass, wrong ones hear what is meant for them."""

import pytest
import torch

from course_lib.classroom import checks
from course_lib.classroom.lessons.lesson_01.checks import some_answers, some_table
from tests.lessons.answers import refused

# ---- 01.1: count ----


def table_of(y, called):
    return torch.tensor([[((y == i) & (called == k)).sum() for k in (0, 1)] for i in (0, 1)]).float()


def by_bincount(y, called):
    table = torch.bincount(2 * y + called, minlength=4).reshape(2, 2)
    return table, table[1, 1] / (y == 1).sum(), table[1, 1] / (called == 1).sum()


def in_plain_python(y, called):
    pairs = list(zip(y.tolist(), called.tolist()))
    table = [[pairs.count((truth, answer)) for answer in (0, 1)] for truth in (0, 1)]
    return table, table[1][1] / sum(table[1]), table[1][1] / (table[0][1] + table[1][1])


def by_means(y, called):
    return table_of(y, called).long(), called[y == 1].float().mean(), y[called == 1].float().mean()


@pytest.mark.parametrize("function", [by_bincount, in_plain_python, by_means])
def test_counting_in_another_way_is_right(function, capsys):
    for _ in range(5):
        checks.require("01.1", function)
    assert capsys.readouterr().out.count("Right. ") == 5


def with_table(change):
    """A function that is right but for one result."""

    def count_answers(y, called):
        table, recall, precision = by_means(y, called)
        return change(table, recall, precision)

    return count_answers


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t, r, p: (t.T, p, r), "turned over"),
        (lambda t, r, p: (t, p, r), "changed places"),
        (lambda t, r, p: (t, r, r), "Precision divides by the column"),
        (lambda t, r, p: (t, t[0, 0] / t[0].sum(), t[0, 0] / t[:, 0].sum()), "about the healthy"),
        (lambda t, r, p: (t, t[1, 1] / t.sum(), p), "result 2"),
        (lambda t, r, p: (t, r, t[1, 1] / t.sum()), "result 3"),
        (lambda t, r, p: (t / t.sum(), r, p), "result 1"),
        (lambda t, r, p: (t, r), "3 results were expected"),
        (lambda t, r, p: None, "return"),
    ],
)
def test_wrong_counts_hear_why(change, said):
    for _ in range(3):
        assert said in refused("01.1", with_table(change))


def test_one_blank_filled_still_waits():
    def count_answers(y, called):
        table = table_of(y, called)
        recall = ...
        return table, recall, table[1, 1] / table[:, 1].sum()

    assert "replace the dots" in refused("01.1", count_answers)


def test_the_first_blank_alone_is_not_enough():
    def count_answers(y, called):
        table = torch.zeros(2, 2)
        for truth in (0, 1):
            for answer in (0, 1):
                table[truth, answer] = ...
        return table, table[1, 1] / table[1].sum(), table[1, 1] / table[:, 1].sum()

    assert "replace the dots" in refused("01.1", count_answers)


def test_inputs_of_the_count_can_tell_every_slip():
    for _ in range(50):
        table = table_of(*some_answers())
        assert table.min() >= 1 and len(table.unique()) == 4


# ---- letters and the threshold ----


@pytest.mark.parametrize(
    ("key", "letter", "said"),
    [
        ("01.2", "a", "300 ill"),
        ("01.2", "b", "diagonal"),
        ("01.2", "d", "ROC"),
        ("01.4", "a", "nearest training visitor: who"),
        ("01.4", "b", "where are the copies"),
        ("01.4", "d", "are the ill visitors of his test new"),
        ("01.4", "x", "one of"),
    ],
)
def test_wrong_letters_hear_why(key, letter, said):
    assert said in refused(key, letter)


@pytest.mark.parametrize("key", ["01.2", "01.4"])
def test_the_right_letter_passes_however_written(key):
    for letter in ("c", "C", " c) "):
        checks.require(key, letter)


@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        (0.01, "the other direction"),
        (1 / 101, "the other direction"),
        (0.5, "many more visitors"),
        (100, "odds"),
        (0.98, "too small"),
        (0.999, "too large"),
        ("0.99", "without quotes"),
    ],
)
def test_wrong_thresholds_hear_why(threshold, said):
    assert said in refused("01.3", threshold)


@pytest.mark.parametrize("threshold", [0.99, 100 / 101, torch.tensor(0.9901)])
def test_the_threshold_may_be_rounded(threshold):
    checks.require("01.3", threshold)


# ---- 01.5: balanced accuracy ----


def recalls(table):
    return table.diagonal() / table.sum(1)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda table: table.diagonal().sum() / table.sum(), "this is the accuracy"),
        (lambda table: (table.diagonal() / table.sum(0)).nanmean(), "mean precision"),
        (lambda table: recalls(table).nansum(), "the sum of the recalls"),
        (lambda table: recalls(table).mean(), "makes the mean NaN"),
        (lambda table: recalls(table).nan_to_num(0).mean(), "counted as recall 0"),
        (lambda table: 0.1, "Compute the recall of one class by hand"),
        (lambda table: None, "return"),
        (lambda table: table.wrong, "AttributeError"),
        ("a text", "a function was expected"),
    ],
)
def test_wrong_means_hear_why(function, said, monkeypatch):
    """On a table with and on one without an absent class; those that only absent classes reveal, on the former."""
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.zeros(*size))  # some_table: absent every time
    assert said in refused("01.5", function)


def test_absent_classes_are_met_in_nearly_every_check():
    """8 tables, each with an absent class half of the time: missed once in 256."""
    absent = [bool((some_table()[0].sum(1) == 0).any()) for _ in range(200)]
    assert 60 < sum(absent) < 140


def test_a_plain_python_function_is_welcome():
    def by_hand(table):
        rows = table.tolist()
        each = [row[k] / sum(row) for k, row in enumerate(rows) if sum(row)]
        return sum(each) / len(each)

    checks.require("01.5", by_hand)


# ---- 01.6: two thresholds ----


@pytest.mark.parametrize(
    ("cautious", "eager", "said"),
    [
        (0.01, 0.5, "the eager one is lower"),
        (0.5, 0.5, "the eager one is lower"),
        (50, 1, "between 0 and 1"),
        (0.5, 0.2, "still too many"),
        (0.05, 0.01, "Raise it"),
        (0.9999999, 0.01, "calls back nobody"),
        (0.5, 1e-9, "nearly everybody"),
        ("half", 0.1, "a number was expected"),
    ],
)
def test_wrong_thresholds_of_two_hear_why(cautious, eager, said):
    assert said in refused("01.6", cautious, eager)


@pytest.mark.parametrize(("cautious", "eager"), [(0.5, 0.02), (0.7, 0.005), (torch.tensor(0.6), 0.01)])
def test_other_good_thresholds_pass(cautious, eager):
    checks.require("01.6", cautious, eager)


def test_checks_leave_the_random_state_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    checks.require("01.6", 0.5, 0.01)
    checks.require("01.1", by_means)
    assert torch.equal(before, torch.random.get_rng_state())


# ---- 01.7 and 01.8 ----


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("bdca", "you blame the ratio"),
        ("dbca", "you blame the ratio"),
        ("cdab", "sorted by the total"),
        ("abcd", "begins at the wrong end"),
        ("cdba", "compare c and d"),
        ("dca", "each once"),
        (3, "four letters"),
    ],
)
def test_wrong_orders_hear_why(order, said):
    assert said in refused("01.7", order)


def test_the_right_order_passes():
    checks.require("01.7", " DCBA ")


@pytest.mark.parametrize(
    ("ill", "visitors", "said"),
    [
        (100, 10_100, "reaches 0.096"),
        (250, 25_250, "nobody knows that before"),
        (1533, 154_833, "half of the interval"),
        (420, 42_420, "fewer are enough"),
        (381, 381, "too few"),
        (381, 381 * 101**2, "too many"),
        (0, 0, "at least one ill visitor"),
        ("many", 1, "a number was expected"),
    ],
)
def test_wrong_sizes_hear_why(ill, visitors, said):
    assert said in refused("01.8", ill, visitors)


@pytest.mark.parametrize("ill", [381, 384, 385, 400])
def test_neighbouring_sizes_pass(ill):
    checks.require("01.8", ill, ill * 101)
