"""The training loop of every lesson: rounds of steps, with per-class losses gathered on the way."""

import copy
import inspect
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.data import Batch, Split, cross_entropy_each
from course_lib.inputs import as_choice, as_size
from course_lib.training.batches import as_batch, check_groups, check_labels, known_labels


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The device to train on: the one named, else a CUDA GPU where there is one, else the CPU.

    Apple's MPS by name alone: it lacks float64, which resampling, decisions and exact posteriors need.
    """
    if name is not None:
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
    last_loss        (K,) the same, of the round's last batch alone, before its step. learn2mix's authors' code follows
                     this for regression; for classification it runs the last batch once more, after the step
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


class _ClassMeans:
    """The mean of a loss per class, summed up on the device; nothing is read back before `read`."""

    def __init__(self, num_groups: int, device: torch.device) -> None:
        wide = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
        self.total = torch.zeros(num_groups, dtype=wide, device=device)
        self.count = torch.zeros_like(self.total)
        self.waiting: list[tuple[Tensor, Tensor]] = []

    def add(self, group: Tensor, each: Tensor) -> "_ClassMeans":
        if each.shape != group.shape:
            raise ValueError(
                f"example_loss must give one loss per example, {tuple(group.shape)}, got {tuple(each.shape)}"
            )
        self.waiting.append((group, each.detach()))
        if len(self.waiting) == 64:  # summing up many batches at once costs little more than one
            self._sum_up()
        return self

    def _sum_up(self) -> None:
        if self.waiting:
            group, each = (torch.cat(parts) for parts in zip(*self.waiting, strict=True))
            each = each.to(self.total.dtype)
            self.total.index_add_(0, group, each)
            self.count.index_add_(0, group, torch.ones_like(each))
            self.waiting = []

    def read(self) -> tuple[Tensor, Tensor]:
        self._sum_up()
        mean = self.total / self.count  # 0 / 0 is NaN: not met, so not known
        return mean.cpu().double(), self.count.cpu().long()


def _train_mode(model: nn.Module) -> None:
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if (
            own
            and getattr(module, "running_mean", None) is not None
            and not any(p.requires_grad for p in own)
        ):
            module.eval()


def _objective(
    loss_fn: Callable[..., Tensor], outputs: Tensor, batch: Batch, shared: bool
) -> tuple[Tensor, Tensor | None]:
    """The objective; and the loss of each example where it is the class losses' own (shared), so known already."""
    if batch.weight is None and not shared:
        return loss_fn(outputs, batch.y), None
    each = loss_fn(outputs, batch.y, reduction="none")
    if batch.weight is None:
        return each.mean(), each.detach()
    if each.shape != batch.weight.shape:  # (M, 1) times (M,) would silently broadcast to (M, M)
        raise ValueError(
            f'loss_fn(..., reduction="none") must give one loss per example, {tuple(batch.weight.shape)}, '
            f"got {tuple(each.shape)}"
        )
    return (each * batch.weight).mean(), each.detach() if shared else None


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
    """Train, and after every round, once through `loader`, yield its `RoundStats`; stop iterating to stop training.

    loader           anything that can be iterated once a round and yields `Batch`, (x, y) or (x, y, group)
    loss_fn          (outputs, y) -> scalar; with example weights also (outputs, y, reduction="none") -> (M,)
    num_groups       K
    rounds, max_steps  stop after so many rounds, or within one after so many steps, whichever comes first
    example_loss     (outputs, y) -> (M,), what class_loss averages; the forward pass of the step serves
    validation       a Split; its per-class loss, and `score(outputs, y)` if given, are computed after each round
    scheduler        torch scheduler, stepped after every optimiser "step" or "round" (scheduler_every); a
                     ReduceLROnPlateau follows the score, or without one the mean validation loss, whichever its
                     mode, and needs "round"

    The model is in train mode during a round and in between, but for normalisation layers whose parameters are frozen
    (requires_grad False): these stay in eval mode, or their running statistics would move on.

    Raises ValueError for arguments out of range, before any training, and when the loss of a round was NaN or
    infinite, naming the round; the weights are then useless.
    """
    rounds, num_groups = as_size(rounds, "rounds"), as_size(num_groups, "num_groups")
    max_steps = None if max_steps is None else as_size(max_steps, "max_steps")
    as_choice(scheduler_every, "scheduler_every", ("step", "round"))
    plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    if plateau and (scheduler_every == "step" or validation is None):
        raise ValueError(
            "scheduler is a ReduceLROnPlateau: it needs scheduler_every='round' and a validation part"
        )
    if score is not None and validation is None:
        raise ValueError("score needs a validation part to be computed on, got validation=None")
    if validation is not None:
        check_groups(validation.group, num_groups, "validation")
    known_y, known_group = known_labels(loader)
    if known_group is not None and not known_group.is_floating_point() and len(known_group):
        check_groups(known_group, num_groups, "loader")
    device = next(model.parameters()).device

    steps, shared = 0, getattr(loss_fn, "is_example_loss", None) is example_loss

    def step(item: Batch | tuple) -> tuple[Tensor, Tensor, Tensor]:
        """One optimiser step: the objective, and the group and the loss of each example."""
        nonlocal steps
        batch = as_batch(item, device, num_groups)
        outputs = model(batch.x)
        if steps == 0:
            for y, name in ((known_y, "loader"), (validation and validation.y, "validation")):
                if y is not None:
                    check_labels(y, outputs, name)
        if known_y is None and device.type == "cpu":
            check_labels(batch.y, outputs, "loader")
        loss, each = _objective(loss_fn, outputs, batch, shared)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if scheduler is not None and scheduler_every == "step":
            scheduler.step()
        steps += 1
        each = example_loss(outputs.detach(), batch.y) if each is None else each
        return loss.detach(), batch.group, each

    def train_round() -> tuple[float, _ClassMeans, _ClassMeans]:
        _train_mode(model)
        whole, last = _ClassMeans(num_groups, device), _ClassMeans(num_groups, device)
        objective, before = torch.zeros_like(whole.total[0]), steps
        for loss, group, each in map(step, loader):  # by `map` no batch outlives its step
            whole.add(group, each)
            objective += loss
            if steps == max_steps:
                break
        if steps == before:
            raise ValueError(
                "loader must yield at least one batch a round, got none (was a generator used up?)"
            )
        return float(objective) / (steps - before), whole, last.add(group, each)

    def validate() -> tuple[Tensor, float, float | None]:
        outputs, y = predict(model, validation.x), validation.y.to(device)
        each = example_loss(outputs, y)
        held = _ClassMeans(num_groups, device).add(validation.group.to(device), each)
        return held.read()[0], float(each.mean()), None if score is None else float(score(outputs, y))

    def run() -> Iterator[RoundStats]:
        for number in range(rounds):
            train_loss, whole, last = train_round()
            if not np.isfinite(train_loss):
                raise ValueError(
                    f"loss_fn gave {train_loss} in round {number}: lower the learning rate, or look for NaN in the data"
                )
            validation_loss = mean_loss = value = None
            if validation is not None:
                validation_loss, mean_loss, value = validate()
            if plateau:
                better = -mean_loss if value is None else value  # larger is better
                scheduler.step(better if scheduler.mode == "max" else -better)
            elif scheduler is not None and scheduler_every == "round":
                scheduler.step()
            yield RoundStats(number, steps, train_loss, *whole.read(), *last.read(), validation_loss, value)
            if steps == max_steps:
                return

    return run()  # a generator inside a function: bad arguments raise here, not at the first round


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
    """Train for `rounds` times through `loader` and return their statistics; `model` is trained in place.

    on_round_end  called with each RoundStats; here a method feeds back:
                  fit(..., on_round_end=lambda s: sampler.set_mix(control.update(s.class_loss, s.class_count)))
    patience      stop after so many rounds without a better score on `validation`, and in any case put the best
                  weights back; score(outputs, y), larger is better, default minus the mean example loss
    progress      show a bar with the time left
    options       the other arguments of `rounds`: max_steps, example_loss, scheduler, scheduler_every

    Raises ValueError for arguments out of range, before any training.
    """
    if patience is not None and (patience < 1 or validation is None):
        raise ValueError(
            f"patience must be >= 1 and needs a validation part, got {patience} with {validation=}"
        )
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
    """Raw outputs (N, ...) on the model's device, in eval mode and without gradients.

    Every module's own mode is put back afterwards, also where a part of the model was frozen in eval mode.
    """
    first = next(model.parameters(), None)
    device = x.device if first is None else first.device
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        return torch.cat([model(part.to(device)) for part in x.split(batch_size)])
    finally:
        for module, training in modes:
            module.training = training
