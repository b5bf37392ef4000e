"""From a recipe to a trained network: `start` makes everything ready, `train` takes the steps."""

import copy
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.data.task import Task
from course_lib.inputs import as_seed, as_size
from course_lib.recipes.core import Budget, Recipe, Run, no_feedback
from course_lib.recipes.parameters import is_plain_loss
from course_lib.training import RoundStats, SplitLoader, rounds

FEWEST_ROUNDS = 5
STREAMS = ("data", "weights", "sampler", "augmentation", "training")
_handed_out: weakref.WeakValueDictionary[int, nn.Parameter] = weakref.WeakValueDictionary()


def _fresh_model(task: Task) -> nn.Module:
    """A new network; raises ValueError where some of its parameters were handed out or trained before."""
    model = task.model()
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must build an nn.Module, got {type(model).__name__}")
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # The number of an object may be given again, but while the object found under it is this one, it is not.
    if any(_handed_out.get(id(p)) is p or p.grad is not None for p in learned):
        raise ValueError(
            f"model of task {task.name!r} must build a new network at every call, got parameters that another run has "
            "or that were trained before; say model=functools.partial(MLP, (20, 2)), not model=lambda: net. "
            "Parameters that are shared on purpose must be frozen (requires_grad_(False))"
        )
    _handed_out.update({id(parameter): parameter for parameter in learned})
    return model


def _module_loss(module: nn.Module) -> Callable:
    """A loss module of torch as a function (outputs, y, reduction)."""
    if not hasattr(module, "reduction"):
        raise TypeError(f"loss must have a reduction, got the module {type(module).__name__}, which has none")

    def loss(outputs: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        if module.reduction == reduction:
            return module(outputs, y)
        other = copy.copy(module)
        other.reduction = reduction
        return other(outputs, y)

    return loss


def start(recipe: Recipe, task: Task, budget: Budget, seed: int = 0, member: int = 0) -> Run:
    """Everything ready for the first step: resampled data, initial weights, sampler, loss, example weights.

    seed    0 .. 2**32 - 1
    member  which member of an ensemble, 0 .. recipe.members - 1

    Runs with the same task, seed and member share initial weights and batch randomness, whatever the recipe;
    resampling, weights, sampler, augmentation and dropout each have a stream of their own. torch's global generator
    is seeded.

    Raises ValueError when the recipe is not meant for the task's kind, when the budget is too small for its members or
    its feedback, and when the task's model does not build a new network.
    """
    if task.kind not in recipe.kinds:
        raise ValueError(
            f"{recipe.name} is meant for {sorted(recipe.kinds)}, got a {task.kind} task ({task.name})"
        )
    seed = as_seed(seed)  # to torch's generator 2**32 is 0 again
    member = as_size(member, f"member of {recipe.name}", 0, recipe.members - 1)
    total = budget.steps_for(task)
    if total < recipe.members:
        raise ValueError(
            f"steps must be at least one for each of the {recipe.members} members of {recipe.name}, got {total}"
        )
    steps = total // recipe.members + (member < total % recipe.members)
    spawned = np.random.SeedSequence([seed, member]).spawn(len(STREAMS))
    streams = {
        name: int(sequence.generate_state(1)[0]) for name, sequence in zip(STREAMS, spawned, strict=True)
    }
    torch.manual_seed(streams["weights"])
    model = _fresh_model(task).to(task.train.x.device)
    train_part = recipe.resample(task.train, torch.Generator().manual_seed(streams["data"]))
    generator = torch.Generator().manual_seed(streams["augmentation"])
    run = Run(recipe, task, train_part, budget, steps, generator, seed, member, streams)
    run.model = recipe.adapt(model, run).to(task.train.x.device)
    if isinstance(recipe.loss, nn.Module):
        run.loss = _module_loss(recipe.loss)
    else:
        run.loss = recipe.loss if is_plain_loss(recipe.loss) else recipe.loss(run)
    run.base_weight = recipe.weigh(run)
    run.sampler = recipe.batches(run)
    run.trained_prior = _class_shares(run)
    if recipe.feedback is not no_feedback and run.num_rounds < FEWEST_ROUNDS:
        raise ValueError(
            f"{recipe.name} acts between rounds and needs at least {FEWEST_ROUNDS} of them, but a round is "
            f"{len(run.sampler)} steps and the run has {steps}: give a larger budget, or shorter rounds, as in "
            f"Budget(..., steps_per_round={max(1, steps // 10)})"
        )
    return run


def train(run: Run, *, validation: bool = True) -> Iterator[RoundStats]:
    """Train `run` to the end of its steps, yielding after each round, feedback already applied.

    validation  also measure the per-class loss on the validation part after every round
    """
    recipe = run.recipe
    feedback = recipe.feedback(run)
    loader = SplitLoader(run.train, run.sampler, weight=lambda: run.weight, augment=recipe.augment(run))
    run.optimizer = run.budget.optimizer(run.model.parameters())
    torch.manual_seed(run.streams["training"])  # dropout, whatever other runs were started or trained before
    stream = rounds(
        run.model, loader, run.loss, run.optimizer,
        num_groups=run.task.num_groups, rounds=run.num_rounds, max_steps=run.steps,
        example_loss=run.task.example_loss, validation=run.task.validation if validation else None,
    )  # fmt: skip

    def run_rounds() -> Iterator[RoundStats]:
        for stats in stream:
            run.trained_prior = _class_shares(run)  # before feedback sets that of the coming round
            if feedback is not None:
                feedback(stats)
            yield stats

    return run_rounds()


def _class_shares(run: Run) -> Tensor:
    """(K,) float64 class shares that the loss sees in the coming round: of the batches, times the example weights."""
    K, group = run.task.num_groups, run.train.group.cpu()
    weight = None if run.weight is None else run.weight.double().cpu()
    probability = getattr(run.sampler, "probability", None)
    if probability is not None:
        each = probability if weight is None else probability * weight
        share = torch.zeros(K, dtype=torch.float64).index_add_(0, group, each)
    else:
        mix = getattr(run.sampler, "mix", run.prior)
        share = mix if mix.ndim == 1 else mix.mean(0)
        if weight is not None:
            total = torch.zeros(K, dtype=torch.float64).index_add_(0, group, weight)
            share = share * total / torch.bincount(group, minlength=K).clamp_min(1)
    return share / share.sum()
