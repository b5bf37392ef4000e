"""What a loader yields, as the loop wants it, and its labels checked before they reach a loss."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler, default_collate, default_convert

from course_lib.data import Batch, Split


class SplitLoader:
    """Batches of a split held in memory: one gather per tensor and batch. Iterating it is one round of the sampler.

    split    the training part, on the device to train on; Split(x, y, y) for a classification of your own
    sampler  yields the row numbers of a batch, from a sampler of this library or any batch sampler of torch
    weight   () -> (N,) or None, read anew for every round, so that feedback can move it
    augment  Batch -> Batch, applied at every step

    On an accelerator the row numbers of a round are sent there at once, so that no step waits for its own.
    """

    def __init__(
        self,
        split: Split,
        sampler: Sampler,
        *,
        weight: Callable[[], Tensor | None] = lambda: None,
        augment: Callable[[Batch], Batch] | None = None,
    ) -> None:
        self.split, self.sampler, self.weight, self.augment = split, sampler, weight, augment

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        (x, y, group), weight = self.split, self.weight()
        if weight is not None:
            if weight.shape != group.shape:
                raise ValueError(
                    f"weight must have shape {tuple(group.shape)}, one per example, got {tuple(weight.shape)}"
                )
            weight = weight.to(x.device, x.dtype if x.is_floating_point() else torch.float32)
        same = y is group  # classification: one gather serves both
        take = torch.index_select  # up to three times as fast as x[rows]
        for rows in self._rows(x.device):
            labels = take(group, 0, rows)
            # Not given a name here: a batch kept alive while the next is gathered costs fresh memory every time.
            yield self._augmented(
                Batch(
                    take(x, 0, rows),
                    labels if same else take(y, 0, rows),
                    labels,
                    rows,
                    None if weight is None else take(weight, 0, rows),
                )
            )

    def _rows(self, device: torch.device) -> Iterator[Tensor]:
        """The batches of a round as index tensors on the device."""
        batches = getattr(self.sampler, "tensors", lambda: map(torch.as_tensor, self.sampler))()
        if device.type == "cpu":
            return iter(batches)
        batches = list(batches)
        return iter(torch.cat(batches).to(device).split([len(rows) for rows in batches]) if batches else [])

    def _augmented(self, batch: Batch) -> Batch:
        return batch if self.augment is None else self.augment(batch)


def as_batch(item: Batch | tuple, device: torch.device, num_groups: int) -> Batch:
    """A loader may also yield (x, y) or (x, y, group), as any DataLoader does."""
    if isinstance(item, Batch):
        return item
    if not isinstance(item, tuple | list) or len(item) not in (2, 3):
        raise TypeError(f"loader must yield Batch, (x, y) or (x, y, group), got {type(item).__name__}")
    x, y, *rest = item
    group = rest[0] if rest else y
    if group.ndim != 1 or group.dtype.is_floating_point or group.dtype == torch.bool:
        raise TypeError(
            "loader must yield (x, y) with integer class labels y, or (x, y, group) with integer groups; "
            f"got a group of dtype {group.dtype} and shape {tuple(group.shape)}"
        )
    if group.device.type == "cpu":  # what lies on an accelerator is not read: the program would wait for it
        check_groups(group, num_groups, "loader")
    x, moved = x.to(device), y.to(device)
    group = moved if group is y else group.to(device)
    return Batch(x, moved, group.long(), torch.arange(len(x), device=device))


def check_groups(group: Tensor, num_groups: int, name: str) -> None:
    low, high = (edge.item() for edge in torch.aminmax(group))
    if low < 0 or high >= num_groups:
        raise ValueError(
            f"{name} must hold groups 0..num_groups-1 with num_groups = {num_groups}, got {low}..{high}"
        )


def known_labels(loader: Iterable) -> tuple[Tensor | None, Tensor | None]:
    """All y and all groups of a loader, where its set holds them as tensors, so that they can be checked at once."""
    if isinstance(loader, SplitLoader):
        return loader.split.y, loader.split.group
    tensors = getattr(getattr(loader, "dataset", None), "tensors", ())
    if len(tensors) in (2, 3) and getattr(loader, "collate_fn", None) in (default_collate, default_convert):
        return tensors[1], tensors[-1]
    return None, None


def check_labels(y: Tensor, outputs: Tensor, name: str) -> None:
    """Class labels must have a score each: cross-entropy would stop with an IndexError, or worse on an accelerator."""
    if outputs.ndim != 2 or y.ndim != 1 or y.is_floating_point() or y.dtype == torch.bool or not len(y):
        return
    low, high = (edge.item() for edge in torch.aminmax(y))
    if low < 0 or high >= outputs.shape[1]:
        raise ValueError(
            f"{name} must hold labels y of the {outputs.shape[1]} classes that model gives scores for, "
            f"0..{outputs.shape[1] - 1}, got {low}..{high}"
        )
