"""Writes docs/results/NAME.md from an atlas: python docs/make_results.py ATLAS NAME LABEL "command that made it".

The tables hold the metrics as they stand in evaluation.json, and for each value of the label the concept that marks it
best with its first ten genes by path effect.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import cellglass
from cellglass.atlas import Atlas

RESULTS = Path(__file__).parent / "results"
BASES = ("concepts", "clusters", "neurons", "pca", "ica", "random")


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("atlas", "name", "label", "command"):
        parser.add_argument(name)
    given = parser.parse_args()
    atlas = cellglass.open_atlas(given.atlas)
    parts = [
        f"# {given.name}\n\nMade by `python docs/make_results.py` from the atlas of\n\n```\n{given.command}\n```\n",
        _single(atlas),
        _alignment(atlas, given.label),
        _genes(atlas, given.label),
        _annotation(atlas),
        _times(atlas),
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{given.name}.md").write_text("\n".join(parts), encoding="utf-8")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}"  # NaN: there is none


def _single(atlas: Atlas) -> str:
    table = atlas.evaluation
    chosen = table[table.index.str.match(r"fidelity|probe|reproducibility|attribution")]
    rows = [[name, *(_number(row[key]) for key in ("value", "spread", "null"))] for name, row in chosen.iterrows()]
    return _table(["metric", "value", "spread over seeds", "null"], rows)


def _alignment(atlas: Atlas, label: str) -> str:
    table = atlas.evaluation
    values = [name.split(".", 2)[2].removesuffix(".concepts") for name in table.index if _is(name, label)]
    rows = []
    for value in values:
        found = [table.loc[f"alignment.{label}.{value}.{basis}"] for basis in BASES]
        rows.append([value, *(f"{row['value']:.2f} ± {row['spread']:.2f}" for row in found)])
    means = [statistics.mean(table.loc[f"alignment.{label}.{v}.{b}", "value"] for v in values) for b in BASES]
    rows.append(["**mean**", *(f"**{mean:.3f}**" for mean in means)])
    return f"\n## Held-out F1 of the best single latent, `{label}`\n\n" + _table(["value", *BASES], rows)


def _is(metric: str, label: str) -> bool:
    return metric.startswith(f"alignment.{label}.") and metric.endswith(".concepts")


def _genes(atlas: Atlas, label: str) -> str:
    var = atlas.concepts.var
    values = set(atlas.concepts.obs[label].astype(str))
    rows = []
    for value, concepts in var[var["best_label"].isin(values)].groupby("best_label"):
        best = concepts["best_label_f1"].idxmax()
        genes = atlas.genes(best, method="path", on="activation")["symbol"].head(10)
        rows.append([str(value), best.split(" ")[0], f"{concepts['best_label_f1'].max():.2f}", ", ".join(genes)])
    head = ["value", "its concept", "F1", "first ten genes by path effect"]
    return "\n## Genes of the concept that marks each value best\n\n" + _table(head, rows)


def _annotation(atlas: Atlas) -> str:
    table = atlas.evaluation
    chosen = table[table.index.str.startswith("annotation.")]
    rows = [[name, _number(row["value"]), _number(row["null"])] for name, row in chosen.iterrows()]
    return "\n## Annotation rates\n\n" + _table(["metric", "rate", "rate of matched random genes"], rows)


def _times(atlas: Atlas) -> str:
    stages = atlas.manifest["stages"]
    rows = [[name, f"{stage['seconds']:.0f}"] for name, stage in stages.items()]
    rows.append(["**all**", f"**{sum(stage['seconds'] for stage in stages.values()):.0f}**"])
    head = "\n## Seconds of each stage\n\nOn two cores, with whatever else they had to do.\n\n"
    return head + _table(["stage", "seconds"], rows)


if __name__ == "__main__":
    main()
