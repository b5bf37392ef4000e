"""Real sets that are fetched once: MNIST, Fashion-MNIST, wine quality, California housing. Each comes as a `Task`.

Files lie in data/downloads/, or in the folder that the environment variable COURSE_DATA_DIR names. A file
that is there is used, decompressed or as .gz; a missing one is downloaded. Nothing is read before its SHA-256
is known to be right, and nothing is ever unpickled. data/README.md says what each set is good for.
"""

import gzip
import hashlib
import io
import math
import os
import warnings
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pooch
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from course_lib.data.task import Split, Task, keep_counts, make_imbalanced, squared_error_each, standardise
from course_lib.inputs import as_choice, as_seed, as_size
from course_lib.models import MLP, Autoencoder, LeNet5
from course_lib.priors import class_prior


class Download(NamedTuple):
    """One file: the SHA-256 of its content (decompressed, if it comes as .gz) and the addresses to try in turn."""

    sha256: str
    urls: tuple[str, ...] = ()


# How a name begins -> where its file is to be had, {} standing for the file's own name, one address after the other.
_SOURCES = {
    "mnist/": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/{}.gz",
        "https://storage.googleapis.com/cvdf-datasets/mnist/{}.gz",
    ),
    "fashion_mnist/": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{}.gz",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/{}.gz",
    ),
    "winequality": ("https://archive.ics.uci.edu/ml/machine-learning-databases/wine-quality/{}",),
    "housing": ("https://raw.githubusercontent.com/ageron/handson-ml2/master/datasets/housing/{}",),
}
_SHA256 = {
    "mnist/train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "mnist/train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "mnist/t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "mnist/t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "fashion_mnist/train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "fashion_mnist/train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "fashion_mnist/t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "fashion_mnist/t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    "winequality-red.csv": "4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e",
    "winequality-white.csv": "76c3f809815c17c07212622f776311faeb31e87610d52c26d87d6e361b169836",
    # The public file has prices in dollars.
    "housing.csv": "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
    # The same table with prices in 100,000 dollars; used where it lies, never downloaded.
    "california_housing_ocean.csv": "e83f6d654aa25b44f94787c70f699488a8c73b9a46614e0c46a9188acf7ef791",
}


def _sources(name: str) -> tuple[str, ...]:
    places = (place for start, place in _SOURCES.items() if name.startswith(start))
    return tuple(url.format(name.rpartition("/")[2]) for url in next(places, ()))


# Path below the data folder -> what it must be.
DOWNLOADS = {name: Download(sha256, _sources(name)) for name, sha256 in _SHA256.items()}


def data_dir() -> Path:
    """The folder of the downloaded files: COURSE_DATA_DIR, or data/downloads/ of this project."""
    named = os.environ.get("COURSE_DATA_DIR")
    return Path(named).expanduser() if named else Path(__file__).resolve().parents[2] / "data" / "downloads"


# ---- getting a file ---------------------------------------------------------------------------------------


def fetch(name: str, *, progress: bool = True) -> bytes:
    """The content of a file of `DOWNLOADS`, decompressed and checked.

    A file that lies in `data_dir()` is used; one with a wrong SHA-256 is set aside as NAME.refused, with a
    warning, and downloaded anew. A download that breaks off or is wrong is deleted and the next source tried,
    each twice.

    Raises FileNotFoundError, saying which files to put where, when no source gives the right file; KeyError
    for an unknown name.
    """
    wanted, problems = DOWNLOADS[name], []
    path = data_dir() / name
    for place in (path, path.with_name(path.name + ".gz")):
        if place.is_file():
            try:
                return _verified(place.read_bytes(), wanted.sha256)
            except ValueError as error:
                problems.append(f"{place}: refused, {error}; {_set_aside(place)}")
                warnings.warn(problems[-1], stacklevel=2)
    for url in wanted.urls * 2:
        try:
            return _download(url, path, wanted.sha256, progress)
        except (OSError, ValueError) as error:
            problems.append(f"{url}: {error}")
    folder, _, _ = name.rpartition("/")
    siblings = [other for other in DOWNLOADS if folder and other.startswith(f"{folder}/")] or [name]
    missing = [other for other in siblings if not _lies_there(other)]
    raise FileNotFoundError(
        f"Could not get {name}.\n"
        + "".join(f"  {problem}\n" for problem in problems)
        + f"Without a network, put these files, as they are or as .gz, into {data_dir()}:\n"
        + "".join(f"  {other}    {' or '.join(DOWNLOADS[other].urls)}\n" for other in missing)
        + "The environment variable COURSE_DATA_DIR names another folder."
    )


def _lies_there(name: str) -> bool:
    return any((data_dir() / f"{name}{suffix}").is_file() for suffix in ("", ".gz"))


