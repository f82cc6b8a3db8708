"""`cellglass partners`: which concepts get other genes when their partners are matched for donor, batch or depth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellglass.cli.explorer import AtlasPath, Json, Quiet
from cellglass.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def add(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command()(partners)


def partners(
    atlas: AtlasPath,
    match: Annotated[
        list[str] | None,
        typer.Option("--match", help="Column of obs, such as donor or batch. May be repeated; depth is always asked."),
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws of partners that a matching is held against.")] = 40,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV file.", show_default="ATLAS/partners.csv")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say which concepts get other genes when the cells they are compared with are matched for donor, batch or depth.

    Each matching stands beside draws of partners that are as near, and a control that is matched for nothing.

    Example: cellglass partners demo-atlas --match phase
    """
    run(atlas, match or [], draws, out, quiet=quiet, as_json=as_json)


def run(atlas: Path, match: Sequence[str], draws: int, out: Path | None, *, quiet: bool, as_json: bool) -> None:
    """Examine, write the table, and say which concepts are suspect, beside the control."""
    from cellglass.atlas.schema import PARTNERS
    from cellglass.cli.console import listening
    from cellglass.files import atomic_path
    from cellglass.pipeline.partners import examine_partners, suspects

    target = out or atlas / PARTNERS
    if target.is_dir():
        raise InputError(f"{target} is a folder; --out takes the name of a file, such as {target / PARTNERS}")
    with listening(quiet=quiet or as_json) as progress:
        table = examine_partners(atlas, match=match, draws=draws, progress=progress)
    with atomic_path(target) as temporary:
        table.to_csv(temporary, index=False)
    if as_json:
        typer.echo(json.dumps({"file": str(target), "matchings": suspects(table)}, indent=1))
        return
    for name, found in suspects(table).items():
        typer.echo(
            f"{name}: {found['suspect']} of {found['concepts']} concepts are suspect; first genes in common with usual "
            f"partners {found['jaccard']:.2f}, with draws as near {found['resampled']:.2f} (Jaccard, means)"
        )
    _show(table)
    share = float(table.drop_duplicates("concept")["partner_variance"].median())
    typer.echo(
        f"Between partners of one prototype lies {share:.0%} of the variance of effects (median).\nWrote {target}"
    )


def _show(table: pd.DataFrame) -> None:
    from cellglass.attribution.partners import CONTROL

    flagged = table[table["suspect"].astype(bool) & (table["matching"] != CONTROL)]
    for row in flagged.itertuples(index=False):
        typer.echo(f"  {row.name}, matched for {row.matching}: {row.jaccard:.2f} (draws {row.resampled:.2f}); lost "
                   f"{_few(str(row.lost))}; new {_few(str(row.new))}")  # fmt: skip


def _few(genes: str, most: int = 5) -> str:
    names = [name for name in genes.split(";") if name]
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "") if names else "none"
