"""Geneformer on disk: the published folder of transformers, its dictionaries, and the folder that we write.

A published model is ``config.json`` with ``model.safetensors`` or ``pytorch_model.bin``, in transformers' layout of
`BertForMaskedLM`. Four dictionaries belong to it, published beside the models as pickles:

    token_dictionary        Ensembl id -> token, with <pad> and <mask>, and in V2 <cls> and <eos>
    gene_median_dictionary  Ensembl id -> non-zero median of its scaled counts
    gene_name_id_dict       gene name -> Ensembl id (may be absent)
    ensembl_mapping_dict    Ensembl id -> the id of the token dictionary that it goes to (V2; may be absent)

Fine-tuned models are read too: a classifier, its pooler and other heads are left unread and said, the names of a bare
encoder lack ``bert.``, and the masked-gene head may be missing, which only its predictions need.

What we write is the same folder with the dictionaries in it as JSON, and a cfg.json that names the kind. Weights are
read by safetensors or by torch's restricted reader, pickles by ``plain_pickle``. Cells and sites are in ``geneformer``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from cellglass.errors import InputError
from cellglass.files import atomic_path, read_json
from cellglass.models.folder import CFG
from cellglass.models.geneformer.plain_pickle import load_plain
from cellglass.models.weights import leave_out, read_sharded, read_weights, refuse_pointer, say_unread

log = logging.getLogger(__name__)

KIND = "geneformer"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
OLD_WEIGHTS = "pytorch_model.bin"
FILES = {
    "tokens": "token_dictionary",
    "medians": "gene_median_dictionary",
    "names": "gene_name_id_dict",
    "mapping": "ensembl_mapping_dict",
}

_EMBEDDING = "bert.embeddings.word_embeddings.weight"
_TIED = {"cls.predictions.decoder.weight": _EMBEDDING, "cls.predictions.decoder.bias": "cls.predictions.bias"}
_HEAD = "cls."
_ENCODER = ("embeddings.", "encoder.", "pooler.")
# Older files carry buffers, and weights of a pooler that masked-gene prediction does not have.
_UNUSED = {
    "bert.embeddings.position_ids": "a buffer",
    "bert.embeddings.token_type_ids": "a buffer",
    "bert.pooler": "the pooler",
    "cls.seq_relationship": "next-sentence prediction",
}
_UNREAD = {
    "classifier": "a classifier",
    "classification_heads": "classifiers of several tasks",
    "attention_pool": "the pooling of a classifier",
    "score": "a classifier",
    "task_heads": "classifiers of several tasks",
}
_PARENTS = 3  # folders above a model in which its dictionaries are looked for


@dataclass(frozen=True)
class GeneformerConfig:
    """The architecture, by the names of transformers' `BertConfig`; the defaults are those that Geneformer publishes.

    Attributes
    ----------
    vocab_size : int
        Tokens, special ones included.
    hidden_size, num_hidden_layers, num_attention_heads, intermediate_size : int
    max_position_embeddings : int
        The most tokens of a cell, special ones included: 2,048 in V1, 4,096 in V2.
    hidden_act : str
    layer_norm_eps, initializer_range, hidden_dropout_prob, attention_probs_dropout_prob : float
    type_vocab_size, pad_token_id : int
    """

    vocab_size: int
    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    intermediate_size: int = 512
    max_position_embeddings: int = 2048
    hidden_act: str = "relu"
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    hidden_dropout_prob: float = 0.02
    attention_probs_dropout_prob: float = 0.02
    type_vocab_size: int = 2
    pad_token_id: int = 0

    @classmethod
    def read(cls, folder: Path) -> GeneformerConfig:
        """Read ``config.json``; InputError where it is missing, damaged or of another architecture."""
        path = folder / CONFIG
        none = f"{folder} holds no Geneformer: there is no {CONFIG}; give the model's folder"
        held = read_json(path, missing=none, way_out="copy or download it again")
        if not isinstance(held, dict) or held.get("model_type") != "bert":
            raise InputError(f"{path} is of no BERT (model_type 'bert'), and Geneformer is one; give another folder")
        needs = {"position_embedding_type": "absolute", "tie_word_embeddings": True, "is_decoder": False}
        for option, needed in needs.items():
            if held.get(option, needed) != needed:
                raise InputError(f"{path}: {option}={held[option]!r} is not supported; Geneformer has {needed!r}")
        missing = [f.name for f in fields(cls)[:8] if f.name not in held]
        if missing:
            raise InputError(f"{path} does not say {', '.join(missing)}; copy or download it again")
        kinds: dict[str, Any] = {f.name: int if f.name == "vocab_size" else type(f.default) for f in fields(cls)}
        try:
            return cls(**{name: kind(held[name]) for name, kind in kinds.items() if name in held})
        except (TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}); copy or download it again") from None

    def to_json(self) -> dict[str, Any]:
        """Return what transformers keeps in ``config.json``."""
        return {
            "architectures": ["BertForMaskedLM"],
            "model_type": "bert",
            "position_embedding_type": "absolute",
            **asdict(self),
        }

    def new_net(self) -> Any:
        """Return transformers' `BertForMaskedLM` with fresh weights from torch's global generator."""
        from transformers import BertConfig, BertForMaskedLM
        from transformers.activations import ACT2FN

        if self.hidden_act not in ACT2FN:
            raise InputError(f"{CONFIG} names an activation {self.hidden_act!r} that transformers does not know")
        if self.hidden_size % self.num_attention_heads:
            raise InputError(f"a width of {self.hidden_size} cannot be shared by {self.num_attention_heads} heads")
        options: dict[str, Any] = {**asdict(self), "attn_implementation": "sdpa"}
        return BertForMaskedLM(BertConfig(**options))


@dataclass(frozen=True)
class Dictionaries:
    """What belongs to a model beside its weights; see the head of this file.

    Raises
    ------
    InputError
        If a dictionary holds something else, lacks ``<pad>``, or has one token twice.
    """

    tokens: Mapping[str, int]
    medians: Mapping[str, float]
    names: Mapping[str, str] = field(default_factory=dict)
    mapping: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role, kind in (("tokens", int), ("medians", int | float), ("names", str), ("mapping", str)):
            held = getattr(self, role)
            if not isinstance(held, Mapping) or not all(
                isinstance(key, str) and isinstance(value, kind) for key, value in held.items()
            ):
                raise InputError(f"{FILES[role]} is no dictionary of the published kind; give the published file")
        if sorted(self.tokens.values()) != list(range(len(self.tokens))):
            raise InputError(f"{FILES['tokens']} does not number its tokens 0, 1, 2, ...; give the published file")
        lacking = [token for token in ("<pad>", "<mask>") if token not in self.tokens]
        if lacking or ("<cls>" in self.tokens) != ("<eos>" in self.tokens):
            raise InputError(f"{FILES['tokens']} lacks special tokens ({', '.join(lacking) or '<cls> or <eos>'})")
        bad = next((gene for gene, median in self.medians.items() if not 0 < median < float("inf")), None)
        if bad is not None:
            raise InputError(f"{FILES['medians']}: the median of {bad} is {self.medians[bad]}; it must be positive")

    @property
    def special(self) -> bool:
        """Whether cells begin with ``<cls>`` and end with ``<eos>`` (V2)."""
        return "<cls>" in self.tokens

    @classmethod
    def read(cls, folder: Path) -> Dictionaries | None:
        """Read the dictionaries in `folder`, JSON or pickles, found by their names; None where there are none."""
        paths = {role: _find(folder, stem) for role, stem in FILES.items()}
        if paths["tokens"] is None:
            return None
        if paths["medians"] is None:
            raise InputError(f"{folder} has {paths['tokens'].name} but no {FILES['medians']}; put it there too")
        return cls(**{role: read_dictionary(path) for role, path in paths.items() if path is not None})

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return the dictionaries as they are written."""
        return {role: dict(getattr(self, role)) for role in FILES}


