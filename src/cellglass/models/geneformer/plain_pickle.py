"""Pickles that hold nothing but plain data: containers, strings and numbers. Nothing that a pickle names is ever run.

Some published models carry their dictionaries as pickles. A pickle is a program, and Python's own reader runs whatever
it names. This reader looks names up in a table of three, all of them NumPy's way to write one number, and answers them
with functions of its own that turn eight bytes into a float or an int; every other name is refused.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any, NoReturn

from cellglass.errors import InputError

_CODES = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
_PLAIN = (bool, int, float, str, bytes, bytearray, type(None))


def load_plain(path: Path) -> Any:
    """Return what the pickle at `path` holds: dict, list, tuple, set, str, bytes, bool, int, float or None.

    NumPy's scalars become Python's bool, int and float. Pickles of protocol 2 and before write bytes, sets and NumPy's
    scalars by functions that are not admitted. An InputError says what else it holds; nothing of that is
    imported or called.
    """
    try:
        with path.open("rb") as file:
            found = _Reader(file).load()
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except _RefusedError as error:
        raise InputError(f"{path} is refused: {error}; only strings, numbers and containers are read") from None
    except Exception as error:  # what a damaged pickle raises can be almost anything
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path} is no readable pickle ({reason[0]}); copy or download it again") from None
    if not _is_plain(found):
        raise InputError(f"{path} is refused: it holds an unfinished NumPy number; copy or download it again")
    return found


class _RefusedError(Exception):
    """The pickle holds something that is not plain data."""


class _Sealed:
    """Refuses whatever a pickle's BUILD instruction would set on it."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise _RefusedError("it sets the state of a function")


class _Kind:
    """Stands for numpy.dtype: the kind of one number."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        """Take the byte order from NumPy's state (version, order, subarray, names, ...)."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise _RefusedError("it holds a NumPy number of unknown byte order")
        if any(part is not None for part in state[2:5]):
            raise _RefusedError("it holds structured NumPy data")
        self.order = ">" if state[1] == ">" else "<"


class _MakeKind(_Sealed):
    __slots__ = ()

    def __call__(self, code: Any, *_: Any) -> _Kind:
        if not isinstance(code, str) or code not in _CODES:
            raise _RefusedError(f"it holds NumPy data of kind {code!r}")
        return _Kind(code)


class _MakeScalar(_Sealed):
    __slots__ = ()

    def __call__(self, kind: Any, data: Any) -> bool | int | float:
        if not isinstance(kind, _Kind) or not isinstance(data, bytes):
            raise _RefusedError("it holds NumPy data that is not one number")
        return struct.unpack(kind.order + _CODES[kind.code], data)[0]  # type: ignore[no-any-return]


_NAMES = {
    ("numpy", "dtype"): _MakeKind(),
    # NumPy 1 wrote numpy.core where NumPy 2 writes numpy._core.
    ("numpy.core.multiarray", "scalar"): _MakeScalar(),
    ("numpy._core.multiarray", "scalar"): _MakeScalar(),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return our own function for one of three names; refuse all others unseen."""
        if (module, name) not in _NAMES:
            raise _RefusedError(f"it would run {module}.{name}")
        return _NAMES[module, name]

    def persistent_load(self, _pid: Any) -> NoReturn:
        raise _RefusedError("it points to data outside itself")


def _is_plain(found: Any) -> bool:
    """Say whether no helper of the reader is left anywhere in `found`; each container is looked at once."""
    seen: set[int] = set()
    left = [found]
    while left:
        one = left.pop()
        if isinstance(one, _PLAIN):
            continue
        if not isinstance(one, dict | list | tuple | set | frozenset):
            return False
        if id(one) not in seen:
            seen.add(id(one))
            left.extend(one)
            if isinstance(one, dict):
                left.extend(one.values())
    return True
