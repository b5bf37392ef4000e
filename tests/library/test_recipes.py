"""Every row of the table runs, acts where it says it acts, and nowhere else."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from course_lib import data, recipes
from course_lib import recipes as runs
from course_lib.experiments import execute
from course_lib.models import MLP
from course_lib.recipes import RECIPES, Budget, start, train
from course_lib.training import RoundStats, predict

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


def test_losses_on_validation_are_there_also_where_nobody_measures_them(digits):
    """compare trains without a validation pass; the recipe then makes its own."""
    recipe = RECIPES["learn2mix"].vary(loss_from="validation")
    one, other = start(recipe, digits, BUDGET), start(recipe, digits, BUDGET)
    list(train(one, validation=False)), list(train(other, validation=True))
    assert torch.allclose(one.sampler.mix, other.sampler.mix) and not torch.equal(one.sampler.mix, one.prior)
    execute(recipe, digits, BUDGET)


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


def group_dro_by_hand(losses, prior, step, first):
    """Algorithm 1's update of q, in plain floating point, for groups that are always met."""
    q, path = first.clone(), []
    for loss in losses:
        q = q * torch.exp(step * loss)
        q = q / q.sum()
        path.append(q / prior)
    return path


@pytest.mark.parametrize("first", ["uniform", "prior"])
@pytest.mark.parametrize("task", ["cancer", "numbers"])
def test_group_dro_is_the_update_of_algorithm_1_round_by_round(first, task, request):
    """Restarting from the first q in every round, or moving by another step, would not pass."""
    task = request.getfixturevalue(task)
    run = start(RECIPES["group_dro"].vary(step=0.3, first=first), task, BUDGET)
    stream, losses, weights = train(run), [], []
    begun = torch.full((2,), 0.5).double() if first == "uniform" else run.prior
    for stats in stream:
        assert (stats.class_count > 0).all()
        losses.append(stats.class_loss)
        weights.append(torch.stack([run.weight[run.train.group == k][0] for k in (0, 1)]))
    for mine, theirs in zip(weights, group_dro_by_hand(losses, run.prior, 0.3, begun), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-6)


def test_group_dro_weighs_groups_alike_from_the_first_step_on(cancer):
    run = start(RECIPES["group_dro"], cancer, BUDGET)
    train(run)  # not one step taken yet
    total = torch.zeros(2).index_add_(0, run.train.group, run.weight)
    assert torch.allclose(total, total.mean().expand(2)) and run.weight.mean().item() == pytest.approx(
        1, abs=1e-5
    )


def test_group_dro_can_move_in_every_step(cancer):
    run = start(RECIPES["group_dro"].vary(batches_per_update=1, step=0.01), cancer, BUDGET)
    assert [s.steps for s in train(run)] == list(range(1, BUDGET.steps + 1))


def stats_of(class_loss, class_count=None, steps=4):
    loss = torch.tensor(class_loss, dtype=torch.float64)
    count = torch.ones(len(loss), dtype=torch.long) if class_count is None else torch.tensor(class_count)
    return RoundStats(0, steps, 1.0, loss, count, loss, count)


def test_group_dro_bears_losses_whose_exponential_does_not_exist(cancer):
    """1420 and 1 are class losses of the course's own mean estimation; exp(0.5 * 1420) is infinite."""
    run = start(RECIPES["group_dro"], cancer, BUDGET)
    feedback = run.recipe.feedback(run)
    for losses in ([1420.0, 1.0], [1.0, 1e6], [1.0, 2.0]):
        feedback(stats_of(losses))
        assert torch.isfinite(run.weight).all() and run.weight.mean().item() == pytest.approx(1, rel=1e-4)
    assert run.weight[run.train.group == 1].min() > 1
    feedback(stats_of([2e6, 0.0]))
    assert run.weight[run.train.group == 0].min() > 1, "no share was lost for good"


