"""Checks of lesson 09."""

import torch
from sklearn.metrics import f1_score

from course_lib.classroom.checks import NotYet, ask_function, ask_number, choose, exercise, run, same_result
from course_lib.classroom.lessons.lesson_09 import explorer as lesson_09
from course_lib.metrics import t_interval


def a_round():
    """A mix, and a round that met every class; K and sizes differ each time."""
    K = int(torch.randint(3, 8, ()))
    labels = torch.cat([torch.arange(K), torch.randint(K, (40,))])
    mix = torch.rand(K) + 0.1
    return mix / mix.sum(), labels, torch.rand(len(labels)) + 0.05, 0.1 + 0.5 * float(torch.rand(()))


def _sums(labels, losses):
    return torch.bincount(labels, losses), torch.bincount(labels)


def _means(labels, losses):
    total, count = _sums(labels, losses)
    return total / count


def next_mix(mix, labels, losses, rate):
    class_loss = _means(labels, losses)
    return mix + rate * (class_loss / class_loss.sum() - mix)


def _by_total(mix, labels, losses, rate):
    total, _ = _sums(labels, losses)
    return mix + rate * (total / total.sum() - mix)


ask_function(
    "09.1",
    next_mix,
    a_round,
    because="You measure, you aim, and you move a part of the way. The mix still sums to 1.",
    hints=[
        "Measure: the losses of a class added up, divided by how many of this class the round met.",
        "Aim: each class loss divided by the sum of all class losses, so that the aims sum to 1.",
        "Move: the mix plus `rate` times the way that is left, which is `aim - mix`.",
    ],
    slips={
        "in step 1 you use the sum of the losses of a class. A frequent class has a large sum because it is frequent. "
        "Divide by `count`.": _by_total,
        "the aims do not sum to 1. In step 2 divide the class losses by their sum.": lambda m, y, each, r: (
            m + r * (_means(y, each) - m)
        ),
        "in step 2 you divide by the mean loss of all examples. The aims sum to 1 only if you divide by the sum of the "
        "class losses.": lambda m, y, each, r: m + r * (_means(y, each) / each.mean() - m),
        "that is the aim. Step 3 goes only a part `rate` of the way to it.": lambda m, y, each, r: next_mix(
            m, y, each, 1.0
        ),
        "in step 3 you move away from the aim. The way from mix to aim is `aim - mix`.": lambda m, y, each, r: (
            next_mix(m, y, each, -r)
        ),
        "in step 3 you add a part of the aim itself, so the shares sum to more than 1. Add a part of `aim - mix`.": (
            lambda m, y, each, r: m + r * next_mix(m, y, each, 1.0)
        ),
    },
    look="Compare the three steps with the table above: where do the numbers begin to differ?",
)

ask_number(
    "09.2",
    40 * (0.2 + 0.25 * (2.4 / 4 - 0.2)),
    0.02,
    name="the number of examples",
    because="The class that was not met keeps its latest loss, so it still moves towards its share of the losses.",
    hints=[
        "Which three losses stand at the end of the round? The class that no batch met keeps its latest one.",
        "Divide each loss by the sum of the three. That is where the mix would go at mixing rate 1.",
        "Go a quarter of the way from the present share, then multiply by the batch size.",
    ],
    slips={
        6: "you gave the class that no batch met a loss of 0. What is the last thing known about it?",
        24: "that is where the mix would land at mixing rate 1. This one goes a quarter of the way.",
        30: "the losses have to be divided by their sum first, because shares must sum to 1.",
        8: "that is its part of the batch before the update.",
    },
    look="Write the three new shares down. They sum to 1.",
)

DRAWS = 1500


def sizes_and_mixes() -> list[tuple[int, torch.Tensor]]:
    """Batch size and mix: fresh ones, one with an empty class, one with a share below 1 / M."""
    tasks = [(16, torch.tensor([0.7, 0.28, 0.02], dtype=torch.float64))]
    for K in (3, 6, 10):
        raw = torch.rand(K, dtype=torch.float64) + 0.05
        raw[2] *= K != 6
        tasks.append((int(torch.randint(8, 60, ())), raw / raw.sum()))
    return tasks


@exercise(
    "09.3",
    "M times the mix gives numbers with a fraction. Their whole parts are safe; a few places are left over.",
    "16 times (0.7, 0.28, 0.02) gives whole parts 11, 4, 0 and one place left over. If the largest fraction always "
    "takes it, the last class never gets one. Who should get it?",
    "Add the numbers up from left to right, shift all sums by one random number in [0, 1), round down, take "
    "differences.",
)
def fills_every_batch(whole_counts) -> str:
    for size, mix in sizes_and_mixes():
        where = f"batch_size {size} and mix {[round(s, 3) for s in mix.tolist()]}"
        mean = torch.zeros_like(mix)
        for _ in range(DRAWS):
            counts = torch.as_tensor(run(whole_counts, size, mix.clone(), shown=where))
            _judge_counts(counts, size, mix, where)
            mean += counts / DRAWS
        k = int((mean - size * mix).abs().argmax())
        if abs(mean[k] - size * mix[k]) > 0.1:
            starved = " A share below 1 / M always rounds to nothing here." if mean[k] == 0 else ""
            raise NotYet(
                f"on {where} class {k} should get {size * mix[k]:.2f} examples a batch on average, but it got "
                f"{mean[k]:.2f} over {DRAWS} batches.{starved} Let chance decide who gets the places left over."
            )
    return "Every batch is full, nobody is more than one example off, and a share below 1 / M is met now and then."


