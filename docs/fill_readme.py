"""Writes the tables of the README and of pages of docs from the files of results: python docs/fill_readme.py.

Each table stands between its marks, ``<!-- name -->`` and ``<!-- /name -->``.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import circuit_tables

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SPEED = {"milliseconds", "seconds", "swaps_per_second", "pairs_per_second", "vectors_per_second", "cells_per_second"}


FLOORS = {"the encoder's product alone", "bare forward pass"}
"""What is measured beside as a limit, and is no way to do the job."""
DICTIONARIES = ROOT / "docs" / "dictionaries.md"
MODELS = ROOT / "docs" / "models.md"
EXPLORER = ROOT / "docs" / "explorer.md"
CIRCUITS = ROOT / "docs" / "circuits.md"
PUBLISHED = ROOT / "docs" / "published.md"
CLASSES, PLANTED = (ROOT / "docs" / "results" / f"{name}.md" for name in ("class_circuits", "planted_circuit"))
CAPTURED = (
    "a site of cells to disk",
    "64 gene tokens a cell to disk",
    "a site of cells to disk, beside padding",
)
NOTES = {
    "acknowledged": "notes acknowledged",
    "conflicts that were told and settled": "conflicts told and settled",
    "lost": "notes lost",
}
TRAINING = {
    "vectors_per_second": "vectors a second",
    "variance_explained": "variance explained",
    "variance_explained_equal_time": "in the time that cellglass takes",
    "planted_recovered": "planted directions recovered",
    "dead_share": "dead",
    "peak_memory": "peak memory, MiB",
}

RATES = {
    "rate": "pass the rule",
    "by_genes": "by few genes",
    "by_gene_set": "by a gene set",
    "spelling": "left out as spelling",
    "labelled": "mark a label (F1 of 0.5 or more)",
}
RETURNING = {
    "concepts": "concepts",
    "clusters": "clusters, number by stability",
    "pca": "PCA, by sign",
    "ica": "ICA, by sign",
    "random": "random directions",
}
"""Bases whose return in other cells the README shows."""
HALVED = {
    "consensus: concepts": "concepts",
    "clusters, 12": "twelve k-means clusters",
    "Louvain communities, resolution 1": "Louvain communities",
    "clusters, 8 to 24 side by side": "8, 12, 16 and 24 clusters side by side",
    "ICA, split by sign": "ICA, by sign",
    "PCA, split by sign": "PCA, by sign",
    "matryoshka, the former default": "Matryoshka sparse autoencoder",
    "TopK": "TopK sparse autoencoder",
    "random directions, TopK": "random directions",
}
"""Methods of the benchmark of what comes back that the README shows."""


def main() -> None:
    """Replace each table."""
    fill(README, {"zheng": zheng(), "halves": halves(), "planted": planted(), "bench": bench()})
    fill(DICTIONARIES, {"training": training(), "memory": memory()})
    fill(MODELS, {"capture": capture()})
    fill(EXPLORER, {"speed": explorer()})
    fill(CIRCUITS, {"features": features()})
    fill(PUBLISHED, {"costs": circuit_tables.costs(), "rates": circuit_tables.rates()})
    fill(CLASSES, {"deletions": circuit_tables.deletions()})
    fill(PLANTED, {"hops": circuit_tables.hops()})


def fill(page: Path, tables: dict[str, str]) -> None:
    """Put each table between its marks."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        marks = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found, rest = text.partition(marks[0])
        _, closed, after = rest.partition(marks[1])
        if not (found and closed):
            raise SystemExit(f"{page}: the marks of {name} are missing")
        text = f"{before}{marks[0]}\n\n{table}\n{marks[1]}{after}"
    page.write_text(text, encoding="utf-8")


