"""What a note may hold, what is refused, and that an id is of what was written alone."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellglass.errors import InputError
from cellglass.explorer.notes import rules

GIVEN = {"latent": 3, "by": "person", "who": "Ada", "when": "2026-01-31T12:00:00+01:00", "label": "x", "tags": ["b"]}


@given(st.text(max_size=300))
def test_text_comes_out_clean_and_cleaning_twice_changes_nothing(text: str) -> None:
    try:
        clean = rules.check_text(text, "label", 200)
    except InputError:
        return
    assert clean == unicodedata.normalize("NFC", clean) == rules.check_text(clean, "label", 200)
    assert clean == clean.strip()
    assert len(clean) <= 200
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in clean if c not in "\n\t")
    clean.encode()


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "\x1b[31m", "x" * 201, 3, None, b"x", ["x"]])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(InputError, match=r"^label: "):
        rules.check_text(text, "label", 200)


def test_needed_text_is_not_empty() -> None:
    assert rules.check_who(" Ada\nL. ") == "Ada L."
    for empty in ("", " \n\t "):
        with pytest.raises(InputError, match="who: it is empty"):
            rules.check_who(empty)


@pytest.mark.parametrize("latent", [-1, 2**31, 1.0, True, "1", None])
def test_a_latent_is_a_whole_number(latent: Any) -> None:
    with pytest.raises(InputError, match=r"^latent"):
        rules.check_latent(latent)


def test_content_is_complete_and_in_order() -> None:
    assert rules.check_content({}) == dict(rules.EMPTY)
    found = rules.check_content(
        {
            "label": " a\nb ",
            "text": "l1\r\nl2",
            "confidence": 4,
            "tags": ["x", "y", "x"],
            "status": "agreed",
            "by": "no",
        }
    )
    assert found == {"label": "a b", "text": "l1\nl2", "confidence": 4, "tags": ["x", "y"], "status": "agreed"}
    assert tuple(found) == rules.CONTENT


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("confidence", 0), ("confidence", 6), ("confidence", True), ("confidence", "3"), ("confidence", 2.5),
        ("tags", "x"), ("tags", [""]), ("tags", [1]), ("tags", ["x"] * 21), ("tags", ["y" * 51]),
        ("status", "done"), ("status", None), ("text", "x" * 10_001), ("label", {}),
    ],
)  # fmt: skip
def test_each_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{field}: "):
        rules.check_content({field: value})


def test_the_id_is_of_what_was_written_and_of_nothing_else() -> None:
    first = rules.check_revision(GIVEN)
    same = rules.check_revision({**GIVEN, "id": "forged", "base": "0" * 32, "when": "2026-01-31T11:00:00Z"})
    assert first["id"] == same["id"] == rules.revision_id(first)
    assert first["when"] == "2026-01-31T11:00:00.000000+00:00"
    changes = {
        "latent": 4, "by": "machine", "who": "Bob", "label": "y", "text": "t", "confidence": 1, "tags": [],
        "status": "agreed", "when": "2026-01-31T12:00:01+01:00",
    }  # fmt: skip
    others = {rules.check_revision({**GIVEN, field: value})["id"] for field, value in changes.items()}
    assert len(others | {first["id"]}) == len(changes) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"by": "robot"}, {"by": ["person"]}, {"when": "yesterday"}, {"when": "2026-01-31T12:00:00"}, {"when": None},
        {"when": "0001-01-01T00:00:00+14:00"}, {"base": "x"}, {"base": "A" * 32}, {"undoes": 3}, {"also": "x"},
        {"also": ["x"]}, {"also": [None] * 1001}, {"latent": None}, {"who": ""},
    ],
)  # fmt: skip
def test_a_revision_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        rules.check_revision({**GIVEN, **change})
    with pytest.raises(InputError, match="no object"):
        rules.check_revision([change])


def test_a_moment_later_is_later_also_as_text() -> None:
    for when in ("2026-12-31T23:59:59.999999+00:00", rules.now()):
        assert rules.after(when) > when
        assert rules.check_when(rules.after(when)) == rules.after(when)
