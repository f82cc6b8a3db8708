"""`cellglass trace --without`: what changes inside with a gene's count at 0, as a table and in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import pandas as pd

    from cellglass.circuits import Asked, Transcoders
    from cellglass.progress import Progress

ALL = "all"
_SHOWN = 10


@dataclass(frozen=True)
class Changes:
    """What was found without one gene, or without each gene in turn."""

    gene: str
    table: pd.DataFrame
    sums: dict[str, float]

    def write(self, graph: Path) -> Path:
        """Write the table beside the file of a graph, and return its path."""
        from cellglass.circuits.names import file_word
        from cellglass.files import atomic_path

        path = graph.with_suffix(f".without-{file_word(self.gene)}.csv")
        with atomic_path(path) as temporary:
            self.table.to_csv(temporary, index=self.gene == ALL)
        return path

    def show(self) -> None:
        """Print the parts, and the first rows."""
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        console = Console()
        if self.gene == ALL:
            console.print("\nWhat the answer loses without a gene, and through what:", highlight=False)
        else:
            one = self.sums
            console.print(
                f"\nWithout {escape(self.gene)} the answer loses {one['deletion']:+.3f}: {one['features']:+.3f} "
                f"through features ({one['out']:+.3f} by those that go out, {one['on']:+.3f} by those that it keeps "
                f"out), {one['errors']:+.3f} through what transcoders miss, {one['tokens']:+.3f} through tokens alone, "
                f"{one['rest']:+.3f} by where heads look and how norms scale.",
                highlight=False,
            )
        shown = self.table.head(_SHOWN).reset_index() if self.gene == ALL else self.table.head(_SHOWN)
        made = Table(*map(str, shown.columns), box=None, pad_edge=False, header_style="dim")
        for row in shown.itertuples(index=False):
            made.add_row(*(f"{one:+.3f}" if isinstance(one, float) else escape(str(one)) for one in row))
        console.print(made)
        if len(self.table) > _SHOWN:
            typer.echo(f"The first {_SHOWN} of {len(self.table):,}; all are in the table.")


def changes_without(asked: Asked, transcoders: Transcoders, gene: str, progress: Progress) -> Changes:
    """Return what changes without a gene, or without each."""
    from cellglass.circuits import counterfactual, counterfactuals

    if gene == ALL:
        return Changes(gene, counterfactuals(asked, transcoders.stand_ins, progress=progress), {})
    found = counterfactual(asked, transcoders.stand_ins, gene)
    features = found.features.rename(columns={"position": "token"})
    features["token"] = [asked.question.texts[at] if at >= 0 else "a new one" for at in features["token"]]
    return Changes(gene, features, found.sums())
