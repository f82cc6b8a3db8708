"""What all tests share: where the larger real data may lie, a browser, one thread for what is small, no time limits.

And the order of their files: those that take longest first.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from once import once

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile("cellglass", deadline=None)  # a busy machine is no failure
settings.load_profile("cellglass")

ROOT = Path(__file__).parents[1]
CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = (
    *("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--disable-gpu-compositing", "--disable-gpu-rasterization"),  # as without a graphics card
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
)

LONGEST = (
    "test_docs.py",
    "pipeline/stages/test_reproducibility.py",
    "explorer/page/test_access.py",
    "explorer/page/test_cells.py",
    "circuits/test_training.py",
    "test_circuits_benchmark.py",
    "pipeline/test_missing_parts.py",
    "explorer/page/test_evidence.py",
    "pipeline/test_explain.py",
    "pipeline/stages/test_layout.py",
    "pipeline/stages/test_tokens.py",
    "pipeline/test_wiring.py",
    "pipeline/test_models.py",
    "pipeline/test_early.py",
    "explorer/page/test_widths.py",
    "explorer/page/test_attacks.py",
    "explorer/page/test_reproducibility.py",
    "explorer/page/test_search.py",
    "explorer/page/test_report.py",
    "explorer/page/test_notes.py",
    "explorer/page/test_static.py",
    "explorer/page/test_concept.py",
    "dictionaries/baselines/test_clusters.py",
    "models/cell2sentence/test_training.py",
    "models/geneformer/test_training.py",
    "models/scvi/test_training.py",
    "explorer/test_kill.py",
)
"""Files in the order in which workers take them up; the others follow in the order of their folders.

The first two need what no other makes: the demo, and the runs that all tests of the pipeline wait for.
"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: a worker that meets it at the end keeps all others waiting."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of larger real data sets, or skip the test where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the larger real data sets are not beside the project")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return Debian's chromium, or skip the test where it is absent."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no chromium at {CHROMIUM}")
    with api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=str(CHROMIUM), args=list(SWITCHES))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def demo_atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the atlas that `cellglass demo` writes; a minute or two."""
    from cellglass.cli.app import app

    def make(folder: Path) -> None:
        assert not app(["demo", "--out", str(folder), "--quiet"], standalone_mode=False)

    return once(tmp_path_factory, "demo", make)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process; return exit status, stdout and stderr."""

    from cellglass.cli import app as cli

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cellglass", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run
