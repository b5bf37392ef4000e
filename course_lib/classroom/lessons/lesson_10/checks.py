"""Checks of lesson 10."""

import torch
from torch import nn

from course_lib.classroom.checks import NotYet, ask_function, ask_letter, ask_number, exercise, run


def some_grades():
    """Outputs of a network (M, 1) and grades (M,)."""
    size = int(torch.randint(3, 9, ()))
    outputs, y = 6 + torch.randn(size, 1), 6 + torch.randn(size)
    y[:2] = outputs[:2, 0] + torch.tensor([1.0, -1.0])  # one guess too low, one too high
    return outputs, y


def squared_errors(outputs, y):
    return (outputs.squeeze(1) - y).square()


ask_function(
    "10.1",
    squared_errors,
    some_grades,
    because="One squared error for each wine, and the shapes agree.",
    hints=[
        "`outputs` has the shape (M, 1), and `y` has (M,). First give both the same shape.",
        "`outputs.squeeze(1)` has the shape (M,). Subtract `y`, then take the square.",
    ],
    slips={
        "the shape is (M, M): every output met every grade. Make `outputs` a tensor of shape (M,) first.": (
            lambda outputs, y: (outputs - y).square()
        ),
        "that is the mean of the batch. The mix needs the error of each wine.": (
            lambda outputs, y: squared_errors(outputs, y).mean()
        ),
        "these are the differences. Take the square of each.": lambda outputs, y: outputs.squeeze(1) - y,
        "these are the absolute errors. Take the square of each.": (
            lambda outputs, y: (outputs.squeeze(1) - y).abs()
        ),
    },
    look="It should be the square of output minus grade, for each wine.",
)


@exercise(
    "10.2",
    "The last layer is `model[-1]`, and it adds its `bias` to every output.",
    "Set the bias to the mean of the training grades: `model[-1].bias.fill_(...)`.",
)
def starts_at_mean(start_at_mean) -> str:
    for _ in range(3):
        torch.manual_seed(int(torch.randint(10**6, ())))
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        y = 3 + 4 * torch.rand(20)
        y[0] = 20.0  # so that mean and median differ
        kept = y.clone()
        with torch.no_grad():
            try:
                start_at_mean(model, y)
            except Exception as error:
                run(start_at_mean, model, y)
                raise NotYet(f"your function raised {type(error).__name__}: {error}") from None
        after = {name: value.detach() for name, value in model.named_parameters()}
        if not torch.equal(y, kept):
            raise NotYet("the grades must stay as they are. Only the bias moves.")
        bias = float(after["2.bias"])
        if any(not torch.equal(after[name], old) for name, old in before.items() if name != "2.bias"):
            raise NotYet(
                "another layer or weight changed. Only the bias of the last layer, `model[-1].bias`, moves."
            )
        if bias == float(before["2.bias"]):
            raise NotYet(
                "the bias of the last layer stays as it was. A new tensor beside it does nothing: use `fill_`."
            )
        if abs(bias - float(y.median())) < 1e-4:
            raise NotYet("that is the median. The squared error is smallest at the mean.")
        if abs(bias - float(y.mean())) > 1e-4:
            raise NotYet(f"the bias is {bias:.2f}, and the mean of the grades is {float(y.mean()):.2f}.")
    return "The network now starts where the constant stands, and learns from there."


def some_images():
    """Rebuilt images and images, (M, 64) each."""
    size = int(torch.randint(3, 9, ()))
    return torch.rand(size, 64), torch.rand(size, 64)


ask_function(
    "10.3",
    lambda rebuilt, x: (rebuilt - x).square().sum(1),
    some_images,
    because="One number for each image: its squared errors, summed over the pixels.",
    hints=[
        "The target of an autoencoder is the image itself, so compare `rebuilt` with `x`.",
        "Square the differences, (M, 64), and sum over the pixels: `.sum(1)` gives (M,).",
    ],
    slips={
        "you took the mean over the pixels. The paper sums over the pixels of an image.": (
            lambda rebuilt, x: (rebuilt - x).square().mean(1)
        ),
        "you summed over the images. Axis 1 holds the pixels.": lambda rebuilt, x: (
            (rebuilt - x).square().sum(0)
        ),
        "that is one number for the batch. The mix needs one for each image: sum over axis 1.": (
            lambda rebuilt, x: (rebuilt - x).square().sum()
        ),
        "these are the errors of the pixels. Sum them over axis 1.": lambda rebuilt, x: (
            rebuilt - x
        ).square(),
    },
    look="It should be the sum of the squared differences of each image.",
    tolerance=1e-4,
)

ask_number(
    "10.4",
    50 * (0.2 + 0.1 * (9 / 10 - 0.2)),
    0.05,
    name="the number of noisy wines",
    because="The group that cannot be learned keeps the largest loss, so it is given more places.",
    hints=[
        "The aim of a group is its loss, divided by the sum of both losses.",
        "The aim is 0.9. Go a tenth of the way from 0.2, then multiply by 50.",
    ],
    slips={
        45: "that is the aim. With mixing rate 0.1 the mix goes a tenth of the way.",
        10: "that is the number before the move.",
        14.5: "you added a tenth of the aim itself. Add a tenth of the way from 0.2 to the aim.",
    },
    look="Mix plus 0.1 times (aim minus mix), times 50.",
)

ask_letter(
    "10.5",
    "c",
    {
        "a": "the rival is not the only measure. What does the constant reach?",
        "b": "an interval below 0 says that the difference is no chance. It does not say that the model is useful.",
        "d": "the paper's budget is far from the end of training, but more steps are not the first thing to ask for. "
        "What costs nothing at all?",
    },
    because="The constant costs nothing. A model that loses to it is not useful yet, whichever rival it beats.",
    hints=[
        "What would somebody reach who has no model at all?",
        "Compare 3.0 with 0.79, the error of the training mean.",
    ],
)