def read_dictionary(path: Path) -> Any:
    """Return a dictionary from a JSON file or a published pickle."""
    refuse_pointer(path)
    if path.suffix != ".json":
        return load_plain(path)
    return read_json(path, way_out="copy or download it again")


def load(
    folder: Path, dictionaries: Dictionaries | Path | None = None
) -> tuple[GeneformerConfig, dict[str, torch.Tensor], Dictionaries]:
    """Read a folder that `write` wrote or a published one.

    Parameters
    ----------
    folder : Path
    dictionaries : Dictionaries or Path, optional
        The dictionaries, or the folder that holds them. By default they are looked for in the folder itself, in the
        three above it (where checkpoints of a training lie), and in each of them where the published repository keeps
        them, in ``geneformer`` and ``geneformer/gene_dictionaries_30m``; then in the geneformer package, if that is
        installed. The ones with as many tokens as the model are taken.

    Raises
    ------
    InputError
        If files are missing or damaged, dictionaries do not fit the model, or weights are missing, left over or of
        another shape than config.json says (all are listed).
    """
    cfg = GeneformerConfig.read(folder)
    held = _dictionaries(folder, cfg, dictionaries)
    return cfg, _checked(cfg, _read_weights(folder), folder), held


def write(folder: Path, cfg: GeneformerConfig, tensors: Mapping[str, torch.Tensor], dictionaries: Dictionaries) -> None:
    """Write config.json, model.safetensors, the dictionaries as JSON and cfg.json, whole or not at all."""
    from importlib.metadata import version

    written_by = {name: version(name) for name in ("cellglass", "transformers", "torch")}
    texts: dict[str, Any] = {
        CONFIG: cfg.to_json(),
        CFG: {"kind": KIND, "layout": 1, "written_by": written_by},
        **{f"{FILES[role]}.json": held for role, held in dictionaries.to_json().items() if held},
    }
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, held in texts.items():
            (temporary / name).write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
        plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in sorted(tensors.items())}
        save_file(plain, temporary / WEIGHTS, metadata={"format": "pt"})


