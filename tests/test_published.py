"""The recipe for published checkpoints: its commands parse, its tables are those of the files, its sums are right."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

from cellglass.cli.app import app

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "published.md"


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    """The modules that measure and that make tables."""
    places = [str(ROOT / name) for name in ("benchmarks", "docs")]
    sys.path[:0] = places
    yield SimpleNamespace(**{
        name: importlib.import_module(name)
        for name in ("published", "published_checkpoints", "circuit_tables", "fill_readme")
    })  # fmt: skip
    for place in places:
        sys.path.remove(place)


def test_every_command_parses() -> None:
    lines = re.findall(r"^cellglass (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 4
    for line in lines:
        words, command = shlex.split(line), typer.main.get_command(app)
        context = command.make_context("cellglass", words[:0], resilient_parsing=True)
        while hasattr(command, "commands"):
            name, command, words = command.resolve_command(context, words)
            is_group = hasattr(command, "commands")
            context = command.make_context(name, list(words), parent=context, resilient_parsing=is_group)
        assert context.params["cells"] == Path("some.h5ad"), line
    assert context.params["without"] == "all"
    assert (context.params["label"], context.params["against"]) == ("endothelial cell", "pericyte")


def test_tables_are_those_of_the_files(study: Any) -> None:
    pages = {
        PAGE: ("costs", "rates"),
        ROOT / "docs" / "results" / "class_circuits.md": ("deletions",),
        ROOT / "docs" / "results" / "planted_circuit.md": ("hops",),
    }
    for page, names in pages.items():
        text = page.read_text(encoding="utf-8")
        for name in names:
            own = text.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0].strip()
            assert own == getattr(study.circuit_tables, name)().strip(), f"{page.name}: {name}"


def test_costs_follow_from_the_rates_and_shapes_are_those_of_the_configurations(study: Any) -> None:
    values, _ = study.circuit_tables.read("published")
    known = {"Pythia-160M": (162_322_944, 85_056_000), "Pythia-410M": (405_334_016, 302_311_424)}
    for name, checkpoint in study.published_checkpoints.CHECKPOINTS.items():
        every, used = study.published_checkpoints.counted(checkpoint)
        assert (every, used) == known.get(name, (every, used))  # as EleutherAI's table has them
        assert (values["parameters", name], values["parameters but embeddings", name]) == (every, used)
        rates = {
            step: study.published_checkpoints.Rate(
                *(values[f"{step}: {part}", checkpoint.architecture] for part in ("fixed", "rate"))
            )
            for step in study.published.STEPS
        }
        made = study.published_checkpoints.costs(checkpoint, used, every, rates, study.published_checkpoints.Recipe())
        for what, value, _ in made:
            assert values[what, name] == pytest.approx(value, rel=1e-9)
        # By hand: 40 cells, 660 tokens, 1,001 targets.
        work = 660 * 1001 * used
        assert values["hours: class circuit", name] * 3600 == pytest.approx(40 * rates["trace"].seconds(work), rel=1e-9)


def test_a_line_is_found_and_neither_part_is_below_nothing(study: Any) -> None:
    work = np.array([1e6, 1e7, 1e8])
    found = study.published.line(work, 0.25 + 3e-8 * work)
    assert found == pytest.approx((0.25, 3e-8), rel=1e-6)
    steeper = study.published.line(work, 1e-8 * work**1.1)
    assert steeper.fixed == 0
    assert steeper.rate > 0


@pytest.mark.slow
def test_a_small_network_is_measured(study: Any) -> None:
    found = study.published.one_network("gemma2", 2, 32, study.published.QUICK)
    for step in study.published.STEPS:
        assert found[step] > 0
        assert found[f"{step}: work"] > 0
    assert found["parameters"] < 2 * 32 * 32 * 20
