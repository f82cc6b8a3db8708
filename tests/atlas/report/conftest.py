"""Reports of the synthetic atlases, and a browser that sees no network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cellglass.atlas import open_atlas, write_report

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def report(atlas_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(open_atlas(atlas_folder), tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="session")
def hostile_report(hostile_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(open_atlas(hostile_folder), tmp_path_factory.mktemp("hostile-report"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no chromium at {CHROMIUM}")
    with api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()
