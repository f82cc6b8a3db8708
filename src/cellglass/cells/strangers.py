"""Files that are no cells for cellglass, each told for what it is, with the way out. Reads first bytes only."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cellglass.files import is_lfs_pointer

KNOWN = "cellglass reads .h5ad, AnnData zarr, 10x .h5 and mtx folders, .loom, .csv and .tsv"
FROM_R = "write it in R with anndataR::write_h5ad(object, 'my.h5ad') or zellkonverter::writeH5AD(sce, 'my.h5ad')"
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
"""First bytes of gzip, bzip2 and xz."""

_R = (b"X\n\x00", b"A\n", b"B\n", b"RDX", b"RDA", b"RDB")
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_DEEP = 3


def describe(path: Path) -> str | None:
    """Return what a file is that cellglass does not read, and the way out; None where it may be a table of text."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "is empty; copy or download it again"
    if is_lfs_pointer(path):
        return "is a Git LFS pointer, not the file itself; fetch that with: git lfs pull"
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    packed = head.startswith(PACKED)
    inside = _unpacked(path, head) if packed else head
    if inside.startswith(_R):
        return f"is an R object (.rds or .RData); {FROM_R}"
    if inside.startswith(b"\x89HDF"):
        return "is HDF5 inside of gzip; unpack it first: gunzip FILE"
    if inside[257:262] == b"ustar":
        return "is a tar archive; unpack it (tar xf FILE) and name the file or folder that was in it"
    if inside.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "is a web page, not the file: its address led to a page; download the file itself"
    if inside.lower().startswith(b"%%matrixmarket"):
        return "is the matrix alone; name the folder in which it lies, with barcodes.tsv and features.tsv beside it"
    names = {
        b"\x80": "is a Python pickle, which cellglass never opens",
        b"PAR1": "is a parquet table",
        b"%PDF": "is a PDF",
        b"\x93NUMPY": "is one array of NumPy, without cells and genes",
        b"\xd0\xcf\x11\xe0": "is a workbook of Excel; save it as .csv",
        b"{": "is JSON",
    }
    for magic, what in names.items():
        if inside.startswith(magic):
            return f"{what}; {KNOWN}"
    if _NO_TEXT.search(inside) and not inside.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"is no file of cells that is known here (no HDF5 file, no text); {KNOWN}"
    return None


def below(folder: Path) -> str | None:
    """Return what a folder is that holds no cells itself, and the way out; None where nothing is known of it."""
    if (folder / "tables").is_dir() and any((folder / part).is_dir() for part in ("images", "shapes", "points")):
        tables = [path for path in sorted((folder / "tables").iterdir()) if path.is_dir()]
        named = f": {tables[0]}" if tables else ", which this one does not have"
        return f"is SpatialData; name the table in it{named}"
    found = list(dict.fromkeys(map(str, _cells_below(folder, _DEEP))))
    if found:
        more = f" (there are also {', '.join(found[1:4])}{' ...' if len(found) > 4 else ''})" if found[1:] else ""
        return f"is a folder above the cells; name {found[0]}{more}"
    return None


def _cells_below(folder: Path, deep: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.endswith((".mtx", ".mtx.gz")):
            yield path.parent
        elif (path.is_file() and path.suffix in (".h5ad", ".h5", ".loom")) or (
            (path / "obs").is_dir() and any((path / name).is_file() for name in (".zgroup", "zarr.json"))
        ):
            yield path
        elif path.is_dir() and deep:
            yield from _cells_below(path, deep - 1)


def _zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "is a zip archive that is cut short; copy or download it again"
    if "xl/workbook.xml" in names:
        return "is a workbook of Excel; save it as .csv"
    if any(name.endswith(".pkl") for name in names):
        return f"is a file of PyTorch, so a model: give it to --model; {KNOWN}"
    if names and all(name.endswith(".npy") for name in names):
        return f"is an archive of NumPy arrays (.npz); {KNOWN}"
    held = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"is a zip archive; unpack it and name the file or folder that was in it ({held})"


def _unpacked(path: Path, head: bytes) -> bytes:
    opener: Any = gzip.open if head[:2] == PACKED[0] else bz2.open if head[:3] == PACKED[1] else lzma.open
    with opener(path, "rb") as file:
        return bytes(file.read(512))
