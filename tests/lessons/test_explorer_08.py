"""Explorer of lesson 08: batches that keep their schedule, and the numbers that the lesson tells of it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from course_lib.classroom.lessons.lesson_08.explorer import (
    EVERY,
    MIXED,
    ORDERS,
    RARE,
    SHUFFLED,
    STEPS,
    VISITS,
    batches,
    compute,
    describe,
    draw,
    images,
    table,
    train,
)


@pytest.fixture(scope="module")
def training_part():
    x, y, _, _ = images()
    return x, y


def test_fours_are_rare_in_training_and_as_frequent_as_the_others_in_the_test():
    _, y, _, y_test = images()
    counts, tested = torch.bincount(y), torch.bincount(y_test)
    assert counts[RARE] == 10 and (counts == 100).sum() == 9
    assert tested.min() >= 44 and tested.max() <= 53


@pytest.mark.parametrize("visit", VISITS)
@pytest.mark.parametrize("order", [order for order in ORDERS if order != MIXED])
def test_every_batch_shows_one_digit_and_every_visit_is_as_long_as_asked(training_part, visit, order):
    x, y = training_part
    labels = y[batches(y, x, visit, order)]
    assert labels.shape == (STEPS, 32) and (labels == labels[:, :1]).all()
    turns = labels[:, 0].view(-1, visit)
    assert (turns == turns[:, :1]).all()
    rounds = turns[:, 0].view(-1, 10).sort(1).values
    assert (rounds == torch.arange(10)).all(), "every digit once in every round"


def test_orders_are_what_their_names_say(training_part):
    x, y = training_part
    first = {order: y[batches(y, x, 1, order)][:30, 0].tolist() for order in ORDERS}
    assert first["cyclic"] == [*range(10)] * 3
    assert first["frequency"][9] == RARE and first["given"][0] == RARE
    assert first[SHUFFLED][:10] != first[SHUFFLED][10:20]
    assert len(y[batches(y, x, 1, MIXED)][0].unique()) == 10


def test_the_right_panel_is_the_column_of_the_chosen_step():
    result = compute(step=500)
    np.testing.assert_array_equal(result.now, result.found[500 // EVERY - 1])
    assert result.turn == 4, "steps 481 to 500 are the fifth visit of the third round"
    assert result.ago[4] == 0 and result.ago[3] == 20 and result.ago[5] == 180


def test_equal_visits_are_not_equal_learning():
    result = compute()
    seen = result.seen[-1]
    assert (seen == seen[0]).all() and seen.sum() == 32 * STEPS
    assert result.now[9] > 95 and result.now[RARE] < 5


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"visit": 1}, 95),
        ({"visit": 2}, 93),
        ({"visit": 5}, 79),
        ({"visit": 20}, 16),
        ({"visit": 100}, 10),
        ({"visit": 1, "norm": "batch"}, 5),
        ({"visit": 1, "norm": "layer"}, 97),
        ({"order": MIXED}, 96),
    ],
)
def test_numbers_that_the_lesson_tells(setting, told):
    assert compute(**setting).now.mean() == pytest.approx(told, abs=3)


def test_a_digit_not_met_yet_has_no_last_batch():
    result = compute(step=30)
    assert result.ago.tolist() == [10, 0] + [-1] * 8
    assert table(result)["steps since its last batch"].tolist()[2] == "none yet"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"visit": 3}, "visit"),
        ({"order": "random"}, "order"),
        ({"norm": "group"}, "norm"),
        ({"step": 5}, "step"),
        ({"step": 0}, "step"),
    ],
)
def test_settings_that_are_not_offered_are_refused(setting, said):
    with pytest.raises(ValueError, match=f"{said} must"):
        compute(**setting)


def test_training_does_not_depend_on_the_seed_of_the_reader():
    torch.manual_seed(5)
    one = train.__wrapped__(100, "cyclic", "none")
    torch.manual_seed(6)
    np.testing.assert_array_equal(one[0], train.__wrapped__(100, "cyclic", "none")[0])


def test_picture_sentence_and_table_agree():
    result, before = compute(step=700), compute(visit=5)
    fig = draw(result, before)
    left, right = fig.axes
    assert left.images[0].get_array().shape == (10, STEPS // EVERY)
    np.testing.assert_allclose([bar.get_width() for bar in right.patches], result.now)
    plt.close(fig)
    said = describe(result, before)
    assert f"{result.now.mean():.0f} of 100 digits are found" in said
    assert f"Before: {before.now.mean():.0f} of 100 digits" in said
    rows = table(result)
    assert rows["found of 100"].tolist() == result.now.round().astype(int).tolist()
    lost = said.split("Found less than 20 times of 100: ")[1].split(".")[0]
    assert lost == (", ".join(str(k) for k in range(10) if result.now[k] < 20) or "no digit")
