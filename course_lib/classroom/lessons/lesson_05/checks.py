"""Checks of lesson 05."""

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import losses
from course_lib.classroom.checks import NotYet, ask_function, ask_letter, ask_number, exercise
from course_lib.classroom.judges import run
from course_lib.classroom.lessons.lesson_05.explorer import fit


def scores_and_classes() -> tuple[Tensor, Tensor, float]:
    """Scores of a batch, its classes, and a gamma."""
    M, K = int(torch.randint(5, 12, ())), int(torch.randint(2, 5, ()))
    return 2 * torch.randn(M, K), torch.randint(K, (M,)), round(1.5 + 2 * float(torch.rand(())), 1)


def focal(scores, y, gamma):
    return losses.focal_loss(scores, y, gamma=gamma)


def of_the_mean(scores, y, gamma):
    mean = F.cross_entropy(scores, y)
    return (1 - torch.exp(-mean)) ** gamma * mean


def with_p_for_a_factor(scores, y, gamma):
    each = F.cross_entropy(scores, y, reduction="none")
    return (torch.exp(-gamma * each) * each).mean()


def times_gamma(scores, y, gamma):
    return gamma * focal(scores, y, 1.0)


ask_function(
    "05.1",
    focal,
    scores_and_classes,
    because="With gamma 0 this is cross-entropy: everybody's factor is 1.",
    hints=[
        "The probability p and its logarithm belong together: log_p.exp() undoes the logarithm.",
        "The factor is (1 - p) to the power gamma, one number for each visitor.",
        "The loss of a visitor is -factor * log_p. Take the mean over the batch at the very end.",
    ],
    slips={
        "the sign is missing: log p is negative, so a loss needs a minus.": lambda s, y, g: -focal(s, y, g),
        "this is plain cross-entropy: the factor plays no part yet.": lambda s, y, g: F.cross_entropy(s, y),
        "the factor has to be (1 - p) ** gamma. Yours grows with p, so the easy count most.": with_p_for_a_factor,
        "you multiplied by gamma. Gamma is a power.": times_gamma,
        "you took the mean too early: each visitor needs a factor of his own.": of_the_mean,
    },
    look="Work out one visitor with p = 0.5 and gamma 2: the loss is 0.25 * 0.69 = 0.17.",
)

ask_letter(
    "05.2",
    "c",
    {
        "a": "the healthy are easy: their share falls at once from 50 to 4 of 100.",
        "b": "an ill visitor with p = 0.99 is rare and easy. The loss does not know that he is rare.",
        "d": "the gradient grows where p of the written label is small, and there are two such kinds, not one.",
    },
    because="The loss sees only p of the label that was written down. A wrong label has the smallest p of all.",
    hints=[
        "Which visitors have a small p of the label that was written down?",
        "Set the explorer to gamma 2, 5 wrong labels, frozen, and open its table.",
    ],
)


