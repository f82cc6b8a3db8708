"""The base of everything that is trained by gradient: sparse autoencoders and transcoders of any selection.

    u = (x - centre) / scale                                  inputs, centred and scaled by stored statistics
    p = (u - b) Eᵀ + e                                        pre-activations
    f = relu(p) at the entries that are chosen, 0 elsewhere   a kind says which are chosen
    x̂ = centre + scale (f D + b)                              rows of D have norm 1, b is the pre-encoder bias

A transcoder reads one site and writes another: p = u Eᵀ + e and ŷ = centre_out + scale_out (f D + b [+ u Sᵀ]), with S
where a skip connection was asked for. A kind is one file: a config that extends `SparseConfig` and a class that says
how latents are chosen (and, where it trains otherwise, what is minimised). How it is trained is in ``training/``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import nn

from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.files import read_config, read_weights, write_dictionary
from cellglass.dictionaries.sparse_ops import products
from cellglass.dictionaries.sparse_ops.losses import Losses
from cellglass.dictionaries.sparse_ops.products import Pattern
from cellglass.dictionaries.sparse_ops.selection import Chosen, LargestOfRow, Rule, to_codes
from cellglass.errors import InputError
from cellglass.seeds import derive

BLOCK_FLOATS = 7 << 20
"""Pre-activations that are made at once: 28 MiB, what a last cache holds, and what malloc still takes from its heap."""


@dataclass(frozen=True)
class SparseConfig:
    """What every kind has.

    Attributes
    ----------
    kind : str
        Of the dictionary that it configures; the same for all configs of a class.
    d_in : int
        Width of the site that is read.
    n_latents : int
        Number of latents.
    k : int
        Latents that are active in a row: exactly, on average, or as the target of training, as the kind says.
    d_out : int or None
        Width of the site that is written, of a transcoder; None for an autoencoder, which writes what it reads.
    skip : bool
        Whether a transcoder has a linear map from its input to its output beside the latents.
    """

    kind: ClassVar[str]

    d_in: int
    n_latents: int
    k: int = 16
    d_out: int | None = field(default=None, kw_only=True)
    skip: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("d_in", "n_latents", "d_out"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        if not 1 <= self.k <= self.n_latents:
            raise InputError(f"k is {self.k}; it must lie between 1 and the number of latents, {self.n_latents}")
        if self.skip and self.d_out is None:
            raise InputError("skip is for transcoders; give d_out, the width of the site that is written, too")


C = TypeVar("C", bound=SparseConfig)

NARROW = 64
"""Widest site whose latents begin anywhere."""
_SCALE_ROWS = 2048
_TINY = 1e-12
_JITTER = 0.01
"""Of the first weights, so that rows that are drawn twice, or all zeros, do not stay the same."""


class SparseDictionary(nn.Module, Dictionary):
    """Encoder, selection, decoder; see the module's docstring.

    Parameters
    ----------
    config
        The kind's config.
    """

    kind: ClassVar[str]
    config_class: ClassVar[type[SparseConfig]]
    not_learned: ClassVar[frozenset[str]] = frozenset({"centre", "scale", "centre_out", "scale_out"})
    """Weights that no gradient reaches."""

    config: SparseConfig
    targets_l0: ClassVar[bool] = False
    """Whether it is trained to a target L0 (`k`), so that errors of different steps do not compare."""

    encoder: nn.Parameter
    encoder_bias: nn.Parameter
    decoder: torch.Tensor
    bias: nn.Parameter
    centre: torch.Tensor
    scale: torch.Tensor
    centre_out: torch.Tensor
    scale_out: torch.Tensor
    skip: nn.Parameter

    def __init__(self, config: SparseConfig) -> None:
        super().__init__()
        self.config = config
        self.n_latents, self.d_in, self.d_out = config.n_latents, config.d_in, config.d_out or config.d_in
        self.is_transcoder = config.d_out is not None
        for name, shape in self.shapes(config).items():
            zeros = torch.ones(shape) if name in ("scale", "scale_out") else torch.zeros(shape)
            if name in self.not_learned:
                self.register_buffer(name, zeros)
            else:
                self.register_parameter(name, nn.Parameter(zeros))

    # -- what a kind gives -----------------------------------------------------------------------------------------

    @classmethod
    def shapes(cls, config: SparseConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight and stored statistic."""
        m, d = config.n_latents, config.d_in
        out = d if config.d_out is None else config.d_out
        shapes = {"encoder": (m, d), "encoder_bias": (m,), "decoder": (m, out), "bias": (out,), "centre": (d,)}
        shapes["scale"] = ()
        if config.d_out is not None:
            shapes |= {"centre_out": (out,), "scale_out": ()}
        if config.skip:
            shapes["skip"] = (out, d)
        return shapes

    @abstractmethod
    def rules(self) -> Sequence[Rule]:
        """Return how latents are chosen where a row's codes depend on that row alone."""

    def training_rules(self, n_rows: int) -> Sequence[Rule]:
        """Return how latents are chosen in training, one rule for each level; the last stands for the whole."""
        return self.rules()

    def activation(self, value: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Return the activations of chosen entries from what they were chosen by; differentiable in `value`."""
        return value.relu()

    def training_loss(self, u: torch.Tensor, target: torch.Tensor, chosen: Sequence[Chosen]) -> Losses:
        """Return what training minimises for scaled rows: the mean over levels of the mean squared error.

        Parameters
        ----------
        u, target
            Scaled inputs (n, d_in), and what is to be reconstructed, (n, d_out): the same for an autoencoder.
        chosen
            What each of the training rules has chosen.
        """
        errors = []
        for found in chosen:
            f = self.activation(self.respond(u, found), found.pattern.latent)
            error, residual = self.error(found.pattern, f, u, target)
            errors.append(error)
        return Losses(torch.stack(errors).mean(), None, residual, found.pattern, f.detach())

    def error(
        self, pattern: Pattern, f: torch.Tensor, u: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean squared error of activations `f`, and the residual, reconstruction - target, (n, d_out)."""
        if self.config.skip:
            target = target - u @ self.skip.T
        return products.squared_error(pattern, f, self.decoder_rows(), self.bias, target)

    def begin(self, u: torch.Tensor, target: torch.Tensor, seed: int) -> None:
        """Set what else has to be set from scaled rows before the first step, when encoder and decoder are set."""

    def settle(self, chosen: Sequence[Chosen], losses: Losses, mean: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Bring the weights back to what they must hold after a step; `mean` averages over parallel processes."""
        self.normalise_decoder()

    @torch.no_grad()
    def draw_weights(self, u: torch.Tensor, target: torch.Tensor, seed: int) -> None:
        """Set the first weights: random directions in narrow sites; beyond 64 dimensions, rows that are drawn from `u`.

        There a latent's encoder row is that row and its decoder row what belongs to it in `target`, scaled to norm 1:
        random directions are far from everything in a wide space, and latents that begin where the data are find the
        directions that the data are made of sooner. In a narrow one, latents that begin at rare rows would stay there.
        A transcoder begins with rows at any width: what a random direction should write is not known.
        """
        noise = torch.Generator().manual_seed(derive(seed, "first weights"))
        drawn = draw(len(u), self.n_latents, noise)
        encoder, decoder = (torch.randn(self.n_latents, x.shape[1], generator=noise) for x in (u, target))
        if u.shape[1] > NARROW or self.is_transcoder:
            encoder, decoder = (x[drawn] + _JITTER * more for x, more in ((u, encoder), (target, decoder)))
        else:
            decoder = encoder
        self.encoder.copy_(unit(encoder))
        self.decoder.copy_(unit(decoder))
        for name, parameter in self.named_parameters():
            if name not in ("encoder", "decoder"):
                parameter.zero_()

    @torch.no_grad()
    def fit_first_scale(self, u: torch.Tensor, target: torch.Tensor) -> None:
        """Scale the encoder so that the first reconstruction has the least squared error.

        Where rows are alike, so are the first latents that answer to one, and together they would overshoot it.
        """
        u, target = u[:_SCALE_ROWS], target[:_SCALE_ROWS]
        alike, size = 0.0, 0.0
        for found in self.choose(u, self.first_rules()):
            out = self.explain(found.pattern, found.value.relu())
            alike += float((out * target).sum())
            size += float(out.square().sum())
        if alike > 0:
            self.encoder.mul_(alike / size)

    def first_rules(self) -> Sequence[Rule]:
        """Return how latents are chosen before training."""
        return [LargestOfRow(self.config.k, 0, self.n_latents)]

    def explain(self, pattern: Pattern, f: torch.Tensor) -> torch.Tensor:
        """Return f D in scaled units, without bias, (n, d_out)."""
        return products.decode(pattern, f, self.decoder_rows())

    def set_statistics(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Centre every dimension and scale to mean square 1, by the statistics of inputs (and outputs beside them)."""
        self.centre.copy_(mean[: self.d_in])
        self.scale.fill_(float(variance[: self.d_in].mean() ** 0.5))
        if self.is_transcoder:
            self.centre_out.copy_(mean[self.d_in :])
            self.scale_out.fill_(float(variance[self.d_in :].mean() ** 0.5))

    # -- in the units of the site ----------------------------------------------------------------------------------

    def encode(self, x: torch.Tensor) -> Codes:
        """Return the codes of activations `x`, float32 (n, d_in); differentiable in `x`."""
        if torch.is_grad_enabled() and (x.requires_grad or self.encoder.requires_grad):
            return self.select(self.scores(self.normalise(x)))
        return self._codes(self.choose(self.normalise(x), self.rules()))

    def decode(self, codes: Codes, x: torch.Tensor | None = None) -> torch.Tensor:
        """Return the reconstruction, float32 (n, d_out); a transcoder with a skip connection needs its input `x`."""
        out = combine(codes, self.decoder) + self.bias
        if self.config.skip:
            if x is None:
                raise InputError("this transcoder has a skip connection: call decode(codes, x) with its input")
            out = out + self.normalise(x) @ self.skip.T
        return self.centre_out + self.scale_out * out if self.is_transcoder else self.centre + self.scale * out

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return p of the module's docstring, float32 (n, n_latents); differentiable in `x`."""
        return self.scores(self.normalise(x))

    @property
    def directions(self) -> torch.Tensor:
        """Decoder rows in the units of the site, float32 (n_latents, d_out): what activation 1 of a latent adds."""
        return (self.decoder * (self.scale_out if self.is_transcoder else self.scale)).detach()

    def select(self, scores: torch.Tensor) -> Codes:
        """Return the codes of `scores`, (n, n_latents); differentiable in them."""
        found = []
        for rule in self.rules():
            rule.add(scores.detach())
            chosen = rule.finish(self.n_latents)
            assert chosen is not None, "rules of single rows see everything once"  # noqa: S101
            found.append(Chosen(chosen.pattern, scores.reshape(-1)[chosen.pattern.places]))
        return self._codes(found)

    def _codes(self, chosen: Sequence[Chosen]) -> Codes:
        (only,) = chosen
        return to_codes(only, self.activation(only.value, only.pattern.latent))

    # -- in scaled units, where training works ---------------------------------------------------------------------

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """Return u of the module's docstring."""
        return x.sub(self.centre).div_(self.scale) if not x.requires_grad else (x - self.centre) / self.scale

    def wanted(self, u: torch.Tensor) -> torch.Tensor:
        """Return what an autoencoder is to reconstruct of scaled rows `u`: those rows."""
        return u

    def normalise_target(self, y: torch.Tensor) -> torch.Tensor:
        """Return the target of a transcoder in scaled units."""
        return (y - self.centre_out) / self.scale_out

    def scores(self, u: torch.Tensor) -> torch.Tensor:
        """Return what latents are chosen by: p, (n, n_latents), for inputs that are centred and scaled already."""
        return torch.addmm(self.offset(), u, self.encoder.T)

    def score_blocks(self, u: torch.Tensor, rows: int, product: torch.dtype) -> Iterator[torch.Tensor]:
        """Yield the scores of `rows` rows at a time, each block in the memory of the one before, without gradient."""
        offset, encoder = self.offset().to(product), self.encoder.to(product).T
        out = u.new_empty(rows, self.n_latents, dtype=product)
        for block in torch.split(u.to(product), rows):
            yield torch.addmm(offset, block, encoder, out=out[: len(block)])

    @property
    def bias_before(self) -> torch.Tensor | None:
        """What is taken from rows before they are encoded: b of an autoencoder."""
        return None if self.is_transcoder else self.bias

    def offset(self) -> torch.Tensor:
        """Return e - b Eᵀ: what a row of zeros gives."""
        return self.encoder_bias if self.is_transcoder else self.encoder_bias - self.encoder @ self.bias

    @torch.no_grad()
    def choose(self, u: torch.Tensor, rules: Sequence[Rule], product: torch.dtype = torch.float32) -> list[Chosen]:
        """Return what each rule chooses from the scores of scaled rows `u`, block by block.

        With a narrower type of `product` the scores are rounded for the choice alone: the values at the chosen entries
        are computed again in full.
        """
        product = u.dtype if u.dtype == torch.float64 else product
        pieces = -(-len(u) * self.n_latents // BLOCK_FLOATS) if u.device.type == "cpu" else 1
        rows = max(1, -(-len(u) // max(1, pieces)))
        found: dict[int, Chosen] = {}
        while len(found) < len(rules):
            for pre in self.score_blocks(u, rows, product):
                for i, rule in enumerate(rules):
                    if i not in found:
                        rule.add(pre)
            for i, rule in enumerate(rules):
                if i not in found and (chosen := rule.finish(self.n_latents)) is not None:
                    found[i] = chosen if product == u.dtype else self._exactly(chosen, u)
        return [found[i] for i in range(len(rules))]

    def _exactly(self, chosen: Chosen, u: torch.Tensor) -> Chosen:
        exact = products.dots(chosen.pattern, u, self.encoder.detach()) + self.offset()[chosen.pattern.latent.long()]
        return Chosen(chosen.pattern, exact)

    def respond(self, u: torch.Tensor, chosen: Chosen) -> torch.Tensor:
        """Return the pre-activations at the chosen entries with their gradient, (entries,)."""
        return products.encode(chosen.pattern, chosen.value, u, self.encoder, self.encoder_bias, self.bias_before)

    def aside(self, pattern: Pattern, f: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of f D, without bias, against `target`."""
        nothing = torch.zeros_like(self.bias, requires_grad=False)
        return products.squared_error(pattern, f, self.decoder_rows(), nothing, target)[0]

    def decoder_rows(self) -> torch.Tensor:
        """Return D with its gradient."""
        return self.decoder

    def written_rows(self) -> Sequence[torch.Tensor]:
        """Return the matrices whose rows are what a latent writes; training holds the rows at norm 1."""
        return [self.decoder]

    @torch.no_grad()
    def project_out_parallel_gradient(self) -> None:
        """Take out the gradient parallel to the rows that latents write: it would only change their norms."""
        for rows in self.written_rows():
            if rows.grad is not None:
                rows.grad.addcmul_(torch.linalg.vecdot(rows.grad, rows)[:, None], rows, value=-1)

    @torch.no_grad()
    def normalise_decoder(self) -> None:
        """Give what each latent writes norm 1."""
        for rows in self.written_rows():
            rows.div_(torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min_(_TINY))

    # -- on disk ---------------------------------------------------------------------------------------------------

    def freeze(self) -> Self:
        """Stop collecting gradients of the weights: what is trained or loaded is only read."""
        return self.requires_grad_(False).eval()

    def save(self, folder: Path) -> None:
        """Write ``cfg.json`` and ``weights.safetensors``."""
        write_dictionary(Path(folder), self.kind, asdict(self.config), dict(self.state_dict()))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote."""
        config = parse_config(cls.config_class, read_config(folder)[1], folder)
        dictionary = cls(config)
        dictionary.load_state_dict(read_weights(folder, cls.shapes(config)))
        return dictionary.freeze()


def draw(n: int, count: int, noise: torch.Generator) -> torch.Tensor:
    """Return `count` of `n` positions, each as often as any other, in random order."""
    rounds = [torch.randperm(n, generator=noise) for _ in range(-(-count // n))]
    return torch.cat(rounds)[:count]


def unit(rows: torch.Tensor) -> torch.Tensor:
    """Return `rows` scaled to norm 1."""
    return nn.functional.normalize(rows, dim=1)


def combine(codes: Codes, decoder: torch.Tensor) -> torch.Tensor:
    """Return f D from sparse codes, (n, d): each row is a weighted sum of k decoder rows; differentiable in all.

    Where k is more than a twentieth of the latents a small dense product is faster than gathering rows.
    """
    n, k = codes.indices.shape
    if not k:
        return codes.values.new_zeros(n, decoder.shape[1])
    if 20 * k > codes.width:
        dense = codes.values.new_zeros(n, codes.width).scatter_add(1, codes.indices, codes.values)
        return dense @ decoder
    return nn.functional.embedding_bag(codes.indices, decoder, mode="sum", per_sample_weights=codes.values)


def parse_config(kind: type[C], values: Mapping[str, Any], folder: Path) -> C:
    """Return a config of class `kind`; InputError names fields that are missing or unknown."""
    known = {f.name for f in fields(kind)}
    try:
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return kind(**given)
    except TypeError as error:
        odd = sorted(known.symmetric_difference(values))
        raise InputError(f"{folder / 'cfg.json'}: fields missing or unknown: {', '.join(odd) or error}") from error
