"""Checks of lesson 06."""

from unittest import mock

import numpy as np
import torch
from imblearn.over_sampling import SMOTE
from torch import Tensor

from course_lib.classroom.checks import NotYet, ask_function, ask_letter, ask_number, exercise
from course_lib.classroom.judges import as_number, run, says_nothing_at_one
from course_lib.resampling import interpolate, nearest_neighbours


def ill_and_draws() -> tuple[Tensor, int, Tensor, Tensor, Tensor]:
    """Some ill people, a k, and the random numbers for new ones."""
    n, S = int(torch.randint(8, 13, ())), int(torch.randint(6, 10, ()))
    k = int(torch.randint(2, 6, ()))
    base, choice = torch.randint(n, (S,)), torch.randint(k, (S,))
    choice[0] = k - 1  # so that the nearest alone is never enough
    return torch.randn(n, 3), k, base, choice, 0.1 + 0.3 * torch.rand(S)


def new_points(ill, k, base, choice, gap):
    return interpolate(ill, base, nearest_neighbours(ill, k)[base, choice], gap)


def _with(ill, base, partner, gap):
    return ill[base] + gap[:, None] * (ill[partner] - ill[base])


def _farthest(ill, k, base, choice, gap):
    near = torch.cdist(ill, ill).fill_diagonal_(-1).topk(k).indices
    return _with(ill, base, near[base, choice], gap)


def _backwards(ill, k, base, choice, gap):
    return new_points(ill, k, base, choice, 1 - gap)


def _added(ill, k, base, choice, gap):
    return ill[base] + gap[:, None] * ill[nearest_neighbours(ill, k)[base, choice]]


ask_function(
    "06.1",
    new_points,
    ill_and_draws,
    because="Each new person lies on the line between two old ones.",
    hints=[
        "distance.topk(k, largest=False).indices gives the row numbers of the k smallest distances in each row.",
        "near[base, choice] picks one entry for each new person: row `base`, column `choice`.",
        "The formula is base + g * (partner - base). gap[:, None] makes a column of the gaps.",
    ],
    slips={
        "these are the farthest people: topk needs largest=False.": _farthest,
        "you started at the partner. Start at the base and go towards the partner.": _backwards,
        "you always took the nearest. `choice` says which of the k neighbours is the partner.": lambda i, k, b, c, g: (
            new_points(i, k, b, torch.zeros_like(c), g)
        ),
        "you added the partner. Add the gap times the difference, partner minus base.": _added,
        "these are the base people themselves: nothing was blended yet.": lambda i, k, b, c, g: i[b],
    },
    look="Work out one person by hand: A (2, 1) and B (4, 5) with gap 0.5 give (3, 3).",
)