def zheng() -> str:
    """Return the alignment of every type and the mean, for each basis, and what of each comes back in other cells."""
    page = (ROOT / "docs/results/zheng_facs_pbmc.md").read_text(encoding="utf-8")
    table = re.search(r"^\| value \| concepts.*\n\|.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    if table is None:
        raise SystemExit("docs/results/zheng_facs_pbmc.md lacks its table; make it again with docs/make_results.py")
    lines = table[0].replace("value", "held-out F1 of the best single latent", 1)
    back = ["| comes back in other cells | share | number | turned at random |", "|" + " --- |" * 4]
    for basis, name in RETURNING.items():
        share, count = (metric(page, f"reproducibility.{basis}{what}") for what in ("", ".count"))
        null = f"{float(share[2]):.0%}" if share[2] else ""
        back.append(f"| {name} | {float(share[0]):.0%} ± {float(share[1]):.0%} | {float(count[0]):.0f} | {null} |")
    return lines + "\n" + "\n".join(back) + "\n"


def metric(page: str, name: str) -> list[str]:
    """Return value, spread and null of a metric, as a page of results has them."""
    row = re.search(rf"^\| {re.escape(name)} \|(.*)\|\n", page, re.MULTILINE)
    if row is None:
        raise SystemExit(f"docs/results/zheng_facs_pbmc.md lacks {name}; make it again with docs/make_results.py")
    return [cell.strip() for cell in row[1].split("|")]


def halves() -> str:
    """Return what comes back of each method in the benchmark, how it marks types, and a state that types share."""
    rows = json.loads((ROOT / "benchmarks/results/reproducibility.json").read_text(encoding="utf-8"))["rows"]
    found = {(row["metric"], row["name"]): row["value"] for row in rows}
    lines = [
        "| fitted to 40 % of the cells, twice | latents | come back | share | distinct | F1 of types "
        '| density | F1 of "stimulated" |',
        "|" + " --- |" * 8,
    ]
    for method, name in HALVED.items():
        figures = {what: found[f"frontier: {what}", f"zheng: {method}"] for what in ("latents", "back", "distinct")}
        share, f1, density = (found[f"frontier: {what}", f"zheng: {method}"] for what in ("share", "F1", "density"))
        state = found["frontier: F1 of the state", f"stim: {method}"]
        latents, back, distinct = (f"{value:.0f}" for value in figures.values())
        lines.append(
            f"| {name} | {latents} | {back} | {share:.0%} | {distinct} | {f1:.2f} | {density:.0%} | {state:.2f} |"
        )
    return "\n".join(lines) + "\n"


def planted() -> str:
    """Return the first table of the study."""
    page = (ROOT / "docs/results/planted_programs.md").read_text(encoding="utf-8")
    return re.search(r"AUROC of gene scores.*\n\n((?:\|.*\n)+)", page)[1]  # type: ignore[index]


def bench() -> str:
    """Return one row for each comparison of speed that a benchmark made."""
    lines = ["| what | ours | times as fast as | measured on |", "| --- | --- | --- | --- |"]
    for path in sorted((ROOT / "benchmarks/results").glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        machine = result["machine"]
        on = ", ".join(str(machine[key]) for key in ("cpu", "cores") if key in machine) + " cores"
        for row in result["rows"]:
            if row["ratio"] is not None and row["metric"] in SPEED and row["versus"] not in FLOORS:
                ours = f"{row['value']:,.4g} {row['unit']}"
                lines.append(f"| {row['name']} | {ours} | {row['ratio']:.1f}x {row['versus']} | {on} |")
    return "\n".join(lines) + "\n"


def capture() -> str:
    """Return one row for each network: cells a second, beside the bare forward pass and beside padding."""
    result = json.loads((ROOT / "benchmarks/results/capture.json").read_text(encoding="utf-8"))
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for row in result["rows"]:
        network, _, what = row["name"].rpartition(": ")
        rows.setdefault(network, {})[what] = row
    lines = [
        "| network and cells | a site of cells, cells a second | of the bare pass "
        "| 64 gene tokens a cell, of the bare pass | times padding to the longest |",
        "| --- | --- | --- | --- | --- |",
    ]
    for network, kinds in rows.items():
        cells, tokens, padding = (kinds[name] for name in CAPTURED)
        ratios = " | ".join(f"{row['ratio']:.2f}" for row in (cells, tokens, padding))
        lines.append(f"| {network} | {cells['value']:.1f} | {ratios} |")
    machine = result["machine"]
    return "\n".join([*lines, "", f"Measured on an {machine['cpu']}, {machine['cores']} cores, no GPU."]) + "\n"


def explorer() -> str:
    """Return a row for each thing that was timed in the explorer; quantiles of one thing share a row."""
    result = json.loads((ROOT / "benchmarks/results/explorer.json").read_text(encoding="utf-8"))
    rows: dict[str, list[str]] = {}
    for row in result["rows"]:
        what = row["name"].removeprefix("1,000,000 cells x 4,096 concepts: ")
        figure = f"{row['value']:,.3g} {row['unit']}".strip()
        if row["metric"].startswith("p"):
            if row["metric"] == "peak_memory" and row["versus"] is None:
                rows.setdefault(f"memory at its peak: {what}", []).append(f"{row['value']:,.0f} MiB")
            elif row["metric"] != "peak_memory":
                rows.setdefault(what, []).append(f"{row['metric']} {row['value']:,.0f} ms")
        elif row["metric"] in ("first_picture", "seconds", "browser_heap"):
            rows.setdefault(f"first picture, {what}" if row["metric"] == "first_picture" else what, []).append(figure)
        elif row["metric"] in ("answers_per_second", "errors", "notes"):
            name, _, which = what.partition(": ")
            told = {"answers_per_second": "answers a second", "errors": "errors"}.get(row["metric"], NOTES.get(which))
            rows.setdefault(f"{name}: in all", []).append(f"{row['value']:,.0f} {told}")
    machine = result["machine"]
    lines = ["| 1,000,000 cells x 4,096 concepts | |", "| --- | --- |"]
    lines += [f"| {what} | {', '.join(dict.fromkeys(figures))} |" for what, figures in rows.items()]
    end = (
        f"Measured on an {machine['cpu']}, {machine['cores']} cores, no GPU: server, browser and readers share "
        "them, and the browser draws with them. `benchmarks/explorer.py` says where each time begins and ends."
    )
    return "\n".join([*lines, "", end]) + "\n"


def features() -> str:
    """Return how many units have a meaning of genes: what ``circuits features --controls`` wrote for the demo."""
    with (ROOT / "benchmarks/results/circuit_features.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = ["| in the demo (700 cells, one seed) | units | " + " | ".join(RATES.values()) + " |", "|" + " --- |" * 7]
    for row in rows:
        shares = (f"{float(row[name]):.1%}" for name in RATES)
        lines.append(f"| {row['of']} | {int(row['units']):,} | " + " | ".join(shares) + " |")
    return "\n".join(lines) + "\n"


def memory() -> str:
    """Return what training took on few and on many vectors."""
    result = json.loads((ROOT / "benchmarks/results/dictionary_memory.json").read_text(encoding="utf-8"))
    peaks = [row for row in result["rows"] if row["metric"] == "peak_memory"]
    before = max(row["value"] for row in result["rows"] if row["metric"] == "memory_before_training")
    lines = [f"- {row['name']}: {row['value']:.0f} MiB at its peak" for row in peaks]
    return "\n".join([*lines, f"- the process before training, libraries and all: {before:.0f} MiB"]) + "\n"


def training() -> str:
    """Return a table for each setting of the benchmark of training: a row for each library."""
    result = json.loads((ROOT / "benchmarks/results/dictionary_training.json").read_text(encoding="utf-8"))
    settings: dict[str, dict[str, dict[str, float]]] = {}
    for row in result["rows"]:
        setting, _, library = row["name"].partition(": ")
        library = re.sub(r" in [0-9.]+ s$", "", library)
        if row["metric"] in TRAINING and not re.search("product|around|random", library):
            settings.setdefault(setting, {}).setdefault(library, {})[row["metric"]] = row["value"]
    machine = result["machine"]
    parts = []
    for setting, libraries in settings.items():
        columns = [metric for metric in TRAINING if any(metric in found for found in libraries.values())]
        lines = [f"**{setting}**", "", "| | " + " | ".join(TRAINING[metric] for metric in columns) + " |"]
        lines.append("|" + " --- |" * (len(columns) + 1))
        for library, found in libraries.items():
            lines.append(f"| {library} | " + " | ".join(_figure(metric, found[metric]) for metric in columns) + " |")
        parts.append("\n".join(lines))
    floor = []
    for row in result["rows"]:
        if row["versus"] in FLOORS:
            setting = row["name"].removesuffix(": cellglass, around it")
            floor.append(
                f"{setting}: {row['value']:,.0f} vectors a second, {row['ratio']:.2f} of what that alone allows"
            )
    parts.append("One more training, with the encoder's dense product timed between its steps:\n\n" + _points(floor))
    return "\n\n".join(parts) + f"\n\nMeasured on an {machine['cpu']}, {machine['cores']} cores, no GPU.\n"


def _points(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _figure(metric: str, value: float) -> str:
    return f"{value:,.0f}" if metric in ("vectors_per_second", "peak_memory") else f"{value:.3f}"


if __name__ == "__main__":
    main()
