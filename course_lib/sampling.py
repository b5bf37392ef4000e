"""Acting on the batch: which examples meet in a step. Two engines, by class share and by example."""

import sys
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import BatchSampler, Sampler

from course_lib.inputs import as_choice, as_labels, as_seed, as_shares, as_size
from course_lib.priors import class_count

ORDERS = ("cyclic", "frequency", "similarity")
COUNTS = ("exact", "multinomial")


class Rows(list):
    """Row numbers of one batch: a list of Python ints that indexes a tensor as fast as a tensor does.

    So `x[rows]` gathers a batch in one call, and whatever takes the lists of a batch sampler takes these: any map-style
    set, `__getitems__`, SciPy and pandas tables, skorch. They cannot be changed; take `list(rows)` for that.

    tensor  (M,) int64, the same numbers
    """

    __slots__ = ("tensor",)

    def __init__(self, numbers: Tensor | Iterable[int]) -> None:
        self.tensor = torch.as_tensor(numbers, dtype=torch.long)
        super().__init__(self.tensor.tolist())

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is Tensor.__getitem__ and type(args[1]) is cls:
            return args[0].index_select(0, args[1].tensor.to(args[0].device))  # faster than x[tensor]
        return function(*_plain(args), **{name: _plain(part) for name, part in (kwargs or {}).items()})

    def __reduce__(self):
        return Rows, (list(self),)  # to a worker process, and for a copy


def _plain(part):
    """`part` with tensors in place of rows, also inside a tuple or a list, as in x[rows, 0]."""
    if type(part) is Rows:
        return part.tensor
    return type(part)(map(_plain, part)) if type(part) in (tuple, list) else part


def _refuse(rows: Rows, *_, **__) -> None:
    raise TypeError("rows of a batch cannot be changed: take list(rows)")


for _method in (
    "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "__setitem__", "__delitem__",
    "__iadd__", "__imul__",
):  # fmt: skip
    setattr(Rows, _method, _refuse)


def split_counts(
    batch_size: int, mix: Tensor, generator: torch.Generator, batches: int | None = None
) -> Tensor:
    """Whole numbers per class that follow a mix: systematic rounding over an order of classes drawn anew each time.

    batch_size  M >= 1
    mix         (K,) shares, or (batches, K), one row per batch
    batches     how many draws; None gives one, (K,) int64, a number gives (batches, K)

    Each draw sums to M exactly, lies within 1 of M * mix, and is right on average, so a class with a share below
    1 / M is still seen now and then, and one with share 0 never is. The order is drawn anew because in a fixed one
    two neighbouring rare classes would never meet. With ten or more classes they now meet nearly as often as if each
    were drawn by itself (some 0.75 times as often at ten: a batch of fixed size has only so many places to fill).
    """
    as_size(batch_size, "batch_size")
    rows = 1 if batches is None else as_size(batches, "batches")
    mix = as_shares(mix)
    if mix.ndim == 2 and (batches is None or len(mix) != rows):
        raise ValueError(
            f"mix must have shape (K,) or one row for each of {batches} batches, got {tuple(mix.shape)}"
        )
    mix = mix.expand(rows, -1)
    order = torch.rand(mix.shape, generator=generator).argsort(1)
    # Dividing by the last entry keeps rounding from handing an example to a class with share 0.
    reached = mix.gather(1, order).cumsum(1)
    reached = reached / reached[:, -1:] * batch_size
    start = torch.rand(rows, 1, generator=generator, dtype=torch.float64)
    marks = torch.floor(reached + start).long().clamp_max_(batch_size)  # M + 0.99... may round to M + 1
    counts = torch.empty_like(marks).scatter_(
        1, order, marks.diff(dim=1, prepend=torch.zeros_like(marks[:, :1]))
    )
    return counts if batches is not None else counts[0]


