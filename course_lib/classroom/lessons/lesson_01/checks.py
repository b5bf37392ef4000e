"""Checks of lesson 01."""

import random

import torch

from course_lib.classroom.checks import NotYet, as_number, choose, exercise, run
from course_lib.classroom.lessons.lesson_01 import explorer as lesson_01
from course_lib.data import gaussian_classes
from course_lib.metrics import confusion, per_class_recall, wilson_interval

SETS = {"a": (320, 320), "b": (20, 2000), "c": (20, 20), "d": (5, 500)}


@exercise(
    "01.1",
    "The explorer can be set to all four. Which way did each slider move the diamonds?",
    "Compare sets that differ in one thing only: b and c have the same positives, b and d the same ratio.",
    "Sort by the number of positives first; where that is equal, ask what more negatives did.",
)
def order_of_gaps(answer) -> str:
    if not isinstance(answer, str) or sorted(answer.strip().lower()) != sorted(SETS):
        raise NotYet(
            f"Answer with the four letters a, b, c, d in quotes, each once, largest gap first; got {answer!r}."
        )
    order = answer.strip().lower()
    gap = {name: lesson_01.compute(p, n / p).gap[0] for name, (p, n) in SETS.items()}
    if order == "".join(sorted(SETS, key=gap.get)):
        raise NotYet("Your order is sound, but it begins at the wrong end: the largest gap comes first.")
    if order == "cdab":
        raise NotYet(
            "You sorted by the total: b has most examples of all, but where does it get its positives?"
        )
    if order.index("b") < order.index("c"):
        raise NotYet(
            "You put b before c, so the ratio counts as guilty: both have the same 20 positives; what could 1,980 more "
            "negatives take away?"
        )
    for first, second in zip(order, order[1:]):
        if gap[first] < gap[second]:
            raise NotYet(f"Compare {first} and {second} once more: which of them has fewer positives?")
    return "Positives decide; at equal positives, more negatives help. The ratios were 100, 1, 100 and 1."


@exercise(
    "01.2",
    "The interval is widest at a recall of one half: plan for that one.",
    "Half its width at n positives: low, high = metrics.wilson_interval(n // 2, n); (high - low) / 2.",
    "Try n in a loop until half the width is at most 0.05. Of all patients, 3 % are such positives.",
)
def size_of_test(positives, patients) -> str:
    def half_width(n: int, share: float = 0.5) -> float:
        low, high = wilson_interval(round(share * n), n)
        return (high - low) / 2

    n = round(as_number(positives, "positives_needed"))
    if n < 1:
        raise NotYet(f"At least one positive is needed, got {positives}.")
    if half_width(n) > 0.05:
        narrow = " It would do for a recall of 0.9, but you do not know that beforehand." * (
            half_width(n, 0.9) <= 0.05
        )
        raise NotYet(
            f"With {n} positives and a recall of one half the interval reaches {half_width(n):.3f} to either side."
            f"{narrow}"
        )
    if half_width(round(n / 1.06)) <= 0.05:
        why = " 0.05 is half the width, not all of it." * (half_width(n) < 0.03)
        raise NotYet(f"{n} positives are enough, but more than needed: fewer would do.{why}")
    total = as_number(patients, "patients_needed")
    if abs(total * 0.03 - n) > 0.02 * n:
        side = "many" if total * 0.03 > n else "few"
        raise NotYet(
            f"The positives are right. {total:,.0f} patients are too {side}: at 3 % they hold about "
            f"{total * 0.03:.0f} positives."
        )
    return "A verdict on one recall costs about four hundred positives, and at 3 % that is a large test part."


@exercise(
    "01.3",
    "Look up the order of the two arguments of scikit-learn's confusion_matrix.",
    "Which sum of the printed table is the number of sick patients? There are 300 of them.",
)
def referee(answer) -> str:
    choose(
        answer,
        "c",
        {
            "a": "confusion_matrix wants the truth first; add up which row or column holds the 300 sick patients.",
            "b": "accuracy is the diagonal over everything, and turning a table over leaves both where they are.",
            "d": "a ROC curve judges the ranking over all cuts; what happens at this cut the table tells by itself.",
        },
    )
    return "The table is turned over, a row is a prediction: 80 of 300 sick are found, and 80 of 120 alarms are true."


