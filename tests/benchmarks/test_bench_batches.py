"""What a batch costs: an epoch of batches of 60,000 x 784 floats by every path, and learn2mix beside plain training.

Ratios to a plain shuffled gather stand at the end of the report; no assertion is timed.
"""

import functools
from collections import deque

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler

from course_lib.data import Split
from course_lib.learn2mix import Learn2Mix
from course_lib.models import MLP
from course_lib.priors import class_prior
from course_lib.sampling import ClassMixBatchSampler, ExampleBatchSampler
from course_lib.training import SplitLoader, fit, prepare

N, K = 60_000, 10


@functools.cache
def split() -> Split:
    generator = torch.Generator().manual_seed(0)
    y = torch.multinomial(0.7 ** torch.arange(K), N, replacement=True, generator=generator)
    return Split(torch.randn(N, 784, generator=generator), y, y)


@functools.cache
def dataset() -> TensorDataset:
    return TensorDataset(split().x, split().y)


def mixed(batch_size: int) -> ClassMixBatchSampler:
    return ClassMixBatchSampler(split().y, batch_size, torch.full((K,), 1 / K))


class Gather:
    """A shuffled pass over tensors, the plain way."""

    def __init__(self, batch_size: int, *tensors, by_index_select: bool = False) -> None:
        self.batch_size, self.tensors, self.by_index_select = batch_size, tensors, by_index_select

    def __iter__(self):
        for rows in torch.randperm(N).split(self.batch_size):
            if self.by_index_select:
                yield tuple(tensor.index_select(0, rows) for tensor in self.tensors)
            else:
                yield tuple(tensor[rows] for tensor in self.tensors)


def weighted(batch_size: int) -> WeightedRandomSampler:
    return WeightedRandomSampler(1 / class_prior(split().y)[split().y], N)


PATHS = {
    "plain gather, x and y": lambda M: Gather(M, split().x, split().y),
    "plain gather, x alone": lambda M: Gather(M, split().x),
    "gather by index_select, x and y": lambda M: Gather(M, split().x, split().y, by_index_select=True),
    "ClassMixBatchSampler, rows alone": mixed,
    "ClassMixBatchSampler, training's loop": lambda M: SplitLoader(split(), mixed(M)),
    "ClassMixBatchSampler, batch_size=None": lambda M: DataLoader(
        dataset(), sampler=mixed(M), batch_size=None
    ),
    "ClassMixBatchSampler, batch_sampler": lambda M: DataLoader(dataset(), batch_sampler=mixed(M)),
    "ExampleBatchSampler, training's loop": lambda M: SplitLoader(
        split(), ExampleBatchSampler(torch.full((N,), 1 / N), M)
    ),
    "torch BatchSampler, training's loop": lambda M: SplitLoader(
        split(), BatchSampler(RandomSampler(dataset()), M, drop_last=True)
    ),
    "DataLoader(shuffle=True)": lambda M: DataLoader(dataset(), batch_size=M, shuffle=True),
    "DataLoader, WeightedRandomSampler": lambda M: DataLoader(dataset(), batch_size=M, sampler=weighted(M)),
}
AIMS = {
    ("ClassMixBatchSampler, training's loop", 1000): 1.15,
    ("ClassMixBatchSampler, training's loop", 64): 1.5,
    ("ClassMixBatchSampler, batch_size=None", 1000): 1.3,
    ("ClassMixBatchSampler, batch_size=None", 64): 1.6,
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("batch_size", [1000, 64])
def test_epoch_of_batches(benchmark, batch_size, path):
    prepare(0)
    benchmark.group = f"an epoch of batches of {batch_size} (ratio to a plain gather of x and y)"
    benchmark.extra_info.update(base=path == "plain gather, x and y", aim=AIMS.get((path, batch_size)))
    batches = PATHS[path](batch_size)
    benchmark.pedantic(lambda: deque(batches, maxlen=0), rounds=8, warmup_rounds=1)


@pytest.mark.parametrize("method", ["plain", "learn2mix"])
@pytest.mark.benchmark(group="a training epoch of an MLP, batches of 1000 (ratio to plain)")
def test_training_epoch(benchmark, method):
    prepare(0)
    benchmark.extra_info["aim"] = 1.05 if method == "learn2mix" else None
    prior = class_prior(split().y)
    model: nn.Module = MLP((784, 64, K))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    sampler, control = ClassMixBatchSampler(split().y, 1000, prior), Learn2Mix(prior)

    def feed_back(stats):
        sampler.set_mix(control.update(stats.class_loss, stats.class_count))

    def epoch():
        fit(
            model, SplitLoader(split(), sampler), F.cross_entropy, optimizer, rounds=1, num_groups=K,
            on_round_end=feed_back if method == "learn2mix" else None,
        )  # fmt: skip

    benchmark.pedantic(epoch, rounds=8, warmup_rounds=1)
