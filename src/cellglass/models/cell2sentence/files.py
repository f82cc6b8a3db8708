"""Cell2Sentence on disk: the published folder, which is that of transformers, and the same folder written by us.

``config.json`` says which network it is (GPT-NeoX, as Pythia, or Gemma 2), ``tokenizer.json`` is the fast tokenizer,
and the weights are one or several safetensors files or torch files (``pytorch_model.bin``), read as tensors only.
Every tensor must be used, and none may lack: the list is made here, from names and shapes. Nothing is fetched.

Names: transformers 5 calls the output head of GPT-NeoX ``lm_head``, all files call it ``embed_out``; a head that is
tied to the embedding is in no file. Constants that old versions saved among the weights are left out.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cellglass.errors import InputError, listed, one_line
from cellglass.files import parse_json, read_json
from cellglass.models.weights import refuse_pointer, sharded_files

Architecture = Literal["gpt_neox", "gemma2"]

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
BESIDE = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json",
    "tokenizer.model", "vocab.json", "merges.txt",
)  # fmt: skip
"""Files of the published layout that are carried along as they are."""

_NETWORKS = {"gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM"), "gemma2": ("Gemma2Config", "Gemma2ForCausalLM")}
_ATTENTION = {"gpt_neox": "sdpa", "gemma2": "eager"}  # transformers' sdpa has no soft-capping, which Gemma 2 needs
_CONSTANTS = re.compile(r"\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$|\.rotary_emb\.inv_freq$")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_NAMED_AT_MOST = 40


class Checkpoint(NamedTuple):
    """A network with what lies beside its weights.

    Attributes
    ----------
    config : dict
        config.json, without the version of transformers that wrote it.
    net : torch.nn.Module
        transformers' ``GPTNeoXForCausalLM`` or ``Gemma2ForCausalLM``, in evaluation mode.
    files : mapping of str to bytes
        tokenizer.json and what else of `BESIDE` there is.
    """

    config: dict[str, Any]
    net: Any
    files: Mapping[str, bytes]


def read(folder: Path, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """Read a published folder, or one that `write` wrote; InputError names what is missing, left over or damaged.

    Parameters
    ----------
    folder : Path
    dtype : torch.dtype
        What the network computes in.
    """
    config = _read_config(folder)
    for name in (TOKENIZER, *BESIDE):
        if (folder / name).is_file():
            refuse_pointer(folder / name)
    files = {name: (folder / name).read_bytes() for name in (TOKENIZER, *BESIDE) if (folder / name).is_file()}
    if TOKENIZER not in files:
        raise InputError(
            f"{folder} has no {TOKENIZER}; load its tokenizer as a fast one in transformers and save it there"
        )
    net = new_net(config, dtype, _checked(folder, config, _read_weights(folder)))
    return Checkpoint({**config, "dtype": str(dtype).removeprefix("torch.")}, net, files)


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the published layout into the folder, which is there."""
    (folder / CONFIG).write_text(json.dumps(checkpoint.config, indent=2, sort_keys=True) + "\n")
    for name, content in checkpoint.files.items():
        (folder / name).write_bytes(content)
    save_file(weights_of(checkpoint.net), folder / _WEIGHTS[0], metadata={"format": "pt"})


def new_net(config: Mapping[str, Any], dtype: torch.dtype, tensors: dict[str, torch.Tensor] | None = None) -> Any:
    """Return the network of a config.json, with `tensors` (by their names in files) or with fresh weights.

    Fresh weights are drawn from torch's global generator.
    """
    import transformers

    kind = config["model_type"]
    made = _network_config(config)
    network = getattr(transformers, _NETWORKS[kind][1])
    if tensors is None:
        auto: Any = transformers.AutoModelForCausalLM
        net = auto.from_config(made, attn_implementation=_ATTENTION[kind], dtype=dtype)
    else:
        with _no_bars(), torch.random.fork_rng(devices=[]):
            net = network.from_pretrained(
                None, config=made, state_dict=tensors, dtype=dtype, attn_implementation=_ATTENTION[kind]
            )
    net.config.use_cache = False
    return net.eval()


def weights_of(net: Any) -> dict[str, torch.Tensor]:
    """Return the weights by their names in files, without a head that is tied to the embedding; on the CPU."""
    found = {_in_file(net.config.model_type, name): tensor for name, tensor in net.state_dict().items()}
    if net.config.tie_word_embeddings:
        found.pop(_head(net.config.model_type))
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in sorted(found.items())}


