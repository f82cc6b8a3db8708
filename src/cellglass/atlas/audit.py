"""What an audit looks at, read from an atlas: `evaluation.audit` asks the questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cellglass.atlas.evidence import residual
from cellglass.atlas.schema import GENES, UNS_MODEL
from cellglass.atlas.summary import rule_of
from cellglass.attribution.registry import METHODS
from cellglass.errors import InputError
from cellglass.evaluation.audit import Facts, Finding, audit
from cellglass.files import read_json

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.atlas.read import Atlas


PLANTED = "audit.json"
"""What a positive control found, beside the other files of an atlas."""


class Parts(NamedTuple):
    """Parts of the table of concepts that an audit reads, for those who do not read its activations."""

    var: pd.DataFrame
    uns: Any
    """A mapping."""
    obs: pd.DataFrame


def facts_of(atlas: Atlas, control: Atlas | None = None, parts: Parts | None = None) -> Facts:
    """Return what an audit needs to know of an atlas, and of one of a control where it is given."""
    var, uns, obs = parts or Parts(atlas.concepts.var, atlas.concepts.uns, atlas.concepts.obs)
    ran = _methods(atlas)
    model = uns.get(UNS_MODEL)
    return Facts(
        config=atlas.manifest.get("config") or {},
        metrics=atlas.evaluation,
        concepts=var[~residual(var) & (var["density"] > 0)],
        obs=obs,
        methods=ran,
        asking=tuple(name for name in ran if name in METHODS and METHODS[name].asks_model),
        reproducibility=rule_of(uns),
        planted=_planted(atlas),
        control=None if control is None else facts_of(control),
        n_genes=int(model["genes"]) if ran and hasattr(model, "get") and model.get("genes") else None,
    )


def audit_atlas(atlas: Atlas, control: Atlas | None = None) -> list[Finding]:
    """Return the answers to the questions that sank published studies, asked of this atlas; see `Atlas.audit`."""
    if control is not None:
        if not facts_of(control).setting("model", "control"):
            raise InputError(f"{control.path} explains a model, no control of it; make one with --control untrained")
        if not control.concepts.obs_names.equals(atlas.concepts.obs_names):
            raise InputError(
                f"{control.path} is of other cells than {atlas.path}; explain the same file with --control"
            )
    return audit(facts_of(atlas, control))


def _planted(atlas: Atlas) -> dict[str, Any] | None:
    place = atlas.path / PLANTED
    if not place.exists():
        return None
    found: dict[str, Any] = read_json(place, way_out="remove it, and plant again with --plant")["planted"]
    return found


def _methods(atlas: Atlas) -> tuple[str, ...]:
    """Return the methods of attribution that the table of genes holds, in the order of the registry."""
    import pyarrow.parquet as pq

    place = atlas.path / GENES
    if not place.exists():
        return ()
    found = set(pq.read_table(place, columns=["method"]).column("method").unique().to_pylist())
    known = [name for name in METHODS if name in found]
    return (*known, *sorted(found - set(known)))
