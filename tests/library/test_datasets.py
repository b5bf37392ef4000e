"""datasets: files are checked before use and nothing needs the network; the real sets, where they lie at hand.

The real files are looked for in ../shared/data beside the project, or in COURSE_DATA_DIR.
"""

import gzip
import hashlib
import io
import os
import pickle
import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

from course_lib.data import downloads as datasets
from course_lib.data import squared_error_each
from course_lib.data.downloads import (
    DOWNLOADS,
    Download,
    california_housing,
    data_dir,
    fashion_mnist,
    fetch,
    mnist,
    parse_idx,
    wine_quality,
)
from course_lib.priors import class_count

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = Path(os.environ["COURSE_DATA_DIR"]) if "COURSE_DATA_DIR" in os.environ else BESIDE


def idx(array):
    """The IDX file of an array of unsigned bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder, and no network."""
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(pooch, "HTTPDownloader", Network({}))
    return tmp_path


class Network:
    """Stands in for pooch.HTTPDownloader: serves the bytes of `pages`, raises for all other addresses."""

    def __init__(self, pages):
        self.pages, self.asked, self.progress = pages, [], None

    def __call__(self, progressbar, timeout):
        self.progress = progressbar
        return self.get

    def get(self, url, output_file, downloader):
        self.asked.append(url)
        page = self.pages.get(url, OSError("no route to host"))
        if isinstance(page, list):
            page = page.pop(0)
        Path(output_file).write_bytes(b"half" if isinstance(page, Exception) else page)
        if isinstance(page, Exception):
            raise page


@pytest.fixture
def one_file(folder, monkeypatch):
    """A registry of one file with two sources: (name, content, urls)."""
    name, content, urls = (
        "set/file",
        b"the right content" * 100,
        ("https://one/file.gz", "https://two/file.gz"),
    )
    monkeypatch.setattr(
        datasets, "DOWNLOADS", {name: Download(hashlib.sha256(content).hexdigest(), urls), "set/other": Download("0")}
    )  # fmt: skip
    return name, content, urls


def serve(monkeypatch, pages):
    network = Network(pages)
    monkeypatch.setattr(pooch, "HTTPDownloader", network)
    return network


# ---- files that are there ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_that_is_there_is_used_plain_or_compressed(folder, one_file, suffix):
    name, content, _ = one_file
    place = folder / f"{name}{suffix}"
    place.parent.mkdir()
    place.write_bytes(gzip.compress(content) if suffix else content)
    assert fetch(name) == content


def test_the_folder_is_the_projects_own_unless_named(monkeypatch, root):
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    assert data_dir() == root / "data" / "downloads"
    monkeypatch.setenv("COURSE_DATA_DIR", "~/sets")
    assert data_dir() == Path.home() / "sets"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content + b"x", id="changed"),
        pytest.param(lambda content: gzip.compress(content)[:-20], id="cut off"),
        pytest.param(lambda content: gzip.compress(content)[:30] + b"\xff" * 40, id="garbled"),
        pytest.param(lambda content: b"", id="empty"),
    ],
)
def test_a_wrong_file_is_refused_and_set_aside(folder, one_file, damage):
    name, content, _ = one_file
    place = folder / name
    place.parent.mkdir()
    place.write_bytes(damage(content))
    with (
        pytest.warns(UserWarning, match="refused"),
        pytest.raises(FileNotFoundError, match=r"refused, its? .*moved to file\.refused"),
    ):
        fetch(name)
    assert not place.exists() and (folder / f"{name}.refused").exists()


def test_a_wrong_file_is_replaced_where_there_is_a_network(folder, one_file, monkeypatch):
    name, content, urls = one_file
    (folder / "set").mkdir()
    (folder / name).write_bytes(b"wrong")
    serve(monkeypatch, {urls[0]: gzip.compress(content)})
    with pytest.warns(UserWarning, match="its SHA-256 is .* expected"):
        assert fetch(name) == content
    with warnings.catch_warnings(action="error"):
        assert fetch(name) == content


