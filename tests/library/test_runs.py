"""Budgets, runs and seeds: what every recipe gets alike, what is refused, and how a parameter is found by its name."""

import copy
import gc
import inspect
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib import data, recipes
from course_lib.data import Split, Task
from course_lib.recipes import RECIPES, Budget, Recipe, start, train

SHORT = Budget(steps=24, batch_size=20, steps_per_round=4)


@pytest.fixture(scope="module")
def digits():
    return data.digits(20, seed=0)


@pytest.fixture(scope="module")
def blobs():
    """200 points in three classes of 130, 50 and 20, in the order 1, 2, 0 of frequency."""
    generator = torch.Generator().manual_seed(0)

    def part(*counts):
        y = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
        return Split(torch.randn(len(y), 4, generator=generator) + 2 * F.one_hot(y, 4), y, y)

    return Task(
        "blobs", "classification", part(20, 130, 50), part(20, 20, 20), part(20, 20, 20), 3, ("a", "b", "c"),
        torch.full((3,), 1 / 3), partial(nn.Linear, 4, 3),
    )  # fmt: skip


def weights_of(run):
    return nn.utils.parameters_to_vector(run.model.parameters()).detach().clone()


def trained(recipe, task, budget=SHORT, seed=0, member=0):
    run = start(recipe, task, budget, seed, member)
    list(train(run, validation=False))
    return run


# ---- budgets ------------------------------------------------------------------------------------------------


def test_a_budget_is_said_in_steps_or_in_epochs_of_the_original_training_part(digits, blobs):
    epochs = Budget(epochs=3, batch_size=20)
    assert epochs.steps_for(digits) == 3 * (423 // 20) and epochs.steps_for(blobs) == 30
    assert Budget(epochs=0.5, batch_size=20).steps_for(blobs) == 5
    assert Budget(epochs=7, batch_size=5000).steps_for(blobs) == 7, "an epoch is at least one step"
    assert Budget(steps=11).steps_for(digits) == 11
    for name in ("smote", "random_undersample"):  # their training part has another size
        assert start(RECIPES[name], digits, epochs).steps == 63


@pytest.mark.parametrize("wrong", [{}, {"steps": 3, "epochs": 1}])
def test_a_budget_takes_exactly_one_of_steps_and_epochs(wrong):
    with pytest.raises(ValueError, match="one of steps and epochs"):
        Budget(**wrong)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"epochs": 0}, ValueError), ({"epochs": -1}, ValueError), ({"epochs": float("nan")}, ValueError),
        ({"epochs": True}, TypeError), ({"epochs": "3"}, TypeError), ({"steps": 2.5}, TypeError),
        ({"steps": 5, "batch_size": 2.0}, TypeError), ({"steps": True}, TypeError), ({"steps": 0}, ValueError),
    ],
)  # fmt: skip
def test_a_budget_of_no_sensible_size_is_named(wrong, error):
    with pytest.raises(error, match=next(k for k in reversed(wrong))):
        Budget(**wrong)


def test_whole_numbers_of_numpy_make_the_same_budget():
    assert Budget(np.int64(5), np.int32(2)) == Budget(5, 2) and type(Budget(np.int64(5)).steps) is int


FEEDBACK = [name for name, row in RECIPES.items() if row.feedback is not recipes.no_feedback]


@pytest.mark.parametrize("name", FEEDBACK)
def test_feedback_that_cannot_act_is_refused_naming_both_numbers(name, digits):
    """A round of 21 steps in a run of 24: the method would be plain to the last digit, and nobody would know."""
    with pytest.raises(ValueError, match=rf"{name} acts .* 21 steps and the run has 24: .*steps_per_round=2"):
        start(RECIPES[name], digits, Budget(steps=24, batch_size=20))
    start(RECIPES[name], digits, Budget(steps=24, batch_size=20, steps_per_round=5))
    with pytest.raises(ValueError, match="the run has 24"):
        start(RECIPES[name], digits, Budget(steps=24, batch_size=20, steps_per_round=6))


