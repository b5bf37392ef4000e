"""The recorded study: its rows are what its script gives, and every file is whole."""

import importlib
import sys
from pathlib import Path

import pandas as pd
import pytest

from course_lib.data import downloads
from course_lib.metrics import t_interval
from course_lib.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "data" / "results"
RUN = ["part", "recipe", "seed", "decision", "metric", "at"]
SAYS = ["python", "torch", "scikit-learn", "processor", "date", "command", "budget", "task"]


@pytest.fixture(scope="module")
def study():
    """The modules beside the results."""
    sys.path.insert(0, str(RESULTS))
    try:
        yield [importlib.import_module(name) for name in ("study", "settings", "atlas")]
    finally:
        sys.path.remove(str(RESULTS))


def recorded():
    return sorted(file for file in RESULTS.rglob("*.csv") if file.stem != "atlas")


@pytest.mark.parametrize("file", recorded(), ids=lambda file: str(file.relative_to(RESULTS)))
def test_a_recorded_file_is_whole_and_says_how_it_was_made(study, file):
    table = pd.read_csv(file, dtype={"python": str})
    quick = file.parent.name == "quick"
    part = study[1].PARTS[file.stem].quick if quick else study[1].PARTS[file.stem]
    assert not table.duplicated(RUN).any() and table.value.notna().all()
    assert table[SAYS].notna().all().all() and set(table.part) == {file.stem}
    assert set(table.command) == {f"python data/results/study.py {'--quick ' if quick else ''}{file.stem}"}
    names = {row if isinstance(row, str) else row.name for row in part.chosen}
    assert names < set(table.recipe) and set(table.metric) == set(part.metrics)
    assert (table.groupby("recipe").seed.nunique() == part.seeds).all()
    networks = table[table.steps > 0]
    assert (networks.groupby(["recipe", "seed"])["at"].nunique() == len(part.at)).all()


@pytest.mark.parametrize("name", ["mean_estimation", "wine"])
def test_a_recorded_row_comes_out_again(study, name, monkeypatch, tmp_path):
    if name == "wine" and not (downloads.data_dir() / "winequality-red.csv").is_file():
        beside = ROOT.parent / "shared" / "data"
        if not beside.is_dir():
            pytest.skip("the wine table is not here, and tests download nothing")
        monkeypatch.setenv("COURSE_DATA_DIR", str(beside))
    script, settings, _ = study
    part = settings.PARTS[name]
    rows = [row for row in part.chosen if getattr(row, "name", row) in ("learn2mix", "least squares")]
    short = settings.replace(part, chosen=rows)
    monkeypatch.setitem(settings.PARTS, name, short)
    monkeypatch.setattr(script, "KEEP", tmp_path)
    again = script.record(name, quick=True, workers=1).set_index(RUN).value
    before = pd.read_csv(RESULTS / "quick" / f"{name}.csv").set_index(RUN).value
    assert len(again) > 30
    assert again.to_dict() == pytest.approx(before.loc[again.index].to_dict(), rel=1e-3)


def test_the_atlas_has_every_row_of_the_table_and_the_runs_of_every_entry(study):
    atlas = study[2]
    table = pd.read_csv(RESULTS / "atlas.csv", dtype={"python": str})
    assert set(atlas.ENTRIES) == set(RECIPES) - {"plain"}
    named = {(place, row) for row, places in atlas.ENTRIES.items() for place in places if place}
    found = set(table[table.recipe != "plain"][["part", "recipe"]].itertuples(index=False, name=None))
    assert found == named
    assert table[SAYS].notna().all().all() and set(table.command) == {"python data/results/atlas.py"}
    assert not set(atlas.SEARCHED) & set(table.seed)
    assert (table.groupby(["part", "recipe"]).seed.nunique() == len(atlas.CONFIRMED)).all()


@pytest.mark.parametrize(("setting", "row"), [("first steps", "smote"), ("long tail, 60 steps", "learn2mix")])
def test_an_entry_of_the_atlas_comes_out_again(study, setting, row, monkeypatch, tmp_path):
    atlas = study[2]
    monkeypatch.setattr(atlas, "KEEP", tmp_path)
    again = atlas.record(setting, [row], range(2))
    before = pd.read_csv(RESULTS / "atlas.csv")
    before = before[(before.part == setting) & (before.seed < 2)]
    metric = atlas.SETTINGS[setting].metric
    new, old = atlas.gains(again, metric, row), atlas.gains(before, metric, row)
    assert new.to_dict() == pytest.approx(old.to_dict(), abs=2e-3)


def test_an_unknown_part_is_refused_with_the_names_there_are(study, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["study.py", "--quick", "wines"])
    with pytest.raises(SystemExit):
        study[0].main()
    assert "PART must be one of mean_estimation, wine" in capsys.readouterr().err


def test_the_verdicts_of_the_page_are_those_of_the_files(study):
    """`python data/results/verdicts.py` writes them."""
    verdicts = importlib.import_module("verdicts")
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert verdicts.written(page) == page
    said = {case.claim for case in verdicts.CASES}
    assert said == set(verdicts.WORDS)


def test_a_verdict_row_is_what_differences_gives(study):
    """By hand: the paired t-interval of ten fresh data sets."""
    verdicts = importlib.import_module("verdicts")
    table = pd.read_csv(RESULTS / "mean_estimation.csv").query("metric == 'squared_error' and at == 0.25")
    side = table.pivot(index="seed", columns="recipe", values="value")
    mean, low, high = t_interval(side.learn2mix - side.plain)
    line = verdicts.row(verdicts.Case("C4", "mean_estimation", 0.25))
    assert f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]" in line and "| better |" in line
