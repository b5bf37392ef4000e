"""Checks of lesson 00: the self-check, the blanks of "Write it", and five exercises."""

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from course_lib.classroom.checks import NotYet, ask_function, ask_letter, ask_number, exercise
from course_lib.classroom.judges import as_number, choose, near, run, says_nothing_at_one, untouched
from course_lib.classroom.lessons.lesson_00 import explorer as lesson_00

# ---- write it ---------------------------------------------------------------------------------------------


def _plain_p_and_weight() -> tuple[Tensor, float]:
    """Eight p around the right threshold and around the wrong ones, so that near misses are told apart."""
    weight = round(3 + 46 * float(torch.rand(())), 1)
    around = torch.tensor([0.2, 0.6, 0.99, 1.01, 1.3, 1.9]) / (1 + weight)
    return torch.cat([around, torch.tensor([0.6, 0.99])])[torch.randperm(8)], weight


ask_function(
    "00.1",
    lambda p, weight: p >= 1 / (1 + weight),
    _plain_p_and_weight,
    because="Without any training you call back whom the model with this weight calls back.",
    look="The weight multiplies the odds. Which p has odds of 1 / weight?",
    hints=[
        "Which p of the plain model becomes 0.5 when the odds are multiplied by the weight?",
        "Open the fold *The formula* above the blanks: t = 1 / (1 + w).",
        "Compare p with the threshold: `p >= threshold` gives True or False for each visitor.",
    ],
    slips={
        "that is who has p of 0.5 or more, as if there were no weight.": lambda p, weight: p >= 0.5,
        "your threshold is 1 / weight. This is an odds: the threshold is the probability that belongs to it.": (
            lambda p, weight: p >= 1 / weight
        ),
        "your threshold is that of a weight on the healthy: 1 - t in place of t.": (
            lambda p, weight: p >= 1 - 1 / (1 + weight)
        ),
        "you multiplied the probability by the weight. The weight multiplies the odds.": (
            lambda p, weight: p >= 0.5 / weight
        ),
        "that is who is sent home.": lambda p, weight: p < 1 / (1 + weight),
    },
)


# ---- the self-check ---------------------------------------------------------------------------------------

D2L, TORCH = "https://d2l.ai/chapter_preliminaries", "https://docs.pytorch.org"
# name: (right answer, the idea, where to read)
SELFCHECK = {
    "odds": (0.25, "odds are p / (1 - p), yes-cases per no-case, not per everybody",
             "https://en.wikipedia.org/wiki/Odds"),
    "logarithm": ("b", "log(0.01) = log(0.1 · 0.1) = 2 log(0.1): products become sums",
                  "https://en.wikipedia.org/wiki/Logarithm"),
    "chance": (0.3, "count among those for whom it rang, 30 + 70, and not among the ill", f"{D2L}/probability.html"),
    "gradient": (2.2, "the slope of (2w - 4)² is 2 · (2w - 4) · 2; step against it", f"{D2L}/autograd.html"),
    "batches": (11, "the last, smaller batch counts too unless drop_last=True",
                f"{TORCH}/tutorials/beginner/basics/data_tutorial.html"),
    "scores": ("a", "CrossEntropyLoss takes the softmax itself, so the network gives raw scores",
               f"{TORCH}/docs/stable/generated/torch.nn.CrossEntropyLoss.html"),
}  # fmt: skip


def _is_right(name: str, answer) -> bool:
    right = SELFCHECK[name][0]
    try:
        choose(answer, right, {}) if isinstance(right, str) else near(answer, right, 0.02 * right)
    except NotYet:
        return False
    return True


