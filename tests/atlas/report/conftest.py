"""Reports of the synthetic atlases."""

from pathlib import Path

import pytest

from cellglass.atlas import open_atlas, write_report


@pytest.fixture(scope="session")
def report(atlas_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(open_atlas(atlas_folder), tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="session")
def hostile_report(hostile_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(open_atlas(hostile_folder), tmp_path_factory.mktemp("hostile-report"))
