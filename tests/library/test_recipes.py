"""Every row of the table runs, acts where it says it acts, and nowhere else."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from course_lib import data, recipes
from course_lib import recipes as runs
from course_lib.experiments import execute
from course_lib.recipes import RECIPES, Budget, start, train
from course_lib.training import predict

BUDGET = Budget(steps=24, batch_size=20, steps_per_round=4)


@pytest.fixture(scope="module")
def digits():
    return data.digits(20, seed=0)


@pytest.fixture(scope="module")
def cancer():
    return data.rare_cancer(seed=0)


@pytest.fixture(scope="module")
def numbers():
    """A small regression task with two groups of unequal size."""
    generator = torch.Generator().manual_seed(0)

    def part(counts):
        group = torch.repeat_interleave(torch.arange(2), torch.tensor(counts))
        x = torch.randn(len(group), 3, generator=generator)
        return data.Split(x, x.sum(1, keepdim=True) + group[:, None], group)

    return data.Task(
        name="sums", kind="regression", train=part([90, 10]), validation=part([45, 5]), test=part([45, 5]),
        num_groups=2, group_names=("many", "few"), target_prior=torch.tensor([0.9, 0.1]),
        model=partial(nn.Linear, 3, 1), example_loss=data.squared_error_each,
    )  # fmt: skip


def weights_of(run):
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def finished(recipe, task, budget=BUDGET, seed=0):
    run = start(recipe, task, budget, seed)
    stats = list(train(run))
    return run, stats


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("kind", ["digits", "cancer"])
def test_every_recipe_trains_on_both_kinds_of_task(name, kind, request):
    task = request.getfixturevalue(kind)
    recipe = RECIPES[name]
    trained = execute(recipe, task, BUDGET)
    assert trained.test.shape == (len(task.test.x), task.num_groups)
    assert torch.isfinite(trained.test).all()
    decision = recipe.decide(trained.runs[0], trained.validation, task.validation.y)
    predicted = decision.decide(trained.test)
    assert predicted.shape == task.test.y.shape and predicted.max() < task.num_groups


@pytest.mark.parametrize("name", [name for name, row in RECIPES.items() if "regression" in row.kinds])
def test_every_group_recipe_trains_on_regression(name, numbers):
    trained = execute(RECIPES[name], numbers, BUDGET)
    assert trained.test.shape == numbers.test.y.shape and torch.isfinite(trained.test).all()


def test_a_recipe_refuses_a_kind_it_is_not_meant_for(numbers):
    with pytest.raises(ValueError, match="focal is meant for"):
        start(RECIPES["focal"], numbers, BUDGET)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_exactly_the_budget_of_steps(name, digits):
    recipe, taken = RECIPES[name], 0
    for member in range(recipe.members):
        *_, last = train(start(recipe, digits, BUDGET, member=member), validation=False)
        taken += last.steps
    assert taken == BUDGET.steps


def test_recipes_share_initial_weights_and_first_batch(digits):
    same = [
        n for n, row in RECIPES.items() if row.resample is recipes.as_is and row.batches is recipes.prior_mix
    ]
    first = {name: start(RECIPES[name], digits, BUDGET, seed=3) for name in same}
    reference = first["plain"]
    rows = next(iter(reference.sampler))
    for name, run in first.items():
        own = weights_of(run)  # LDAM's cosine head comes last and has no bias
        assert torch.equal(own, weights_of(reference)[: len(own)]), name
        if name != "plain":
            assert torch.equal(next(iter(run.sampler)), rows), name
    assert not torch.equal(weights_of(start(RECIPES["plain"], digits, BUDGET, seed=4)), weights_of(reference))


def test_a_run_can_be_repeated_bit_for_bit(digits):
    for name in ("learn2mix", "importance", "mixup", "alternating", "smote"):
        one, other = (weights_of(finished(RECIPES[name], digits)[0]) for _ in range(2))
        assert torch.equal(one, other), name


def test_learn2mix_at_rate_zero_is_plain_training_bit_for_bit(digits):
    still = RECIPES["learn2mix"].vary(mixing_rate=0.0)
    assert torch.equal(
        weights_of(finished(still, digits)[0]), weights_of(finished(RECIPES["plain"], digits)[0])
    )


def test_learn2mix_moves_the_mix_toward_the_class_wise_loss(digits):
    recipe = RECIPES["learn2mix"].vary(mixing_rate=1.0)
    run = start(recipe, digits, BUDGET)
    stats = next(train(run))
    wanted = stats.class_loss / stats.class_loss.sum()
    assert torch.allclose(run.sampler.mix, wanted)
    assert torch.allclose(run.control.mix, wanted)


@pytest.mark.parametrize("source", ["round", "last_batch", "validation"])
def test_learn2mix_follows_the_losses_it_is_told_to(source, digits):
    recipe = RECIPES["learn2mix"].vary(mixing_rate=1.0, loss_from=source)
    run = start(recipe, digits, BUDGET)
    stats = next(train(run))
    loss = {"round": stats.class_loss, "last_batch": stats.last_loss, "validation": stats.validation_loss}[
        source
    ]
    met = torch.isfinite(loss)
    assert torch.allclose(
        run.sampler.mix[met] / run.sampler.mix[met].sum(), (loss[met] / loss[met].sum()).double()
    )


def test_learn2mix_can_update_every_few_batches(digits):
    recipe = RECIPES["learn2mix"]
    often = replace(recipe, batches=partial(recipes.prior_mix, batches_per_update=4))
    stats = finished(often, digits)[1]
    assert [s.steps for s in stats] == [4, 8, 12, 16, 20, 24]


def test_an_unknown_loss_source_is_named(digits):
    with pytest.raises(ValueError, match="loss_from must be one of"):
        finished(RECIPES["learn2mix"].vary(loss_from="test"), digits)


def test_weighting_and_mixing_have_the_same_expected_weight_per_class(digits):
    run = start(RECIPES["class_weights"], digits, BUDGET)
    share = torch.zeros(10).index_add_(0, run.train.group, run.weight) / len(run.train.group)
    assert torch.allclose(share, torch.full((10,), 0.1), atol=1e-5)
    assert run.weight.mean().item() == pytest.approx(1, abs=1e-5)


def test_group_dro_raises_the_weight_of_the_class_with_the_largest_loss(digits):
    recipe = RECIPES["group_dro"]
    run = start(recipe, digits, BUDGET)
    stats = next(train(run))
    worst, best = stats.class_loss.nan_to_num(0).argmax(), stats.class_loss.nan_to_num(9).argmin()
    weight = {int(k): run.weight[run.train.group == k][0] for k in (worst, best)}
    assert weight[int(worst)] > weight[int(best)]
    expected = torch.zeros(()).double() + (run.weight.double()).mean()
    assert expected.item() == pytest.approx(1, abs=1e-5)  # q / prior averages 1 under the prior


def test_importance_weights_undo_the_sampling(digits):
    run = start(RECIPES["importance"].vary(score="loss"), digits, BUDGET)
    next(train(run))
    q = run.sampler.probability
    assert (q * run.weight.double()).sum().item() == pytest.approx(1, abs=1e-5)  # E[1 / (N q)] = 1
    loss = recipes.example_losses(run)
    assert q[loss.argmax()] == q.max()


def test_curriculum_draws_only_easy_examples_at_first_and_all_at_last(digits):
    recipe = RECIPES["curriculum"]
    run = start(recipe, digits, Budget(steps=100, batch_size=20, steps_per_round=20))
    stream = train(run)
    next(stream)
    drawn = run.sampler.probability > 0
    loss = recipes.example_losses(run)
    assert 0.3 <= drawn.double().mean() < 1
    assert loss[drawn].max() <= loss[~drawn].min() + 1e-12
    list(stream)
    assert (run.sampler.probability > 0).all()


def test_a_balanced_curriculum_keeps_some_of_every_class(digits):
    recipe = RECIPES["curriculum"].vary(balanced=True)
    run = start(recipe, digits, Budget(steps=100, batch_size=20, steps_per_round=20))
    next(train(run))
    assert set(run.train.group[run.sampler.probability > 0].tolist()) == set(range(10))


def test_alternating_shows_one_class_per_batch_and_all_classes_in_turn(digits):
    run = start(RECIPES["alternating"].vary(steps_per_visit=2), digits, BUDGET)
    seen = [run.train.group[rows].unique().tolist() for rows in run.sampler]
    assert all(len(classes) == 1 for classes in seen)
    assert seen[0] == seen[1] and seen[2] == seen[3] and seen[0] != seen[2]


def test_ldam_defers_its_weights(digits):
    recipe = RECIPES["ldam"]
    run = start(recipe, digits, Budget(steps=40, batch_size=20, steps_per_round=4))
    history = [run.weight is not None for _ in train(run)]
    assert history == [False] * 7 + [True] * 3


def test_ldam_needs_a_last_linear_layer(digits):
    odd = replace(digits, model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Identity()))
    with pytest.raises(TypeError, match="ends in"):
        start(RECIPES["ldam"], odd, BUDGET)


def test_resampling_touches_the_training_part_only(digits):
    for name in ("random_oversample", "random_undersample", "smote"):
        run = start(RECIPES[name], digits, BUDGET)
        counts = torch.bincount(run.train.group)
        assert counts.min() == counts.max(), name
        assert run.task.validation is digits.validation and run.task.test is digits.test


def test_members_of_an_ensemble_differ_and_share_the_budget(digits):
    trained = execute(RECIPES["balanced_ensemble"], digits, Budget(steps=50, batch_size=20))
    weights = [weights_of(run) for run in trained.runs]
    assert len(weights) == 5 and not torch.equal(weights[0], weights[1])
    chance = torch.stack([predict(r.model, digits.test.x).double().softmax(1) for r in trained.runs]).mean(0)
    assert torch.allclose(trained.test.softmax(1), chance, atol=1e-6)


def test_vary_changes_one_parameter_and_keeps_the_rest(digits):
    focal = RECIPES["focal"].vary(gamma=0.0)
    assert torch.allclose(
        weights_of(finished(focal, digits)[0]), weights_of(finished(RECIPES["plain"], digits)[0])
    )


def test_the_table_says_something_of_every_row():
    table = recipes.table()
    assert list(table.index) == list(RECIPES)
    for name, row in table.iterrows():
        assert row["batch"] and row["loss"] and row["decision"] and row["data"] and row["when"], name
    assert table.loc["learn2mix", "feedback"] and not table.loc["plain", "feedback"]
    assert all(row.source for row in RECIPES.values() if row.name != "plain")


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch_size": -1}, {"steps_per_round": 0}])
def test_a_budget_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="must be >= 1"):
        Budget(**{"steps": 1, **wrong})


def test_a_run_knows_its_rounds(digits):
    run = start(RECIPES["plain"], digits, Budget(steps=50, batch_size=20))
    assert run.num_rounds == -(-50 // run.steps_per_round)
    assert isinstance(run, runs.Run)


def test_a_chosen_mix_is_kept(digits):
    shares = (0.55, *[0.05] * 9)
    run = start(replace(RECIPES["uniform"], batches=partial(recipes.chosen_mix, mix=shares)), digits, BUDGET)
    drawn = torch.cat([run.train.group[rows] for rows in run.sampler])
    assert (drawn == 0).double().mean().item() == pytest.approx(0.55, abs=0.02)


def test_prior_correction_restores_the_probabilities_that_the_mix_bent():
    """On exact posteriors: training on a uniform mix multiplies the odds; the correction divides them again."""
    task = data.gaussian_classes((0.9, 0.1), num_train=4000, num_held=4000, seed=0)
    budget = Budget(steps=600, batch_size=200, optimizer=partial(torch.optim.Adam, lr=0.05))
    trained = execute(RECIPES["uniform"], task, budget)
    truth = task.posterior(task.test.x)[:, 1]
    corrected = recipes.mix_corrected(trained.runs[0], trained.validation, task.validation.y)
    bent = trained.test.softmax(1)[:, 1]
    restored = corrected.adjust(trained.test).softmax(1)[:, 1]
    assert (bent - truth).abs().mean() > 5 * (restored - truth).abs().mean()
    assert abs(float(restored.mean()) - 0.1) < 0.02 < abs(float(bent.mean()) - 0.1)


def test_post_hoc_adjustment_and_prior_correction_agree_for_a_uniform_target(digits):
    trained = execute(RECIPES["plain"], digits, BUDGET)
    run, held, y = trained.runs[0], trained.validation, digits.validation.y
    one = recipes.adjusted_logits(run, held, y).decide(trained.test)
    other = recipes.prior_corrected(run, held, y).decide(trained.test)
    assert torch.equal(one, other)


def test_group_methods_survive_a_class_the_round_did_not_meet(digits):
    """Batches of 2 for 3 steps cannot meet ten classes."""
    for name in ("learn2mix", "group_dro"):
        run = start(RECIPES[name], digits, Budget(steps=15, batch_size=2, steps_per_round=3))
        stats = list(train(run))
        assert any((s.class_count == 0).any() for s in stats)
        assert torch.isfinite(weights_of(run)).all() and torch.isfinite(run.sampler.mix).all()


def test_class_weights_on_groups_are_the_group_weighted_mse(numbers):
    from course_lib.losses import group_weighted_mse

    run = start(RECIPES["class_weights"], numbers, BUDGET)
    outputs = run.model(numbers.train.x)
    mine = (run.loss(outputs, numbers.train.y, reduction="none") * run.weight).mean()
    per_group = torch.tensor([run.weight[numbers.train.group == g][0] for g in (0, 1)])
    theirs = group_weighted_mse(
        outputs, numbers.train.y, numbers.train.group, per_group, normalise="batch_size"
    )
    torch.testing.assert_close(mine, theirs)
