"""The training loop: what rounds report, feedback, early stopping, schedulers, and errors that say what is wrong."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from course_lib.data import Batch, Split, gaussian_classes, squared_error_each
from course_lib.priors import class_prior
from course_lib.sampling import ClassMixBatchSampler
from course_lib.training import RoundStats, SplitLoader, fit, pick_device, predict, prepare, rounds

K = 3


def make_split(n: int = 90, seed: int = 0, dtype=torch.float32) -> Split:
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % K
    return Split((torch.randn(n, 4, generator=g) + y[:, None]).to(dtype), y, y)


def make_model(seed: int = 0, *middle: nn.Module, outputs: int = K) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), *middle, nn.ReLU(), nn.Linear(6, outputs))


def make_loader(split: Split, batch_size: int = 10, mix=None, **options) -> SplitLoader:
    mix = class_prior(split.group, K) if mix is None else mix
    return SplitLoader(split, ClassMixBatchSampler(split.group, batch_size, mix), **options)


def sgd(model: nn.Module, lr: float = 0.05, **options) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr, **options)


def run(
    model=None, loader=None, loss_fn=F.cross_entropy, optimizer=None, *, rounds=2, num_groups=K, **options
):
    """`fit` with every argument filled in, for the tests that care about one of them."""
    model = make_model() if model is None else model
    loader = make_loader(make_split()) if loader is None else loader
    return fit(
        model, loader, loss_fn, sgd(model) if optimizer is None else optimizer,
        rounds=rounds, num_groups=num_groups, **options,
    )  # fmt: skip


def weights_of(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def class_means(outputs, y, group, each=None):
    each = F.cross_entropy(outputs, y, reduction="none") if each is None else each
    return torch.stack([each[group == k].double().mean() for k in range(K)])


# ---- what a round reports -----------------------------------------------------------------------------------


def test_class_loss_equals_a_second_pass_with_a_resting_model():
    split, model = make_split(), make_model()
    loader = make_loader(split, 9, [0.5, 0.3, 0.2])
    rows = torch.cat([batch.index for batch in make_loader(split, 9, [0.5, 0.3, 0.2])])
    (stats,) = run(model, loader, optimizer=sgd(model, 0.0), rounds=1)
    expected = class_means(model(split.x[rows]), split.y[rows], split.group[rows])
    assert torch.allclose(stats.class_loss, expected, rtol=1e-6)
    assert torch.equal(stats.class_count, torch.bincount(split.y[rows]))
    assert stats.class_loss.dtype == torch.float64 and stats.class_count.dtype == torch.int64
    assert stats.train_loss == pytest.approx(
        F.cross_entropy(model(split.x[rows]), split.y[rows]).item(), rel=1e-6
    )


def test_last_loss_is_that_of_the_last_batch_alone():
    split, model = make_split(), make_model()
    *_, last = make_loader(split, 4, [0.5, 0.5, 0.0])
    (stats,) = run(model, make_loader(split, 4, [0.5, 0.5, 0.0]), optimizer=sgd(model, 0.0), rounds=1)
    expected = class_means(model(last.x), last.y, last.group)
    assert torch.allclose(stats.last_loss, expected, rtol=1e-6, equal_nan=True)
    assert stats.last_count.tolist() == [2, 2, 0]
    assert not torch.allclose(stats.last_loss[:2], stats.class_loss[:2])


def test_class_that_a_round_did_not_meet_is_nan_with_count_zero():
    (stats,) = run(loader=make_loader(make_split(), mix=[0.5, 0.0, 0.5]), rounds=1)
    assert stats.class_loss.isnan().tolist() == [False, True, False]
    assert stats.class_count[1] == 0
    (stats,) = run(model=make_model(outputs=5), rounds=1, num_groups=5)
    assert stats.class_loss.shape == (5,) and stats.class_count[3:].tolist() == [0, 0]


def test_validation_loss_is_the_class_loss_after_the_round_in_eval_mode():
    model = make_model(0, nn.BatchNorm1d(6), nn.Dropout(0.5))
    held = make_split(60, seed=1)
    history = run(model, validation=held, score=lambda outputs, y: (outputs.argmax(1) == y).double().mean())
    outputs = model.eval()(held.x)
    assert torch.allclose(history[-1].validation_loss, class_means(outputs, held.y, held.group), rtol=1e-5)
    assert history[-1].score == pytest.approx((outputs.argmax(1) == held.y).double().mean().item())


def test_rounds_and_steps_are_counted():
    history = run(rounds=3)
    assert [(s.round, s.steps) for s in history] == [(0, 9), (1, 18), (2, 27)]
    assert all(s.validation_loss is None and s.score is None for s in history)


def test_statistics_cannot_be_changed_by_a_hook():
    (stats,) = run(rounds=1)
    assert isinstance(stats, RoundStats)
    with pytest.raises(AttributeError):
        stats.train_loss = 0.0


def test_training_learns():
    history = run(rounds=30)
    assert history[-1].train_loss < 0.6 * history[0].train_loss


def test_nothing_is_read_back_within_a_round(monkeypatch):
    """Reading a tensor waits for the device: the number of reads does not grow with the number of batches."""
    reads = 0

    def counted(method):
        def wrapper(*args, **options):
            nonlocal reads
            reads += 1
            return method(*args, **options)

        return wrapper

    for name in ("item", "__float__", "__int__", "__bool__", "__index__", "tolist", "numpy", "cpu"):
        monkeypatch.setattr(torch.Tensor, name, counted(getattr(torch.Tensor, name)))

    def reads_of(batch_size):
        nonlocal reads
        loader, model = make_loader(make_split(), batch_size), make_model()
        optimizer = sgd(model)
        reads = 0
        run(model, loader, optimizer=optimizer, rounds=2, validation=make_split(30))
        return reads

    few, many = reads_of(30), reads_of(3)
    assert few == many


# ---- the model's modes and seeds ----------------------------------------------------------------------------


def test_model_trains_in_train_mode_and_predicts_in_eval_mode():
    model = make_model(0, nn.BatchNorm1d(6), nn.Dropout(0.5))
    seen = []
    model[1].register_forward_hook(lambda module, *_: seen.append(module.training))
    model.eval()
    run(model, rounds=1, validation=make_split(20))
    assert seen == [True] * 9 + [False]
    assert all(module.training for module in model.modules())


def test_predict_puts_the_mode_of_every_module_back():
    model = make_model(0, nn.BatchNorm1d(6), nn.Dropout(0.5)).train()
    model[1].eval()  # a frozen norm layer
    before = [module.training for module in model.modules()]
    statistics = model[1].running_mean.clone()
    predict(model, torch.randn(5, 4))
    assert [module.training for module in model.modules()] == before
    assert torch.equal(model[1].running_mean, statistics)

    model[3].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(model, torch.randn(5, 4))
    assert [module.training for module in model.modules()] == before, "also after an error"


@pytest.mark.parametrize("batch_size", [1, 3, 7, 4096])
def test_predict_is_the_model_in_parts_without_gradients(batch_size):
    model, x = make_model(0, nn.BatchNorm1d(6)), torch.randn(7, 4)
    outputs = predict(model, x, batch_size=batch_size)
    assert torch.allclose(outputs, model.eval()(x), atol=1e-6) and not outputs.requires_grad


def test_predict_without_parameters_and_without_examples():
    assert predict(nn.Flatten(), torch.ones(2, 2, 2)).shape == (2, 4)
    assert predict(make_model(), torch.zeros(0, 4)).shape == (0, K)


@pytest.mark.parametrize("middle", [(), (nn.Dropout(0.3),)])
def test_same_seed_same_weights(middle):
    def trained():
        prepare(7, threads=None)
        model = make_model(3, *middle)
        return run(model), weights_of(model)

    (first, w), (second, v) = trained(), trained()
    assert torch.equal(w, v) and [s.train_loss for s in first] == [s.train_loss for s in second]


def test_prepare_seeds_python_numpy_and_torch_and_sets_threads():
    before = torch.get_num_threads()
    try:
        draws = []
        for _ in range(2):
            prepare(2**33 + 1, threads=1)
            draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
        assert draws[0] == draws[1]
        assert torch.get_num_threads() == 1
        prepare(0, threads=None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_float64_models_train():
    split = make_split(dtype=torch.float64)
    model = make_model().double()
    weight = torch.ones(len(split.y))
    history = run(model, make_loader(split, weight=lambda: weight), validation=split)
    assert next(model.parameters()).dtype == torch.float64 and np.isfinite(history[-1].train_loss)


# ---- loaders ------------------------------------------------------------------------------------------------


def test_split_loader_yields_the_rows_of_the_split():
    split = make_split()
    weight = torch.rand(90)
    for batch in make_loader(split, weight=lambda: weight):
        assert isinstance(batch, Batch) and type(batch.index) is torch.Tensor
        assert torch.equal(batch.x, split.x[batch.index]) and torch.equal(batch.y, split.y[batch.index])
        assert torch.equal(batch.group, split.group[batch.index])
        assert torch.equal(batch.weight, weight[batch.index])
    batch = next(iter(make_loader(split, weight=weight.double)))
    assert batch.weight.dtype == torch.float32, "that of x, so that the loss stays in it"


def test_split_loader_gathers_targets_of_their_own_and_images():
    x, y, group = torch.randn(12, 1, 5, 5), torch.randn(12, 2), torch.arange(12) % K
    (batch,) = SplitLoader(Split(x, y, group), ClassMixBatchSampler(group, 12, [1 / 3] * 3))
    assert torch.equal(batch.x, x[batch.index]) and torch.equal(batch.y, y[batch.index])
    assert torch.equal(batch.group, group[batch.index])


def test_split_loader_takes_torch_samplers_of_lists_too():
    split = make_split()
    loader = SplitLoader(split, BatchSampler(RandomSampler(split.y), 10, drop_last=True))
    assert len(loader) == 9
    assert sorted(torch.cat([batch.index for batch in loader]).tolist()) == list(range(90))


def test_weight_is_read_anew_for_every_round():
    split = make_split()
    given = iter([torch.ones(90), torch.full((90,), 3.0), None])
    model = make_model()
    loader = make_loader(split, 90, weight=lambda: next(given))
    first, second, third = run(model, loader, optimizer=sgd(model, 0.0), rounds=3)
    assert second.train_loss == pytest.approx(3 * first.train_loss, rel=1e-6)
    assert third.train_loss == pytest.approx(first.train_loss, rel=1e-6)


def test_weights_of_one_are_no_weights():
    models = [make_model(), make_model()]
    run(models[0], make_loader(make_split()))
    run(models[1], make_loader(make_split(), weight=lambda: torch.ones(90, dtype=torch.float64)))
    assert torch.allclose(weights_of(models[0]), weights_of(models[1]), atol=1e-6)


def test_weights_multiply_the_loss_of_each_example_and_are_averaged_over_the_batch():
    split, model = make_split(30), make_model()
    weight = torch.rand(30)
    (stats,) = run(model, make_loader(split, 30, weight=lambda: weight), optimizer=sgd(model, 0.0), rounds=1)
    each = F.cross_entropy(model(split.x), split.y, reduction="none")
    assert stats.train_loss == pytest.approx((weight * each).mean().item(), rel=1e-5)
    assert torch.allclose(stats.class_loss, class_means(None, None, split.y, each), rtol=1e-5), "unweighted"


@pytest.mark.parametrize("weight", [torch.ones(K), torch.ones(90, 1), torch.ones(89)])
def test_weights_that_are_not_one_per_example_raise(weight):
    with pytest.raises(ValueError, match=r"weight must have shape \(90,\), one per example"):
        run(loader=make_loader(make_split(), weight=lambda: weight))


def test_weights_on_a_loss_that_would_broadcast_raise():
    """(M, 1) losses times (M,) weights are (M, M) numbers; their mean looks plausible and is wrong."""
    split = make_split()._replace(y=torch.randn(90, 1))
    loader = make_loader(split, weight=lambda: torch.ones(90))
    with pytest.raises(ValueError, match=r"one loss per example, \(10,\), got \(10, 1\)"):
        run(make_model(outputs=1), loader, F.mse_loss, example_loss=squared_error_each)


def test_augmentation_sees_every_batch_and_its_labels_may_be_soft():
    seen = []

    def soften(batch):
        seen.append(len(batch.x))
        return batch._replace(x=batch.x + 1, y=F.one_hot(batch.y, K).float())

    history = run(loader=make_loader(make_split(), 30, augment=soften), rounds=2)
    assert seen == [30] * 6
    assert history[0].class_count.tolist() == [30, 30, 30]


@pytest.mark.parametrize("with_group", [False, True])
def test_any_dataloader_of_labelled_examples_serves(with_group):
    split = make_split()
    parts = (split.x, split.y, split.group) if with_group else (split.x, split.y)
    history = run(loader=DataLoader(TensorDataset(*parts), batch_size=16, shuffle=True))
    assert history[0].class_count.tolist() == [30, 30, 30]
    assert history[0].steps == 6, "a last, smaller batch counts"


def test_dataloader_with_one_gather_per_batch_trains_to_the_same_weights():
    split = make_split()
    models = [make_model(), make_model()]
    run(models[0], make_loader(split))
    sampler = ClassMixBatchSampler(split.y, 10, class_prior(split.y))
    run(models[1], DataLoader(TensorDataset(split.x, split.y), sampler=sampler, batch_size=None))
    assert torch.equal(weights_of(models[0]), weights_of(models[1]))


def test_small_integer_groups_serve():
    split = make_split()
    history = run(loader=DataLoader(TensorDataset(split.x, split.y, split.y.to(torch.uint8)), batch_size=30))
    assert history[0].class_count.tolist() == [30, 30, 30]


@pytest.mark.parametrize(
    "parts",
    [
        (torch.randn(8, 4), torch.randn(8)),
        (torch.randn(8, 4), torch.randn(8, 1)),
        (torch.randn(8, 4), torch.randn(8, 1), torch.zeros(8)),
        (torch.randn(8, 4), torch.zeros(8, dtype=torch.bool)),
        (torch.randn(8, 4),),
        (torch.randn(8, 4), torch.zeros(8).long(), torch.zeros(8).long(), torch.zeros(8)),
    ],
)
def test_loader_without_groups_raises(parts):
    with pytest.raises(TypeError, match="loader must yield"):
        run(loader=DataLoader(TensorDataset(*parts), batch_size=4))


def test_loader_of_bare_tensors_raises():
    with pytest.raises(TypeError, match="got Tensor"):
        run(loader=torch.randn(5, 2, 4))


def test_regression_with_groups_trains():
    split = make_split()._replace(y=torch.randn(90, 1))
    model = make_model(outputs=1)
    history = run(model, make_loader(split), F.mse_loss, example_loss=squared_error_each, validation=split)
    expected = class_means(None, None, split.group, squared_error_each(predict(model, split.x), split.y))
    assert torch.allclose(history[-1].validation_loss, expected, rtol=1e-5)


def test_used_up_generator_is_named():
    split = make_split()
    with pytest.raises(ValueError, match="at least one batch a round, got none"):
        run(loader=(batch for batch in make_loader(split)), rounds=2)


@pytest.mark.parametrize("where", ["split", "loader", "validation"])
def test_label_beyond_num_groups_is_named(where):
    split = make_split()
    loader = (
        make_loader(split)
        if where != "loader"
        else DataLoader(TensorDataset(split.x, split.y), batch_size=10)
    )
    options = {"validation": split} if where == "validation" else {}
    with pytest.raises(ValueError, match=r"groups 0..num_groups-1 with num_groups = 2, got 0..2"):
        run(loader=loader, num_groups=2, **options)


class Stream:
    """Batches that nobody can look through beforehand; the second holds a wrong label."""

    def __init__(self, wrong_y=0, wrong_group=None):
        y = torch.arange(12) % K
        self.batches = [(torch.randn(12, 4), y.clone(), y.clone()) for _ in range(2)]
        self.batches[1][1][5] = wrong_y
        if wrong_group is not None:
            self.batches[1][2][5] = wrong_group

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize("wrong", [K, -1])
@pytest.mark.parametrize("how", ["DataLoader", "batch_size=None", "SplitLoader", "validation"])
def test_a_wrong_label_in_a_later_batch_is_named_before_the_first_step(how, wrong):
    """It used to be an IndexError from inside the loss, after the weights had moved."""
    split, model = make_split(), make_model()
    group, y = split.group, split.y.clone()
    y[-1] = wrong
    bad, options = Split(split.x, y, group), {}
    loader = {
        "DataLoader": lambda: DataLoader(TensorDataset(bad.x, bad.y, bad.group), batch_size=10),
        "batch_size=None": lambda: DataLoader(
            TensorDataset(bad.x, bad.y, bad.group), batch_size=None,
            sampler=ClassMixBatchSampler(group, 10, class_prior(group)),
        ),
        "SplitLoader": lambda: make_loader(bad),
        "validation": lambda: make_loader(split),
    }[how]()  # fmt: skip
    if how == "validation":
        options["validation"] = bad
    before = weights_of(model)
    with pytest.raises(
        ValueError, match=rf"{'validation' if options else 'loader'} must hold labels y .* got"
    ):
        run(model, loader, **options)
    assert torch.equal(weights_of(model), before)


def test_a_wrong_label_in_a_stream_is_named_not_an_index_error():
    with pytest.raises(ValueError, match=rf"labels y of the 3 classes .* got 0\.\.{K}"):
        run(loader=Stream(wrong_y=K))
    with pytest.raises(ValueError, match=rf"groups 0\.\.num_groups-1 with num_groups = 3, got 0\.\.{K}"):
        run(loader=Stream(wrong_group=K))


def test_a_wrong_group_of_a_known_set_is_named_before_the_first_step():
    split, model = make_split(), make_model()
    y = split.y.clone()
    y[-1] = 7
    before = weights_of(model)
    with pytest.raises(ValueError, match="must hold groups"):
        run(model, DataLoader(TensorDataset(split.x, y), batch_size=10))
    assert torch.equal(weights_of(model), before)


def test_labels_that_the_set_changes_on_the_way_are_not_judged_by_what_it_holds():
    """A collate_fn of one's own may number the classes anew."""
    split = make_split()

    def from_zero(items):
        x, y = zip(*items, strict=True)
        return torch.stack(x), torch.stack(y) - 10

    loader = DataLoader(TensorDataset(split.x, split.y + 10), batch_size=10, collate_fn=from_zero)
    assert len(run(loader=loader)) == 2


