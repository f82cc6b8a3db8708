"""The numbers that shape an scGPT network, checked once; ``net.py`` builds it, ``files.py`` reads them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from cellglass.errors import InputError

STYLES = ("continuous", "category", "scaling")


@dataclass(frozen=True)
class ScgptConfig:
    """Every number of the architecture.

    Attributes
    ----------
    n_tokens : int
        Size of the vocabulary.
    width, n_layers, n_heads, hidden : int
        Width of the residual stream, layers, heads, and width of the MLPs.
    pad_id : int
        The token that fills batches up.
    n_bins : int
        Bins of values, that of zero among them.
    pad_value, mask_value : int
        The values beside ``<cls>`` and padding, and in place of a hidden value.
    max_length : int
        Tokens of a cell at most, ``<cls>`` among them.
    value_style : {"continuous", "category", "scaling"}
        How a value enters: through two linear maps, as an embedding of its bin, or as a factor of the gene's embedding.
    n_values : int
        Rows of the embedding of bins (``category`` only).
    pre_norm : bool
    dropout : float
        In training.
    mvc, zero_probability : bool
        Whether there is a head that reads expression off the cell embedding, and whether heads also give the
        probability that a value is not zero.
    flags : bool
        Whether there is a flag encoder; only generation reads it.
    batch_norm : {"none", "idle", "run"}
        Whether the embeddings go through a batch norm. ``idle``: its weights are there, and unread, as in the published
        code where ``domain_spec_batchnorm`` does not ask for it.
    expression : bool
        Whether there is a head that reads the value of a token's gene off its hidden state.
    n_classes, n_layers_cls : int
        Of the classification head; 0 classes means that there is none.
    """

    n_tokens: int
    width: int = 512
    n_layers: int = 12
    n_heads: int = 8
    hidden: int = 512
    pad_id: int = 0
    n_bins: int = 51
    pad_value: int = -2
    mask_value: int = -1
    max_length: int = 1200
    value_style: Literal["continuous", "category", "scaling"] = "continuous"
    n_values: int = 0
    pre_norm: bool = False
    dropout: float = 0.2
    mvc: bool = True
    zero_probability: bool = False
    flags: bool = True
    batch_norm: Literal["none", "idle", "run"] = "none"
    expression: bool = True
    n_classes: int = 0
    n_layers_cls: int = 3

    def __post_init__(self) -> None:
        for name in ("n_tokens", "width", "n_layers", "n_heads", "hidden", "n_layers_cls"):
            if getattr(self, name) < 1:
                raise InputError(f"scGPT: {name} is {getattr(self, name)}; it must be at least 1")
        if self.width % self.n_heads:
            raise InputError(
                f"scGPT: width {self.width} is no multiple of the {self.n_heads} heads; change one of them"
            )
        if self.n_bins < 3:
            raise InputError(f"scGPT: n_bins is {self.n_bins}; it must be at least 3, since one bin is that of zero")
        if self.max_length < 2:
            raise InputError(f"scGPT: max_length is {self.max_length}; it must be at least 2, <cls> and a gene")
        if self.value_style not in STYLES:
            raise InputError(f"scGPT: value_style is {self.value_style!r}; there are: {', '.join(STYLES)}")
        if self.value_style == "category" and not 0 <= self.pad_value < self.n_values > self.n_bins - 1:
            raise InputError(
                f"scGPT: an embedding of {self.n_values} values has no place for {self.n_bins} bins and the padding "
                f"value {self.pad_value}"
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"scGPT: dropout is {self.dropout}; it must lie in 0 ... 1, 1 left out")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON can hold it."""
        return asdict(self)