class _Rounds(Sampler):
    """What the two engines share: whole rounds drawn ahead, and a state that can be saved between any two batches."""

    def __init__(self, num_examples: int, batch_size: int, batches_per_epoch: int | None, seed: int) -> None:
        self.batch_size = as_size(batch_size, "batch_size")
        if batches_per_epoch is None:
            batches_per_epoch = max(1, num_examples // batch_size)
        self.batches_per_epoch = as_size(batches_per_epoch, "batches_per_epoch")
        self.generator = torch.Generator().manual_seed(as_seed(seed))
        self._round = torch.empty(
            0, self.batch_size, dtype=torch.long
        )  # the round under way, a row per batch
        self._taken = 0  # how many of them were handed out
        self._resumed = False  # the next round is the rest of one that was under way when the state was saved

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[Rows]:
        owner = sys._getframe(1).f_locals.get("self")  # nothing else tells a BatchSampler around this one
        if type(owner) is BatchSampler and owner.sampler is self:
            raise TypeError(
                f"{type(self).__name__} yields whole batches, and DataLoader(sampler=..., batch_size="
                f"{owner.batch_size}) would make batches of batches: say batch_sampler=sampler, or batch_size=None"
            )
        return map(Rows, self.tensors())

    def tensors(self) -> Iterator[Tensor]:
        """The batches of a round as index tensors, (M,) int64 each."""
        if not self._resumed:
            self._round, self._taken = self._draw_round().view(-1, self.batch_size), 0
        self._resumed = False
        for rows in self._round[self._taken :].unbind():
            self._taken += 1
            yield rows

    def state_dict(self) -> dict:
        """Everything that decides the batches still to come; taken within a round, it resumes within it.

        A DataLoader with workers draws ahead of the training loop, so save between rounds there.
        """
        rest = self._round[self._taken :].clone()
        return {"generator": self.generator.get_state(), "rest": rest, **self._snapshot()}

    def load_state_dict(self, state: dict) -> None:
        """Continue the stream of batches where `state_dict` was taken.

        Raises ValueError, changing nothing, for the state of a sampler of another kind, batch size or data set.
        """
        missing = {"generator", "rest", *self._snapshot()} - set(state)
        if missing:
            raise ValueError(
                f"state must be a state_dict of {type(self).__name__}, got one without {sorted(missing)}"
            )
        rest = state["rest"]
        if rest.ndim != 2 or rest.shape[1] != self.batch_size:
            raise ValueError(f"state must be of batches of {self.batch_size}, got {tuple(rest.shape)[1:]}")
        generator = torch.Generator().set_state(state["generator"])
        self._restore(state)
        self.generator = generator
        self._round, self._taken, self._resumed = rest.clone(), 0, len(rest) > 0

    def _snapshot(self) -> dict:
        raise NotImplementedError

    def _restore(self, state: dict) -> None:
        raise NotImplementedError

    def _draw_round(self) -> Tensor:
        raise NotImplementedError


class ClassMixBatchSampler(_Rounds):
    """Batches with a chosen class mix: DataLoader(dataset, batch_sampler=sampler).

    labels             (N,) int labels, row i describing dataset[i]; passed, never guessed
    batch_size         M: every batch holds exactly M row numbers
    mix                (K,) shares >= 0 summing to 1, or (T, K): row t mod T for batch t since the mix was set (one-hot
                       rows give alternating classes); the training prior gives ordinary batches
    batches_per_epoch  batches of a round, default max(1, N // batch_size): the same number of steps for every mix
    counts             "exact" or "multinomial", see below
    seed               own generator: two samplers built alike yield alike

    Each class is a shuffled deck, reshuffled when used up: no example repeats until its class has been seen whole.
    Row numbers are drawn in the main process, so workers are safe.

    counts="exact" gives stratified batches: the count of a class lies within 1 of M * share in every batch, and the
    rows stand class by class. Ordinary shuffled batches vary more: with 2 % rare and M = 32, 36 % of exact batches hold
    no rare example and the others one; of shuffled batches 52 % hold none, and some hold two or three, so only there do
    rare examples meet. counts="multinomial" draws the class of each place by itself, which is what shuffling a large
    set or drawing with weights does: the same shares on average, counts as varied as those.

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
        counts: str = "exact",
        seed: int = 0,
    ) -> None:
        self.counts = as_choice(counts, "counts", COUNTS)
        labels = as_labels(labels)
        mix = as_shares(mix)
        super().__init__(len(labels), batch_size, batches_per_epoch, seed)
        sizes = class_count(labels, mix.shape[-1])
        self.num_classes = len(sizes)
        self._members = list(torch.split(labels.argsort(stable=True), sizes.tolist()))
        self.set_mix(mix)
        self._decks = [torch.empty(0, dtype=torch.long) for _ in self._members]

    def set_mix(self, mix: Tensor | Sequence[float]) -> None:
        """Use a new mix from the next round on (never within one: prefetching would blur it).

        Raises ValueError, changing nothing, unless mix is K shares >= 0 summing to 1 (or rows of them), and names any
        empty class that is given a positive share.
        """
        mix = as_shares(mix, self.num_classes)
        wanted = (mix.reshape(-1, self.num_classes) > 0).any(0).tolist()
        empty = [k for k, rows in enumerate(self._members) if wanted[k] and len(rows) == 0]
        if empty:
            raise ValueError(f"mix gives a positive share to class {empty}, which has no example")
        self._mix, self._row = mix.clone(), 0  # what came in may be the caller's own

    @property
    def mix(self) -> Tensor:
        """The mix of the next round, (K,) or (T, K) float64; a copy."""
        return self._mix.clone()

    def _draw_round(self) -> Tensor:
        T, K, M = self.batches_per_epoch, self.num_classes, self.batch_size
        mix = self._mix
        if mix.ndim == 2:
            mix = mix[(self._row + torch.arange(T)) % len(mix)]
            self._row = (self._row + T) % len(self._mix)
        narrow = torch.int16 if K < 2**15 else torch.int64  # sorts four times as fast
        if self.counts == "multinomial":
            slots = self._classes(mix.expand(T, -1), M).to(narrow)
            dealt = torch.bincount(slots, minlength=K)
        else:
            counts = split_counts(M, mix, self.generator, T)
            slots = torch.repeat_interleave(torch.arange(K, dtype=narrow).repeat(T), counts.flatten())
            dealt = counts.sum(0)
        drawn = torch.cat([self._deal(k, n) for k, n in enumerate(dealt.tolist())])
        return torch.empty(T * M, dtype=torch.long).scatter_(0, slots.argsort(stable=True), drawn)

    def _classes(self, mix: Tensor, places: int) -> Tensor:
        """A class for each place of each batch, drawn by itself: (T, K) shares -> (T * places,)."""
        reached = mix.cumsum(1)
        reached = reached / reached[:, -1:]
        ticket = torch.rand(len(mix), places, generator=self.generator, dtype=torch.float64)
        return torch.searchsorted(reached, ticket, right=True).flatten()

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
            "decks": [deck.clone() for deck in self._decks],
            "class_count": [len(rows) for rows in self._members],
            "mix": self._mix.clone(),
            "row": self._row,
        }

    def _restore(self, state: dict) -> None:
        counts = [len(rows) for rows in self._members]
        if state["class_count"] != counts:
            raise ValueError(
                f"state must be of the same labels, with class counts {counts}, got {state['class_count']}"
            )
        self.set_mix(state["mix"])
        self._decks, self._row = [deck.clone() for deck in state["decks"]], state["row"]


class ExampleBatchSampler(_Rounds):
    """Batches drawn example by example, with replacement: weighted sampling, importance sampling, curricula.

    probability        (N,) shares >= 0 summing to 1, one per example
    batch_size         M: every batch holds exactly M row numbers
    batches_per_epoch  batches of a round, default max(1, N // batch_size)
    num_examples       N, to have the length of `probability` checked against it
    seed               own generator

    Does what WeightedRandomSampler does inside a BatchSampler, without its two traps: weights per *class* in place of
    weights per *example* have the wrong length and raise (given `num_examples`), and there is no limit of 2**24
    examples.
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
        self.num_examples = (
            len(probability) if num_examples is None else as_size(num_examples, "num_examples")
        )
        super().__init__(self.num_examples, batch_size, batches_per_epoch, seed)
        self.set_probability(probability)

    def set_probability(self, probability: Tensor | Sequence[float]) -> None:
        """Use new probabilities from the next round on.

        Raises ValueError, changing nothing, unless they are N shares >= 0 summing to 1.
        """
        shape = tuple(torch.as_tensor(probability).shape)
        if shape != (self.num_examples,):
            raise ValueError(
                f"probability must have shape ({self.num_examples},), one share per example, got {shape}; "
                "from weights per class w: w[labels] / w[labels].sum()"
            )
        self._probability = as_shares(probability, name="probability", num_examples=self.num_examples).clone()
        reached = self._probability.cumsum(0)
        self._reached = reached / reached[-1]

    @property
    def probability(self) -> Tensor:
        """(N,) float64; a copy."""
        return self._probability.clone()

    def _draw_round(self) -> Tensor:
        draws = self.batches_per_epoch * self.batch_size
        ticket = torch.rand(draws, generator=self.generator, dtype=torch.float64)
        return torch.searchsorted(self._reached, ticket, right=True)

    def _snapshot(self) -> dict:
        return {"probability": self._probability.clone()}

    def _restore(self, state: dict) -> None:
        self.set_probability(state["probability"])


def class_order(
    order: str | Sequence[int], labels: Tensor | Sequence[int], x: Tensor | None = None
) -> list[int]:
    """In which order alternating classes takes its turns: every class that has examples, once.

    order   "cyclic": 0, 1, 2, ...; "frequency": the most frequent class first; "similarity": from the most frequent
            class on, always to the nearest mean of x among the classes still to come; or the classes themselves
    labels  (N,)
    x       (N, ...) features, for "similarity" alone; distances depend on their scale

    Raises ValueError for another name, for a sequence that is not those classes once each, and where x is missing
    or of another length.
    """
    counts = class_count(labels)
    present = counts.nonzero().flatten().tolist()
    if not isinstance(order, str):
        given = torch.as_tensor(order).tolist()
        if sorted(given) != present:
            raise ValueError(f"order must name each class that has examples once, {present}, got {given}")
        return [int(k) for k in given]
    if order not in ORDERS:
        raise ValueError(f"order must be one of {ORDERS} or a sequence of classes, got {order!r}")
    if order == "cyclic":
        return present
    by_frequency = sorted(present, key=lambda k: -counts[k])
    if order == "frequency":
        return by_frequency
    labels = as_labels(labels)
    if x is None or len(x) != len(labels):
        raise ValueError(f"x must hold {len(labels)} examples, got {None if x is None else len(x)}")
    x = x.detach().cpu().flatten(1).double() if x.ndim > 1 else x.detach().cpu().double()[:, None]
    means = (
        torch.zeros(len(counts), x.shape[1], dtype=x.dtype).index_add_(0, labels, x)
        / counts.clamp_min(1)[:, None]
    )
    distance = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist")
    chain, left = by_frequency[:1], set(by_frequency[1:])
    while left:
        chain.append(min(left, key=lambda k: (distance[chain[-1], k].item(), k)))
        left.remove(chain[-1])
    return chain


def alternating_mix(
    order: Sequence[int],
    steps_per_visit: int,
    num_classes: int,
    cycles: int = 1,
    shuffle_generator: torch.Generator | None = None,
) -> Tensor:
    """The mix of alternating classes, one class at a time: (T, K) one-hot rows for `ClassMixBatchSampler`.

    order              classes in the order of their turns, from `class_order`; one may come twice
    steps_per_visit    batches that a class keeps the turn for: examples per visit = steps_per_visit * batch_size
    num_classes        K
    cycles             how many times the order is gone through, T = cycles * len(order) * steps_per_visit
    shuffle_generator  draw a fresh permutation of the order for every cycle; then give as many cycles as will be used

    >>> alternating_mix([1, 0], 2, num_classes=2).tolist()
    [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    """
    as_size(steps_per_visit, "steps_per_visit")
    as_size(cycles, "cycles")
    turns = as_labels(order, "order")
    if turns.max() >= as_size(num_classes, "num_classes"):
        raise ValueError(f"order must hold classes 0..{num_classes - 1}, got {turns.tolist()}")
    if shuffle_generator is None:
        visits = turns.repeat(cycles)
    else:
        visits = torch.cat(
            [turns[torch.randperm(len(turns), generator=shuffle_generator)] for _ in range(cycles)]
        )
    return F.one_hot(visits.repeat_interleave(steps_per_visit), num_classes).double()