def tokenizer_of(checkpoint: Checkpoint, where: str) -> tuple[Any, int]:
    """Return the fast tokenizer, which neither cuts nor pads, and the token that a text begins with.

    That is the tokenizer's begin of text or, where it has none, its end of text.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(checkpoint.files[TOKENIZER].decode())
    except Exception as error:  # the library raises plain exceptions
        raise InputError(f"{where}: {TOKENIZER} cannot be read ({one_line(error)}); copy or save it again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows, held = int(checkpoint.net.config.vocab_size), max(tokenizer.get_vocab().values(), default=-1)
    if held >= rows:
        raise InputError(
            f"{where}: the tokenizer has tokens up to {held}, the network embeds {rows}; they do not belong"
        )
    begin = _begin(checkpoint, tokenizer, where)
    if begin is None or not 0 <= begin < rows:
        raise InputError(f"{where}: no file names a bos_token or eos_token; add one to tokenizer_config.json")
    return tokenizer, begin


def _begin(checkpoint: Checkpoint, tokenizer: Any, where: str) -> int | None:
    beside = [
        parse_json(checkpoint.files[name], f"{where}: {name}", way_out="copy or save it again")
        for name in BESIDE[:2]
        if name in checkpoint.files
    ]
    for key in ("bos_token", "eos_token"):
        for held in beside:
            token = held.get(key) if isinstance(held, dict) else None
            token = token.get("content") if isinstance(token, dict) else token
            if token is not None and tokenizer.token_to_id(token) is not None:
                return int(tokenizer.token_to_id(token))
        number = checkpoint.config.get(f"{key}_id")
        number = number[0] if isinstance(number, list) and number else number
        if isinstance(number, int):
            return number
    return None


# -- reading -----------------------------------------------------------------------------------------------------------


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    missing = f"{folder} has no {CONFIG}; give the folder of a published Cell2Sentence model"
    config = read_json(path, missing=missing, way_out="copy or save it again")
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in _NETWORKS:
        raise InputError(
            f"{folder} holds a network of type {kind!r}; Cell2Sentence models are of type: {', '.join(_NETWORKS)}"
        )
    config.pop("transformers_version", None)
    config.pop("torch_dtype", None)
    try:
        _network_config(config)
    except Exception as error:  # transformers' own checks raise what they like
        raise InputError(f"{path} makes no network ({one_line(error)}); copy or save it again") from None
    return dict(config)


def _network_config(config: Mapping[str, Any]) -> Any:
    import transformers

    # A copy: transformers fills in the nested settings of the rotary embedding where they stand.
    return getattr(transformers, _NETWORKS[config["model_type"]][0]).from_dict(copy.deepcopy(dict(config)))


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    for name in _WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return _read_file(folder / name)
        if index.is_file():
            found: dict[str, torch.Tensor] = {}
            for part in sharded_files(index):
                found |= _read_file(part)
            return found
    raise InputError(f"{folder} has no weights: neither {_WEIGHTS[0]} nor {_WEIGHTS[1]}; copy the whole folder")


def _read_file(path: Path) -> dict[str, torch.Tensor]:
    if path.is_file():
        refuse_pointer(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
        return {str(name): tensor for name, tensor in found.items() if isinstance(tensor, torch.Tensor)}
    except FileNotFoundError:
        raise InputError(f"there is no {path}, though the index names it; copy the whole folder") from None
    except UnpicklingError:
        raise InputError(f"{path} is refused: it holds more than tensors. Only tensors are read, code never") from None
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}); copy or save it again") from None


def _checked(folder: Path, config: Mapping[str, Any], held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of the network, each of them once; InputError lists what is missing, left over, misshapen."""
    import transformers

    kind = config["model_type"]
    with torch.device("meta"):
        made = _network_config(config)
        state = getattr(transformers, _NETWORKS[kind][1])(made).state_dict()
    wanted = {_in_file(kind, name): tuple(tensor.shape) for name, tensor in state.items()}
    found = {_in_file(kind, name): tensor for name, tensor in held.items() if not _CONSTANTS.search(name)}
    head = _head(kind)
    if made.tie_word_embeddings:
        del wanted[head]
        embedding = next(
            (tensor for name, tensor in found.items() if name.endswith((".embed_in.weight", ".embed_tokens.weight"))),
            None,
        )
        if head in found and embedding is not None and torch.equal(found[head], embedding):
            del found[head]
    problems = {
        "missing": sorted(set(wanted) - set(found)),
        "left over": sorted(set(found) - set(wanted)),
        "of another shape": [
            f"{name} {tuple(found[name].shape)} for {wanted[name]}"
            for name in sorted(set(found) & set(wanted))
            if tuple(found[name].shape) != wanted[name]
        ],
    }
    if any(problems.values()):
        said = "; ".join(f"{what}: {listed(names, _NAMED_AT_MOST)}" for what, names in problems.items() if names)
        raise InputError(f"{folder}: weights and {CONFIG} do not fit ({said}); copy the published folder whole")
    return found


def _head(kind: str) -> str:
    return "embed_out.weight" if kind == "gpt_neox" else "lm_head.weight"


def _in_file(kind: str, name: str) -> str:
    return _head(kind) if name in ("lm_head.weight", "embed_out.weight") else name


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars."""
    import transformers

    bars: Any = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
