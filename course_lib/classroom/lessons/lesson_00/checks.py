"""Checks of lesson 00: the self-check and five exercises."""

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from course_lib.classroom.checks import NotYet, as_number, choose, exercise, near, run, same_tensor
from course_lib.classroom.lessons.lesson_00 import explorer as lesson_00

# ---- the self-check ---------------------------------------------------------------------------------------

D2L, TORCH = "https://d2l.ai/chapter_preliminaries", "https://docs.pytorch.org"
# name: (right answer, tolerance or None for a letter, the idea, where to read)
SELFCHECK = {
    "odds": (
        0.25, 0.005, "odds are p / (1 - p), yes-cases per no-case, not per everybody",
        "https://en.wikipedia.org/wiki/Odds",
    ),
    "logarithm": (
        "b", None, "log(0.01) = log(0.1 · 0.1) = 2 log(0.1): products become sums",
        "https://en.wikipedia.org/wiki/Logarithm",
    ),
    "chance": (
        0.3, 0.005, "count among those for whom it rang, 30 + 70, and not among the ill", f"{D2L}/probability.html"
    ),
    "gradient": (
        2.2, 0.05, "the slope of (2w - 4)² is 2 · (2w - 4) · 2; step against it", f"{D2L}/autograd.html"
    ),
    "batches": (
        11, 0.01, "the last, smaller batch counts too unless drop_last=True",
        f"{TORCH}/tutorials/beginner/basics/data_tutorial.html",
    ),
    "scores": (
        "a", None, "CrossEntropyLoss takes the softmax itself, so the network gives raw scores",
        f"{TORCH}/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
    ),
}  # fmt: skip


def _agrees(answer, right, tolerance: float | None) -> bool:
    if tolerance is None:
        return isinstance(answer, str) and answer.strip().lower() == right
    try:
        return abs(as_number(answer) - right) <= tolerance
    except NotYet:
        return False


@exercise(
    "00.selfcheck",
    "Answer what you can and leave the others at None: the check says for each gap what to read.",
    "Paper helps. 1: of 10 people 2 say yes; how many yes per no? 3: write down the 100 people for whom it rang.",
    "4: the chain rule gives a slope of 8 at w = 3. 5: ten full batches, and what remains?",
)
def self_check(answers) -> str:
    if not isinstance(answers, dict) or set(answers) != set(SELFCHECK):
        raise NotYet(f"Keep the six names {', '.join(SELFCHECK)} and put an answer behind each.")
    right = [name for name, (*what, _, _) in SELFCHECK.items() if _agrees(answers[name], *what)]
    unanswered = [name for name in SELFCHECK if answers[name] is None]
    gaps = [name for name in SELFCHECK if name not in right and name not in unanswered]
    if len(unanswered) == len(SELFCHECK):
        raise NotYet("The self-check waits for your answers: replace None by a number or a letter in quotes.")
    if not unanswered and not gaps:
        return "All six: you have what this course builds on."
    said = [f"Right so far: {', '.join(right) or 'none'}."]
    said += [f"Look again at {name}: {SELFCHECK[name][2]} ({SELFCHECK[name][3]})." for name in gaps]
    if unanswered:
        said.append(f"Still open: {', '.join(unanswered)}.")
    raise NotYet(" ".join(said))


# ---- exercises --------------------------------------------------------------------------------------------


