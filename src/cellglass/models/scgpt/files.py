"""The folder of a scGPT checkpoint, as published or fine-tuned: args.json, vocab.json and the weights.

The weights are ``best_model.pt``, ``model.pt`` (as the tutorials save them) or the only other ``.pt``; they are read by
torch's restricted reader, which builds tensors and containers and refuses every other name. Attention weights may have
flash-attn's names (``self_attn.Wqkv.weight``, also below ``self_attn._impl``) or PyTorch's
(``self_attn.in_proj_weight``): they are the same numbers, rows of q, k and v one below the other. Every tensor must
have its place in the network; heads that are only trained (``cls_decoder``), only generate (``flag_encoder``) or are no
longer run (``bn``) are known by name, kept and written back. What fine-tuning adds and no site needs is left out and
said; what changes the activations and cannot be read (``dsbn``, ``pert_encoder``) is refused. Knows no cells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cellglass.errors import InputError, listed
from cellglass.files import atomic_path, read_json
from cellglass.models.folder import CFG
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.net import ScgptNet
from cellglass.models.weights import leave_out, read_weights, refuse_pointer, say_unread

ARGS, VOCAB, WEIGHTS = "args.json", "vocab.json", "best_model.pt"
USUAL = (WEIGHTS, "model.pt")
"""Names of the weights, the first that is there; else the only file that ends in .pt."""
CLS = "<cls>"
_SPECIALS = (CLS, "<eoc>")
_EMBEDDING = "encoder.embedding.weight"
_LISTED = 8  # names in a message

Tensors = Mapping[str, torch.Tensor]

# What args.json must say, and what it may: our name -> published name.
_NEEDED = {"width": "embsize", "n_layers": "nlayers", "n_heads": "nheads", "hidden": "d_hid", "pad_value": "pad_value"}
_OPTIONAL = {
    "n_bins": "n_bins",
    "mask_value": "mask_value",
    "max_length": "max_seq_len",
    "dropout": "dropout",
    "n_layers_cls": "n_layers_cls",
}


# Parts that fine-tuning adds and no site reads, and those that change what every site gives.
_UNREAD = {
    "grad_reverse_discriminator": "the discriminator of batches",
    "batch_encoder": "batch labels, which decoders alone read",
    "discriminator": "the discriminator of batches",
}
_CHANGES = {
    "dsbn": "normalises each cell by the statistics of its batch (DSBN), and does not say which batch is which",
    "pert_encoder": "reads a flag of each perturbed gene beside the counts (it predicts perturbations)",
}


class Published(NamedTuple):
    """What a folder holds.

    Attributes
    ----------
    cfg : ScgptConfig
    args : dict
        args.json as it was.
    vocab : dict of str to int
        Token -> id, with the special tokens that the file lacked.
    net : ScgptNet
        With the weights, in evaluation mode.
    """

    cfg: ScgptConfig
    args: dict[str, Any]
    vocab: dict[str, int]
    net: ScgptNet


def read(folder: Path, weights: Path | None = None) -> Published:
    """Read a folder, with the weights of the file `weights` in it where that is given.

    Raises
    ------
    InputError
        It says what is missing, left over or does not fit.
    """
    for name in (ARGS, VOCAB):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} holds no scGPT checkpoint: there is no {name} in it; copy the folder again, or, of a "
                f"fine-tuned model, the {name} of the model that it was made from"
            )
    path = weights or _weights_in(folder)
    args = _read_table(folder / ARGS)
    vocab = _complete(folder / VOCAB, _read_table(folder / VOCAB), _pad_token(args))
    tensors = published_names(read_weights(path), path)
    _refuse_changes(tensors, path)
    with_batches = _any(tensors, "batch_encoder.")
    unread = leave_out(tensors, _UNREAD)
    cfg = _config(folder / ARGS, args, vocab, tensors)
    cfg, misfits = _without_misfits(cfg, tensors, with_batches=with_batches)
    if unread or misfits:
        say_unread(path, (*unread, *misfits))
    return Published(cfg, args, vocab, build(cfg, tensors, str(path)))


def _weights_in(folder: Path) -> Path:
    usual = next((folder / name for name in USUAL if (folder / name).is_file()), None)
    if usual is not None:
        return usual
    others = sorted(folder.glob("*.pt"))
    if len(others) > 1:
        raise InputError(
            f"{folder} holds several files of weights ({listed((path.name for path in others), _LISTED)}); name the "
            f"one to read, such as {others[-1]}"
        )
    if not others:
        raise InputError(f"{folder} holds no scGPT checkpoint: there is no {WEIGHTS} in it; copy the whole folder")
    return others[0]


def _refuse_changes(tensors: Tensors, path: Path) -> None:
    for part, what in _CHANGES.items():
        if _any(tensors, f"{part}."):
            raise InputError(
                f"{path}: the model {what}; cellglass reads scGPT models without {part}: fit one so, or give the "
                "model that it was made from"
            )


def _without_misfits(
    cfg: ScgptConfig, tensors: dict[str, torch.Tensor], *, with_batches: bool
) -> tuple[ScgptConfig, list[str]]:
    """Take heads out of `tensors` that are made otherwise than published: a classifier, decoders that read batches."""
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in ScgptNet(cfg).state_dict().items()}
    heads: list[tuple[str, str, dict[str, Any]]] = []
    if cfg.n_classes:
        heads.append(("cls_decoder", "a classifier", {"n_classes": 0}))
    if with_batches:
        heads.append(("decoder", "it reads batch labels", {"expression": False}))
        heads.append(("mvc_decoder", "it reads batch labels", {"mvc": False}))
    misfits: list[str] = []
    for head, what, without in heads:
        mine = {name: shape for name, shape in wanted.items() if name.startswith(f"{head}.")}
        if mine != {name: tensor.shape for name, tensor in tensors.items() if name.startswith(f"{head}.")}:
            misfits += leave_out(tensors, {head: what})
            cfg = replace(cfg, **without)
    return cfg, misfits


def build(cfg: ScgptConfig, tensors: Tensors, where: str) -> ScgptNet:
    """Return the network of `cfg` with `tensors` as its weights; InputError lists those that do not fit."""
    with torch.device("meta"):
        net = ScgptNet(cfg)
    wanted = net.state_dict()
    missing = [name for name in wanted if name not in tensors]
    extra = [name for name in tensors if name not in wanted]
    both = (name for name in wanted if name in tensors)
    shapes = [
        f"{name} is {tuple(tensors[name].shape)} where {tuple(wanted[name].shape)} is wanted"
        for name in both
        if tensors[name].shape != wanted[name].shape
    ]
    found = (("missing", missing), ("left over", extra), ("wrong shape", shapes))
    wrong = [f"{what}: {listed(names, _LISTED)}" for what, names in found if names]
    if wrong:
        rows = tensors[_EMBEDDING].shape[0] if _EMBEDDING in tensors else cfg.n_tokens
        other = f"; {VOCAB} has {cfg.n_tokens} tokens and the model {rows}" if rows != cfg.n_tokens else ""
        raise InputError(
            f"{where}: the weights do not fit {ARGS} and {VOCAB} ({'; '.join(wrong)}){other}; give a folder whose "
            "three files belong together"
        )
    right = {name: tensors[name].to(wanted[name].dtype) for name in wanted}
    net.load_state_dict(right, assign=True)
    return net.eval().requires_grad_(False)


def write(folder: Path, args: Mapping[str, Any], vocab: Mapping[str, int], tensors: Tensors, cfg: Any) -> None:
    """Write the published layout, and `cfg` as cfg.json beside it, whole or not at all."""
    plain = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, content in ((ARGS, args), (VOCAB, vocab), (CFG, cfg)):
            (temporary / name).write_text(json.dumps(content, indent=1) + "\n")
        torch.save(plain, temporary / WEIGHTS)


def args_of(cfg: ScgptConfig) -> dict[str, Any]:
    """Return the args.json of a network that was not published: what the published code reads, by its names."""
    named = {published: getattr(cfg, ours) for ours, published in {**_NEEDED, **_OPTIONAL}.items()}
    return {
        **named,
        "pad_token": "<pad>",
        "input_style": "binned",
        "input_emb_style": cfg.value_style,
        "pre_norm": cfg.pre_norm,
        "MVC": cfg.mvc,
        "explicit_zero_prob": cfg.zero_probability,
        "fast_transformer": True,
    }


def published_names(tensors: Mapping[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """Return a state dict under flash-attn's names."""
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        new = name.replace(".self_attn._impl.", ".self_attn.").replace(".self_attn.in_proj_", ".self_attn.Wqkv.")
        if new in renamed:
            raise InputError(f"{path} has {new} under two names; save the checkpoint again")
        renamed[new] = tensor
    return renamed