@exercise(
    "01.4",
    "Recall of class k: table[k, k] divided by the sum of row k. `table.diagonal()` and `table.sum(1)` do all at once.",
    "An absent class has row sum 0, and 0 / 0 is NaN: keep the rows with a positive sum, or use nanmean.",
)
def mean_recall(function) -> str:
    def ask(table: torch.Tensor) -> float:
        return as_number(
            run(function, table.clone(), shown=f"the table {table.tolist()}"), "balanced accuracy"
        )

    def want(table: torch.Tensor) -> float:
        table = table.double()
        return float((table.diagonal() / table.sum(1)).nanmean())

    size = random.randint(2, 5)
    plain = torch.randint(1, 30, (size, size))
    plain[0] *= 10
    got, right = ask(plain), want(plain)
    if abs(got - right) > 1e-4:
        wide = plain.double()
        known = {
            "accuracy: the large class has most of the votes": wide.diagonal().sum() / wide.sum(),
            "mean precision: you divided by column sums": (wide.diagonal() / wide.sum(0)).mean(),
            "the sum of the recalls: a mean is still to be taken": (wide.diagonal() / wide.sum(1)).sum(),
        }
        guess = next((name for name, value in known.items() if abs(got - float(value)) < 1e-4), None)
        looks = f"That is {guess}." if guess else "Compute one recall by hand and compare."
        raise NotYet(f"On the table {plain.tolist()} you gave {got:.4f}. {looks}")
    absent = plain.clone()
    absent[random.randrange(size)] = 0
    try:
        got = ask(absent)
    except NotYet as reason:
        raise NotYet(f"A class without examples spoils the mean: {reason}") from None
    if abs(got - want(absent)) > 1e-4:
        raise NotYet(
            f"On {absent.tolist()} you gave {got:.4f}: a class that does not occur was counted; it has no recall, "
            "which is not the same as recall 0."
        )
    return "Every class that occurs has one vote, and a class that does not occur has none."


@exercise(
    "01.5",
    "Lowering the cut moves along one ROC curve: recall and false alarms both rise. Start with a cautious cut of 0.5.",
    "The true probability says how often an alarm is true: at an eager cut, let in patients with a few per cent.",
    "Balanced accuracy is highest when you flag whoever is likelier to be sick than the average patient.",
)
def two_cuts(cautious, eager) -> str:
    cautious, eager = as_number(cautious, "cautious"), as_number(eager, "eager")
    if not 0 < eager < cautious < 1:
        raise NotYet(
            "Both cuts are probabilities, and the eager one is the lower: it flags more. "
            f"Got cautious {cautious:g}, eager {eager:g}."
        )
    task = gaussian_classes(
        (0.99, 0.01), num_train=1000, num_held=100_000, seed=int(torch.randint(2**31, ()))
    )
    y, chance = task.test.y, task.posterior(task.test.x)[:, 1]
    numbers = {}
    for name, cut in (("cautious", cautious), ("eager", eager)):
        predicted = (chance > cut).long()
        if predicted.sum() == 0:
            raise NotYet(
                f"At {cut:g} the {name} model flags nobody: without an alarm there is no precision. Go lower."
            )
        found = confusion(y, predicted, 2)[1, 1] / predicted.sum()
        numbers[name] = (float(found), float(per_class_recall(y, predicted, 2).mean()))
    (useful, low), (useless, high) = numbers["cautious"], numbers["eager"]
    if useful < 0.5:
        raise NotYet(f"Of the cautious model's alarms only {useful:.0%} are true: raise its cut.")
    if useless >= 0.1:
        raise NotYet(
            f"The eager model is still too good: {useless:.0%} of its alarms are true. Lower its cut."
        )
    if high <= low:
        raise NotYet(
            f"Balanced accuracy prefers the cautious model, {low:.3f} to {high:.3f}: the eager cut is so low that it "
            "flags almost everybody."
        )
    return (
        f"Balanced accuracy says {high:.2f} for {useless:.0%} true alarms and {low:.2f} for {useful:.0%}. Both lie "
        "on one ROC curve; which is better depends on what a miss costs."
    )
