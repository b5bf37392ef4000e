"""Checks of lesson 02."""

import torch

from course_lib.classroom.checks import ask_function, ask_letter, ask_number
from course_lib.classroom.judges import says_nothing_at_one


def divided(p, factor):
    ill = p / factor  # ill : 1 - p are the divided odds; as a ratio they would be infinite at p = 1
    return ill / (ill + (1 - p))


def some_probabilities() -> tuple[torch.Tensor, float]:
    return 0.05 + 0.9 * torch.rand(6).double(), round(2 + 60 * float(torch.rand(())), 1)


ask_function(
    "02.1",
    divided,
    some_probabilities,
    because="The division changes every p, and the order of the visitors stays.",
    hints=[
        "The odds of p = 0.9 are 0.9 : 0.1. The factor divides the first number, and the second one stays 1 - p.",
        "Odds of 3 : 1 are p = 3 / (3 + 1): the first number divided by the sum of both.",
    ],
    slips={
        "you divided the probability. The factor belongs to the odds.": lambda p, factor: p / factor,
        "these are the divided odds. Turn them back into a probability.": lambda p, factor: (
            p / (1 - p) / factor
        ),
        "the odds were multiplied. Here the factor has to be taken out.": lambda p, factor: divided(
            p, 1 / factor
        ),
        "the second number of the odds is 1 - p, not 1: divide by the sum of both.": lambda p, factor: (
            p / (p + factor)
        ),
        "the factor did nothing: go on with the divided odds.": lambda p, factor: p,
    },
    look="Work one visitor out by hand: p = 0.9 and the factor 49 give 0.16.",
    also=says_nothing_at_one,
)


def best_threshold(p, y, miss):
    thresholds = torch.linspace(0, 1, 201)
    cost = torch.stack([((p > t) & (y == 0)).sum() + miss * ((p <= t) & (y == 1)).sum() for t in thresholds])
    return thresholds[cost.argmin()].item(), 10_000 * cost.min().item() / len(y)


def cheapest_by(errors):
    """A slip: the threshold where another sum of errors is smallest; `errors` takes called, y and miss."""

    def wrong(p, y, miss):
        thresholds = torch.linspace(0, 1, 201)
        cost = torch.stack([torch.as_tensor(errors(p > t, y, miss)).float() for t in thresholds])
        return thresholds[cost.argmin()].item(), 10_000 * cost.min().item() / len(y)

    return wrong


def some_visitors() -> tuple[torch.Tensor, torch.Tensor, int]:
    """150 healthy and 150 ill visitors whose p overlap, so that every slip finds another threshold or cost."""
    y = torch.tensor([0] * 150 + [1] * 150)
    p = torch.sigmoid(torch.randn(300) - 0.75 + 1.5 * y)
    return p, y, int(torch.randint(3, 8, ()))


ask_function(
    "02.2",
    best_threshold,
    some_visitors,
    because="No p needs to be true for this, only the order and the labels of the validation part.",
    hints=[
        "(called & (y == 0)) is True for the healthy visitors who are called back. Then .sum() counts them.",
        "~called turns True and False round: it is True for those who are not called back.",
        "A missed ill visitor costs `miss`, a needless examination costs 1. Add both.",
    ],
    slips={
        "a missed visitor must cost `miss`, not 1.": cheapest_by(
            lambda called, y, miss: (called & (y == 0)).sum() + (~called & (y == 1)).sum()
        ),
        "the two errors have changed places: a missed ill visitor costs more.": cheapest_by(
            lambda called, y, miss: miss * (called & (y == 0)).sum() + (~called & (y == 1)).sum()
        ),
        "you count the ill who are called back. They are found, not missed.": cheapest_by(
            lambda called, y, miss: (called & (y == 0)).sum() + miss * (called & (y == 1)).sum()
        ),
        "you count everybody who is called back. Only the healthy among them are an error.": cheapest_by(
            lambda called, y, miss: called.sum() + miss * (~called & (y == 1)).sum()
        ),
        "you count everybody who is not called back. Only the ill among them are missed.": cheapest_by(
            lambda called, y, miss: (called & (y == 0)).sum() + miss * (~called).sum()
        ),
    },
    look="Take one threshold and count both errors by hand.",
    tolerance=1e-3,
)

