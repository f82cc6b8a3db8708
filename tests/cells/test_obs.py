"""Tables of cells of any kind: nothing fails late, nothing is lost, and what is said is said once."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData, read_zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellglass.atlas.write import writable_obs, write_zarr
from cellglass.cells import cells_from_anndata, open_cells, write_cells
from cellglass.cells.obs import LONGEST, as_text, plain_column, safe_columns, safe_name, tidy_obs
from cellglass.errors import InputError

N = 6
WHEN = pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(N), unit="D")


def objects(*values):
    column = np.empty(N, dtype=object)
    column[:] = [values[i % len(values)] for i in range(N)]
    return column


COLUMNS = {
    "dates": (WHEN, "text", "2024-01-02 00:00:00"),
    "dates of a zone": (WHEN.tz_localize("UTC"), "text", "2024-01-02 00:00:00+00:00"),
    "spans": (pd.to_timedelta(np.arange(N), unit="h"), "text", "0 days 01:00:00"),
    "periods": (pd.period_range("2024-01", periods=N, freq="M"), "text", "2024-02"),
    "intervals": (pd.cut(np.arange(N), 2), "categories", "(-0.005, 2.5]"),
    "categories of dates": (pd.Categorical(WHEN), "categories", "2024-01-02 00:00:00"),
    "categories of mixed kinds": (pd.Categorical(objects(1, "b")), "categories", "b"),
    "categories that are one as text": (pd.Categorical(objects(1, "1", "b")), "categories", "1"),
    "categories of text with nan": (pd.Categorical(objects("nan", "b")), "categories", "b"),
    "mixed": (objects(1, "b"), "text", "b"),
    "lists": (objects([1], [2, 3]), "text", "[2, 3]"),
    "bytes": (objects(b"x", b"y\xff"), "text", "y\ufffd"),
    "decimals": (objects(decimal.Decimal("1.5"), decimal.Decimal("2.5")), "text", "2.5"),
    "half a character": (objects("x", "\udcff"), "text", "\\udcff"),
    "truth values as objects": (objects(True, False), "bool", False),
    "truth values with gaps": (pd.array([True, None] * 3, dtype="boolean"), "boolean", pd.NA),
    "whole numbers with gaps": (pd.array([None, 3] * 3, dtype="Int64"), "Int64", 3),
    "Arrow's numbers": (pd.array([1, 2] * 3, dtype="int64[pyarrow]"), "int64", 2),
    "Arrow's text": (pd.array(["a", "b"] * 3, dtype="string[pyarrow]"), "text", "b"),
    "pandas' floats": (pd.array([1.5, None] * 3, dtype="Float64"), "float64", np.nan),
    "half floats": (np.arange(N, dtype=np.float16), "float32", 1.0),
    "long floats": (np.arange(N, dtype=np.longdouble), "float64", 1.0),
    "floats of another machine": (np.arange(N, dtype=">f4"), "float32", 1.0),
    "complex numbers": (np.arange(N) * 1j, "text", "1j"),
    "sparse numbers": (pd.arrays.SparseArray([0, 1] * 3), "int64", 1),
    "nothing": (objects(None), "text", None),
    "words for nothing": (objects("T", "NA", "nan", "", "N/A", "<NA>"), "text", None),
}


def kind_of(column):
    if isinstance(column.dtype, pd.CategoricalDtype):
        assert all(isinstance(category, str) for category in column.cat.categories)
        return "categories"
    return "text" if column.dtype == object else str(column.dtype)


@pytest.mark.parametrize("case", COLUMNS)
def test_every_kind_of_column_is_numbers_text_or_categories(case):
    values, kind, second = COLUMNS[case]
    column = plain_column(pd.Series(values, index=list("abcdef"), name="x"))
    assert kind_of(column) == kind
    assert list(column.index) == list("abcdef")
    got = column.iloc[1]
    assert (got == second) if not pd.isna(second) else pd.isna(got)


def test_words_for_nothing_are_missing_and_none_is_a_word():
    column = plain_column(pd.Series(["NA", "nan", "None", " ", "T"]))
    assert column.tolist() == [None, None, "None", None, "T"]
    labels = plain_column(pd.Series(pd.Categorical(["NA", "T", "B"], categories=["T", "NA", "B"], ordered=True)))
    assert list(labels.cat.categories) == ["T", "B"]
    assert labels.cat.ordered
    assert labels.isna().tolist() == [True, False, False]


def test_columns_that_are_fine_stay_the_same_objects():
    for values in (pd.Categorical(["a", "b"]), np.array([1.0, 2.0]), np.array([True, False])):
        column = pd.Series(values)
        assert plain_column(column) is column


NAMES = {
    "a/b": "a_b", "a\\b": "a_b", "/": "_", "": "unnamed", "  ": "unnamed", ".": "._", "..": ".._", "_index": "_index_",
    "zarr.json": "zarr.json_", ".zattrs": ".zattrs_", "a\nb": "a_b", "T cell": "T cell", "ünï ☃": "ünï ☃",
    "index": "index", "a:b": "a:b",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_a_folder_cannot_hold_are_changed_and_others_are_not(name):
    assert safe_name(name) == NAMES[name]
    assert safe_name(safe_name(name)) == safe_name(name)


def test_a_very_long_name_is_cut_and_stays_its_own():
    first, second = safe_name("é" * 300 + "1"), safe_name("é" * 300 + "2")
    assert first != second
    assert max(len(first.encode()), len(second.encode())) <= LONGEST


def test_a_safe_name_never_takes_the_place_of_another(caplog):
    obs = pd.DataFrame([[1, 2, 3]], columns=["a/b", "a_b", "a\\b"])
    got = safe_columns(obs, "my.h5ad")
    assert dict(got.iloc[0]) == {"a_b_2": 1, "a_b": 2, "a_b_3": 3}
    assert "my.h5ad: obs columns under names that a folder can hold: 'a/b' is now 'a_b_2'" in caplog.text
    with pytest.raises(InputError, match="would have one name"):
        safe_columns(obs, "my.h5ad", ["a_b"])


def test_a_column_that_occurs_twice_is_left_out_unless_it_was_asked_for(caplog):
    obs = pd.DataFrame([[1, 2, 3]], columns=[7, "b", "7"])
    assert list(tidy_obs(obs, "my.h5ad").columns) == ["7", "b"]
    assert "left out obs columns whose name occurs before: 7" in caplog.text
    with pytest.raises(InputError, match="obs column '7' occurs twice"):
        tidy_obs(obs, "my.h5ad", ["7"])


def test_numbers_of_another_machine_stand_beside_a_column_that_is_left_out():
    obs = pd.DataFrame({0: np.arange(3, dtype=">i4"), 1: np.arange(3, dtype=">i4")}).set_axis(["a", "a"], axis=1)
    assert tidy_obs(obs, "my.h5ad")["a"].tolist() == [0, 1, 2]


# -- any frame at all ------------------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers(), st.dates(),
    st.datetimes(), st.timedeltas(), st.decimals(), st.lists(st.integers(), max_size=3), st.just(pd.NA),
    st.just(pd.NaT), st.just(np.nan), st.sampled_from(["nan", "NA", "", "T", "\udc80"]), st.tuples(st.text()),
    st.dictionaries(st.text(), st.integers(), max_size=2), st.just(object()),
)  # fmt: skip
DTYPES = (
    "float16", "float32", "float64", "longdouble", "complex128", "int8", "uint64", ">i4", "bool", "Int64", "UInt8",
    "boolean", "Float32", "string", "string[pyarrow]", "int32[pyarrow]", "double[pyarrow]", "bool[pyarrow]",
    "timestamp[ns][pyarrow]", "datetime64[ns]", "datetime64[ns, UTC]", "timedelta64[ns]", "period[D]", "category",
    "Sparse[int]", "U3", "S3",
)  # fmt: skip


@st.composite
def columns(draw):
    kind = draw(st.sampled_from(["objects", "one kind", "dtype", "categories"]))
    if kind == "dtype":
        dtype = draw(st.sampled_from(DTYPES))
        numbers = draw(st.lists(st.integers(0, 100), min_size=N, max_size=N))
        if dtype.startswith("period"):
            return pd.PeriodIndex(WHEN, freq="D")
        if "string" in dtype or dtype in ("U3", "S3"):
            return pd.Series(list(map(str, numbers))).astype(dtype)
        if "zone" in dtype or "UTC" in dtype:
            return WHEN.tz_localize("UTC")
        if dtype in ("bool", "boolean", "bool[pyarrow]"):
            numbers = [number % 2 for number in numbers]
            return pd.Series(np.array(numbers, dtype=bool)).astype(dtype)
        return pd.Series(numbers).astype(dtype)
    each = draw(st.sampled_from([st.text(), st.floats(), st.integers(), st.dates(), st.booleans()]))
    values = draw(st.lists(SCALARS if kind == "objects" else each, min_size=N, max_size=N))
    column = np.empty(N, dtype=object)
    column[:] = values
    if kind == "categories":
        known = list(dict.fromkeys(map(repr, values)))
        chosen = [next(value for value in values if repr(value) == name) for name in known]
        try:
            return pd.Categorical(column, categories=chosen)
        except (TypeError, ValueError):  # pandas' own: values that it cannot tell apart
            return pd.Categorical(list(map(repr, values)))
    return column


NAME = st.one_of(
    st.text(max_size=8),
    st.sampled_from([*NAMES, "__categories", "__index_level_0__", "obs_names", "x" * 300, "symbol", "\udcff", "\0"]),
    st.integers(0, 3),
    st.none(),
    st.tuples(st.text(max_size=2), st.integers(0, 2)),
    st.dates(),
)


CELLS = st.one_of(st.just(None), st.lists(st.text(max_size=4), min_size=N, max_size=N))


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(st.tuples(NAME, columns()), max_size=5), names=CELLS)
def test_no_frame_fails_late(parts, names, tmp_path_factory):
    read_write_and_open(parts, names, tmp_path_factory.mktemp("fuzz"))


@pytest.mark.slow
@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(st.tuples(NAME, columns()), max_size=5), names=CELLS)
def test_none_of_500_frames_fails_late(parts, names, tmp_path_factory):
    read_write_and_open(parts, names, tmp_path_factory.mktemp("fuzz"))


def read_write_and_open(parts, names, folder):
    """What is refused is refused at once, in one line; nothing else goes wrong."""
    obs = pd.concat([pd.Series(values) for _, values in parts], axis=1) if parts else pd.DataFrame(index=range(N))
    obs.columns = pd.Index([name for name, _ in parts], dtype=object, tupleize_cols=False)
    obs.index = pd.Index([f"c{i}" for i in range(N)] if names is None else names, dtype=object)
    adata = AnnData(sp.csr_matrix(np.ones((N, 3), dtype=np.float32)), var=pd.DataFrame(index=list("ABC")))
    adata._obs = obs  # as objects of older versions may be: the setter refuses some
    if not obs.index.map(as_text).is_unique:
        with pytest.raises(InputError, match=r"^[^\n]*occur more than once[^\n]*$"):
            cells_from_anndata(adata)
        return
    read = cells_from_anndata(adata)
    write_cells(read, folder / "cells")
    opened = open_cells(folder / "cells")
    assert list(opened.obs.columns) == list(read.obs.columns)
    written = writable_obs(opened.obs)
    write_zarr(AnnData(sp.csr_matrix((N, 1), dtype=np.float32), obs=written), folder / "concepts.zarr")
    again = read_zarr(folder / "concepts.zarr").obs
    assert list(again.columns) == list(written.columns)
    assert list(again.index) == list(read.obs.index)
    for name in written:
        assert again[name].isna().tolist() == written[name].isna().tolist()
        assert list(map(str, again[name].dropna())) == list(map(str, written[name].dropna()))