@exercise(
    "00.selfcheck",
    "Answer what you can and leave the others open: the check says for each gap what to read.",
    "Paper helps. 1: of 10 people 2 say yes; how many yes per no? 3: write down the 100 people for whom it rang.",
    "4: the chain rule gives a slope of 8 at w = 3. 5: ten full batches, and what remains?",
)
def self_check(answers) -> str:
    if not isinstance(answers, dict) or set(answers) != set(SELFCHECK):
        raise NotYet(f"keep the six names {', '.join(SELFCHECK)} and put an answer behind each.")
    open_ = [name for name in SELFCHECK if untouched(answers[name])]
    right = [name for name in SELFCHECK if _is_right(name, answers[name])]
    said = [f"right so far: {', '.join(right) or 'none'}."]
    said += [f"Look again at {name}: {idea} ({page})." for name, (_, idea, page) in SELFCHECK.items()
             if name not in right and name not in open_]  # fmt: skip
    said += [f"Still open: {', '.join(open_)}."] * bool(open_)
    if len(said) > 1:
        raise NotYet(" ".join(said))
    return "All six: you have what this course builds on."


# ---- exercises --------------------------------------------------------------------------------------------


@exercise(
    "00.2",
    "Move one handle at a time in the console, press Reset in between, and read the recall at the dot.",
    "All four handles have to multiply the odds by the same number. Which weight is a little smaller than 49?",
    "With weight w: copies = w, threshold = 1 / (1 + w), share / (1 - share) = w · 0.02 / 0.98. Then read the AUCs.",
)
def reach_recall(settings, best_auc) -> str:
    if not isinstance(settings, dict) or set(settings) != set(lesson_00.DEFAULT):
        raise NotYet(f"keep the four names {', '.join(lesson_00.DEFAULT)} and a setting behind each handle.")
    for name, value in settings.items():
        if untouched(value):
            raise NotYet(f"the setting of the {name} is still open.")
        setting = as_number(value, f"the {name}")
        if name == "threshold" and setting > 0.5:
            raise NotYet(
                f"a threshold of {setting:g} calls back fewer people than 0.5 does. The threshold is a probability; "
                "it is not the recall that you want."
            )
        try:
            recall = lesson_00.compute(**{name: setting}).recall
        except ValueError as error:
            raise NotYet(f"the console cannot take {name} = {setting:g}: {error}") from None
        where = f"the recall with {name} = {setting:g}"
        near(recall, 0.8, 0.01, where, "It has to lie within 0.01 of 0.80, with all other handles at rest.")
    choose(
        best_auc, "d",
        {
            "a": "a weight lets the ill count more in the loss, but it says nothing new about them. Read the AUCs.",
            "b": "a balanced batch shows the same people more often; how they look does not change. Read the AUCs.",
            "c": "copies hold no information that the originals lack. Read the AUCs.",
        },
    )  # fmt: skip
    return "Four ways lead to one point of one curve, and the AUCs agree to the third decimal."


ask_letter(
    "00.3",
    "c",
    {
        "a": "80 of 100 is close to the recall: of the ill, the share called back. The question goes the other way: "
        "of those called back, the share of the ill.",
        "b": "the training batches were half ill; the people who come to the clinic are not.",
        "d": "2 of 100 of all visitors are ill. Those who are called back were not chosen blindly.",
    },
    because="8 of 100: most of the ill are called back, but few of those called back are ill.",
    hints=[
        "Take 1,000 visitors. How many of the 20 ill are called back, and how many of the 980 healthy?",
        "Both numbers are printed by the four runs. Add them: this is how many people are called back in all.",
        "About 16 ill and about 200 healthy visitors are called back. Which share of them is ill?",
    ],
)


def _weighted_p_and_weight() -> tuple[Tensor, float]:
    return 0.01 + 0.98 * torch.rand(5, dtype=torch.float64), round(2 + 48 * float(torch.rand(())), 1)


def _multiplied(p: Tensor, factor: float) -> Tensor:
    """p after its odds are multiplied by the factor."""
    return factor * p / (factor * p + 1 - p)


ask_function(
    "00.4",
    lambda p, weight: _multiplied(p, 1 / weight),
    _weighted_p_and_weight,
    because="The odds are back where the plain model has them; the order of the visitors never changed.",
    look="Go from p to the odds, divide by the weight, and go back to p.",
    hints=[
        "A weight multiplies the odds. So divide the odds, not the probability.",
        "The odds are p : 1 - p. Divide the first number by the weight; then go back to a probability.",
        "Back: the first number, divided by the sum of both. Try p = 0.5 and weight 49: what has to come out?",
    ],
    slips={
        "you divided the probabilities. Near 1 that goes wrong: with weight 49 nobody could pass 0.02.": (
            lambda p, weight: p / weight
        ),
        "you applied the weight once more; it has to be taken back.": _multiplied,
        "these are odds: bring them back to probabilities, which stay below 1.": (
            lambda p, weight: p / (1 - p) / weight
        ),
    },
    also=says_nothing_at_one,
)