def test_group_dro_keeps_the_share_of_a_class_that_the_round_did_not_meet(digits):
    run = start(RECIPES["group_dro"].vary(step=1.0), digits, BUDGET)
    feedback = run.recipe.feedback(run)

    def q():
        return torch.zeros(10).double().index_add_(0, run.train.group, run.weight.double()) / len(
            run.train.group
        )

    met = [1] * 9 + [0]
    feedback(stats_of([2.0, *[1.0] * 8, float("nan")], met))
    assert q()[9].item() == pytest.approx(0.1, abs=1e-6) and q().sum().item() == pytest.approx(1, abs=1e-6)
    assert (q()[0] / q()[1]).item() == pytest.approx(torch.e**1.0, rel=1e-5)
    before = q()
    feedback(stats_of([float("nan")] * 10, [0] * 10))
    assert torch.allclose(q(), before)


@pytest.mark.parametrize("score", ["gradient_bound", "loss"])
def test_importance_weights_undo_the_sampling_for_every_example(score, digits):
    run = start(RECIPES["importance"].vary(score=score), digits, BUDGET)
    next(train(run))
    q, n = run.sampler.probability, len(run.train.x)
    torch.testing.assert_close(run.weight.double(), 1 / (n * q), rtol=1e-6, atol=0)  # no square root of it
    value = recipes.example_losses(run) if score == "loss" else recipes.gradient_bounds(run)
    torch.testing.assert_close(q, 0.2 / n + 0.8 * value / value.sum())


def test_the_gradient_bound_is_the_length_of_the_gradient_at_the_scores(digits):
    """Of cross-entropy: softmax minus one-hot; doubling it bounds nothing more than it did."""
    run = start(RECIPES["importance"], digits, BUDGET)
    slope = predict(run.model, digits.train.x).softmax(1) - nn.functional.one_hot(digits.train.y, 10)
    torch.testing.assert_close(recipes.gradient_bounds(run), slope.norm(dim=1).double())


def test_importance_composes_with_weights_and_with_a_first_probability(digits):
    both = replace(RECIPES["importance"], weigh=recipes.inverse_frequency, batches=recipes.weighted_draw)
    run = start(both, digits, BUDGET)
    first = run.sampler.probability
    next(train(run))
    own = recipes.inverse_frequency(run)
    torch.testing.assert_close(run.weight.double() * run.sampler.probability, own.double() * first)


def test_importance_leaves_out_what_is_never_drawn(digits):
    """1 / (N q) of an example with q = 0 must not make a NaN of the class shares."""

    def half(run):
        first = (torch.arange(len(run.train.x)) % 2).double()
        return recipes.by_example(run, first / first.sum())

    run, _ = finished(replace(RECIPES["importance"], batches=half), digits)
    assert (run.sampler.probability[::2] == 0).all() and (run.weight[::2] == 0).all()
    assert torch.isfinite(run.weight).all() and run.trained_prior.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("scored_by", ["itself", "reference"])
def test_curriculum_draws_only_easy_examples_from_the_first_round_on(scored_by, digits):
    budget = Budget(steps=100, batch_size=20, steps_per_round=20)
    run = start(RECIPES["curriculum"].vary(scored_by=scored_by), digits, budget)
    if scored_by == "itself":
        loss = recipes.example_losses(run)  # of the untrained network
    else:
        twin = start(replace(RECIPES["plain"]), digits, budget)
        list(train(twin))
        loss = recipes.example_losses(twin)
    stream = train(run)
    drawn = run.sampler.probability > 0
    assert drawn.double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert loss[drawn].max() <= loss[~drawn].min() + 1e-12
    next(stream)
    loss = recipes.example_losses(run) if scored_by == "itself" else loss
    drawn = run.sampler.probability > 0
    assert drawn.double().mean().item() == pytest.approx(0.3 + 0.7 * 20 / 70, abs=0.01)
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


def test_the_order_of_alternating_classes_has_a_stream_of_its_own(digits):
    """Neither the same for every seed, nor drawn with the numbers that shuffle the examples."""
    orders = [start(RECIPES["alternating"], digits, BUDGET, seed).sampler.mix.argmax(1) for seed in (0, 1)]
    assert not torch.equal(*orders)
    run = start(RECIPES["alternating"], digits, BUDGET)
    generator = torch.Generator().manual_seed(run.streams["sampler"])
    assert not torch.equal(run.sampler.mix.argmax(1)[:10], torch.randperm(10, generator=generator))


