"""`cellglass circuits features`: what every feature fires on. Parses, calls, prints; computes nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellglass.cli.explorer import Json, Quiet
from cellglass.cli.opening import model_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

SHOWN = 20


def features(
    transcoders: Annotated[
        Path, typer.Argument(metavar="TRANSCODERS", help="Folder that `cellglass circuits train` wrote.")
    ],
    model: Annotated[Path, typer.Option("--model", metavar="MODEL_OR_ATLAS", help="Their model, or an atlas of it.")],
    cells: Annotated[Path, typer.Option("--cells", help="Cells with raw counts, as `cellglass run` reads them.")],
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="obs column of labels that features are held against; may be repeated.",
            show_default="that of the transcoders, where it is there",
        ),
    ] = None,
    gene_sets: Annotated[
        list[str] | None,
        typer.Option(help="Source or GMT file, or none; may be repeated.", show_default="bundled, as far as it fits"),
    ] = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls", help="Also random directions, neurons, and transcoders trained on the untrained model."
        ),
    ] = False,
    n_cells: Annotated[int, typer.Option("--n-cells", help="Most cells that are read, drawn by the seed.")] = 2000,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say what every feature of transcoders fires on: genes, gene sets, kinds of tokens, cells; and how many have one.

    Writes features.csv and feature_genes.parquet beside the transcoders, from which `cellglass trace` takes names, and
    feature_rates.csv. It may be stopped at any moment: run the same command again to resume.

    Example: cellglass circuits features transcoders/ --model model/ --cells my.h5ad --labels celltype --controls
    """
    from cellglass.cells import read_cells
    from cellglass.circuits import load_transcoders
    from cellglass.circuits.objectives import ready
    from cellglass.cli.console import listening
    from cellglass.evaluation import explain_features
    from cellglass.evaluation.feature_rate import drawn_features

    made = load_transcoders(transcoders)
    held = read_cells(cells, columns=labels or [])
    opened = ready(model_of(model), held)
    with listening(quiet=quiet or as_json) as progress:
        found = explain_features(
            opened, held, made, transcoders, labels=labels, gene_sets=gene_sets, controls=controls, n_cells=n_cells,
            seed=seed, progress=progress,
        )  # fmt: skip
    drawn = drawn_features(found.meanings.features, SHOWN, seed)
    if as_json:
        said = {"transcoders": str(transcoders), "rates": _records(found.rates), "drawn": _records(drawn)}
        typer.echo(json.dumps(said, indent=1))
    else:
        from rich.console import Console

        console = Console()
        _show_rates(console, found.rates)
        _show_features(console, drawn)
        typer.echo(f"\nWrote {transcoders / 'features.csv'}")


def _show_rates(console: Console, rates: pd.DataFrame) -> None:
    from rich.table import Table

    heads = ("", "firing", "rate", "layers 1+", "genes", "set", "spelling", "label", "identity")
    shown = Table(*heads, box=None, pad_edge=False, header_style="dim")
    for row in rates.to_dict(orient="records"):
        shares = [
            _percent(row[name]) for name in ("rate", "rate_later", "by_genes", "by_gene_set", "spelling", "labelled")
        ]
        shown.add_row(row["of"], _percent(row["firing"] / row["units"]), *shares, _number(row["identity"]))
    console.print("Gene-level interpretable:", style="bold", highlight=False)
    console.print(shown)
    for note in (
        "Rate: at least half of the activation mass on gene tokens, and half of that on five genes, or a gene set at "
        "null_q < 0.05; chosen on half of the cells, scored on the other. docs/circuits.md has the rule.",
        "Spelling: left out, for a piece of text that several genes share carries half of it, and no one gene does.",
        "Label: units whose cells have a label with a held-out F1 of 0.5 or more; no part of the rule.",
        "Identity: median share of the variance over gene tokens that the gene explains, held out.",
        *(() if len(rates) > 1 else ("A rate means nothing alone: --controls puts three others beside it.",)),
    ):
        console.print(note, style="dim", highlight=False)


def _show_features(console: Console, drawn: pd.DataFrame) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cellglass.circuits.names import feature_name

    console.print(f"\n{len(drawn)} features, drawn at random; named by machine:", style="bold", highlight=False)
    heads = ("feature", "passes by", "on genes", "top genes", "identity", "tokens", "name")
    shown = Table(*heads, box=None, pad_edge=False, header_style="dim")
    for row in drawn.to_dict(orient="records"):
        shown.add_row(
            feature_name(row["layer"], row["feature"]), row["why"] or "-", _percent(row["on_gene"]),
            _percent(row["top_mass"]), _number(row["gene_identity"]), f"{row['frequency']:.2%}",
            escape(row["name"]) or "never fires",
        )  # fmt: skip
    console.print(shown)
    console.print(
        "On genes: share of the activation mass. Top genes: what the five chosen genes carry of that, held out. "
        "Tokens: share at which it is active.",
        style="dim", highlight=False,
    )  # fmt: skip


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON can hold them: blank numbers are null."""
    rows = table.to_dict(orient="records")
    return [{str(name): None if _is_blank(value) else value for name, value in row.items()} for row in rows]


def _is_blank(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1%}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
