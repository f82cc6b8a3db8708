"""Tables of cells as any file takes them: columns of numbers, truth values or text, under names that a folder can hold.

Metadata come in every type that pandas has (dates, intervals, lists, Arrow's types), and under any name. What is no
number and no truth value becomes text; text that says "nothing is known" (such as ``nan`` and ``NA``) becomes missing.
No column is lost, and nothing that is written later can fail on one.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cellglass.errors import InputError, listed

log = logging.getLogger(__name__)

MISSING = frozenset({"", "nan", "NaN", "NA", "N/A", "<NA>", "NaT"})
"""Texts that stand for a missing value in a table of cells. ``None`` is none of them: it may be a treatment."""

LONGEST = 200
"""Bytes of a name: file systems allow 255, and some add an ending."""

_TAKEN = re.compile(r"_index|\.+|zarr\.json|\.zarray|\.zattrs|\.zgroup|\.zmetadata")
_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")
_PARQUET = re.compile(r"__index_level_\d+__")


def tidy_obs(obs: pd.DataFrame, where: str, asked: Collection[str] = ()) -> pd.DataFrame:
    """Return metadata with text names that are unique, and with columns that a table on disk can hold.

    Parameters
    ----------
    obs : pandas.DataFrame
        One row for each cell.
    where : str
        What messages call the file.
    asked : collection of str
        Columns that must not be left out.

    Raises
    ------
    InputError
        If there are no cells, or cell names or a column that was asked for occur more than once.
    """
    if len(obs) == 0:
        raise InputError(f"{where}: there are no cells; bring a file with at least one")
    names = [as_text(name) for name in obs.columns]
    twice = [i for i, name in enumerate(names) if name in names[:i]]
    for i in twice:
        if names[i] in asked:
            raise InputError(f"{where}: the obs column {names[i]!r} occurs twice; rename one")
    if twice:
        log.warning("%s: left out obs columns whose name occurs before: %s", where, listed(names[i] for i in twice))
    cells = pd.Index([as_text(cell) for cell in obs.index], dtype=object)
    if not cells.is_unique:
        repeated = cells[cells.duplicated()].unique()
        named = ", ".join(repr(cell) for cell in repeated[:3])
        raise InputError(
            f"{where}: {len(repeated)} cell names in obs occur more than once ({named}); make them unique, such as "
            "with adata.obs_names_make_unique()"
        )
    return _plain({name: obs.iloc[:, i] for i, name in enumerate(names) if i not in twice}, cells)


def plain_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with columns as `plain_column` makes them, under text names that parquet can hold."""
    return _plain({as_text(name): table.iloc[:, i] for i, name in enumerate(table.columns)}, table.index.rename(None))


def _plain(columns: Mapping[str, pd.Series[Any]], index: pd.Index[Any]) -> pd.DataFrame:
    # Column by column: pandas cannot take some columns of a table whose numbers are those of another machine.
    made = {
        f"{name}_" if _PARQUET.fullmatch(name) else name: plain_column(column.set_axis(index))
        for name, column in columns.items()
    }
    return pd.DataFrame(made, index=index, columns=pd.Index(list(made), dtype=object))