def test_a_wrong_file_that_cannot_be_moved_is_still_refused(folder, one_file, monkeypatch):
    name, _, _ = one_file
    (folder / "set").mkdir()
    (folder / name).write_bytes(b"wrong")

    def no_permission(self, target):
        raise PermissionError

    monkeypatch.setattr(Path, "replace", no_permission)
    with (
        pytest.warns(UserWarning),
        pytest.raises(FileNotFoundError, match="could not be moved out of the way"),
    ):
        fetch(name)


def test_a_pickle_in_place_of_a_file_is_never_opened(folder, one_file):
    name, _, _ = one_file
    (folder / "set").mkdir()
    (folder / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.warns(UserWarning), pytest.raises(FileNotFoundError, match="SHA-256"):
        fetch(name)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_nothing_here_can_unpickle():
    source = Path(datasets.__file__).read_text()
    assert not re.search(r"\bpickle\.|import pickle|torch\.load|np\.load|read_pickle|joblib", source)


# ---- downloading ------------------------------------------------------------------------------------------


def test_a_download_is_kept_and_not_repeated(folder, one_file, monkeypatch):
    name, content, urls = one_file
    network = serve(monkeypatch, {urls[0]: gzip.compress(content)})
    assert fetch(name) == fetch(name) == content
    assert network.asked == [urls[0]] and network.progress is True
    assert [path.name for path in (folder / "set").iterdir()] == ["file.gz"]


def test_an_uncompressed_download_keeps_its_name(folder, one_file, monkeypatch):
    name, content, urls = one_file
    serve(monkeypatch, {urls[0]: content})
    assert fetch(name, progress=False) == content
    assert [path.name for path in (folder / "set").iterdir()] == ["file"]


@pytest.mark.parametrize("first", [OSError("broken off"), b"<html>sign in</html>"])
def test_a_bad_download_is_deleted_and_the_next_source_tried(folder, one_file, monkeypatch, first):
    name, content, urls = one_file
    network = serve(monkeypatch, {urls[0]: first, urls[1]: gzip.compress(content)})
    assert fetch(name) == content
    assert network.asked == list(urls)
    assert [path.name for path in (folder / "set").iterdir()] == ["file.gz"]


def test_every_source_gets_a_second_try(folder, one_file, monkeypatch):
    name, content, urls = one_file
    network = serve(
        monkeypatch, {urls[0]: [OSError("busy"), gzip.compress(content)], urls[1]: OSError("gone")}
    )
    assert fetch(name) == content
    assert network.asked == [*urls, urls[0]]


def test_offline_the_error_says_which_files_to_put_where(folder, one_file):
    name, _, urls = one_file
    with pytest.raises(FileNotFoundError) as caught:
        fetch(name)
    message = str(caught.value)
    for part in (name, "set/other", str(folder), *urls, "no route to host", "COURSE_DATA_DIR", "as .gz"):
        assert part in message
    assert not list((folder / "set").iterdir())


@pytest.mark.parametrize(
    ("loader", "files"),
    [
        (mnist, [name for name in DOWNLOADS if name.startswith("mnist/")]),
        (fashion_mnist, [name for name in DOWNLOADS if name.startswith("fashion_mnist/")]),
        (wine_quality, ["winequality-red.csv"]),
        (california_housing, ["housing.csv"]),
    ],
)
def test_every_loader_says_what_is_missing(folder, loader, files):
    with pytest.raises(FileNotFoundError) as caught:
        loader()
    assert files and all(
        f"  {name}    https" in str(caught.value).replace("http:", "https:") for name in files
    )


def test_an_unknown_file_is_a_key_error(folder):
    with pytest.raises(KeyError):
        fetch("cifar/data_batch_1")


def test_every_download_has_a_hash_and_a_source():
    for name, download in DOWNLOADS.items():
        assert re.fullmatch("[0-9a-f]{64}", download.sha256)
        assert all(url.startswith("http") for url in download.urls)
        assert download.urls or name == "california_housing_ocean.csv"


# ---- IDX --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0,), (7,), (2, 3), (3, 28, 28)])
def test_idx_files_come_back(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(parse_idx(idx(array)), array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"\x00\x00\x0d\x01\x00\x00\x00\x00",  # floats
        b"\x01\x00\x08\x01\x00\x00\x00\x01x",
        b"\x00\x00\x08\x03\x00\x00",  # header cut off
        idx(np.zeros(5, np.uint8))[:-1],
        idx(np.zeros(5, np.uint8)) + b"x",
        struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 4),
    ],
)
def test_a_bad_idx_file_is_refused_by_name(content):
    with pytest.raises(ValueError, match="labels-file must"):
        parse_idx(content, "labels-file")


