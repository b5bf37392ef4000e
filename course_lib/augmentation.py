"""Acting on the data at every step: transforms that keep the label, and mixup, which blends labels as well.

Each factory takes your own `torch.Generator` and returns a callable Batch -> Batch, every example of the batch
drawing its own transform. Shape, dtype and device of x are kept and the batch that came in stays as it was.
Augment the training part only. Whether a transform keeps the label is a fact about the data, not about the
transform. A digit survives a shift by a pixel or two, a turn of 15 degrees, noise and a small square cut out; mirrored
it is another one or none, and turned further a 1 becomes a 7 and a 6 a 9. Several augmentations are applied one after
the other by a function of your own: `lambda batch: mix(shift(batch))`.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from course_lib.data import Batch
from course_lib.inputs import (
    as_choice,
    as_generator,
    as_labels,
    as_number,
    as_size,
    as_tensor,
    as_weights,
    wide,
)

Augmentation = Callable[[Batch], Batch]


def _check_floating(x: Tensor) -> None:
    if not x.is_floating_point():
        raise TypeError(f"x must be floating point, got {x.dtype}")


def _check_images(x: Tensor, **sizes: float) -> None:
    _check_floating(x)
    if x.ndim != 4:
        raise ValueError(f"x must be images of shape (M, C, H, W), got {tuple(x.shape)}")
    for name, size in sizes.items():
        if size and math.ceil(size) >= min(x.shape[2:]):
            raise ValueError(
                f"{name} must be smaller than the image, {tuple(x.shape[2:])} pixels, got {size}"
            )


def _uniform(generator: Generator, *shape: int) -> Tensor:
    """Float64 numbers in [0, 1), on the generator's device; only what is made of them moves to that of the images."""
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)


def _noise(like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like.device, like.dtype)


# ---- images -----------------------------------------------------------------------------------------------


def shift_images(x: Tensor, pixels: Tensor) -> Tensor:
    """Each image moved by whole pixels, exactly; what comes in at the edge is 0.

    x       (M, C, H, W)
    pixels  (M, 2) int64, down and right
    """
    _check_images(x)
    M, _, H, W = x.shape
    row = torch.arange(H, device=x.device) - pixels[:, :1]  # (M, H) where each row of the result comes from
    column = torch.arange(W, device=x.device) - pixels[:, 1:]
    seen = ((row >= 0) & (row < H))[:, :, None] & ((column >= 0) & (column < W))[:, None, :]
    example = torch.arange(M, device=x.device)[:, None, None]
    moved = x.movedim(1, -1)[example, row.clamp(0, H - 1)[:, :, None], column.clamp(0, W - 1)[:, None, :]]
    return moved.movedim(-1, 1).masked_fill(~seen[:, None], 0).contiguous()


def rotate_images(x: Tensor, degrees: Tensor) -> Tensor:
    """Each image turned counter-clockwise about its centre; bilinear between pixels, 0 beyond the edge.

    x        (M, C, H, W)
    degrees  (M,)

    A quarter turn of a square image is `torch.rot90`; an angle of 0 changes nothing, exactly.
    """
    _check_images(x)
    if len(x) == 0:
        return x  # affine_grid refuses it
    work = x if x.dtype in (torch.float32, torch.float64) else x.float()
    angle = torch.deg2rad(degrees.to(work.device, work.dtype))
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # affine_grid says where in [-1, 1]^2 an output pixel looks; H / W undoes its stretching of oblong images
    H, W = x.shape[2:]
    look = torch.stack([cos, -sin * H / W, zero, sin * W / H, cos, zero], 1).reshape(-1, 2, 3)
    grid = F.affine_grid(look, work.shape, align_corners=False)
    turned = F.grid_sample(work, grid, align_corners=False).to(x.dtype)
    return torch.where((degrees == 0).to(x.device)[:, None, None, None], x, turned)


