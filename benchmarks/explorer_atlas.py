"""Makes a large synthetic atlas quickly and in bounded memory, and times what the explorer reads of it.

Each cell belongs to one of 40 groups and has about 32 active concepts, most of them its group's; three labels; about
200 of 2,000 genes with counts; a few rows of genes and gene sets a concept, pairs, and a dictionary that was never
trained. What is written is what `cellglass.atlas.write` writes, but columns of the matrices go to disk block by block.
Nothing in it is a result.

    python benchmarks/explorer_atlas.py --cells 1000000 --concepts 4096 --out ATLAS     makes the atlas
    python benchmarks/explorer_atlas.py --quick                                         makes a small one and times it
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from common import Row, main, timed

from cellglass.atlas import manifest as manifests
from cellglass.atlas import open_atlas, schema, write

GROUPS, GENES, TERMS = 40, 2000, 200
ACTIVE, COUNTED = 32, 200
"""Active concepts of a cell, and its genes with counts."""
WIDTH = 256
"""Length of a vector of the model that is made up."""
BLOCK = 1 << 23
"""Entries of a matrix that wait in memory before they are written."""
ENTRIES = (("data", "float32"), ("indices", "int32"))
METHODS = (("path", "activation"), ("swap", "activation"), ("de", "expression"))


def make_atlas(folder: Path, n_cells: int, n_concepts: int, seed: int = 0) -> Path:
    """Write a finished atlas; memory does not grow with its activations."""
    rng = np.random.default_rng(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    groups = rng.integers(0, GROUPS, n_cells).astype(np.int8)
    members = [np.flatnonzero(groups == group).astype(np.int32) for group in range(GROUPS)]
    var = concept_table(n_concepts)
    table = folder / schema.CONCEPTS
    n_active = fill(table, members, n_cells, n_concepts, ACTIVE, rng)
    var["density"] = (n_active / n_cells).astype(np.float32)
    gene_ids = pd.DataFrame({"symbol": [f"GENE{i}" for i in range(GENES)]}, [f"ENSG{i:011d}" for i in range(GENES)])
    rule = {"by": "seeds", "n": 4, "least": 0.75, "correlation": 0.7}
    uns = {"site": "cell", "model": {"kind": "synthetic"}, "reproducibility": rule}
    finish(table, cell_table(groups, rng), var, layout(groups, rng), uns)
    counts = folder / schema.EXPRESSION
    fill(counts, members, n_cells, GENES, COUNTED, rng, counts=True)
    finish(counts, pd.DataFrame(index=cell_names(n_cells)), gene_ids, None, {})
    write.write_genes(folder, gene_tables(n_concepts, rng), dict(gene_ids["symbol"]))
    write.write_pathways(folder, pathway_tables(n_concepts, rng))
    write_pairs(folder, members, n_concepts, rng)
    write_dictionary(folder / schema.DICTIONARIES / "concepts", n_concepts)
    write.write_evaluation(
        folder, [dict(zip(schema.METRIC_FIELDS, ("fidelity.l0", 20.0, None, None, 9, "active"), strict=True))]
    )
    manifest = manifests.new_manifest(seed, {})
    names = (schema.CONCEPTS, schema.EXPRESSION, schema.GENES, schema.PATHWAYS, schema.EVALUATION)
    outputs = {name: manifests.artefact_digest(folder / name) for name in names}
    manifest["stages"]["all"] = {"fingerprint": "0" * 64, "state": "done", "seconds": 1.0, "outputs": outputs}
    manifests.write_manifest(folder, manifest)
    return folder


def fill(
    place: Path,
    members: list[np.ndarray],
    n_cells: int,
    width: int,
    per_cell: int,
    rng: np.random.Generator,
    *,
    counts: bool = False,
) -> np.ndarray:
    """Write the matrix of an AnnData folder (CSC), column by column; return the stored entries of each column.

    Each group of cells has its own columns, which hold all or, where that would be too many, nine tenths of their
    entries in cells of the group; the rest lie anywhere.
    """
    import zarr

    wanted = per_cell * n_cells / width
    group = zarr.open_group(str(place), mode="w", zarr_format=3)
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    matrix = group.create_group("X")
    matrix.attrs.update({"encoding-type": "csc_matrix", "encoding-version": "0.1.0", "shape": [n_cells, width]})
    room = (int(n_cells * per_cell * 1.1) + 10_000,)
    data, indices = (matrix.create_array(name, shape=room, dtype=kind) for name, kind in ENTRIES)
    sizes, waiting, at, held = np.zeros(width, dtype=np.int64), [], 0, 0
    for column in range(width):
        inside = members[column % GROUPS]
        own = inside[rng.random(len(inside), dtype=np.float32) < 0.9 * wanted / len(inside)]
        others = rng.integers(0, n_cells, max(0, int(wanted) - len(own)), dtype=np.int32)
        rows = np.sort(np.concatenate([own, others]))
        waiting.append(rows[np.diff(rows, prepend=-1) > 0])
        sizes[column] = len(waiting[-1])
        held += len(waiting[-1])
        if held > BLOCK or column == width - 1:
            values = rng.geometric(0.5, held) if counts else rng.standard_gamma(2.0, held, dtype=np.float32) + 0.01
            indices[at : at + held], data[at : at + held] = np.concatenate(waiting), values.astype(np.float32)
            at, held, waiting = at + held, 0, []
    data.resize((at,))
    indices.resize((at,))
    matrix.create_array("indptr", data=np.concatenate([[0], np.cumsum(sizes)]))
    return sizes


def finish(place: Path, obs: pd.DataFrame, var: pd.DataFrame, xy: np.ndarray | None, uns: dict[str, object]) -> None:
    """Write what an AnnData folder has beside its matrix."""
    import zarr
    from anndata.io import write_elem

    with write.zarr_settings():
        group = zarr.open_group(str(place), mode="r+")
        write_elem(group, "obs", obs)
        write_elem(group, "var", var)
        write_elem(group, "obsm", {} if xy is None else {"X_umap": xy})
        write_elem(group, "uns", uns)
        for name in ("varm", "obsp", "varp", "layers"):
            write_elem(group, name, {})


def cell_names(n_cells: int) -> pd.Index:
    """Return names of cells."""
    return pd.Index(np.char.add("cell-", np.arange(n_cells).astype(str)).astype(object))


def cell_table(groups: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Return three labels of the cells."""
    n = len(groups)
    kinds = pd.Categorical.from_codes(groups, [f"type {i}" for i in range(GROUPS)])
    donors = pd.Categorical.from_codes(rng.integers(0, 12, n), [f"donor {i}" for i in range(12)])
    depth = rng.normal(3000, 500, n).astype(np.float32)
    return pd.DataFrame({"cell type": kinds, "donor": donors, "n_counts": depth}, index=cell_names(n))


