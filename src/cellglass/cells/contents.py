"""What a file of cells holds before anybody looked at the numbers: its slots of counts, its cells, its genes.

Every reader (``h5ad.py``, ``tenx.py``) fills these two classes; ``read.py`` turns them into `Cells`. Here also lives
the one place where the errors of file libraries become a line that a user can act on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from cellglass.cells.blocks import Source
from cellglass.errors import InputError, one_line


@dataclass(frozen=True)
class Slot:
    """One matrix of cells x genes in a file.

    Attributes
    ----------
    key : str
        What a user writes to choose it: ``X``, ``raw`` or ``layers/NAME``.
    label : str
        How messages call it: ``X``, ``raw`` or ``layers['NAME']``.
    source : Source
        Where its numbers come from, block by block.
    var : pandas.DataFrame
        Its genes: file ids in the index.
    """

    key: str
    label: str
    source: Source
    var: pd.DataFrame


@dataclass(frozen=True)
class Contents:
    """Everything in a file that cellglass reads.

    Attributes
    ----------
    name : str
        What messages call the file.
    slots : mapping of str to Slot
        By `Slot.key`.
    obs : pandas.DataFrame
        Cell metadata; cell names in the index.
    obsm : mapping of str to numpy.ndarray
        Numeric matrices with one row for each cell.
    unreadable : mapping of str to str
        Slots that are there and cannot be read, by the key that they would have; the reason completes "X ...".
    """

    name: str
    slots: Mapping[str, Slot]
    obs: pd.DataFrame
    obsm: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)


class UnreadableError(InputError):
    """A part of a file that cannot be read, though its other parts may be."""


def label_of(key: str) -> str:
    """Return how messages call a slot: ``layers['NAME']`` for ``layers/NAME``, and other keys as they are."""
    return f"layers['{key.removeprefix('layers/')}']" if key.startswith("layers/") else key


@contextmanager
def reading(name: str, filters: str = "") -> Iterator[None]:
    """Turn whatever a file library raises inside the block into one InputError about the file `name`.

    The block must hold reading only: a full disk while writing is no fault of the file that is read. `filters` names
    what the file is packed with and nothing here can unpack.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except PermissionError as error:
        raise InputError(f"{name}: may not be read (permission denied); change its permissions") from error
    except Exception as error:
        if filters:
            raise UnreadableError(
                f"{name}: is packed with {filters}, an HDF5 filter that is not installed; install it with: "
                "pip install hdf5plugin (or write the file anew with adata.write_h5ad(..., compression='gzip'))"
            ) from error
        raise UnreadableError(
            f"{name}: cannot be read, it is damaged, truncated or laid out in an unknown way ({one_line(error)}); "
            "copy or download it again, or write it anew with adata.write_h5ad"
        ) from error
