"""Checks of lesson 07."""

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.classroom.checks import ask_function, ask_letter, ask_number


def images_and_steps() -> tuple[Tensor, int, int]:
    """Some images, and one step down or to the right: so that the other way and the other axis differ."""
    step, sideways = int(torch.randint(0, 2, ())) * 2 - 1, torch.rand(()) < 0.5
    return torch.rand(4, 1, 5, 6), 0 if sideways else step, step if sideways else 0


def shifted(x, down, right):
    wide, (H, W) = F.pad(x, (1, 1, 1, 1)), x.shape[2:]
    return wide[:, :, 1 - down : 1 - down + H, 1 - right : 1 - right + W]


ask_function(
    "07.1",
    shifted,
    images_and_steps,
    because="The window moves up when the image is to move down.",
    hints=[
        "With down = 0 the window starts at row 1, because row 0 is the rim.",
        "An image that moves down by 1 shows the rim at its top. So its window starts at row 0.",
        "top = 1 - down, and left = 1 - right.",
    ],
    slips={
        "the image moved the other way. Where does the window start when the image moves down?": lambda x, d, r: (
            shifted(x, -d, -r)
        ),
        "you exchanged down and right.": lambda x, d, r: shifted(x, r, d),
        "the window starts at the rim: with a step of 0 it should start at row 1.": lambda x, d, r: F.pad(
            x, (2, 2, 2, 2)
        )[:, :, 1 - d : 1 - d + x.shape[2], 1 - r : 1 - r + x.shape[3]],
    },
    look="Work out the strip 0 5 9 by hand: moved right by 1 it is 0 0 5.",
    times=8,
)


def a_batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    M = 6
    y = F.one_hot(torch.randint(10, (M,)), 10).float()
    return torch.rand(M, 1, 3, 3), y, torch.arange(M).roll(2), 0.55 + 0.4 * torch.rand(M)


def mixup(x, y, partner, share):
    own = share.view(-1, 1, 1, 1)
    return own * x + (1 - own) * x[partner], share[:, None] * y + (1 - share[:, None]) * y[partner]


ask_function(
    "07.2",
    mixup,
    a_batch,
    because="Image and label are blended with the same share.",
    hints=[
        "x[partner] are the images of the partners. Each image keeps `own` of itself.",
        "The new image is own * x + (1 - own) * x[partner].",
        "The labels have one axis only, so share[:, None] takes the place of own.",
    ],
    slips={
        "you kept the share of the partner. `share` belongs to the image itself.": lambda x, y, p, s: mixup(
            x, y, p, 1 - s
        ),
        "the labels are not blended yet.": lambda x, y, p, s: (mixup(x, y, p, s)[0], y),
        "the images are not blended yet.": lambda x, y, p, s: (x, mixup(x, y, p, s)[1]),
    },
    look="With share 0.75 a pixel 0.8 and a partner's pixel 0.4 give 0.7.",
)
ask_letter(
    "07.3",
    "c",
    {
        "a": "a photo of a number plate is never taken upside down, so turned 6 and 9 would share their images.",
        "b": "a mirrored 5 is no digit that the camera will ever see.",
        "d": "the pixels of a label that was exchanged say nothing about brightness.",
    },
    because="The camera sees bright and dark plates, and no reader changes the digit because of the light.",
    hints=[
        "Ask two questions: does a person still read the same digit, and will the camera see such an image?",
        "Only one of the changes happens in front of the camera and keeps every digit.",
    ],
)
ask_number(
    "07.4",
    0.02,
    0.002,
    because="The odds 1 : 1 divided by 49 are 1 : 49, and 1 of 50 is 0.02.",
    hints=[
        "The members saw as many ill as healthy people. In the clinic there are 49 healthy people for each ill one.",
        "p = 0.5 are the odds 1. Divide the odds by 49, then go back to p.",
    ],
    slips={
        0.5: "that is the p of the members. They saw half of the people ill, and in the clinic 2 of 100 are.",
        0.0102: "you divided p by 49. Divide the odds, p / (1 - p).",
        0.98: "you multiplied the odds. The ill are rarer in the clinic than in the members' training.",
    },
    name="the repaired p",
)


def head_and_tau() -> tuple[Tensor, Tensor, float]:
    return torch.randn(5, 8), (0.5 + torch.rand(4, 1)) * torch.randn(4, 8), 0.5


def tau_scores(features, weight, tau):
    return features @ (weight / weight.norm(dim=1, keepdim=True) ** tau).T


ask_function(
    "07.5",
    tau_scores,
    head_and_tau,
    because="A class with a long row of weights loses its head start.",
    hints=[
        "weight.norm(dim=1, keepdim=True) is a column with the length of each row.",
        "Divide each row by its length to the power tau, then features @ rows.T.",
    ],
    slips={
        "you multiplied by the length. Long rows have to become shorter.": lambda f, w, t: tau_scores(
            f, w, -t
        ),
        "this is tau = 1. Raise the lengths to the power tau.": lambda f, w, t: tau_scores(f, w, 1),
        "these are the old scores: nothing was divided.": lambda f, w, t: f @ w.T,
        "the length is that of a column. Each class has a row: dim=1.": lambda f, w, t: (
            f @ (w / w.norm(dim=0, keepdim=True) ** t).T
        ),
    },
    look="A row (3, 4) has the length 5. With tau = 1 it becomes (0.6, 0.8).",
)
