"""What all tests share: a still environment, and where the project lies."""

import os
import sys
from pathlib import Path

# Before torch, numpy and matplotlib are imported: one thread per test process, and no window for figures.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

# jsonschema would have it build a grammar of international addresses, four seconds per process; no notebook has one.
sys.modules.setdefault("rfc3987_syntax", None)

import hypothesis  # noqa: E402
import matplotlib  # noqa: E402
import pytest  # noqa: E402

# Deadlines measure the machine, not the code; the same examples on every run keep a red test red.
hypothesis.settings.register_profile("course", deadline=None, derandomize=True)
hypothesis.settings.load_profile("course")


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", autouse=True)
def own_style():
    """A file of tests finds matplotlib's settings as they were, whichever file ran before it in the same process."""
    with matplotlib.rc_context():
        yield
