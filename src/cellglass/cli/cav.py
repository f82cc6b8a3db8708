"""`cellglass cav`: the direction of a label that the user brings, and the concepts and genes that answer to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellglass.cli.explorer import AtlasPath, Json, Quiet
from cellglass.errors import InputError
from cellglass.vocabulary import SIGNIFICANT

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.pipeline.cav import LabelDirection

_SHOWN, _WIDTH = 8, 20


def add(app: typer.Typer) -> None:
    """Put the command on `app`."""
    app.command()(cav)


def cav(
    atlas: AtlasPath,
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN=VALUE", help="The cells with this value of an obs column.")
    ] = None,
    cells: Annotated[
        Path | None, typer.Option("--cells", help="Or those that a file names, one name of a cell a line.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Random labels, and groups of like cells, for chance.")] = 50,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV file of concepts.", show_default="ATLAS/cav.csv")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find the direction of a label of yours in the model (a concept activation vector), and what answers to it.

    Its held-out accuracy, its nearest concepts, and the genes that the model decodes more of along it, each beside
    random labels and beside groups of as many like cells. Genes go to a file beside --out.

    Example: cellglass cav demo-atlas --label "bulk_labels=Dendritic"
    """
    run(atlas, label, cells, draws, out, quiet=quiet, as_json=as_json)


def run(
    atlas: Path, label: str | None, cells: Path | None, draws: int, out: Path | None, *, quiet: bool, as_json: bool
) -> None:
    """Find the direction, write the two tables, and say what was found beside chance."""
    from cellglass.files import atomic_path
    from cellglass.pipeline.cav import found_in, label_direction

    target = out or atlas / "cav.csv"
    if target.is_dir():
        raise InputError(f"{target} is a folder; --out takes the name of a file, such as {target / 'cav.csv'}")
    if not (quiet or as_json):
        typer.echo(f"Fitting the direction of the label, and {2 * draws} to hold it against ...", err=True)
    found = label_direction(atlas, label=label, barcodes=cells, draws=draws)
    files = {"concepts": target, "genes": target.with_suffix(f".genes{target.suffix or '.csv'}")}
    for name, place in files.items():
        with atomic_path(place) as temporary:
            getattr(found, name).to_csv(temporary, index=False)
    counts = found_in(found)
    if as_json:
        written = {name: str(place) for name, place in files.items()}
        typer.echo(json.dumps({**found.about, "found": counts, "files": written}, indent=1))
        return
    _show(found)
    typer.echo(
        f"\n{counts['concepts']} of {len(found.concepts)} concepts correlate with the direction at q < {SIGNIFICANT} "
        f"against random labels; {counts['concepts_special']} of them more than with nineteen in twenty groups of like "
        f"cells. Of {len(found.genes):,} decoded genes {counts['genes']:,} change with it; {counts['genes_special']:,} "
        f"are special to it in that sense.\nWrote {files['concepts']} and {files['genes']}"
    )


def _show(found: LabelDirection) -> None:
    about = found.about
    typer.echo(
        f"{about['label']}: {about['n']:,} of {about['of']:,} cells, at site {about['site']}\n"
        f"told rightly in held-out cells (mean of both sides): {about['accuracy']:.1%}; by the difference of means "
        f"{about['accuracy_mean_difference']:.1%}; random labels {about['accuracy_random']:.1%} ± "
        f"{about['accuracy_random_sd']:.1%}; groups of as many like cells {about['accuracy_groups']:.1%} ± "
        f"{about['accuracy_groups_sd']:.1%}\n"
    )
    _table(found.concepts, "concept", ("correlation", "cosine", "slope"), "correlation")
    if about["note"]:
        typer.echo(f"\nNo genes: {about['note']}")
    else:
        typer.echo("")
        _table(found.genes, "symbol", ("change", "rises", "observed"), "change")
        if about["agreement"] is not None:
            typer.echo(
                f"correlation of change with what is observed over all genes: {about['agreement']:.2f}; along the "
                f"difference of means: {about['agreement_mean_difference']:.2f}"
            )


def _table(table: pd.DataFrame, name: str, figures: tuple[str, ...], tested: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="dim")
    shown.add_column(name, no_wrap=True)
    for head in (*figures, "random", "q", "groups", "above"):
        shown.add_column(head, justify="right", no_wrap=True, min_width=len(head))
    columns = [*figures, f"{tested}_random", f"{tested}_q", f"{tested}_groups", f"{tested}_groups_above"]
    for title, values in zip(table[name].head(_SHOWN), table[columns].to_numpy(dtype=float), strict=False):
        said = [
            f"{value:.2g}" if column.endswith("_q") else f"{value:.2f}"
            for column, value in zip(columns, values, strict=True)
        ]
        short = str(title) if len(str(title)) <= _WIDTH else f"{str(title)[: _WIDTH - 1]}…"
        shown.add_row(escape(short), *said)
    Console().print(shown)
    typer.echo(f"{tested}: random, its mean size for random labels; groups, for groups; above, their share with more")
