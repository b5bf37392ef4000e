"""Checks of lesson 11: typical wrong answers hear why, right ones pass however they are written."""

import pytest
import torch

from course_lib.classroom import checks
from course_lib.classroom.lessons.lesson_11.checks import holm
from tests.lessons.answers import passes, refused


def by_sorted_list(p):
    values = sorted((value, k) for k, value in enumerate(p.tolist()))
    winners = []
    while values and values[0][0] * len(values) <= 0.05:
        winners.append(values.pop(0)[1])
    return torch.tensor(winners)


@pytest.mark.parametrize("function", [holm, by_sorted_list, lambda p: holm(p).tolist()])
def test_holm_passes_however_it_is_written(function):
    passes("11.1", function, times=20)


def test_holm_by_hand_as_the_lesson_tells():
    assert holm(torch.tensor([0.20, 0.01, 0.03, 0.02])).tolist() == [1]
    assert holm(torch.tensor([0.20, 0.01])).tolist() == [1]
    assert holm(torch.tensor([0.20, 0.30])).tolist() == []


def stepped(left_at):
    def rule(p):
        winners = []
        for place, k in enumerate(p.argsort().tolist()):
            if p[k] * left_at(len(p), place) > 0.05:
                break
            winners.append(k)
        return torch.tensor(winners)

    return rule


def refused_once(key, function, said, tries=30):
    """A wrong rule can agree with the right one by chance: it has to be found out in one of some draws."""
    for _ in range(tries):
        try:
            passes(key, function, times=1)
        except checks.NotYet as error:
            if said in str(error):
                return
    raise AssertionError(f"never told: {said}")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (stepped(lambda m, place: 1), "as if it were the only one"),
        (stepped(lambda m, place: m), "fewer are left"),
        (stepped(lambda m, place: m - place - 1), "itself still left"),
        (stepped(lambda m, place: place + 1), "hardest test"),
    ],
)
def test_wrong_rules_hear_why(function, said):
    refused_once("11.1", function, said)


@pytest.mark.parametrize(
    ("key", "answer", "said"),
    [
        ("11.2", 0.95**30, "no method wins"),
        ("11.2", 1.5, "never above 1"),
        ("11.2", 1 - 0.95**6, "one data set"),
        ("11.2", 1 - 0.95**11, "multiplied"),
        ("11.4", "a", "clock"),
        ("11.4", "b", "next to nothing"),
        ("11.4", "d", "not the comparison fair"),
    ],
)
def test_wrong_answers_hear_why(key, answer, said):
    assert said in refused(key, answer)


@pytest.mark.parametrize(("key", "answer"), [("11.2", 0.785), ("11.4", "C")])
def test_right_answers_pass(key, answer):
    passes(key, answer)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda losses, order, wanted: losses.argsort()[:wanted], "places in the shuffled order"),
        (lambda losses, order, wanted: order[losses.argsort(descending=True)[:wanted]], "hardest"),
        (lambda losses, order, wanted: losses[order].argsort()[:wanted], "second time"),
    ],
)
def test_wrong_curricula_hear_why(function, said):
    assert said in refused("11.3", function)


def test_a_repaired_curriculum_passes_however_it_is_written():
    def put_back(losses, order, wanted):
        each = torch.empty_like(losses)
        each[order] = losses
        return each.argsort()[:wanted]

    passes("11.3", put_back)
    passes("11.3", lambda losses, order, wanted: order[losses.argsort()][:wanted])


def test_a_plan_is_fixed_before_the_runs():
    passes("11.5", "b", "c")
    assert "many times" in refused("11.5", "a", "c")
    assert "luckiest" in refused("11.5", "c", "c")
    assert "argmax" in refused("11.5", "b", "a")
    assert "other splits" in refused("11.5", "b", "b")


def test_the_referee_knows_four_words():
    passes("11.6", "no", "holds", "cannot tell", "early")
    passes("11.6", "No", "Holds", "cannot tell ", "EARLY")
    assert "claim 1" in refused("11.6", "cannot tell", "holds", "cannot tell", "early")
    assert "gain that matters" in refused("11.6", "no", "holds", "no", "early")
    assert "choose one of" in refused("11.6", "no", "holds", "cannot tell", "never")
