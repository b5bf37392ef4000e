"""The training loop of every lesson: rounds of steps, with per-class losses gathered on the way."""

import copy
import inspect
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler
from tqdm.auto import tqdm

from course_lib.data import Batch, Split, cross_entropy_each


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The device to train on: the one named, else a CUDA GPU, Apple's MPS or the CPU, the first there is."""
    if name is not None:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def prepare(seed: int = 0, *, threads: int | None = 1) -> None:
    """Call once at the top of a lesson: seeds Python, NumPy and torch, and spends the slow first second now.

    threads  CPU threads for torch; one is faster than two for networks of lesson size. None leaves it alone
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if threads is not None:
        torch.set_num_threads(threads)
    # The first optimiser of a process imports torch._dynamo; without this the first slider move would wait for it.
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1).step()


@dataclass(frozen=True)
class RoundStats:
    """What one round of training showed.

    round            0, 1, ...
    steps            optimiser steps so far
    train_loss       mean of the batch objectives; not comparable across mixes
    class_loss       (K,) float64 mean example loss of each class over the round, NaN where it was not met
    class_count      (K,) int64 examples of each class that the round met
    last_loss        (K,) the same, of the round's last batch alone (what learn2mix's authors' code follows)
    last_count       (K,)
    validation_loss  (K,) mean example loss of each class on the validation part, None without one
    score            value of `score` on the validation part, None without one
    """

    round: int
    steps: int
    train_loss: float
    class_loss: Tensor
    class_count: Tensor
    last_loss: Tensor
    last_count: Tensor
    validation_loss: Tensor | None = None
    score: float | None = None


class SplitLoader:
    """Batches of a split held in memory: one gather per tensor and batch. Iterating it is one pass of the sampler.

    split    the training part, on the device to train on
    sampler  yields index tensors; its pass is one round
    weight   () -> (N,) or None, read anew for every pass, so that feedback can move it
    augment  Batch -> Batch, applied at every step
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
        same = y is group  # classification: one gather serves both
        for rows in self.sampler:
            rows = rows.to(x.device)
            labels = group[rows]
            batch = Batch(x[rows], labels if same else y[rows], labels, rows, None if weight is None else weight[rows])
            yield self.augment(batch) if self.augment else batch


def _as_batch(item: Batch | tuple, device: torch.device) -> Batch:
    """A loader may also yield (x, y) or (x, y, group), as any DataLoader does."""
    if isinstance(item, Batch):
        return item
    x, y, *rest = (part.to(device) for part in item)
    group = rest[0] if rest else y
    if group.ndim != 1 or group.dtype.is_floating_point:
        raise TypeError(
            "loader must yield (x, y) with integer class labels y, or (x, y, group) with integer groups; "
            f"got a group of dtype {group.dtype} and shape {tuple(group.shape)}"
        )
    return Batch(x, y, group, torch.arange(len(x), device=device))


def _class_means(total: Tensor, count: Tensor) -> Tensor:
    return total / count  # 0 / 0 is NaN: not met, so not known