def test_frozen_normalisation_rests_and_trainable_one_does_not():
    model = make_model(0, nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.BatchNorm1d(6, affine=False))
    frozen, free = model[1], model[4]
    frozen.requires_grad_(False)
    run(model)
    assert frozen.num_batches_tracked == 0 and not frozen.training
    assert free.num_batches_tracked == 18 and free.training


def test_a_round_is_drawn_whole_for_an_accelerator_and_in_turn_for_the_cpu():
    """So that the numbers of its rows are sent once a round; the batches are the same."""
    split = make_split()
    one, other = make_loader(split), make_loader(split)
    in_turn = [rows.clone() for rows in one._rows(torch.device("cpu"))]
    sent = []
    for rows in other._rows(torch.device("meta")):
        sent.append(rows.shape)
    assert sent == [rows.shape for rows in in_turn]
    assert all(rows._base is not None for rows in other._rows(torch.device("meta"))), "views of what was sent"
    lists = SplitLoader(split, BatchSampler(RandomSampler(split.y), 7, drop_last=False))
    assert sum(len(rows) for rows in lists._rows(torch.device("meta"))) == 90


def test_example_loss_that_is_a_mean_is_named():
    with pytest.raises(ValueError, match=r"example_loss must give one loss per example, \(10,\), got \(\)"):
        run(example_loss=F.cross_entropy)


