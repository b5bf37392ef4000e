"""Exercises of lesson 06: right answers in another form pass, typical wrong ones hear what is meant for them."""

from pathlib import Path

import nbformat
import pytest
import torch
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from course_lib.classroom import checks
from course_lib.classroom.lessons.lesson_06.checks import new_points, repaired
from tests.lessons.answers import passes, refused

LESSON = Path(__file__).parents[2] / "notebooks" / "06_smote.ipynb"


def by_loop(ill, k, base, choice, gap):
    made = []
    for b, c, g in zip(base.tolist(), choice.tolist(), gap.tolist()):
        others = sorted((r for r in range(len(ill)) if r != b), key=lambda r: float((ill[r] - ill[b]).norm()))
        made.append([(1 - g) * a + g * z for a, z in zip(ill[b].tolist(), ill[others[:k][c]].tolist())])
    return torch.tensor(made)


def by_lerp(ill, k, base, choice, gap):
    near = torch.cdist(ill, ill).argsort(1)[:, 1 : k + 1]  # column 0 is the person
    return torch.lerp(ill[base], ill[near[base, choice]], gap[:, None])


@pytest.mark.parametrize("function", [by_loop, by_lerp])
def test_new_points_pass_however_they_are_written(function):
    passes("06.1", function)


def with_himself(ill, k, base, choice, gap):
    near = torch.cdist(ill, ill).topk(k, largest=False).indices
    return ill[base] + gap[:, None] * (ill[near[base, choice]] - ill[base])


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda i, k, b, c, g: new_points(i, k, b, c, 1 - g), "started at the partner"),
        (lambda i, k, b, c, g: new_points(i, k, b, c * 0, g), "took the nearest"),
        (lambda i, k, b, c, g: i[b], "nothing was blended"),
        (with_himself, "values are off"),
    ],
)
def test_slips_with_new_points_are_named(function, said):
    assert said in refused("06.1", function)


def score(steps, x, y):
    folds = StratifiedKFold(5, shuffle=True, random_state=1)
    return 100 * cross_val_score(steps, x, y, cv=folds, scoring="roc_auc").mean()


def honest(x, y):
    return score(make_pipeline(SMOTE(random_state=3), SelectKBest(k=10), KNeighborsClassifier(7)), x, y)


def columns_outside(x, y):
    chosen = SelectKBest(k=10).fit_transform(x, y)
    return score(make_pipeline(SMOTE(random_state=0), KNeighborsClassifier()), chosen, y)


def smote_outside(x, y):
    more = SMOTE(random_state=0).fit_resample(x, y)
    return score(make_pipeline(SelectKBest(k=10), KNeighborsClassifier()), *more)


def no_smote(x, y):
    return score(make_pipeline(SelectKBest(k=10), KNeighborsClassifier()), x, y)


def all_columns(x, y):
    return score(make_pipeline(SMOTE(random_state=0), KNeighborsClassifier()), x, y)


def test_an_honest_score_passes_whatever_comes_first_in_the_pipeline():
    checks.require("06.2", honest)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (columns_outside, "labels of the test people"),
        (smote_outside, "SMOTE sees all 200 people"),
        (no_smote, "SMOTE never runs"),
        (all_columns, "Which step is missing"),
        (lambda x, y: "good", "a number was expected"),
    ],
)
def test_leaks_are_named(function, said):
    assert said in refused("06.2", function)


def test_two_islands_land_in_the_circle_and_one_does_not():
    left = torch.tensor([[-2.5, 0.0], [-2.4, 0.1], [-2.4, -0.1]])
    checks.require("06.3", lambda: torch.cat([left, -left]))
    assert "land inside the circle" in refused("06.3", lambda: torch.cat([left, left]))
    assert "outside radius 2" in refused("06.3", lambda: torch.cat([left, -left]) / 2)
    assert "shape (6, 2)" in refused("06.3", lambda: left)


def test_repaired_p_passes_by_logarithms():
    passes("06.5", lambda p, kept: torch.sigmoid(torch.logit(p) + torch.tensor(kept).log()))
    passes("06.5", lambda p, kept: kept * p / (1 - p) / (1 + kept * p / (1 - p)))
    assert repaired(torch.tensor(10 / 59), 0.1).item() == pytest.approx(0.02, abs=1e-4)


def the_answer_of_the_lesson():
    [cell] = [c for c in nbformat.read(LESSON, 4).cells if c.source.startswith("def our_repaired")]
    room = {}
    exec(cell.source.split("repaired = checks")[0], room)
    return room["our_repaired"]


@pytest.mark.parametrize("function", [repaired, the_answer_of_the_lesson()], ids=["check", "lesson"])
def test_a_sure_p_stays_sure_when_the_odds_are_repaired(function):
    """A saturated network says exactly 1, and its odds would be infinite."""
    sure = torch.tensor([0.0, 1.0])
    assert function(sure, 1 / 49).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda p, kept: kept * p, "rule holds for the odds"),
        (lambda p, kept: repaired(p, 1 / kept), "multiply them by `kept`"),
        (lambda p, kept: kept * p / (1 - p), "these are the odds"),
        (lambda p, kept: p, "were not repaired"),
    ],
)
def test_slips_with_the_odds_are_named(function, said):
    assert said in refused("06.5", function)


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        ("06.4", "a", "cut"),
        ("06.4", "c", "not 1"),
        ("06.4", "d", "seldom"),
        ("06.6", 14, "honest precision"),
        ("06.6", 80, "recall"),
        ("06.6", 0.89, "of 100"),
        ("06.6", 50, "too small"),
    ],
)
def test_wrong_answers_hear_why(key, given, said):
    assert said in refused(key, given)


@pytest.mark.parametrize(("key", "given"), [("06.4", "B"), ("06.6", 100 * 8 / 9)])
def test_right_answers_pass(key, given):
    checks.require(key, given)
