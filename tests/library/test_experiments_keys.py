"""The cache: a finished run is found again when nothing changed that could change it, and only then."""

import functools
import importlib
import json
import sys
import textwrap
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from course_lib import data, experiments
from course_lib.experiments import compare, jobs, keys
from course_lib.metrics import Metric
from course_lib.models import MLP
from course_lib.recipes import RECIPES, Budget, Recipe

BUDGET = Budget(steps=8, batch_size=20)
make_cancer = functools.partial(data.rare_cancer, 0.10)


def go(cache, chosen=("focal",), make_task=make_cancer, **options):
    options = {"budget": BUDGET, "metrics": ("brier",), "progress": False} | options
    return compare(list(chosen), make_task, [0, 1], cache=cache, **options)


@pytest.fixture
def trained(monkeypatch):
    """Names of the recipes trained, in order."""
    names = []
    original = jobs.execute

    def spy(recipe, *rest, **options):
        names.append(recipe.name)
        return original(recipe, *rest, **options)

    monkeypatch.setattr(jobs, "execute", spy)
    return names


def test_the_cache_gives_back_the_same_table_without_training(tmp_path, trained):
    first = go(tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 4 and len(trained) == 4
    pd.testing.assert_frame_equal(first, go(tmp_path))
    assert len(trained) == 4


def test_everything_that_can_change_a_result_changes_the_key(tmp_path, trained):
    go(tmp_path)
    for change in (
        {"chosen": [RECIPES["focal"].vary(gamma=1.0)]},
        {"budget": replace(BUDGET, steps=9)},
        {"budget": replace(BUDGET, optimizer=functools.partial(torch.optim.SGD, lr=1e-2))},
        {"make_task": functools.partial(data.rare_cancer, 0.12)},
        {"metrics": ("brier", "accuracy")},
        {"tune": experiments.learning_rates(1e-2, 1e-3)},
    ):
        before = len(trained)
        go(tmp_path, **change)
        assert len(trained) > before, change
        again = len(trained)
        go(tmp_path, **change)
        assert len(trained) == again, change


@pytest.mark.parametrize("what", ["versions", "place", "sources"])
def test_another_version_or_device_or_source_is_another_key(tmp_path, trained, monkeypatch, what):
    go(tmp_path)
    monkeypatch.setattr(keys, what, lambda *_: "other")
    go(tmp_path)
    assert len(trained) == 8


def test_the_versions_name_what_resamples():
    for name in ("torch", "numpy", "sklearn", "imblearn", "scipy"):
        assert f"{name} {sys.modules[name].__version__}" in keys.versions()


def test_data_from_a_file_that_changed_are_other_data(tmp_path, trained):
    """The same function, the same source: only the data themselves tell."""
    file = tmp_path / "prevalence.txt"
    for number, prevalence in enumerate(("0.1", "0.2"), start=1):
        file.write_text(prevalence)
        table = go(tmp_path / "cache", make_task=functools.partial(prevalence_from, file))
        assert len(trained) == 4 * number and set(table.task) == {"rare cancer"}
    go(tmp_path / "cache", make_task=functools.partial(prevalence_from, file))
    assert len(trained) == 8


def prevalence_from(file, seed):
    return replace(data.rare_cancer(float(file.read_text()), seed=seed), name="rare cancer")


def test_two_seeds_of_the_same_data_are_two_runs(tmp_path, trained):
    table = go(tmp_path, make_task=the_same_split)
    assert len(trained) == 4 and table.value.nunique() == 4
    pd.testing.assert_frame_equal(table, go(tmp_path, make_task=the_same_split))


def the_same_split(seed):
    return data.rare_cancer(0.1, seed=7)


# ---- the user's own code ----------------------------------------------------------------------------------

MODULE = """
    import functools
    import torch.nn.functional as F
    from torch import nn
    from course_lib import data
    import {helper} as helper

    class Net(nn.Sequential):
        def __init__(self, inputs=30):
            super().__init__(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 2))

    def loss(outputs, y, reduction="mean"):
        return 1.0 * F.cross_entropy(outputs, y, reduction=reduction)

    def share(split, outputs, predicted):
        return 1.0 * predicted.double().mean()

    def make_task(seed):
        from dataclasses import replace
        return replace(data.rare_cancer(0.1, seed=seed), model=lambda: Net())
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's module that imports another of his, importable and editable: edit(name, old, new)."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    module, helper = f"users_{tmp_path.name}", f"helper_{tmp_path.name}"
    (folder / f"{helper}.py").write_text("NUMBER = 1\n")
    (folder / f"{module}.py").write_text(textwrap.dedent(MODULE.format(helper=helper)))
    importlib.invalidate_caches()
    loaded = importlib.import_module(module)

    def edit(old, new, which=module, reload=True):
        file = folder / f"{which}.py"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new) + "# edited\n")
        if reload:
            monkeypatch.setattr(sys, "dont_write_bytecode", True)
            for cached in folder.rglob("*.pyc"):
                cached.unlink()
            importlib.reload(sys.modules[which])
        return sys.modules[module]

    loaded.edit, loaded.helper_name = edit, helper
    return loaded


def asked(module):
    return {
        "chosen": [Recipe("mine", loss=module.loss)],
        "make_task": module.make_task,
        "metrics": ["brier", Metric("share", module.share)],
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return 1.0 * F.cross", "return -1.0 * F.cross"),
        ("nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 2)", "nn.Linear(inputs, 2)"),
        ("return 1.0 * predicted", "return 3.0 * predicted"),
        ("data.rare_cancer(0.1,", "data.rare_cancer(0.12,"),
    ],
    ids=["loss", "network", "metric", "data"],
)
def test_an_edit_of_the_users_own_code_is_seen(mine, tmp_path, trained, old, new):
    first = go(tmp_path / "cache", **asked(mine))
    go(tmp_path / "cache", **asked(mine))
    assert len(trained) == 4  # plain and mine, two seeds
    mine = mine.edit(old, new)
    second = go(tmp_path / "cache", **asked(mine))
    assert len(trained) == 8 and not np.allclose(first.value, second.value)


def test_an_edit_of_a_module_that_the_users_module_imports_is_seen(mine, tmp_path, trained):
    go(tmp_path / "cache", **asked(mine))
    mine.edit("NUMBER = 1", "NUMBER = 2", mine.helper_name)
    go(tmp_path / "cache", **asked(mine))
    assert len(trained) == 8


def test_code_edited_after_its_import_is_not_cached_under_its_new_text(mine, tmp_path, trained, capsys):
    """What ran is the old code: kept under the new source it would be found by whoever restarts."""
    go(tmp_path / "cache", **asked(mine))
    kept = set((tmp_path / "cache").glob("*"))
    mine.edit("1.0 * F.cross", "5.0 * F.cross", reload=False)
    go(tmp_path / "cache", **asked(mine))
    assert "edited after its import" in capsys.readouterr().out
    assert set((tmp_path / "cache").glob("*")) == kept and len(trained) == 8


def test_a_figure_module_does_not_void_the_cache(tmp_path, trained, monkeypatch):
    """A lesson's explorer makes data and draws: what it draws with changes no result."""
    from course_lib.classroom import plots
    from course_lib.classroom.lessons.lesson_00 import explorer

    before = keys.sources({explorer.__name__})
    edited = tmp_path / "plots.py"
    edited.write_bytes(Path(plots.__file__).read_bytes() + b"\n# a comma\n")
    monkeypatch.setattr(plots, "__file__", str(edited))
    assert keys.sources({explorer.__name__}) == before
    monkeypatch.setattr(explorer, "__file__", str(edited))
    with pytest.raises(keys.Unkeyed, match="explorer"):
        keys.sources({explorer.__name__})


def test_what_no_key_covers_runs_uncached_and_says_so(tmp_path, capsys):
    def closure(outputs, y, reduction="mean"):
        return nn.functional.cross_entropy(outputs, y, reduction=reduction)

    go(tmp_path, [Recipe("odd", loss=closure)])
    assert "Not cached, odd: no key covers" in capsys.readouterr().out
    kept = [json.loads(path.read_text())[0]["recipe"] for path in tmp_path.glob("*.json")]
    assert kept == ["plain", "plain"]
    for make_task in (
        lambda seed: make_cancer(seed=seed),
        functools.partial(closure_task, model=lambda: MLP((30, 2))),
    ):
        go(tmp_path / "b", make_task=make_task)
        assert "nothing of this comparison" in capsys.readouterr().out and not (tmp_path / "b").exists()


def closure_task(model, seed):
    return replace(data.rare_cancer(0.1, seed=seed), model=model)


def test_a_network_typed_into_a_notebook_is_not_keyed(monkeypatch):
    class Typed(nn.Linear):
        pass

    Typed.__module__ = "__main__"
    task = replace(data.rare_cancer(0.1), model=functools.partial(Typed, 30, 2))
    with pytest.raises(keys.Unkeyed, match="typed into a notebook"):
        keys.modules_of(task)


# ---- names and contents -----------------------------------------------------------------------------------


def test_a_thing_is_described_by_its_value():
    def inner():
        pass

    describe = experiments.describe
    assert describe(inner) is None and describe([1, inner]) is None and describe(lambda: 1) is None
    assert describe(frozenset({"b", "a"})) == describe(frozenset({"a", "b"}))
    assert describe({"open": 1, "a": 2}) == describe({"a": 2, "open": 1}) != describe({"open": 1, "a": 3})
    assert describe(RECIPES["learn2mix"]) != describe(RECIPES["plain"])
    assert describe(np.arange(3)) == describe(np.arange(3)) != describe(np.arange(3.0))
    assert describe(torch.ones(2)) != describe(torch.zeros(2))
    frame = pd.DataFrame({"a": [1, 2], "word": ["x", "y"]})
    assert describe(frame) == describe(frame.copy()) != describe(frame.rename(columns={"a": "b"}))
    assert describe(frame) != describe(frame.assign(a=[1, 3]))
    smooth = functools.partial(nn.CrossEntropyLoss, label_smoothing=0.1)
    assert describe(smooth()) != describe(nn.CrossEntropyLoss()) and describe(smooth()) == describe(smooth())
    assert describe(nn.CrossEntropyLoss(torch.ones(2))) != describe(nn.CrossEntropyLoss(torch.zeros(2)))


def test_every_part_of_a_task_is_in_its_hash():
    task = data.rare_cancer(0.1)
    known = keys.data_hash(task)
    assert known == keys.data_hash(data.rare_cancer(0.1))
    for part in ("train", "validation", "test"):
        for field in ("x", "y", "group"):
            split = getattr(task, part)
            moved = getattr(split, field).clone()
            moved[-1] = moved[0] + 1 if field == "x" else 1 - moved[-1]
            assert keys.data_hash(replace(task, **{part: split._replace(**{field: moved})})) != known
    assert keys.data_hash(replace(task, fresh=True)) != known
    strided = task.train._replace(x=task.train.x.T.contiguous().T)
    assert keys.data_hash(replace(task, train=strided)) == known


def test_hashing_two_hundred_megabytes_takes_little_memory():
    import hashlib

    tensor = torch.zeros(50_000_000)
    tracemalloc.start()
    keys._add(hashlib.sha256(), tensor)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6
    whole, pieces = hashlib.sha256(), hashlib.sha256()
    odd = torch.randn(3_000_001, 2)
    keys._add(pieces, odd)
    whole.update(f"{odd.dtype}{tuple(odd.shape)}".encode() + odd.numpy().tobytes())
    assert pieces.hexdigest() == whole.hexdigest()
