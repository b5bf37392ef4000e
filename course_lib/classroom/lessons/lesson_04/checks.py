"""Checks of lesson 04."""

import torch

from course_lib.classroom.checks import ask_function, ask_letter, ask_number, choose, exercise


def losses_and_weights() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The losses of a batch, its classes (two at least) and one weight per class."""
    K = int(torch.randint(2, 5, ()))
    M = int(torch.randint(6, 12, ()))
    y = torch.cat([torch.arange(K), torch.randint(K, (M - K,))])
    return torch.rand(M) + 0.1, y, torch.rand(K) * 9 + 0.5


def two_averages(each, y, w):
    total = (w[y] * each).sum()
    return total / w[y].sum(), total / len(y)


ask_function(
    "04.1",
    two_averages,
    losses_and_weights,
    because="The two averages share the upper part: only what they divide by differs.",
    hints=[
        "y holds a class for every visitor. w[y] picks the weight of that class, one for each visitor.",
        "Both averages begin with (weight * each).sum().",
        "PyTorch divides by the sum of the weights in this batch, the second average by len(y).",
    ],
    slips={
        "both averages are right, but in the other order: PyTorch's average comes first.": lambda each, y, w: (
            two_averages(each, y, w)[::-1]
        ),
        "the first average divides by the weights of the classes, not of the visitors in this batch.": (
            lambda each, y, w: ((w[y] * each).sum() / w.sum(), (w[y] * each).mean())
        ),
        "these are sums: they are not divided yet.": lambda each, y, w: (
            (w[y] * each).sum(),
            (w[y] * each).sum(),
        ),
        "the first average divides by M too. PyTorch divides by the sum of the weights.": lambda each, y, w: (
            (w[y] * each).mean(),
            (w[y] * each).mean(),
        ),
        "the losses have no weights yet: multiply each loss by its weight first.": lambda each, y, w: (
            each.mean(),
            each.mean(),
        ),
    },
    look="Take three visitors and work both averages out by hand.",
)


@exercise(
    "04.2",
    "Put 2w in the place of w in both formulas. Where does the 2 cancel?",
    "PyTorch's average has weights above and below the line. pos_weight is divided by the number of visitors.",
)
def double_the_weights(in_cross_entropy, in_pos_weight) -> str:
    choose(
        in_cross_entropy,
        "a",
        {
            "b": "the ill get twice the weight, but so do the healthy, and the sum below the line doubles too.",
            "c": "divided by M, yes. But PyTorch divides by the sum of the weights, which doubles too.",
        },
    )
    choose(
        in_pos_weight,
        "b",
        {
            "a": "pos_weight is not divided by a sum of weights, so nothing cancels a factor 2.",
            "c": "pos_weight multiplies the loss of the ill alone: the healthy keep theirs.",
        },
    )
    return (
        "In cross-entropy only the ratio of the weights counts. pos_weight is itself the ratio, so doubling it asks "
        "for twice the odds."
    )


ask_letter(
    "04.3",
    "c",
    {
        "a": "a missing last batch changes one step of 125. The share is lost in all the others.",
        "b": "doubling all weights changes nothing at all: the sum below the line doubles too.",
        "d": "that asks for more, but how much more is needed depends on the batch size.",
    },
    because="The sum over the batch, divided by the number of visitors, is (w[y] * each).mean().",
    hints=[
        "Which of the lines changes what the loss of a batch is divided by?",
        'With reduction="sum" PyTorch does not divide at all. What is left to do?',
    ],
)


def counts_and_power() -> tuple[torch.Tensor, float]:
    counts = torch.randint(1, 2000, (int(torch.randint(2, 6, ())),))
    return counts, round(0.2 + 0.6 * float(torch.rand(())), 2)


def power_mix(counts, q):
    raised = counts.double() ** q
    return raised / raised.sum()


ask_function(
    "04.4",
    power_mix,
    counts_and_power,
    because="q = 1 leaves the mix as it is, q = 0 is the uniform mix, and every other q lies between them.",
    hints=[
        "A share of 1 means: every visitor of the batch is of this class. All shares together are 1.",
        "Raise every count to the power q, then divide by the sum of what you got.",
    ],
    slips={
        "these are powers of the counts. Divide them by their sum, so that they become shares.": (
            lambda counts, q: counts.double() ** q
        ),
        "this is the mix of the data: q plays no part yet.": lambda counts, q: power_mix(counts, 1.0),
        "you took the power 1 - q: q = 1 has to be the mix of the data.": (
            lambda counts, q: power_mix(counts, 1 - q)
        ),
        "you multiplied by q, which cancels. q is a power.": lambda counts, q: (
            counts * q / (counts * q).sum()
        ),
    },
    look="With q = 1 the shares are those of the data, with q = 0 all shares are equal.",
    tolerance=1e-4,
)

ask_number(
    "04.5",
    0.98,
    0.002,
    because="The sampler made the classes equal, and the weights then made the ill 49 times as heavy.",
    hints=[
        "In a batch of the sampler about 8 of 16 visitors are ill. Add up the weights of both classes.",
        "8 ill visitors weigh 8 * 49, 8 healthy visitors weigh 8 * 1.",
    ],
    slips={
        0.5: "this is the share after one of the two corrections. Here both act, one after the other.",
        0.02: "this is the share of the ill among the visitors, before any correction.",
    },
    name="the share",
)

ask_number(
    "04.6",
    0.04,
    0.001,
    because="Odds 1.25 divided by 30 are 0.0417, and that is a probability of 0.04: below every threshold near 0.05.",
    hints=[
        "A weight multiplies odds, not probabilities. What are the odds of 0.556?",
        "Odds are p : 1 - p. Divide the first number by 30, then go back: odds of 3 : 1 are p = 3 / (3 + 1).",
    ],
    slips={
        0.556 / 30: "you divided the probability by 30. A weight multiplies the odds.",
        1.252 / 30: "these are the odds. Turn them into a probability.",
        37.6 / 38.6: "you multiplied the odds by 30. Here the weight has to be taken out.",
    },
    name="the probability",
)
