"""Loss -> batch or weights: what happens after each round. And the rows that act on the data by what a network says.

Each factory is called once, when training starts, with the `Run`; what it returns is called with the `RoundStats` of
every round. What is timed is timed as a share of `run.steps`, so members of an ensemble keep the schedule. Weights are
multiplied into what `weigh` gave, and a mix or a probability starts where `batches` put it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.data.task import Split
from course_lib.inputs import as_choice, as_number
from course_lib.learn2mix import Learn2Mix
from course_lib.recipes.core import Recipe, Run
from course_lib.recipes.parameters import says
from course_lib.recipes.parts import inverse_frequency, last_linear
from course_lib.recipes.running import start, train
from course_lib.sampling import ClassMixBatchSampler, ExampleBatchSampler
from course_lib.training import RoundStats, predict

Feedback = Callable[[RoundStats], None]


def _start_mix(run: Run) -> Tensor:
    """The class mix (K,) that the batches start with."""
    if not isinstance(run.sampler, ClassMixBatchSampler) or run.sampler.mix.ndim != 1:
        raise TypeError(
            f"feedback of {run.recipe.name} moves a class mix, but its batches come from {type(run.sampler).__name__}; "
            "take batches=prior_mix, uniform_mix, power_mix or chosen_mix"
        )
    return run.sampler.mix


def _start_probability(run: Run) -> Tensor:
    """The probability (N,) of each example that the batches start with."""
    if not isinstance(run.sampler, ExampleBatchSampler):
        raise TypeError(
            f"feedback of {run.recipe.name} moves the probability of examples, but its batches come from "
            f"{type(run.sampler).__name__}; take batches=by_example or weighted_draw"
        )
    return run.sampler.probability


def example_losses(run: Run, part: Split | None = None) -> Tensor:
    """Loss of every example under the present weights, (N,) float64, in data-set order; default: the training part."""
    part = run.train if part is None else part
    return run.task.example_loss(predict(run.model, part.x), part.y).double().cpu()


def _mean_by_class(run: Run, values: Tensor, group: Tensor) -> Tensor:
    """(N,) -> (K,) float64, NaN for a class without examples."""
    total = torch.zeros(2, run.task.num_groups, dtype=torch.float64)
    total[0].index_add_(0, group.cpu(), values.double().cpu())
    total[1].index_add_(0, group.cpu(), torch.ones(len(group), dtype=torch.float64))
    return total[0] / total[1]


def _plain_twin(run: Run) -> Run:
    """The same run without any method, trained to its end: same data, initial weights, batches and number of steps."""
    recipe = Recipe("plain", kinds=run.recipe.kinds, members=run.recipe.members)
    twin = start(recipe, run.task, run.budget, run.seed, run.member)
    for _ in train(twin, validation=False):
        pass
    return twin


# ---- the mix ----------------------------------------------------------------------------------------------


@says("moves toward the class-wise loss")
def follow_losses(
    run: Run, mixing_rate: float = 0.1, loss_from: str = "round", floor: float = 0.0, smoothing: float = 0.0
) -> Feedback:
    """learn2mix.

    mixing_rate, floor, smoothing  of `Learn2Mix`
    loss_from  "round": class losses averaged over the round, on the way, as the paper says; "last_batch": over its
               last batch alone, before that batch's step, as the authors' code does for regression (for classification
               it runs the last batch once more, after the step); "validation": over the validation part, after it
    """
    control = Learn2Mix(_start_mix(run), mixing_rate, floor=floor, smoothing=smoothing)

    def validation(s: RoundStats) -> tuple[Tensor, None]:
        if s.validation_loss is not None:
            return s.validation_loss, None
        held = run.task.validation
        return _mean_by_class(run, example_losses(run, held), held.group), None

    sources = {
        "round": lambda s: (s.class_loss, s.class_count),
        "last_batch": lambda s: (s.last_loss, s.last_count),
        "validation": validation,
    }
    as_choice(loss_from, "loss_from", sources)
    run.control = control  # a live panel moves its rate while training runs
    return lambda s: run.sampler.set_mix(control.update(*sources[loss_from](s)))


@says("moves from the first mix to uniform")
def progress_to_uniform(run: Run) -> Feedback:
    """Mix (1 - t) * first + t * uniform, t the share of the run's steps that are done; set after every round."""
    first = _start_mix(run)
    uniform = (run.prior > 0).double()
    uniform = uniform / uniform.sum()

    def feedback(s: RoundStats) -> None:
        t = min(1.0, s.steps / run.steps)
        run.sampler.set_mix((1 - t) * first + t * uniform)

    return feedback


