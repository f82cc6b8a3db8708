"""What is at this path? Formats are told by content, not by the ending of the name; each has a reader of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from cellglass.cells.contents import Contents, reading
from cellglass.errors import InputError


def open_contents(path: Path) -> AbstractContextManager[Contents]:
    """Find out what lies at `path` and open it."""
    from cellglass.cells.h5ad import open_h5ad, open_zarr
    from cellglass.cells.tenx import is_tenx_folder, open_tenx_h5, open_tenx_mtx

    with reading(str(path)):
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder; check the path")
        if path.is_dir():
            if any((path / name).is_file() for name in (".zgroup", ".zattrs", ".zmetadata", "zarr.json")):
                return open_zarr(path)
            if is_tenx_folder(path):
                return open_tenx_mtx(path)
            raise InputError(
                f"{path}: is a folder, but neither AnnData zarr nor 10x output (matrix.mtx, barcodes.tsv, features.tsv)"
                "; name a file or one of these folders"
            )
        kind = _kind(path)
    return open_tenx_h5(path) if kind == "10x" else open_h5ad(path)


def _kind(path: Path) -> str:
    """Tell 10x from AnnData by what the HDF5 file holds; InputError if it is neither."""
    import h5py

    known = "cellglass reads .h5ad, AnnData zarr, 10x .h5 and 10x mtx folders; write it with adata.write_h5ad"
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise InputError(f"{path}: is empty; copy or download it again")
    if not h5py.is_hdf5(path):
        kinds = {b"\x80": "a Python pickle, which cellglass never opens", b"\x1f\x8b": "gzipped: unpack it first"}
        what = next((text for magic, text in kinds.items() if head.startswith(magic)), "no HDF5 file, so no AnnData")
        raise InputError(f"{path}: is {what}; {known}")
    with h5py.File(path, "r") as file:
        if "obs" in file and "var" in file:
            if "mod" in file:
                raise InputError(f"{path}: is MuData; write its gene expression alone: mdata['rna'].write_h5ad(...)")
            return "AnnData"
        if any(isinstance(file[key], h5py.Group) and "barcodes" in file[key] for key in file):
            return "10x"
        held = ", ".join(sorted(file)[:8]) or "nothing"
        raise InputError(f"{path}: is HDF5 but neither AnnData (no obs and var) nor 10x; it holds {held}; {known}")