@pytest.mark.parametrize("name", sorted(set(RECIPES) - set(FEEDBACK)))
def test_recipes_without_feedback_bear_a_budget_below_one_round(name, digits):
    assert trained(RECIPES[name], digits, Budget(steps=7, batch_size=20)).steps in (7, 2)


def test_the_rounds_that_count_are_those_of_a_member(digits):
    recipe = replace(RECIPES["learn2mix"], members=3)
    with pytest.raises(ValueError, match="the run has 8"):
        start(recipe, digits, SHORT)


# ---- members ------------------------------------------------------------------------------------------------


def test_members_share_the_steps_to_the_last_one(blobs):
    recipe = replace(RECIPES["plain"], members=5)
    taken = [list(train(start(recipe, blobs, Budget(steps=23), member=m)))[-1].steps for m in range(5)]
    assert taken == [5, 5, 5, 4, 4]


def test_a_member_that_there_is_not_and_a_budget_too_small_to_share_are_refused(blobs):
    with pytest.raises(ValueError, match=r"member of plain must be in 0\.\.0"):
        start(RECIPES["plain"], blobs, SHORT, member=1)
    with pytest.raises(ValueError, match="at least one for each of the 5 members"):
        start(RECIPES["balanced_ensemble"], blobs, Budget(steps=4))


@pytest.mark.parametrize("member", range(3))
def test_what_is_timed_is_timed_by_the_steps_of_a_member(member, digits):
    """Of a third of the budget each: LDAM's weights start, the curriculum and the progressive mix end."""
    budget = Budget(steps=120, batch_size=20, steps_per_round=4)
    ldam = start(replace(RECIPES["ldam"], members=3), digits, budget, member=member)
    assert [ldam.weight is not None for _ in train(ldam)] == [False] * 7 + [True] * 3
    course = start(replace(RECIPES["curriculum"], members=3), digits, budget, member=member)
    shares = [(course.sampler.probability > 0).double().mean().item() for _ in train(course)]
    assert shares[-1] == 1 and shares[4] < 1
    mixes = start(replace(RECIPES["progressive_mix"], members=3), digits, budget, member=member)
    list(train(mixes))
    assert torch.allclose(mixes.sampler.mix, torch.full((10,), 0.1).double())
    heads = start(replace(RECIPES["crt"], members=3), digits, budget, member=member)
    assert sum(not next(heads.model.parameters()).requires_grad for _ in train(heads)) == 4


# ---- seeds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "error"), [(2**32, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_seeds_that_would_count_twice_are_refused(seed, error, blobs):
    with pytest.raises(error, match="seed must be"):
        start(RECIPES["plain"], blobs, SHORT, seed)


def test_numpy_seeds_are_seeds(blobs):
    one, other = (trained(RECIPES["plain"], blobs, seed=seed) for seed in (3, np.int64(3)))
    assert torch.equal(weights_of(one), weights_of(other))


def test_every_kind_of_randomness_has_a_stream_of_its_own(blobs):
    """At seed 0 data, weights, sampler and augmentation used to begin with the same numbers."""
    seen = []
    for seed in range(3):
        for member in range(3):
            run = start(replace(RECIPES["plain"], members=3), blobs, SHORT, seed, member)
            assert set(run.streams) == {"data", "weights", "sampler", "augmentation", "training"}
            seen += run.streams.values()
            assert torch.equal(
                run.generator.get_state(),
                torch.Generator().manual_seed(run.streams["augmentation"]).get_state(),
            )
            assert torch.equal(
                run.sampler.generator.get_state(),
                torch.Generator().manual_seed(run.streams["sampler"]).get_state(),
            )
    assert len(set(seen)) == len(seen) == 45
    assert not {0, 1, 2} & set(seen), "the streams that make_task(seed) draws its data from"


def test_another_seed_draws_other_batches(digits):
    """One batch order for all seeds would make differences look more certain than they are."""
    orders = [
        [list(rows) for rows in start(RECIPES["plain"], digits, SHORT, seed).sampler] for seed in range(4)
    ]
    assert all(one != other for i, one in enumerate(orders) for other in orders[:i])
    torch_orders = [list(start(RECIPES["shuffled"], digits, SHORT, seed).sampler) for seed in range(2)]
    assert torch_orders[0] != torch_orders[1]


