import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from anndata import read_zarr

from cellglass.atlas import schema, write
from cellglass.errors import InputError
from cellglass.files import sha256


def concept_table(n: int) -> pd.DataFrame:
    columns = {name: ["x"] * n if kind == "str" else np.arange(n) for name, kind in schema.CONCEPT_COLUMNS.items()}
    return pd.DataFrame(columns, index=[f"concept {i}" for i in range(n)])


def write_small(folder: Path) -> Path:
    codes = sp.random(30, 4, 0.3, format="csc", dtype=np.float32, random_state=0)
    obs = pd.DataFrame(
        {"type": ["a", "b", None] * 10, "ok": [True, False, True] * 10, "size": np.arange(30.0)},
        index=[f"c{i}" for i in range(30)],
    )
    uns = {"site": "z", "model": {"kind": "scvi", "epochs": 2}}
    return write.write_concepts(folder, codes, obs, np.arange(60.0).reshape(30, 2), concept_table(4), uns)


def test_concepts_come_back_as_they_were(tmp_path: Path) -> None:
    codes = sp.random(30, 4, 0.3, format="csc", dtype=np.float32, random_state=0)
    table = read_zarr(write_small(tmp_path))
    assert sp.isspmatrix_csc(table.X) or isinstance(table.X, sp.csc_array)
    assert (codes != table.X).nnz == 0
    assert table.obs["type"].tolist()[:2] == ["a", "b"]
    assert pd.isna(table.obs["type"].iloc[2])
    assert table.obs["ok"].dtype == bool
    assert list(table.var) == list(schema.CONCEPT_COLUMNS)
    np.testing.assert_array_equal(table.obsm["X_umap"], np.arange(60.0).reshape(30, 2))
    assert table.uns["model"]["epochs"] == 2


def test_how_often_concepts_come_back_is_read_again_and_need_not_be_known(tmp_path: Path) -> None:
    codes, obs = sp.csc_matrix((3, 4), dtype=np.float32), pd.DataFrame(index=list("abc"))
    known = {"reproducibility": [1, 0.8, 0.5, np.nan], "residual": [False, False, True, True]}
    read_out = {"cluster_correlation": [0.9, 0.5, 0.1, np.nan], "agreement": [1, 0.9, 0.8, np.nan]}
    folder = write.write_concepts(tmp_path, codes, obs, np.zeros((3, 2)), concept_table(4).assign(**known), {})
    var = read_zarr(folder).var
    assert list(var) == [*schema.CONCEPT_COLUMNS, *schema.REPRODUCIBILITY_COLUMNS]
    assert [str(var[name].dtype) for name in schema.REPRODUCIBILITY_COLUMNS] == ["float32", "bool"]
    assert var["residual"].tolist() == known["residual"]
    np.testing.assert_allclose(var["reproducibility"], known["reproducibility"], rtol=1e-6)
    both = concept_table(4).assign(**known, **read_out)
    var = read_zarr(write.write_concepts(tmp_path / "both", codes, obs, np.zeros((3, 2)), both, {})).var
    for name, values in read_out.items():
        np.testing.assert_allclose(var[name], values, rtol=1e-6)
    assert not set(schema.REPRODUCIBILITY_COLUMNS) & set(read_zarr(write_small(tmp_path / "one")).var)
    for half, missing in (({"residual": True}, "reproducibility"), ({"agreement": 0.9}, "cluster_correlation")):
        with pytest.raises(InputError, match=f"column '{missing}' is missing"):
            write.write_concepts(tmp_path, codes, obs, np.zeros((3, 2)), concept_table(4).assign(**half), {})


def test_the_q_value_of_the_naming_gene_set_comes_back_where_it_is_given(tmp_path: Path) -> None:
    codes, obs = sp.csc_matrix((3, 4), dtype=np.float32), pd.DataFrame(index=list("abc"))
    var = concept_table(4).assign(best_term_q=[0.5, 0.25, np.nan, 1.0])
    read = read_zarr(write.write_concepts(tmp_path, codes, obs, np.zeros((3, 2)), var, {})).var
    assert list(read) == [*schema.CONCEPT_COLUMNS, *schema.TERM_CONCEPT_COLUMNS]
    np.testing.assert_array_equal(read["best_term_q"].to_numpy(), np.float32([0.5, 0.25, np.nan, 1.0]))