# ---- the loaders, on small files of the same form ---------------------------------------------------------


@pytest.fixture
def small_sets(folder, monkeypatch):
    """Small files in place of the real ones, with their hashes in place of the real ones."""
    generator = np.random.default_rng(0)
    files = {}
    for name in ("mnist", "fashion_mnist"):
        for part, size in (("train", 1200), ("t10k", 300)):
            labels = generator.permutation(np.arange(size) % 10).astype(np.uint8)
            images = generator.integers(0, 256, (size, 28, 28), dtype=np.uint8)
            images[:, 0, 0] = labels  # so that a test can tell which image a row is
            files[f"{name}/{part}-images-idx3-ubyte"] = idx(images)
            files[f"{name}/{part}-labels-idx1-ubyte"] = idx(labels)
    for colour, size in (("red", 200), ("white", 600)):
        columns = {f"measurement {i}": generator.normal(size=size) for i in range(11)}
        wine = pd.DataFrame(columns | {"quality": generator.integers(3, 9, size)})
        files[f"winequality-{colour}.csv"] = wine.to_csv(sep=";", index=False).encode()
    sea = ["INLAND"] * 400 + ["<1H OCEAN"] * 600 + ["NEAR OCEAN"] * 200 + ["NEAR BAY"] * 200 + ["ISLAND"] * 5
    houses = pd.DataFrame(generator.normal(size=(len(sea), 8)), columns=[*"abcdefgh"])
    houses.loc[:6, "e"] = np.nan
    houses["median_house_value"] = generator.integers(150, 5000, len(sea)) * 100.0
    houses["ocean_proximity"] = sea
    files["housing.csv"] = houses.to_csv(index=False).encode()
    houses["median_house_value"] /= 100_000
    files["california_housing_ocean.csv"] = houses.to_csv(index=False).encode()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    hashes = {name: Download(hashlib.sha256(content).hexdigest()) for name, content in files.items()}
    monkeypatch.setattr(datasets, "DOWNLOADS", hashes)
    return folder


SMALL = {
    "mnist": mnist,
    "fashion": fashion_mnist,
    "long tail": lambda **kw: mnist(20, **kw),
    "rebuilt": lambda **kw: fashion_mnist(kind="reconstruction", **kw),
    "wine": wine_quality,
    "houses": california_housing,
}


@pytest.mark.parametrize("loader", SMALL.values(), ids=SMALL)
def test_parts_do_not_overlap_and_follow_the_seed(small_sets, loader):
    one, again, other = loader(seed=1), loader(seed=1), loader(seed=2)
    rows = [
        {tuple(row) for row in part.x.flatten(1).tolist()} for part in (one.train, one.validation, one.test)
    ]
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]
    assert torch.equal(one.train.x, again.train.x) and torch.equal(one.validation.y, again.validation.y)
    assert one.train.x.shape == other.train.x.shape and not torch.equal(one.train.x, other.train.x)


@pytest.mark.parametrize("loader", SMALL.values(), ids=SMALL)
def test_model_and_loss_fit_and_the_task_can_be_pickled(small_sets, loader):
    task = pickle.loads(pickle.dumps(loader()))
    batch = task.train.take(torch.arange(6))
    assert task.example_loss(task.model()(batch.x), batch.y).shape == (6,)
    shares = class_count(task.test.group, task.num_groups).double() / len(task.test.group)
    assert torch.allclose(task.target_prior, shares)


