"""What all tests share: where the larger real data may lie, one thread for everything small, no limits of time."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile("cellglass", deadline=None)  # a busy machine is no failure
settings.load_profile("cellglass")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of larger real data sets, or skip the test where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the larger real data sets are not beside the project")
    return folder