@says("moves toward the loss that can still fall")
def follow_excess_losses(run: Run, step: float = 1.0, smoothing: float = 1e-3) -> Feedback:
    """The mix follows how much higher a class's loss is than that of a plain reference run; DoReMi's update.

    step       log mix += step * max(0, loss - reference loss), once a round (DoReMi: in every step)
    smoothing  in [0, 1], share of uniform that is mixed in after each update

    The reference is a plain run with the same data, initial weights and number of steps, trained here first: the recipe
    costs twice the budget. The mix is used as it moves; DoReMi trains another network with its average.
    """
    step, smoothing = as_number(step, "step", 0), as_number(smoothing, "smoothing", 0, 1)
    log_mix = _start_mix(run).log()
    present = run.prior > 0
    uniform = present.double() / present.sum()
    twin = _plain_twin(run)
    reference = _mean_by_class(run, example_losses(twin, run.train), run.train.group)

    def feedback(s: RoundStats) -> None:
        nonlocal log_mix
        excess = (
            (s.class_loss - reference).clamp_min(0).nan_to_num(0)
        )  # not met: nothing known, nothing added
        mix = (1 - smoothing) * torch.softmax(log_mix + step * excess, 0) + smoothing * uniform
        log_mix = mix.log()
        run.sampler.set_mix(mix)

    return feedback


# ---- the weights ------------------------------------------------------------------------------------------


@says("class weights moved by the loss")
def follow_losses_with_weights(run: Run, step: float = 0.5, first: str = "uniform") -> Feedback:
    """Group DRO: shares q of the groups, moved by q_k ~ q_k exp(step * loss_k); an example weighs q_k / prior_k.

    step   >= 0
    first  q before the first round: "uniform" over the groups that have examples, as the paper has it, or "prior"

    Algorithm 1 moves q in every step and before the step is taken. Here q moves after every round, by the round's mean
    losses; with batches_per_update=1 a round is one step, and q lags it by one. A group that the round did not meet
    keeps its q (in the paper it counts as one with loss 0).
    """
    step = as_number(step, "step", 0)
    as_choice(first, "first", ("uniform", "prior"))
    present = run.prior > 0
    log_q = torch.where(present, 0.0 if first == "uniform" else run.prior.log(), -torch.inf).log_softmax(0)

    def weigh() -> None:
        run.factor = run.by_class(torch.where(present, log_q.exp() / run.prior, 0))

    def feedback(s: RoundStats) -> None:
        nonlocal log_q
        met = present & (s.class_count > 0)
        # In logarithms, so that no exponential of a large loss is ever formed; the met share among themselves.
        moved = torch.where(met, log_q + step * s.class_loss.nan_to_num(0), -torch.inf)
        together = torch.where(met, log_q, -torch.inf).logsumexp(0)
        log_q = torch.where(met, moved.log_softmax(0) + together, log_q)
        weigh()

    weigh()
    return feedback


@says("class weights by 1 - accuracy on validation")
def follow_difficulty(run: Run, tau: float = 1.0, act: str = "weights") -> Feedback:
    """CDB: difficulty d_k = 1 - accuracy of class k on validation, measured after every round.

    tau  >= 0; 0 treats all classes alike, larger follows the difficulty more
    act  "weights": class weights K d_k^tau / sum d^tau (CDB-W); "mix": shares of the batch ~ d_k^tau (CDB-S)

    A class that validation lacks counts as one of average difficulty. When every example is right nothing changes.
    """
    tau = as_number(tau, "tau", 0)
    as_choice(act, "act", ("weights", "mix"))
    if act == "mix":
        _start_mix(run)
    present, held = run.prior > 0, run.task.validation

    def feedback(s: RoundStats) -> None:
        wrong = predict(run.model, held.x).argmax(1) != held.y
        difficulty = _mean_by_class(run, wrong, held.group)
        difficulty = torch.where(difficulty.isnan(), difficulty.nanmean(), difficulty)
        power = torch.where(present, difficulty**tau, 0)
        if difficulty[present].sum() == 0:
            return
        if act == "mix":
            run.sampler.set_mix(power / power.sum())
        else:
            run.factor = run.by_class(int(present.sum()) * power / power.sum())

    return feedback


@says("w[y] in the last part of training")
def deferred_weights(
    run: Run, start: float = 0.8, weights: Callable[[Run], Tensor] = inverse_frequency
) -> Feedback:
    """Example weights from the first round on that begins after a share `start` of the run's steps.

    weights  Run -> (N,), as for `weigh`
    """
    start = as_number(start, "start", 0, 1)

    def feedback(s: RoundStats) -> None:
        if s.steps >= start * run.steps:
            run.factor = weights(run)

    return feedback