# ---- how long ------------------------------------------------------------------------------------------------


def test_max_steps_stops_in_mid_pass():
    model, twin = make_model(), make_model()
    history = run(model, rounds=5, max_steps=12)
    assert [s.steps for s in history] == [9, 12]
    assert history[1].class_count.sum() == 30, "three batches of ten"
    optimizer = sgd(twin)
    batches = make_loader(make_split())
    for number, batch in enumerate([*batches, *batches]):
        if number < 12:
            optimizer.zero_grad()
            F.cross_entropy(twin(batch.x), batch.y).backward()
            optimizer.step()
    assert torch.equal(weights_of(model), weights_of(twin)), "the loop written by hand"


@pytest.mark.parametrize(("max_steps", "steps"), [(1, [1]), (9, [9]), (18, [9, 18]), (99, [9, 18, 27])])
def test_rounds_or_max_steps_whichever_comes_first(max_steps, steps):
    assert [s.steps for s in run(rounds=3, max_steps=max_steps)] == steps


def test_stopping_to_iterate_stops_training():
    model, sampler = make_model(), ClassMixBatchSampler(make_split().y, 10, [1 / 3] * 3)
    stream = rounds(
        model, SplitLoader(make_split(), sampler), F.cross_entropy, sgd(model), num_groups=K, rounds=10**9
    )
    before = weights_of(model)
    assert next(stream).round == 0 and next(stream).round == 1
    after = weights_of(model)
    stream.close()
    assert torch.equal(after, weights_of(model)) and not torch.equal(before, after)


