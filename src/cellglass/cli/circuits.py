"""The commands of circuits. Parses, calls, prints; computes nothing.

`add` puts them on the command line of ``app.py``, which turns errors into one line and an exit status.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellglass.cli.circuits_check import check
from cellglass.cli.explorer import Json, Quiet
from cellglass.cli.features import features
from cellglass.cli.opening import cells_of, circuits_of, model_of, target_of_words
from cellglass.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.circuits.build import Cost
    from cellglass.circuits.graph import Graph

circuits_app = typer.Typer(
    help="Transcoders in the place of a transformer's MLPs: what circuits are traced through.", no_args_is_help=True
)


def add(app: typer.Typer) -> None:
    """Put the commands of circuits on `app`."""
    circuits_app.command()(features)
    circuits_app.command()(check)
    app.add_typer(circuits_app, name="circuits")
    app.command()(trace)


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
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Keep no activations on disk: run the model while training all layers at once."),
    ] = False,
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
    from cellglass.circuits.objectives import ready
    from cellglass.circuits.training import read_losses, train_transcoders
    from cellglass.cli.console import listening

    held = read_cells(cells, columns=[] if labels is None else [labels])
    opened = ready(model_of(model), held)
    with listening(quiet=quiet or as_json) as progress:
        made = train_transcoders(
            opened, held, out, kind=kind, latents=latents, k=k, skip=skip, crosslayer=cross_layer, labels=labels,
            n_rows=rows, stream=stream, seed=seed, progress=progress,
        )  # fmt: skip
    table = read_losses(out)
    if as_json:
        records = [{name: _plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")]
        typer.echo(json.dumps({"transcoders": str(out), "losses": records}, indent=1))
    else:
        _show(repr(made), table, len(made.held_out))
        typer.echo(f"\nWrote {out}")


def trace(
    model: Annotated[Path, typer.Argument(metavar="MODEL_OR_ATLAS", help="Folder of a model, or of an atlas.")],
    transcoders: Annotated[Path, typer.Option(help="Folder that `cellglass circuits train` wrote, of this model.")],
    cell: Annotated[str | None, typer.Option("--cell", help="Name of the cell.")] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="What is asked: a label or gene:SYMBOL (Cell2Sentence), expression:SYMBOL (scGPT), masked:SYMBOL "
            "(Geneformer); concept:12, of an atlas; direction:FILE (.npy or .csv), at --site.",
            show_default="with --class: the class, against the other label",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--class", help="In the place of --cell: the circuit of many cells with this label, merged."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File of the graph; a picture (.svg) and tables (.csv) lie beside it.",
            show_default="ATLAS/circuits/CELL_TARGET_....json, ATLAS/circuits/classes/CLASS.json",
        ),
    ] = None,
    cells: Annotated[
        Path | None, typer.Option("--cells", help="Cells with raw counts.", show_default="those of the atlas")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="What the target is held against: the graph is of the difference. With --class: the label of other "
            "cells, which are asked the same."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="With --class: obs column of the label.", show_default="that of the transcoders"),
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="With --class: obs column of donors, which are the units of means then.")
    ] = None,
    n_cells: Annotated[int, typer.Option("--n-cells", help="With --class: cells of each label.")] = 20,
    faithfulness: Annotated[
        int, typer.Option(help="With --class: cells that did not make the circuit to test its features on.")
    ] = 0,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Fold features into groups: `auto` finds those wired alike; or a JSON file of names with features, "
            'such as {"B cell genes": ["L1/7", "L1/153"]}.'
        ),
    ] = None,
    site: Annotated[str | None, typer.Option(help="Of a direction: the site of the model that it is at.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="Gene at whose token a concept or a direction is asked, at a site of tokens.",
            show_default="where it is strongest",
        ),
    ] = None,
    features: Annotated[int, typer.Option(help="Most features of the graph.")] = 1000,
    patterns: Annotated[
        str, typer.Option(help="Attention patterns: frozen, or linear, so that what shapes them has its part.")
    ] = "frozen",
    delete: Annotated[
        bool, typer.Option("--delete/--no-delete", help="Also run the model without each gene, as a check.")
    ] = True,
    without: Annotated[
        str | None,
        typer.Option(
            metavar="GENE",
            help="Also what changes inside with this gene's count at 0, feature by feature; or `all`: how much of each "
            "gene's deletion passes through features. A table (.csv) beside the graph. With --class: `all`, merged "
            "over its cells.",
        ),
    ] = None,
    controls: Annotated[int, typer.Option(help="Draws of random transcoders and rewired graphs to score beside.")] = 0,
    neuronpedia: Annotated[
        Path | None, typer.Option(help="Folder for the graph in Neuronpedia's and circuit-tracer's format.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw the circuit of an answer about one cell, or a class of cells: which genes, through which features, make it.

    Effects are exact once attention patterns, norm scales and the active features are frozen, and add up to the answer.
    A class circuit holds the means over many cells; run the same command again to resume one that was stopped.

    Example: cellglass trace model/ --cells my.h5ad --cell AAAC-1 --target "B cell" --against "T cell" --transcoders
    transcoders/ --out graph.json

    Example: cellglass trace model/ --cells my.h5ad --class "B cell" --against "T cell" --labels celltype --batch donor
    --transcoders transcoders/ --out class.json
    """
    from cellglass.circuits import load_transcoders
    from cellglass.circuits.objectives import ready
    from cellglass.circuits.tracing import asked_of, cost_of, trace_asked, write_trace
    from cellglass.cli.console import listening
    from cellglass.cli.groups import grouped, wanted_groups
    from cellglass.cli.without import changes_without

    if label is not None:
        from cellglass.cli.class_circuits import trace_class

        _refuse(
            "a class circuit is of many cells and has its own checks",
            {
                "--cell": cell, "--controls": controls or None,
                "--no-delete": None if delete else True, "--site": site,
                "--at": at, "--patterns": None if patterns == "frozen" else patterns,
            },
        )  # fmt: skip
        trace_class(
            model, label, transcoders, out=out, cells=cells, against=against, target=target, labels=labels, batch=batch,
            n_cells=n_cells, features=features, faithfulness=faithfulness, without=without, groups=groups,
            neuronpedia=neuronpedia,
            quiet=quiet, as_json=as_json,
        )  # fmt: skip
        return
    _refuse("it goes with --class", {"--labels": labels, "--batch": batch, "--faithfulness": faithfulness or None})
    if cell is None or target is None:
        raise InputError("say with --cell and --target which cell is asked what, or with --class which cells")
    wanted = wanted_groups(groups)
    write = circuits_of(model).keep if out is None else lambda graph: write_trace(graph, out)
    made = load_transcoders(transcoders)
    held = cells_of(model, cells, [made.labels])
    opened = ready(model_of(model), held)
    other = None if against is None else target_of_words(model, against, site, at)
    asked = asked_of(opened, held, cell, made, target_of_words(model, target, site, at), other, patterns=patterns)
    if not (quiet or as_json):
        typer.echo(_cost_line(cost_of(asked, features)))
    with listening(quiet=quiet or as_json) as progress:
        changes = None if without is None else changes_without(asked, made, without, progress)
        graph = trace_asked(asked, made, features=features, patterns=patterns, delete=delete, progress=progress)
        if controls:
            from cellglass.circuits.controls import control_scores

            scores = control_scores(graph, asked.frozen, made.stand_ins, asked.answers, draws=controls)
            graph.about["controls"] = scores.reset_index(names="of").to_dict(orient="records")
    graph = grouped(graph, wanted)
    written = write(graph)
    if changes is not None:
        written.append(changes.write(written[0]))
    if neuronpedia is not None:
        from cellglass.circuits.names import file_word
        from cellglass.circuits.neuronpedia import write_neuronpedia

        written.append(
            write_neuronpedia(graph, neuronpedia, file_word(cell), token_ids=asked.question.tokens.ids.tolist())
        )
    _tell(graph, written, as_json=as_json)
    if changes is not None and not as_json:
        changes.show()


