"""What is known of settings: type, default and the text below each field."""

from __future__ import annotations

import dataclasses

from cellglass.pipeline.config import RunConfig
from cellglass.settings import settings_of


@dataclasses.dataclass(frozen=True)
class First:
    a: int = 3
    """How many,
    in two lines."""
    b: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Second(First):
    c: float | None = None
    """Something else."""
    d: list[int] = dataclasses.field(default_factory=lambda: [1])


def test_fields_have_type_default_and_the_text_below_them() -> None:
    found = settings_of(Second)
    assert list(found) == ["a", "b", "c", "d"]
    assert found["a"] == ("a", int, 3, "How many, in two lines.")
    assert found["b"] == ("b", tuple[str, ...], (), "")
    assert found["c"] == ("c", float | None, None, "Something else.")
    assert found["d"].default == [1]


def test_every_setting_of_a_run_is_described() -> None:
    for table in settings_of(RunConfig).values():
        if dataclasses.is_dataclass(table.hint):
            for setting in settings_of(table.hint).values():
                assert setting.doc.endswith("."), f"{table.name}.{setting.name} has no description"
