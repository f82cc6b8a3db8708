"""Cell2Sentence (Levine et al., ICML 2024; C2S-Scale: Rizvi et al. 2025) as a `CellModel`, over causal language models.

A cell is a text: a prompt around its gene names by falling expression (``c2s_text``). The networks are transformers'
GPT-NeoX (Pythia) and Gemma 2. Sites with one row for each cell:

    cell         mean over all tokens of the last hidden layer behind the final norm: what `embed_cells_batched` of
                 vandijklab/cell2sentence takes, for the cell-type prompt; but that one averages padding too
    cell.last    the same layer at the last token: from it the answer to the prompt is predicted

Sites with one row for each gene are listed in ``c2s_sites``. A gene is often several tokens: its row is that of its
last token, which has read the whole name, or the mean over all. The network is causal: a gene's row depends on the
prompt and on the genes before it. Batches are filled up behind, and no token attends to later ones, so that no mask is
needed and none is given.

Folders are in ``files.py``, fitting in ``training.py``, probabilities of texts in ``likelihood.py``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.genes import align_genes
from cellglass.cells.read import as_cells
from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.models.base import Capability, TokenRows
from cellglass.models.cell2sentence import files
from cellglass.models.cell2sentence.files import Architecture, Checkpoint
from cellglass.models.cell2sentence.likelihood import head, log_probabilities, tries
from cellglass.models.cell2sentence.sites import (
    causal_masks,
    cell_sites,
    last_of_genes,
    means_of_genes,
    moved_genes,
    points_of,
)
from cellglass.models.cell2sentence.text import PROMPTS, SentenceSettings, Writer, words_of
from cellglass.models.cell2sentence.training import Learning, fit_checkpoint
from cellglass.models.coverage import GeneCoverage, coverage_of
from cellglass.models.folder import CFG, digest, read_cfg
from cellglass.models.transformer.lines import Ways
from cellglass.models.transformer.model import TransformerModel
from cellglass.models.transformer.sites import sites_of
from cellglass.models.transformer.tokens import Ints, Padded, TokenLists
from cellglass.progress import Progress, silent

log = logging.getLogger(__name__)


class Cell2SentenceModel(TransformerModel):
    """A trained Cell2Sentence model.

    Parameters
    ----------
    checkpoint : Checkpoint
        Network, config.json and tokenizer.
    genes : pandas.DataFrame, optional
        Gene ids in the index and a column ``symbol``, the name that is written. A published folder holds no list of
        genes, since any name can be written: `for_cells` gives it the cells'.
    settings : SentenceSettings, optional
        How cells are written.

    See Also
    --------
    Cell2SentenceModel.load, Cell2SentenceModel.fit
    """

    kind = "cell2sentence"
    net: Any

    def __init__(
        self,
        checkpoint: Checkpoint,
        genes: pd.DataFrame | None = None,
        settings: SentenceSettings = SentenceSettings(),  # noqa: B008 (frozen)
    ) -> None:
        self.checkpoint = checkpoint
        self.net = checkpoint.net.eval().requires_grad_(False)
        none = pd.DataFrame({"symbol": np.empty(0, dtype=object)}, index=pd.Index([], dtype=object))
        self.gene_table = none if genes is None else genes[["symbol"]]
        self.genes = self.gene_table.index
        self.settings = settings
        self._covered: tuple[pd.DataFrame, GeneCoverage] | None = None
        symbols = [str(symbol) for symbol in self.gene_table["symbol"]]
        self.words = words_of(symbols, settings.upper, f"the {self.kind} model")
        tokenizer, begin = files.tokenizer_of(checkpoint, f"the {self.kind} model")
        context = int(checkpoint.net.config.max_position_embeddings)
        self.writer = Writer(tokenizer, self.words, settings, begin, context)
        self.points = points_of(checkpoint.net.config)
        width = int(checkpoint.net.config.hidden_size)
        self.cell_sites = cell_sites()
        self.sites = sites_of(self.points, width, self.cell_sites)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        cells: Cells | None = None,
        *,
        settings: SentenceSettings | None = None,
        dtype: torch.dtype | None = None,
    ) -> Cell2SentenceModel:
        """Read a model that `save` wrote, or a published folder; see `cellglass.models.cell2sentence.files.read`.

        Parameters
        ----------
        folder : Path or str
            With config.json, tokenizer.json and weights.
        cells : Cells, optional
            Their genes are the model's; in place of those that `save` wrote.
        settings : SentenceSettings, optional
            In place of those that `save` wrote.
        dtype : torch.dtype, optional
            What the network computes in: float32 by default, or what was saved; bfloat16 for large models on a GPU.
        """
        folder = Path(folder)
        genes, chosen = None, SentenceSettings()
        if (folder / CFG).exists():
            cfg = read_cfg(folder, cls.kind)
            try:
                genes = pd.DataFrame({"symbol": cfg["symbols"]}, index=pd.Index(cfg["genes"], dtype=object))
                chosen = SentenceSettings(**cfg["settings"])
                dtype = dtype or getattr(torch, cfg["dtype"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise InputError(f"{folder / CFG} is damaged or of a newer version ({error})") from None
        genes = genes if cells is None else cells.genes
        return cls(files.read(folder, dtype or torch.float32), genes, settings or chosen)

    @classmethod
    def fit(
        cls,
        cells: CellsLike,
        *,
        layers: int = 4,
        width: int = 128,
        heads: int = 4,
        epochs: int | None = None,
        architecture: Architecture = "gpt_neox",
        labels: str | None = None,
        n_genes: int = 100,
        vocabulary: int = 1500,
        learning: Learning = Learning(),  # noqa: B008 (frozen)
        seed: int = 0,
        checkpoint: Path | None = None,
        progress: Progress = silent,
    ) -> Cell2SentenceModel:
        """Train a small model on `cells`; see `cellglass.models.cell2sentence.training.fit_checkpoint`."""
        cells = as_cells(cells)
        trained, settings = fit_checkpoint(
            cells,
            layers=layers,
            width=width,
            heads=heads,
            epochs=epochs,
            architecture=architecture,
            labels=labels,
            n_genes=n_genes,
            vocabulary=vocabulary,
            learning=learning,
            seed=seed,
            checkpoint=checkpoint,
            progress=progress,
        )
        return cls(trained, cells.genes, settings)

    def for_cells(self, cells: CellsLike) -> Cell2SentenceModel:
        """Return the same network for the genes of `cells`."""
        return Cell2SentenceModel(self.checkpoint, as_cells(cells).genes, self.settings)

    def with_settings(self, **changes: Any) -> Cell2SentenceModel:
        """Return the same network with some `SentenceSettings` changed."""
        return Cell2SentenceModel(self.checkpoint, self.gene_table, replace(self.settings, **changes))

    def save(self, folder: Path) -> None:
        """Write the published layout (config.json, model.safetensors, tokenizer files) and cfg.json."""
        written = {"written_by": {name: version(name) for name in ("cellglass", "transformers")}}
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            files.write(temporary, self.checkpoint)
            (temporary / CFG).write_text(json.dumps({**self._cfg(), **written}, indent=1) + "\n")

    def fingerprint(self) -> str:
        """Return a sha256 of network, tokenizer, genes and settings, without versions."""
        tokenizer = self.checkpoint.files[files.TOKENIZER].decode()
        held = {**self._cfg(), "config": self.checkpoint.config, "tokenizer": tokenizer}
        return digest(held, files.weights_of(self.net))

    def _cfg(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "layout": 1,
            "settings": self.settings.to_json(),
            "dtype": str(self.net.dtype).removeprefix("torch."),
            "genes": [str(gene) for gene in self.genes],
            "symbols": [str(symbol) for symbol in self.gene_table["symbol"]],
        }

    # -- cells and tokens --------------------------------------------------------------------------------------------

    def align(self, cells: CellsLike) -> Cells:
        """Return `cells` with this model's genes in its order; genes that the cells lack get count 0.

        `coverage` keeps how many genes were found, missing and unknown, which is logged once for each table of genes.
        """
        if not len(self.genes):
            raise InputError(
                f"the {self.kind} model was read from a published folder, which lists no genes; "
                "use model.for_cells(cells), or load(folder, cells)"
            )
        cells = as_cells(cells)
        if self.is_aligned(cells):
            return cells
        given = cells.genes
        cells = self._by_name(cells)
        aligned = align_genes(cells, self.genes)
        if self._covered is None or self._covered[0] is not given:
            found = coverage_of(cells, len(self.genes), lambda one: align_genes(one, self.genes))
            self._covered = (given, found)
            log.info("%s: of the %s model's genes %d found, %d missing; %d genes of the cells unknown",
                     cells.source, self.kind, *found)  # fmt: skip
        self.coverage = self._covered[1]
        return aligned

    def _by_name(self, cells: Cells) -> Cells:
        """Return `cells`, each gene whose id is not this model's under the model's id of the same symbol, if any.

        A symbol that several genes have, of the model or of the cells, decides nothing.
        """
        ids, symbols = cells.genes.index, pd.Index(cells.symbols)
        own = pd.Index(self.gene_table["symbol"])
        place = pd.Series(np.arange(len(own)), index=own)[~own.duplicated(keep=False)]
        place = place[~self.genes[place].isin(ids)]
        target = place.index.get_indexer(symbols)
        target[symbols.duplicated(keep=False) | ids.isin(self.genes)] = -1
        if (target < 0).all():
            return cells
        renamed = np.where(target < 0, ids.to_numpy(dtype=object), self.genes[place].to_numpy(dtype=object)[target])
        genes = cells.genes.set_axis(pd.Index(renamed, dtype=object))
        return Cells(cells.counts, genes, cells.obs, cells.obsm, cells.source)

    def tokenise(self, cells: Cells) -> TokenLists:
        """Return the tokens of aligned `cells`: prompt and sentence."""
        return self.writer.tokens(cells)

    def forward(self, batch: Padded) -> torch.Tensor:
        """Return the last hidden layer behind the final norm, (n, t, width); `logits` makes logits of it."""
        hidden: torch.Tensor = self.net.base_model(input_ids=batch.ids, use_cache=False).last_hidden_state
        return hidden

    def weighted(self, ways: Ways, u: torch.Tensor) -> torch.Tensor:
        """Run the network on the tokens of pairs, each at its place in its own text; see `causal_masks`."""
        masks = causal_masks(self.net.config, ways, ways.logits(u))
        hidden: torch.Tensor = self.net.base_model(
            input_ids=ways.batch.ids, position_ids=ways.place, attention_mask=masks, use_cache=False
        ).last_hidden_state
        return hidden

    def keyed(self, cells: Cells) -> tuple[TokenLists, Ints]:
        """Return the tokens of aligned `cells`; the same word at the same place of two sentences is one token.

        A token between two names, such as a space, goes with the name behind it.
        """
        tokens = self.tokenise(cells)
        gene, key = tokens.gene.copy(), np.full(len(tokens.gene), -1, dtype=np.int64)
        words = len(self.net.get_input_embeddings().weight)
        for start, stop, opening in zip(tokens.start[:-1], tokens.start[1:], self.writer.opening(cells), strict=True):
            of_gene = start + np.flatnonzero(gene[start:stop] >= 0)
            if not len(of_gene):
                continue
            sentence = np.arange(min(start + opening, of_gene[0]), of_gene[-1] + 1)
            gene[sentence] = tokens.gene[of_gene[np.searchsorted(of_gene, sentence)]]
            key[sentence] = (sentence - start) * words + tokens.ids[sentence]
        return replace(tokens, gene=gene), key

    def row_tokens(self, tokens: TokenLists) -> Any:
        """Return which tokens are the last of their gene."""
        end = np.zeros(len(tokens.gene), dtype=bool)
        end[tokens.start[1:][tokens.lengths > 0] - 1] = True
        behind = np.append(tokens.gene[1:], -1)
        return (tokens.gene >= 0) & (end | (tokens.gene != behind))

    def lacks_line(self, site: str) -> str | None:
        """Return why there is no line: the last token must be both cells', and a row one token."""
        if site == "cell.last" and not PROMPTS[self.settings.prompt].behind:
            return f"sentences of the prompt {self.settings.prompt!r} end in a gene, so no path leads to cell.last"
        if site in self.points and self.settings.rows == "mean":
            return f"a row of {site!r} is a mean over several tokens (rows='mean'), so no path leads to it"
        return super().lacks_line(site)

    def rows(self, hidden: torch.Tensor, batch: Padded) -> TokenRows:
        """Return one row for each gene: its last token's, or the mean over its tokens, as `settings` say."""
        ends = last_of_genes(batch.gene)
        cell = torch.from_numpy(batch.cells).to(ends.device)[:, None].expand_as(ends)[ends]
        mean = self.settings.rows == "mean"
        values = means_of_genes(hidden, batch.gene) if mean else hidden[ends]
        return TokenRows(values, cell.cpu().numpy(), batch.gene[ends].cpu().numpy())

    def put_rows(self, hidden: torch.Tensor, batch: Padded, values: torch.Tensor) -> torch.Tensor:
        """Return `hidden` so changed that `rows` reads `values`.

        A gene's last token is replaced; or all its tokens are moved by the same difference, so that their mean is the
        value.
        """
        values = values.to(hidden.dtype)
        if self.settings.rows == "last":
            changed = hidden.clone()
            changed[last_of_genes(batch.gene)] = values
            return changed
        return moved_genes(hidden, batch.gene, values - means_of_genes(hidden, batch.gene))

    # -- what the network predicts -------------------------------------------------------------------------------------

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits (..., tokens) of the next token at states of the site ``final``.

        tokens x vocabulary numbers (Gemma 2: 256,000 a token): ask for few.
        """
        return head(self.net, hidden.to(self.device, self.net.dtype))

    def next_gene(self, cells: Cells) -> torch.Tensor:
        """Return the probability of each gene's name as the next word of each cell's sentence.

        P(name | prompt, sentence) = prod_k P(token k of " name" | prompt, sentence, tokens before k), less the
        probability that the name goes on to become another gene's; exact, see ``likelihood.py``. Genes of one name
        share its probability. What the network may write otherwise, such as the end of the sentence, makes up the rest
        to 1. The prompt is the settings' own, up to the sentence's last gene. A model that was trained on sentences
        of n genes may expect the end behind the n-th: ask with fewer, ``model.with_settings(n_genes=...)``.

        Costs, for each cell, a pass over its tokens and one more token for each way in which a name begins (for 765
        genes about 800): it is for hundreds of cells, not for a million.

        Returns
        -------
        torch.Tensor, float32, shape (n_cells, n_genes)
            Each row adds up to at most 1.
        """
        cells = self.align(cells)
        texts, place, shared = self._names
        found = self._log_probabilities(self.writer.tokens(cells, finished=False), texts)
        return (found.exp() / shared)[:, place].float()

    def label_probabilities(self, cells: Cells, labels: Sequence[str]) -> torch.Tensor:
        """Return the probability of each label as the answer to the cell-type prompt, given that it is one of them.

        p(label) = P(" label." | prompt) / sum over `labels`, with each P as in `next_gene`; whatever the settings'
        prompt, the cell-type prompt is asked.

        Returns
        -------
        torch.Tensor, float32, shape (n_cells, n_labels)
            Each row adds up to 1.
        """
        names = [str(label) for label in labels]
        if not names or len(set(names)) < len(names) or not all(name.strip() for name in names):
            raise InputError(f"labels are {names[:5]}; give at least one, each once and none empty")
        cells = self.align(cells)
        space = " " if self.settings.answer_space else ""
        texts = [tuple(self.writer.answer(f"{space}{name}.")) for name in names]
        return self._log_probabilities(self.writer.tokens(cells, "cell_type"), texts).softmax(1).float()

    def lacks(self, what: Capability, site: str) -> str | None:
        """Return why the model cannot do `what`: Cell2Sentence predicts words, and no counts."""
        if what == "decode":
            return (
                f"the {self.kind} model predicts words, not counts, so {self.site(site).name!r} cannot be decoded to "
                "expression; its predictions are next_gene(cells) and label_probabilities(cells, labels)"
            )
        return super().lacks(what, site)

    def _log_probabilities(self, tokens: TokenLists, texts: Sequence[tuple[int, ...]]) -> torch.Tensor:
        forest = tries(texts)
        found = torch.empty(len(tokens), len(texts), dtype=torch.float64)
        for i in range(len(tokens)):
            prompt = tokens.ids[tokens.start[i] : tokens.start[i + 1]]
            found[i] = log_probabilities(self.net, prompt, forest, len(texts))
        return found

    @cached_property
    def _names(self) -> tuple[list[tuple[int, ...]], torch.Tensor, torch.Tensor]:
        """Return the different names' tokens, which of them each gene has, and how many genes share each."""
        tokens = [tuple(self.writer.answer(f" {word}")) for word in self.words]
        number = {text: i for i, text in enumerate(dict.fromkeys(tokens))}
        place = torch.tensor([number[text] for text in tokens])
        return list(number), place, torch.bincount(place)


fit = Cell2SentenceModel.fit
load = Cell2SentenceModel.load
