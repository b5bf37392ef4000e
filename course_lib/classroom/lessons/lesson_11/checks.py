"""Checks of lesson 11."""

import torch

from course_lib.classroom.checks import NotYet, ask_function, ask_letter, ask_number, choose, exercise


def several_p() -> tuple[torch.Tensor]:
    """Four to eight numbers between 0 and 1, a few of them small, none near a border of Holm's rule."""
    while True:
        p = torch.rand(int(torch.randint(4, 9, ())), dtype=torch.float64)
        p[:3] = torch.tensor([0.002, 0.009, 0.03], dtype=torch.float64) * (
            0.5 + torch.rand(3, dtype=torch.float64)
        )
        borders = p.sort().values * torch.arange(len(p), 0, -1)
        if ((borders - 0.05).abs() > 0.004).all() and ((p - 0.05).abs() > 0.004).all():
            return (p[torch.randperm(len(p))],)


def holm(p):
    winners = []
    for place, k in enumerate(p.argsort().tolist()):
        if p[k] * (len(p) - place) > 0.05:
            break
        winners.append(k)
    return torch.tensor(winners)


def _given(winners) -> torch.Tensor:
    return torch.tensor(winners)


ask_function(
    "11.1",
    holm,
    several_p,
    because="The smallest p is multiplied by all comparisons, the next by one fewer, and the first failure ends it.",
    hints=[
        "For the smallest p all comparisons are left, for the next one fewer. Which two numbers give this?",
        "There are len(p) comparisons, and `place` of them are done already.",
        "The first blank is len(p) - place. In the second, the loop ends when p[k] * left is above 0.05.",
    ],
    slips={
        "every p is judged as if it were the only one. Multiply it by the number of comparisons that are left.": (
            lambda p: _given([k for k in p.argsort().tolist() if p[k] <= 0.05])
        ),
        "every p is multiplied by the number of all comparisons. After the first one, fewer are left.": (
            lambda p: _given([k for k in p.argsort().tolist() if p[k] * len(p) <= 0.05])
        ),
        "the comparison that is judged is itself still left: it counts too.": (
            lambda p: _given(_stepped(p, lambda place: len(p) - place - 1))
        ),
        "the smallest p must pass the hardest test, so it is multiplied by the largest number.": (
            lambda p: _given(_stepped(p, lambda place: place + 1))
        ),
    },
    look="Take p = 0.01, 0.02, 0.03, 0.20: 4 times 0.01 passes, 3 times 0.02 fails, and there it ends.",
)


def _stepped(p, left_at) -> list[int]:
    winners = []
    for place, k in enumerate(p.argsort().tolist()):
        if p[k] * left_at(place) > 0.05:
            break
        winners.append(k)
    return winners


ask_number(
    "11.2",
    1 - 0.95**30,
    0.005,
    because="6 methods on 5 data sets are 30 looks, and 0.95 taken 30 times is 0.21.",
    hints=[
        "How many comparisons does the table hold?",
        "One comparison of equals is right in 0.95 of all studies. All of them are right in 0.95 · 0.95 · ...",
    ],
    slips={
        0.95**30: "this is the chance that no method wins. You need the chance that at least one does.",
        30 * 0.05: "this is how many false winners there are on average. A chance is never above 1.",
        1 - 0.95**6: "these are the looks at one data set. There are five.",
        1 - 0.95**11: "6 and 5 are multiplied: every method is looked at on every data set.",
    },
    name="the chance",
)


def losses_and_order() -> tuple[torch.Tensor, torch.Tensor, int]:
    """Losses of 12 to 20 examples, scored in a shuffled order, and how many are wanted."""
    n = int(torch.randint(12, 21, ()))
    return torch.rand(n), torch.randperm(n), int(torch.randint(3, 8, ()))


ask_function(
    "11.3",
    lambda losses, order, wanted: order[losses.argsort()[:wanted]],
    losses_and_order,
    because="A place in the shuffled order becomes a row of the data set by looking it up in `order`.",
    hints=[
        "losses[0] belongs to the row order[0], not to row 0.",
        "losses.argsort() gives places in the shuffled order. Which row stands at a place?",
    ],
    slips={
        "these are places in the shuffled order. Look up in `order` which row stands there.": (
            lambda losses, order, wanted: losses.argsort()[:wanted]
        ),
        "these are the hardest rows, and a curriculum begins with the easiest.": (
            lambda losses, order, wanted: order[losses.argsort(descending=True)[:wanted]]
        ),
        "losses[order] shuffles the losses a second time. They are in that order already.": (
            lambda losses, order, wanted: losses[order].argsort()[:wanted]
        ),
    },
    look="The row with the smallest loss comes first.",
)

ask_letter(
    "11.4",
    "c",
    {
        "a": "the network is the same, and so is the number of steps. Look at what the clock measures besides them.",
        "b": "a mix changes which rows are in a batch. That costs next to nothing.",
        "d": "more seeds make the mean of the seconds more exact, but not the comparison fair.",
    },
    because="Give both methods the same path from data to network, or compare by steps.",
    hints=[
        "Which part of the two programs does not belong to the method?",
        "One program fetches each image by itself, the other takes a batch with one call.",
    ],
)


@exercise(
    "11.5",
    "What has to be written down before the first run, so that nobody can choose it by the results?",
    "A baseline has to have had its best chance: the same data, the same steps, its own decision.",
)
def plan(seeds, baseline) -> str:
    choose(seeds, "b", {
        "a": "adding seeds until the interval leaves out 0 is looking many times.",
        "c": "the best seed is the luckiest one, for every method.",
    })  # fmt: skip
    choose(baseline, "c", {
        "a": "with argmax plain finds few frauds, whatever it has learned: its decision is not at its best.",
        "b": "the paper's number comes from other splits, another network path and another machine.",
    })  # fmt: skip
    return "What is fixed before the runs cannot follow the results."


ANSWERS = ("no", "holds", "cannot tell", "early")
WHY = (
    "the whole interval lies within 1 of 100: we know that nothing that matters is there.",
    "both intervals lie above 1 of 100, at a quarter and at the end.",
    "the interval reaches from a loss that matters to a gain that matters.",
    "the gain is there at a quarter, and at the end the interval lies within 1 of 100.",
)


@exercise(
    "11.6",
    "First look at the end. Does the interval lie above what matters, within it, or does it hold both?",
    "Then look at a quarter. A gain that is there, and is gone at the end, holds early only.",
    'The four words are "holds", "early", "no" and "cannot tell", and each of them is used once.',
)
def referee(first, second, third, fourth) -> str:
    for place, (given, right, why) in enumerate(
        zip((first, second, third, fourth), ANSWERS, WHY, strict=True), 1
    ):
        word = str(given).strip().lower()
        if word not in ANSWERS:
            raise NotYet(f'for claim {place} choose one of "holds", "early", "no" and "cannot tell".')
        if word != right:
            raise NotYet(f"look at claim {place} again: {why}")
    return "Size first, then the interval. A wide interval around 0 is no proof that nothing is there."
