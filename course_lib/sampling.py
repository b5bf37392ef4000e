"""Acting on the batch: which examples meet in a step. Two engines, by class share and by example."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from course_lib.priors import as_labels, as_shares, class_count


class Rows(Tensor):
    """Row numbers of one batch: a plain int64 index tensor that iterates as Python ints.

    So `x[rows]` gathers a batch in one call, and `[dataset[i] for i in rows]`, which is what a DataLoader does with
    any map-style set, hands each set the ints it expects.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # operations cost what they cost on a plain tensor

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __reduce_ex__(self, protocol):
        return list, (self.tolist(),)  # to a worker process as a list, not through shared memory


def split_counts(batch_size: int, mix: Tensor, generator: torch.Generator, batches: int | None = None) -> Tensor:
    """Whole numbers per class that follow a mix: systematic rounding over an order of classes drawn anew each time.

    batch_size  M >= 1
    mix         (K,) shares, or (batches, K), one row per batch
    batches     how many draws; None gives one, (K,) int64, a number gives (batches, K)

    Each draw sums to M exactly, lies within 1 of M * mix, and is right on average, so a class with a share below
    1 / M is still seen now and then, and one with share 0 never is. The order is drawn anew because in a fixed one
    two neighbouring rare classes would never meet.
    """
    _at_least_one(batch_size, "batch_size")
    mix = as_shares(mix).expand(batches or 1, -1)
    order = torch.rand(mix.shape, generator=generator).argsort(1)
    # Dividing by the last entry keeps rounding from handing an example to a class with share 0.
    reached = mix.gather(1, order).cumsum(1)
    reached = reached / reached[:, -1:] * batch_size
    start = torch.rand(len(mix), 1, generator=generator, dtype=torch.float64)
    marks = torch.floor(reached + start).long()
    marks[:, -1] = batch_size
    counts = torch.empty_like(marks).scatter_(1, order, torch.diff(marks, dim=1, prepend=torch.zeros_like(start).long()))
    return counts if batches is not None else counts[0]


