"""HDF5 files as people have them: open elsewhere, or packed with a filter that this Python lacks. Knows no layout."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cellglass.cells.contents import reading
from cellglass.errors import InputError

FILTERS = {
    32000: "LZF", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP", 32015: "Zstandard", 32026: "Blosc2",
    307: "bzip2",
}  # fmt: skip
"""Registered filters (https://github.com/HDFGroup/hdf5_plugins), by their number."""

_LOCKED = re.compile(r"unable to lock file|already open for|file is already open|errno = 11", re.IGNORECASE)


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file to read; one that another program writes is an InputError that says so.

    Filters of the package ``hdf5plugin`` are used where it is installed.
    """
    import h5py

    with reading(str(path)):
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            if _LOCKED.search(str(error)):
                raise InputError(
                    f"{path}: is open elsewhere, such as in a notebook, and may be changing; close it there "
                    "(adata.file.close(), or end that program), or copy the file"
                ) from error
            raise
    with file:
        yield file


def missing_filters(file: Any) -> str:
    """Return the names of filters that parts of an open file need and that are not there; empty where all are."""
    import h5py

    wanted: set[int] = set()

    def visit(_: str, element: Any) -> None:
        if isinstance(element, h5py.Dataset):
            packed = element.id.get_create_plist()
            wanted.update(packed.get_filter(i)[0] for i in range(packed.get_nfilters()))

    with contextlib.suppress(Exception):  # a damaged file is told of where the damaged part is read
        file.visititems(visit)
    lacking = [number for number in sorted(wanted) if not h5py.h5z.filter_avail(number)]
    if lacking:
        with contextlib.suppress(ImportError):
            import hdf5plugin  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401  # registers

            lacking = [number for number in lacking if not h5py.h5z.filter_avail(number)]
    return ", ".join(FILTERS.get(number, f"filter {number}") for number in lacking)
