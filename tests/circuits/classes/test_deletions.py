"""Deletions merged over the cells of a class: means of what each cell gives, resumed, kept, and wrong use."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellglass.circuits.asked import ask
from cellglass.circuits.classes import deletions
from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.classes.deletions import DeletionCost, class_deletions
from cellglass.circuits.classes.files import read_class, write_class
from cellglass.circuits.deletion import COLUMNS, counterfactuals
from cellglass.errors import InputError
from circuits.classes.made import donor_cells, made, transcoders
from circuits.models import model_of


@cache
def small() -> ClassCircuit:
    """Two cells of each label, of two donors."""
    return made(n_cells=2, batch="donor")


def deleted(circuit: ClassCircuit, **more: object) -> ClassCircuit:
    return class_deletions(circuit, model_of("gpt_neox"), donor_cells(), transcoders(), **more)


@cache
def by_cell() -> dict[str, pd.DataFrame]:
    """What each cell of the circuit gives by itself."""
    cells, given = donor_cells(), transcoders().stand_ins
    names = [name for some in small().about["cell_names"] for name in some]
    places = cells.obs.index.get_indexer(names)
    return {
        name: counterfactuals(ask(model_of("gpt_neox"), cells[i : i + 1], given, "B cell", "T cell"), given)
        for name, i in zip(names, places, strict=True)
    }


def test_means_shares_and_differences_are_those_of_the_cells(tmp_path: Path) -> None:
    told: list[DeletionCost] = []
    found = deleted(small(), tell=told.append)
    table = found.without.set_index("gene")
    own, other = ([by_cell()[name] for name in some] for some in small().about["cell_names"])
    assert {*table.index} == {gene for one in by_cell().values() for gene in one.index}
    for gene, row in table.iterrows():
        values = np.array([one.loc[gene] if gene in one.index else np.zeros(len(COLUMNS)) for one in own])
        assert row[list(COLUMNS)].to_numpy(dtype=float) == pytest.approx(values.mean(0), rel=1e-6, abs=1e-9)
        assert row["features_sd"] == pytest.approx(values[:, 0].std(ddof=1), rel=1e-6, abs=1e-9)
        assert row["read"] == np.mean([gene in one.index for one in own])
        beside = np.mean([one["features"].get(gene, 0.0) for one in other])
        assert row["other_features"] == pytest.approx(beside, rel=1e-6, abs=1e-9)
        assert row["difference"] == pytest.approx(row["features"] - beside, rel=1e-6, abs=1e-9)
        parts = row[["features", "errors", "tokens", "rest"]].sum()
        assert parts == pytest.approx(row["deletion"], rel=1e-4, abs=1e-5)
    for gene in table.index[:3]:
        # Among the genes of largest part that reach 0.8 of all: those before it have less than that.
        sizes = [one["features"].abs().sort_values(ascending=False) for one in own]
        among = [size[size > size.get(gene, np.inf)].sum() < 0.8 * size.sum() for size in sizes]
        assert table.loc[gene, "share"] == np.mean(among)
    assert table["features"].abs().is_monotonic_decreasing
    runs = sum(map(len, by_cell().values()))
    assert (told[0].cells, told[0].passes, told[0].left, told[0].seconds) == (4, runs, runs, None)
    assert told[1].left < runs
    assert told[1].seconds > 0
    genes = found.genes()
    assert genes["lost"].to_dict() == table["features"][genes.index].to_dict()
    assert {"lost_sd", "lost_share"} <= {*genes}
    assert "lost" not in small().genes()
    files = write_class(found, tmp_path / "b.json")
    again = read_class(files[0])
    pd.testing.assert_frame_equal(again.without, found.without, check_exact=True)
    assert pd.read_csv(files[3])["gene"].tolist() == table.index.tolist()
    assert files[3].name == "b.without.csv"
    held = json.loads(files[0].read_text())
    held["without"].pop("features")
    files[0].write_text(json.dumps(held))
    with pytest.raises(InputError, match=r"without\.features is missing"):
        read_class(files[0])


def test_a_killed_run_goes_on_with_the_next_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def stops(asked, given):
        name = str(asked.cell.obs.index[0])
        done.append(name)
        if len(done) == 3:
            raise KeyboardInterrupt
        return by_cell()[name]

    monkeypatch.setattr(deletions, "counterfactuals", stops)
    with pytest.raises(KeyboardInterrupt):
        deleted(small(), folder=tmp_path)
    told: list[DeletionCost] = []
    again = deleted(small(), folder=tmp_path, tell=told.append)
    assert len(done) == 5
    assert done[2] == done[3]
    assert told[0].left == sum(len(by_cell()[name]) for name in done[3:])
    whole = deleted(small(), folder=tmp_path)
    assert len(done) == 5
    pd.testing.assert_frame_equal(again.without, whole.without, check_exact=True)


def test_wrong_use_is_one_line() -> None:
    with pytest.raises(InputError, match=r"lacks cells of the class circuit \(c"):
        class_deletions(small(), model_of("gpt_neox"), donor_cells()[:1], transcoders())
    with pytest.raises(InputError, match="the class circuit is of another model"):
        deleted(replace(small(), about={**small().about, "fingerprint": "other"}))
