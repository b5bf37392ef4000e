"""Our SMOTE beside imbalanced-learn's, in one run, so that the ratio means something on any machine."""

import pytest
import torch
from imblearn.over_sampling import SMOTE

from course_lib.data import Split, imbalanced_counts
from course_lib.resampling import smote


@pytest.fixture(scope="module")
def long_tailed() -> Split:
    """25,000 rows of 64 columns in ten classes, 100 times as many in the first as in the last."""
    counts = imbalanced_counts(10_074, 10, 100.0)
    counts[0] += 25_000 - counts.sum()
    y = torch.repeat_interleave(torch.arange(10), counts)
    generator = torch.Generator().manual_seed(0)
    y = y[torch.randperm(len(y), generator=generator)]
    centre = torch.randn(10, 64, generator=generator)
    return Split(centre[y] + torch.randn(len(y), 64, generator=generator), y, y)


@pytest.mark.benchmark(group="SMOTE, 25,000 x 64, ten long-tailed classes")
def test_ours(benchmark, long_tailed):
    generator = torch.Generator().manual_seed(0)
    made = benchmark.pedantic(smote, (long_tailed, generator), rounds=7, warmup_rounds=1)
    assert len(made.x) == 10 * int(long_tailed.y.bincount().max())


@pytest.mark.benchmark(group="SMOTE, 25,000 x 64, ten long-tailed classes")
def test_imbalanced_learn(benchmark, long_tailed):
    x, y = long_tailed.x.numpy(), long_tailed.y.numpy()
    made, _ = benchmark.pedantic(SMOTE(random_state=0).fit_resample, (x, y), rounds=7, warmup_rounds=1)
    assert len(made) == 10 * int(long_tailed.y.bincount().max())