# ---- the examples -----------------------------------------------------------------------------------------


def gradient_bounds(run: Run) -> Tensor:
    """Length of the gradient of each example's loss with respect to the network's outputs, (N,) float64.

    The gradient with respect to all weights is at most a constant times this (Katharopoulos & Fleuret 2018, eq. 20).
    """
    outputs = predict(run.model, run.train.x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(run.task.example_loss(outputs, run.train.y).sum(), outputs)
    return slope.flatten(1).norm(dim=1).double().cpu()


@says("1 / (N q), q by example gradient")
def follow_examples(run: Run, uniform_share: float = 0.2, score: str = "gradient_bound") -> Feedback:
    """Importance sampling: examples drawn with probability q, weighted 1 / (N q), so that the objective stays the same.

    uniform_share  in [0, 1] of q; it keeps 1 / (N q), and with it the variance, bounded
    score          what q follows: "gradient_bound", the cited one; or "loss", unbiased too, but no bound

    Differs from the paper: all examples are scored once a round, with the weights of that moment; the paper scores a
    larger batch before every step, and draws uniformly until that pays.
    """
    uniform_share = as_number(uniform_share, "uniform_share", 0, 1)
    scores = {"gradient_bound": gradient_bounds, "loss": example_losses}
    as_choice(score, "score", scores)
    first = _start_probability(run)

    def feedback(s: RoundStats) -> None:
        value = first * scores[score](run)
        q = first
        if value.sum() > 0:
            q = uniform_share * first + (1 - uniform_share) * value / value.sum()
        run.sampler.set_probability(q / q.sum())
        run.factor = torch.where(q > 0, first / q, 0)

    return feedback


@says("the easiest examples, more of them every round")
def easiest_part(
    run: Run,
    start: float = 0.3,
    full_at: float = 0.7,
    balanced: bool = False,
    scored_by: str = "itself",
) -> Feedback:
    """Curriculum: only the easiest share of the examples is drawn; it grows with the steps, from the first round on.

    start      share at the beginning
    full_at    share of the run's steps after which every example is drawn
    balanced   the share is taken of each class by itself, so that no class is missing
    scored_by  "itself": easy is what the network in training finds easy, scored anew after every round (self-paced
               learning, Kumar et al. 2010); for the first round that network is untrained. "reference": what a plain
               run, trained here first, finds easy (Hacohen & Weinshall 2019); the recipe then costs twice the budget
    """
    start, full_at = (
        as_number(start, "start", 0, 1, above=True),
        as_number(full_at, "full_at", 0, 1, above=True),
    )
    as_choice(scored_by, "scored_by", ("itself", "reference"))
    first = _start_probability(run)
    group = run.train.group.cpu()
    fixed = example_losses(_plain_twin(run), run.train) if scored_by == "reference" else None

    def allow(steps: int) -> None:
        # Scores stand in data-set order: row i of `loss` is row i of the training part.
        loss = example_losses(run) if fixed is None else fixed
        share = min(1.0, start + (1 - start) * steps / (full_at * run.steps))
        allowed = torch.zeros_like(first)
        parts = (
            [(group == k).nonzero().flatten() for k in group.unique()]
            if balanced
            else [torch.arange(len(loss))]
        )
        for rows in parts:
            allowed[rows[loss[rows].argsort()[: max(1, round(share * len(rows)))]]] = 1
        run.sampler.set_probability(first * allowed / (first * allowed).sum())

    allow(0)
    return lambda s: allow(s.steps)


# ---- the head ---------------------------------------------------------------------------------------------


@says("then uniform, for a new head alone")
def retrain_head(run: Run, start: float = 0.7) -> Feedback:
    """cRT: after a share `start` of the run's steps the last linear layer starts anew, and it alone is trained, on
    uniform batches.

    Frozen normalisation layers rest in eval mode (see `training.rounds`).
    """
    start = as_number(start, "start", 0, 1, above=True, below=True)
    _start_mix(run)
    head = last_linear(run.model)
    present = (run.prior > 0).double()
    begun = False

    def feedback(s: RoundStats) -> None:
        nonlocal begun
        if begun or s.steps < start * run.steps:
            return
        begun = True
        own = set(head.parameters())
        for parameter in run.model.parameters():
            parameter.requires_grad_(parameter in own)
        head.reset_parameters()
        for parameter in run.model.parameters():
            run.optimizer.state.pop(parameter, None)  # momentum of the old layer says nothing of the new one
            parameter.grad = None
        run.sampler.set_mix(present / present.sum())

    return feedback