def test_the_same_input_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    here = sha256(write_small(tmp_path / "a"))
    program = (
        "import importlib.util, pathlib, sys;"
        f"spec = importlib.util.spec_from_file_location('t', {str(Path(__file__))!r});"
        "t = importlib.util.module_from_spec(spec); spec.loader.exec_module(t);"
        f"t.write_small(pathlib.Path({str(tmp_path / 'b')!r}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONHASHSEED": "5", "OMP_NUM_THREADS": "1"})
    assert sha256(tmp_path / "b" / schema.CONCEPTS) == here


@pytest.mark.parametrize("what", ["cells", "layout", "nan", "names", "latents"])
def test_concepts_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path: Path, what: str) -> None:
    obs, var, layout = pd.DataFrame(index=list("abc")), concept_table(2), np.zeros((3, 2))
    codes = sp.csc_matrix((4 if what == "cells" else 3, 2), dtype=np.float32)
    if what == "layout":
        layout = np.zeros((3, 3))
    if what == "nan":
        layout[0, 0] = np.nan
    if what == "names":
        var.index = ["same", "same"]
    if what == "latents":
        var["latent"] = 1
    with pytest.raises(InputError, match=r"concepts.zarr"):
        write.write_concepts(tmp_path, codes, obs, layout, var, {})
    assert not list(tmp_path.iterdir())


def gene_table(method: str, n_concepts: int = 3, n_genes: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(len(method))
    pairs = [(c, f"g{g}") for c in range(n_concepts) for g in range(n_genes)]
    table = pd.DataFrame(pairs, columns=["concept", "gene"])
    numbers = {name: rng.random(len(table)) for name in ("effect", "se", "score", "q")}
    return table.assign(method=method, on="activation", n=9, **numbers)


def test_genes_are_sorted_typed_and_named(tmp_path: Path) -> None:
    tables = [gene_table("swap").sample(frac=1, random_state=1), gene_table("path")]
    read = pq.read_table(write.write_genes(tmp_path, tables, {"g1": "CD3D"})).to_pandas()
    assert list(read) == [*schema.GENES_COLUMNS, "symbol"]
    assert read["concept"].dtype == np.int32
    assert set(read["symbol"]) == {"g0", "CD3D", "g2", "g3", "g4"}
    for _, part in read.groupby(["method", "concept"]):
        assert part["score"].is_monotonic_decreasing
    keys = ["method", "concept", "gene"]
    expected = (
        pd.concat(tables).astype({"effect": "float32", "concept": "int32"}).set_index(keys)["effect"].sort_index()
    )
    pd.testing.assert_series_equal(read.set_index(keys)["effect"].sort_index(), expected)


def test_order_of_rows_does_not_change_the_file(tmp_path: Path) -> None:
    table = gene_table("swap")
    one = sha256(write.write_genes(tmp_path / "a", table))
    assert one == sha256(write.write_genes(tmp_path / "b", table.sample(frac=1, random_state=3)))


def test_a_missing_gene_column_leaves_the_old_file(tmp_path: Path) -> None:
    before = sha256(write.write_genes(tmp_path, gene_table("swap")))
    with pytest.raises(InputError, match="'se' is missing"):
        write.write_genes(tmp_path, gene_table("swap").drop(columns="se"))
    assert sha256(tmp_path / schema.GENES) == before
    assert [p.name for p in tmp_path.iterdir()] == [schema.GENES]


class Metric(NamedTuple):
    metric: str
    value: float
    spread: float | None
    null: float | None
    n: int
    definition: str


def test_evaluation_takes_tuples_and_mappings_and_writes_strict_json(tmp_path: Path) -> None:
    records = [
        Metric("a.b", np.float32(0.25), np.nan, None, 3, "é <"),
        {"metric": "c", "value": 1, "spread": 0.5, "null": np.inf, "n": np.int64(4), "definition": ""},
    ]
    read = json.loads(write.write_evaluation(tmp_path, records).read_text())
    assert read == [
        {"metric": "a.b", "value": 0.25, "spread": None, "null": None, "n": 3, "definition": "é <"},
        {"metric": "c", "value": 1, "spread": 0.5, "null": None, "n": 4, "definition": ""},
    ]