# ---- hooks ----------------------------------------------------------------------------------------------------


def test_hook_acts_before_the_next_round_and_after_validation():
    split = make_split()
    sampler = ClassMixBatchSampler(split.y, 10, [1.0, 0.0, 0.0])
    events = []

    def score(outputs, y):
        events.append("score")
        return 0.0

    def hook(stats):
        events.append(f"hook {stats.round}")
        sampler.set_mix(torch.eye(K)[stats.round + 1])

    history = run(
        loader=SplitLoader(split, sampler), rounds=2, on_round_end=hook, validation=split, score=score
    )
    assert events == ["score", "hook 0", "score", "hook 1"]
    assert [s.class_count.argmax().item() for s in history] == [0, 1]


def test_error_in_a_hook_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        run(on_round_end=lambda stats: 1 / 0)


@pytest.mark.parametrize("progress", [False, True])
def test_progress_bar_only_if_asked(progress, capsys):
    run(progress=progress)
    out, err = capsys.readouterr()
    assert ("rounds" in out + err) == progress


# ---- early stopping -------------------------------------------------------------------------------------------


def scores(*values):
    """A score that goes through given values, one a round."""
    stream = iter(values)
    return lambda outputs, y: next(stream)


def test_early_stopping_waits_patience_rounds_and_puts_the_best_weights_back():
    model, seen = make_model(), []
    history = run(
        model, rounds=20, validation=make_split(30), patience=3,
        score=scores(0.1, 0.5, 0.4, 0.6, 0.6, 0.2, 0.3, 0.9),
        on_round_end=lambda stats: seen.append(weights_of(model)),
    )  # fmt: skip
    assert [s.score for s in history] == [0.1, 0.5, 0.4, 0.6, 0.6, 0.2, 0.3], (
        "an equal score is no better one"
    )
    assert torch.equal(weights_of(model), seen[3])


