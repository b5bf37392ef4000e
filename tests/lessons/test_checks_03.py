"""Exercises of lesson 03: right answers in another form pass, typical wrong ones hear what is meant for them."""

import math

import pytest
import torch

from course_lib.classroom.lessons.lesson_03.checks import adamw, log_shares, one_step, when_to_stop
from tests.lessons.answers import passes, refused


def by_loop(y):
    return [math.log(int((y == k).sum()) / len(y)) for k in range(int(y.max()) + 1)]


@pytest.mark.parametrize(
    "function",
    [log_shares, lambda y: torch.tensor(by_loop(y)), lambda y: torch.bincount(y).log() - math.log(len(y))],
)
def test_the_start_passes_however_it_is_written(function):
    passes("03.1", function)


def test_softmax_of_the_start_gives_the_shares():
    y = torch.tensor([0] * 99 + [1])
    assert torch.allclose(log_shares(y).softmax(0), torch.tensor([0.99, 0.01]))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda y: torch.bincount(y) / len(y), "These are the shares"),
        (lambda y: -log_shares(y), "sign is wrong"),
        (lambda y: torch.bincount(y).log(), "logarithms of the counts"),
        (lambda y: (torch.bincount(y) / len(y)).logit(), "log-odds"),
        (lambda y: log_shares(y) / 2, "-0.01 and -4.6"),
    ],
)
def test_wrong_starts_hear_why(function, said):
    assert said.lower() in refused("03.1", function).lower()


def by_torch(w, g, m, s, t, rate, decay):
    parameter = torch.nn.Parameter(torch.tensor([w], dtype=torch.float64))
    optimizer = torch.optim.AdamW([parameter], lr=rate, weight_decay=decay, eps=0)
    state = {"step": torch.tensor(t - 1.0), "exp_avg": torch.tensor([m]).double()}
    optimizer.state[parameter] = {**state, "exp_avg_sq": torch.tensor([s]).double()}
    parameter.grad = torch.tensor([g], dtype=torch.float64)
    optimizer.step()
    kept = optimizer.state[parameter]
    return parameter.item(), kept["exp_avg"].item(), kept["exp_avg_sq"].item()


@pytest.mark.parametrize("function", [adamw, by_torch])
def test_a_step_of_adamw_passes_and_is_the_one_of_torch(function):
    passes("03.3", function)


def pulled_in_the_slope(w, g, m, s, t, rate, decay):
    return adamw(w, g + decay * w, m, s, t, rate, 0)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (pulled_in_the_slope, "inside the slope"),
        (lambda w, g, m, s, t, r, d: adamw(w, g, m, s, t, r, 0), "pull is missing"),
        (lambda w, g, m, s, t, r, d: (w, m, s), "only shrinks"),
    ],
)
def test_wrong_steps_hear_why(function, said):
    assert said in refused("03.3", function)


def test_inputs_of_a_step_are_those_of_a_training_under_way():
    _, _, _, s, t, rate, decay = one_step()
    assert s > 0 and t >= 1 and 0 < rate * decay < 1


def in_words_of_waiting(losses, patience):
    best, waited = math.inf, 0
    for now, loss in enumerate(losses):
        waited += 1
        if loss < best:
            best, kept, waited = loss, now, 0
        if waited == patience:
            return kept, now
    return kept, len(losses) - 1


@pytest.mark.parametrize("function", [when_to_stop, in_words_of_waiting])
def test_early_stopping_passes(function):
    passes("03.6", function)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda v, p: when_to_stop([-x for x in v], p), "smaller"),
        (lambda v, p: when_to_stop(v, p + 1), "too late"),
        (lambda v, p: (when_to_stop(v, p)[1],) * 2, "keep the last"),
        (lambda v, p: (len(v), len(v)), "3, 1, 2, 2"),
    ],
)
def test_wrong_stops_hear_why(function, said):
    assert said in refused("03.6", function)


@pytest.mark.parametrize(
    ("key", "number", "said"),
    [
        ("03.2", 0.01, "share in the clinic"),
        ("03.2", 0.99, "healthy"),
        ("03.2", 25, "from 0 to 1"),
        ("03.2", 0.5, "half-and-half"),
        ("03.2", 0.75, "in a batch"),
        ("03.4", 1.04, "new children"),
        ("03.4", 5.82, "upper end"),
        ("03.4", 1.18, "root of the sum"),
        ("03.4", 1.98, "factor 2.776"),
        ("03.5", 0, "after each pass"),
        ("03.5", 4, "one pass"),
        ("03.5", 10, "does not reach 100"),
    ],
)
def test_wrong_numbers_hear_why(key, number, said):
    assert said in refused(key, number)


def test_right_numbers_pass():
    passes("03.2", 0.25)
    passes("03.4", 3 - 2.776 * 2.5**0.5 * (1 / 5 + 150 / 700) ** 0.5)
    passes("03.5", 9)
