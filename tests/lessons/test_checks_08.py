"""Exercises of lesson 08: right answers in another form pass, typical wrong ones hear what is meant for them."""

import pytest
import torch
from torch.nn import functional as F

from course_lib.classroom.lessons.lesson_08.checks import schedule
from course_lib.sampling import alternating_mix
from tests.lessons.answers import passes, refused

# ---- 08.1: the schedule ----


def test_the_reference_is_the_schedule_of_the_library():
    rows = alternating_mix([7, 3, 5], 4, 10, cycles=3)
    assert schedule([7, 3, 5], 4, 36) == rows.argmax(1).tolist()


def by_counting(order, visit, steps):
    turns = []
    while len(turns) < steps:
        for digit in order:
            turns += [digit] * visit
    return turns[:steps]


@pytest.mark.parametrize(
    "function",
    [
        schedule,
        by_counting,
        lambda order, visit, steps: (
            torch.tensor(order).repeat_interleave(visit).repeat(steps)[:steps]  # a tensor will do
        ),
    ],
)
def test_the_schedule_passes_however_it_is_written(function):
    passes("08.1", function)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda order, visit, steps: schedule(order, 1, steps), "changes after one batch"),
        (lambda order, visit, steps: [order[s % visit % len(order)] for s in range(steps)], "within a visit"),
        (lambda order, visit, steps: schedule(range(len(order)), visit, steps), "places in the order"),
        (lambda order, visit, steps: [order[s // visit] for s in range(steps)], "IndexError"),
        (lambda order, visit, steps: schedule(order[::-1], visit, steps), "7, 7, 3, 3"),
        (lambda order, visit, steps: None, "return"),
    ],
)
def test_wrong_schedules_hear_why(function, said):
    for _ in range(10):  # whatever order and visit the check draws
        assert said in refused("08.1", function)


def test_blanks_wait():
    def schedule(order, visit, steps):
        turns = []
        for _ in range(steps):
            place = ...
            turns.append(order[place])
        return turns

    assert "replace the dots" in refused("08.1", schedule)


# ---- 08.3: the deck ----


def our_deal(deck, rows, count):
    while len(deck) < count:
        deck = torch.cat([deck, rows[torch.randperm(len(rows))]])
    return deck[:count], deck[count:]


def by_lists(deck, rows, count):
    cards = deck.tolist()
    while len(cards) < count:
        cards += rows[torch.argsort(torch.rand(len(rows)))].tolist()
    return torch.tensor(cards[:count]), torch.tensor(cards[count:], dtype=torch.long)


@pytest.mark.parametrize("function", [our_deal, by_lists])
def test_a_deck_passes_however_it_is_written(function):
    passes("08.3", function)


def never_shuffled(deck, rows, count):
    while len(deck) < count:
        deck = torch.cat([deck, rows])
    return deck[:count], deck[count:]


def forgets_the_rest(deck, rows, count):
    deck = rows[torch.randperm(len(rows))].repeat(count // len(rows) + 1)
    return deck[:count], deck[count:]


def laid_on_top(deck, rows, count):
    while len(deck) < count:
        deck = torch.cat([rows[torch.randperm(len(rows))], deck])
    return deck[:count], deck[count:]


def with_replacement(deck, rows, count):
    while len(deck) < count:
        deck = torch.cat([deck, rows[torch.randint(len(rows), (len(rows),))]])
    return deck[:count], deck[count:]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (never_shuffled, "Shuffle them"),
        (forgets_the_rest, "dealt first"),
        (laid_on_top, "dealt first"),
        (with_replacement, "every row comes once"),
        (lambda deck, rows, count: our_deal(deck, rows, count)[0], "two things"),
        (lambda deck, rows, count: (rows[:count], deck), "came back"),
        (lambda deck, rows, count: (torch.full((count,), 999), deck), "does not belong"),
    ],
)
def test_wrong_decks_hear_why(function, said):
    assert said in refused("08.3", function)


# ---- numbers and letters ----


@pytest.mark.parametrize(
    ("key", "answer", "said"),
    [
        ("08.2", 0.904, "one visit"),
        ("08.2", 0.364, "own visit too"),
        ("08.2", 0.597, "what is lost"),
        ("08.2", 0.7, "too large"),
        ("08.4", "a", "costs a new training"),
        ("08.4", "c", "same last visit"),
        ("08.4", "d", "cancel"),
        ("08.5", "a", "longest ago"),
        ("08.5", "c", "100 batches each"),
        ("08.5", "d", "equal learning"),
        ("08.7", "b", "above and below"),
        ("08.7", "c", "divided by the number"),
        ("08.7", "d", "too large"),
    ],
)
def test_wrong_answers_hear_why(key, answer, said):
    assert said in refused(key, answer)


@pytest.mark.parametrize(
    ("key", "answer"), [("08.2", 0.4), ("08.2", 0.98**45), ("08.4", "b"), ("08.5", "B"), ("08.7", "a")]
)
def test_right_answers_pass(key, answer):
    passes(key, answer)


def test_the_two_repairs_that_do_not_help_pass_in_any_order():
    passes("08.6", "c", "d")
    passes("08.6", "D", "c")
    assert "Which other one" in refused("08.6", "c", "c")
    assert "one image alone" in refused("08.6", "a", "c")
    assert "mean of all digits" in refused("08.6", "c", "b")
    assert "the very ones" in refused("08.6", "d", "e")


def test_weights_cancel_in_a_batch_of_one_class_as_the_answer_says():
    scores, fours, w = torch.randn(32, 10), torch.full((32,), 4), torch.rand(10) + 0.5
    assert torch.allclose(F.cross_entropy(scores, fours, weight=w), F.cross_entropy(scores, fours))
