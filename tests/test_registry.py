"""Registries: ours and those of other packages, imported when asked for; what is wrong is named with its package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cellglass.errors import InputError
from cellglass.registry import Registry

OURS = {"one": "fractions:Fraction", "two": "decimal:Decimal"}


def install(folder: Path, points: dict[str, str], module: str = "", name: str = "elsewhere") -> None:
    """Put a package on the path, as pip would: its code, and the metadata with its entry points."""
    (folder / f"{name}_code.py").write_text(module)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "\n".join(f"{key} = {value}" for key, value in points.items())
    (info / "entry_points.txt").write_text(f"[cellglass.things]\n{lines}\n")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def things() -> Registry[type]:
    return Registry("thing", "cellglass.things", type, OURS)


def test_ours_come_first_and_are_imported_when_they_are_asked_for() -> None:
    found = things()
    assert list(found) == ["one", "two"]
    assert found["one"] is sys.modules["fractions"].Fraction
    assert found["one"] is found.find("one")
    assert len(found) == 2
    assert "three" not in found


def test_another_package_adds_one(elsewhere: Path) -> None:
    install(elsewhere, {"mine": "elsewhere_code:Mine"}, "class Mine: pass\n")
    found = things()
    assert list(found) == ["one", "two", "mine"]
    assert "elsewhere_code" not in sys.modules
    assert found["mine"].__name__ == "Mine"


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match=r"run\.toml: there is no thing 'tow'; did you mean two\? there are: one, two"):
        things().find("tow", "run.toml")


@pytest.mark.parametrize(
    ("points", "code", "message"),
    [
        ({"bad": "elsewhere_code:Gone"}, "", r"the thing 'bad' of package elsewhere cannot be loaded \(AttributeError"),
        ({"bad": "elsewhere_code:x"}, "1 / 0", r"cannot be loaded \(ZeroDivisionError: division by zero\); mend"),
        ({"bad": "elsewhere_code:x"}, "x = 3", "the thing 'bad' of package elsewhere is a int, not a type"),
    ],
)
def test_what_cannot_be_loaded_is_named_with_its_package(
    elsewhere: Path, points: dict[str, str], code: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "elsewhere_code", raising=False)
    install(elsewhere, points, code)
    with pytest.raises(InputError, match=message):
        things().find("bad")


def test_a_name_that_is_taken_is_refused(elsewhere: Path) -> None:
    install(elsewhere, {"one": "elsewhere_code:x"})
    with pytest.raises(InputError, match="package elsewhere brings a thing 'one', but there is one of cellglass"):
        list(things())


def test_two_packages_with_one_name_are_refused(elsewhere: Path) -> None:
    install(elsewhere, {"mine": "elsewhere_code:x"})
    install(elsewhere, {"mine": "other_code:x"}, name="other")
    with pytest.raises(InputError, match=r"brings a thing 'mine', but there is one of package (other|elsewhere)"):
        list(things())
