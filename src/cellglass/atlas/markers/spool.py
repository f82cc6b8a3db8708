"""Blocks of arrays that are made once and passed over again and again: in memory, or in a temporary file.

The file has no name where the system allows it and goes with the process, also when that is killed. It knows nothing
of what the arrays mean.
"""

from __future__ import annotations

import logging
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

Array = np.ndarray[Any, Any]
T = TypeVar("T", bound=tuple[Array, ...])
log = logging.getLogger(__name__)


class Spool(Generic[T]):
    """Blocks in a temporary file, read back in the order in which they were written; one reader at a time.

    Parameters
    ----------
    kind : callable
        Makes a block of its arrays, such as a NamedTuple's class.
    blocks : iterable of tuple of numpy.ndarray
        All of them; each is written as it comes and then forgotten.

    Raises
    ------
    OSError
        If the temporary folder has no room.
    """

    def __init__(self, kind: Callable[..., T], blocks: Iterable[T]) -> None:
        self._kind = kind
        self._forms: list[list[tuple[np.dtype[Any], int]]] = []
        self._file = tempfile.TemporaryFile(prefix="cellglass-")  # noqa: SIM115  (closed when this goes)
        self.close = weakref.finalize(self, self._file.close)
        for block in blocks:
            for array in block:
                self._file.write(np.ascontiguousarray(array).data)
            self._forms.append([(array.dtype, len(array)) for array in block])
        self._file.flush()

    def __iter__(self) -> Iterator[T]:
        self._file.seek(0)
        for forms in self._forms:
            yield self._kind(*(self._read(dtype, size) for dtype, size in forms))

    def _read(self, dtype: np.dtype[Any], size: int) -> Array:
        array = np.empty(size, dtype=dtype)
        buffer: Any = array
        if self._file.readinto(buffer) != array.nbytes:
            raise OSError("a temporary file was cut short")
        return array


class Anew(Generic[T]):
    """Blocks that are made again each time that they are passed over."""

    def __init__(self, make: Callable[[], Iterable[T]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[T]:
        return iter(self._make())


def keep(kind: Callable[..., T], make: Callable[[], Iterable[T]], *, in_memory: bool) -> Iterable[T]:
    """Return the blocks that `make` makes so that they can be passed over often.

    Parameters
    ----------
    kind : callable
        Makes a block of its arrays.
    make : callable
        Makes all blocks; called once, or each time where the temporary folder has no room for them.
    in_memory : bool
        Whether they fit into memory; else a temporary file holds them.
    """
    if in_memory:
        return list(make())
    try:
        return Spool(kind, make())
    except OSError as error:
        log.warning(
            "%s: no room for what makes questions quick (%s); set TMPDIR to a larger folder",
            tempfile.gettempdir(), error,
        )  # fmt: skip
        return Anew(make)
