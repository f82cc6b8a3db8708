"""Files and folders appear whole or not at all."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellglass.errors import InputError
from cellglass.files import (
    JOB,
    LOCK,
    atomic_path,
    check_job,
    locked,
    noted_job,
    parse_json,
    read_json,
    remove_leftovers,
    sha256,
    take_folder,
)


def test_a_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    for text in ("first", "second"):
        with atomic_path(target) as temporary:
            temporary.write_text(text)
            assert not target.exists() or target.read_text() == "first"
        assert target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for name in ("one", "two"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    writing = atomic_path(target)
    with pytest.raises(ZeroDivisionError), writing as temporary:
        temporary.write_text(str(1 / (temporary.write_text("half") - 4)))
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_killed_writer_leaves_the_old_file_and_a_leftover_that_can_be_removed(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    code = (
        "import os, signal, sys; from cellglass.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -9
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_sha256_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"cells")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"cells").hexdigest()
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "x").write_text("x")
        (folder / "y").write_text("y")
    assert sha256(one) == sha256(two)
    (two / "sub" / "x").write_text("z")
    assert sha256(one) != sha256(two)
    (two / "sub" / "x").write_text("x")
    (two / "y").rename(two / "w")
    assert sha256(one) != sha256(two)


def test_one_at_a_time_works_on_a_locked_folder(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "x"
    with (
        locked(place, "training"),
        pytest.raises(InputError, match=r"^another run is at work on .*x; wait for it, or choose another folder$"),
        locked(place, "run"),
    ):
        pass
    assert (place / LOCK).exists()
    with locked(place, "run"):
        pass


def test_json_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    place = tmp_path / "cfg.json"
    for missing, message in (
        ("no model here; give another folder", "^no model here"),
        (None, "No such file.*; copy it"),
    ):
        with pytest.raises(InputError, match=message):
            read_json(place, missing=missing, way_out="copy it again")
        with pytest.raises(InputError, match=message if missing else "Not a directory"):
            read_json(Path(__file__) / "cfg.json", missing=missing, way_out="copy it again")
    place.write_text('{"a": ["\u00e9", 1]}', encoding="utf-8")
    assert read_json(place, way_out="") == {"a": ["\u00e9", 1]}
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        place.write_bytes(content)
        with pytest.raises(InputError) as raised:
            read_json(place, missing="not this", way_out="copy it again")
        assert str(raised.value).startswith(f"{place} cannot be read as JSON (")
        assert str(raised.value).endswith("; copy it again")
        assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match=r"^a: b cannot be read as JSON \(Expecting value"):
        parse_json(b"", "a: b", way_out="copy it again")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_json_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    place = tmp_path / "cfg.json"
    place.write_text("{}")
    place.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        read_json(place, missing="not this", way_out="copy it again")


def test_a_folder_is_of_one_job(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    assert noted_job(folder) is None
    take_folder(folder, "a", "the trace of a class")
    take_folder(folder, "a", "the trace of a class")
    assert noted_job(folder) == "a"
    told = (
        r"work: holds the trace of a class of other cells, another model or question, or other settings; remove it, or"
    )
    with pytest.raises(InputError, match=told):
        take_folder(folder, "b", "the trace of a class")
    assert noted_job(folder) == "a"
    with pytest.raises(InputError, match="holds effects of other cells"):
        check_job(folder, None, "b", "effects")
    (folder / JOB).write_text("{")
    with pytest.raises(InputError, match=f"remove {folder}"):
        take_folder(folder, "a", "the trace of a class")
