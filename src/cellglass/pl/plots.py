"""The plots, each a few lines over what an atlas says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.atlas import schema
from cellglass.atlas.evidence import leading_order, opening, residual
from cellglass.errors import InputError, listed
from cellglass.evaluation.changes import activation_means
from cellglass.pl.frame import BLUE, GREY, ORANGE, axes, done, opened
from cellglass.vocabulary import SIGNIFICANT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cellglass.atlas import Atlas

Array = np.ndarray[Any, Any]
_LARGEST = 40.0


def embedding(
    atlas: Atlas | Path | str, concept: str | int, *, size: float | None = None, ax: Axes | None = None,
    show: bool | None = None, save: Path | str | None = None,
) -> Axes | None:  # fmt: skip
    """Draw a concept on the layout of the cells: silent cells grey, the strongest on top.

    Parameters
    ----------
    atlas : Atlas or path
    concept : str or int
        Name or latent number.
    size : float, optional
        Area of a point; 120,000 over the number of cells by default, as scanpy has it, but at most 40.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    show : bool, optional
        Show the figure; by default where matplotlib can.
    save : path, optional
        File to write; its ending says the format.

    Returns
    -------
    matplotlib.axes.Axes or None
        None if the figure was shown.
    """
    found = opened(atlas)
    place = _place(found, concept)
    value = np.asarray(found.concepts.X[:, [place]].toarray(), dtype=np.float64).ravel()
    xy = np.asarray(found.concepts.obsm[schema.LAYOUT])
    order = np.argsort(value, kind="stable")
    order, off = order[value[order] > 0], np.flatnonzero(value == 0)
    ax = axes(ax, 5.2, 4.2)
    area = min(_LARGEST, 120_000 / len(value)) if size is None else size
    style: dict[str, Any] = {"s": area, "linewidths": 0, "rasterized": True}
    ax.scatter(xy[off, 0], xy[off, 1], c="#d9d9d9", **style)
    drawn = ax.scatter(xy[order, 0], xy[order, 1], c=value[order], cmap="viridis", **style)
    figure = ax.get_figure()
    if figure is not None:
        figure.colorbar(drawn, ax=ax, label="activation")
    ax.set(title=str(found.concepts.var_names[place]), xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    return done(ax, show, save)


def matrix(
    atlas: Atlas | Path | str, label: str, *, values: Literal["mean", "share"] = "mean", ax: Axes | None = None,
    show: bool | None = None, save: Path | str | None = None,
) -> Axes | None:  # fmt: skip
    """Draw concepts (rows) by the values of a label (columns), those alike beside each other.

    Parameters
    ----------
    atlas : Atlas or path
    label : str
        Column of obs with categories.
    values : {"mean", "share"}
        Mean activation in the cells of a value, over that of the value where it is largest; or the share of its cells
        in which the concept is on, at its threshold.
    ax, show, save
        See `embedding`.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage

    found = opened(atlas)
    table = _by_label(found, label, values)
    order = leaves_list(linkage(table.T.to_numpy(), "average")) if table.shape[1] > 2 else np.arange(table.shape[1])
    table = table.iloc[:, order]
    table = table.iloc[np.argsort(table.to_numpy().argmax(axis=1), kind="stable")]
    ax = axes(ax, 2.5 + 0.35 * table.shape[1], 1.5 + 0.22 * len(table))
    drawn = ax.imshow(table.to_numpy(), cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    ax.set_xticks(range(table.shape[1]), [str(name) for name in table], rotation=60, ha="right")
    ax.set_yticks(range(len(table)), [str(name) for name in table.index], fontsize=7)
    figure = ax.get_figure()
    if figure is not None:
        said = "mean activation, largest 1" if values == "mean" else "share of cells in which it is on"
        figure.colorbar(drawn, ax=ax, label=said)
    ax.set_title(label)
    return done(ax, show, save)


def genes(
    atlas: Atlas | Path | str, concept: str | int, *, n: int = 20, method: str | None = None, ax: Axes | None = None,
    show: bool | None = None, save: Path | str | None = None,
) -> Axes | None:  # fmt: skip
    """Draw the `n` genes of largest |score| of a concept, with effects and two standard errors.

    Genes at q < 0.05 are blue, or orange where their absence drives the concept; others, and those of a method without
    q, are grey.

    Parameters
    ----------
    atlas : Atlas or path
    concept : str or int
    n : int
    method : str, optional
        Such as ``path`` or ``swap``; the first ranking that was run by default.
    ax, show, save
        See `embedding`.
    """
    from cellglass.attribution.registry import METHODS, gene_rankings

    found = opened(atlas)
    rows = found.genes(concept)
    ran = rows["method"].unique().tolist()
    rankings = dict(gene_rankings())
    name = method or next((each for each in rankings if each in ran), None)
    if name is None or name not in ran:
        raise InputError(f"{found.path}: genes were not attributed by {name!r}; methods that ran: {listed(ran)}")
    rows = rows[rows["method"] == name]
    on = rows["on"].unique().tolist()
    rows = rows[rows["on"] == (rankings[name] if rankings.get(name) in on else on[0])]
    rows = rows.iloc[np.argsort(-rows["score"].abs().to_numpy(), kind="stable")[:n]][::-1]
    effect, sure = rows["effect"].to_numpy(dtype=float), (rows["q"] < SIGNIFICANT).to_numpy()
    colour = np.where(sure, np.where(rows["score"] < 0, ORANGE, BLUE), GREY)
    ax = axes(ax, 4.2, 1 + 0.22 * len(rows))
    ax.barh(
        range(len(rows)), effect, color=list(colour), xerr=2 * rows["se"].fillna(0).to_numpy(dtype=float), ecolor="#444"
    )
    ax.set_yticks(range(len(rows)), [str(gene) for gene in rows["symbol" if "symbol" in rows else "gene"]], fontsize=8)
    ax.axvline(0, color="#444", linewidth=0.6)
    title = METHODS[name].title if name in METHODS else name
    ax.set(xlabel=f"effect ({title})", title=_name(found, concept))
    return done(ax, show, save)


def pathways(
    atlas: Atlas | Path | str, concept: str | int, *, n: int = 15, ax: Axes | None = None,
    show: bool | None = None, save: Path | str | None = None,
) -> Axes | None:  # fmt: skip
    """Draw the `n` surest gene sets of a concept: how sure, calibrated by random genes, and how many genes.

    Parameters
    ----------
    atlas : Atlas or path
    concept : str or int
    n : int
    ax, show, save
        See `embedding`.
    """
    found = opened(atlas)
    rows = found.pathways(concept)
    if not len(rows):
        raise InputError(f"{found.path}: no gene sets were tested for {_name(found, concept)}")
    test, ranking = opening(rows)
    rows = rows[(rows["test"] == test) & (rows["ranking"] == ranking)]
    worse = np.maximum(rows["q"].to_numpy(dtype=float), rows["null_q"].to_numpy(dtype=float))
    rows = rows.assign(worse=np.nan_to_num(worse, nan=1.0)).sort_values("worse", kind="stable").head(n)[::-1]
    sure = -np.log10(np.maximum(rows["worse"].to_numpy(dtype=float), 1e-10))
    colour = np.where(rows["statistic"] < 0, ORANGE, BLUE)
    ax = axes(ax, 6.0, 1.2 + 0.24 * len(rows))
    ax.scatter(sure, range(len(rows)), s=8 + 2 * rows["n_genes"].to_numpy(dtype=float), c=list(colour))
    ax.axvline(-np.log10(SIGNIFICANT), color=GREY, linestyle="--", linewidth=0.8)
    ax.set_yticks(range(len(rows)), [str(term)[:48] for term in rows["term"]], fontsize=8)
    ax.set(xlabel=f"-log10 q, the larger of q and null q ({test}, {ranking})", title=_name(found, concept))
    return done(ax, show, save)


def reproducibility(
    atlas: Atlas | Path | str, *, ax: Axes | None = None, show: bool | None = None, save: Path | str | None = None
) -> Axes | None:
    """Draw the share of units that come back in other cells, of concepts and their rivals, and chance as a tick.

    Parameters
    ----------
    atlas : Atlas or path
    ax, show, save
        See `embedding`.
    """
    found = opened(atlas)
    records = found.evaluation
    bases = [name for name in records.index if name.startswith("reproducibility.") and name.count(".") == 1]
    if not bases:
        raise InputError(f"{found.path}: nothing was fitted to halves of the cells; run it with [dictionary] splits")
    rows = records.loc[bases].sort_values("value", kind="stable")
    ax = axes(ax, 4.6, 1 + 0.35 * len(rows))
    names = [name.removeprefix("reproducibility.") for name in rows.index]
    ax.barh(names, rows["value"].to_numpy(), color=[BLUE if name == "concepts" else GREY for name in names])
    ax.plot(rows["null"].to_numpy(), range(len(rows)), "|", color="black", markersize=12, label="turned at random")
    ax.set(xlabel="share that comes back in cells that no fit has seen", xlim=(0, 1))
    ax.legend(frameon=False)
    return done(ax, show, save)


def _place(atlas: Atlas, concept: str | int) -> int:
    return int(np.flatnonzero(atlas.concepts.var["latent"].to_numpy() == atlas.latent(concept))[0])


def _name(atlas: Atlas, concept: str | int) -> str:
    return str(atlas.concepts.var_names[_place(atlas, concept)])


def _by_label(atlas: Atlas, label: str, values: str) -> pd.DataFrame:
    """Return concepts x values of a label, between 0 and 1."""
    if label not in atlas.concepts.obs:
        raise InputError(f"{atlas.path}: there is no label {label!r}; labels are: {listed(list(atlas.concepts.obs))}")
    if values not in ("mean", "share"):
        raise InputError(f"values is {values!r}; choose mean or share")
    var = atlas.concepts.var
    rows = [i for i in leading_order(var) if var["density"].iloc[i] > 0 and not residual(var)[i]]
    codes, names = pd.factorize(atlas.concepts.obs[label].astype(str), sort=True)
    x = sp.csc_matrix(atlas.concepts.X[:, rows])
    if values == "share":
        least = np.repeat(var["threshold"].to_numpy()[rows], np.diff(x.indptr))
        x = sp.csc_matrix(((x.data >= least).astype(np.float64), x.indices, x.indptr), shape=x.shape)
    table = activation_means(x, codes, len(names)).T
    if values == "mean":
        table = table / np.maximum(table.max(axis=1, keepdims=True), 1e-12)
    return pd.DataFrame(table, index=var.index[rows], columns=names)