class _Passes(Sampler):
    """What the two engines share: whole passes drawn ahead, and a state that can be saved between any two batches."""

    def __init__(self, num_examples: int, batch_size: int, batches_per_epoch: int | None, seed: int) -> None:
        self.batch_size = _at_least_one(batch_size, "batch_size")
        if batches_per_epoch is None:
            batches_per_epoch = max(1, num_examples // batch_size)
        self.batches_per_epoch = _at_least_one(batches_per_epoch, "batches_per_epoch")
        self.generator = torch.Generator().manual_seed(seed)
        self._taken = 0  # batches handed out of the pass under way
        self._before: dict | None = None  # the state in which that pass began
        self._skip = 0  # batches of the next pass that were handed out before the state was saved

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[Rows]:
        self._before, self._taken = self._snapshot(), self._skip
        skip, self._skip = self._skip, 0
        for rows in self._draw_pass().view(-1, self.batch_size).unbind()[skip:]:
            self._taken += 1
            yield rows.as_subclass(Rows)
        self._before, self._taken = None, 0

    def state_dict(self) -> dict:
        """Everything that decides the batches still to come; taken in mid-pass, it resumes in mid-pass.

        A DataLoader with workers draws ahead of the training loop, so save between passes there.
        """
        return {**(self._before or self._snapshot()), "taken": self._taken if self._before else self._skip}

    def load_state_dict(self, state: dict) -> None:
        """Continue the stream of batches where `state_dict` was taken."""
        self._restore(state)
        self._before, self._taken, self._skip = None, 0, state["taken"]

    def _snapshot(self) -> dict:
        raise NotImplementedError

    def _restore(self, state: dict) -> None:
        raise NotImplementedError

    def _draw_pass(self) -> Tensor:
        raise NotImplementedError


class ClassMixBatchSampler(_Passes):
    """Batches with a chosen class mix: DataLoader(dataset, batch_sampler=sampler).

    labels             (N,) int labels, row i describing dataset[i]; passed, never guessed
    batch_size         M: every batch holds exactly M row numbers
    mix                (K,) shares >= 0 summing to 1, or (T, K): row t mod T for batch t since the mix was set (one-hot
                       rows give alternating classes); the training prior gives ordinary batches
    batches_per_epoch  default max(1, N // batch_size): the same number of steps for every mix
    seed               own generator: two samplers built alike yield alike

    Each class is a shuffled deck, reshuffled when used up: no example repeats until its class has been seen whole.
    Within a batch the rows stand class by class. Row numbers are drawn in the main process, so workers are safe.

    Three ways to use it: `DataLoader(dataset, batch_sampler=sampler)` with any map-style set;
    `DataLoader(TensorDataset(x, y), sampler=sampler, batch_size=None)`, one gather per batch; and `x[rows]` in a
    loop of your own, the fastest.

    Raises ValueError for shapes, sizes or shares out of range, and for a positive share of a class that has no
    example.
    """

    def __init__(
        self,
        labels: Tensor | Sequence[int],
        batch_size: int,
        mix: Tensor | Sequence[float],
        *,
        batches_per_epoch: int | None = None,
        seed: int = 0,
    ) -> None:
        labels = as_labels(labels)
        mix = as_shares(mix)
        super().__init__(len(labels), batch_size, batches_per_epoch, seed)
        counts = class_count(labels, mix.shape[-1])
        self.num_classes = len(counts)
        self._members = list(torch.split(labels.argsort(stable=True), counts.tolist()))
        self.set_mix(mix)
        self._decks = [torch.empty(0, dtype=torch.long) for _ in self._members]

    def set_mix(self, mix: Tensor | Sequence[float]) -> None:
        """Use a new mix from the next pass on (never in mid-pass: prefetching would blur it).

        Raises ValueError, changing nothing, unless mix is K shares >= 0 summing to 1 (or rows of them), and names any
        empty class that is given a positive share.
        """
        mix = as_shares(mix, self.num_classes)
        wanted = (mix.reshape(-1, self.num_classes) > 0).any(0).tolist()
        empty = [k for k, rows in enumerate(self._members) if wanted[k] and len(rows) == 0]
        if empty:
            raise ValueError(f"mix gives a positive share to class {empty}, which has no example")
        self._mix, self._row = mix, 0

    @property
    def mix(self) -> Tensor:
        """The mix of the next pass, (K,) or (T, K) float64; a copy."""
        return self._mix.clone()

    def _draw_pass(self) -> Tensor:
        T, K, M = self.batches_per_epoch, self.num_classes, self.batch_size
        mix = self._mix
        if mix.ndim == 2:
            mix = mix[(self._row + torch.arange(T)) % len(mix)]
            self._row = (self._row + T) % len(self._mix)
        counts = split_counts(M, mix, self.generator, T)
        narrow = torch.int16 if K < 2**15 else torch.int64  # sorts four times as fast
        slots = torch.repeat_interleave(torch.arange(K, dtype=narrow).repeat(T), counts.flatten())
        drawn = torch.cat([self._deal(k, n) for k, n in enumerate(counts.sum(0).tolist())])
        return torch.empty(T * M, dtype=torch.long).scatter_(0, slots.argsort(stable=True), drawn)

    def _deal(self, label: int, count: int) -> Tensor:
        """The next `count` rows of a class, reshuffling its deck as often as it takes."""
        deck, members = self._decks[label], self._members[label]
        if count > len(deck):
            shuffles = -(-(count - len(deck)) // len(members))
            if shuffles <= 8:
                orders = [torch.randperm(len(members), generator=self.generator) for _ in range(shuffles)]
            else:  # a tiny class dealt very often: all its shuffles at once
                orders = torch.rand(shuffles, len(members), generator=self.generator).argsort(1)
            deck = torch.cat([deck, *(members[order] for order in orders)])
        self._decks[label] = deck[count:]
        return deck[:count]

    def _snapshot(self) -> dict:
        return {
            "generator": self.generator.get_state(),
            "decks": [deck.clone() for deck in self._decks],
            "mix": self._mix.clone(),
            "row": self._row,
        }

    def _restore(self, state: dict) -> None:
        if len(state["decks"]) != self.num_classes:
            raise ValueError(f"state must describe {self.num_classes} classes, got {len(state['decks'])}")
        self.set_mix(state["mix"])
        self.generator.set_state(state["generator"])
        self._decks, self._row = [deck.clone() for deck in state["decks"]], state["row"]


class ExampleBatchSampler(_Passes):
    """Batches drawn example by example, with replacement: weighted sampling, importance sampling, curricula.

    probability        (N,) shares >= 0 summing to 1, one per example
    batch_size         M: every batch holds exactly M row numbers
    batches_per_epoch  default max(1, N // batch_size)
    num_examples       N, to have the length of `probability` checked against it
    seed               own generator

    Does what WeightedRandomSampler does inside a BatchSampler, without its two traps: weights per *class* in place of
    weights per *example* have the wrong length and raise (given `num_examples`), and there is no limit of 2**24 examples.
    """

    def __init__(
        self,
        probability: Tensor | Sequence[float],
        batch_size: int,
        *,
        batches_per_epoch: int | None = None,
        num_examples: int | None = None,
        seed: int = 0,
    ) -> None:
        probability = as_shares(probability, num_examples, "probability")
        super().__init__(len(probability), batch_size, batches_per_epoch, seed)
        self.num_examples = len(probability)
        self.set_probability(probability)

    def set_probability(self, probability: Tensor | Sequence[float]) -> None:
        """Use new probabilities from the next pass on; raises ValueError, changing nothing, unless they are N shares."""
        probability = as_shares(probability, self.num_examples, "probability")
        if probability.ndim != 1:
            raise ValueError(f"probability must have shape ({self.num_examples},), got {tuple(probability.shape)}")
        self._probability = probability
        reached = probability.cumsum(0)
        self._reached = reached / reached[-1]

    @property
    def probability(self) -> Tensor:
        """(N,) float64; a copy."""
        return self._probability.clone()

    def _draw_pass(self) -> Tensor:
        ticket = torch.rand(
            self.batches_per_epoch * self.batch_size, generator=self.generator, dtype=torch.float64
        )
        return torch.searchsorted(self._reached, ticket, right=True)

    def _snapshot(self) -> dict:
        return {"generator": self.generator.get_state(), "probability": self._probability.clone()}

    def _restore(self, state: dict) -> None:
        self.set_probability(state["probability"])
        self.generator.set_state(state["generator"])


def _at_least_one(number: int, name: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} must be a whole number, got {number!r}")
    if number < 1:
        raise ValueError(f"{name} must be >= 1, got {number}")
    return number