def _refuse(why: str, given: dict[str, object]) -> None:
    """Raise InputError for options that are given where they have no place."""
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise InputError(f"{wrong[0]}: {why}; leave it out")


def demo(out: Path, seed: int, *, quiet: bool, as_json: bool) -> None:
    """Make the demo's circuit and show it."""
    from cellglass.cli.console import listening
    from cellglass.pipeline.demo import demo_circuit

    with listening(quiet=quiet or as_json) as progress:
        graph, written = demo_circuit(out, seed, progress)
    _tell(graph, written, as_json=as_json)


def _tell(graph: Graph, written: Sequence[Path], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"files": [str(path) for path in written], **_json_of(graph)}, indent=1))
    else:
        _show_circuit(graph)
        typer.echo(f"\nWrote {', '.join(str(path) for path in written)}")


def _cost_line(cost: Cost) -> str:
    return (
        f"{cost.active:,} features are active on this cell; effects on {cost.targets:,} nodes in about {cost.passes} "
        f"walks back, {cost.bytes / 2**20:,.0f} MiB."
    )


def _json_of(graph: Graph) -> dict[str, Any]:
    """Return what was found, with blank for what is not a number."""
    about = {name: graph.about[name] for name in ("answer", "scores", "bare", "genes")}
    if "controls" in graph.about:
        about["controls"] = [{k: _plain(v) for k, v in row.items()} for row in graph.about["controls"]]
    return about