@exercise(
    "00.1",
    "Move one handle at a time in the explorer, Reset in between, and read the recall at the dot.",
    "All four have to add the same offset to the log-odds. Which weight is a little gentler than 49?",
    "With weight w: copies = w, threshold = 1 / (1 + w), share / (1 - share) = w · 0.02 / 0.98. Then read the AUCs.",
)
def reach_recall(settings, best_auc) -> str:
    if not isinstance(settings, dict) or set(settings) != set(lesson_00.DEFAULT):
        raise NotYet(
            f"Keep the four names {', '.join(lesson_00.DEFAULT)} and put a setting behind each handle."
        )
    for name, value in settings.items():
        if value is None:
            raise NotYet(f"Exercise 00.1 waits for your setting of the {name}.")
        setting = as_number(value, f"the {name}")
        if name == "threshold" and setting > 0.5:
            raise NotYet(
                f"A threshold of {setting:g} flags fewer people than 0.5 does: it is a cut on the probability, not the "
                "recall you wish for."
            )
        try:
            recall = lesson_00.compute(**{name: int(setting) if setting == int(setting) else setting}).recall
        except ValueError as error:
            raise NotYet(f"The console cannot take {name} = {setting:g}: {error}") from None
        where = f"The recall with {name} = {setting:g}"
        near(recall, 0.8, 0.01, where, "It should lie within 0.01 of 0.80, all other handles at rest.")
    choose(
        best_auc, "d",
        {
            "a": "a weight makes the loss listen to the ill, but tells it nothing new about them. Read the AUCs.",
            "b": "a balanced batch shows the same patients more often; how they look does not change. Read the AUCs.",
            "c": "copies hold no information that the originals lack. Read the AUCs.",
        },
    )  # fmt: skip
    return "Four ways to one point of one curve; the AUCs agree to the third decimal."


@exercise(
    "00.2",
    "A weight multiplies the odds. So divide the odds, not the probability.",
    "From p to odds, p / (1 - p); divide them by the weight; then back from odds to a probability.",
    "Back: odds / (1 + odds). Try p = 0.5 and weight 49: what has to come out?",
)
def undo_weight(function) -> str:
    p = 0.01 + 0.98 * torch.rand(5, dtype=torch.float64)
    weight = 2 + 48 * float(torch.rand(()))
    where = f"weight {weight:.4g} and p = {[round(v, 3) for v in p.tolist()]}"
    got = run(function, p.clone(), weight, shown=where)
    odds = p / (1 - p)

    def same_as(wrong: Tensor) -> bool:
        return isinstance(got, Tensor) and got.shape == p.shape and torch.allclose(got.double(), wrong)

    if same_as(p / weight):
        raise NotYet(
            "You divided the probabilities. Near 1 that goes wrong: with weight 49 no patient could pass 0.02."
        )
    if same_as(weight * odds / (1 + weight * odds)):
        raise NotYet("You applied the weight once more, where it has to be taken back.")
    if same_as(odds / weight):
        raise NotYet("These are odds: bring them back to probabilities, which stay below 1.")
    same_tensor(got, odds / (weight + odds), where, "Divide the odds by the weight and go back to p.")
    same_tensor(
        run(function, p.clone(), 1.0, shown="weight 1"), p, "weight 1", "There is nothing to undo there."
    )
    return "The odds are back where the plain model has them; the order of the patients never moved."


PERCENT = {"a": 80, "b": 50, "c": 8, "d": 2}


@exercise(
    "00.3",
    "Take 1,000 visitors: 20 are ill. How many of these are called back, and how many of the 980 others?",
    "The false alarms per healthy visitor stand in the table of the four settings; multiply by 980.",
    "About 16 ill and about 190 healthy visitors are called back. Which share of them is ill?",
)
def who_is_called_back(answer) -> str:
    choose(
        answer, "c",
        {
            "a": "80 of 100 is the chance to be called back for someone who is ill. The question goes the other way: "
            "the chance to be ill for someone who is called back.",
            "b": "the training batches were half ill; the people who come to the clinic are not.",
            "d": "2 of 100 is what holds before anything is measured; the call has to be worth more than nothing.",
        },
    )  # fmt: skip
    share = 100 * lesson_00.compute(weight=49).precision
    if min(PERCENT, key=lambda letter: abs(PERCENT[letter] - share)) != "c":
        raise RuntimeError(f"the lesson's precision has moved to {share:.1f} %: mend the options of 00.3")
    return f"{share:.1f} of 100. Few who are called back are ill, though most who are ill are called back."