def test_best_weights_come_back_also_when_rounds_run_out():
    model, held = make_model(), make_split(30, seed=2)

    def score(outputs, y):
        return -abs(F.cross_entropy(outputs, y).item() - 1.0)  # best somewhere on the way

    history = run(model, rounds=15, validation=held, patience=15, score=score)
    best = max(s.score for s in history)
    assert score(predict(model, held.x), held.y) == pytest.approx(best)
    assert best > history[-1].score + 1e-3


def test_buffers_come_back_with_the_best_weights():
    model, seen = make_model(0, nn.BatchNorm1d(6)), []
    run(
        model, rounds=4, validation=make_split(30), patience=4, score=scores(1, 0, 0, 0),
        on_round_end=lambda stats: seen.append(model[1].running_mean.clone()),
    )  # fmt: skip
    assert torch.equal(model[1].running_mean, seen[0])


def test_score_is_minus_the_mean_example_loss_by_default():
    model, held = make_model(), make_split(30, seed=2)
    history = run(model, rounds=3, validation=held, patience=3)
    assert history[-1].score == pytest.approx(
        -F.cross_entropy(predict(model, held.x), held.y).item(), rel=1e-5
    )

    split = make_split()._replace(y=torch.randn(90, 1))
    (stats,) = run(
        make_model(outputs=1), make_loader(split), F.mse_loss,
        rounds=1, validation=split, patience=1, example_loss=squared_error_each,
    )  # fmt: skip
    assert stats.score < 0


