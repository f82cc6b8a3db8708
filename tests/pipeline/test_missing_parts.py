"""What an atlas may lack, deleted or never written: everything that reads an atlas works, or says what it needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cellglass.atlas import open_atlas, schema
from cellglass.atlas.comparison.compare import compare
from cellglass.errors import InputError
from cellglass.explorer.data.tree import Tree
from cellglass.explorer.export import export
from cellglass.explorer.report import write_report
from cellglass.pipeline.config import make_config, merge
from cellglass.pipeline.explain import run_pipeline
from cellglass.pipeline.run import Run

Cards = dict[str, Any]


def cards(folder: Path) -> Cards:
    """Return all that the explorer gives of an atlas, read as JSON where it is JSON."""
    tree = Tree(open_atlas(folder))
    found = {path: tree.get(path) for path in tree.paths()}
    return {path: json.loads(content) if path.endswith(".json") else content for path, content in found.items()}


@pytest.fixture(scope="module")
def there(small_run: Run) -> Cards:
    return cards(small_run.folder)


QUICK = (schema.EXPRESSION, "work")
MADE = [part for part in schema.OPTIONAL if part != schema.CIRCUITS]  # no run makes these


@pytest.mark.parametrize("part", [p if p in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in MADE])
def test_an_atlas_is_read_without_what_it_may_lack(
    part: str, small_run: Run, there: Cards, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    whole, folder = small_run.folder, tmp_path / "atlas"
    shutil.copytree(whole, folder)
    place = folder / part
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    atlas = open_atlas(folder)
    assert set(atlas.verify()) == {name for name in open_atlas(whole).verify() if name.split("/")[0] != part}
    assert atlas.summary()["expression"] is (part != schema.EXPRESSION)
    assert (atlas.expression is None) is (part == schema.EXPRESSION)
    if part == schema.DICTIONARIES:
        with pytest.raises(InputError, match="there is no dictionary 'concepts'"):
            atlas.dictionary()
    here = cards(folder)
    shards = [path for path in there if path.startswith("data/cards/")]
    assert shards
    for path in shards:
        for latent, card in there[path].items():
            same = here[path][latent]
            assert {name: same[name] for name in card if name != "nearest"} == {
                n: card[n] for n in card if n != "nearest"
            }
            assert same["nearest"] == ([] if part == schema.DICTIONARIES else card["nearest"])
    assert any(card["nearest"] for path in shards for card in there[path].values())
    report = write_report(atlas, tmp_path / "report.html")
    assert report.stat().st_size > 50_000
    assert (export(atlas, tmp_path / "site") / "index.html").exists()
    assert len(compare(atlas, open_atlas(whole)).measures)
    status, _, error = command("info", folder)
    assert (status, error) == (0, "")


def test_counts_that_are_not_kept_are_nowhere_and_the_rest_is_the_same(default_run: Run, tmp_path: Path) -> None:
    config = make_config(merge(default_run.config.as_dict(), {"cells": {"keep_counts": False}}))
    folder = tmp_path / "atlas"
    shutil.copytree(default_run.folder, folder)
    run_pipeline(default_run.inputs["cells"], config, folder)
    kept, left = ({p.name for p in place.iterdir()} for place in (default_run.folder, folder))
    assert kept - left == {schema.EXPRESSION}
    assert {p.name for p in (default_run.folder / "work").iterdir()} - {
        p.name for p in (folder / "work").iterdir()
    } == {
        "cells",
        "explained",
    }
    for name in (schema.GENES, schema.PATHWAYS, schema.EVALUATION):
        assert (folder / name).read_bytes() == (default_run.folder / name).read_bytes()
    assert open_atlas(folder).expression is None
    stages = open_atlas(folder).manifest["stages"]
    run_pipeline(default_run.inputs["cells"], config, folder)
    again = open_atlas(folder).manifest["stages"]
    assert {name for name in again if again[name]["seconds"] != stages[name]["seconds"]} <= {"cells", "model"}