def clean_visitors(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Visitors as in the lesson, 5 of 100 ill: (n, 2) and (n,)."""
    y = (torch.arange(n) % 20 == 19).long()
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    x[:, 0] += 1.75 * y
    return x, y


def found_at_ten(x: Tensor, given: Tensor, gamma: float, new: tuple[Tensor, Tensor]) -> float:
    """Trained to the end on the labels in the file: ill found of 100 new ones, at 10 of 100 healthy called back."""
    slope = torch.from_numpy(fit(x.double().numpy(), given.numpy() == 1, gamma)[:2])
    score, y = new[0].double() @ slope, new[1]
    return 100 * float((score[y == 1] > score[y == 0].quantile(0.9)).float().mean())


@exercise(
    "05.3",
    "You may change at most 10 of 100 labels. Which wrong labels has the plain model the least trouble with?",
    "Focal loss looks at visitors with a small p of their label. Write wrong labels where the model is most sure.",
    "The healthiest visitors have the lowest first measurement, x[:, 0]. Write down some of them as ill.",
)
def focal_loses(write_labels) -> str:
    worse = []
    for seed in range(3):
        x, y = clean_visitors(2_000, seed)
        given = torch.as_tensor(run(write_labels, x.clone(), y.clone()))
        if given.shape != y.shape or not torch.isin(given, torch.tensor([0, 1])).all():
            raise NotYet(
                f"return a label 0 or 1 for each visitor, shape {tuple(y.shape)}; got {tuple(given.shape)}."
            )
        given = given.long()
        changed = int((given != y).sum())
        if not changed:
            raise NotYet("all labels are as they were. With right labels both models find about the same.")
        if changed > 200:
            raise NotYet(f"you changed {changed} of 2,000 labels. At most 200 are allowed.")
        new = clean_visitors(20_000, seed + 100)
        worse.append(found_at_ten(x, given, 0, new) - found_at_ten(x, given, 2, new))
    lost = sum(worse) / 3
    if lost < 3:
        raise NotYet(
            f"focal loss finds {lost:.1f} fewer of 100 ill visitors than the plain model with a threshold. "
            "Make it at least 3 fewer."
        )
    return f"Focal loss finds {lost:.0f} fewer of 100 ill visitors than the plain model with a threshold."


def counts_and_margin() -> tuple[Tensor, float]:
    return torch.randint(5, 2000, (int(torch.randint(2, 6, ())),)), round(0.2 + float(torch.rand(())), 2)


def margins(count, widest):
    return losses.ldam_margins(count, widest)


def to_the_power(power):
    """Margins with another power than -1/4, the largest made `widest`."""
    return lambda count, widest: widest * count.double() ** power / (count.double() ** power).max()


ask_function(
    "05.4",
    margins,
    counts_and_margin,
    because="A class with 16 times as many images gets half the margin.",
    hints=[
        "First take the counts to the power -1/4. The rarest class has the largest result.",
        "Then multiply all of them by one number, so that the largest becomes `widest`.",
    ],
    slips={
        "the largest margin has to be `widest`: divide by the largest first.": lambda n, m: (
            m * n.double() ** -0.25
        ),
        "this is the power 1/4: the common class got the widest margin.": to_the_power(0.25),
        "this is the power -1/2. The margin needs -1/4.": to_the_power(-0.5),
        "this is inverse frequency, the power -1. The margin needs -1/4.": to_the_power(-1.0),
    },
    look="Try counts 16 and 1 with widest 0.5: the margins are 0.25 and 0.5.",
    tolerance=1e-4,
)

ask_number(
    "05.5",
    0.281,
    0.003,
    because="The weight made an easy visitor look hard, and gamma then made him count far more than asked.",
    hints=[
        "exp(-loss) is p only for the plain loss. What is the loss of this visitor, with the weight?",
        "The weighted loss is 10 * 0.127 = 1.27. Take exp of minus 1.27.",
    ],
    slips={
        0.881: "this is the right p. The colleague's code gives another number, because his loss has a weight.",
        0.0881: "you divided p by 10. The weight multiplies log p, so p is raised to the power 10.",
        1.267: "this is the weighted loss. Take exp of minus this number.",
    },
    name="p in the colleague's code",
)

ask_number(
    "05.6",
    52,
    1.1,
    because="In half of all batches there is nobody to take a mean over, and one NaN is enough.",
    hints=[
        "A visitor is not ill with probability 0.98. All 32 visitors of the batch have to be healthy.",
        "Multiply 0.98 by itself, 32 factors. Then say it of 100 batches.",
    ],
    slips={
        64: "this is 32 times 2, the ill in 100 batches. Some batches have two of them, others none.",
        36: "100 minus 64 would be right if no batch had two ill visitors.",
        48: "this is the number of batches with an ill visitor.",
        0.52: "this is the share. The question asks for a number of 100 batches.",
    },
    name="the number of batches",
)