NONE_ILL = (1 - lesson_00.PREVALENCE) ** 32
ask_number(
    "00.5",
    NONE_ILL,
    0.01,
    because=f"0.98^32 = {NONE_ILL:.3f}: about half of all steps see no ill visitor.",
    name="the share of batches",
    look="All 32 visitors have to be healthy at the same time. A share lies between 0 and 1.",
    hints=[
        "How likely is it that the first visitor of a batch is healthy?",
        "32 visitors in a row have to be healthy; each is so with probability 0.98.",
        "0.98 to the power of 32.",
    ],
    slips={
        1 - NONE_ILL: "that is the share of batches with at least one ill visitor.",
        0.64: "that is how many ill visitors a batch of 32 holds on average.",
        0.36: "you took an average number of ill visitors for a probability; some batches hold two.",
        0.98: "that is the chance for one visitor. A batch has 32.",
    },
)


@exercise(
    "00.6",
    "In the clinic the ill are spread like the healthy, and a straight line suits them. Spread them otherwise.",
    "Spread the ill widely in one blood value and narrowly in the other.",
    "Try torch.tensor([3.0, 0.3]): the plain model and the balanced one then look at different visitors.",
)
def move_the_curve(build) -> str:
    gains = []
    for seed in torch.randint(10_000, (3,)).tolist():
        train, test = (_visitors_of(build, seed + step) for step in (0, 50_000))
        if train[0].shape == test[0].shape and torch.equal(train[0], test[0]):
            raise NotYet("two seeds gave the same visitors: draw them with a generator that is given `seed`.")
        gains.append(auc_gain(train, test))
    mean = sum(gains) / len(gains)
    if abs(mean) < 0.01 or min(gains) * max(gains) < 0:
        raise NotYet(
            f"balancing moved the AUC by {mean:+.3f} on average over three draws, and at least 0.01 up or down is "
            "wanted. Is a straight line perhaps still about right for your visitors?"
        )
    return f"Balancing moved the AUC by {mean:+.3f}: the curve itself moves, because no straight line fits."


def _visitors_of(build, seed: int) -> tuple[Tensor, Tensor]:
    made = run(build, seed, shown=f"seed {seed}")
    if not (isinstance(made, tuple) and len(made) == 2 and all(isinstance(part, Tensor) for part in made)):
        raise NotYet("your function has to return two tensors, `x, y`.")
    x, y = made
    ill, N = int((y == 1).sum()), len(y)
    if x.shape != (N, 2) or y.shape != (N,):
        raise NotYet(f"x has to be (N, 2) and y (N,), got {tuple(x.shape)} and {tuple(y.shape)}.")
    if not ((y == 0) | (y == 1)).all() or not torch.isfinite(x).all():
        raise NotYet("y may hold only 0 (healthy) and 1 (ill), and x only finite numbers.")
    if not (2000 <= N <= 50_000 and 100 <= ill <= 0.1 * N):
        raise NotYet(
            "2,000 to 50,000 visitors are asked for, at least 100 of them ill, so that chance cannot move the AUC, and "
            f"at most one visitor in ten; got {ill} ill of {N:,}."
        )
    return x, y


def auc_gain(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """AUC on `test` of a straight line fitted to `train` with balancing weights, minus that of a plain one."""
    (x, y), (fresh, truth) = ([np.asarray(part, dtype=float) for part in side] for side in (train, test))
    balancing = np.where(y == 1, (y == 0).sum() / y.sum(), 1.0)
    lines = [lesson_00.fit_line(x, y, weight) for weight in (np.ones(len(y)), balancing)]
    plain, balanced = (roc_auc_score(truth, fresh @ line[1:]) for line in lines)
    return balanced - plain
