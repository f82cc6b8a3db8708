"""Names have titles, each once: those of the vocabulary, which the page's build reads without the package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module

import pytest

from cellglass import vocabulary
from cellglass.dictionaries.registry import KINDS
from cellglass.vocabulary import BASES, BRIEFS, READOUTS, SAYS, TITLES, in_order

ENTRIES = {
    (table, name): value
    for table, names in vars(vocabulary).items()
    if isinstance(names, Mapping)
    for name, value in names.items()
    if isinstance(value, str) and value.startswith("cellglass.")
}
"""(mapping, name) -> module:attribute, of all that a registry finds by name."""


def test_it_is_read_by_its_path_and_imports_nothing() -> None:
    code = (
        f"import runpy, sys; found = runpy.run_path({vocabulary.__file__!r}); assert found['TITLES']['scvi'] == 'scVI';"
        "print({name.split('.')[0] for name in sys.modules} - {*sys.stdlib_module_names, '__main__'})"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_what_a_registry_finds_has_the_title_of_the_vocabulary(table: str, name: str) -> None:
    module, _, attribute = ENTRIES[table, name].partition(":")
    assert name in TITLES
    assert getattr(getattr(import_module(module), attribute), "title", TITLES[name]) == TITLES[name]


def test_every_name_that_is_written_down_has_a_title() -> None:
    assert {*SAYS, *BRIEFS, *READOUTS, *BASES, *KINDS} <= set(TITLES)
    assert len(ENTRIES) >= 6


def test_names_are_sorted_as_people_see_them_and_unknown_ones_come_last() -> None:
    names = ["zebra", "de", "ora", "anova", "path", "gsea", "swap"]
    assert sorted(names, key=in_order) == ["path", "swap", "de", "gsea", "ora", "anova", "zebra"]
