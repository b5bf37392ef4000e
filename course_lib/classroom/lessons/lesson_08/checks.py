"""Checks of lesson 08."""

import torch

from course_lib.classroom.checks import (
    NotYet,
    ask_function,
    ask_letter,
    ask_number,
    choose,
    exercise,
    run,
    same_tensor,
)


def turns_and_length() -> tuple[list[int], int, int]:
    """A visit of two to five batches, more digits than that in any order, and steps for more than one round."""
    visit = int(torch.randint(2, 6, ()))
    order = torch.randperm(10)[
        : visit + int(torch.randint(1, 3, ()))
    ].tolist()  # so no slip looks like another
    return order, visit, len(order) * visit + int(torch.randint(1, 3 * visit, ()))


def schedule(order, visit, steps):
    return [order[step // visit % len(order)] for step in range(steps)]


ask_function(
    "08.1",
    schedule,
    turns_and_length,
    because="Steps divided by the visit count the visits, and the rest after a round says whose turn it is.",
    hints=[
        "With visits of 20, steps 0 to 19 are visit 0, and steps 20 to 39 are visit 1. Which division does this?",
        "step // visit divides and leaves out the rest.",
        "After the last digit comes the first: the rest of number divided by len(order), number % len(order).",
    ],
    slips={
        "every step is a visit here: the digit changes after one batch. A visit has several batches.": (
            lambda order, visit, steps: schedule(order, 1, steps)
        ),
        "step % visit counts the batches within a visit. You need the number of the visit.": (
            lambda order, visit, steps: [order[step % visit % len(order)] for step in range(steps)]
        ),
        "these are the places in the order. Look up which digit stands there.": (
            lambda order, visit, steps: schedule(range(len(order)), visit, steps)
        ),
    },
    look="Write down the first steps for visits of 2 and the order 7, 3, 5: 7, 7, 3, 3, 5, 5, 7, 7, ...",
)

ask_number(
    "08.2",
    0.98**45,
    0.005,
    because="Nine visits of 5 batches are 45 batches, and 0.98 taken 45 times is 0.40.",
    hints=[
        "How many batches of the other nine digits come between two visits to one digit?",
        "Each of these batches leaves 1 - r = 0.98 of what was there.",
    ],
    slips={
        0.98**5: "this is one visit. Nine other digits are visited before it is this one's turn again.",
        0.98**50: "this counts the digit's own visit too, in which nothing is forgotten.",
        1 - 0.98**45: "this is what is lost. How much remains?",
        0.02**45: "each batch takes away 0.02 of what is there. How much does it leave?",
    },
    name="the part that remains",
)


@exercise(
    "08.3",
    "Shuffle the rows with rows[torch.randperm(len(rows))], and put them under the deck with torch.cat.",
    "While the deck holds fewer cards than asked, shuffled rows come under it. Then deal from the top.",
    "deck[:count] is dealt, deck[count:] remains.",
)
def judge_deck(deal) -> str:
    rows = torch.randperm(500)[: int(torch.randint(7, 12, ()))]
    deck, dealt = rows[:0], []
    for count in (3, 4, 5, len(rows), 2 * len(rows) + 1):
        answer = run(deal, deck.clone(), rows.clone(), count)
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise NotYet("two things come back: the batch that was dealt, and the deck that remains.")
        batch, rest = (torch.as_tensor(part) for part in answer)
        if len(batch) != count:
            raise NotYet(f"{count} rows were asked for, and {len(batch)} came back.")
        if not torch.isin(batch, rows).all():
            raise NotYet("a row came back that does not belong to this class.")
        if len(deck) and not torch.equal(batch[: len(deck)], deck[:count]):
            raise NotYet("what is left of the old deck is dealt first, from the top.")
        dealt.append(batch)
        deck = rest
    together = torch.cat(dealt)
    for first in range(0, len(together) - len(rows) + 1, len(rows)):
        turn = together[first : first + len(rows)]
        look = "every row comes once before any row comes again."
        same_tensor(turn.sort().values, rows.sort().values, "what one turn of the deck deals", look=look)
    if all(torch.equal(run(deal, rows[:0], torch.arange(50), 50)[0], torch.arange(50)) for _ in range(2)):
        raise NotYet("the rows come back in the order in which they stand. Shuffle them.")
    return "No image comes a second time before all images of its class were seen."


ask_letter(
    "08.4",
    "b",
    {
        "a": "this helps, but it costs a new training, and the ranking of the visitors is as good already.",
        "c": "more rounds end with the same last visit, and the point lies where it lay.",
        "d": "in a batch of one class PyTorch's weights cancel: nothing changes at all.",
    },
    because="With two classes the ROC curve stayed where it was, so only the threshold has to move.",
    hints=[
        "Look at the AUC of the four trainings. Is the ranking of the visitors worse?",
        "If the curve is the same and only the point has moved, what moves a point along its curve?",
    ],
)

ask_letter(
    "08.5",
    "b",
    {
        "a": "the 9 was visited first. It is the longest ago.",
        "c": "all digits had 100 batches each. How often a digit comes is not what decides here.",
        "d": "this is 'equal visits, equal learning'. Remember what Tom's network found.",
    },
    because="The last visit was to the 0, and visits of 100 batches leave nothing of the others.",
    hints=["How many rounds are 1,000 steps in visits of 100?", "Which digit did the network see last?"],
)

CURES = {
    "a": "layer norm looks at one image alone, so it does not matter what else is in the batch.",
    "b": "in mixed batches the mean of a batch is the mean of all digits, in training as in the test.",
    "e": "the statistics come from mixed images, and the training uses the very ones that the test uses.",
}


@exercise(
    "08.6",
    "The fault: in training, a digit is compared with its own mean. Which two repairs leave this as it is?",
    "One of the two comes after the training. The other one changes the step, but not what a batch shows the layer.",
)
def judge_cures(first, second) -> str:
    for letter in (first, second):
        chosen = letter.strip().lower() if isinstance(letter, str) else letter
        choose("c" if chosen in ("c", "d") else letter, "c", CURES)
    if first.strip().lower() == second.strip().lower():
        raise NotYet("one of the two is right. Which other one leaves the fault of the training as it is?")
    return "Both leave the batches of one digit in the layer: the last layer still learns from the wrong numbers."


ask_letter(
    "08.7",
    "a",
    {
        "b": "the weight stands above and below the line of PyTorch's average. What is left in a batch of one class?",
        "c": "the loss of a batch of fours is 10 times as large only if it is divided by the number of images.",
        "d": "nothing in a batch of one class is compared with another class, so nothing can become too large.",
    },
    because="In a batch of one class the weight of that class cancels, so no parameter changes.",
    hints=[
        "PyTorch divides by the sum of the weights in the batch (lesson 04). How large is it for 32 fours?",
        "w * (l1 + ... + l32) / (32 * w): what happens to w?",
    ],
)
