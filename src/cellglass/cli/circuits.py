"""The commands of circuits. Parses, calls, prints; computes nothing.

`add` puts them on the command line of ``app.py``, which turns errors into one line and an exit status.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellglass.cli.explorer import Json, Quiet
from cellglass.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.cells import Cells
    from cellglass.models.base import CellModel

circuits_app = typer.Typer(
    help="Transcoders in the place of a transformer's MLPs: what circuits are traced through.", no_args_is_help=True
)


def add(app: typer.Typer) -> None:
    """Put the commands of circuits on `app`."""
    app.add_typer(circuits_app, name="circuits")


@circuits_app.callback()
def circuits() -> None:
    """Hold the commands of circuits, also where there is one alone."""


@circuits_app.command()
def train(
    model: Annotated[Path, typer.Argument(metavar="MODEL_OR_ATLAS", help="Folder of a model, or of an atlas.")],
    cells: Annotated[Path, typer.Option("--cells", help="Cells with raw counts, as `cellglass run` reads them.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the transcoders. Run the same command again to resume.")
    ],
    labels: Annotated[
        str | None, typer.Option(help="obs column with the answers that a Cell2Sentence is asked for.")
    ] = None,
    k: Annotated[int, typer.Option(help="Latents that are active in a token and layer.")] = 16,
    latents: Annotated[
        int | None, typer.Option(help="Latents of a layer.", show_default="8 times the model's width")
    ] = None,
    kind: Annotated[str, typer.Option(help="Kind of transcoder: topk, batchtopk or jumprelu.")] = "topk",
    skip: Annotated[bool, typer.Option("--skip", help="With a linear map beside the latents.")] = False,
    cross_layer: Annotated[
        bool, typer.Option("--cross-layer", help="One transcoder whose latents write to all later layers too.")
    ] = False,
    rows: Annotated[int, typer.Option(help="About how many tokens to learn from.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a transcoder for every MLP of a transformer, and say what of the model's work they keep.

    Cell2Sentence, scGPT and Geneformer. A tenth of the cells is held out for the table that is printed at the end, and
    kept as loss.csv. It may be stopped at any moment: run the same command again to resume.

    Example: cellglass circuits train model/ --cells my.h5ad --labels celltype --out transcoders/
    """
    from cellglass.cells import read_cells
    from cellglass.circuits.training import read_losses, train_transcoders
    from cellglass.cli.console import listening

    held = read_cells(cells, columns=[] if labels is None else [labels])
    opened = _ready(_model_of(model), held)
    with listening(quiet=quiet or as_json) as progress:
        made = train_transcoders(
            opened, held, out, kind=kind, latents=latents, k=k, skip=skip, crosslayer=cross_layer, labels=labels,
            n_rows=rows, seed=seed, progress=progress,
        )  # fmt: skip
    table = read_losses(out)
    if as_json:
        records = [{name: _plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")]
        typer.echo(json.dumps({"transcoders": str(out), "losses": records}, indent=1))
    else:
        _show(repr(made), table, len(made.held_out))
        typer.echo(f"\nWrote {out}")


def _model_of(folder: Path) -> CellModel:
    """Return the model in `folder`, or the one that the atlas in it keeps."""
    from cellglass import models
    from cellglass.pipeline.workspace import MODEL

    if not (folder / "manifest.json").is_file():
        return models.load(folder)
    from cellglass.atlas.manifest import read_manifest

    read_manifest(folder)
    if not (folder / MODEL).is_dir():
        raise InputError(
            f"{folder} is an atlas that no longer keeps its model ({MODEL} is gone); give the folder of the model, or "
            "run the command that made the atlas again"
        )
    return models.load(folder / MODEL)


def _ready(model: CellModel, cells: Cells) -> CellModel:
    """Return the model with the cells' genes where it holds none, on a GPU where there is one."""
    import torch

    from cellglass.circuits.objectives import as_transformer

    found = as_transformer(model)
    found = found if len(found.genes) else as_transformer(found.for_cells(cells))
    return found.to("cuda" if torch.cuda.is_available() else "cpu")


_TITLES = {
    "genes": "the sentence's genes (nats a token)",
    "label": "the label (nats a cell)",
    "expression": "hidden values, expression head (squared error)",
    "cell": "hidden values, cell head (squared error)",
    "masked": "masked genes (nats a token)",
}


def _show(title: str, table: pd.DataFrame, cells: int) -> None:
    """Print the losses of each layer and of sets of layers."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(escape(title), style="bold", highlight=False)
    heads = ("layers", "as is", "replaced", "removed", "share kept", "L0", "dead", "error")
    for loss, rows in table.groupby("loss", sort=False):
        console.print(f"\nLoss of {_TITLES.get(str(loss), str(loss))}, {cells} cells held out:", highlight=False)
        shown = Table(*heads, box=None, pad_edge=False, header_style="dim")
        for row in rows.to_dict(orient="records"):
            losses = [_number(row[name]) for name in ("original", "replaced", "zeroed", "kept")]
            shown.add_row(str(row["layers"]), *losses, f"{row['l0']:.1f}", f"{row['dead']:.1%}", _number(row["error"]))
        console.print(shown)
    notes = (
        "Share kept: (removed - replaced) / (removed - as is); blank where removing the MLP costs less than 0.05.",
        "Removed: the MLP writes 0. loss.csv also has the loss with its mean output.",
        "L0, dead, error: active latents a token, latents never active, 1 - variance explained; of several layers the "
        "mean.",
    )
    for note in notes:
        console.print(note, style="dim", highlight=False)


def _plain(value: Any) -> Any:
    """Return what JSON can hold: a blank share is null."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _number(value: Any) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
