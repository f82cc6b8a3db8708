"""Fits a consensus dictionary: candidates on halves of the cells, groups, readouts, decoder, residual latents.

At most 40,000 of the rows to learn from are halved, and candidates are compared over at most 4,096 of them, so that
neither time nor memory grows further with the number of cells. Sites wider than 50 are looked at in their first 50
principal axes, in which the readouts lie; residual latents read and write the whole site.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Unpack
from zipfile import BadZipFile

import numpy as np
import torch

from cellglass.activations.rows import Rows
from cellglass.dictionaries.clusterings import standardised
from cellglass.dictionaries.consensus.candidates import Candidates, candidates
from cellglass.dictionaries.consensus.readout import Readout, read_out
from cellglass.dictionaries.consensus.recurrence import BARS, Groups, Recurrence
from cellglass.dictionaries.consensus.residual import Core, Residual
from cellglass.dictionaries.kinds.batchtopk import BatchTopKConfig
from cellglass.dictionaries.kinds.consensus import REPRODUCIBLE, Consensus, ConsensusConfig
from cellglass.dictionaries.training.batches import mean_and_variance, split_rows
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.dictionaries.training.options import TrainOptions
from cellglass.dictionaries.training.train import train
from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.progress import silent
from cellglass.seeds import derive, generator

Array = np.ndarray[Any, Any]

logger = logging.getLogger(__name__)

MOST_ROWS, MOST_COMMON = 40_000, 4096
"""Rows that are halved, and those over which candidates are compared."""
AXES = 50
TENTATIVE = 0.5
"""Reproducibility from which on a group has a latent of its own."""
ALIKE = 0.9
"""Correlation of two readouts from which on they are one concept."""
_RIDGE = 1e-3


class _Frame(NamedTuple):
    """The scaled rows that everything but the residual latents is fitted to."""

    centre: torch.Tensor  # (d,)
    scale: float
    axes: Array | None  # (d, q): principal axes, where the site is wide
    rows: Array  # (n, d or q)
    group: Array  # (n,): rows of one group stay together
    common: Array  # positions among them over which candidates are compared

    @property
    def full(self) -> Array:
        return self.rows if self.axes is None else self.rows @ self.axes.T


def fit_consensus(
    rows: Rows, config: ConsensusConfig, training: TrainConfig, **options: Unpack[TrainOptions]
) -> Consensus:
    """Fit a consensus dictionary to the rows of a site.

    Parameters
    ----------
    rows
        The site.
    config
        Latents in all, about how many are active in a row, pairs of halves; `n_core` and `n_concepts` are found. At
        most half of the latents are of the core; without residual ones there are as many latents as the core has.
    training
        How residual latents are trained.
    **options
        See `TrainOptions`. Beside `checkpoint`, the candidates of each half are kept until the fit is done, so that
        one that is interrupted goes on.
    """
    seed, progress, beside = options.get("seed", 0), options.get("progress", silent), options.get("checkpoint")
    learn, held = split_rows(rows, options.get("rows_train"), options.get("rows_valid"), seed)
    chosen = np.setdiff1d(np.arange(rows.n_rows), held) if learn is None else np.sort(rows.positions(learn))
    frame = _frame(rows, chosen, options.pop("groups", None), seed)
    recurrence = Recurrence(_candidates(frame, config.pairs, seed, beside, progress))
    found = recurrence.groups(least=TENTATIVE, most=max(1, config.n_latents // 2))
    readout, kept = _readouts(frame, found)
    core = _core(frame, readout)
    logger.info("%d groups come back in half of the pairs of halves of the cells", len(kept.reproducibility))
    fixed = Core(_widen(readout, frame), *core)
    n_core, residual = len(fixed.threshold), None
    n_left = config.n_latents - n_core
    if not n_core or (config.with_residual and n_left):
        active = float((fixed.activations(torch.from_numpy(frame.full).float()) > 0).sum(1).float().mean())
        k = max(1, min(n_left, config.k - round(active)))
        residual = train(
            Residual(BatchTopKConfig(rows.width, n_left, k), fixed), rows, training, **options
        )  # its statistics are those of the frame: the same rows
    else:
        config = replace(config, n_latents=n_core, k=min(config.k, n_core))
    made = _assembled(config, fixed, residual, frame, recurrence, kept, readout)
    if beside is not None:
        for number in range(2 * config.pairs):
            _kept(beside, number).unlink(missing_ok=True)
    return made


def _frame(rows: Rows, chosen: Array, groups: Any, seed: int) -> _Frame:
    centre, variance = mean_and_variance(rows, chosen)
    scale = float(variance.mean() ** 0.5)
    if not scale > 0:
        raise InputError("all activations are equal, so there is nothing to learn; look at the site or the cells")
    rng = generator(seed, "consensus rows")
    some = np.sort(rng.permutation(chosen)[:MOST_ROWS])
    u = ((rows.read(some) - centre) / scale).double().numpy()
    if not np.isfinite(u).all():
        raise InputError("activations hold NaN or infinity; leave out those rows or repair the model")
    axes = None
    if u.shape[1] > AXES:
        values, vectors = np.linalg.eigh(u.T @ u / len(u))
        axes = vectors[:, np.argsort(-values)[:AXES]]
        u = u @ axes
    group = some if groups is None else np.asarray(groups)[some]
    return _Frame(centre, scale, axes, u, group, np.sort(rng.permutation(len(u))[:MOST_COMMON]))


def _candidates(frame: _Frame, pairs: int, seed: int, beside: Path | str | None, progress: Any) -> list[Candidates]:
    """Return the candidates of both halves of each pair, each kept beside the checkpoint as soon as it is there."""
    found, sample = [], frame.rows[frame.common]
    owner = _belongs(frame, seed)
    for pair in range(pairs):
        second = halved(frame.group, generator(seed, "halves", pair))
        for side, part in enumerate((~second, second)):
            number = 2 * pair + side
            path = None if beside is None else _kept(beside, number)
            if path is not None and path.exists():
                one = _read_half(path, owner)
            else:
                one = candidates(frame.rows[part], sample, derive(seed, "half", number))
                if path is not None:
                    with atomic_path(path) as temporary, temporary.open("wb") as file:
                        np.savez(file, belongs=owner, **one._asdict())
            found.append(one)
            progress("find concepts", number + 1, 2 * pairs)
    return found


def halved(group: Array, rng: np.random.Generator) -> Array:
    """Return for each row, (n,), whether it is in the second of two halves, which share no group.

    Groups come in random order; where they are cut the halves are as even as that order allows.
    """
    _, member, size = np.unique(group, return_inverse=True, return_counts=True)
    order = rng.permutation(len(size))
    so_far = np.cumsum(size[order])
    cut = 1 + int(np.abs(so_far - len(group) / 2)[:-1].argmin()) if len(size) > 1 else 1
    second = np.zeros(len(size), dtype=bool)
    second[order[cut:]] = True
    return np.asarray(second[member])


def _kept(beside: Path | str, number: int) -> Path:
    """Return where the candidates of a half are kept."""
    return Path(f"{beside}.half-{number:02d}.npz")


def _read_half(path: Path, owner: str) -> Candidates:
    try:
        with np.load(path, allow_pickle=False) as kept:
            found, belongs = Candidates(*(kept[name] for name in Candidates._fields)), str(kept["belongs"])
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"{path}: holds no candidates that can be read; remove it to start anew") from error
    if belongs != owner:
        raise InputError(f"{path}: holds the candidates of another fit (other rows or seed); remove it to start anew")
    return found


def _belongs(frame: _Frame, seed: int) -> str:
    """Return a digest of what candidates depend on: rows, those that they are compared over, and seed."""
    digest = hashlib.sha256(str(seed).encode())
    for part in (frame.rows, frame.group, frame.common):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _readouts(frame: _Frame, found: Groups) -> tuple[Readout, Groups]:
    """Return a readout of each group, and those groups, concepts first; what has none, or reads as one before, goes.

    Groups of other sorts, such as a cluster and half of a component, may come to be on in the same cells.
    """
    u = frame.rows[frame.common]
    fitted = read_out(u, found.activations, found.graded)
    good = np.flatnonzero(np.isfinite(fitted.threshold))
    if len(good):
        z = standardised(Readout(*(part[good] for part in fitted)).activations(u).astype(np.float32))
        alike = z.T @ z >= ALIKE * len(z)
        kept: list[int] = []
        for i in range(len(good)):
            if not alike[i, kept].any():
                kept.append(i)
        good = good[kept]
    return Readout(*(part[good] for part in fitted)), Groups(
        found.activations[:, good], *(part[good] for part in found[1:])
    )


def _core(frame: _Frame, readout: Readout) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what each concept adds to the site, (n_core, d), and what all rows have, (d,): ridge regression."""
    f = np.column_stack([readout.activations(frame.rows), np.ones(len(frame.rows))])
    penalty = np.diag([*np.full(f.shape[1] - 1, _RIDGE * len(f)), 0.0])
    solved = np.linalg.solve(f.T @ f + penalty, f.T @ frame.full)
    return torch.from_numpy(solved[:-1]), torch.from_numpy(solved[-1])


