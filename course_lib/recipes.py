"""One row of the course's table per `Recipe`: where a method acts (data, batch, loss, decision) and how.

Every callable field but `resample` and `adapt` is a factory, called once per run with the `Run`; what it
returns may hold state. The first docstring line of a factory is what the table in lesson 00 prints.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from course_lib import augmentation, decisions, losses, resampling
from course_lib.data import KINDS, Batch, Split
from course_lib.decisions import Decision
from course_lib.learn2mix import Learn2Mix
from course_lib.priors import class_count, effective_number_weights
from course_lib.runs import Run
from course_lib.sampling import ClassMixBatchSampler, ExampleBatchSampler, alternating_mix, class_order
from course_lib.training import RoundStats, predict

CLASSES = frozenset({"classification"})
ANY = frozenset(KINDS)


# ---- the data ---------------------------------------------------------------------------------------------


def as_is(split: Split, generator: torch.Generator) -> Split:
    """as is"""
    return split


def oversample(split: Split, generator: torch.Generator) -> Split:
    """repeats"""
    return resampling.random_oversample(split, generator)


def undersample(split: Split, generator: torch.Generator) -> Split:
    """drops"""
    return resampling.random_undersample(split, generator)


def smote(split: Split, generator: torch.Generator, k_neighbors: int = 5) -> Split:
    """interpolates"""
    return resampling.smote(split, generator, k_neighbors=k_neighbors, strict=False)


def no_change(run: Run) -> None:
    """as is"""


def label_safe(run: Run, strength: float = 1.0) -> Callable[[Batch], Batch]:
    """transforms"""
    if run.train.x.ndim == 4:
        return augmentation.image_augmentation(run.generator, max_shift=strength, max_angle=10 * strength)
    return augmentation.table_augmentation(run.generator, noise=0.1 * strength)


def mix_up(run: Run, concentration: float = 0.2) -> Callable[[Batch], Batch]:
    """interpolates, labels too"""
    return augmentation.mixup(run.generator, num_classes=run.task.num_groups, concentration=concentration)


# ---- the batch --------------------------------------------------------------------------------------------


def mixed(run: Run, mix: Tensor, batches_per_update: int | None = None) -> ClassMixBatchSampler:
    """A sampler for this run; its pass is a round, after which feedback acts."""
    batches = batches_per_update or run.steps_per_round
    return ClassMixBatchSampler(
        run.train.group, run.budget.batch_size, mix, batches_per_epoch=batches, seed=run.seed
    )


def prior_mix(run: Run, batches_per_update: int | None = None) -> ClassMixBatchSampler:
    """prior"""
    return mixed(run, run.prior, batches_per_update)


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


def no_weight(run: Run) -> None:
    """1"""


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


def plain(run: Run) -> Callable:
    """1"""
    example_loss = run.task.example_loss

    def loss(outputs: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        each = example_loss(outputs, y)
        return {"mean": each.mean, "sum": each.sum, "none": lambda: each}[reduction]()

    return loss


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


def no_feedback(run: Run) -> None:
    """none"""


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


def argmax(run: Run, outputs: Tensor, y: Tensor) -> Decision:
    """argmax"""
    return decisions.argmax()


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


def same_model(model: nn.Module, run: Run) -> nn.Module:
    """as is"""
    return model


def cosine_head(model: nn.Module, run: Run) -> nn.Module:
    """cosine classifier for a last layer"""
    *body, last = model.children()
    if not isinstance(last, nn.Linear) or not isinstance(model, nn.Sequential):
        raise TypeError(f"adapt needs an nn.Sequential that ends in nn.Linear, got {type(model).__name__}")
    head = losses.CosineClassifier(last.in_features, last.out_features, COSINE_SCALE)
    with torch.no_grad():
        head.weight.copy_(last.weight)  # the shared initial weights, so that seeds stay paired
    return nn.Sequential(*body, head)


# ---- the table --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """One row of the table. `vary` gives the same row with other parameters."""

    name: str
    when: str
    source: str = ""
    resample: Callable[[Split, torch.Generator], Split] = as_is
    augment: Callable[[Run], Callable[[Batch], Batch] | None] = no_change
    batches: Callable[[Run], object] = prior_mix
    weigh: Callable[[Run], Tensor | None] = no_weight
    loss: Callable[[Run], Callable] = plain
    feedback: Callable[[Run], Callable[[RoundStats], None] | None] = no_feedback
    decide: Callable[[Run, Tensor, Tensor], Decision] = argmax
    adapt: Callable[[nn.Module, Run], nn.Module] = same_model
    members: int = 1
    kinds: frozenset[str] = CLASSES

    def vary(self, **parameters: Mapping) -> "Recipe":
        """The same recipe with other parameters, field by field: vary(feedback={"mixing_rate": 0.5}).

        Raises TypeError for a name that is no field.
        """
        known = {f.name for f in fields(self)}
        for name in parameters:
            if name not in known - {"name", "when", "source", "members", "kinds"}:
                raise TypeError(f"vary takes the fields of a Recipe that act, got {name!r}")
        return replace(
            self, **{name: partial(getattr(self, name), **values) for name, values in parameters.items()}
        )


_LEARN2MIX = "Venkatasubramanian & Tarokh 2024, arXiv:2412.16482, Algorithm 1"
_ROWS = (
    Recipe("plain", "first, always", kinds=ANY),
    Recipe("threshold", "a good model and a fixed metric or cost",
           "Elor & Averbuch-Elor 2022, arXiv:2201.08528", decide=tuned),
    Recipe("prior_correction", "classes will be more or less frequent where the model is used",
           "Saerens et al. 2002, doi:10.1162/089976602753284446, eq. 2.4", decide=prior_corrected),
    Recipe("posthoc_adjustment", "balanced error matters, and the network is trained already",
           "Menon et al. 2021, arXiv:2007.07314, eq. 9", decide=adjusted_logits),
    Recipe("class_weights", "the loss has to know that some errors cost more", "King & Zeng 2001",
           weigh=inverse_frequency, kinds=ANY),
    Recipe("effective_number", "inverse frequency is too harsh on a long tail",
           "Cui et al. 2019, arXiv:1901.05555, Proposition 1", weigh=effective_number, kinds=ANY),
    Recipe("focal", "most examples are easy and drown the few hard ones",
           "Lin et al. 2017, arXiv:1708.02002, eq. 4", loss=focal),
    Recipe("prioritised", "one class must not be missed", "the course, lesson 05", weigh=prioritised,
           kinds=ANY),
    Recipe("auxiliary", "one class must not be missed, and weights are not enough",
           "the course, lesson 05", loss=with_auxiliary),
    Recipe("label_smoothing", "labels are noisy or the network too sure",
           "Szegedy et al. 2016, arXiv:1512.00567, section 7", loss=smoothed),
    Recipe("logit_adjustment", "balanced error matters, many classes",
           "Menon et al. 2021, arXiv:2007.07314, eq. 10", loss=logit_adjusted),
    Recipe("ldam", "a long tail and a deep network",
           "Cao et al. 2019, arXiv:1906.07413, section 3.2 and Algorithm 1", loss=ldam,
           feedback=deferred_weights, adapt=cosine_head),
    Recipe("random_oversample", "few examples and no wish to touch the loop", "He & Garcia 2009",
           resample=oversample, batches=uniform_mix, kinds=ANY),
    Recipe("random_undersample", "far more common examples than there is time for", "He & Garcia 2009",
           resample=undersample, batches=uniform_mix, kinds=ANY),
    Recipe("smote", "small tables of numbers, weak learners", "Chawla et al. 2002, arXiv:1106.1813",
           resample=smote, batches=uniform_mix),
    Recipe("augmentation", "changes are known that keep the label", "the course, lesson 07",
           augment=label_safe),
    Recipe("mixup", "a network that memorises its tail", "Zhang et al. 2018, arXiv:1710.09412, eq. 1",
           augment=mix_up),
    Recipe("balanced_ensemble", "undersampling throws too much away", "Liu et al. 2009, EasyEnsemble",
           resample=undersample, batches=uniform_mix, members=5),
    Recipe("uniform", "batches have to show every class", "the obligatory control for learn2mix",
           batches=uniform_mix, kinds=ANY),
    Recipe("weighted_sampler", "what WeightedRandomSampler is meant to do", "torch.utils.data",
           batches=weighted_draw, kinds=ANY),
    Recipe("importance", "a few examples carry most of the gradient",
           "Katharopoulos & Fleuret 2018, arXiv:1803.00942", batches=by_example,
           feedback=follow_example_losses, kinds=ANY),
    Recipe("curriculum", "hard examples are mostly noise",
           "Bengio et al. 2009, doi:10.1145/1553374.1553380", batches=easy_first, feedback=easiest_part,
           kinds=ANY),
    Recipe("alternating", "classes arrive one at a time", "the course, lesson 08",
           batches=one_class_at_a_time, kinds=ANY),
    Recipe("learn2mix", "some classes are harder, and steps are few", _LEARN2MIX, feedback=follow_losses,
           kinds=ANY),
    Recipe("group_dro", "the worst class counts (control for learn2mix)",
           "Sagawa et al. 2020, arXiv:1911.08731, Algorithm 1", feedback=follow_losses_with_weights,
           kinds=ANY),
)  # fmt: skip
RECIPES: dict[str, Recipe] = {row.name: row for row in _ROWS}

_PLACES = {
    "data": ("resample", "augment"),
    "batch": ("batches",),
    "loss": ("weigh", "loss"),
    "decision": ("decide",),
}


def summary(factory: Callable) -> str:
    """What the table says of a factory: the first line of its docstring."""
    doc = (factory.func if isinstance(factory, partial) else factory).__doc__
    return (doc or "").strip().partition("\n")[0]


def table(recipes: Iterable[Recipe] | None = None) -> pd.DataFrame:
    """The course's table, one row per recipe: what it does in each place where imbalance can be acted on."""
    rows = []
    for recipe in RECIPES.values() if recipes is None else recipes:
        row = {"method": recipe.name}
        for place, names in _PLACES.items():
            acts = [
                f
                for f in (getattr(recipe, name) for name in names)
                if f not in (as_is, no_change, no_weight, plain)
            ]
            idle = {"data": "as is", "loss": "1"}.get(place, "")
            row[place] = "; ".join(map(summary, acts)) or idle
        row["feedback"] = "" if recipe.feedback is no_feedback else summary(recipe.feedback)
        if recipe.members > 1:
            row["decision"] = f"average of {recipe.members} members, then {row['decision']}"
        rows.append({**row, "when": recipe.when})
    return pd.DataFrame(rows).set_index("method")
