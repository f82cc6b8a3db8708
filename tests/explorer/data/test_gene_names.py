"""A gene has the names that the atlas states and those of the bundled tables; previous symbols count both ways."""

from __future__ import annotations

import pandas as pd

from cellglass.explorer.data.gene_names import ensembl_ids, other_names

HUMAN = ["CD79A", "IGJ", "LYZ", "GENE1", "MS4A1", "CD3E"]


def test_previous_symbols_lead_to_todays_and_back() -> None:
    names = other_names(HUMAN, None)
    assert names is not None
    assert "JCHAIN" in names[1]
    assert "IGJ" not in names[1]
    todays = other_names(["JCHAIN", *HUMAN[2:]], None)
    assert todays is not None
    assert "IGJ" in todays[0]
    assert names[3] == []
    assert other_names([f"GENE{i}" for i in range(9)], None) is None


def test_ensembl_ids_are_those_of_the_atlas_and_then_bundled_ones() -> None:
    assert ensembl_ids(HUMAN, HUMAN, None) == [
        "ENSG00000105369", "ENSG00000132465", "ENSG00000090382", "", "ENSG00000156738", "ENSG00000198851",
    ]  # fmt: skip
    stated = pd.DataFrame({"ensembl": ["ENSG00000999999", None]}, index=HUMAN[:2])
    found = ensembl_ids(HUMAN, HUMAN, stated)
    assert found is not None
    assert found[:2] == ["ENSG00000999999", "ENSG00000132465"]
    ids = ["ENSG00000105369.9", "x"]
    assert ensembl_ids(ids, ["CD79A", "x"], None) == ["ENSG00000105369.9", ""]
    assert ensembl_ids(["x", "y"], ["x", "y"], None) is None


def test_names_of_the_atlas_stand_first() -> None:
    counted = pd.DataFrame({"alias": ["CP-10; CAGA|P14", None]}, index=HUMAN[:2])
    names = other_names(HUMAN, counted)
    assert names is not None
    assert names[0][:3] == ["CP-10", "CAGA", "P14"]
    assert len(names) == len(HUMAN)
