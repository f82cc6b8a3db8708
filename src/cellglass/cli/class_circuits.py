"""The circuit of a class on the command line. Calls and prints; computes nothing."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cellglass.cli.groups import grouped, wanted_groups
from cellglass.cli.opening import cells_of, class_circuits_of, model_of
from cellglass.cli.without import ALL
from cellglass.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from cellglass.circuits.classes.circuit import ClassCircuit
    from cellglass.circuits.classes.deletions import DeletionCost
    from cellglass.circuits.classes.making import ClassCost

_SHOWN, _HEADS = 10, 5


def trace_class(
    model: Path,
    label: str,
    transcoders: Path,
    *,
    out: Path | None,
    cells: Path | None,
    against: str | None,
    target: str | None,
    labels: str | None,
    batch: str | None,
    n_cells: int,
    features: int,
    faithfulness: int,
    without: str | None,
    groups: str | None,
    neuronpedia: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make the circuit of a class of cells, write it and show it; what is done of it lies beside it until then."""
    from cellglass.circuits import class_circuit, class_faithfulness, load_transcoders, write_class, write_neuronpedia
    from cellglass.circuits.classes.deletions import DeletionCost, class_deletions
    from cellglass.circuits.names import file_word
    from cellglass.circuits.objectives import ready
    from cellglass.cli.console import listening

    if without not in (None, ALL):
        raise InputError(f"--without {without}: of a class each gene is deleted in turn; say --without {ALL}")
    wanted = wanted_groups(groups)
    place = out or class_circuits_of(model) / f"{file_word(label)}.json"
    if place.suffix != ".json":
        raise InputError(f"{place}: a class circuit is written as JSON; end the file's name in .json")
    made = load_transcoders(transcoders)
    held = cells_of(model, cells, [made.labels if labels is None else labels, batch])
    opened = ready(model_of(model), held)
    work = place.with_suffix(".work")

    def tell(cost: ClassCost | DeletionCost) -> None:
        if not (quiet or as_json):
            typer.echo(_deletion_line(cost) if isinstance(cost, DeletionCost) else _cost_line(cost))

    with listening(quiet=quiet or as_json) as progress:
        circuit = class_circuit(
            opened, held, label, made, labels=labels, against=against, target=target, batch=batch, n_cells=n_cells,
            features=features, folder=work, tell=tell, progress=progress,
        )  # fmt: skip
        if wanted is not None:
            circuit = circuit.told(groups=grouped(circuit.graph(), wanted).about["groups"])
        if faithfulness:
            table = class_faithfulness(
                circuit, opened, held, made, n_cells=faithfulness, folder=work, progress=progress
            )
            circuit = circuit.told(faithfulness=table.to_dict("records"))
        if without is not None:
            circuit = class_deletions(circuit, opened, held, made, folder=work, tell=tell, progress=progress)
    written = write_class(circuit, place)
    if neuronpedia is not None:
        written.append(write_neuronpedia(circuit.graph(), neuronpedia, file_word(label)))
    shutil.rmtree(work)
    if as_json:
        typer.echo(json.dumps({"files": [str(path) for path in written], **_json_of(circuit)}, indent=1))
    else:
        _show(circuit)
        typer.echo(f"\nWrote {', '.join(str(path) for path in written)}")


def _cost_line(cost: ClassCost) -> str:
    left = f"{cost.left * cost.seconds / 60:,.1f} minutes" if cost.left else "nothing"
    return (
        f"{cost.cells} cells, about {cost.passes} walks back each and {cost.bytes / 2**20:,.0f} MiB; one cell took "
        f"{cost.seconds:.1f} s, which leaves {left} for {cost.left} others."
    )


def _deletion_line(cost: DeletionCost) -> str:
    if cost.seconds is None:
        return (
            f"Each gene of {cost.cells} cells is deleted in turn: {cost.passes:,} runs of the model, there and back, "
            f"{cost.left:,} of them left."
        )
    return f"One took {cost.seconds:.2f} s, which leaves {cost.left * cost.seconds / 60:,.1f} minutes."


def _json_of(circuit: ClassCircuit) -> dict[str, Any]:
    from cellglass.circuits.json import plain

    found = plain({name: value for name, value in circuit.about.items() if name != "explained"})
    genes, without = circuit.genes().reset_index(), circuit.without
    more = {"without": [plain(one) for one in without.to_dict("records")]} if len(without) else {}
    return {**found, "genes": [plain(one) for one in genes.to_dict("records")], **more}