def layout(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return where each cell is drawn: one cloud a group."""
    centres = rng.normal(size=(GROUPS, 2)) * 8
    return (centres[groups] + rng.normal(size=(len(groups), 2))).astype(np.float32)


def concept_table(n: int) -> pd.DataFrame:
    """Return the table of concepts, as if all were found in three of four other seeds."""
    latent = np.arange(n, dtype=np.int32)
    return pd.DataFrame(
        {
            "latent": latent,
            "density": np.float32(0),
            "mean_activation": np.full(n, 2, dtype=np.float32),
            "max_activation": np.full(n, 12, dtype=np.float32),
            "best_label": [f"type {i % GROUPS}" for i in range(n)],
            "best_label_f1": (0.5 + latent % 40 / 100).astype(np.float32),
            "best_term": [f"TERM_{i % TERMS}" for i in range(n)],
            "top_gene": [f"GENE{i % GENES}" for i in range(n)],
            "name_by": "machine",
            "reproducibility": np.full(n, 0.75, dtype=np.float32),
            "residual": False,
        },
        index=pd.Index([f"c{i} type {i % GROUPS}" for i in range(n)]),
    )


def gene_tables(n_concepts: int, rng: np.random.Generator, rows: int = 60) -> Iterator[pd.DataFrame]:
    """Yield, method by method, a few genes of each concept."""
    for method, on in METHODS:
        concept = np.repeat(np.arange(n_concepts), rows)
        gene = (concept * 7 + np.tile(np.arange(rows) * 31, n_concepts)) % GENES
        effect = rng.exponential(0.1, len(concept))
        names = pd.Categorical.from_codes(gene, [f"ENSG{i:011d}" for i in range(GENES)])
        table = {"method": method, "on": on, "concept": concept, "gene": names, "effect": effect, "se": effect / 5}
        yield pd.DataFrame({**table, "score": effect, "q": rng.random(len(concept)), "n": 20})


def pathway_tables(n_concepts: int, rng: np.random.Generator, rows: int = 20) -> Iterator[pd.DataFrame]:
    """Yield, test by test, a few gene sets of each concept."""
    for test, ranking in (("gsea", "path"), ("ora", "de")):
        concept = np.repeat(np.arange(n_concepts), rows)
        term = (concept + np.tile(np.arange(rows), n_concepts)) % TERMS
        n = len(concept)
        table = {"concept": concept, "source": "synthetic", "test": test, "ranking": ranking, "n_genes": 30}
        names = pd.Categorical.from_codes(term, [f"TERM_{i}" for i in range(TERMS)])
        edge = ";".join(f"GENE{i}" for i in range(12))
        numbers = {name: rng.random(n) for name in ("statistic", "p", "q", "null_q")}
        yield pd.DataFrame({**table, "term": names, **numbers, "leading_edge": edge})


def write_pairs(folder: Path, members: list[np.ndarray], n_concepts: int, rng: np.random.Generator) -> None:
    """Write 12 prototypes of each concept, each of the concept's group, with two real partners and a null one."""
    concept = np.repeat(np.arange(n_concepts, dtype=np.int32), 36)
    prototype = np.concatenate([np.repeat(rng.choice(members[i % GROUPS], 12), 3) for i in range(n_concepts)])
    partner = rng.integers(0, sum(map(len, members)), len(concept), dtype=np.int32)
    kind = np.tile(["real", "real", "null"], 12 * n_concepts)
    table = {"concept": concept, "prototype": prototype, "partner": partner, "kind": kind}
    pd.DataFrame({**table, "difference": np.float32(0.5)}).to_parquet(folder / "pairs.parquet", index=False)


def write_dictionary(folder: Path, n_concepts: int) -> None:
    """Write a dictionary as it begins, before any training."""
    from cellglass.dictionaries import TopK, TopKConfig

    TopK(TopKConfig(WIDTH, n_concepts, ACTIVE)).save(folder)


def run(quick: bool) -> Iterable[Row]:
    """Time the files that the page asks for."""
    with tempfile.TemporaryDirectory() as place:
        n, m = (20_000, 256) if quick else (1_000_000, 4096)
        with timed() as making:
            folder = make_atlas(Path(place) / "atlas", n, m)
        yield Row("seconds", f"make an atlas of {n:,} x {m:,}", making.seconds, "s")
        yield from times(folder)


def times(folder: Path) -> Iterator[Row]:
    """Time an atlas that there is: the first picture, then single concepts at random, and the memory of it all."""
    from cellglass.explorer import Tree

    with timed() as first:
        tree = Tree(open_atlas(folder))
        for path in ("manifest.json", "concepts.json", "xy.bin", "labels/0.bin", "activations/0.bin"):
            tree.get(f"data/{path}")
    n, m = tree.source.n_cells, len(tree.source.var)
    name = f"{n:,} x {m:,}"
    yield Row("seconds", f"first picture, {name}", first.seconds, "s")
    with timed() as shared:
        tree.warm()
    yield Row("seconds", f"warm, {name}", shared.seconds, "s")
    latents = np.random.default_rng(0).choice(m, min(m, 60), replace=False)
    for what, path in (
        ("activations", "data/activations/{}.bin"), ("card", "data/cards/{}.json"), ("pairs", "data/pairs/{}.json"),
        ("gene", "data/expression/{}.bin"),
    ):  # fmt: skip
        took = []
        shard = -(-m // len([p for p in tree.paths() if p.startswith("data/cards/")]))
        for latent in latents.tolist():
            number = latent // shard if what == "card" else latent % GENES if what == "gene" else latent
            with timed() as one:
                tree.get(path.format(number))
            took.append(one.seconds)
        yield Row("p50", f"{what}, {name}", float(np.quantile(took, 0.5)) * 1000, "ms")
        yield Row("p95", f"{what}, {name}", float(np.quantile(took, 0.95)) * 1000, "ms")
    unit = 1024 if sys.platform != "darwin" else 1024**2
    yield Row("peak_memory", f"all of it, {name}", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, "MiB")


if __name__ == "__main__":
    if "--out" in sys.argv:
        parser = argparse.ArgumentParser(description="Make a large synthetic atlas.")
        parser.add_argument("--cells", type=int, default=1_000_000)
        parser.add_argument("--concepts", type=int, default=4096)
        parser.add_argument("--out", type=Path, required=True)
        options = parser.parse_args()
        make_atlas(options.out, options.cells, options.concepts)
    else:
        main(run)
