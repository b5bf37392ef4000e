"""Recorded results as a lesson reads them."""

import os

import pytest

from course_lib.classroom import recorded


def test_a_part_is_found_whatever_folder_the_notebook_lies_in(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert os.getcwd() == str(tmp_path)
    table = recorded.read("mean_estimation")
    assert set(table.metric) == {"squared_error"} and {"plain", "learn2mix", "uniform"} <= set(table.recipe)
    assert set(recorded.read("mean_estimation", "worst_group_error").metric) == {"worst_group_error"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("wines",), "name must be one of california"),
        (("atlas",), "name must be one of california"),
        (("wine", "accuracy"), "metric must be one of squared_error"),
    ],
)
def test_an_unknown_part_or_metric_is_refused_with_those_there_are(given, said):
    with pytest.raises(ValueError, match=said):
        recorded.read(*given)


def test_each_setting_of_the_atlas_is_judged_by_one_metric():
    atlas = recorded.read_atlas()
    assert (atlas.groupby("part").metric.nunique() == 1).all() and "plain" in set(atlas.recipe)