def test_class_weights_are_inverse_frequencies_by_hand(numbers):
    """90 of one, 10 of the other: 1 / 0.9 and 1 / 0.1, divided by their mean over the training part, 2."""
    run = start(RECIPES["class_weights"], numbers, BUDGET)
    assert run.weight.unique().tolist() == pytest.approx([1 / 1.8, 5.0])
    half = start(RECIPES["class_weights"].vary(power=0.5), numbers, BUDGET)
    low, high = half.weight.unique().tolist()
    assert high / low == pytest.approx(3)


def test_effective_number_weights_by_hand(numbers):
    """E_n = (1 - .999^n) / .001: 86.1 for 90 examples and 9.955 for 10."""
    run = start(RECIPES["effective_number"], numbers, BUDGET)
    low, high = run.weight.unique().tolist()
    assert high / low == pytest.approx((1 - 0.999**90) / (1 - 0.999**10), rel=1e-5)
    assert run.weight.mean().item() == pytest.approx(1, abs=1e-6)
    low, high = start(RECIPES["effective_number"].vary(beta=0.9), numbers, BUDGET).weight.unique().tolist()
    assert high / low == pytest.approx((1 - 0.9**90) / (1 - 0.9**10), rel=1e-5)


def test_logit_adjustment_shifts_by_one_log_prior(cancer):
    run = start(RECIPES["logit_adjustment"], cancer, BUDGET)
    outputs, y = run.model(cancer.train.x[:20]), cancer.train.y[:20]
    by_hand = nn.functional.cross_entropy(outputs + run.prior.log().float(), y)
    torch.testing.assert_close(run.loss(outputs, y), by_hand)
    decision = recipes.adjusted_logits(run, outputs, y)
    torch.testing.assert_close(decision.adjust(outputs), outputs.double() - run.prior.log())


def test_ldam_takes_a_margin_of_the_scaled_cosine_by_hand(cancer):
    run = start(RECIPES["ldam"], cancer, BUDGET)
    outputs, y = run.model(cancer.train.x[:30]).detach(), cancer.train.y[:30]
    assert outputs.abs().max() <= 30 + 1e-4, "cosines times the scale"
    margin = torch.bincount(cancer.train.y).double() ** -0.25
    margin = (30 * 0.5 * margin / margin.max()).float()
    shifted = outputs - margin[y][:, None] * nn.functional.one_hot(y, 2)
    torch.testing.assert_close(run.loss(outputs, y), nn.functional.cross_entropy(shifted, y))


def relabelled(task, order):
    """The same task with class k called order[k]."""
    order = torch.tensor(order)

    def part(split):
        y = order[split.y]
        return data.Split(split.x, y, y)

    return replace(task, train=part(task.train), validation=part(task.validation), test=part(task.test))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_prioritised_class_is_the_rarest_wherever_its_label_stands(order, cancer):
    task = relabelled(cancer, order)
    rare = order[1]
    assert torch.bincount(task.train.y)[rare] == torch.bincount(task.train.y).min()
    run = start(RECIPES["prioritised"], task, BUDGET)
    assert recipes.rarest(run) == rare
    weight = [run.weight[task.train.y == k][0].item() for k in (rare, 1 - rare)]
    assert weight[0] == pytest.approx(4 * weight[1]) and run.weight.mean().item() == pytest.approx(
        1, abs=1e-5
    )
    assert start(RECIPES["auxiliary"], task, BUDGET).loss.keywords["prioritised_class"] == rare
    chosen = start(RECIPES["prioritised"].vary(group=1 - rare), task, BUDGET)
    assert chosen.weight[task.train.y == rare][0] < chosen.weight[task.train.y != rare][0]
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match=r"group must be in 0\.\.1"):
            start(RECIPES["auxiliary"].vary(group=wrong), task, BUDGET)


def test_the_rarest_class_has_examples(digits):
    few = replace(digits, train=digits.train.take((digits.train.y != 9).nonzero().flatten()))
    assert recipes.rarest(start(RECIPES["plain"], few, BUDGET)) == 8


