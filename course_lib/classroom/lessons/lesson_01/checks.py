"""Checks of lesson 01."""

import math
from operator import itemgetter

import torch

from course_lib.classroom.checks import NotYet, as_number, ask_function, ask_letter, ask_number, exercise
from course_lib.classroom.lessons.lesson_01 import explorer as lesson_01
from course_lib.metrics import confusion, per_class_recall, wilson_interval

SETS = {"a": (320, 320), "b": (20, 2000), "c": (20, 20), "d": (5, 500)}


def shares(table):
    """Table (2, 2), recall and precision."""
    return table, table[1, 1] / table[1].sum(), table[1, 1] / table[:, 1].sum()


def counted(y, called):
    """The same for truth (N,) and answers (N,); a row is a truth."""
    return shares(confusion(y, called, 2).float())


def turned_over(y, called):
    return shares(counted(y, called)[0].T)


def of_the_healthy(y, called):
    table = counted(y, called)[0]
    return table, *shares(table.flip(0, 1))[1:]


def some_answers():
    """Truth and answers of 60 visitors: the four counts differ and none is 0, so every slip gives other numbers."""
    y = (torch.rand(60) < 0.4).long()
    called = torch.where(torch.rand(60) < 0.3, 1 - y, y)
    y[:4], called[:4] = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    return (y, called) if len(confusion(y, called, 2).unique()) == 4 else some_answers()


def recalls(table):
    return table.double().diagonal() / table.double().sum(1)


def some_table():
    """Counts for a few classes; the first class is large, and the last has no test example in half of the tables."""
    size = int(torch.randint(3, 6, ()))
    table = torch.randint(1, 30, (size, size))
    table[0] *= 10
    if torch.rand(()) < 0.5:
        table[-1] = 0
    return (table,)


ask_function(
    "01.1",
    counted,
    some_answers,
    because="Recall is read along the row of the ill, precision down the column of those called back.",
    hints=[
        "The first blank: (y == truth) & (called == answer) is True for the visitors that you want to count.",
        "The ill who are called back are table[1, 1]. The row of the ill is table[1], its sum is table[1].sum().",
        "The column of those called back is table[:, 1].",
    ],
    slips={
        "the table is turned over: a row must be the truth, and a column the answer.": turned_over,
        "recall and precision have changed places: recall divides by the row of the ill.": lambda *it: (
            itemgetter(0, 2, 1)(counted(*it))
        ),
        "table and recall are right. Precision divides by the column of those called back, table[:, 1].": (
            lambda *it: itemgetter(0, 1, 1)(counted(*it))
        ),
        "the table is right, but this is about the healthy: the ill have number 1.": of_the_healthy,
    },
    look="Count a few visitors by hand and compare: result 1 is the table, 2 is recall, 3 is precision.",
)

ask_letter(
    "01.2",
    "c",
    {
        "a": "confusion_matrix wants the truth first. Which row or column of the printed table sums to the 300 ill?",
        "b": "accuracy is the diagonal divided by everything. Turning the table over changes neither.",
        "d": "a ROC curve shows all thresholds. What happens at this threshold, the table says by itself.",
    },
    because="A row of this table is an answer, not the truth: 80 of 300 ill are found.",
    hints=[
        "Look up the order of the two arguments of scikit-learn's confusion_matrix.",
        "There are 300 ill visitors. Which sum of the printed table is 300?",
    ],
)

ask_number(
    "01.3",
    100 / 101,
    0.0015,
    name="the threshold",
    because="At p = 0.5 Mara's odds are 1. Tom's odds are 100 times as high, and odds of 100 mean p = 100/101.",
    hints=[
        "Write Mara's threshold as odds first: odds are p / (1 - p).",
        "Tom's odds for the same visitor are 100 times as high. Back to a probability: odds of 3 : 1 are 3 / (3 + 1).",
    ],
    look="Tom's p is higher than Mara's for everybody, so his threshold must be higher, too: use the odds.",
    slips={
        1 / 101: "this is the other direction. It is Mara's threshold that makes the decisions of Tom's 0.5.",
        0.5: "with 0.5 Tom calls back many more visitors than Mara.",
        100.0: "these are the odds. Turn them into a probability: odds of 3 : 1 are 3 / (3 + 1).",
    },
)

ask_letter(
    "01.4",
    "c",
    {
        "a": "the model does not guess by the share of the ill. It finds the nearest training visitor: who is that?",
        "b": "a model that guesses would find about half here. This one need not guess: where are the copies?",
        "d": "there is nothing to learn about new visitors. But are the ill visitors of his test new?",
    },
    because="Each ill visitor of the test has copies in the training part, at distance 0. A perfect result is possible "
    "where nothing can be learned.",
    hints=[
        "Take one ill visitor of Tom's test. It is one of 100 copies. Where are the others?",
        "Which training visitor is nearest to a copy, and what is its label?",
    ],
)

ask_function(
    "01.5",
    lambda table: recalls(table).nanmean(),
    some_table,
    because="Every class that occurs has one vote, and a class that does not occur has none.",
    hints=[
        "The recall of class k is table[k, k] divided by the sum of row k. table.diagonal() and table.sum(1) "
        "do all at once.",
        "A class without examples has row sum 0, and 0 / 0 is NaN (not a number). .nanmean() leaves NaN out.",
    ],
    slips={
        "this is the accuracy: the large class has most of the votes.": lambda table: (
            table.diagonal().sum() / table.sum()
        ),
        "this is mean precision: you divided by the sums of the columns.": lambda table: (
            table.double().diagonal() / table.double().sum(0)
        ).nanmean(),
        "this is the sum of the recalls: the mean is still missing.": lambda table: recalls(table).nansum(),
        "a class without examples makes the mean NaN: leave it out.": lambda table: recalls(table).mean(),
        "a class without examples was counted as recall 0: it has no recall, so leave it out.": (
            lambda table: recalls(table).nan_to_num(0).mean()
        ),
    },
    look="Compute the recall of one class by hand and compare.",
    tolerance=1e-4,
    times=8,
)


