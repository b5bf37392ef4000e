"""Mistakes that are easily made when batches are drawn: each naive form is run and fails, ours is run and does not.

Most come from snippets that circulate as answers and tutorials, some from published code for learn2mix.
"""

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import (
    DataLoader,
    Dataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from course_lib.data import Split, gaussian_classes, stratified_split
from course_lib.learn2mix import Learn2Mix
from course_lib.priors import class_count, class_prior, inverse_frequency_weights
from course_lib.sampling import (
    ClassMixBatchSampler,
    ExampleBatchSampler,
    alternating_mix,
    class_order,
    split_counts,
)
from course_lib.training import SplitLoader, fit, predict


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn_by(sampler, passes: int = 1) -> torch.Tensor:
    return torch.cat([rows.tensor for _ in range(passes) for rows in sampler])


def sorted_labels(*counts: int) -> torch.Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def train(model, loader, *, lr=0.01, rounds=1, num_groups=4, **options):
    optimizer = torch.optim.Adam(model.parameters(), lr)
    return fit(model, loader, F.cross_entropy, optimizer, rounds=rounds, num_groups=num_groups, **options)


# ---- alternating classes: the cyclic example ----------------------------------------------------------------


def test_first_n_of_a_class_are_all_that_a_slice_ever_shows_and_a_deck_shows_every_example():
    labels = sorted_labels(1000, 1000, 1000)
    seen = set()
    for _ in range(20):
        for k in range(3):
            class_index = np.where(labels.numpy() == k)[0]
            seen |= set(SubsetRandomSampler(class_index[:10]))
    assert len(seen) == 30, "30 of 3,000, however long it trains"

    mix = alternating_mix(range(3), 1, 3)
    ours = drawn_by(ClassMixBatchSampler(labels, 10, mix, batches_per_epoch=300))
    assert ours.unique().tolist() == list(range(3000)), "after 300 visits of 10"


def test_rows_of_the_whole_set_point_to_other_examples_in_a_subset_and_labels_passed_for_it_do_not():
    labels = sorted_labels(50, 50)
    whole = TensorDataset(labels)
    subset = Subset(whole, list(range(99, -1, -1)))  # the same examples, the other way round
    rows_of_class_1 = np.where(labels.numpy() == 1)[0].tolist()
    assert {int(subset[i][0]) for i in rows_of_class_1} == {0}, "the wrong class throughout"
    with pytest.raises(IndexError):
        Subset(whole, [0, 1, 2])[rows_of_class_1[0]]

    own = labels[subset.indices]
    sampler = ClassMixBatchSampler(own, 10, [0.0, 1.0])
    assert {int(y) for (part,) in DataLoader(subset, batch_sampler=sampler) for y in part} == {1}


@pytest.fixture(scope="module")
def four_classes():
    return gaussian_classes((0.4, 0.3, 0.2, 0.1), num_train=1000, num_held=2000, seed=0)


def alternated(task, mix, norm, steps=400):
    """Balanced accuracy, and the share of each class among the predictions, after training on batches of `mix`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 32), norm(32), nn.ReLU(), nn.Linear(32, 4))
    train(
        model, SplitLoader(task.train, ClassMixBatchSampler(task.train.y, 32, mix, batches_per_epoch=steps))
    )
    said = predict(model, task.test.x).argmax(1)
    recall = torch.stack([(said[task.test.y == k] == k).double().mean() for k in range(4)])
    return recall.mean().item(), class_prior(said, 4)


def test_long_visits_are_forgotten_and_short_ones_are_not(four_classes):
    """Recency: after 100 steps on one class the others are hardly predicted any more."""
    accuracy, said = alternated(four_classes, alternating_mix(range(4), 100, 4), nn.Identity)
    assert accuracy < 0.4 and said[3] > 0.6
    accuracy, said = alternated(four_classes, alternating_mix(range(4), 1, 4), nn.Identity)
    assert accuracy > 0.65 and said[3] < 0.25


def test_batch_norm_collapses_on_batches_of_one_class_and_not_on_mixed_ones_nor_with_layer_norm(four_classes):
    one_class, uniform = alternating_mix(range(4), 1, 4), torch.full((4,), 0.25)
    assert alternated(four_classes, one_class, nn.BatchNorm1d)[0] < 0.4
    assert alternated(four_classes, one_class, nn.LayerNorm)[0] > 0.65
    assert alternated(four_classes, uniform, nn.BatchNorm1d)[0] > 0.65


def test_fixed_order_always_follows_one_class_by_the_same_other_and_shuffled_cycles_do_not():
    def followers(mix):
        visits = mix.argmax(1).tolist()
        return {later for now, later in zip(visits, visits[1:], strict=False) if now == 0} - {0}

    assert followers(alternating_mix(range(5), 1, 5, cycles=40)) == {1}
    assert followers(alternating_mix(range(5), 1, 5, 40, generator())) == {1, 2, 3, 4}


# ---- alternating classes: the stratified example ------------------------------------------------------------


def test_subset_has_no_targets_and_labels_are_passed():
    labels = sorted_labels(8, 4)
    whole = TensorDataset(torch.zeros(12, 1), labels)
    whole.targets = labels
    subset = Subset(whole, [0, 1, 8])
    with pytest.raises(AttributeError):
        _ = subset.targets
    sampler = ClassMixBatchSampler(whole.targets[subset.indices], 2, [0.5, 0.5])
    assert all(sorted(y.tolist()) == [0, 1] for _, y in DataLoader(subset, batch_sampler=sampler))


def test_weights_per_example_are_no_class_weights():
    labels = torch.tensor([0, 0, 0, 1])
    outputs = torch.randn(4, 2, generator=generator())
    per_class = inverse_frequency_weights(class_count(labels))
    per_example = per_class[labels]
    with pytest.raises(RuntimeError):
        F.cross_entropy(outputs, labels, weight=per_example)
    with pytest.raises(RuntimeError):
        F.cross_entropy(outputs, labels, weight=per_class.double())
    # As many examples as classes: it runs and weighs class k by the weight of example k.
    few, two = outputs[:2], torch.tensor([0, 1])
    wrong = F.cross_entropy(few, two, weight=per_class[torch.tensor([1, 0])])
    assert not torch.allclose(wrong, F.cross_entropy(few, two, weight=per_class))

    split = Split(outputs, labels, labels)
    (batch,) = SplitLoader(
        split, ClassMixBatchSampler(labels, 4, [0.75, 0.25]), weight=lambda: per_example.double()
    )
    assert torch.equal(batch.weight, per_class[batch.y]), "float32, gathered with the rows"
    with pytest.raises(ValueError, match="one per example"):
        next(
            iter(SplitLoader(split, ClassMixBatchSampler(labels, 4, [0.75, 0.25]), weight=lambda: per_class))
        )


def test_class_without_examples_gives_infinite_weights_and_nan_losses_and_ours_gives_zero():
    counts = torch.bincount(torch.tensor([0, 0, 2]), minlength=3)
    naive = 1.0 / counts
    naive = naive / naive.sum()
    assert not torch.isfinite(naive).all()
    assert F.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 2]), weight=naive).isnan()
    weights = inverse_frequency_weights(counts)
    assert weights[1] == 0 and torch.isfinite(
        F.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 2]), weight=weights)
    )


def test_stratified_split_does_not_stratify_batches_and_the_sampler_does():
    labels = sorted_labels(700, 300)
    train_rows, *_ = (rows.sort().values for rows in stratified_split(labels))
    y = labels[train_rows]
    naive = [part.unique().numel() for (part,) in DataLoader(TensorDataset(y), batch_size=50, shuffle=False)]
    assert naive.count(1) >= len(naive) - 1, "the split kept the order: nearly every batch is of one class"
    for rows in ClassMixBatchSampler(y, 50, class_prior(y)):
        assert abs(int((y[rows] == 1).sum()) - 15) <= 1


def test_class_weights_cancel_in_batches_of_one_class_unless_averaged_over_the_batch_size():
    """torch divides by the summed weights; `training` divides by M."""
    outputs, y = torch.randn(6, 2, generator=generator()), torch.ones(6, dtype=torch.long)
    weight = torch.tensor([1.0, 9.0])
    assert torch.allclose(F.cross_entropy(outputs, y, weight=weight), F.cross_entropy(outputs, y))
    model = nn.Sequential(nn.Identity(), nn.Linear(2, 2))
    loader = SplitLoader(Split(outputs, y, y), ClassMixBatchSampler(y, 6, [0, 1]), weight=lambda: weight[y])
    (stats,) = train(model, loader, lr=0.0, num_groups=2)
    assert stats.train_loss == pytest.approx(9 * F.cross_entropy(model(outputs), y).item(), rel=1e-5)


def test_scaling_all_class_weights_does_nothing_in_torch_and_accumulated_halves_are_not_the_whole():
    outputs, y = torch.randn(6, 2, generator=generator()), torch.tensor([0, 0, 0, 0, 0, 1])
    weight = torch.tensor([1.0, 9.0])
    whole = F.cross_entropy(outputs, y, weight=weight)
    assert torch.allclose(whole, F.cross_entropy(outputs, y, weight=100 * weight))
    halves = [F.cross_entropy(outputs[half], y[half], weight=weight) for half in (slice(0, 3), slice(3, 6))]
    assert abs(whole - sum(halves) / 2) > 0.05
    each = weight[y] * F.cross_entropy(outputs, y, reduction="none")
    assert torch.allclose(each.mean(), (each[:3].mean() + each[3:].mean()) / 2), "averaged over M they add up"
    z = outputs[:, 1] - outputs[:, 0]
    binary = F.binary_cross_entropy_with_logits(z, y.float(), pos_weight=torch.tensor(9.0))
    assert torch.allclose(binary, each.mean()), "pos_weight divides by M too"


# ---- alternating classes: the example with a loader of its own ----------------------------------------------


class SequenceLoader(DataLoader):
    """The circulating example, word for word in what matters."""

    def __init__(self, dataset, targets, class_sequence, samples_per_class, batch_size):
        super().__init__(dataset, batch_size=batch_size)
        self.class_sequence, self.samples_per_class = class_sequence, samples_per_class
        self.class_indices = {c: np.where(targets == c)[0] for c in np.unique(targets)}

    def __iter__(self):
        for class_id in self.class_sequence:
            indices = self.class_indices[class_id][: self.samples_per_class]
            np.random.shuffle(indices)
            for i in range(0, len(indices), self.batch_size):
                yield self.dataset[indices[i : i + self.batch_size]]


class Pairs(Dataset):
    """A map-style set, as most are: one int, one example."""

    def __init__(self, labels):
        self.items = [(torch.tensor([float(i)]), int(y)) for i, y in enumerate(labels)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_sequence_loader_fails_on_ordinary_sets_and_ours_serves_them():
    labels = sorted_labels(60, 30, 10)
    with pytest.raises(TypeError):
        next(iter(SequenceLoader(Pairs(labels), labels.numpy(), [0, 1, 2], 10, 5)))
    with pytest.raises(KeyError):
        next(iter(SequenceLoader(TensorDataset(labels), labels.numpy(), [7], 10, 5)))
    with pytest.raises(ValueError, match="order"):
        class_order([7], labels)

    mix = alternating_mix(class_order("frequency", labels), 2, 3)
    loader = DataLoader(
        Pairs(labels), batch_sampler=ClassMixBatchSampler(labels, 5, mix, batches_per_epoch=6)
    )
    assert [y.unique().tolist() for _, y in loader] == [[0], [0], [1], [1], [2], [2]]


def test_sequence_loader_misstates_its_length_and_ours_does_not():
    labels = sorted_labels(2000, 900, 100)
    naive = SequenceLoader(TensorDataset(labels), labels.numpy(), [0, 1, 2], 100, 64)
    assert (len(naive), len(list(naive))) == (47, 6)
    sampler = ClassMixBatchSampler(labels, 64, alternating_mix([0, 1, 2], 2, 3), batches_per_epoch=6)
    loader = DataLoader(TensorDataset(labels), sampler=sampler, batch_size=None)
    assert len(loader) == len(list(loader)) == 6


def test_torch_seed_does_not_reach_a_numpy_shuffle_and_our_seed_is_our_own():
    labels = sorted_labels(300, 300)

    def naive():
        torch.manual_seed(0)
        return [
            part.tolist()
            for (part,) in SequenceLoader(TensorDataset(torch.arange(600)), labels.numpy(), [0], 9, 9)
        ]

    np.random.seed(0)
    assert naive() != naive()

    def ours():
        return drawn_by(ClassMixBatchSampler(labels, 9, [0.5, 0.5], seed=4)).tolist()

    first = ours()
    np.random.rand(3), torch.rand(3)
    assert ours() == first


def test_sequence_loader_ignores_collate_fn_and_ours_goes_through_it():
    labels = sorted_labels(4, 4)
    loader = SequenceLoader(TensorDataset(labels), labels.numpy(), [0, 1], 4, 2)
    loader.collate_fn = lambda items: "collated"
    assert "collated" not in list(loader)
    sampler = ClassMixBatchSampler(labels, 2, [0.5, 0.5])
    assert set(
        DataLoader(TensorDataset(labels), batch_sampler=sampler, collate_fn=lambda items: "collated")
    ) == {"collated"}


# ---- optimising networks --------------------------------------------------------------------------------------


def test_weights_per_class_in_weighted_random_sampler_draw_two_examples_and_raise_here():
    labels = sorted_labels(1000, 200)
    per_class = 1.0 / class_count(labels).float()
    assert set(WeightedRandomSampler(per_class, len(per_class), generator=generator())) <= {0, 1}
    assert set(WeightedRandomSampler(per_class, 5000, generator=generator())) == {0, 1}
    with pytest.raises(ValueError, match="one share per example"):
        ExampleBatchSampler(per_class / per_class.sum(), 32, num_examples=len(labels))
    per_example = per_class[labels] / per_class[labels].sum()
    ours = labels[drawn_by(ExampleBatchSampler(per_example, 32, batches_per_epoch=200))]
    assert class_prior(ours)[1] == pytest.approx(0.5, abs=5 * 0.5 / 6400**0.5)


def test_weighted_sampling_without_replacement_balances_nothing_and_excludes_shuffle():
    labels = sorted_labels(90, 10)
    weights = (1.0 / class_count(labels).double())[labels]
    rows = list(WeightedRandomSampler(weights, 100, replacement=False, generator=generator()))
    assert class_prior(labels[rows]).tolist() == [0.9, 0.1]
    with pytest.raises(ValueError, match="sampler option is mutually exclusive with shuffle"):
        DataLoader(TensorDataset(labels), sampler=WeightedRandomSampler(weights, 100), shuffle=True)
    ours = labels[drawn_by(ClassMixBatchSampler(labels, 10, [0.5, 0.5]))]
    assert class_prior(ours).tolist() == [0.5, 0.5], "exactly, in every batch"


def test_multinomial_ends_at_two_to_the_24_examples_and_ours_does_not():
    n = 2**24 + 1
    weights = torch.ones(n)
    with pytest.raises(RuntimeError, match=r"2\^24"):
        torch.multinomial(weights, 1, replacement=True)
    (rows,) = ExampleBatchSampler(weights.div_(n), 4, batches_per_epoch=1)
    assert all(0 <= i < n for i in rows)


def test_scheduler_that_is_only_built_does_nothing_and_fit_steps_it():
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
    x, y = torch.randn(8, 2), torch.tensor([0, 1] * 4)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 1.0
    loader = SplitLoader(Split(x, y, y), ClassMixBatchSampler(y, 4, [0.5, 0.5]))
    fit(
        model, loader, F.cross_entropy, optimizer,
        rounds=3, num_groups=2, scheduler=scheduler, scheduler_every="round",
    )  # fmt: skip
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


class Noisy(Dataset):
    """Adds fresh noise whenever an example is asked for, as augmentation does."""

    def __len__(self):
        return 40

    def __getitem__(self, i):
        return torch.randn(1).item(), int(i >= 36)


def test_splitting_a_dataset_by_train_test_split_freezes_its_augmentation_and_ours_draws_anew():
    train_data, _ = train_test_split(Noisy(), test_size=0.2, random_state=42)
    assert isinstance(train_data, list) and train_data[0] == train_data[0]

    def noise(batch):
        return batch._replace(x=batch.x + torch.randn_like(batch.x))

    y = sorted_labels(36, 4)
    loader = SplitLoader(
        Split(torch.zeros(40, 1), y, y), ClassMixBatchSampler(y, 40, [0.9, 0.1]), augment=noise
    )
    (first,), (second,) = list(loader), list(loader)
    assert not torch.equal(first.x.sort(0).values, second.x.sort(0).values)


def test_unstratified_split_can_lose_a_rare_class_and_ours_cannot():
    labels = sorted_labels(96, 4)
    lost = sum(
        int((labels[train_test_split(range(100), test_size=0.15, random_state=seed)[1]] == 1).sum() == 0)
        for seed in range(40)
    )
    assert lost > 10, "often not one rare example to validate on"
    with pytest.raises(ValueError):
        stratified_split(sorted_labels(96, 2))  # two examples cannot be in three parts
    for seed in range(10):
        parts = stratified_split(sorted_labels(90, 10), seed=seed)
        assert all(int((rows >= 90).sum()) in (1, 2, 7) for rows in parts), (
            "ten shared out as 7, 1 or 2, 2 or 1"
        )


def test_without_eval_dropout_and_batch_norm_change_the_answer_and_predict_sees_to_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 2))
    x = torch.randn(10, 2)
    assert not torch.equal(model(x), model(x)), "dropout is still dropping"
    assert torch.equal(predict(model, x), predict(model, x))
    assert torch.allclose(predict(model, x)[:3], predict(model, x[:3])), (
        "no example depends on its neighbours"
    )
    assert model.training, "and training goes on as before"


def test_last_batch_of_one_crashes_batch_norm_and_our_batches_are_all_full():
    x, y = torch.randn(33, 2), sorted_labels(30, 3)
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    loader = DataLoader(TensorDataset(x, y), batch_size=32)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        train(model, loader, num_groups=2)
    train(model, SplitLoader(Split(x, y, y), ClassMixBatchSampler(y, 32, class_prior(y))), num_groups=2)


def test_weight_decay_of_adam_is_no_decay_of_weights_and_that_of_adamw_is():
    """A term in the gradient is scaled away by Adam: ten times the decay, the same step."""

    def step(kind, decay):
        weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
        weight.grad = torch.zeros_like(weight)
        kind([weight], lr=0.01, weight_decay=decay).step()
        return 1 - weight.item()

    assert step(torch.optim.Adam, 0.1) == pytest.approx(step(torch.optim.Adam, 1.0), rel=1e-4)
    assert (
        step(torch.optim.AdamW, 1.0)
        == pytest.approx(10 * step(torch.optim.AdamW, 0.1))
        == pytest.approx(0.01)
    )


def test_sampler_and_weights_together_correct_twice():
    """What the objective sees of a class is its share in the batch times its weight."""
    labels = sorted_labels(900, 100)
    prior, uniform = class_prior(labels), torch.tensor([0.5, 0.5], dtype=torch.float64)
    weight = (uniform / prior)[labels]

    def emphasis(mix, weight):
        rows = drawn_by(ClassMixBatchSampler(labels, 100, mix, batches_per_epoch=50))
        total = torch.zeros(2, dtype=torch.float64).index_add_(0, labels[rows], weight[rows])
        return (total / total.sum()).tolist()

    assert emphasis(uniform, weight) == pytest.approx([0.1, 0.9]), "9 to 1 the other way round"
    assert emphasis(uniform, torch.ones(1000, dtype=torch.float64)) == pytest.approx([0.5, 0.5])
    assert emphasis(prior, weight) == pytest.approx([0.5, 0.5])


def test_early_stopping_is_done_and_keeps_the_best():
    torch.manual_seed(0)
    g = generator(1)
    y = torch.arange(40) % 2
    noise = Split(torch.randn(40, 20, generator=g), y, y)  # nothing to learn: it can only overfit
    held = Split(torch.randn(200, 20, generator=g), torch.arange(200) % 2, torch.arange(200) % 2)

    def after(**options):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 2))
        loader = SplitLoader(noise, ClassMixBatchSampler(y, 10, [0.5, 0.5]))
        history = train(model, loader, rounds=60, num_groups=2, validation=held, **options)
        return len(history), F.cross_entropy(predict(model, held.x), held.y).item()

    (rounds_all, last), (rounds_stopped, best) = after(), after(patience=5)
    assert rounds_all == 60 and rounds_stopped < 30
    assert last > 2 * best


# ---- losses per class, and learn2mix as published -------------------------------------------------------------


def test_nearly_every_long_run_has_a_round_without_the_rarest_class_and_learn2mix_goes_on():
    labels = sorted_labels(200, 60, 2)
    prior = class_prior(labels)
    runs_with_gap = 0
    for seed in range(20):
        sampler = ClassMixBatchSampler(labels, 32, prior, seed=seed)
        met = [(labels[drawn_by(sampler)] == 2).any().item() for _ in range(30)]
        runs_with_gap += not all(met)
    assert runs_with_gap >= 18

    losses, counts = torch.tensor([0.2, 0.5, float("nan")]), torch.tensor([200, 60, 0])
    naive = losses / losses.sum()
    assert naive.isnan().all(), "one class not met, and every share is lost"
    assert torch.isfinite(Learn2Mix(prior).update(losses, counts)).all()


def test_loss_of_the_last_batch_is_noise_beside_that_of_the_round():
    """Departure: class losses from the last batch alone. With a resting model both should be one number."""
    task = gaussian_classes((0.8, 0.15, 0.05), num_train=1000, num_held=100, seed=0)
    torch.manual_seed(0)
    model = task.model()
    truth = F.cross_entropy(predict(model, task.train.x), task.train.y, reduction="none")
    truth = torch.stack([truth[task.train.y == k].double().mean() for k in range(3)])
    loader = SplitLoader(task.train, ClassMixBatchSampler(task.train.y, 50, class_prior(task.train.y)))
    history = train(model, loader, lr=0.0, rounds=20, num_groups=3)
    last = torch.stack([s.last_loss - truth for s in history]).nanmean(0, keepdim=True)
    spread_last = (torch.stack([s.last_loss - truth for s in history]) - last).square().nanmean(0).sqrt()
    spread_mean = torch.stack([s.class_loss - truth for s in history]).square().mean(0).sqrt()
    assert (spread_last > 3 * spread_mean).all()


def test_forward_in_train_mode_to_measure_a_loss_moves_batch_norm_and_our_measuring_does_not():
    """Departure: the class loss is read by an extra forward pass in train mode."""
    task = gaussian_classes((0.5, 0.5), num_train=200, num_held=100, seed=0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    passes = []
    model.register_forward_hook(lambda module, inputs, _: passes.append(module.training))
    before = model[1].running_mean.clone()
    model(task.train.x)
    assert not torch.equal(model[1].running_mean, before)

    passes.clear()
    loader = SplitLoader(task.train, ClassMixBatchSampler(task.train.y, 20, [0.5, 0.5]))
    (stats,) = train(model, loader, num_groups=2)
    assert passes == [True] * 10, "one pass per step, none to measure"
    after = model[1].running_mean.clone()
    predict(model, task.validation.x)
    assert torch.equal(model[1].running_mean, after) and torch.isfinite(stats.class_loss).all()


def test_mixing_rate_written_into_the_code_cannot_be_zero_and_ours_can():
    prior = torch.tensor([0.9, 0.1], dtype=torch.float64)
    hard_coded = prior + 0.1 * (torch.tensor([0.5, 0.5]) - prior)
    assert not torch.equal(hard_coded, prior)
    assert torch.equal(Learn2Mix(prior, mixing_rate=0.0).update([1.0, 1.0]), prior)


@pytest.mark.parametrize("num_classes", [10, 100])
def test_truncated_counts_fall_short_and_ours_hold_exactly(num_classes):
    """Departure: int(share * M), so a batch of 1000 lacks about half an example per class."""
    mixes = torch.rand(200, num_classes, generator=generator(), dtype=torch.float64) + 0.1
    mixes = mixes / mixes.sum(1, keepdim=True)
    held = (1000 * mixes).floor().sum(1)
    assert (1000 - held).mean().item() == pytest.approx(num_classes / 2, rel=0.05)
    assert (split_counts(1000, mixes, generator(), 200).sum(1) == 1000).all()


def test_share_below_one_per_batch_crashes_or_starves_when_truncated_and_is_met_here():
    labels, mix, M = sorted_labels(990, 10), torch.tensor([0.99, 0.01], dtype=torch.float64), 50
    count = int(mix[1] * M)
    assert count == 0
    with pytest.raises((RuntimeError, ValueError)):
        torch.cat([labels[labels == 1][i : i + 1] for i in range(count)])
    # Skipped instead, its loss is taken as 0 and its share only shrinks.
    share = mix[1].item()
    for _ in range(50):
        share += 0.1 * (0.0 - share)
    assert share < 1e-4

    sampler, control = ClassMixBatchSampler(labels, M, mix), Learn2Mix(mix, 0.1)
    for _ in range(50):  # a class that is met now and then, with a loss that is higher
        counts = class_count(labels[drawn_by(sampler)], 2)
        losses = torch.where(counts > 0, torch.tensor([0.5, 2.0]), torch.nan)
        sampler.set_mix(control.update(losses, counts))
    assert control.mix[1] > 0.7


def rank_correlation(a, b):
    ranks = torch.stack([a.argsort().argsort().double(), b.argsort().argsort().double()])
    return torch.corrcoef(ranks)[0, 1].item()


def test_scores_read_through_a_shuffling_loader_belong_to_other_examples_and_predict_keeps_the_order():
    """Departure: a curriculum that trains on a random subset in place of the easy one."""
    task = gaussian_classes((0.7, 0.3), num_train=1000, num_held=100, seed=0)
    torch.manual_seed(0)
    model = task.model()
    split = task.train
    truth = F.cross_entropy(model(split.x), split.y, reduction="none").detach()
    shuffled = torch.cat(
        [
            F.cross_entropy(model(x), y, reduction="none").detach()
            for x, y in DataLoader(TensorDataset(split.x, split.y), batch_size=100, shuffle=True)
        ]
    )
    assert abs(rank_correlation(shuffled, truth)) < 0.15
    scores = F.cross_entropy(predict(model, split.x), split.y, reduction="none")
    assert rank_correlation(scores, truth) > 0.999

    easy = torch.zeros(1000)
    easy[scores.argsort()[:200]] = 1 / 200
    rows = drawn_by(ExampleBatchSampler(easy, 50, num_examples=1000))
    assert truth[rows].max() <= truth.sort().values[200]


def test_importance_sampling_without_weights_is_biased_halved_and_crashes_and_ours_is_none_of_it():
    """Departure: half of each batch drawn by loss, no re-weighting, and more asked for than a last batch holds."""
    losses = torch.rand(200, generator=generator(), dtype=torch.float64).square() + 0.01
    with pytest.raises(RuntimeError):
        torch.multinomial(losses[:10], 16, replacement=False)  # half of 32, from a last batch of 10

    q = losses / losses.sum()
    sampler = ExampleBatchSampler(q, 32, batches_per_epoch=2000)
    assert {len(rows) for rows in sampler} == {32}
    rows = drawn_by(sampler)
    values = losses.sqrt()  # any quantity of an example: a gradient entry, say
    weighted = values[rows] / (200 * q[rows])
    tolerance = 5 * weighted.std().item() / len(rows) ** 0.5
    assert values[rows].mean().item() > values.mean().item() + 0.1
    assert weighted.mean().item() == pytest.approx(values.mean().item(), abs=tolerance) and tolerance < 0.02