_COLUMNS = {"removal": "count 0, first order", "occlusion": "hidden", "deletion": "count 0"}


def _show_circuit(graph: Graph) -> None:
    """Print the answer, the genes that make it, the strongest paths and how good the graph is."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from cellglass.circuits import path_lines, strongest_paths
    from cellglass.circuits.tracing import gene_table

    console, about, genes = Console(), graph.about, gene_table(graph)
    console.print(f"\n{escape(about['title'])}: {about['answer']:+.3f}", style="bold", highlight=False)
    shown = Table("gene", *(_COLUMNS.get(name, name) for name in genes.columns), box=None, pad_edge=False,
                  header_style="dim")  # fmt: skip
    for gene, row in genes.head(10).iterrows():
        shown.add_row(escape(str(gene)), *("" if math.isnan(value) else f"{value:+.3f}" for value in row))
    console.print(shown)
    console.print("\nStrongest paths:", highlight=False)
    for line in path_lines(graph, strongest_paths(graph, 5)):
        console.print(f"  {escape(line)}", highlight=False)
    if graph.heads is not None:
        table = graph.heads.table.iloc[graph.heads.strongest(5)]
        told = ", ".join(f"L{row.layer}.{row.head} {row.effect:+.3f}" for row in table.itertuples())
        console.print(f"\nStrongest attention heads, effect over all paths that pass them: {told}.", highlight=False)
    scores = [{"of": "graph", **about["scores"]}, {"of": "no feature at all", **about["bare"]}]
    scores += [row for row in about.get("controls", []) if row["of"] not in ("graph", "bare")]
    told = "; ".join(f"{row['of']} {row['replacement']:.3f} and {row['completeness']:.3f}" for row in scores)
    console.print(f"\nReplacement and completeness: {told}.", highlight=False)
    linear = about.get("patterns") == "linear"
    for note in (
        f"Total: through features, {'patterns linearised, norms' if linear else 'patterns and norms'} frozen. Direct: "
        "without passing a feature. First order: what the circuit says that the answer loses if the gene's count is 0, "
        "attention shared out anew. Of the real model: integrated gradients, and what the answer loses if the gene is "
        "hidden in its place, or its count set to 0.",
        "Attention patterns are linearised: edges through queries and keys are first-order, and what of patterns is "
        "constant stands in nodes of its own."
        if linear
        else "Attention patterns are frozen, so what shapes them has no part in the graph; `docs/circuits.md` says how "
        "much that hides.",
    ):
        console.print(note, style="dim", highlight=False)


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
