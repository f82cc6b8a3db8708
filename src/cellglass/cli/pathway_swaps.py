"""`cellglass pathway-swaps`: which gene sets a concept answers to when they are swapped whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cellglass.errors import InputError
from cellglass.vocabulary import SIGNIFICANT

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.atlas import Atlas

_SHOWN = 3


def run(
    atlas: Path,
    concepts: Sequence[str],
    gene_sets: Sequence[str],
    pairs: int,
    draws: int,
    out: Path | None,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Swap, write the table, and say how many sets were found, beside their control and beside GSEA."""
    from cellglass.atlas import open_atlas
    from cellglass.cli.console import listening
    from cellglass.files import atomic_path
    from cellglass.pipeline.pathway_swaps import found_by, swap_pathways

    target = out or atlas / "pathway_swaps.csv"
    if target.is_dir():
        raise InputError(f"{target} is a folder; --out takes the name of a file, such as {target / 'swaps.csv'}")
    opened = open_atlas(atlas)
    latents = [opened.latent(int(one) if one.isdigit() else one) for one in concepts] or _all(opened)
    with listening(quiet=quiet or as_json) as progress:
        table = swap_pathways(atlas, latents, gene_sets=gene_sets, pairs=pairs, draws=draws, progress=progress)
    with atomic_path(target) as temporary:
        table.to_csv(temporary, index=False)
    counts = found_by(table)
    if as_json:
        typer.echo(json.dumps({"file": str(target), **counts}))
        return
    _show(opened, table)
    typer.echo(
        f"\n{counts['concepts']} of {counts['of']} concepts have a gene set at q < {SIGNIFICANT}, {counts['control']} "
        f"one of exchanged genes. Of {counts['sets']} sets GSEA of path effects has "
        f"{counts['gsea_path']} too, of differential expression {counts['gsea_expression']}, neither "
        f"{counts['only']}.\nWrote {target}"
    )


def _all(atlas: Atlas) -> list[int]:
    from cellglass.atlas.evidence import leading_order, residual

    var = atlas.concepts.var
    ordered = var.iloc[leading_order(var)]
    return [int(one) for one in ordered.loc[~residual(ordered) & (ordered["density"] > 0), "latent"]]


def _show(atlas: Atlas, table: pd.DataFrame) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    names = dict(zip(atlas.concepts.var["latent"], atlas.concepts.var_names, strict=True))
    shown = Table("concept", "gene set", "lost", "random sets", "q", box=None, pad_edge=False, header_style="dim")
    for concept, rows in table[~table["control"]].groupby("concept", sort=False):
        figures = rows[["effect", "null", "null_sd", "q"]].to_numpy(dtype=float)
        for number, (term, (effect, null, sd, q)) in enumerate(zip(rows["term"].head(_SHOWN), figures, strict=False)):
            name = escape(str(names[concept])) if not number else ""
            said = f"{q:.2g}" if q < SIGNIFICANT else f"({q:.2g})"
            shown.add_row(name, escape(str(term)), f"{effect:.1%}", f"{null:.1%} ± {sd:.1%}", said)
    Console().print(shown)
