"""Checks of lesson 09."""

import math

import torch

from course_lib.classroom.checks import NotYet, as_number, choose, exercise, near, run
from course_lib.classroom.lessons.lesson_09 import explorer as world
from course_lib.learn2mix import Learn2Mix
from course_lib.metrics import t_interval

# ---- 09.1: one update by hand -----------------------------------------------------------------------------

MIX, LOSS, MIXING_RATE, BATCH_SIZE = (0.5, 0.3, 0.2), (0.4, 1.2, 2.4), 0.25, 40


@exercise(
    "09.1",
    "Which three losses stand at the end of the round? The class that no batch met keeps its latest one.",
    "Divide each loss by their sum. That is where the mix would go at mixing rate 1.",
    "Go a quarter of the way from the present share, then multiply by the batch size.",
)
def _(answer) -> str:
    control = Learn2Mix(MIX, MIXING_RATE)
    reference = BATCH_SIZE * float(control.update(LOSS)[2])
    share, aim = MIX[2], LOSS[2] / sum(LOSS)
    slips = {
        "you gave the class that no batch met a loss of 0, and so starve it for being absent. "
        "What is the last thing known about it?": share + MIXING_RATE * (0 - share),
        "that is where the mix would land at mixing rate 1. This one goes a quarter of the way.": aim,
        "the losses have to be divided by their sum first: shares must sum to 1.": share
        + MIXING_RATE * (LOSS[2] - share),
        "that is its part of the batch before the update.": share,
    }
    for look, slip in slips.items():
        if abs(as_number(answer, "the number of examples") - BATCH_SIZE * slip) < 0.02:
            raise NotYet(f"Not {float(answer):g}: {look}")
    near(answer, reference, 0.02, "the number of examples", "Write the three new shares down: they sum to 1.")
    return (
        "The class that was not met keeps its latest loss, so it still moves towards its share of the losses."
    )


# ---- 09.2: whole numbers ----------------------------------------------------------------------------------

DRAWS = 1500


def _tasks() -> list[tuple[int, torch.Tensor]]:
    """Batch size and mix: fresh ones, one with an empty class, one with a share below 1 / M."""
    mixes = []
    for num_classes in (3, 6, 10):
        raw = torch.rand(num_classes, dtype=torch.float64) + 0.05
        mixes.append((int(torch.randint(8, 60, ())), raw / raw.sum()))
    size, mix = mixes[1]
    mix = mix.clone()
    mix[2] = 0
    mixes[1] = size, mix / mix.sum()
    small = torch.tensor([0.7, 0.28, 0.02], dtype=torch.float64)
    return [*mixes, (16, small)]


@exercise(
    "09.2",
    "M times the mix gives numbers with a fraction. Their whole parts are safe; a few places are left over.",
    "16 times (0.7, 0.28, 0.02) gives whole parts 11, 4, 0 and one place left over. If the largest fraction always "
    "takes it, the last class never gets one. Who should get it?",
    "Cumulate the numbers, shift them all by one random number in [0, 1), round down, take differences.",
)
def _(whole_counts) -> str:
    for size, mix in _tasks():
        where = f"batch_size {size} and mix {[round(s, 3) for s in mix.tolist()]}"
        drawn = []
        for _ in range(DRAWS):
            counts = torch.as_tensor(run(whole_counts, size, mix.clone(), shown=where))
            _judge_counts(counts, size, mix, where)
            drawn.append(counts)
        off = (torch.stack(drawn).double().mean(0) - size * mix).abs()
        if off.max() > 0.1:
            k = int(off.argmax())
            met = float(torch.stack(drawn)[:, k].double().mean())
            starved = (
                " It is never fed: a share below 1 / M always rounds to nothing." if met == 0 < mix[k] else ""
            )
            raise NotYet(
                f"On {where} class {k} should get {size * mix[k]:.2f} examples a batch on average, it got {met:.2f} "
                f"over {DRAWS} batches.{starved} Let chance decide who gets the places left over."
            )
    return "Every batch is full, nobody is more than one example off, and a share below 1 / M is met now and then."


