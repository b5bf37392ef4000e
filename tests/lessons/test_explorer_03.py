"""Explorer of lesson 03: NumPy takes the steps of torch, and a falling loss hides what happens to the ill."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.classroom.lessons.lesson_03 import explorer as lesson
from course_lib.classroom.lessons.lesson_03.explorer import (
    DEFAULT,
    PASSES,
    PRIOR,
    RATES,
    compute,
    describe,
    stop_early,
    table,
    total,
)
from tests.lessons.books import code_cells, read

TORCH = {
    "SGD": torch.optim.SGD,
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    "RMSprop": torch.optim.RMSprop,
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
}


@pytest.mark.parametrize("name", RATES)
def test_every_optimizer_takes_the_steps_of_torch(name):
    rng = np.random.default_rng(1)
    network = lesson.new_network(DEFAULT, rng)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2)).double()
    with torch.no_grad():
        for parameter, part in zip(model.parameters(), network, strict=True):
            parameter.copy_(torch.tensor(part.T))
    ours, theirs = lesson.Optimizer(name, network), TORCH[name](model.parameters(), lr=RATES[name])
    for seed in range(5):
        x, y = lesson.children(200, seed)
        ours.step(lesson.gradients(network, x, y))
        theirs.zero_grad()
        F.cross_entropy(model(torch.tensor(x)), torch.tensor(y)).backward()
        theirs.step()
    for parameter, part in zip(model.parameters(), network, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy().T, part, rtol=1e-6, atol=1e-9)


def test_the_start_at_the_prior_says_the_share_of_the_ill_and_the_default_says_half():
    loss = total(compute(start=PRIOR))[0], total(compute(start=DEFAULT))[0]
    assert loss[0] == pytest.approx(0.056, abs=0.01) and loss[1] == pytest.approx(0.69, abs=0.2)


def test_the_loss_of_all_falls_while_the_loss_of_the_ill_rises_and_the_pairs_get_worse_than_guessing():
    result = compute("Adam", 128, DEFAULT)
    assert total(result)[3] < total(result)[0] / 5
    assert result.loss[3, 1] > 3 * result.loss[0, 1]
    assert result.pairs.min() < 45 and compute("Adam", 128, PRIOR).pairs.min() > 50


def test_stopping_on_accuracy_keeps_a_network_that_stopping_on_the_loss_beats():
    for optimizer, start in (("Adam", DEFAULT), ("SGD", PRIOR)):
        result = compute(optimizer, 128, start)
        assert result.pairs[result.stops["accuracy"]] + 20 < result.pairs[result.stops["loss"]]


def test_at_the_prior_the_loss_turns_long_before_the_last_pass_and_stopping_on_it_keeps_better_pairs():
    result = compute("Adam", 128, PRIOR)
    assert total(result).argmin() < PASSES / 2 and total(result)[-1] > 1.2 * total(result).min()
    assert result.stops["loss"] < PASSES - 3
    assert result.pairs[result.stops["loss"]] > result.pairs[-1] + 2


@pytest.mark.parametrize(
    ("scores", "patience", "kept"),
    [([1, 2, 3], 3, 2), ([3, 2, 2, 2, 9], 3, 0), ([3, 2, 2, 4], 3, 3), ([1, 1, 1, 1], 3, 0), ([5], 3, 0)],
)
def test_early_stopping_keeps_the_best_before_its_patience_ends_as_the_lesson_writes_it(
    scores, patience, kept
):
    names = {}
    source = next(c.source for c in code_cells(read_lesson()) if "def stop_early" in c.source)
    exec(source.split("\n\n\n")[0], names)
    assert stop_early(scores, patience) == names["stop_early"](scores, patience) == kept


def read_lesson():
    from tests.lessons.books import NOTEBOOKS

    return read(NOTEBOOKS / "03_training_basics.ipynb")


def test_the_updates_that_the_lesson_writes_by_hand_are_those_of_torch():
    source = next(c.source for c in code_cells(read_lesson()) if "w_rmsprop -= " in c.source)
    for slope in (4.0, 0.04):
        names = {"print": lambda *said: None, "torch": torch}
        exec(source.replace("(4.0, 0.04)", f"({slope},)"), names)
        for name, place in (
            ("SGD", "w_sgd"),
            ("momentum", "w_momentum"),
            ("RMSprop", "w_rmsprop"),
            ("Adam", "w_adam"),
            ("AdamW", "w_adamw"),
        ):
            w = nn.Parameter(torch.zeros(1, dtype=torch.float64))
            decay = {"weight_decay": 1.0} if name == "AdamW" else {}
            optimizer = TORCH[name]([w], lr=0.1, **decay)
            for _ in range(3):
                w.grad = torch.full((1,), slope, dtype=torch.float64)
                optimizer.step()
            assert names[place] == pytest.approx(w.item(), rel=1e-4), name


def test_pairs_are_the_area_under_the_curve():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    score, y = rng.normal(size=500), np.arange(500) % 5 == 0
    assert lesson.auc(score, y.astype(int)) == pytest.approx(roc_auc_score(y, score))


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"optimizer": "Lion"}, "optimizer"), ({"batch_size": 0}, "batch_size"), ({"start": "zero"}, "start")],
)
def test_settings_out_of_range_are_refused(setting, said):
    with pytest.raises(ValueError, match=f"{said} must"):
        compute(**setting)


def test_sentence_and_table_agree():
    result, before = compute(start=PRIOR), compute()
    rows = table(result).set_index("pass")
    assert len(rows) == PASSES + 1
    for name, stop in result.stops.items():
        assert name in rows["early stopping on"][stop]
        assert f"{name} at pass {stop}: {rows['pairs of 100'][stop]:.0f}" in describe(result)
    assert f"Before: {before.pairs[-1]:.0f}" in describe(result, before)