def test_resampling_does_not_shift_weights_batches_or_augmentation(digits):
    plain, other = (start(RECIPES[name], digits, SHORT, 1) for name in ("plain", "smote"))
    assert torch.equal(weights_of(plain), weights_of(other)) and plain.streams == other.streams
    assert torch.equal(plain.generator.get_state(), other.generator.get_state())


def test_dropout_does_not_depend_on_which_runs_were_started_before(digits):
    task = replace(digits, model=lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)))
    alone = trained(RECIPES["plain"], task)
    run = start(RECIPES["plain"], task, SHORT)
    start(RECIPES["plain"], task, SHORT, 5)
    torch.rand(7)
    list(train(run, validation=False))
    assert torch.equal(weights_of(run), weights_of(alone))


# ---- the model ----------------------------------------------------------------------------------------------


def test_a_network_handed_out_twice_is_refused(blobs):
    net = nn.Linear(4, 3)
    task = replace(blobs, model=lambda: net)
    start(RECIPES["plain"], task, SHORT)
    with pytest.raises(ValueError, match=r"model .* must build a new network"):
        start(RECIPES["plain"], task, SHORT, seed=1)


def test_a_network_that_shares_a_layer_with_another_is_refused(blobs):
    body = nn.Linear(4, 6)
    task = replace(blobs, model=lambda: nn.Sequential(body, nn.ReLU(), nn.Linear(6, 3)))
    trained(RECIPES["plain"], task)
    with pytest.raises(ValueError, match="must build a new network"):
        start(RECIPES["plain"], task, SHORT)


def test_a_network_trained_by_hand_is_refused_before_it_is_handed_out(blobs):
    net = nn.Linear(4, 3)
    F.cross_entropy(net(blobs.train.x), blobs.train.y).backward()
    with pytest.raises(ValueError, match="must build a new network"):
        start(RECIPES["plain"], replace(blobs, model=lambda: net), SHORT)


def test_copies_of_a_network_and_frozen_shared_layers_are_welcome(blobs):
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    F.cross_entropy(net(blobs.train.x), blobs.train.y).backward()
    task = replace(blobs, model=lambda: copy.deepcopy(net))
    for seed in range(2):
        trained(RECIPES["plain"], task, seed=seed)
    body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)).requires_grad_(False)
    before = copy.deepcopy(body.state_dict())
    task = replace(blobs, model=lambda: nn.Sequential(body, nn.Linear(6, 3)))
    for seed in range(2):
        trained(RECIPES["plain"], task, seed=seed)
    assert all(torch.equal(value, before[name]) for name, value in body.state_dict().items())


def test_networks_are_not_kept_alive_and_a_new_one_at_an_old_address_is_new(blobs):
    gc.collect()
    before = len(recipes.running._handed_out)  # what other tests of this process still hold
    for seed in range(30):  # the allocator gives addresses again
        start(RECIPES["plain"], blobs, SHORT, seed)
    gc.collect()
    assert len(recipes.running._handed_out) <= before + 4


def test_what_is_no_network_is_named(blobs):
    with pytest.raises(TypeError, match=r"model must build an nn.Module, got function"):
        start(RECIPES["plain"], replace(blobs, model=lambda: F.relu), SHORT)


# ---- recipes of one's own -----------------------------------------------------------------------------------


def poly1(outputs, y, epsilon=1.0, reduction="mean"):
    each = F.cross_entropy(outputs, y, reduction="none")
    each = each + epsilon * (1 - torch.exp(-each))
    return each if reduction == "none" else each.mean()


def test_a_plain_loss_is_a_recipe_of_its_own(blobs):
    mine, plain = Recipe("poly1", loss=poly1), trained(RECIPES["plain"], blobs)
    assert not torch.equal(weights_of(trained(mine, blobs)), weights_of(plain))
    still = mine.vary(epsilon=0.0)
    assert still.name == "poly1 (epsilon=0.0)"
    assert torch.allclose(weights_of(trained(still, blobs)), weights_of(plain))