def test_feedback_multiplies_what_weigh_gave(cancer):
    """LDAM's deferred weights and group DRO's used to overwrite the weights of the recipe."""
    both = replace(RECIPES["group_dro"], weigh=recipes.effective_number)
    run, alone = (start(recipe, cancer, BUDGET) for recipe in (both, RECIPES["group_dro"]))
    for one, other, stats in ((run, alone, stats_of([3.0, 1.0])),):
        feedback, theirs = one.recipe.feedback(one), other.recipe.feedback(other)
        feedback(stats), theirs(stats)
        torch.testing.assert_close(one.weight, recipes.effective_number(one) * other.weight)
    with pytest.raises(AttributeError):
        run.weight = None


def test_a_mix_starts_where_the_batches_put_it(digits):
    """learn2mix on uniform batches used to jump to the prior after the first round."""
    row = replace(RECIPES["learn2mix"], batches=recipes.uniform_mix).vary(mixing_rate=0.1)
    run = start(row, digits, BUDGET)
    stats = next(train(run))
    wanted = 0.9 * 0.1 + 0.1 * stats.class_loss / stats.class_loss.sum()
    assert torch.allclose(run.sampler.mix, wanted)


@pytest.mark.parametrize(
    ("name", "batches", "message"),
    [
        ("learn2mix", recipes.by_example, "moves a class mix"),
        ("crt", recipes.shuffled, "moves a class mix"),
        ("excess_loss_mix", recipes.one_class_at_a_time, "moves a class mix"),
        ("importance", recipes.prior_mix, "moves the probability of examples"),
        ("curriculum", recipes.uniform_mix, "moves the probability of examples"),
    ],
)
def test_feedback_on_batches_that_it_cannot_move_is_named(name, batches, message, digits):
    with pytest.raises(TypeError, match=f"feedback of {name} {message}"):
        train(start(replace(RECIPES[name], batches=batches), digits, BUDGET))


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


def test_the_mix_that_is_corrected_is_the_one_trained_on_not_the_coming_one(digits):
    run = start(RECIPES["learn2mix"].vary(mixing_rate=1.0), digits, BUDGET)
    used = []
    stream = train(run)
    while True:
        before = run.sampler.mix
        if next(stream, None) is None:
            break
        used.append(before)
        assert torch.allclose(run.trained_prior, before, rtol=1e-12)
    assert len(used) == 6 and not torch.allclose(run.sampler.mix, used[-1])
    outputs = predict(run.model, digits.validation.x)
    shift = recipes.mix_corrected(run, outputs, digits.validation.y).adjust(outputs) - outputs
    wanted = digits.target_prior.log() - used[-1].log()
    torch.testing.assert_close(shift, wanted.expand_as(shift), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", [0.9, 0.1]), ("shuffled", [0.9, 0.1]), ("uniform", [0.5, 0.5]), ("class_weights", [0.5, 0.5]),
        ("weighted_sampler", [0.5, 0.5]), ("importance", [0.9, 0.1]), ("alternating", [0.5, 0.5]),
        ("random_oversample", [0.5, 0.5]), ("power_mix", [0.75, 0.25]),
    ],
)  # fmt: skip
def test_the_class_shares_that_the_loss_sees_count_batches_and_weights(name, expected, numbers):
    run = start(RECIPES[name], numbers, BUDGET)
    list(train(run))
    assert run.trained_prior.tolist() == pytest.approx(expected, abs=1e-6)


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


def test_class_weights_on_groups_weigh_the_squared_error_of_each_group(numbers):
    run = start(RECIPES["class_weights"], numbers, BUDGET)
    outputs = run.model(numbers.train.x)
    mine = (run.loss(outputs, numbers.train.y, reduction="none") * run.weight).mean()
    each = (outputs - numbers.train.y).square().flatten(1).sum(1)
    of = [numbers.train.group == g for g in (0, 1)]  # 90 and 10 of 100, so 1 / 90 to 1 / 10
    assert (run.weight[of[1]][0] / run.weight[of[0]][0]).item() == pytest.approx(9)
    theirs = sum(run.weight[rows][0] * each[rows].sum() for rows in of) / len(each)
    torch.testing.assert_close(mine, theirs)


# ---- mixes, difficulty, excess loss, a new head, an estimated prior -----------------------------------------


@pytest.mark.parametrize(("q", "share"), [(1.0, 0.1), (0.5, 0.25), (0.0, 0.5)])
def test_power_mix_is_a_power_of_the_counts(q, share, numbers):
    """90 and 10: square roots 3 to 1."""
    run = start(RECIPES["power_mix"].vary(q=q), numbers, BUDGET)
    assert run.sampler.mix[1].item() == pytest.approx(share)
    with pytest.raises(ValueError, match="q must lie in"):
        start(RECIPES["power_mix"].vary(q=1.5), numbers, BUDGET)


