"""The folder of a published scGPT checkpoint: args.json, vocab.json and best_model.pt; read, checked and written.

best_model.pt is read by torch's restricted reader, which builds tensors and containers and refuses every other name.
Attention weights may have flash-attn's names (``self_attn.Wqkv.weight``, also below ``self_attn._impl``) or PyTorch's
(``self_attn.in_proj_weight``): they are the same numbers, rows of q, k and v one below the other. A ``module.`` that
data-parallel training puts before every name is taken off. Every tensor must have its place in the network; heads that
are only trained (``cls_decoder``), only generate (``flag_encoder``) or are no longer run (``bn``) are known by name,
kept and written back. Knows no cells.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch

from cellglass.errors import InputError, listed, one_line
from cellglass.files import atomic_path, read_json
from cellglass.models.folder import CFG
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.net import ScgptNet

ARGS, VOCAB, WEIGHTS = "args.json", "vocab.json", "best_model.pt"
CLS = "<cls>"
_SPECIALS = (CLS, "<eoc>")
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


def read(folder: Path) -> Published:
    """Read a published folder; InputError says what is missing, left over or does not fit."""
    for name in (ARGS, VOCAB, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder} holds no scGPT checkpoint: there is no {name} in it; copy the whole folder")
    args = _read_table(folder / ARGS)
    vocab = _complete(folder / VOCAB, _read_table(folder / VOCAB), _pad_token(args))
    tensors = published_names(_read_tensors(folder / WEIGHTS), folder / WEIGHTS)
    cfg = _config(folder / ARGS, args, vocab, tensors)
    return Published(cfg, args, vocab, build(cfg, tensors, str(folder / WEIGHTS)))


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
        raise InputError(
            f"{where}: the weights do not fit {ARGS} and {VOCAB} ({'; '.join(wrong)}); give a folder whose three files "
            "belong together"
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
    """Return a state dict under flash-attn's names and without ``module.``."""
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        new = name.replace(".self_attn._impl.", ".self_attn.").replace(".self_attn.in_proj_", ".self_attn.Wqkv.")
        if new in renamed:
            raise InputError(f"{path} has {new} under two names; save the checkpoint again")
        renamed[new] = tensor
    return renamed


# -- reading -----------------------------------------------------------------------------------------------------------


def _read_table(path: Path) -> dict[str, Any]:
    found = read_json(path, way_out="copy it again")
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no table of names and values; copy it again")
    return found


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of protocols that a damaged file seems to have
            found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise InputError(f"{path} is refused: it holds more than weights. Only weights are read, code never") from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}); copy or save it again") from None
    if not isinstance(found, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
        raise InputError(f"{path} holds no state dict; save model.state_dict() of the scGPT model")
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
        mvc=_any(tensors, "mvc_decoder."),
        zero_probability=_any(tensors, "decoder.zero_logit."),
        flags=_any(tensors, "flag_encoder."),
        batch_norm=("run" if asked else "idle") if _any(tensors, "bn.") else "none",
        n_classes=0 if classes is None else len(classes),
        **numbers,
    )


def _any(tensors: Tensors, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tensors)