def _judge_counts(counts: torch.Tensor, size: int, mix: torch.Tensor, where: str) -> None:
    if counts.shape != mix.shape:
        raise NotYet(f"One number per class was expected on {where}, got shape {tuple(counts.shape)}.")
    if counts.is_floating_point():
        raise NotYet(f"Whole numbers were expected (an integer dtype) on {where}, got {counts.dtype}.")
    if int(counts.sum()) != size:
        short = "short of" if counts.sum() < size else "more than"
        said = f"The counts sum to {int(counts.sum())}, {short} the batch size, on {where}."
        raise NotYet(f"{said} Where did the fractions go?")
    if ((mix == 0) & (counts != 0)).any():
        raise NotYet(f"A class with share 0 was given examples on {where}.")
    off = (counts - size * mix).abs()
    if off.max() >= 1 + 1e-9:
        k = int(off.argmax())
        raise NotYet(
            f"On {where} class {k} got {int(counts[k])} where {size * mix[k]:.2f} is asked for: more than one off. "
            "Drawing each place by itself wanders; fix the whole parts first."
        )


# ---- 09.3: beat uniform -----------------------------------------------------------------------------------


@exercise(
    "09.3",
    "With equal spreads, where does learn2mix end? Look at the explorer with 0 wrong labels.",
    "It can only differ from uniform if one class keeps a larger loss than the others, with correct labels.",
    "Make one class much wider than the other two.",
)
def _(spreads) -> str:
    try:
        std = tuple(float(s) for s in spreads)
    except (TypeError, ValueError):
        raise NotYet(f"Three numbers were expected, as in (1.0, 1.0, 1.0); got {spreads!r:.60}.") from None
    if len(std) != 3 or not all(0.4 <= s <= 3.0 for s in std):
        raise NotYet(f"Three spreads between 0.4 and 3.0 were expected, got {spreads!r:.60}.")
    worst, balanced = (t_interval(column.numpy()) for column in world.against_uniform(std).T)
    if worst[1] <= 0:
        equal = (
            "All classes are equally hard, so the losses are equal and the mix ends where uniform already is."
            if max(std) - min(std) < 0.05
            else "One class has to stay clearly harder than the others."
        )
        raise NotYet(
            f"Worst recall, learn2mix minus uniform over 5 seeds: {worst[0]:+.3f} [{worst[1]:+.3f}, {worst[2]:+.3f}]. "
            f"The interval has to lie above 0. {equal}"
        )
    return (
        f"Worst recall gains {worst[0]:+.3f} [{worst[1]:+.3f}, {worst[2]:+.3f}] over uniform; the mean of the recalls "
        f"moves by {balanced[0]:+.3f} [{balanced[1]:+.3f}, {balanced[2]:+.3f}]. The others pay."
    )


# ---- 09.4: a verdict, and lesson 01 -----------------------------------------------------------------------

FIVE = (0.031, -0.008, 0.015, 0.023, -0.004)
RECALL, HALF_WIDTH = 0.77, 0.05


@exercise(
    "09.4",
    "Run `t_interval` of course_lib.metrics on the five differences and look at both ends.",
    "The 95 % interval of a share p from n examples reaches about 1.96 * sqrt(p (1 - p) / n) to each side.",
    "Set it equal to 0.05 and solve for n.",
)
def _(letter, images) -> str:
    choose(
        letter,
        "c",
        {
            "a": "three of five is what a coin does half of the time. What does the interval of the mean say?",
            "b": "an interval that holds 0 also holds +0.02. Not seeing a difference does not show that there is none.",
            "d": "two negative seeds do not make a loss: the mean is positive. What does its interval say?",
        },
    )
    need = 1.96**2 * RECALL * (1 - RECALL) / HALF_WIDTH**2
    if abs(as_number(images, "the number of images") - need / 4) < 0.1 * need / 4:
        raise NotYet(
            f"Not {float(images):g}: that makes the whole interval 0.2 wide. Asked for is 0.05 to each side."
        )
    if abs(float(images) - 26) < 0.5:
        reach = 1.96 * math.sqrt(RECALL * (1 - RECALL) / 26)
        raise NotYet(
            f"Not 26: that is what the test part has. Its interval reaches {reach:.2f} to each side."
        )
    look = "Solve 1.96 * sqrt(p (1 - p) / n) = 0.05 for n at p = 0.77."
    near(images, need, 0.12 * need, "the number of images", look)
    return "Five seeds leave the question open, and 26 images of a digit could not have closed it."