def test_images_are_scaled_and_keep_their_labels(small_sets):
    task = mnist()
    assert [len(part.y) for part in (task.train, task.validation, task.test)] == [1000, 200, 300]
    for part in (task.train, task.validation, task.test):
        assert part.x.dtype == torch.float32 and part.x.shape[1:] == (1, 28, 28)
        assert part.x.min() >= 0 and 0.9 < part.x.max() <= 1
        assert torch.equal((part.x[:, 0, 0, 0] * 255).round().long(), part.y)
    assert class_count(task.validation.y).tolist() == [20] * 10


def test_only_the_training_part_of_images_is_thinned(small_sets):
    even, tail = mnist(1, seed=3), mnist(10, seed=3, profile="step", order=range(9, -1, -1))
    assert tail.train_count.tolist() == [10] * 5 + [100] * 5
    assert torch.equal(even.test.x, tail.test.x) and torch.equal(even.validation.x, tail.validation.x)
    assert even.train_count.tolist() == [100] * 10


def test_reconstruction_keeps_a_fifth_of_five_to_nine_as_the_paper_does(small_sets):
    task = mnist(kind="reconstruction")
    assert task.train_count.tolist() == [100] * 5 + [20] * 5
    assert torch.equal(task.train.x, task.train.y)
    assert torch.equal((task.train.x[:, 0, 0, 0] * 255).round().long(), task.train.group)
    assert task.example_loss is squared_error_each
    assert mnist(4, kind="reconstruction", profile="step").train_count.tolist() == [100] * 5 + [25] * 5
    assert mnist(1, kind="reconstruction").train_count.tolist() == [100] * 10


def test_fewer_training_images_can_be_asked_for(small_sets):
    assert mnist(num_train=200).train_count.tolist() == [20] * 10
    assert mnist(5, num_train=200).train_count.tolist()[::9] == [20, 4]
    assert mnist(num_train=1000).train_count.sum() == 1000


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"kind": "regression"}, "kind"),
        ({"num_train": 5}, "num_train"),
        ({"num_train": 1001}, "num_train"),
        ({"num_train": 995}, "num_train"),
        ({"imbalance_ratio": 0.5}, "imbalance_ratio"),
        ({"imbalance_ratio": 5, "profile": "cliff"}, "profile"),
        ({"imbalance_ratio": 5, "order": [1, 2]}, "order"),
    ],
)
def test_bad_arguments_are_refused_by_name(small_sets, arguments, named):
    with pytest.raises(ValueError, match=named):
        mnist(**arguments)


def test_images_and_labels_must_fit(small_sets, monkeypatch):
    labels = idx(np.zeros(7, np.uint8))
    (small_sets / "mnist/train-labels-idx1-ubyte").write_bytes(labels)
    datasets.DOWNLOADS["mnist/train-labels-idx1-ubyte"] = Download(hashlib.sha256(labels).hexdigest())
    with pytest.raises(ValueError, match=r"images must have shape \(7, 28, 28\), got \(1200, 28, 28\)"):
        mnist()


def test_tables_are_halved_thinned_and_scaled_by_the_training_part(small_sets):
    wine = wine_quality()
    assert wine.train_count.tolist() == [100, 30] and wine.group_names == ("red", "white")
    assert class_count(wine.test.group).tolist() == class_count(wine.validation.group).tolist() == [50, 150]
    assert torch.allclose(wine.train.x.mean(0), torch.zeros(11), atol=1e-5)
    assert torch.allclose(wine.train.x.std(0, correction=0), torch.ones(11), atol=1e-5)
    assert not torch.allclose(wine.test.x.mean(0), torch.zeros(11), atol=1e-3)
    assert wine.train.y.shape == (130, 1)


def test_houses_are_the_same_from_either_file(small_sets):
    own = california_housing()
    (small_sets / "california_housing_ocean.csv").unlink()
    public = california_housing()
    for one, two in zip(own.train + own.test, public.train + public.test, strict=True):
        assert torch.equal(one, two)
    assert own.group_names == ("INLAND", "<1H OCEAN", "NEAR OCEAN", "NEAR BAY")
    assert own.train_count.tolist() == [196, 15, 5, 5]  # half of the 393 inland districts with bedrooms
    assert own.test.y.min() > 0.1 and own.test.y.max() < 5.1