def _widen(readout: Readout, frame: _Frame) -> Readout:
    """Return the readout in all dimensions of the site."""
    return readout if frame.axes is None else readout._replace(encoder=readout.encoder @ frame.axes.T)


@torch.no_grad()
def _assembled(
    config: ConsensusConfig,
    core: Core,
    residual: Residual | None,
    frame: _Frame,
    recurrence: Recurrence,
    found: Groups,
    readout: Readout,
) -> Consensus:
    """Join core and residual latents; what each adds is brought to norm 1, its activations to match."""
    n_core = len(core.threshold)
    n_concepts = int((found.reproducibility >= REPRODUCIBLE).sum())
    made = Consensus(replace(config, k=min(config.k, config.n_latents), n_core=n_core, n_concepts=n_concepts))
    norm = core.decoder.norm(dim=1).clamp_min(1e-6)
    bias, encoder, offset = core.bias, core.encoder * norm[:, None], core.offset * norm
    decoder, threshold = core.decoder / norm[:, None], core.threshold * norm
    if residual is not None:
        bias = bias + residual.bias
        encoder, offset = torch.cat([encoder, residual.encoder]), torch.cat([offset, residual.offset()])
        decoder, threshold = torch.cat([decoder, residual.decoder]), torch.cat([threshold, residual.bar()])
    weights = {
        "encoder": encoder,
        "encoder_bias": offset + encoder @ bias,
        "decoder": decoder,
        "bias": bias,
        "centre": frame.centre,
        "scale": torch.tensor(frame.scale),
        "threshold": threshold,
    }
    nothing = torch.zeros(config.n_latents)
    made.load_state_dict({**weights, "reproducibility": nothing, "cluster_correlation": nothing, "agreement": nothing})
    made.freeze()
    u = torch.from_numpy(frame.full[frame.common]).float()
    p = made.scores(u)
    activations = torch.where(p > made.bar(), p, 0.0).numpy()
    partners = recurrence.partners(activations)
    share = recurrence.reproducibility(partners, np.full(config.n_latents, BARS[True]))
    share[:n_core] = found.reproducibility
    made.reproducibility.copy_(torch.from_numpy(share))
    made.cluster_correlation.copy_(torch.from_numpy(recurrence.with_clusters(activations)))
    made.agreement.fill_(float("nan"))
    made.agreement[:n_core] = torch.from_numpy(readout.agreement).float()
    return made
