import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cellglass.atlas import manifest as manifests
from cellglass.atlas import open_atlas, schema
from cellglass.errors import InputError


@pytest.fixture
def copy(atlas_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(atlas_folder, tmp_path / "atlas"))


def test_concepts_and_evaluation(atlas_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    assert atlas.concepts.shape == (700, 24)
    active = np.diff(atlas.concepts.X.indptr) / 700
    np.testing.assert_allclose(atlas.concepts.var["density"], active, rtol=1e-6)
    records = {r["metric"]: r for r in json.loads((atlas_folder / schema.EVALUATION).read_text())}
    assert atlas.evaluation.index.name == "metric"
    assert (
        atlas.evaluation.loc["fidelity.variance_explained", "value"] == records["fidelity.variance_explained"]["value"]
    )
    assert np.isnan(atlas.evaluation.loc["fidelity.l0", "null"])
    assert len(atlas.evaluation) == len(records)


@pytest.mark.filterwarnings("ignore:The set_bad function:PendingDeprecationWarning")  # scanpy's own use of matplotlib
def test_scanpy_draws_concepts_and_genes(atlas_folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import scanpy as sc

    atlas = open_atlas(atlas_folder)
    names = list(atlas.concepts.var_names[:2])
    axes = sc.pl.umap(atlas.concepts, color=[*names, "cell type"], show=False)
    assert [axis.get_title() for axis in axes] == [*names, "cell type"]
    drawn = np.sort(np.asarray(axes[0].collections[0].get_array()))
    np.testing.assert_allclose(drawn, np.sort(atlas.concepts.X[:, [0]].toarray().ravel()), rtol=1e-6)
    assert atlas.expression is not None
    axis = sc.pl.umap(atlas.expression, color="ENSG00000000000", show=False)
    assert float(np.max(axis.collections[0].get_array())) == atlas.expression[:, "ENSG00000000000"].X.max()
    plt.close("all")


def test_genes_of_a_concept_by_name_and_number_equal_a_plain_filter(atlas_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    whole = pq.read_table(atlas_folder / schema.GENES).to_pandas()
    plain = whole[(whole["concept"] == 5) & (whole["method"] == "swap")].sort_values("score", ascending=False)
    by_number = atlas.genes(5, method="swap")
    pd.testing.assert_frame_equal(by_number, plain.reset_index(drop=True))
    pd.testing.assert_frame_equal(by_number, atlas.genes(atlas.concepts.var_names[5], method="swap", on="activation"))
    assert len(atlas.genes()) == len(whole)
    assert atlas.genes(5, method="swap", on="expression").empty


def test_pathways_are_sorted_by_q_and_filtered(atlas_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    table = atlas.pathways(2, source="hallmark")
    assert set(table["source"]) == {"hallmark"}
    assert set(table["concept"]) == {2}
    assert table["q"].is_monotonic_increasing
    assert len(atlas.pathways()) == pq.read_metadata(atlas_folder / schema.PATHWAYS).num_rows


def test_concepts_that_are_not_there(atlas_folder: Path) -> None:
    atlas = open_atlas(atlas_folder)
    with pytest.raises(InputError, match="no concept with latent number 999; they run from 0 to 23"):
        atlas.genes(999)
    near = atlas.concepts.var_names[0]
    with pytest.raises(InputError, match="did you mean"):
        atlas.genes(near[:-1] + "9")
    with pytest.raises(InputError, match="no dictionary 'concepts'; there are: none"):
        atlas.dictionary()


def test_expression_reads_one_gene_and_may_be_left_out(copy: Path) -> None:
    atlas = open_atlas(copy)
    assert atlas.expression is not None
    one = atlas.expression[:, "ENSG00000000003"].X
    whole = atlas.expression.to_memory().X
    assert (one != whole[:, [3]]).nnz == 0
    manifest = manifests.read_manifest(copy)
    del manifest["stages"]["all"]["outputs"][schema.EXPRESSION]
    manifests.write_manifest(copy, manifest)
    shutil.rmtree(copy / schema.EXPRESSION)
    assert open_atlas(copy).expression is None


def test_verify_finds_one_changed_byte(copy: Path) -> None:
    assert set(open_atlas(copy).verify()) == {
        schema.CONCEPTS, schema.EXPRESSION, schema.GENES, schema.PATHWAYS, schema.EVALUATION,
    }  # fmt: skip
    chunk = next(p for p in sorted((copy / schema.CONCEPTS / "X" / "data" / "c").iterdir()))
    changed = bytearray(chunk.read_bytes())
    changed[len(changed) // 2] ^= 1
    chunk.write_bytes(changed)
    with pytest.raises(InputError, match=r"concepts\.zarr: its contents changed"):
        open_atlas(copy).verify()


@pytest.mark.parametrize("name", [schema.CONCEPTS, schema.EVALUATION, schema.GENES, schema.PATHWAYS])
def test_a_missing_artefact_is_named(copy: Path, name: str) -> None:
    place = copy / name
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(InputError, match=f"the atlas lacks {name}; run the same command again"):
        open_atlas(copy)


def test_truncated_artefacts_are_one_line(copy: Path) -> None:
    for name in (schema.GENES, schema.EVALUATION):
        place = copy / name
        place.write_bytes(place.read_bytes()[: place.stat().st_size // 2])
    (copy / schema.CONCEPTS / "X" / "zarr.json").write_text("{")
    atlas = open_atlas(copy)
    for read in (
        lambda: atlas.evaluation,
        lambda: atlas.concepts,
        lambda: atlas.genes(),
    ):
        with pytest.raises(InputError, match="cannot be read") as raised:
            read()
        assert "\n" not in str(raised.value)
        assert "it goes on" in str(raised.value)
    assert "cannot be read" in repr(atlas)


def test_an_unfinished_atlas_says_so(copy: Path) -> None:
    manifest = manifests.read_manifest(copy)
    manifest["stages"]["pathways"] = {"fingerprint": "", "state": "running", "seconds": 0, "outputs": {}}
    manifests.write_manifest(copy, manifest)
    with pytest.raises(InputError, match=r"not finished \(stage pathways\); run the same command again; it goes on"):
        open_atlas(copy)
    assert open_atlas(copy, unfinished=True).concepts.n_vars == 24


def test_latents_are_those_of_the_table_and_read_without_the_rest(copy: Path) -> None:
    expected = open_atlas(copy).concepts.var["latent"].to_numpy()
    shutil.rmtree(copy / schema.CONCEPTS / "X")
    np.testing.assert_array_equal(open_atlas(copy).latents, expected)
    (copy / schema.CONCEPTS / "var" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"concepts\.zarr: it cannot be read"):
        _ = open_atlas(copy).latents


def test_an_evaluation_of_a_newer_cellglass_says_so_and_one_of_an_older_is_read(copy: Path) -> None:
    manifest = json.loads((copy / schema.MANIFEST).read_text())
    manifest["encodings"][schema.EVALUATION]["encoding-version"] = "2.0.0"
    (copy / schema.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"evaluation\.json: it has encoding version 2\.0\.0 .* pip install -U"):
        _ = open_atlas(copy).evaluation
    del manifest["encodings"]
    (copy / schema.MANIFEST).write_text(json.dumps(manifest))
    assert len(open_atlas(copy).evaluation) > 10


def test_a_foreign_table_names_the_column(copy: Path) -> None:
    table = pq.read_table(copy / schema.PATHWAYS)
    pq.write_table(table.drop(["null_q"]), copy / schema.PATHWAYS)
    with pytest.raises(InputError, match="column 'null_q' is missing"):
        open_atlas(copy).pathways()


def test_summary_is_plain_and_shown_in_notebooks(atlas_folder: Path, hostile_folder: Path) -> None:
    facts = open_atlas(atlas_folder).summary()
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["cells"], facts["concepts"], facts["alive"], facts["findings"]) == (700, 24, 23, 18)
    assert facts["labels"] == ["cell type", "phase"]
    assert "18 concepts, 24 latents, in 700 cells" in repr(open_atlas(atlas_folder))
    assert "<script>" not in open_atlas(hostile_folder)._repr_html_()


def test_reading_does_not_import_torch(atlas_folder: Path) -> None:
    program = (
        "import sys; from cellglass.atlas import open_atlas;"
        f"a = open_atlas({str(atlas_folder)!r}); a.concepts, a.expression;"
        "a.genes(1), a.pathways(1), a.evaluation, a.verify();"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
