"""Checks of lesson 03."""

import torch
from torch import Tensor

from course_lib.classroom.checks import ask_function, ask_number


def classes() -> tuple[Tensor]:
    """The classes of a training part, each of them met: (n,)."""
    K = int(torch.randint(2, 5, ()))
    count = torch.randint(1, 60, (K,))
    return (torch.repeat_interleave(torch.arange(K), count)[torch.randperm(int(count.sum()))],)


def log_shares(y: Tensor) -> Tensor:
    return (torch.bincount(y) / len(y)).log()


ask_function(
    "03.1",
    log_shares,
    classes,
    because="With these biases and nothing else, softmax gives back the shares.",
    hints=[
        "torch.bincount(y) gives the number of children of each class. Divide by the number of all.",
        "The softmax of the biases has to give the shares. Which function undoes the exponential?",
        "The two lines: share = torch.bincount(y) / len(y), then share.log().",
    ],
    slips={
        "these are the shares. The bias is their logarithm.": lambda y: torch.bincount(y) / len(y),
        "the sign is wrong: the rare class has to get the lowest bias.": lambda y: -log_shares(y),
        "these are the logarithms of the counts. Divide by the number of children first.": lambda y: (
            torch.bincount(y).log()
        ),
        "these are log-odds, for a network with one output. Here each class has a score of its own.": lambda y: (
            log_shares(y) - (1 - torch.bincount(y) / len(y)).log()
        ),
    },
    look="With 99 healthy children and 1 ill child the biases are -0.01 and -4.6.",
)

ask_number(
    "03.2",
    0.25,
    0.01,
    because="The start has to fit the batches that the loss sees, not the children of the clinic.",
    hints=[
        "Take a model that says the same p to everybody. Which p has the smallest loss on these batches?",
        "In each batch a quarter of the children are ill.",
    ],
    slips={
        0.01: "this is the share in the clinic. The loss never sees it: it sees the batches.",
        0.99: "this is the share of the healthy in the clinic. What does the loss see?",
        0.75: "this is the share of the healthy in a batch.",
        0.5: "this would fit half-and-half batches.",
        25: "write the share as a number from 0 to 1.",
    },
    name="the share",
)


def one_step() -> tuple[float, float, float, float, int, float, float]:
    """w, g, m, s, t, rate, decay of a training under way."""
    w, g, m = (float(value) for value in torch.randn(3, dtype=torch.float64))
    s, rate, decay = (0.1 + float(value) for value in torch.rand(3, dtype=torch.float64))
    return w, g, m, s, int(torch.randint(1, 20, ())), rate / 2, decay


def adamw(w, g, m, s, t, rate, decay):
    return _adam(w * (1 - rate * decay), g, m, s, t, rate)


def _adam(w, g, m, s, t, rate):
    m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
    return w - rate * (m / (1 - 0.9**t)) / (s / (1 - 0.999**t)) ** 0.5, m, s


def _without_correction(w, g, m, s, t, rate, decay):
    m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
    return w * (1 - rate * decay) - rate * m / s**0.5, m, s


def _decay_after(w, g, m, s, t, rate, decay):
    w, m, s = _adam(w, g, m, s, t, rate)
    return w * (1 - rate * decay), m, s


ask_function(
    "03.3",
    adamw,
    one_step,
    because="This is the step of torch.optim.AdamW.",
    hints=[
        "The pull is w * (1 - rate * decay). It does not look at the slope.",
        "m and s are those of the lesson: 0.9 * m + 0.1 * g, and 0.999 * s + 0.001 * g**2.",
        "The step is rate times (m / (1 - 0.9**t)), divided by the root of s / (1 - 0.999**t).",
    ],
    slips={
        "the pull sits inside the slope (L2). AdamW pulls the number itself.": lambda w, g, m, s, t, r, d: (
            _adam(w, g + d * w, m, s, t, r)
        ),
        "the pull is missing: this is Adam.": lambda w, g, m, s, t, r, d: _adam(w, g, m, s, t, r),
        "m and s begin at 0, so they have to be divided by 1 - 0.9**t and 1 - 0.999**t.": _without_correction,
        "the pull comes before the step, not after it.": _decay_after,
        "the pull is rate * decay, not decay alone.": lambda w, g, m, s, t, r, d: _adam(
            w * (1 - d), g, m, s, t, r
        ),
    },
    look="Take slope 0, m 0 and s 1: then w only shrinks by rate * decay.",
)

ask_number(
    "03.4",
    0.18,
    0.03,
    because="The same five numbers from new children would have begun at 1.04.",
    hints=[
        "Mean minus 2.776 times spread times a root. For new children the root holds 1/5.",
        "For re-splits the root holds 1/5 + 150/700.",
    ],
    slips={
        1.04: "this is the interval for new children. Here one set was split five times.",
        5.82: "this is the upper end.",
        2.82: "this is half the width of the interval. Take it off the mean.",
        1.18: "take the root of the sum, 0.414.",
        1.98: "the factor 2.776 is missing.",
    },
    name="the lower end",
)

ask_number(
    "03.5",
    9,
    0.1,
    because="The rate is 0.0000000001, and no error was raised.",
    hints=[
        "How often is the scheduler stepped in two passes?",
        "94 steps. The rate falls after every tenth.",
    ],
    slips={
        0: "this would be right if it were stepped after each pass.",
        4: "this is one pass. The question is about two.",
        94: "this is the number of steps. The rate falls after every tenth.",
        10: "the rate falls at step 10, 20 and so on up to 90. It does not reach 100.",
    },
    name="the number of zeros",
)


def losses() -> tuple[list[float], int]:
    """A validation loss that falls and rises with noise, and a patience."""
    n = int(torch.randint(6, 14, ()))
    values = (torch.linspace(-1, 1.2, n) ** 2 + 0.3 * torch.rand(n)).tolist()
    return values, int(torch.randint(1, 4, ()))


def when_to_stop(losses, patience):
    best = 0
    for now in range(len(losses)):
        if losses[now] < losses[best]:
            best = now
        if now - best == patience:
            return best, now
    return best, len(losses) - 1


def _larger_is_better(losses, patience):
    return when_to_stop([-loss for loss in losses], patience)


def _last_network(losses, patience):
    _, end = when_to_stop(losses, patience)
    return end, end


ask_function(
    "03.6",
    when_to_stop,
    losses,
    because="The network that is kept is not the last one, so make a copy whenever a pass is the best.",
    hints=[
        "Better means a smaller loss than losses[best].",
        "How many passes have gone by since the best one? now - best.",
    ],
    slips={
        "a loss is better when it is smaller.": _larger_is_better,
        "this stops one pass too late: count the passes since the best one.": lambda v, p: when_to_stop(
            v, p + 1
        ),
        "you keep the last network. Keep the best.": _last_network,
    },
    look="Try losses 3, 1, 2, 2 with patience 2: pass 1 is kept, and training ends after pass 3.",
    times=12,
)