def test_a_plain_loss_composes_with_weights(blobs):
    weighted = replace(RECIPES["class_weights"], loss=F.cross_entropy)
    assert torch.allclose(
        weights_of(trained(weighted, blobs)), weights_of(trained(RECIPES["class_weights"], blobs))
    )


@pytest.mark.parametrize("weigh", [recipes.no_weight, recipes.inverse_frequency])
def test_a_loss_module_of_torch_is_taken_as_it_is(weigh, blobs):
    module = Recipe("module", loss=nn.CrossEntropyLoss(label_smoothing=0.1), weigh=weigh)
    row = replace(RECIPES["label_smoothing"], weigh=weigh)
    assert torch.allclose(weights_of(trained(module, blobs)), weights_of(trained(row, blobs)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loss": lambda a, b: 0}, "loss must be a function"),
        ({"loss": 3}, "loss must be a function"),
        ({"members": 0}, "members must be >= 1"),
        ({"members": 2.5}, "members must be a whole number"),
        ({"kinds": {"clustering"}}, "kinds must be some of"),
        ({"feedback": None}, "feedback must be a function"),
        ({"name": ""}, "name must be"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused_when_it_is_written(wrong, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Recipe(**{"name": "mine", **wrong})


def test_the_table_prints_what_a_part_says(blobs):
    @recipes.says("twice as hard")
    def hard(run):
        return partial(poly1, epsilon=2.0)

    def undocumented(outputs, y, reduction="mean"):
        return poly1(outputs, y, reduction=reduction)

    def documented(outputs, y, reduction="mean"):
        """Flat at the ends.

        And more that a table has no place for.
        """
        return poly1(outputs, y, reduction=reduction)

    losses = {"one": partial(hard), "two": undocumented, "three": documented}
    table = recipes.table([Recipe(name, loss=loss) for name, loss in losses.items()] + [Recipe("four")])
    assert table["loss"].tolist() == ["twice as hard", "undocumented", "Flat at the ends.", "1"]


# ---- vary ---------------------------------------------------------------------------------------------------


def test_vary_finds_a_parameter_by_its_name_and_names_the_row():
    row = RECIPES["learn2mix"].vary(mixing_rate=0.5)
    assert row.name == "learn2mix (mixing_rate=0.5)" and row.base == "learn2mix"
    assert row.feedback.keywords == {"mixing_rate": 0.5} and row.batches is RECIPES["learn2mix"].batches
    both = row.vary(batches_per_update=4, mixing_rate=0.1)
    assert both.name == "learn2mix (mixing_rate=0.1, batches_per_update=4)" and both.base == "learn2mix"
    assert both.batches.keywords == {"batches_per_update": 4} and both.feedback.keywords == {
        "mixing_rate": 0.1
    }
    assert RECIPES["learn2mix"].feedback is recipes.follow_losses, "the row it came from stays"


def test_vary_refuses_what_no_part_has_and_lists_what_there_is():
    with pytest.raises(TypeError, match=r"no parameter 'mixing_rat'; it has .*mixing_rate \(feedback\)"):
        RECIPES["learn2mix"].vary(mixing_rat=0.5)
    with pytest.raises(TypeError, match=r"it has .*gamma"):
        RECIPES["focal"].vary(run=1)
    with pytest.raises(TypeError, match="no parameter 'gamma' in feedback"):
        RECIPES["focal"].vary(feedback={"gamma": 1.0})
    with pytest.raises(TypeError, match=r"dataclasses.replace"):
        RECIPES["focal"].vary(loss=poly1)


def test_vary_offers_no_reduction_and_no_catch_all():
    """The loop chooses the reduction, and *args or **options have no value that could be put in their place."""

    def blurred(outputs, y, *more, reduction="mean", width=1.0, **options):
        return F.cross_entropy(outputs / width, y, reduction=reduction)

    row = Recipe("blurred", loss=blurred)
    assert row.vary(width=2.0).loss.keywords == {"width": 2.0}
    for name in ("reduction", "more", "options"):
        with pytest.raises(TypeError, match=f"no parameter '{name}'; it has .*width"):
            row.vary(**{name: None})


def test_defaults_are_those_of_the_papers_and_of_the_recorded_results():
    """Another default would move the numbers of every lesson without a word."""
    defaults = {
        "focal": {"gamma": 2.0}, "effective_number": {"beta": 0.999}, "label_smoothing": {"label_smoothing": 0.1},
        "logit_adjustment": {"tau": 1.0}, "posthoc_adjustment": {"tau": 1.0}, "tau_norm": {"tau": 1.0},
        "ldam": {"max_margin": 0.5, "start": 0.8, "power": 1.0}, "mixup": {"concentration": 0.2},
        "smote": {"k_neighbors": 5}, "class_weights": {"power": 1.0}, "weighted_sampler": {"power": 1.0},
        "power_mix": {"q": 0.5}, "prioritised": {"group": None, "factor": 4.0}, "crt": {"start": 0.7},
        "auxiliary": {"group": None, "strength": 1.0}, "augmentation": {"strength": 1.0},
        "importance": {"uniform_share": 0.2, "score": "gradient_bound"},
        "curriculum": {"start": 0.3, "full_at": 0.7, "balanced": False, "scored_by": "itself"},
        "alternating": {"steps_per_visit": 1, "order": "shuffled"},
        "learn2mix": {"mixing_rate": 0.1, "loss_from": "round", "floor": 0.0, "smoothing": 0.0},
        "group_dro": {"step": 0.5, "first": "uniform"}, "cdb": {"tau": 1.0, "act": "weights"},
        "excess_loss_mix": {"step": 1.0, "smoothing": 1e-3},
    }  # fmt: skip
    for name, expected in defaults.items():
        found = {}
        for field in recipes.parameters.FILLED:
            for parameter, (path, *_) in recipes.parameters.paths(
                getattr(RECIPES[name], field), field
            ).items():
                part = getattr(RECIPES[name], field)
                for step in path:
                    part = inspect.signature(part).parameters[step].default
                found[parameter] = part
        assert {key: found[key] for key in expected} == expected, name


def test_vary_asks_which_part_is_meant_where_two_have_the_name():
    both = replace(RECIPES["ldam"], name="both", loss=partial(owner_of_start))
    with pytest.raises(TypeError, match=r"'start' is a parameter of loss and of feedback .* vary\(loss="):
        both.vary(start=0.5)
    assert both.vary(feedback={"start": 0.5}).feedback.keywords == {"start": 0.5}
    assert both.vary(feedback={"start": 0.5}).loss is both.loss


def owner_of_start(run, start=0.0):
    return F.cross_entropy


def test_vary_finds_parameters_of_partials_and_of_parts_of_parts(digits):
    squared = replace(RECIPES["class_weights"], weigh=partial(recipes.inverse_frequency, power=2.0))
    assert squared.vary(power=0.5).weigh.keywords == {"power": 0.5}
    deep = RECIPES["ldam"].vary(power=0.5)  # of the inverse frequency inside the deferred weights
    budget = Budget(steps=40, batch_size=20, steps_per_round=4)
    run = trained(deep, digits, budget)
    assert torch.allclose(run.weight, recipes.inverse_frequency(run, power=0.5))
    other = replace(
        RECIPES["ldam"], feedback=partial(recipes.deferred_weights, weights=recipes.effective_number)
    )
    run = trained(other.vary(beta=0.9), digits, budget)
    assert torch.allclose(run.weight, recipes.effective_number(run, beta=0.9))


def test_vary_changes_the_number_of_members():
    row = RECIPES["balanced_ensemble"].vary(members=3)
    assert row.members == 3 and row.name == "balanced_ensemble (members=3)"
    assert RECIPES["plain"].vary() is RECIPES["plain"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_parameter_of_every_row_can_be_varied_by_name(name):
    row = RECIPES[name]
    for field in recipes.parameters.FILLED:
        for parameter, ((*_, last), *_) in recipes.parameters.paths(getattr(row, field), field).items():
            assert last == parameter
            assert row.vary(**{field: {parameter: None}}).name == f"{name} ({parameter}=None)"
