"""The networks of the lessons: small enough to train in seconds, ordinary enough to be recognised."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from course_lib.inputs import as_choice, as_number, as_size


class MLP(nn.Sequential):
    """Linear layers with a ReLU between them; anything behind the first axis is flattened first.

    sizes    (inputs, hidden..., outputs), at least two, each >= 1; (20, 2) is a linear model
    dropout  in [0, 1), applied after every hidden ReLU
    norm     "none", "batch" or "layer", before every hidden ReLU

    Input (N, ...) with `inputs` numbers per example; output (N, outputs) raw scores.
    Raises ValueError for sizes, dropout or norm out of range.
    """

    def __init__(self, sizes: Sequence[int], *, dropout: float = 0.0, norm: str = "none") -> None:
        sizes = [as_size(size, "sizes") for size in sizes]
        if len(sizes) < 2:
            raise ValueError(f"sizes must be at least two whole numbers >= 1, got {sizes}")
        dropout = as_number(dropout, "dropout", 0, 1, below=True)
        norms = {"none": None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
        as_choice(norm, "norm", norms)
        layers: list[nn.Module] = [nn.Flatten()]
        for position, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
            layers.append(nn.Linear(fan_in, fan_out))
            if position < len(sizes) - 1:
                layers += [norms[norm](fan_out)] if norms[norm] else []
                layers.append(nn.ReLU())
                layers += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*layers)


class LeNet5(nn.Sequential):
    """The convolutional network of the learn2mix paper's MNIST experiments.

    Two 5 x 5 convolutions (6 and 16 channels), each with ReLU and 2 x 2 max-pooling, then 120, 84 and
    `num_classes` units. Input (N, 1, 28, 28); output (N, num_classes) raw scores.
    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", as used in
    arXiv:2412.16482.
    """

    def __init__(self, num_classes: int = 10) -> None:
        num_classes = as_size(num_classes, "num_classes")
        super().__init__(
            *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
            nn.Linear(84, num_classes),
        )


class Autoencoder(nn.Module):
    """Squeezes an example through a narrow layer and rebuilds it; output in (0, 1), shaped like the input.

    num_inputs  numbers per example (784 for a 28 x 28 image)
    hidden      width of the outer hidden layers; `code`, that of the narrow one

    Source: arXiv:2412.16482, the reconstruction experiments (784-128-32-128-784, sigmoid).
    """

    def __init__(self, num_inputs: int = 784, hidden: int = 128, code: int = 32) -> None:
        super().__init__()
        self.encoder = MLP((num_inputs, hidden, code))
        self.decoder = nn.Sequential(nn.ReLU(), MLP((code, hidden, num_inputs)), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x)).reshape(x.shape)