def _judge_counts(counts: torch.Tensor, size: int, mix: torch.Tensor, where: str) -> None:
    if counts.shape != mix.shape:
        raise NotYet(f"one number per class was expected on {where}, got shape {tuple(counts.shape)}.")
    if counts.is_floating_point():
        raise NotYet(f"whole numbers were expected (an integer dtype) on {where}, got {counts.dtype}.")
    if (total := int(counts.sum())) != size:
        short = "short of" if total < size else "more than"
        raise NotYet(
            f"the counts sum to {total}, {short} the batch size, on {where}. Where did the fractions go?"
        )
    if ((mix == 0) & (counts != 0)).any():
        raise NotYet(f"a class with share 0 was given examples on {where}.")
    k = int((counts - size * mix).abs().argmax())
    if abs(counts[k] - size * mix[k]) >= 1 + 1e-9:
        raise NotYet(
            f"on {where} class {k} got {int(counts[k])} where {size * mix[k]:.2f} is asked for: more than one off. "
            "Drawing each place by itself wanders; fix the whole parts first."
        )


def _three(answer, low: float, high: float, what: str) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in answer)
    except (TypeError, ValueError):
        values = ()
    if len(values) != 3 or not all(low <= value <= high for value in values):
        raise NotYet(f"three {what} between {low:g} and {high:g} were expected, got {answer!r:.60}.")
    return values


def _interval(values) -> tuple[str, float, float]:
    mean, low, high = t_interval(values)
    return f"{mean:+.1f} of 100 [{low:+.1f}, {high:+.1f}]", low, high


@exercise(
    "09.4",
    "With equal spreads, where does learn2mix end? Look at the explorer with 0 wrong labels.",
    "It can only differ from uniform if one illness keeps a larger loss than the others, with right labels.",
    "Make one illness much wider than the other two.",
)
def beats_uniform(spreads) -> str:
    spread = _three(spreads, 0.4, 3.0, "spreads")
    recall, worst = lesson_09.against_uniform(spread=spread)
    (said, low, _), (mean, _, _) = _interval(worst), _interval(recall.mean(1))
    if low <= 0:
        why = "One illness has to stay clearly harder than the others."
        if max(spread) - min(spread) < 0.05:
            why = "All illnesses are equally hard, so the losses are equal and the mix ends where uniform already is."
        raise NotYet(
            f"worst recall, learn2mix minus uniform over 5 seeds: {said}. The interval has to lie above 0. {why}"
        )
    return (
        f"Worst recall, learn2mix minus uniform: {said}. Mean of the three recalls: {mean}. The others pay."
    )


@exercise(
    "09.5",
    "60 wrong labels among 600 colds are 10 %. Among which illness do they weigh most?",
    "The loss of a class is a mean over its own records. Where do a few wrong labels raise this mean most?",
    "Put nearly all of the wrong labels into the smallest class.",
)
def feeds_noise(wrong_labels) -> str:
    counts = _three(wrong_labels, 0, 60, "numbers of wrong labels")
    if sum(counts) > 60:
        raise NotYet(f"at most 60 labels may be wrong in all, got {sum(counts):g}.")
    wrong = [count / all_of_it for count, all_of_it in zip(counts, lesson_09.COUNTS, strict=True)]
    recall, _ = lesson_09.against_uniform(wrong=wrong)
    said, _, high = _interval(recall.mean(1))
    if recall.mean() > -3 or high >= 0:
        raise NotYet(
            f"mean of the three recalls, learn2mix minus uniform over 5 seeds: {said}. It has to lose at least 3 "
            "of 100, with an interval below 0. Which class feels a wrong label most?"
        )
    return (
        f"Mean of the three recalls, learn2mix minus uniform: {said}. A few wrong labels in a rare class are a large "
        "share of it. So they raise its loss most, and learn2mix gives most places to them."
    )


def f1_shares(said, truth) -> torch.Tensor:
    f1 = f1_score(truth.numpy(), said.numpy(), labels=[0, 1, 2], average=None, zero_division=0)
    return torch.tensor((1 - f1) / (1 - f1).sum())


def three_parts() -> dict:
    parts = {}
    for part in ("train", "validation", "test"):
        truth = torch.cat([torch.arange(3), torch.randint(3, (60,))])
        wrong = torch.rand(len(truth)) < 0.3
        wrong[:3] = True  # so that no F1 is 1
        parts[part] = torch.where(wrong, (truth + 1) % 3, truth), truth
    return parts


@exercise(
    "09.6",
    "Which part of the data decides what the network is trained on next? Was it meant to decide anything?",
    "A test score is honest only if nothing was chosen by it. The next batches are a choice.",
    "Take the pair of the validation part, and leave everything else as it is.",
)
def finds_the_leak(letter, shares) -> str:
    choose(
        letter,
        "b",
        {
            "a": "the test images are never trained on, that is true. But what the network is trained on next is "
            "chosen by them.",
            "c": "F1 of a rare class is noisy, that is true, but noise is not a leak. What does the test part "
            "decide here?",
            "d": "the mixing rate only says how fast the mix follows. What does it follow?",
        },
    )
    slips = {
        "test": "it still follows the test part.",
        "train": "it follows the training part: there a memorised class looks perfect. Take validation.",
    }
    for _ in range(3):
        parts = three_parts()
        got = torch.as_tensor(run(shares, parts, shown="predictions and labels of the three parts")).double()
        for part, said in slips.items():
            if got.shape == (3,) and torch.allclose(got, f1_shares(*parts[part]), atol=1e-6):
                raise NotYet(said)
        look = "Shares are (1 - F1) of each class on the validation part, divided by their sum."
        same_result(got, f1_shares(*parts["validation"]), "three parts with random predictions", look)
    return "The mix now follows the validation part, and the test part decides nothing."