# ---- the real sets ----------------------------------------------------------------------------------------


@pytest.fixture
def real(monkeypatch, request):
    """The folder of the real files; the test is skipped where they are not at hand."""
    if not any((REAL / f"{request.param}{suffix}").is_file() for suffix in ("", ".gz")):
        pytest.skip(f"{request.param} is not in {REAL}")
    monkeypatch.setenv("COURSE_DATA_DIR", str(REAL))
    monkeypatch.setattr(pooch, "HTTPDownloader", Network({}))
    return REAL


def real_file(name):
    return pytest.mark.parametrize("real", [name], indirect=True, ids=[""])


def baselines(task):
    """Test error of the training mean, and of ordinary least squares."""
    x, y = task.train.x.numpy(), task.train.y.numpy()
    truth = torch.cat([task.validation.y, task.test.y]).numpy()
    held = torch.cat([task.validation.x, task.test.x]).numpy()
    fitted = LinearRegression().fit(x, y).predict(held)
    return float(((truth - y.mean()) ** 2).mean()), float(((truth - fitted) ** 2).mean())


@real_file("mnist/train-images-idx3-ubyte")
def test_real_mnist(real):
    task = mnist()
    assert [len(part.y) for part in (task.train, task.validation, task.test)] == [50_000, 10_000, 10_000]
    assert class_count(task.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert task.train.x.mean().item() == pytest.approx(0.1307, abs=0.001)  # the well-known mean pixel
    assert class_count(mnist(100).train.y)[[0, 9]].tolist() == [4936, 49]


@real_file("fashion_mnist/train-images-idx3-ubyte")
def test_real_fashion_mnist(real):
    task = fashion_mnist(kind="reconstruction")
    assert task.train_count.tolist() == [5000] * 5 + [1000] * 5
    assert class_count(task.test.group).tolist() == [1000] * 10
    assert task.test.x.mean().item() == pytest.approx(0.287, abs=0.002)


@real_file("winequality-white.csv")
def test_real_wine_has_the_papers_sizes_and_levels(real):
    task = wine_quality()
    assert task.train_count.tolist() == [799, 244]
    assert class_count(torch.cat([task.validation.group, task.test.group])).tolist() == [800, 2449]
    mean, linear = np.mean([baselines(wine_quality(seed=seed)) for seed in range(5)], axis=0)
    # 0.771 and 0.551 on the paper's own split
    assert mean == pytest.approx(0.771, abs=0.03)
    assert linear == pytest.approx(0.551, abs=0.03)


@real_file("california_housing_ocean.csv")
def test_real_california_has_the_papers_levels(real):
    task = california_housing()
    assert task.train_count.tolist() == [3248, 225, 65, 56]
    assert task.train.x.shape == (3594, 8)
    linear = np.mean([baselines(california_housing(seed=seed))[1] for seed in range(5)])
    assert linear == pytest.approx(0.607, abs=0.03)  # on the paper's own split


@real_file("california_housing_ocean.csv")
def test_the_papers_3641_districts_come_from_a_half_that_was_not_stratified(real):
    table = pd.read_csv(io.BytesIO(fetch("california_housing_ocean.csv"))).dropna()
    table = table[table["ocean_proximity"] != "ISLAND"]
    half, _ = train_test_split(table, test_size=0.5, random_state=42)
    counts = half["ocean_proximity"].value_counts()
    assert counts["INLAND"] + sum(int(0.05 * counts[k]) for k in counts.index if k != "INLAND") == 3641


@real_file("california_housing_ocean.csv")
def test_the_public_housing_file_is_our_table_in_dollars(real):
    """Written out in dollars, our table has the public file's hash, so both give the same task."""
    table = pd.read_csv(io.BytesIO(fetch("california_housing_ocean.csv")))
    table["median_house_value"] = (table["median_house_value"] * 1e5).round()
    numbers = table.columns.drop("ocean_proximity")
    text = table.astype(dict.fromkeys(numbers, float)).to_csv(index=False, lineterminator="\n")
    assert hashlib.sha256(text.encode()).hexdigest() == DOWNLOADS["housing.csv"].sha256