def flip_images(x: Tensor, which: Tensor) -> Tensor:
    """The images that `which` (M,) bool names, mirrored left to right; the others as they are."""
    _check_images(x)
    return torch.where(which[:, None, None, None], x.flip(-1), x)


def cut_out(x: Tensor, corner: Tensor, size: int) -> Tensor:
    """Each image with a square of `size` pixels set to 0; parts beyond the edge are not lost elsewhere.

    corner  (M, 2) int64 top-left pixel, may lie outside

    Source: DeVries & Taylor 2017, arXiv:1708.04552.
    """
    _check_images(x)
    row = torch.arange(x.shape[2], device=x.device) - corner[:, :1]
    column = torch.arange(x.shape[3], device=x.device) - corner[:, 1:]
    inside = ((row >= 0) & (row < size))[:, :, None] & ((column >= 0) & (column < size))[:, None, :]
    return x.masked_fill(inside[:, None], 0)


def image_augmentation(
    generator: Generator, *, max_shift: float = 1, max_angle: float = 10.0, flip: bool = False,
    noise: float = 0.0, cutout: int = 0,
) -> Augmentation:  # fmt: skip
    """Shifts, turns and disturbs the images of a batch (M, C, H, W), each by its own draw.

    max_shift  images move by whole pixels, down and right, drawn evenly from -max_shift..max_shift; 0 comes in at
               the edge. The fraction of a 1.5 is the share of images that may move by one pixel more.
    max_angle  degrees in 0..180, drawn evenly from [-max_angle, max_angle]
    flip       mirror half of the images left to right; not label-safe for digits and letters
    noise      standard deviation of the normal noise on every pixel; nothing is clipped
    cutout     side in pixels of a square set to 0, its centre anywhere in the image

    The order is that of the list, and a step of strength 0 is left out, so all zeros change nothing at all.
    The defaults are label-safe for digits.
    Raises ValueError or TypeError for a strength out of range and, when called, for x that is not images.
    """
    as_generator(generator)
    max_shift, noise = as_number(max_shift, "max_shift", 0), as_number(noise, "noise", 0)
    max_angle = as_number(max_angle, "max_angle", 0, 180)
    cutout = as_size(cutout, "cutout", 0)

    def augment(batch: Batch) -> Batch:
        x, M = batch.x, len(batch.x)
        _check_images(x, max_shift=max_shift, cutout=cutout)
        if max_shift:
            reach = (max_shift + _uniform(generator, M, 1)).floor()
            step = (_uniform(generator, M, 2) * (2 * reach + 1)).floor().minimum(2 * reach) - reach
            x = shift_images(x, step.long().to(x.device))
        if max_angle:
            x = rotate_images(x, (2 * _uniform(generator, M) - 1) * max_angle)
        if flip:
            x = flip_images(x, (_uniform(generator, M) < 0.5).to(x.device))
        if noise:
            x = x + noise * _noise(x, generator)
        if cutout:
            size = torch.tensor(x.shape[2:], device=generator.device)
            centre = (_uniform(generator, M, 2) * size).long().to(x.device)
            x = cut_out(x, centre - cutout // 2, cutout)
        return batch._replace(x=x)

    return augment


# ---- tables -----------------------------------------------------------------------------------------------


def table_augmentation(
    generator: Generator, *, noise: float = 0.05, scale: Tensor | Sequence[float] | None = None
) -> Augmentation:
    """Adds normal noise to the columns of a table (M, D).

    noise  standard deviation, as a share of the scale of a column
    scale  (D,) scale of each column, say its standard deviation in the training part; 0 leaves a column as it
           is, which is right for categories. Default 1, for standardised columns.

    Label-safe as long as it is small beside the distance to the other classes.
    Raises ValueError or TypeError for noise or scale out of range and, when called, for x of another width.
    """
    as_generator(generator)
    noise = as_number(noise, "noise", 0)
    size = None if scale is None else as_weights(as_tensor(scale, "scale"), "scale")

    def augment(batch: Batch) -> Batch:
        x = batch.x
        _check_floating(x)
        if x.ndim != 2 or (size is not None and x.shape[1] != len(size)):
            columns = "D" if size is None else len(size)
            raise ValueError(f"x must be a table of shape (M, {columns}), got {tuple(x.shape)}")
        if not noise:
            return batch
        width = noise if size is None else noise * size.to(x.device, x.dtype)
        return batch._replace(x=x + width * _noise(x, generator))

    return augment


# ---- mixup ------------------------------------------------------------------------------------------------


def mix_pairs(batch: Batch, partner: Tensor, share: Tensor, num_classes: int) -> Batch:
    """Each example blended with its partner: share of itself, 1 - share of the other, in x, y and weight.

    partner      (M,) int64 rows of the batch
    share        (M,) in [0, 1]; 1 leaves x as it is, exactly
    num_classes  K; y becomes (M, K) class probabilities in the dtype of x, float32 where that is half precision. y may
                 be labels (M,) or such rows.

    group and index stay those of the example itself. Raises ValueError or TypeError for y that is neither.
    """
    x, y = batch.x, batch.y
    _check_floating(x)
    if y.ndim == 1:
        y = (
            F.one_hot(as_labels(y, "y", num_classes, device=y.device), num_classes)
            if len(y)
            else y.new_zeros(0, num_classes)
        )
    elif y.shape != (len(x), num_classes):
        raise ValueError(
            f"y must be whole labels (M,) or probabilities (M, {num_classes}), got {tuple(y.shape)}"
        )

    def blend(value: Tensor) -> Tensor:
        own = share.to(value.device, value.dtype).reshape(-1, *[1] * (value.ndim - 1))
        return own * value + (1 - own) * value[partner]

    weight = None if batch.weight is None else blend(batch.weight)
    return batch._replace(x=blend(x), y=blend(wide(y.to(x.dtype))), weight=weight)


def mixup(
    generator: Generator, num_classes: int, *, concentration: float = 0.2, pairing: str = "random"
) -> Augmentation:
    """Blends each example with another of the batch, and their labels alike: y becomes (M, K) probabilities.

    num_classes    K
    concentration  >= 0 of the Beta(concentration, concentration) that the shares are drawn from, one share per
                   example: small leaves nearly all as they are, 1 spreads the shares evenly; 0 keeps x exactly
    pairing        "random": the partners are the batch in another order;
                   "by_class": the class of a partner is drawn evenly from those in the batch, so that the tail
                   takes part as often as the head

    An example keeps the larger share, max(share, 1 - share), so that its group, index and weight still describe
    it. The loss must take probabilities for y, as `torch.nn.functional.cross_entropy` does. The labels change by
    design: a network trained so is less confident.
    Raises ValueError for an argument out of range.
    Source: Zhang et al. 2018, arXiv:1710.09412.
    """
    as_generator(generator)
    concentration = as_number(concentration, "concentration", 0)
    num_classes = as_size(num_classes, "num_classes")
    as_choice(pairing, "pairing", ("random", "by_class"))

    def augment(batch: Batch) -> Batch:
        M, device = len(batch.x), generator.device
        if concentration == 0 or M == 0:
            partner, share = torch.arange(M), torch.ones(M)
        else:
            # torch's Beta draws from the global generator only, so NumPy draws it, seeded by ours
            seed = int(torch.randint(2**31, (1,), generator=generator, device=device))
            drawn = np.random.default_rng(seed).beta(concentration, concentration, M)
            share = torch.as_tensor(np.maximum(drawn, 1 - drawn))
            if pairing == "random":
                partner = torch.randperm(M, generator=generator, device=device)
            else:
                rarity = 1 / torch.bincount(batch.group)[batch.group].to(device, torch.float64)
                partner = torch.multinomial(rarity, M, replacement=True, generator=generator)
        return mix_pairs(batch, partner.to(batch.x.device), share, num_classes)

    return augment