def test_without_patience_the_last_weights_stay():
    model, seen = make_model(), []
    run(
        model, rounds=3, validation=make_split(30), score=scores(3, 2, 1),
        on_round_end=lambda stats: seen.append(weights_of(model)),
    )  # fmt: skip
    assert torch.equal(weights_of(model), seen[-1])


def test_score_that_is_never_a_number_keeps_the_last_weights():
    history = run(rounds=5, validation=make_split(30), patience=2, score=lambda *_: float("nan"))
    assert len(history) == 2


# ---- schedulers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "rate"), [("step", 0.5**18), ("round", 0.5**2)])
def test_scheduler_is_stepped_where_it_should_be(every, rate):
    model = make_model()
    optimizer = sgd(model, 1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    run(model, optimizer=optimizer, scheduler=scheduler, scheduler_every=every)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("patience", [None, 50])
def test_plateau_scheduler_follows_the_validation_loss_whatever_its_mode(mode, patience):
    """Falling validation loss: no reduction, also where early stopping makes minus the loss the score."""
    model = make_model()
    optimizer = sgd(model, 0.05)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, factor=0.1, patience=0)
    history = run(
        model, optimizer=optimizer, rounds=5, validation=make_split(), scheduler=scheduler,
        scheduler_every="round", patience=patience,
    )  # fmt: skip
    losses = [s.validation_loss.mean().item() for s in history]
    assert losses == sorted(losses, reverse=True)
    assert optimizer.param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(("values", "rate"), [((1, 2, 3), 1.0), ((3, 2, 1), 0.25)])
