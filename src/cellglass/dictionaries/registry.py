"""Kinds of dictionary by name: ours, and those of other packages. Importing this imports none of them."""

from __future__ import annotations

from cellglass.dictionaries.kind import DictionaryKind
from cellglass.registry import Registry
from cellglass.vocabulary import BASELINES, DICTIONARIES, JOINT

KINDS: Registry[DictionaryKind] = Registry(
    "kind of dictionary", "cellglass.dictionaries", DictionaryKind, {**DICTIONARIES, **JOINT, **BASELINES}
)


def trained() -> list[str]:
    """Return the names of the kinds that are learned from one site: what a run can explain."""
    others = [name for name in KINDS if name not in KINDS.built_in]
    return [*DICTIONARIES, *(name for name in others if KINDS[name].family == "trained")]