@exercise(
    "01.6",
    "A lower threshold finds more of the ill and calls back more of the healthy. Begin with 0.5 for the cautious one.",
    "For the eager one try small thresholds, such as 0.1, 0.05, 0.02, and watch precision and balanced accuracy.",
    "Balanced accuracy is highest when everybody is called back who is more probably ill than an average visitor.",
)
def two_thresholds(cautious, eager) -> str:
    cautious, eager = as_number(cautious, "cautious"), as_number(eager, "eager")
    if not 0 < eager < cautious < 1:
        raise NotYet(
            "both thresholds lie between 0 and 1, and the eager one is lower: it calls back more visitors. "
            f"Got cautious {cautious:g}, eager {eager:g}."
        )
    y = torch.repeat_interleave(torch.tensor([1, 0]), torch.tensor([2000, 200_000]))
    first = torch.randn(len(y)) + 1 - 2 * y
    p = torch.sigmoid(-2 * first - math.log(100))
    numbers = {}
    for name, threshold in (("cautious", cautious), ("eager", eager)):
        called = (p > threshold).long()
        if called.sum() == 0:
            raise NotYet(f"with {threshold:g} the {name} threshold calls back nobody. Choose a lower one.")
        numbers[name] = (float(counted(y, called)[2]), float(per_class_recall(y, called, 2).mean()))
    (useful, low), (useless, high) = numbers["cautious"], numbers["eager"]
    if useful < 0.5:
        raise NotYet(f"with the cautious threshold only {useful:.0%} of those called back are ill. Raise it.")
    if useless >= 0.1:
        raise NotYet(
            f"with the eager threshold {useless:.0%} of those called back are ill: still too many. Lower it."
        )
    if high <= low:
        raise NotYet(
            f"balanced accuracy prefers the cautious threshold, {low:.2f} to {high:.2f}: the eager one is so low that "
            "nearly everybody is called back."
        )
    return (
        f"Balanced accuracy is {high:.2f} where {useless:.0%} of those called back are ill, and {low:.2f} where "
        f"{useful:.0%} are. Which is better depends on what a missed visitor costs."
    )


@exercise(
    "01.7",
    "Which way did each slider of the explorer move the gap?",
    "Compare two sets that differ in one thing only: b and c have the same ill visitors, b and d the same ratio.",
    "Sort by the number of ill visitors first. Where it is equal, ask what more healthy visitors did.",
)
def order_of_gaps(answer) -> str:
    if not isinstance(answer, str) or sorted(answer.strip().lower()) != sorted(SETS):
        raise NotYet(f"answer with the four letters a, b, c, d in quotes, each once; got {answer!r}.")
    order = answer.strip().lower()
    gap = {name: lesson_01.compute(ill, healthy / ill).gap for name, (ill, healthy) in SETS.items()}
    if order == "".join(sorted(SETS, key=gap.get)):
        raise NotYet("your order is right, but it begins at the wrong end: the largest gap comes first.")
    if order == "cdab":
        raise NotYet("you sorted by the total. Set b has the most visitors, but how many of them are ill?")
    if order.index("b") < order.index("c"):
        raise NotYet(
            "you put b before c, so you blame the ratio. Both have the same 20 ill visitors: how could 1,980 more "
            "healthy ones make the order worse?"
        )
    for first, second in zip(order, order[1:]):
        if gap[first] < gap[second]:
            raise NotYet(f"compare {first} and {second} once more: which of them has fewer ill visitors?")
    return "The number of ill visitors decides. Where it is equal, more healthy visitors help."


def half_width(n: int, measured: float = 0.5) -> float:
    low, high = wilson_interval(round(measured * n), n)
    return (high - low) / 2


@exercise(
    "01.8",
    "The interval is widest when half of the ill are found: plan for this case.",
    "Try half_width(n) in a loop over n, until it is at most 0.05.",
    "Then: for each ill visitor there are 100 healthy ones, so 1 of 101 visitors is ill.",
)
def size_of_test(ill, visitors) -> str:
    n = round(as_number(ill, "ill_needed"))
    if n < 1:
        raise NotYet(f"at least one ill visitor is needed, got {n}.")
    if half_width(n) > 0.05:
        said = f"with {n} ill visitors, half of them found, the interval reaches {half_width(n):.3f} to each side."
        if half_width(n, 0.9) <= 0.05:
            said += " It is enough if 90 of 100 are found, but nobody knows that before the test."
        raise NotYet(said)
    if half_width(round(n / 1.06)) <= 0.05:
        why = " 0.05 is half of the interval, not all of it." * (half_width(n) < 0.03)
        raise NotYet(f"{n} ill visitors are enough, but fewer are enough, too.{why}")
    total = as_number(visitors, "visitors_needed")
    if abs(total / 101 - n) > 0.02 * n:
        side = "many" if total / 101 > n else "few"
        raise NotYet(
            f"the number of ill visitors is right. {total:,.0f} visitors are too {side}: about {total / 101:.0f} of "
            "them are ill."
        )
    return "One trustworthy recall costs nearly four hundred ill visitors: at 1 of 101 this is a large test."