def put_weights(net: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put `tensors`, as `load` returns them, into transformers' network; without a head among them its own goes."""
    if not has_head(tensors):
        net.cls = torch.nn.Identity()
        net.load_state_dict(dict(tensors))
        return
    net.load_state_dict({**tensors, **{name: tensors[source] for name, source in _TIED.items()}})


def has_head(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Say whether the masked-gene head is among the weights."""
    return any(name.startswith(_HEAD) for name in tensors)


def weights_of(net: Any) -> dict[str, torch.Tensor]:
    """Return the weights of transformers' network by name, those that are tied to others left out."""
    return {name: tensor.detach() for name, tensor in net.state_dict().items() if name not in _TIED}


# -- dictionaries ------------------------------------------------------------------------------------------------------


def _find(folder: Path, stem: str) -> Path | None:
    try:
        if not folder.is_dir():
            return None
        held = list(folder.iterdir())
    except OSError:  # a folder above the model that may not be looked into
        return None
    found = sorted(p for p in held if stem in p.stem and p.suffix in (".json", ".pkl", ".pickle"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{folder} holds more than one {stem} ({names}); keep those of the model in a folder alone")
    return found[0] if found else None


def _dictionaries(folder: Path, cfg: GeneformerConfig, given: Dictionaries | Path | None) -> Dictionaries:
    if isinstance(given, Dictionaries):
        sizes, held = [len(given.tokens)], given
    else:
        sizes = []
        for place in _places(folder) if given is None else [Path(given)]:
            found = Dictionaries.read(place)
            if found is not None:
                sizes.append(len(found.tokens))
                held = found
                if sizes[-1] == cfg.vocab_size:
                    break
    if not sizes:
        where = folder if given is None else given
        raise InputError(
            f"{where} holds no {FILES['tokens']} (.json or .pkl); put it and the {FILES['medians']} of the Geneformer "
            "repository there or into the folder above, or give the folder that holds them by dictionaries="
        )
    if sizes[-1] != cfg.vocab_size:
        raise InputError(
            f"{folder}: the model has {cfg.vocab_size} tokens, the dictionary {sizes[-1]}; give the dictionaries of "
            "this model (those of V1 have 25426 tokens, of V2 20275)"
        )
    return held


def _places(folder: Path) -> Iterator[Path]:
    whole = folder.resolve()
    for near in (whole, *whole.parents[:_PARENTS]):
        for place in (near, near / "geneformer"):
            yield place
            yield place / "gene_dictionaries_30m"
    package = find_spec("geneformer")  # not imported
    for installed in (package.submodule_search_locations or ()) if package is not None else ():
        yield Path(installed)
        yield Path(installed) / "gene_dictionaries_30m"


# -- weights -----------------------------------------------------------------------------------------------------------


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights by the names that `BertForMaskedLM` gives them, of a bare encoder too."""
    for name in (WEIGHTS, OLD_WEIGHTS):
        if (folder / name).exists():
            held = read_weights(folder / name)
            break
        if (folder / f"{name}.index.json").exists():
            held = read_sharded(folder / f"{name}.index.json")
            break
    else:
        sharded = any(folder.glob("global_step*")) or (folder / "zero_to_fp32.py").exists()
        way_out = "python zero_to_fp32.py . . makes them" if sharded else "copy or download the whole folder"
        raise InputError(f"{folder} has neither {WEIGHTS} nor {OLD_WEIGHTS}; {way_out}")
    if any(".lora_A." in name for name in held):
        raise InputError(f"{folder} holds an adapter (LoRA); put it in with peft's merge_and_unload() and save that")
    if _EMBEDDING.removeprefix("bert.") in held:
        held = {f"bert.{name}" if name.startswith(_ENCODER) else name: tensor for name, tensor in held.items()}
    return held


def _checked(cfg: GeneformerConfig, held: dict[str, torch.Tensor], folder: Path) -> dict[str, torch.Tensor]:
    """Return the float32 weights that the network takes; InputError lists what is missing, left over or misshapen."""
    wrong = []
    for name, source in _TIED.items():
        alias = held.pop(name, None)
        if alias is not None and not torch.equal(held.setdefault(source, alias), alias):
            wrong.append(f"{name} differs from {source}, with which it is one")
    heads, unused = leave_out(held, _UNREAD), leave_out(held, _UNUSED)
    without = [] if has_head(held) else ["no masked-gene head is there, so the model predicts no genes"]
    if heads:
        say_unread(folder, (*heads, *unused, *without))
    elif unused or without:
        log.info("%s: %s", folder, "; ".join([f"left out {', '.join(unused)}", *without] if unused else without))
    needed = _shapes(cfg, head=has_head(held))
    for what, names in (("missing", needed.keys() - held.keys()), ("left over", held.keys() - needed.keys())):
        if names:
            wrong.append(f"{what}: {', '.join(sorted(names))}")
    shapes = [
        f"{name} is {list(held[name].shape)}, not {list(shape)}"
        for name, shape in sorted(needed.items())
        if name in held and tuple(held[name].shape) != shape
    ]
    if wrong or shapes:
        what = "; ".join(wrong + shapes)
        raise InputError(f"{folder}: the weights do not fit {CONFIG} ({what}); copy or download the model again")
    return dict(sorted(held.items()))


def _shapes(cfg: GeneformerConfig, *, head: bool) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight of transformers' `BertForMaskedLM`, tied ones once, or of its encoder alone."""
    wide, inner = cfg.hidden_size, cfg.intermediate_size
    embeddings, predictions = "bert.embeddings", "cls.predictions"
    found: dict[str, tuple[int, ...]] = {
        _EMBEDDING: (cfg.vocab_size, wide),
        f"{embeddings}.position_embeddings.weight": (cfg.max_position_embeddings, wide),
        f"{embeddings}.token_type_embeddings.weight": (cfg.type_vocab_size, wide),
        **({f"{predictions}.bias": (cfg.vocab_size,)} if head else {}),
    }
    linear = {f"{predictions}.transform.dense": (wide, wide)} if head else {}
    norms = [f"{embeddings}.LayerNorm", *([f"{predictions}.transform.LayerNorm"] if head else [])]
    for i in range(cfg.num_hidden_layers):
        layer = f"bert.encoder.layer.{i}"
        linear |= {f"{layer}.attention.self.{part}": (wide, wide) for part in ("query", "key", "value")}
        linear |= {
            f"{layer}.attention.output.dense": (wide, wide),
            f"{layer}.intermediate.dense": (inner, wide),
            f"{layer}.output.dense": (wide, inner),
        }
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, shape in linear.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        found |= {f"{name}.weight": (wide,), f"{name}.bias": (wide,)}
    return found