def test_mixes_leave_out_a_class_without_examples(digits):
    few = replace(digits, train=digits.train.take((digits.train.y != 9).nonzero().flatten()))
    for name in (
        "uniform",
        "power_mix",
        "progressive_mix",
        "cdb",
        "excess_loss_mix",
        "group_dro",
        "learn2mix",
    ):
        run = start(RECIPES[name], few, BUDGET)
        list(train(run))
        assert torch.isfinite(weights_of(run)).all() and run.sampler.mix[9] == 0, name
        assert run.weight is None or torch.isfinite(run.weight).all()


def test_progressive_mix_goes_from_the_prior_to_uniform_in_a_straight_line(numbers):
    run = start(RECIPES["progressive_mix"], numbers, BUDGET)
    path = [run.sampler.mix[1].item()] + [run.sampler.mix[1].item() for _ in train(run)]
    assert path == pytest.approx([0.1 + 0.4 * t / 6 for t in range(7)])


def test_shuffled_batches_are_those_of_an_ordinary_loader(digits):
    run = start(RECIPES["shuffled"], digits, Budget(steps=42, batch_size=20))
    first = [list(rows) for rows in run.sampler]
    assert len(first) == 21 and {len(rows) for rows in first} == {20}
    assert len({row for rows in first for row in rows}) == 420, "no example twice in an epoch"
    counts = torch.stack([torch.bincount(digits.train.y[torch.tensor(rows)], minlength=10) for rows in first])
    assert counts[:, 0].double().std() > 1, "counts vary as chance has it"
    long = start(RECIPES["shuffled"], digits, Budget(steps=42, batch_size=20, steps_per_round=42))
    assert len(list(long.sampler)) == 42 == [s.steps for s in train(long)][-1]


def test_cdb_weighs_classes_by_their_difficulty_on_validation(digits):
    run = start(RECIPES["cdb"], digits, BUDGET)
    next(train(run))
    wrong = predict(run.model, digits.validation.x).argmax(1) != digits.validation.y
    d = torch.stack([wrong[digits.validation.y == k].double().mean() for k in range(10)])
    weight = torch.stack([run.weight[run.train.group == k][0] for k in range(10)]).double()
    torch.testing.assert_close(weight, 10 * d / d.sum())
    run = start(RECIPES["cdb"].vary(act="mix", tau=2.0), digits, BUDGET)
    next(train(run))
    wrong = predict(run.model, digits.validation.x).argmax(1) != digits.validation.y
    d = torch.stack([wrong[digits.validation.y == k].double().mean() for k in range(10)])
    torch.testing.assert_close(run.sampler.mix, d**2 / (d**2).sum())
    assert run.weight is None


def test_cdb_keeps_what_stood_when_nothing_is_wrong(digits):
    for act in ("weights", "mix"):
        run = start(RECIPES["cdb"].vary(act=act), digits, BUDGET)
        truth = predict(run.model, digits.validation.x).argmax(1)  # labels that the network gets right
        run.task = replace(digits, validation=data.Split(digits.validation.x, truth, truth))
        run.recipe.feedback(run)(stats_of([1.0] * 10))
        assert run.weight is None and torch.equal(run.sampler.mix, run.prior)


def test_excess_loss_mix_is_the_update_of_doremi(numbers):
    run = start(RECIPES["excess_loss_mix"].vary(step=0.2, smoothing=0.01), numbers, BUDGET)
    twin = start(RECIPES["plain"], numbers, BUDGET)
    list(train(twin))
    each = recipes.example_losses(twin)
    reference = torch.stack([each[numbers.train.group == k].mean() for k in (0, 1)])
    mix = run.prior
    for stats in train(run):
        mix = mix * torch.exp(0.2 * (stats.class_loss - reference).clamp_min(0))
        mix = 0.99 * mix / mix.sum() + 0.01 / 2
        torch.testing.assert_close(run.sampler.mix, mix)