ask_number(
    "02.3",
    2,
    0.01,
    because="A class weight at threshold 0.5 acts as the cost of a miss, whether its author knows it or not.",
    hints=[
        "The weight 2 multiplies the odds by 2. Which p of a plain model becomes 0.5?",
        "Odds of 1 : 2 are p = 1/3. Which r gives 1 / (1 + r) = 1/3?",
    ],
    slips={
        1 / 3: "this is the threshold of the plain model. Which cost of a miss belongs to it?",
        0.5: "this would make a miss cheaper than a false alarm. In which direction does the weight act?",
        1: "this belongs to the threshold 0.5 of a plain model. The weight has changed it.",
    },
    name="the cost",
)

ask_number(
    "02.4",
    9 / 1008,
    0.0005,
    because="A test that is right for 90 of 100 in both groups is wrong for 99 of 100 people whom it calls back.",
    hints=[
        "10,000 people: how many are ill, and how many of them are found?",
        "How many of the 9,990 healthy people are called back? Precision = found / all called back.",
    ],
    slips={
        0.9: "this is the recall: called back, of all ill. Precision looks at all who are called back.",
        0.5: "the healthy are much more numerous than the ill. Count both groups.",
        0.001: "this is the share of the ill before the test. The test has found out a little more.",
        90 / 1080: "this is the precision where 10 of 1,000 are ill. Here 1 of 1,000 is ill.",
    },
    name="the precision",
)