def _verified(content: bytes, sha256: str) -> bytes:
    """Decompressed content. Raises ValueError unless its SHA-256 is the one expected."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"it cannot be decompressed ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"its SHA-256 is {found}, expected {sha256}")
    return content


def _set_aside(place: Path) -> str:
    aside = place.with_name(place.name + ".refused")
    try:
        place.replace(aside)
    except OSError:
        return "it could not be moved out of the way"
    return f"moved to {aside.name}"


def _download(url: str, path: Path, sha256: str, progress: bool) -> bytes:
    """Fetch into a file of its own and give it its name only once it is whole and right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        pooch.HTTPDownloader(progressbar=progress, timeout=30)(url, str(part), None)
        raw = part.read_bytes()
        content = _verified(raw, sha256)
        part.replace(path.with_name(path.name + ".gz") if raw[:2] == b"\x1f\x8b" else path)
    finally:
        part.unlink(missing_ok=True)
    return content


def parse_idx(content: bytes, name: str = "content") -> np.ndarray:
    """The array of an IDX file of unsigned bytes, e.g. (N, 28, 28).

    Raises ValueError when the header is not that of such a file or the size does not fit it.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise ValueError(f"{name} must be an IDX file of unsigned bytes, it starts with {content[:4]!r}")
    shape = tuple(np.frombuffer(content, dtype=">u4", count=content[3], offset=4).tolist())
    data = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * content[3])
    if len(data) != math.prod(shape):
        raise ValueError(f"{name} must hold {math.prod(shape)} bytes for its shape {shape}, got {len(data)}")
    return data.reshape(shape)


# ---- images -----------------------------------------------------------------------------------------------

_CLOTHES = (
    *("T-shirt", "trousers", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)


def mnist(
    imbalance_ratio: float | None = None,
    *,
    kind: str = "classification",
    profile: str = "long_tailed",
    order: Sequence[int] | None = None,
    num_train: int | None = None,
    seed: int = 0,
) -> Task:
    """Handwritten digits, 28 x 28 pixels in [0, 1], ten classes, only the training part made imbalanced.

    imbalance_ratio  largest over smallest class count in the training part; 1 leaves it as released; None is
                     the learn2mix paper's: as released for classification, 20 % of the digits 5-9 for
                     reconstruction
    kind             "classification" (LeNet-5) or "reconstruction" (autoencoder; y is x, the digit is the
                     group)
    profile, order   see `data.make_imbalanced`
    num_train        before thinning, keep so many examples of the training part, stratified; None keeps all
                     50,000

    The official test part is the test; validation is a stratified sixth of the official training part.
    Raises ValueError for arguments out of range.
    """
    names = tuple(str(digit) for digit in range(10))
    return _images(
        "mnist",
        names,
        imbalance_ratio,
        kind=kind,
        profile=profile,
        order=order,
        num_train=num_train,
        seed=seed,
    )


def fashion_mnist(imbalance_ratio: float | None = None, **options) -> Task:
    """Pictures of clothes in the format of `mnist`, harder; the arguments are the same."""
    return _images("fashion_mnist", _CLOTHES, imbalance_ratio, **options)


def _images(
    folder,
    names,
    imbalance_ratio,
    *,
    kind="classification",
    profile="long_tailed",
    order=None,
    num_train=None,
    seed=0,
) -> Task:
    as_choice(kind, "kind", ("classification", "reconstruction"))
    seed = as_seed(seed)
    x, y = _image_part(folder, "train")
    rows, validation = train_test_split(np.arange(len(y)), test_size=1 / 6, stratify=y, random_state=seed)
    if num_train is not None and num_train != len(rows):
        num_train = as_size(num_train, "num_train", 10, len(rows) - 10)  # scikit-learn leaves no class out
        rows, _ = train_test_split(rows, train_size=num_train, stratify=y[rows], random_state=seed)
    if imbalance_ratio is None and kind == "reconstruction":
        rows = rows[_keep_shares(y[rows], [1.0] * 5 + [0.2] * 5, seed)]
    elif imbalance_ratio not in (None, 1):
        rows = rows[make_imbalanced(y[rows], imbalance_ratio, profile=profile, order=order, seed=seed)]
    parts = [(x[rows], y[rows]), (x[validation], y[validation]), _image_part(folder, "t10k")]
    title = folder.replace("_", "-") + (f" 1:{imbalance_ratio:g}" if imbalance_ratio else "")
    if kind == "reconstruction":
        parts = [Split(x, x, y) for x, y in parts]
        return Task(
            f"{title} rebuilt", kind, *parts, 10, names, target_prior=class_prior(parts[2].group, 10),
            model=partial(Autoencoder, 784), example_loss=squared_error_each,
        )  # fmt: skip
    parts = [Split(x, y, y) for x, y in parts]
    return Task(title, kind, *parts, 10, names, target_prior=class_prior(parts[2].y, 10), model=LeNet5)


def _image_part(folder: str, part: str) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) float32 in [0, 1] and labels (N,) int64."""
    images, labels = (
        parse_idx(fetch(name), name)
        for name in (f"{folder}/{part}-images-idx3-ubyte", f"{folder}/{part}-labels-idx1-ubyte")
    )
    if images.shape != (len(labels), 28, 28):
        raise ValueError(
            f"{folder} {part}: images must have shape ({len(labels)}, 28, 28), got {images.shape}"
        )
    return torch.tensor(images).unsqueeze(1).float().div_(255), torch.tensor(labels).long()


