"""Writes the tables of the README from the files of results: python docs/fill_readme.py.

Each table stands behind its mark, ``<!-- name -->``, and ends at the next blank line.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SPEED = {"seconds", "swaps_per_second", "pairs_per_second", "vectors_per_second"}


def main() -> None:
    """Replace each table."""
    text = README.read_text(encoding="utf-8")
    for name, table in (("zheng", zheng()), ("planted", planted()), ("bench", bench())):
        text = re.sub(rf"(<!-- {name} -->\n)\n?(?:\|.*\n)*\n?", lambda m, t=table: f"{m[1]}\n{t}\n", text)
    README.write_text(text, encoding="utf-8")


def zheng() -> str:
    """Return the alignment of the four types that any immunologist knows, and the mean, for each basis."""
    page = (ROOT / "docs/results/zheng_facs_pbmc.md").read_text(encoding="utf-8")
    head = re.search(r"^\| value \| concepts.*\n.*\n", page, re.MULTILINE)
    wanted = ("CD19+ B", "CD56+ NK", "CD14+ Monocyte", "CD34+", "**mean**")
    rows = [re.search(rf"^\| {re.escape(name)} \| .*(±|\*\*).*\n", page, re.MULTILINE) for name in wanted]
    if head is None or None in rows:
        raise SystemExit("docs/results/zheng_facs_pbmc.md lacks a row; make it again with docs/make_results.py")
    return head[0].replace("value", "held-out F1 of the best single latent", 1) + "".join(row[0] for row in rows if row)


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
            if row["ratio"] is not None and row["metric"] in SPEED:
                ours = f"{row['value']:,.4g} {row['unit']}"
                lines.append(f"| {row['name']} | {ours} | {row['ratio']:.1f}x {row['versus']} | {on} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