def some_costs() -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of 40 visitors and the costs of as many decisions as classes, one class expensive to miss."""
    K = int(torch.randint(3, 5, ()))
    cost = 1 + 3 * torch.rand(K, K)
    cost[-1] *= 8
    cost.fill_diagonal_(0)
    return torch.rand(40, K).softmax(1), cost


ask_function(
    "02.5",
    lambda p, cost: (p @ cost).argmin(1),
    some_costs,
    because="A matrix product gives the expected cost of every decision, and the smallest one is taken.",
    hints=[
        "The expected cost of one decision: multiply each p by the cost in its row, then add.",
        "p @ cost does this for all visitors and decisions: (N, K) times (K, D) is (N, D).",
        "argmin(dim=1) gives the column with the smallest number.",
    ],
    slips={
        "this takes the most probable class: the costs play no part.": lambda p, cost: p.argmax(1),
        "this takes the most expensive decision. Which of the two, argmin or argmax, is right for costs?": (
            lambda p, cost: (p @ cost).argmax(1)
        ),
        "the cost matrix is turned over: a row is the truth, a column the decision.": (
            lambda p, cost: (p @ cost.T).argmin(1)
        ),
        "these are the expected costs. Which decision has the least?": lambda p, cost: p @ cost,
    },
    look="Work the three expected costs of one visitor out by hand, as in the table.",
)


def at_budget(p, y, k):
    top = p.topk(k).indices
    return y[top].float().mean(), y[top].sum() / y.sum()


def some_budget() -> tuple[torch.Tensor, torch.Tensor, int]:
    y = (torch.rand(50) < 0.3).long()
    y[:2] = 1
    return torch.rand(50) + 0.5 * y, y, int(torch.randint(4, 12, ()))


ask_function(
    "02.6",
    at_budget,
    some_budget,
    because="With a fixed k, more found visitors means more of both.",
    hints=[
        "y[top] holds 1 for each ill visitor among the k.",
        "Precision divides the ill among the k by k. Recall divides them by all ill visitors, y.sum().",
    ],
    slips={
        "precision and recall have changed places: precision divides by k.": lambda p, y, k: at_budget(
            p, y, k
        )[::-1],
        "both numbers are the precision. Recall divides by all ill visitors.": lambda p, y, k: (
            at_budget(p, y, k)[0],
            at_budget(p, y, k)[0],
        ),
        "precision is not divided yet: y[top].sum() is a number of visitors.": lambda p, y, k: (
            y[p.topk(k).indices].sum(),
            at_budget(p, y, k)[1],
        ),
    },
    look="Take k = 2 and five visitors, and count.",
)


def net_benefit(p, y, threshold):
    called = p > threshold
    found, alarms = (called & (y == 1)).sum(), (called & (y == 0)).sum()
    return (found - alarms * threshold / (1 - threshold)) / len(y)


def some_threshold() -> tuple[torch.Tensor, torch.Tensor, float]:
    p, y, _ = some_visitors()
    return p, y, round(0.1 + 0.25 * float(torch.rand(())), 2)


ask_function(
    "02.7",
    net_benefit,
    some_threshold,
    because="Calling back nobody gives 0, so a negative number is worse than no model.",
    hints=[
        "found: called & (y == 1). False alarms: called & (y == 0). Count both with .sum().",
        "Multiply the false alarms by threshold / (1 - threshold), then subtract, then divide by len(y).",
    ],
    slips={
        "divide by the number of all visitors.": lambda p, y, t: net_benefit(p, y, t) * len(y),
        "a false alarm costs t / (1 - t), not 1.": lambda p, y, t: (
            (((p > t) & (y == 1)).sum() - ((p > t) & (y == 0)).sum()) / len(y)
        ),
        "the factor is turned over: at t = 0.1 a false alarm costs 1/9, not 9.": lambda p, y, t: (
            (((p > t) & (y == 1)).sum() - ((p > t) & (y == 0)).sum() * (1 - t) / t) / len(y)
        ),
        "the factor is the odds of the threshold, t / (1 - t), not t.": lambda p, y, t: (
            (((p > t) & (y == 1)).sum() - ((p > t) & (y == 0)).sum() * t) / len(y)
        ),
    },
    look="Take the example of the text: 10 found, 36 false alarms, t = 0.1, 1,000 visitors.",
)


def em_share(p, trained):
    share = trained
    for _ in range(100):
        share = divided(p, trained / (1 - trained) / (share / (1 - share))).mean()
    return float(share)


def stuck(p, trained):
    return float(p.mean())


def turned_over(p, trained):
    share = trained
    for _ in range(100):
        share = divided(p, share / (1 - share) / (trained / (1 - trained))).mean()
    return float(share)


def some_place() -> tuple[torch.Tensor, float]:
    """True probabilities for a share of .1, of 4,000 visitors of whom three times as many are ill."""
    ill = torch.rand(4000) < 0.3
    measured = torch.randn(4000).double() + 2 * ill
    return torch.sigmoid(2 * measured - 2 - 2.1972246), 0.1


ask_function(
    "02.8",
    em_share,
    some_place,
    because="Each step uses the share of the step before, until the mean p and the share agree.",
    hints=[
        "At the second hospital: learned with 1 : 49, used with 1 : 9, divided by 9/49. Which odds stand above?",
        "factor = odds_of(trained) / odds_of(share). The odds of p are true for `trained`.",
        "The next guess is the mean of the corrected p.",
    ],
    slips={
        "this is the mean of p as it is: the corrected p, p_here, gives the next guess.": stuck,
        "the factor is turned over: where more are ill, the odds must grow.": turned_over,
        "the share has not moved: the next guess is the mean of p_here.": lambda p, trained: trained,
    },
    look="Is the factor 1 in the first step, where share and trained are equal?",
    tolerance=1e-3,
)

ask_letter(
    "02.9",
    "c",
    {
        "a": "EM assumes that only the shares have changed. What would it say if the camera read too high?",
        "b": "then nobody notices what has changed. If really more are ill, more of them are now missed.",
        "d": "the training part is the old one: nothing in it tells what changed on Monday.",
    },
    because="A changed device and more ill people raise p alike. Only examined visitors tell them apart.",
    hints=[
        "Name two different causes that raise the number of call-backs.",
        "Which group of people measures the same when only the share of the ill changes?",
    ],
)