def _show(circuit: ClassCircuit) -> None:
    """Print the answer, genes, features and heads with spread and contrast, paths, and how good the circuit is."""
    from rich.console import Console
    from rich.markup import escape

    from cellglass.circuits import path_lines, strongest_paths

    console, about, nodes = Console(), circuit.about, circuit.nodes
    answer = nodes[nodes["kind"] == "answer"].iloc[0]
    unit = "donors" if about["batch"] is not None else "cells"
    told = f"{answer['value']:+.3f} ± {_number(answer['value_sd'], '.3f')} over {about['units'][0]} {unit}"
    if circuit.has_other:
        told += f"; {answer['other_value']:+.3f} in {about['other']} ({about['units'][1]} {unit})"
    told += "; differences are within donors" if about["paired"] else ""
    console.print(f"\n{escape(about['title'])}: {escape(told)}", style="bold", highlight=False)
    if about["left_out"]:
        console.print(f"{len(about['left_out'])} cells cannot be asked this and are left out; the JSON says why.")
    features = nodes[nodes["kind"] == "feature"]
    by = "difference" if circuit.has_other else "effect"
    order = features[by].abs().sort_values(ascending=False, kind="stable").index
    _table(console, "gene", circuit.genes(by).head(_SHOWN).reset_index(names="name"), about)
    _table(console, "feature", features.loc[order[:_SHOWN]], about)
    heads = nodes[nodes["kind"] == "head"]
    order = heads[by].abs().sort_values(ascending=False, kind="stable").index
    _table(console, "head", heads.loc[order[:_HEADS]], about)
    if len(circuit.without):
        _show_deletions(console, circuit)
    console.print("\nStrongest paths of the mean graph:", highlight=False)
    graph = circuit.graph()
    for line in path_lines(graph, strongest_paths(graph, 5)):
        console.print(f"  {escape(line)}", highlight=False)
    _show_quality(console, about)
    console.print(
        f"Ranked by size of {by}. Effect: total effect on the answer, mean ± sd. Share: of cells in which it stays in "
        "the pruned graph; of a gene, in which the model reads it; of a head, in which it is among the strongest. "
        "Difference: from the other label, ± its standard error.",
        style="dim",
        highlight=False,
    )


def _show_deletions(console: Console, circuit: ClassCircuit) -> None:
    """Print the genes whose deletion takes most through features."""
    rows = circuit.without.rename(
        columns={"gene": "name", "features": "effect", "features_sd": "effect_sd", "other_features": "other_effect"}
    )
    _table(console, "gene, deleted", rows.head(_SHOWN), circuit.about, effect="through features")
    console.print(
        "Deleted: what the answer loses through features when the gene's count is set to 0. Share: of cells in which "
        "it is among the genes that together have 0.8 of that.",
        style="dim",
        highlight=False,
    )


def _table(console: Console, what: str, rows: Any, about: dict[str, Any], effect: str = "effect") -> None:
    from rich.markup import escape
    from rich.table import Table

    contrast, lost = "difference" in rows, "lost" in rows
    names = [what, "share", effect, "± sd", *([str(about["other"]), "difference", "± se"] if contrast else [])]
    names += ["deleted", "± sd"] if lost else []
    last = {"feature": ["active at"], "head": ["looks at"]}.get(what, [])
    shown = Table(*map(escape, names), *last, box=None, pad_edge=False, header_style="dim")
    for row in rows.to_dict("records"):
        cells = [escape(row["name"]), f"{row['share']:.2f}", f"{row['effect']:+.3f}", _number(row["effect_sd"], ".3f")]
        if contrast:
            cells += [f"{row['other_effect']:+.3f}", f"{row['difference']:+.3f}", _number(row["difference_se"], ".3f")]
        cells += [_number(row["lost"], "+.3f"), _number(row["lost_sd"], ".3f")] if lost else []
        shown.add_row(*cells, *([escape(", ".join(row["genes"]))] if last else []))
    console.print()
    console.print(shown)
    called = [f"{row['name']} {row['called']}" for row in rows.to_dict("records") if row["called"]] if last else []
    if called:
        console.print(f"Called by machine: {escape('; '.join(called))}.", style="dim", highlight=False)


def _show_quality(console: Console, about: dict[str, Any]) -> None:
    """Print what halves of the cells agree on, what the features keep in other cells, and the groups."""
    from rich.markup import escape

    if "stability" in about:
        told = "; ".join(
            f"{'correlation of weights' if row['of'] == 'weights' else 'strongest ' + str(row['n']) + ' ' + row['of']} "
            f"{row['mean']:.2f} (null {_number(row['null'], '.2f')}"
            f"{'' if math.isnan(row['other']) else ', with ' + str(about['other']) + format(row['other'], ' .2f')})"
            for row in about["stability"]
        )
        console.print(f"\nTwo halves of the cells agree, Jaccard: {escape(told)}.", highlight=False)
    rows = [row for row in about.get("faithfulness", []) if row["run"] == "live" and row["test"] == "kept"]
    if rows:
        told = "; ".join(
            f"{row['size']} features {row['share']:.2f} (random {row.get('random', math.nan):.2f}, as many of the "
            f"cell's own {row['own']:.2f})"
            for row in rows
        )
        console.print(
            f"Share kept in {rows[0]['n']} other cells of what features do to the answer, {rows[0]['span']:+.2f} of "
            f"{about['answer']:+.2f} on average: {told}.",
            highlight=False,
        )
    if about.get("groups"):
        told = "; ".join(f"{one['name']} ({len(one['members'])})" for one in about["groups"][:_SHOWN])
        console.print(f"{len(about['groups'])} groups of features: {escape(told)}.", highlight=False)


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)