def test_plateau_scheduler_follows_the_score_larger_being_better(mode, values, rate):
    model = make_model()
    optimizer = sgd(model, 1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, factor=0.5, patience=0)
    run(
        model, optimizer=optimizer, rounds=3, validation=make_split(), score=scores(*values),
        scheduler=scheduler, scheduler_every="round",
    )  # fmt: skip
    assert optimizer.param_groups[0]["lr"] == rate


# ---- bad input ------------------------------------------------------------------------------------------------


def plateau(**options):
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(sgd(make_model()))
    return {"scheduler": scheduler, **options}


BAD = {
    "rounds": ({"rounds": 0}, "rounds"),
    "num_groups": ({"num_groups": 0}, "num_groups"),
    "max_steps": ({"max_steps": 0}, "max_steps"),
    "scheduler_every": ({"scheduler_every": "epoch"}, "scheduler_every"),
    "score alone": ({"score": scores(1)}, "score needs a validation part"),
    "patience alone": ({"patience": 2}, "patience"),
    "patience 0": ({"patience": 0, "validation": make_split()}, "patience"),
    "plateau every step": (plateau(validation=make_split()), "ReduceLROnPlateau"),
    "plateau alone": (plateau(scheduler_every="round"), "ReduceLROnPlateau"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_bad_argument_raises_before_any_training(options, message):
    model = make_model()
    before = weights_of(model)
    with pytest.raises(ValueError, match=message):
        run(model, **options)
    assert torch.equal(before, weights_of(model))


def test_rounds_checks_its_arguments_when_called_not_at_the_first_round():
    model = make_model()
    with pytest.raises(ValueError, match="rounds"):
        rounds(model, make_loader(make_split()), F.cross_entropy, sgd(model), num_groups=K, rounds=0)


def test_unknown_option_is_named():
    with pytest.raises(TypeError, match=r"unknown arguments \['epochs'\]"):
        run(epochs=3)


def test_loss_that_becomes_nan_names_the_round():
    calls = 0

    def breaks(outputs, y):
        nonlocal calls
        calls += 1
        return F.cross_entropy(outputs, y) * (float("nan") if calls > 13 else 1.0)

    seen = []
    with pytest.raises(ValueError, match="loss_fn gave nan in round 1"):
        run(loss_fn=breaks, rounds=5, on_round_end=seen.append)
    assert len(seen) == 1, "no hook sees the broken round"


def test_exploding_loss_raises():
    model = make_model()
    with pytest.raises(ValueError, match="lower the learning rate"):
        run(model, optimizer=sgd(model, 1e30), rounds=3)


# ---- devices --------------------------------------------------------------------------------------------------

cuda = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
)


@pytest.mark.parametrize("device", ["cpu", cuda])
def test_training_runs_on_the_device_of_the_model(device):
    split, held = make_split().to(device), make_split(30, seed=1)
    model = make_model().to(device)
    weight = torch.ones(90, dtype=torch.float64)
    history = run(model, make_loader(split, weight=lambda: weight), validation=held, patience=2, rounds=3)
    assert history[-1].class_loss.device.type == "cpu"
    assert next(model.parameters()).device.type == predict(model, held.x).device.type == device


@pytest.mark.parametrize("device", ["cpu", cuda])
def test_dataloader_batches_are_moved_to_the_device_of_the_model(device):
    split = make_split()
    sampler = ClassMixBatchSampler(split.y, 15, class_prior(split.y))
    loader = DataLoader(TensorDataset(split.x, split.y), sampler=sampler, batch_size=None)
    history = run(make_model().to(device), loader)
    assert history[0].class_count.tolist() == [30, 30, 30]


@pytest.mark.parametrize("device", ["cpu", cuda])
def test_rows_gather_on_any_device(device):
    x = torch.randn(90, 4, device=device)
    rows = next(iter(ClassMixBatchSampler(make_split().y, 10, [1 / 3] * 3)))
    assert torch.equal(x[rows].cpu(), x.cpu()[torch.tensor(list(rows))])


def test_device_is_the_one_named_or_the_best_that_has_float64(monkeypatch):
    assert pick_device("cpu") == torch.device("cpu") == pick_device(torch.device("cpu"))
    assert pick_device("mps").type == "mps"
    for there, expected in (((True, True), "cuda"), ((False, True), "cpu"), ((False, False), "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there[0])
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=there: there[1])
        assert pick_device() == torch.device(expected)


def test_task_trains_end_to_end():
    task = gaussian_classes((0.8, 0.2), num_train=400, num_held=200, seed=0)
    model = task.model()
    sampler = ClassMixBatchSampler(task.train.group, 20, [0.5, 0.5])
    history = fit(
        model, SplitLoader(task.train, sampler), F.cross_entropy, torch.optim.Adam(model.parameters(), 0.05),
        rounds=10, num_groups=2, validation=task.validation,
    )  # fmt: skip
    assert history[-1].validation_loss.mean() < 0.5