def rounds(
    model: nn.Module,
    loader: Iterable,
    loss_fn: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    num_groups: int,
    rounds: int,
    max_steps: int | None = None,
    example_loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy_each,
    validation: Split | None = None,
    score: Callable[[Tensor, Tensor], float] | None = None,
    scheduler=None,
    scheduler_every: str = "step",
) -> Iterator[RoundStats]:
    """Train, and after every pass over `loader` yield its `RoundStats`; stop iterating to stop training.

    loader           anything that can be iterated once a round and yields `Batch`, (x, y) or (x, y, group)
    loss_fn          (outputs, y) -> scalar; with example weights also (outputs, y, reduction="none") -> (M,)
    num_groups       K
    rounds, max_steps  stop after so many passes, or in mid-pass after so many steps, whichever comes first
    example_loss     (outputs, y) -> (M,), what class_loss averages; no second forward pass is made
    validation       a Split; its per-class loss, and `score(outputs, y)` if given, are computed after each round
    scheduler        torch scheduler, stepped after every optimiser "step" or "round" (scheduler_every); a
                     ReduceLROnPlateau is given the score, or without one the mean validation loss, and needs "round"

    Raises ValueError when the loss becomes NaN or infinite, naming the round: the weights are then as they were before
    that round's statistics were read, and useless.
    """
    if rounds < 1 or num_groups < 1:
        raise ValueError(f"rounds and num_groups must be >= 1, got {rounds} and {num_groups}")
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps must be >= 1, got {max_steps}")
    if scheduler_every not in ("step", "round"):
        raise ValueError(f"scheduler_every must be 'step' or 'round', got {scheduler_every!r}")
    plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    if plateau and (scheduler_every == "step" or validation is None):
        raise ValueError("scheduler is a ReduceLROnPlateau: it needs scheduler_every='round' and a validation part")
    if score is not None and validation is None:
        raise ValueError("score needs a validation part to be computed on, got validation=None")
    device = next(model.parameters()).device
    steps = 0
    for number in range(rounds):
        model.train()
        total = torch.zeros(num_groups, dtype=torch.float64, device=device)
        count = torch.zeros_like(total)
        objective, batches, batch = torch.zeros((), dtype=torch.float64, device=device), 0, None
        for item in loader:
            batch = _as_batch(item, device)
            outputs = model(batch.x)
            if batch.weight is None:
                loss = loss_fn(outputs, batch.y)
            else:
                loss = (loss_fn(outputs, batch.y, reduction="none") * batch.weight).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if scheduler is not None and scheduler_every == "step":
                scheduler.step()
            each = example_loss(outputs.detach(), batch.y).double()
            total.index_add_(0, batch.group, each)
            count.index_add_(0, batch.group, torch.ones_like(each))
            objective += loss.detach()
            batches, steps = batches + 1, steps + 1
            if steps == max_steps:
                break
        if batch is None:
            raise ValueError("loader must yield at least one batch a round, got none (was a generator used up?)")
        train_loss = float(objective) / batches
        if not np.isfinite(train_loss):
            raise ValueError(
                f"loss_fn gave {train_loss} in round {number}: lower the learning rate, or look for NaN in the data"
            )
        last_total = torch.zeros_like(total).index_add_(0, batch.group, each)
        last_count = torch.zeros_like(total).index_add_(0, batch.group, torch.ones_like(each))
        validation_loss = value = None
        if validation is not None:
            held = predict(model, validation.x)
            held_each = example_loss(held, validation.y).double()
            held_total = torch.zeros_like(total).index_add_(0, validation.group, held_each)
            held_count = torch.zeros_like(total).index_add_(0, validation.group, torch.ones_like(held_each))
            validation_loss = _class_means(held_total, held_count).cpu()
            value = None if score is None else float(score(held, validation.y))
            if plateau:
                scheduler.step(float(held_each.mean()) if value is None else value)
        if scheduler is not None and scheduler_every == "round" and not plateau:
            scheduler.step()
        yield RoundStats(
            number, steps, train_loss,
            _class_means(total, count).cpu(), count.long().cpu(),
            _class_means(last_total, last_count).cpu(), last_count.long().cpu(),
            validation_loss, value,
        )  # fmt: skip
        if steps == max_steps:
            return


_rounds = rounds  # `fit` has an argument of the same name


def fit(
    model: nn.Module,
    loader: Iterable,
    loss_fn: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    rounds: int,
    num_groups: int,
    on_round_end: Callable[[RoundStats], object] | None = None,
    validation: Split | None = None,
    patience: int | None = None,
    score: Callable[[Tensor, Tensor], float] | None = None,
    progress: bool = False,
    **options,
) -> list[RoundStats]:
    """Train for `rounds` passes over `loader` and return their statistics; `model` is trained in place.

    on_round_end  called with each RoundStats; here a method feeds back:
                  fit(..., on_round_end=lambda s: sampler.set_mix(control.update(s.class_loss, s.class_count)))
    patience      stop after so many rounds without a better score on `validation`, and in any case put the best
                  weights back; score(outputs, y), larger is better, default minus the mean example loss
    progress      show a bar with the time left
    options       the other arguments of `rounds`: max_steps, example_loss, scheduler, scheduler_every

    Raises ValueError for arguments out of range, before any training.
    """
    if patience is not None and (patience < 1 or validation is None):
        raise ValueError(f"patience must be >= 1 and needs a validation part, got {patience} with {validation=}")
    unknown = set(options) - set(inspect.signature(_rounds).parameters)
    if unknown:
        raise TypeError(f"fit got unknown arguments {sorted(unknown)}")
    if patience is not None and score is None:
        example_loss = options.get("example_loss", cross_entropy_each)
        score = lambda outputs, y: -float(example_loss(outputs, y).mean())  # noqa: E731
    history: list[RoundStats] = []
    best, best_weights, waited = -np.inf, None, 0
    stream = _rounds(
        model, loader, loss_fn, optimizer, rounds=rounds, num_groups=num_groups, validation=validation, score=score,
        **options,
    )  # fmt: skip
    for stats in tqdm(stream, total=rounds, disable=not progress, desc="rounds"):
        history.append(stats)
        if on_round_end is not None:
            on_round_end(stats)
        if patience is not None:
            if stats.score > best:
                best, best_weights, waited = stats.score, copy.deepcopy(model.state_dict()), 0
            else:
                waited += 1
                if waited >= patience:
                    break
    if best_weights is not None:
        model.load_state_dict(best_weights)
    return history


@torch.no_grad()
def predict(model: nn.Module, x: Tensor, *, batch_size: int = 4096) -> Tensor:
    """Raw outputs (N, ...) in eval mode and without gradients; the model's mode is put back afterwards."""
    was_training = model.training
    model.eval()
    try:
        return torch.cat([model(part) for part in x.split(batch_size)])
    finally:
        model.train(was_training)
