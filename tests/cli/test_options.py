"""Options of the command line are fields of the configuration: type, default and help come from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cellglass.cli import app
from cellglass.cli.options import OFFERED
from cellglass.pipeline.config import RunConfig, make_config
from cellglass.settings import settings_of

GIVEN = {
    "labels": ["type", "phase"], "batch": "donor", "match": ["donor"], "counts": "raw", "gene-ids": "id",
    "model": "scgpt", "control": "shuffled", "site": "cell", "genes": 5, "latent": 6, "layers": 2, "width": 8,
    "epochs": 1, "dictionary": "topk", "latents": 16, "k": 4, "seeds": 2, "splits": 2, "pairs": 3,
    "method": ["swap", "de"], "prototypes": 3,
    "partners": 2, "swap-genes": 7, "swap-budget": 0.5, "screen": "difference",
    "residual": True, "gene-sets": ["hallmark"], "test": ["ora"], "seed": 9,
    "keep-counts": False, "round": True,
}  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """Return the configurations that runs are started with, in place of running them."""
    found: list[RunConfig] = []
    monkeypatch.setattr(app, "_explain", lambda _cells, config, _out, **_how: found.append(config))
    return found


def test_every_option_reaches_its_field(command: Callable[..., tuple[int, str, str]], told: list[RunConfig]) -> None:
    assert set(GIVEN) == set(OFFERED)
    words: list[str] = []
    for option, value in GIVEN.items():
        for one in value if isinstance(value, list) else [value]:
            words += (
                [f"--{option}" if one else f"--no-{option}"] if isinstance(one, bool) else [f"--{option}", str(one)]
            )
    assert command("run", "my.h5ad", "--out", "atlas", *words)[0] == 0
    tables: dict[str, Any] = {}
    for option, place in OFFERED.items():
        table, _, field = place.rpartition(".")
        (tables.setdefault(table, {}) if table else tables)[field] = GIVEN[option]
    assert told == [make_config(tables)]


def test_what_is_not_given_is_the_default(command: Callable[..., tuple[int, str, str]], told: list[RunConfig]) -> None:
    assert command("run", "my.h5ad", "--out", "atlas")[0] == 0
    assert told == [RunConfig()]


def test_a_file_is_beneath_the_options(
    command: Callable[..., tuple[int, str, str]], told: list[RunConfig], tmp_path: Path
) -> None:
    (tmp_path / "run.toml").write_text("seed = 3\n[attribution]\nsteps = 8\n[dictionary]\nk = 2\n")
    assert command("run", "my.h5ad", "--out", "atlas", "--config", str(tmp_path / "run.toml"), "--k", "5")[0] == 0
    assert (told[0].seed, told[0].attribution.steps, told[0].dictionary.k) == (3, 8, 5)


def test_help_is_the_text_of_the_field(command: Callable[..., tuple[int, str, str]]) -> None:
    _, out, _ = command("run", "--help")
    text = " ".join(out.replace("│", " ").split())
    kinds = {table.name: table.hint for table in settings_of(RunConfig).values()}
    for place in ("cells.batch", "dictionary.seeds", "attribution.partners"):
        table, _, field = place.partition(".")
        doc = settings_of(kinds[table])[field].doc
        assert doc.replace("`", "").split(";")[0][:30] in text
