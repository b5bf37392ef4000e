"""The factories that recipes are made of, by the place where they act.

Each is called once per run with the `Run`; what it returns may hold state. `says` is what the table
prints.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, RandomSampler

from course_lib import augmentation, decisions, losses, resampling
from course_lib.data.task import Batch, Split
from course_lib.decisions import Decision
from course_lib.inputs import as_number, as_size
from course_lib.priors import class_count, effective_number_weights
from course_lib.recipes.core import Run, mixed
from course_lib.recipes.parameters import says
from course_lib.sampling import ClassMixBatchSampler, ExampleBatchSampler, alternating_mix, class_order

# ---- the data ---------------------------------------------------------------------------------------------


@says("repeats")
def oversample(split: Split, generator: torch.Generator) -> Split:
    """Repeats examples until every class counts as many as the largest."""
    return resampling.random_oversample(split, generator)


@says("drops")
def undersample(split: Split, generator: torch.Generator) -> Split:
    """Drops examples until every class counts as many as the smallest."""
    return resampling.random_undersample(split, generator)


@says("interpolates")
def smote(split: Split, generator: torch.Generator, k_neighbors: int = 5) -> Split:
    """Synthetic examples between neighbours of the same class."""
    return resampling.smote(split, generator, k_neighbors=k_neighbors, strict=False)


@says("transforms")
def label_safe(run: Run, strength: float = 1.0) -> Callable[[Batch], Batch]:
    """Shifts and turns images, adds noise to tables."""
    if run.train.x.ndim == 4:
        return augmentation.image_augmentation(run.generator, max_shift=strength, max_angle=10 * strength)
    return augmentation.table_augmentation(run.generator, noise=0.1 * strength)


@says("interpolates, labels too")
def mix_up(run: Run, concentration: float = 0.2) -> Callable[[Batch], Batch]:
    """Blends pairs of examples and their labels."""
    return augmentation.mixup(run.generator, num_classes=run.task.num_groups, concentration=concentration)


# ---- the batch --------------------------------------------------------------------------------------------


@says("n^q")
def power_mix(
    run: Run, q: float = 0.5, batches_per_update: int | None = None, counts: str = "exact"
) -> ClassMixBatchSampler:
    """Shares ~ n_k^q: the prior at q = 1, its square root at 1/2, uniform at 0; none for a class without examples.

    batches_per_update, counts  as for `prior_mix`
    """
    q = as_number(q, "q", 0, 1)
    share = torch.where(run.prior > 0, run.prior**q, 0)
    return mixed(run, share / share.sum(), batches_per_update, counts)


@says("uniform")
def uniform_mix(
    run: Run, batches_per_update: int | None = None, counts: str = "exact"
) -> ClassMixBatchSampler:
    """The same share for every class that has examples; arguments as for `prior_mix`."""
    return power_mix(run, 0.0, batches_per_update, counts)


@says("chosen, fixed")
def chosen_mix(run: Run, mix: tuple[float, ...], counts: str = "exact") -> ClassMixBatchSampler:
    """A mix given, one share per class."""
    return mixed(run, torch.tensor(mix, dtype=torch.float64), counts=counts)


@says("as shuffling has it")
def shuffled(run: Run) -> BatchSampler:
    """What DataLoader(shuffle=True, drop_last=True) does: class counts vary from batch to batch as chance has it."""
    M, batches = run.budget.batch_size, run.steps_per_round
    generator = torch.Generator().manual_seed(run.streams["sampler"])
    order = RandomSampler(range(len(run.train.x)), num_samples=batches * M, generator=generator)
    return BatchSampler(order, M, drop_last=True)


@says("chosen, fixed; drawn example by example")
def weighted_draw(run: Run, power: float = 1.0) -> ExampleBatchSampler:
    """Examples drawn with replacement, each with probability ~ (class share)^-power."""
    chance = run.prior.clamp_min(1e-300) ** -power
    chance = chance[run.train.group.cpu()]
    return by_example(run, chance / chance.sum())


@says("by example loss")
def by_example(run: Run, probability: Tensor | None = None) -> ExampleBatchSampler:
    """Examples drawn with replacement by a probability of their own; uniform at first."""
    n = len(run.train.x)
    probability = torch.full((n,), 1 / n, dtype=torch.float64) if probability is None else probability
    return ExampleBatchSampler(
        probability,
        run.budget.batch_size,
        batches_per_epoch=run.steps_per_round,
        num_examples=n,
        seed=run.streams["sampler"],
    )


@says("easy first")
def easy_first(run: Run) -> ExampleBatchSampler:
    """Examples drawn with replacement from the part that feedback allows."""
    return by_example(run)


@says("one class at a time, a schedule")
def one_class_at_a_time(
    run: Run, steps_per_visit: int = 1, order: object = "shuffled"
) -> ClassMixBatchSampler:
    """Every batch holds one class; the classes take turns."""
    # Not the generator of the augmentation: that must draw alike whatever the batches are.
    shuffle = torch.Generator().manual_seed(run.streams["sampler"] ^ 1) if order == "shuffled" else None
    visits = class_order("cyclic" if order == "shuffled" else order, run.train.group, run.train.x)
    cycles = max(1, math.ceil(run.steps / (len(visits) * steps_per_visit))) if shuffle else 1
    mix = alternating_mix(
        visits, steps_per_visit, run.task.num_groups, cycles=cycles, shuffle_generator=shuffle
    )
    return mixed(run, mix)


# ---- the loss ---------------------------------------------------------------------------------------------


@says("w[y]")
def inverse_frequency(run: Run, power: float = 1.0) -> Tensor:
    """Weights ~ (class share)^-power, averaging 1 over the training part, which keeps the step size."""
    weight = run.by_class(run.prior.clamp_min(1e-300) ** -power)
    return weight / weight.mean()


@says("w[y], gentler for common classes")
def effective_number(run: Run, beta: float = 0.999) -> Tensor:
    """Weights ~ 1 / effective number of the class, averaging 1 over the training part."""
    weight = run.by_class(effective_number_weights(class_count(run.train.group, run.task.num_groups), beta))
    return weight / weight.mean()


@says("w[y], one class more")
def prioritised(run: Run, group: int | None = None, factor: float = 4.0) -> Tensor:
    """One class weighs `factor` times as much as each other one; weights average 1 over the training part.

    group  a class; None: the rarest of the training part
    """
    each = torch.ones(run.task.num_groups)
    each[_chosen_class(run, group)] = factor
    weight = run.by_class(each)
    return weight / weight.mean()


def rarest(run: Run) -> int:
    """The class with the fewest examples in the training part, of those that have any; of equals the last."""
    counts = class_count(run.train.group, run.task.num_groups)
    fewest = counts[counts > 0].min()
    return int((counts == fewest).nonzero().max())


def _chosen_class(run: Run, group: int | None) -> int:
    if group is None:
        return rarest(run)
    return as_size(group, "group", 0, run.task.num_groups - 1)


@says("(1 - p_y)^gamma")
def focal(run: Run, gamma: float = 2.0) -> Callable:
    """Focal loss."""
    return partial(losses.focal_loss, gamma=gamma)


@says("1, on smoothed labels")
def smoothed(run: Run, label_smoothing: float = 0.1) -> Callable:
    """Cross-entropy on smoothed labels."""
    return partial(nn.functional.cross_entropy, label_smoothing=label_smoothing)


@says("1 + a term on one class")
def with_auxiliary(run: Run, group: int | None = None, strength: float = 1.0) -> Callable:
    """Cross-entropy and a term on one class against all others.

    group  a class; None: the rarest of the training part
    """
    return partial(losses.auxiliary_loss, prioritised_class=_chosen_class(run, group), strength=strength)


@says("1, on shifted logits")
def logit_adjusted(run: Run, tau: float = 1.0) -> Callable:
    """Cross-entropy on scores + tau log prior."""
    prior = run.prior.float().to(run.train.x.device)
    return partial(losses.logit_adjusted_loss, prior=prior, tau=tau)


COSINE_SCALE = 30.0


@says("1, with a margin for rare classes")
def ldam(run: Run, max_margin: float = 0.5) -> Callable:
    """LDAM on the scaled cosines of `cosine_head`."""
    counts = class_count(run.train.group, run.task.num_groups)
    # The head scales its cosines, so that the outputs are scores like any other network's.
    return partial(losses.ldam_loss, class_count=counts, max_margin=COSINE_SCALE * max_margin, scale=1.0)


# ---- the decision -----------------------------------------------------------------------------------------


@says("the output itself")
def identity(run: Run, outputs: Tensor, y: Tensor) -> Decision:
    """For regression and reconstruction: nothing to decide."""
    return Decision(_same, _same)


def _same(outputs: Tensor) -> Tensor:
    return outputs


@says("threshold chosen on validation")
def tuned(run: Run, outputs: Tensor, y: Tensor, metric: str = "balanced_accuracy") -> Decision:
    """A threshold for two classes, tau of the logit adjustment for more, chosen on validation."""
    return decisions.tuned(outputs, y, metric, run.task.train_prior)


@says("divide the odds by the shift")
def prior_corrected(run: Run, outputs: Tensor, y: Tensor) -> Decision:
    """From the training part's class shares to the task's target prior."""
    return decisions.prior_correction(run.prior, run.task.target_prior)


@says("divide the odds by the shift from the batch mix")
def mix_corrected(run: Run, outputs: Tensor, y: Tensor) -> Decision:
    """From the class shares that the loss saw in the round trained last, to the task's target prior.

    Where the mix moved, its last value counts, not an average over all steps: the scores follow the batches that they
    were fitted to last. Example weights count too: shares times weights.
    """
    return decisions.prior_correction(run.trained_prior, run.task.target_prior)


@says("divide the odds by a prior that EM estimates")
def em_prior(run: Run, outputs: Tensor, y: Tensor) -> Decision:
    """From the class shares that the loss saw last to those that EM finds in the very examples to be decided.

    No label is used, so the test part itself may serve; trust it as far as the probabilities are right.
    """
    return decisions.em_prior(run.trained_prior)


@says("argmax, on shifted logits")
def adjusted_logits(run: Run, outputs: Tensor, y: Tensor, tau: float = 1.0) -> Decision:
    """Argmax of scores - tau log prior."""
    return decisions.logit_adjustment(run.prior, tau)


# ---- the model --------------------------------------------------------------------------------------------


@says("cosine classifier for a last layer")
def cosine_head(model: nn.Module, run: Run) -> nn.Module:
    """The last linear layer replaced by a cosine classifier with the same initial weights."""
    *body, last = model.children()
    if not isinstance(last, nn.Linear) or not isinstance(model, nn.Sequential):
        raise TypeError(f"adapt needs an nn.Sequential that ends in nn.Linear, got {type(model).__name__}")
    head = losses.CosineClassifier(last.in_features, last.out_features, COSINE_SCALE)
    with torch.no_grad():
        head.weight.copy_(last.weight)  # the shared initial weights, so that seeds stay paired
    return nn.Sequential(*body, head)


@dataclass(frozen=True, eq=False)
class ScaledScores:
    """(score - bias) / norm**tau, each (K,) float64."""

    bias: Tensor
    norm: Tensor
    tau: float

    def __call__(self, outputs: Tensor) -> Tensor:
        return (outputs.double() - self.bias.to(outputs.device)) / self.norm.to(outputs.device) ** self.tau


@says("argmax of scores over ||w_k||^tau")
def tau_normalised(run: Run, outputs: Tensor, y: Tensor, tau: float = 1.0) -> Decision:
    """The weights of the last layer divided by their length to the power tau, its bias left out.

    tau  >= 0; 0 leaves the lengths as they are. The paper chooses it on validation, from [0, 1].
    """
    tau = as_number(tau, "tau", 0)
    last = last_linear(run.model)
    bias = torch.zeros(last.out_features) if last.bias is None else last.bias.detach()
    norm = last.weight.detach().double().norm(dim=1).clamp_min(1e-12)
    return Decision(adjust=ScaledScores(bias.double().cpu(), norm.cpu(), tau), says=f"tau {tau:g}")


def last_linear(model: nn.Module) -> nn.Linear:
    """The linear layer that gives a network its scores: the last one registered in it."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise TypeError(f"model must hold an nn.Linear as its last layer, got {type(model).__name__}")
    return layers[-1]