# -- reading -----------------------------------------------------------------------------------------------------------


def _read_table(path: Path) -> dict[str, Any]:
    refuse_pointer(path)
    found = read_json(path, way_out="copy it again")
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no table of names and values; copy it again")
    return found


def _pad_token(args: Mapping[str, Any]) -> str:
    return str(args.get("pad_token", "<pad>"))


def _complete(path: Path, vocab: Mapping[str, Any], pad_token: str) -> dict[str, int]:
    """Return the vocabulary in the order of its ids, with <pad>, <cls> and <eoc> behind it where they are missing."""
    if not all(type(number) is int for number in vocab.values()):
        raise InputError(f"{path}: an id is no whole number; copy the file again")
    ordered = sorted(vocab, key=lambda token: vocab[token])
    if [vocab[token] for token in ordered] != list(range(len(ordered))):
        raise InputError(f"{path}: the ids are not 0 ... {len(ordered) - 1}, each once; copy the file again")
    ordered += [token for token in (pad_token, *_SPECIALS) if token not in vocab]
    return {token: number for number, token in enumerate(ordered)}


def _config(path: Path, args: Mapping[str, Any], vocab: Mapping[str, int], tensors: Tensors) -> ScgptConfig:
    """Return the architecture: numbers as args.json says, optional parts as the names of the tensors say."""
    style = args.get("input_style", "binned")
    if style != "binned":
        raise InputError(f"{path}: the model reads {style!r} values; cellglass reads scGPT models of binned values")
    numbers: dict[str, Any] = {}
    for ours, published in {**_NEEDED, **_OPTIONAL}.items():
        kind = (int, float) if ours == "dropout" else (int,)
        if published in args and type(args[published]) in kind:
            numbers[ours] = args[published]
        elif published in args or ours in _NEEDED:
            raise InputError(f"{path}: {published} is {args.get(published)!r}, no number; copy the file again")
    if numbers["width"] < 1:
        raise InputError(f"{path}: embsize is {numbers['width']}; it must be at least 1")
    asked = args.get("domain_spec_batchnorm") == "batchnorm"
    classes, values = tensors.get("cls_decoder.out_layer.weight"), tensors.get("value_encoder.embedding.weight")
    return ScgptConfig(
        n_tokens=len(vocab),
        pad_id=vocab[_pad_token(args)],
        value_style=args.get("input_emb_style", "continuous"),
        n_values=0 if values is None else len(values),
        pre_norm=bool(args.get("pre_norm", False)),
        expression=_any(tensors, "decoder."),
        mvc=_any(tensors, "mvc_decoder."),
        zero_probability=_any(tensors, "decoder.zero_logit."),
        flags=_any(tensors, "flag_encoder."),
        batch_norm=("run" if asked else "idle") if _any(tensors, "bn.") else "none",
        n_classes=0 if classes is None else len(classes),
        **numbers,
    )


def _any(tensors: Tensors, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tensors)