def plain_column(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as numbers or truth values of NumPy, as text (object, None where missing) or as categories.

    Categories are numbers, truth values or text; whole numbers and truth values of which some are missing are those of
    pandas (``Int64``, ``boolean``).
    """
    if isinstance(column.dtype, pd.SparseDtype):
        column = pd.Series(np.asarray(column), index=column.index, name=column.name)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _plain_categories(column)
    kind = column.dtype.kind if isinstance(column.dtype, np.dtype) else ""
    if kind and kind in "biuf":
        return _numpy_numbers(column)
    if not kind and (pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_numeric_dtype(column.dtype)):
        numbers = _masked_numbers(column)
        if numbers is not None:
            return numbers
    return _texts(column)


def as_text(value: object) -> str:
    """Return any value as text that UTF-8 can hold."""
    try:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    except Exception:  # an object of another package that cannot say what it is
        text = f"<{type(value).__name__}>"
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\ufffd")


def safe_name(name: str) -> str:
    """Return a name under which a zarr folder can hold a column: `name` itself, unless it cannot be one.

    Slashes, backslashes and control characters become ``_``, reserved names (``_index``, ``zarr.json``, ``.``) get a
    ``_`` behind them, an empty one is called ``unnamed``, and very long ones are cut and end in a digest.
    """
    safe = _NO_NAME.sub("_", name)
    if not safe.strip():
        safe = "unnamed"
    if _TAKEN.fullmatch(safe):
        safe += "_"
    whole = safe.encode()
    if len(whole) > LONGEST:
        digest = hashlib.sha256(whole).hexdigest()[:8]
        safe = f"{whole[: LONGEST - 9].decode(errors='ignore')}_{digest}"
    return safe


def safe_columns(obs: pd.DataFrame, where: str, asked: Collection[str] = ()) -> pd.DataFrame:
    """Return `obs` with the names that `safe_name` gives; a line in the log says which were renamed.

    Raises
    ------
    InputError
        If a column that was asked for and another one would have one name.
    """
    names = [safe_name(str(name)) for name in obs.columns]
    final: list[str] = []
    fixed = {name for name, old in zip(names, obs.columns, strict=True) if name == old}
    for name, old in zip(names, obs.columns, strict=True):
        if name != old and name in fixed.union(final):
            if name in asked:
                raise InputError(f"{where}: the obs columns {old!r} and {name!r} would have one name; rename one")
            name = _free(name, fixed.union(final))
        final.append(name)
    renamed = [
        f"{str(old)[:40]!r} is now {new[:40]!r}" for old, new in zip(obs.columns, final, strict=True) if old != new
    ]
    if not renamed:
        return obs
    log.warning("%s: obs columns under names that a folder can hold: %s", where, listed(renamed))
    return obs.set_axis(pd.Index(final, dtype=object), axis=1)


def _free(name: str, taken: Collection[str]) -> str:
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def _numpy_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    dtype: Any = column.dtype
    wanted: Any = np.dtype(np.float32) if dtype == np.float16 else np.dtype(np.float64) if dtype.itemsize > 8 else dtype
    if wanted == dtype and wanted.isnative:
        return column
    with np.errstate(over="ignore"):
        return column.astype(wanted.newbyteorder("="))


def _masked_numbers(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """Return numbers of pandas' and Arrow's own types in a type that is written; None where text alone holds them."""
    missing = column.isna().to_numpy(dtype=bool)
    dtype: Any = column.dtype
    kind = getattr(getattr(dtype, "numpy_dtype", None), "kind", "O")
    if kind == "b":
        return column.astype("boolean") if missing.any() else column.astype(bool)
    if kind in "iu" and not missing.any():
        return column.astype(dtype.numpy_dtype)
    if kind in "iu":
        return column.astype("Int64" if kind == "i" else "UInt64")
    if kind == "f":
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return pd.Series(values, index=column.index, name=column.name)
    return None


def _texts(column: pd.Series[Any]) -> pd.Series[Any]:
    values = list(column)
    try:
        missing = column.isna().to_numpy(dtype=bool)
    except ArithmeticError:  # a signalling NaN of the decimal module may not even be compared
        missing = np.array([str(value).lower() in ("snan", "-snan") or value is None for value in values])
    if len(values) and not missing.any() and all(isinstance(value, bool | np.bool_) for value in values):
        return pd.Series(np.array(values, dtype=bool), index=column.index, name=column.name)
    texts = np.array([None if gone else as_text(v) for v, gone in zip(values, missing, strict=True)], dtype=object)
    return pd.Series(_without_missing(texts), index=column.index, name=column.name, dtype=object)


def _without_missing(texts: Iterable[str | None]) -> list[str | None]:
    return [None if text is None or text.strip() in MISSING else text for text in texts]


def _plain_categories(column: pd.Series[Any]) -> pd.Series[Any]:
    old = column.cat.categories
    if isinstance(old.dtype, np.dtype) and old.dtype.kind in "biuf":
        plain = pd.Index(_numpy_numbers(pd.Series(old)).to_numpy())
        if plain.dtype == old.dtype or not plain.is_unique:
            return column if plain.is_unique else _plain_categories(column.cat.rename_categories(list(map(str, old))))
        return column.cat.rename_categories(plain)
    texts = _without_missing(as_text(value) for value in old)
    if texts == list(old) and old.dtype == object:
        return column
    known = list(dict.fromkeys(text for text in texts if text is not None))
    position = {text: i for i, text in enumerate(known)}
    places = np.array([-1 if text is None else position[text] for text in texts] + [-1], dtype=np.int64)
    codes: Any = places[column.cat.codes.to_numpy()]  # code -1, a missing value, takes the last place
    dtype = pd.CategoricalDtype(pd.Index(known, dtype=object), ordered=column.cat.ordered)
    return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype), index=column.index, name=column.name)
