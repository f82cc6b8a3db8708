"""What every dictionary is to the rest of cellglass: ``encode(x) -> Codes`` and ``decode(codes) -> x_hat``.

Sparse autoencoders and the baselines that they are compared with (neurons, PCA, ICA, NMF, random directions) wear this
face. `x` is always the model's activation as it is; centring and scaling belong to the dictionary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import scipy.sparse as sp
import torch

from cellglass.errors import InputError


class Codes(NamedTuple):
    """Sparse activations of latents: at most k of each row, never a dense matrix of cells x latents.

    Attributes
    ----------
    indices : torch.Tensor, int64, shape (n, k)
        Latents of each row. Where a row has fewer than k active latents, the rest carry value 0 (any valid index).
    values : torch.Tensor, float32, shape (n, k)
        Their activations, >= 0.
    width : int
        Number of latents of the dictionary.
    """

    indices: torch.Tensor
    values: torch.Tensor
    width: int

    def to_csr(self) -> sp.csr_matrix:
        """Return the codes as a SciPy CSR matrix (n, width) without stored zeros."""
        n, k = self.indices.shape
        values = self.values.detach().cpu().numpy().ravel()
        indices = self.indices.detach().cpu().numpy().ravel()
        rows = torch.arange(n).repeat_interleave(k).numpy()
        keep = values > 0
        matrix = sp.csr_matrix((values[keep], (rows[keep], indices[keep])), shape=(n, self.width))
        matrix.sort_indices()
        return matrix


class Dictionary(ABC):
    """A set of latents over the activations of one site.

    Attributes
    ----------
    kind : str
        Such as ``topk``, ``matryoshka``, ``pca``, ``neurons``; `cellglass.dictionaries.load` finds the class by it.
    n_latents : int
        Number of latents.
    d_in : int
        Width of the site that it reads.
    d_out : int
        Width of the site that it writes; equals `d_in` for an autoencoder.
    """

    kind: ClassVar[str]
    n_latents: int
    d_in: int
    d_out: int

    @abstractmethod
    def encode(self, x: torch.Tensor) -> Codes:
        """Return the codes of activations `x`, float32 (n, d_in)."""

    @abstractmethod
    def decode(self, codes: Codes) -> torch.Tensor:
        """Return the reconstruction, float32 (n, d_out)."""

    @abstractmethod
    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return the latents' linear responses before any selection, float32 (n, n_latents); differentiable in `x`."""

    @property
    @abstractmethod
    def directions(self) -> torch.Tensor:
        """Decoder rows in the units of the site, float32 (n_latents, d_out)."""

    @property
    def n_findings(self) -> int:
        """How many latents, from the first on, are findings; all, unless a kind knows better."""
        return self.n_latents

    @property
    def own_thresholds(self) -> torch.Tensor | None:
        """Activation below which each latent is off, (n_latents,), where that is what it means; None of most kinds."""
        return None

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write ``cfg.json`` and ``weights.safetensors``; `cellglass.dictionaries.load` reads them back."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote; a kind that is made anew each time has nothing to read."""
        raise InputError(f"{folder}: a dictionary of kind {cls.kind} is made, not loaded")

    def activations_of(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Return, for each row of `x`, the activation of the one latent ``latent[i]`` after selection, float32 (n,)."""
        codes = self.encode(x)
        return torch.where(codes.indices == latent[:, None], codes.values, 0.0).sum(dim=1)
