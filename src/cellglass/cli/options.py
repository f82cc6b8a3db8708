"""The options of `cellglass run`: each stands for a field of the configuration, which says its type, default and help.

What is here is the command line's alone: which fields are offered, and under what name. A TOML file may set them all.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from cellglass.pipeline.config import RunConfig
from cellglass.settings import Setting, settings_of

OFFERED: Mapping[str, str] = {
    "labels": "cells.labels",
    "batch": "cells.batch",
    "match": "attribution.match",
    "counts": "cells.counts",
    "gene-ids": "cells.gene_ids",
    "round": "cells.round",
    "keep-counts": "cells.keep_counts",
    "model": "model.path",
    "site": "model.site",
    "genes": "model.genes",
    "latent": "model.latent",
    "layers": "model.layers",
    "width": "model.width",
    "epochs": "model.epochs",
    "control": "model.control",
    "dictionary": "dictionary.kind",
    "latents": "dictionary.latents",
    "k": "dictionary.k",
    "seeds": "dictionary.seeds",
    "splits": "dictionary.splits",
    "pairs": "dictionary.pairs",
    "method": "attribution.methods",
    "prototypes": "attribution.prototypes",
    "partners": "attribution.partners",
    "swap-genes": "attribution.genes",
    "swap-budget": "attribution.budget",
    "screen": "attribution.screen",
    "residual": "attribution.residual",
    "gene-sets": "enrichment.gene_sets",
    "test": "enrichment.tests",
    "seed": "seed",
}
"""Option -> field."""


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the options above in place of ``tables``, which holds what was given, nested."""
    own = inspect.signature(command, eval_str=True)
    places = {option.replace("-", "_"): place for option, place in OFFERED.items()}

    def run(**given: Any) -> None:
        tables: dict[str, Any] = {}
        for name, place in places.items():
            table, _, field = place.rpartition(".")
            (tables.setdefault(table, {}) if table else tables)[field] = given.pop(name)
        command(**given, tables=tables)

    parameters: list[inspect.Parameter] = []
    for name, parameter in own.parameters.items():
        parameters += [_parameter(*one) for one in OFFERED.items()] if name == "tables" else [parameter]
    run.__doc__, run.__name__ = command.__doc__, command.__name__
    signature = own.replace(parameters=parameters, return_annotation=None)
    run.__signature__ = signature  # type: ignore[attr-defined]  # read by typer
    run.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return run


def _parameter(option: str, place: str) -> inspect.Parameter:
    table, _, field = place.rpartition(".")
    kind = get_type_hints(RunConfig)[table] if table else RunConfig
    setting = settings_of(kind)[field]
    several = any(get_origin(part) is tuple for part in (setting.hint, *get_args(setting.hint)))
    hint = list[str] if several else next(iter(get_args(setting.hint)), setting.hint)
    text = _help(setting) + (" May be repeated." if several else "")
    names = f"--{option}/--no-{option}" if hint is bool else f"--{option}"
    shown = typer.Option(names, help=text, show_default=_shown(setting.default))
    return inspect.Parameter(
        option.replace("-", "_"), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[hint | None, shown]
    )


def _help(setting: Setting) -> str:
    return re.sub(r"``?([^`]+)``?", r"\1", setting.doc)


def _shown(default: object) -> str | bool:
    """Return the default in words; where there is none the help says what is done."""
    if isinstance(default, tuple):
        return ", ".join(map(str, default)) or False
    return False if default is None else str(default)
