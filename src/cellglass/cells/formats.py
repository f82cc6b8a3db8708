"""What is at this path? Formats are told by content, not by the ending of the name; each has a reader of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from cellglass.cells.contents import Contents, reading
from cellglass.cells.strangers import FROM_R, KNOWN, below, describe
from cellglass.errors import InputError


def open_contents(path: Path, counts: str = "auto") -> AbstractContextManager[Contents]:
    """Find out what lies at `path` and open it; `counts` says which side of a table the genes are on."""
    from cellglass.cells.h5ad import open_h5ad, open_zarr
    from cellglass.cells.loom import open_loom
    from cellglass.cells.tables import open_table
    from cellglass.cells.tenx import is_tenx_folder, open_tenx_h5, open_tenx_mtx

    with reading(str(path)):
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder; check the path")
        if path.is_dir():
            if is_tenx_folder(path):
                return open_tenx_mtx(path)
            if any((path / name).is_file() for name in (".zgroup", ".zattrs", ".zmetadata", "zarr.json")):
                if (path / "obs").is_dir() or (what := below(path)) is None:
                    return open_zarr(path)
                raise InputError(f"{path}: {what}")
            what = below(path) or (
                "is a folder, but neither AnnData zarr nor 10x output (matrix.mtx, barcodes.tsv, features.tsv)"
                "; name a file or one of these folders"
            )
            raise InputError(f"{path}: {what}")
        kind = _kind(path)
    if kind == "table":
        return open_table(path, counts)
    return {"10x": open_tenx_h5, "loom": open_loom, "AnnData": open_h5ad}[kind](path)


def _kind(path: Path) -> str:
    """Tell the kinds of files apart by what they hold; InputError if it is none that is read."""
    import h5py

    from cellglass.cells.hdf5 import open_hdf5

    if not h5py.is_hdf5(path):
        with path.open("rb") as file:
            if file.read(8) != b"\x89HDF\r\n\x1a\n":
                what = describe(path)
                if what is not None:
                    raise InputError(f"{path}: {what}")
                return "table"
    with open_hdf5(path) as file:
        return _kind_of_hdf5(path, file)


def _kind_of_hdf5(path: Path, file: Any) -> str:
    import h5py

    if "obs" in file and "var" in file:
        if "mod" in file:
            raise InputError(f"{path}: is MuData; write its gene expression alone: mdata['rna'].write_h5ad(...)")
        return "AnnData"
    if "matrix" in file and "row_attrs" in file and "col_attrs" in file:
        return "loom"
    if any(isinstance(file[key], h5py.Group) and "barcodes" in file[key] for key in file):
        return "10x"
    held = ", ".join(sorted(file)[:8]) or "nothing"
    if "assays" in file and "cell.names" in file:
        raise InputError(f"{path}: is an h5Seurat file; {FROM_R}")
    if "barcode_idx" in file or {"umi", "barcodes"} <= set(file):
        raise InputError(
            f"{path}: is Cell Ranger's list of molecules; give filtered_feature_bc_matrix.h5 of the same run"
        )
    if "layer_names" in file or "model_weights" in file:
        raise InputError(f"{path}: holds weights of a model, no cells; {KNOWN}")
    raise InputError(f"{path}: is HDF5 but neither AnnData (no obs and var) nor 10x nor loom; it holds {held}; {KNOWN}")