# ---- tables -----------------------------------------------------------------------------------------------


def wine_quality(*, hidden: Sequence[int] = (64,), seed: int = 0) -> Task:
    """Quality of Portuguese wines, 0-10, from 11 measurements: a regression; colour is the group, white the rare one.

    As in the learn2mix paper: half of all wines, stratified by colour, with all its red and 10 % of its white
    ones, is the training part, 1,043 wines. The other half, three quarters white, is split evenly into
    validation and test. The paper scaled by training and test part together; here by the training part alone.
    """
    frames = [
        pd.read_csv(io.BytesIO(fetch(f"winequality-{colour}.csv")), sep=";") for colour in ("red", "white")
    ]
    table = pd.concat(frames)
    group = np.repeat([0, 1], [len(frame) for frame in frames])
    x, y = table.drop(columns="quality").to_numpy(), table["quality"].to_numpy()
    return _half_split_regression("wine quality", x, y, group, {"red": 1.0, "white": 0.1}, hidden, seed)


def california_housing(*, hidden: Sequence[int] = (64,), seed: int = 0) -> Task:
    """House values in Californian districts, in 100,000 dollars of 1990: a regression grouped by distance to the sea.

    As in the learn2mix paper: the 5 island districts and the 207 without a number of bedrooms are dropped;
    half of the rest, with all its inland districts and 5 % of each other group, is the training part. The
    other half is split evenly into validation and test. Here the halves are stratified by group (3,594
    training districts; the paper's plain random half gave 3,641), and scaled by the training part alone.
    """
    own = "california_housing_ocean.csv"
    in_dollars = not _lies_there(own)
    table = pd.read_csv(io.BytesIO(fetch("housing.csv" if in_dollars else own)))
    table = table.dropna()
    keep = {"INLAND": 1.0, "<1H OCEAN": 0.05, "NEAR OCEAN": 0.05, "NEAR BAY": 0.05}
    table = table[table["ocean_proximity"].isin(keep.keys())]
    group = table["ocean_proximity"].map({name: k for k, name in enumerate(keep)}).to_numpy()
    y = table["median_house_value"].to_numpy() / (100_000 if in_dollars else 1)
    x = table.drop(columns=["median_house_value", "ocean_proximity"]).to_numpy()
    return _half_split_regression("California housing", x, y, group, keep, hidden, seed)


def _half_split_regression(name, x, y, group, keep: dict[str, float], hidden, seed) -> Task:
    """Half for training, thinned to the shares `keep` of each group; a quarter each for validation and test."""
    rows, seed = np.arange(len(y)), as_seed(seed)
    train, held = train_test_split(rows, test_size=0.5, stratify=group, random_state=seed)
    validation, test = train_test_split(held, test_size=0.5, stratify=group[held], random_state=seed)
    train = train[_keep_shares(torch.tensor(group[train]), list(keep.values()), seed)]
    parts = [train, validation, test]
    scaled = standardise(*(x[rows].astype(float) for rows in parts))
    train, validation, test = (
        Split(part, y[rows, None], group[rows]) for part, rows in zip(scaled, parts, strict=True)
    )
    return Task(
        name, "regression", train, validation, test, len(keep), tuple(keep),
        target_prior=class_prior(test.group, len(keep)), model=partial(MLP, (x.shape[1], *hidden, 1)),
        example_loss=squared_error_each,
    )  # fmt: skip


def _keep_shares(group: Tensor, shares: Sequence[float], seed: int) -> Tensor:
    """Row numbers, sorted, of a random part of each group: int(share * its size)."""
    sizes = torch.bincount(group, minlength=len(shares)).tolist()
    # 0.29 * 100 is a hair below 29, and int cuts
    return keep_counts(
        group,
        {k: int(share * n + 1e-9) for k, (share, n) in enumerate(zip(shares, sizes, strict=True))},
        seed,
    )
