"""What `cellglass trace --without` writes and says, of tables whose parts are known."""

from __future__ import annotations

import pandas as pd

from cellglass.circuits.deletion import COLUMNS
from cellglass.cli.without import ALL, Changes

SUMS = {"features": -1.5, "out": 0.5, "on": -2.0, "errors": 0.25, "tokens": 0.125, "rest": -0.375, "deletion": -1.5}


def test_one_gene_is_told_in_words_and_as_features(tmp_path, capsys) -> None:
    rows = pd.DataFrame(
        {"layer": 1, "token": [" CD[3]D"] * 12, "feature": range(12), "before": 0.0, "after": 1.0, "effect": -0.125}
    )
    changes = Changes("HLA/DRA", rows, SUMS)
    changes.show()
    said = " ".join(capsys.readouterr().out.split())
    assert "Without HLA/DRA the answer loses -1.500: -1.500 through features (+0.500 by those that go out" in said
    assert "-2.000 by those that it keeps out), +0.250 through what transcoders miss, +0.125 through tokens" in said
    assert "CD[3]D" in said
    assert "The first 10 of 12" in said
    path = changes.write(tmp_path / "graph.json")
    assert path.parent == tmp_path
    assert path.name.startswith("graph.without-HLA")
    pd.testing.assert_frame_equal(pd.read_csv(path), rows)


def test_all_genes_are_a_table_by_gene(tmp_path, capsys) -> None:
    table = pd.DataFrame([SUMS, SUMS], index=pd.Index(["CD79A", "LYZ"], name="gene"), columns=list(COLUMNS))
    changes = Changes(ALL, table, {})
    changes.show()
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[2:5]] == ["gene", "CD79A", "LYZ"]
    assert "The first" not in out
    path = changes.write(tmp_path / "graph.json")
    pd.testing.assert_frame_equal(pd.read_csv(path, index_col="gene"), table)