@exercise(
    "00.4",
    "How likely is it that the first row of a batch is a healthy patient?",
    "32 rows in a row have to be healthy; each is so with probability 0.98.",
    "0.98 to the power of 32.",
)
def batch_without_ill(answer) -> str:
    value = as_number(answer, "the share of batches")
    healthy = 1 - lesson_00.PREVALENCE
    none = healthy**32
    wrong = {
        1 - none: "That is the share of batches with at least one ill patient.",
        32 * (1 - healthy): "That is how many ill patients a batch of 32 holds on average.",
        1 - 32 * (1 - healthy): "You took the average number of ill patients for a probability; some batches hold two.",
        1 - healthy: "That is the chance for one row. A batch has 32.",
    }  # fmt: skip
    for number, why in wrong.items():
        if abs(value - number) < 0.005:
            raise NotYet(why)
    if 1 < value <= 100:
        raise NotYet(f"A share between 0 and 1 was asked for, got {value:g}.")
    near(value, none, 0.01, "the share of batches", "All 32 rows have to be healthy at the same time.")
    return f"0.98^32 = {none:.3f}: about half of all steps learn nothing from an ill patient."


@exercise(
    "00.5",
    "The console's data suit a straight line. Let the true boundary be anything but straight.",
    "Give the ill a cloud of another shape: wide in one direction, narrow in the other, or two clumps.",
    "A plain fit minds the few rows where it is nearly sure of illness, a weighted one minds the crowd in the middle. "
    "Make these two want different directions: a long tail of ill patients far to one side does.",
)
def move_the_curve(build) -> str:
    gains = []
    for seed in torch.randint(10_000, (3,)).tolist():
        train, test = (_patients_of(build, seed + step) for step in (0, 50_000))
        if train[0].shape == test[0].shape and torch.equal(train[0], test[0]):
            raise NotYet("Two seeds gave the same patients: draw them with a generator that is given `seed`.")
        gains.append(_gain(train, test))
    mean = sum(gains) / len(gains)
    if abs(mean) < 0.02 or min(gains) * max(gains) < 0:
        raise NotYet(
            f"Balancing moved the AUC by {mean:+.4f} on average over three draws, at least 0.02 either way is wanted: "
            "is a straight line perhaps still about right for your data?"
        )
    return (
        f"Balancing moved the AUC by {mean:+.3f}: here the curve itself moves, because no straight line fits."
    )


def _patients_of(build, seed: int) -> tuple[Tensor, Tensor]:
    made = run(build, seed, shown=f"seed {seed}")
    if not (isinstance(made, tuple) and len(made) == 2 and all(isinstance(part, Tensor) for part in made)):
        raise NotYet("Your function should return two tensors, `x, y`.")
    x, y = made
    if x.ndim != 2 or x.shape[1] != 2 or y.shape != (len(x),):
        raise NotYet(f"x should be (N, 2) and y (N,), got {tuple(x.shape)} and {tuple(y.shape)}.")
    if not set(y.unique().tolist()) <= {0, 1} or not torch.isfinite(x).all():
        raise NotYet("y should hold only 0 (healthy) and 1 (ill), and x only finite numbers.")
    ill = int(y.sum())
    if not (2000 <= len(y) <= 50_000 and ill >= 100):
        raise NotYet(
            f"2,000 to 50,000 patients are asked for, at least 100 of them ill, so that chance cannot move the AUC; "
            f"got {len(y):,} and {ill}."
        )
    if ill > 0.1 * len(y):
        raise NotYet(f"At most one patient in ten may be ill, got {ill / len(y):.0%}.")
    return x, y.long()


def _gain(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """AUC on `test` of a line fitted with balancing weights, minus that of a plain one."""
    (x, y), (fresh, truth) = train, test
    weight = torch.tensor([1.0, float((y == 0).sum() / y.sum())], dtype=torch.float64)[y]
    lines = [lesson_00.fit_logistic(x, y, weights) for weights in (1.0, weight)]
    plain, balanced = (roc_auc_score(truth, lesson_00.with_ones(fresh) @ line) for line in lines)
    return balanced - plain