def test_excess_loss_mix_gives_nothing_to_a_loss_that_cannot_fall():
    """Half of one class's labels are wrong: its loss stays high. learn2mix gives it ever more, this does not."""
    generator = torch.Generator().manual_seed(0)

    def part(n):
        y = torch.arange(n) % 3
        x = 3 * torch.eye(3)[y] + torch.randn(n, 3, generator=generator)
        noise = (y == 0) & (torch.rand(n, generator=generator) < 0.5)
        x[noise] = 3 * torch.eye(3)[torch.randint(1, 3, (int(noise.sum()),), generator=generator)]
        return data.Split(x, y, y)

    task = data.Task(
        "noise", "classification", part(600), part(300), part(300), 3, ("a", "b", "c"), torch.full((3,), 1 / 3),
        partial(nn.Linear, 3, 3),
    )  # fmt: skip
    budget = Budget(
        steps=600, batch_size=30, steps_per_round=20, optimizer=partial(torch.optim.Adam, lr=0.05)
    )
    mine, rival = (
        finished(row, task, budget)[0].sampler.mix[0].item()
        for row in (RECIPES["excess_loss_mix"].vary(step=0.5), RECIPES["learn2mix"].vary(mixing_rate=0.3))
    )
    assert mine < 0.36 < 0.4 < rival


def test_crt_trains_a_new_head_alone_on_uniform_batches(digits):
    task = replace(digits, model=partial(MLP, (64, 16, 10), norm="batch"))
    run = start(RECIPES["crt"].vary(start=0.5), task, BUDGET)
    body = [*run.model.children()][:-1]
    plain = start(RECIPES["plain"], task, BUDGET)
    states, plain_stream = [], train(plain)
    for stats in train(run):
        next(plain_stream)
        states.append([p.detach().clone() for p in nn.Sequential(*body).state_dict().values()])
        assert torch.allclose(run.sampler.mix, torch.full((10,), 0.1).double()) == (stats.steps >= 12)
        if stats.steps < 12:
            assert torch.equal(weights_of(run), weights_of(plain)), "plain training until then"
    assert all(map(torch.equal, states[2], states[-1])), "features and running statistics rest"
    assert not all(map(torch.equal, states[1], states[2]))
    head = run.model[-1]
    assert head.weight.requires_grad and not torch.allclose(head.weight, plain.model[-1].weight)
    assert set(run.optimizer.state) == set(head.parameters()), "no momentum of the layers at rest"


def test_tau_normalisation_divides_scores_by_the_length_of_their_weights(digits):
    run, _ = finished(RECIPES["tau_norm"], digits)
    outputs, last = predict(run.model, digits.test.x), run.model[-1]
    features = predict(nn.Sequential(*[*run.model.children()][:-1]), digits.test.x)
    for tau in (0.0, 0.5, 1.0):
        decision = recipes.tau_normalised(run, outputs, digits.validation.y, tau)
        scaled = last.weight / last.weight.norm(dim=1, keepdim=True) ** tau
        torch.testing.assert_close(
            decision.adjust(outputs).float(), features @ scaled.T, rtol=1e-3, atol=1e-4
        )
    with pytest.raises(ValueError, match="tau must be"):
        recipes.tau_normalised(run, outputs, digits.validation.y, -1.0)


def test_em_prior_finds_the_prior_of_unlabelled_data_and_restores_the_probabilities():
    """Trained on 90 : 10, used on 40 : 60; the examples there say so without their labels."""
    task = data.gaussian_classes((0.9, 0.1), num_train=6000, num_held=4000, seed=0)
    here = data.gaussian_classes((0.4, 0.6), num_train=100, num_held=6000, seed=1)
    task = replace(task, validation=here.validation, test=here.test, target_prior=here.target_prior)
    budget = Budget(steps=600, batch_size=200, optimizer=partial(torch.optim.Adam, lr=0.05))
    trained = execute(RECIPES["em_prior"], task, budget)
    decision = recipes.em_prior(trained.runs[0], trained.validation, task.validation.y)
    truth = here.posterior(here.test.x)[:, 1]
    before = (trained.test.softmax(1)[:, 1] - truth).abs().mean()
    after = (decision.adjust(trained.test).softmax(1)[:, 1] - truth).abs().mean()
    assert after < before / 5 and after < 0.03