def columns_and_labels(difference: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """200 people with 500 columns, 40 of them ill; five columns are higher by `difference` for the ill."""
    rng = np.random.default_rng(seed)
    y = np.arange(200) % 5 // 4
    x = rng.normal(size=(200, 500))
    x[:, :5] += difference * y[:, None]
    return x, y


@exercise(
    "06.2",
    "Which of the two lines above the pipeline looks at people who are in the test part later?",
    "Both lines do. A step inside make_pipeline is fitted on the training part of each fold only.",
    "make_pipeline(SelectKBest(k=10), SMOTE(random_state=0), model), and cross_val_score gets the old x and y.",
)
def no_leak(honest_pairs) -> str:
    said = {0.0: [], 1.5: []}
    original = SMOTE.fit_resample
    with mock.patch.object(SMOTE, "fit_resample", autospec=True, side_effect=original) as spy:
        for difference, found in said.items():
            for seed in range(3):
                given = run(
                    honest_pairs, *columns_and_labels(difference, seed), shown="200 people, 500 columns"
                )
                found.append(as_number(given, "the right pairs of 100"))
    seen = [len(call.args[1]) for call in spy.call_args_list]
    by_lot, real = (float(np.mean(found)) for found in said.values())
    if not seen:
        raise NotYet("SMOTE never runs. Keep it, as a step of the pipeline.")
    if max(seen) >= 200:
        raise NotYet("SMOTE sees all 200 people, those of the test part too. Make it a step of the pipeline.")
    if by_lot > 62:
        raise NotYet(
            f"it reports {by_lot:.0f} right pairs of 100 on labels drawn by lot. "
            "Which step still looks at the labels of the test people?"
        )
    if real < 75:
        raise NotYet(
            f"with a real difference it reports only {real:.0f} right pairs of 100. Which step is missing?"
        )
    return (
        f"It reports {by_lot:.0f} right pairs on labels drawn by lot, "
        f"and {real:.0f} where there is a real difference."
    )


@exercise(
    "06.3",
    "A new person lands in the circle when base and partner stand on opposite sides of it.",
    "With k = 5 and six people everybody is a partner of everybody. How many of the five should be opposite?",
    "Put three people near (-2.1, 0) and three near (2.1, 0).",
)
def inside_the_circle(places) -> str:
    ill = torch.as_tensor(run(places)).double()
    if ill.shape != (6, 2):
        raise NotYet(f"return the places of six people, shape (6, 2); got {tuple(ill.shape)}.")
    nearest = float(ill.norm(dim=1).min())
    if nearest < 2 - 1e-6:
        raise NotYet(f"all six have to stand outside radius 2, and one is at {nearest:.2f}.")
    draw = torch.Generator().manual_seed(0)
    base, choice = (torch.randint(high, (20_000,), generator=draw) for high in (6, 5))
    made = new_points(ill, 5, base, choice, torch.rand(20_000, generator=draw).double())
    inside = 100 * float((made.norm(dim=1) < 1).double().mean())
    if inside < 20:
        raise NotYet(f"{inside:.0f} of 100 new people land inside the circle. Make it at least 20.")
    return f"{inside:.0f} of 100 new people land where only healthy people live."


ask_letter(
    "06.4",
    "b",
    {
        "a": "a blend keeps the mean, but the library then cuts it to a whole number.",
        "c": "cutting 0.7 to a whole number gives 0, not 1.",
        "d": "a blend of 0 and 1 is seldom 0.5, and the column holds whole numbers only.",
    },
    because="Everything between 0 and 1 is cut to 0, so a smoker and another person never make a smoker.",
    hints=[
        "What is 0.7 as a whole number, when the part behind the point is cut off?",
        "A smoker (1) and another person (0) blend to 0.7, say. The column keeps 0.",
    ],
)


def p_and_kept() -> tuple[Tensor, float]:
    return 0.05 + 0.9 * torch.rand(9), round(0.05 + 0.4 * float(torch.rand(())), 2)


def repaired(p, kept):
    ill = kept * p  # ill : 1 - p are the repaired odds; as a ratio they would be infinite at p = 1
    return ill / (ill + (1 - p))


ask_function(
    "06.5",
    repaired,
    p_and_kept,
    because="Dropping healthy people divided their number by 1 / kept, and the odds grew by the same factor.",
    hints=[
        "The odds are p : 1 - p. The first number becomes `kept` times as large.",
        "From odds back to p: 1 : 49 is 1 / (1 + 49), so the first number is divided by the sum of both.",
    ],
    slips={
        "you multiplied p. The rule holds for the odds, p / (1 - p).": lambda p, kept: kept * p,
        "you divided the odds. They are too large, so multiply them by `kept`.": lambda p, kept: repaired(
            p, 1 / kept
        ),
        "these are the odds. The second line turns them into p.": lambda p, kept: kept * p / (1 - p),
        "these are the p as they came: the odds were not repaired.": lambda p, kept: p,
    },
    look="With odds 10 : 49 and kept 0.1 the repaired odds are 1 : 49, so p is 0.02.",
    also=says_nothing_at_one,
)

ask_number(
    "06.6",
    89,
    1.0,
    because="In the clinic the precision is 14 of 100. The test part has to keep the shares of the clinic.",
    hints=[
        "Take a test part of 100 ill and 100 healthy people. How many of each are called back?",
        "80 ill and 10 healthy people are called back. Which share of these 90 is ill?",
    ],
    slips={
        14: "this is the honest precision of the clinic, with 2 ill of 100. After SMOTE half of the test part is ill.",
        80: "this is the recall: of 100 ill people 80 are found. Precision asks about those who are called back.",
        0.89: "the question asks for a number of 100 people.",
        90: "this is the share of the healthy who are not called back.",
    },
    name="the precision that is reported",
)
