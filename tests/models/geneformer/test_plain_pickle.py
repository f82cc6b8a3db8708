"""Plain data comes back as it was; whatever else a pickle holds is refused, and nothing of it is run."""

from __future__ import annotations

import collections
import io
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.errors import InputError
from cellglass.models.geneformer.plain_pickle import load_plain

PLAIN = {
    "token": 1,
    "median": 2.5,
    "nested": [1, (2, 3.5, "x"), {"a", "b"}, frozenset({4}), {"deep": [None, True, b"bytes"]}],
    "large": 2**80,
    "negative": -1e-300,
}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", [4, 5])
def test_plain_data_comes_back(tmp_path: Path, protocol: int) -> None:
    path = written(tmp_path / "p", pickle.dumps(PLAIN, protocol=protocol))
    assert load_plain(path) == PLAIN


@pytest.mark.parametrize("protocol", range(6))
def test_a_dictionary_comes_back_from_every_protocol(tmp_path: Path, protocol: int) -> None:
    held = {"<pad>": 0, "ENSG00000000003": 2, "é": 1.5, "none": None, "yes": True}
    assert load_plain(written(tmp_path / "p", pickle.dumps(held, protocol=protocol))) == held


KINDS = ["?", "i1", "<i2", ">i4", "<i8", "u1", "<u2", ">u4", "<u8", "<f2", "<f4", ">f4", "<f8", ">f8"]


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_numpy_numbers_become_pythons(tmp_path: Path, kind: str, protocol: int) -> None:
    value = np.array([100 if "f" not in kind and kind != "?" else 1.5], dtype=kind)[0]
    found = load_plain(written(tmp_path / "p", pickle.dumps({"a": value, "b": [value]}, protocol=protocol)))
    assert found == {"a": value.item(), "b": [value.item()]}
    assert type(found["a"]) is type(value.item())


def test_numpy_numbers_of_numpy_1_are_read(tmp_path: Path) -> None:
    data = pickle.dumps({"a": np.float64(3.25)}, protocol=3)
    assert b"numpy._core.multiarray" in data
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert load_plain(written(tmp_path / "p", old)) == {"a": 3.25}


class Malicious:
    """Runs a command wherever it is unpickled in the usual way."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call = (call, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_that_a_pickle_names_is_run(tmp_path: Path, protocol: int) -> None:
    victim = tmp_path / "victim"
    victim.write_text("here")
    for call in (Malicious(Path.unlink, victim), Malicious(subprocess.call, ["rm", str(victim)])):
        data = pickle.dumps({"ENSG00000000003": call}, protocol=protocol)
        with pytest.raises(InputError, match="it would run "):
            load_plain(written(tmp_path / "p", data))
        assert victim.read_text() == "here"
    pickle.loads(data)  # it would have
    assert not victim.exists()


class Own:
    pass


REFUSED = {
    "an instance": pickle.dumps({"a": Own()}),
    "a function": pickle.dumps([len]),
    "a class": pickle.dumps({"a": dict}),
    "another container": pickle.dumps(collections.OrderedDict(a=1)),
    "an array": pickle.dumps({"a": np.arange(3.0)}),
    "an array by buffers": pickle.dumps({"a": np.arange(3.0)}, protocol=5),
    "a NumPy string": pickle.dumps({"a": np.str_("x")}),
    "a NumPy date": pickle.dumps({"a": np.datetime64("2020-01-01")}),
    "an object in a NumPy scalar": b"\x80\x03cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R"
    b"C\x08\x00\x00\x00\x00\x00\x00\x00\x00\x86R.",
    "too few bytes for a number": pickle.dumps(np.float64(1), protocol=3).replace(b"C\x08\x00", b"C\x07", 1),
    "the maker of numbers itself": b"cnumpy.core.multiarray\nscalar\n.",
    "a kind without its number": b"\x80\x02]cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85Ra.",
    "a state for the maker of numbers": b"\x80\x02cnumpy.core.multiarray\nscalar\n}b.",
    "attributes for the maker of numbers": b"\x80\x02cnumpy\ndtype\nN}X\x03\x00\x00\x00foo}s\x86b.",
    "an odd byte order": b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85RK\x03X\x01\x00\x00\x00!NNN\x87b.",
    "a class made with __new__": b"\x80\x02cnumpy\ndtype\n)\x81.",
    "an instance by name (INST)": b"(S'x'\niposix\nsystem\n.",
    "an instance by class (OBJ)": b"(cposix\nsystem\nS'x'\no.",
    "a name from the stack": b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",
    "a registered extension": b"\x80\x02\x82\x01.",
    "data outside itself": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "half a pickle": pickle.dumps(PLAIN)[:40],
    "nothing": b"",
    "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
}


@pytest.mark.parametrize("what", REFUSED)
def test_all_else_is_refused_in_one_line_that_names_the_file(tmp_path: Path, what: str) -> None:
    path = written(tmp_path / "dictionary.pkl", REFUSED[what])
    with pytest.raises(InputError) as error:
        load_plain(path)
    assert "dictionary.pkl" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*gone\.pkl"):
        load_plain(tmp_path / "gone.pkl")


def test_lists_that_hold_each_other_many_times_are_looked_at_once(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(60):  # 2 ** 60 elements, if each were followed
        deep = [deep, deep]
    buffer = io.BytesIO()
    pickle.dump(deep, buffer)
    found = load_plain(written(tmp_path / "p", buffer.getvalue()))
    assert found[0] is found[1]
