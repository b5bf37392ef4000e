"""The factories that recipes are made of, by the place where they act.

Each is called once per run with the `Run`; what it returns may hold state. The first docstring line of a factory is
what the table prints.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from course_lib import augmentation, decisions, losses, resampling
from course_lib.data.task import Batch, Split
from course_lib.decisions import Decision
from course_lib.learn2mix import Learn2Mix
from course_lib.priors import class_count, effective_number_weights
from course_lib.recipes.core import Run, mixed
from course_lib.sampling import ClassMixBatchSampler, ExampleBatchSampler, alternating_mix, class_order
from course_lib.training import RoundStats, predict

# ---- the data ---------------------------------------------------------------------------------------------


def oversample(split: Split, generator: torch.Generator) -> Split:
    """repeats"""
    return resampling.random_oversample(split, generator)


def undersample(split: Split, generator: torch.Generator) -> Split:
    """drops"""
    return resampling.random_undersample(split, generator)


def smote(split: Split, generator: torch.Generator, k_neighbors: int = 5) -> Split:
    """interpolates"""
    return resampling.smote(split, generator, k_neighbors=k_neighbors, strict=False)


def label_safe(run: Run, strength: float = 1.0) -> Callable[[Batch], Batch]:
    """transforms"""
    if run.train.x.ndim == 4:
        return augmentation.image_augmentation(run.generator, max_shift=strength, max_angle=10 * strength)
    return augmentation.table_augmentation(run.generator, noise=0.1 * strength)


def mix_up(run: Run, concentration: float = 0.2) -> Callable[[Batch], Batch]:
    """interpolates, labels too"""
    return augmentation.mixup(run.generator, num_classes=run.task.num_groups, concentration=concentration)


# ---- the batch --------------------------------------------------------------------------------------------


def uniform_mix(run: Run) -> ClassMixBatchSampler:
    """uniform"""
    present = (run.prior > 0).double()
    return mixed(run, present / present.sum())


def chosen_mix(run: Run, mix: tuple[float, ...]) -> ClassMixBatchSampler:
    """chosen, fixed"""
    return mixed(run, torch.tensor(mix, dtype=torch.float64))


def weighted_draw(run: Run, power: float = 1.0) -> ExampleBatchSampler:
    """chosen, fixed; drawn example by example"""
    chance = run.prior.clamp_min(1e-300) ** -power
    chance = chance[run.train.group.cpu()]
    return by_example(run, chance / chance.sum())


def by_example(run: Run, probability: Tensor | None = None) -> ExampleBatchSampler:
    """by example loss"""
    n = len(run.train.x)
    probability = torch.full((n,), 1 / n, dtype=torch.float64) if probability is None else probability
    return ExampleBatchSampler(
        probability,
        run.budget.batch_size,
        batches_per_epoch=run.steps_per_round,
        num_examples=n,
        seed=run.seed,
    )


def easy_first(run: Run) -> ExampleBatchSampler:
    """easy first"""
    return by_example(run)


def one_class_at_a_time(
    run: Run, steps_per_visit: int = 1, order: object = "shuffled"
) -> ClassMixBatchSampler:
    """one class at a time, a schedule"""
    shuffle = run.generator if order == "shuffled" else None
    visits = class_order("cyclic" if order == "shuffled" else order, run.train.group, run.train.x)
    cycles = max(1, math.ceil(run.budget.steps / (len(visits) * steps_per_visit))) if shuffle else 1
    mix = alternating_mix(
        visits, steps_per_visit, run.task.num_groups, cycles=cycles, shuffle_generator=shuffle
    )
    return mixed(run, mix)


# ---- the loss ---------------------------------------------------------------------------------------------


def inverse_frequency(run: Run, power: float = 1.0) -> Tensor:
    """w[y]"""
    weight = run.by_class(run.prior.clamp_min(1e-300) ** -power)
    # Averaging 1 over the training part keeps the step size that of the unweighted loss.
    return weight / weight.mean()


def effective_number(run: Run, beta: float = 0.999) -> Tensor:
    """w[y], gentler for common classes"""
    weight = run.by_class(effective_number_weights(class_count(run.train.group, run.task.num_groups), beta))
    return weight / weight.mean()


def prioritised(run: Run, group: int = -1, factor: float = 4.0) -> Tensor:
    """w[y], one class more"""
    each = torch.ones(run.task.num_groups)
    each[group] = factor
    weight = run.by_class(each)
    return weight / weight.mean()


def focal(run: Run, gamma: float = 2.0) -> Callable:
    """(1 - p_y)^gamma"""
    return partial(losses.focal_loss, gamma=gamma)


def smoothed(run: Run, label_smoothing: float = 0.1) -> Callable:
    """1, on smoothed labels"""
    return partial(nn.functional.cross_entropy, label_smoothing=label_smoothing)


def with_auxiliary(run: Run, group: int = -1, strength: float = 1.0) -> Callable:
    """1 + a term on one class"""
    return partial(losses.auxiliary_loss, prioritised_class=group % run.task.num_groups, strength=strength)


def logit_adjusted(run: Run, tau: float = 1.0) -> Callable:
    """1, on shifted logits"""
    prior = run.prior.float().to(run.train.x.device)
    return partial(losses.logit_adjusted_loss, prior=prior, tau=tau)


COSINE_SCALE = 30.0


def ldam(run: Run, max_margin: float = 0.5) -> Callable:
    """1, with a margin for rare classes"""
    counts = class_count(run.train.group, run.task.num_groups)
    # The head scales its cosines, so that the outputs are scores like any other network's.
    return partial(losses.ldam_loss, class_count=counts, max_margin=COSINE_SCALE * max_margin, scale=1.0)


# ---- loss -> batch or weights, after each round -----------------------------------------------------------


def follow_losses(
    run: Run, mixing_rate: float = 0.1, loss_from: str = "round", floor: float = 0.0, smoothing: float = 0.0
) -> Callable[[RoundStats], None]:
    """moves toward the class-wise loss"""
    control = Learn2Mix(run.prior, mixing_rate, floor=floor, smoothing=smoothing)
    sources = {
        "round": lambda s: (s.class_loss, s.class_count),
        "last_batch": lambda s: (s.last_loss, s.last_count),
        "validation": lambda s: (s.validation_loss, None),
    }
    if loss_from not in sources:
        raise ValueError(f"loss_from must be one of {sorted(sources)}, got {loss_from!r}")
    run.control = control  # a live panel moves its rate while training runs
    return lambda s: run.sampler.set_mix(control.update(*sources[loss_from](s)))


def follow_losses_with_weights(run: Run, step: float = 0.5) -> Callable[[RoundStats], None]:
    """class weights moved by the loss"""
    share = run.prior.clone()

    def feedback(s: RoundStats) -> None:
        nonlocal share
        share = share * torch.exp(step * s.class_loss.nan_to_num(0.0))
        share = share / share.sum()
        ratio = torch.where(run.prior > 0, share / run.prior.clamp_min(1e-300), torch.zeros_like(share))
        run.weight = run.by_class(ratio)

    return feedback


def deferred_weights(run: Run, start: float = 0.8) -> Callable[[RoundStats], None]:
    """w[y] in the last part of training"""

    def feedback(s: RoundStats) -> None:
        if s.steps >= start * run.budget.steps:
            run.weight = inverse_frequency(run)

    return feedback


def follow_example_losses(run: Run, uniform_share: float = 0.2) -> Callable[[RoundStats], None]:
    """1 / (N q), q by example loss"""

    def feedback(s: RoundStats) -> None:
        loss = _example_losses(run)
        n = len(loss)
        q = torch.full((n,), 1 / n, dtype=torch.float64)
        if loss.sum() > 0:
            # A floor keeps 1 / (N q), and with it the variance, bounded.
            q = uniform_share / n + (1 - uniform_share) * loss / loss.sum()
        run.sampler.set_probability(q / q.sum())
        run.weight = (1 / (n * q)).float().to(run.train.x.device)

    return feedback


def easiest_part(run: Run, start: float = 0.3, full_at: float = 0.7, balanced: bool = False) -> Callable:
    """the easiest examples, more of them every round"""

    def feedback(s: RoundStats) -> None:
        # Scores stand in data-set order: row i of `loss` is row i of the training part.
        loss, group = _example_losses(run), run.train.group.cpu()
        share = min(1.0, start + (1 - start) * s.steps / (full_at * run.budget.steps))
        allowed = torch.zeros(len(loss), dtype=torch.float64)
        for rows in (
            [(group == k).nonzero().flatten() for k in group.unique()]
            if balanced
            else [torch.arange(len(loss))]
        ):
            allowed[rows[loss[rows].argsort()[: max(1, round(share * len(rows)))]]] = 1
        run.sampler.set_probability(allowed / allowed.sum())

    return feedback


def _example_losses(run: Run) -> Tensor:
    """Loss of every training example under the present weights, (N,) float64, in data-set order."""
    return run.task.example_loss(predict(run.model, run.train.x), run.train.y).double().cpu()


# ---- the decision -----------------------------------------------------------------------------------------


def identity(run: Run, outputs: Tensor, y: Tensor) -> Decision:
    """the output itself"""
    return Decision(_same, _same)


def _same(outputs: Tensor) -> Tensor:
    return outputs


def tuned(run: Run, outputs: Tensor, y: Tensor, metric: str = "balanced_accuracy") -> Decision:
    """threshold chosen on validation"""
    if run.task.num_groups == 2:
        return decisions.tune_threshold(outputs, y, metric=metric)
    return decisions.tune_tau(outputs, y, run.prior.clamp_min(1e-12), metric=metric)


def prior_corrected(run: Run, outputs: Tensor, y: Tensor) -> Decision:
    """divide the odds by the shift"""
    return decisions.prior_correction(run.prior, run.task.target_prior)


def mix_corrected(run: Run, outputs: Tensor, y: Tensor) -> Decision:
    """divide the odds by the shift from the batch mix"""
    return decisions.prior_correction(run.sampler.mix, run.task.target_prior)


def adjusted_logits(run: Run, outputs: Tensor, y: Tensor, tau: float = 1.0) -> Decision:
    """argmax, on shifted logits"""
    return decisions.logit_adjustment(run.prior, tau)


# ---- the model --------------------------------------------------------------------------------------------


def cosine_head(model: nn.Module, run: Run) -> nn.Module:
    """cosine classifier for a last layer"""
    *body, last = model.children()
    if not isinstance(last, nn.Linear) or not isinstance(model, nn.Sequential):
        raise TypeError(f"adapt needs an nn.Sequential that ends in nn.Linear, got {type(model).__name__}")
    head = losses.CosineClassifier(last.in_features, last.out_features, COSINE_SCALE)
    with torch.no_grad():
        head.weight.copy_(last.weight)  # the shared initial weights, so that seeds stay paired
    return nn.Sequential(*body, head)
