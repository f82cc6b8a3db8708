"""Saved scVI models: our own folder, and the folder of scvi-tools' ``SCVI.save``, whose pickle is never run.

scvi-tools saves one torch file, model.pt: weights, gene names and its registry of columns and categories. It is read
by torch's restricted reader, which builds tensors and containers and refuses every other name; a few names of NumPy
arrays are added, and pandas tables (the training history) are replaced by a placeholder that keeps nothing.

``save(prefix=)`` puts a word before the file's name. Of a SCANVI the encoder and decoder of counts are read, which are
those of an scVI; its classifier and its second latent space are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pandas as pd
import torch

from cellglass.errors import InputError, listed, one_line
from cellglass.models.folder import CFG, read_cfg, read_tensors
from cellglass.models.scvi.covariates import AnyCovariate, Continuous, Covariate, from_json
from cellglass.models.scvi.net import ScviConfig, ScviNet
from cellglass.models.weights import leave_out, refuse_pointer, say_unread

SCVI_TOOLS_FILE = "model.pt"
OLD_FILES = ("model_params.pt", "attr.pkl")
"""What scvi-tools before 0.15 saved, each with a prefix where one was given."""
KINDS = ("SCVI", "SCANVI")

Parts = tuple[ScviConfig, dict[str, torch.Tensor], pd.DataFrame, list[AnyCovariate]]

_UNREAD = {
    "classifier": "SCANVI's classifier of labels",
    "encoder_z2_z1": "SCANVI's second latent space",
    "decoder_z1_z2": "SCANVI's second latent space",
    "y_prior": "the prior of labels",
    "classifier_groups": "SCANVI's classifier of groups",
    "groups_index": "SCANVI's groups of labels",
}

# scvi-tools' options that this package reads as they are, and those that it needs at one value.
_READ = (
    "n_latent", "n_hidden", "n_layers", "dropout_rate", "dispersion", "gene_likelihood", "use_observed_lib_size",
    "encode_covariates", "deeply_inject_covariates", "use_batch_norm", "use_layer_norm",
)  # fmt: skip
_DEFAULTS = {"n_latent": 10, "n_hidden": 128}
_NEEDED = {
    "latent_distribution": ("normal",),
    "log_variational": (True,),
    "batch_representation": ("one-hot",),
    "use_size_factor_key": (False, None),
    "var_activation": (None,),
    "extra_encoder_kwargs": (None, {}),
    "extra_decoder_kwargs": (None, {}),
}


def saved_in(folder: Path) -> list[Path]:
    """Return the files in `folder` that scvi-tools may have saved: model.pt, and those with a prefix before it."""
    return sorted(folder.glob(f"*{SCVI_TOOLS_FILE}"))


def load(path: Path) -> Parts:
    """Return configuration, state dict, genes and covariates of a saved model; InputError says what is wrong.

    Parameters
    ----------
    path : Path
        A folder, or a file of scvi-tools that was saved with a prefix.
    """
    saved = [path] if path.is_file() else saved_in(path)
    if not saved and any(path.glob(f"*{OLD_FILES[0]}")):
        raise InputError(
            f'{path} was saved by scvi-tools before 0.15; convert it with: python -c "import scvi; '
            f"scvi.model.SCVI.convert_legacy_save('{path}', '{path}-converted')\""
        )
    if len(saved) > 1:
        raise InputError(
            f"{path} holds several models ({listed(one.name for one in saved)}); name the file of one: {saved[0]}"
        )
    parts = _load_scvi_tools(saved[0]) if saved else _load_ours(path)
    cfg, tensors, genes, covariates = parts
    problem = _mismatch(cfg, tensors, genes, covariates)
    if problem:
        raise InputError(f"{path}: weights and configuration do not fit ({problem}); copy or save the model again")
    return parts


def _load_ours(folder: Path) -> Parts:
    cfg = read_cfg(folder, "scvi")
    try:
        network = ScviConfig.from_dict(cfg["network"])
        genes = pd.DataFrame({"symbol": cfg["symbols"]}, index=pd.Index(cfg["genes"]))
        covariates = [from_json(held) for held in cfg["covariates"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / CFG} is damaged or of a newer version ({error}); save it again") from None
    return network, read_tensors(folder), genes, covariates


def _load_scvi_tools(path: Path) -> Parts:
    saved = _read_restricted(path)
    if isinstance(saved, Mapping) and "attr_dict" not in saved:
        raise InputError(
            f"{path} is no model that scvi-tools 1.x saved: it holds {listed(saved, 3)}; if it is a scGPT, its "
            "args.json and vocab.json belong beside it"
        )
    try:
        attributes = saved["attr_dict"]
        registry, options = attributes["registry_"], _options(attributes["init_params_"])
        names = [str(name) for name in saved["var_names"]]
        _refuse_unsupported(path, registry, options)
        continuous, categorical = _covariates(registry["field_registries"])
        values = {**_DEFAULTS, **{name: options[name] for name in _READ if name in options}}
        cfg = ScviConfig(
            n_genes=len(names),
            categories=tuple(c.width for c in categorical),
            continuous=len(continuous),
            **values,
        )
        state = saved["model_state_dict"]
        tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no model that scvi-tools 1.x saved ({type(error).__name__}: {error}); load it in scvi-tools "
            "and save it again"
        ) from None
    unread = leave_out(tensors, _UNREAD)
    if unread:
        say_unread(path, tuple(unread))
    return cfg, tensors, pd.DataFrame({"symbol": names}, index=pd.Index(names)), [*continuous, *categorical]


def _options(init: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(init["non_kwargs"])
    for more in init["kwargs"].values():
        options.update(more)
    return options


def _refuse_unsupported(path: Path, registry: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    name = registry.get("model_name", "SCVI")
    if name not in KINDS:
        raise InputError(f"{path} holds a {name} model; cellglass reads {' and '.join(KINDS)} models of scvi-tools")
    size_factors = registry.get("setup_args", {}).get("size_factor_key")
    if size_factors:
        raise InputError(
            f"{path}: the model uses size factors ({size_factors}), which cellglass does not support; fit one without"
        )
    for option, allowed in _NEEDED.items():
        if option in options and options[option] not in allowed:
            raise InputError(
                f"{path}: the model was made with {option}={options[option]!r}, which cellglass does not support; "
                f"fit one with {option}={allowed[0]!r}"
            )


def _covariates(fields: Mapping[str, Any]) -> tuple[list[Continuous], list[Covariate]]:
    """Return the continuous covariates, and the batch with the categorical ones."""
    batch = fields["batch"]["state_registry"]
    categorical = [_covariate(batch["original_key"], batch["categorical_mapping"])]
    more = fields.get("extra_categorical_covs", {}).get("state_registry", {})
    categorical += [_covariate(key, more["mappings"][key]) for key in more.get("field_keys", ())]
    numbers = fields.get("extra_continuous_covs", {}).get("state_registry", {})
    return [Continuous(str(column)) for column in numbers.get("columns", ())], categorical


def _covariate(column: str, categories: Sequence[Any]) -> Covariate:
    return Covariate(str(column), tuple(str(category) for category in categories))


def _mismatch(
    cfg: ScviConfig, tensors: Mapping[str, torch.Tensor], genes: pd.DataFrame, covs: list[AnyCovariate]
) -> str:
    """Return what does not fit, or an empty string."""
    numbers, widths = covs[: cfg.continuous], [c.width for c in covs[cfg.continuous :]]
    if not all(isinstance(c, Continuous) for c in numbers) or len(numbers) < cfg.continuous:
        return f"{len(numbers)} continuous covariates"
    if len(genes) != cfg.n_genes or tuple(widths) != cfg.categories[: len(widths)]:
        return f"{len(genes)} genes and covariates of {widths} categories"
    try:
        net = ScviNet(cfg, tensors)
        with torch.no_grad():
            covariates = torch.zeros(1, cfg.n_covariates)
            h = net.encoder[0].linear(torch.zeros(1, cfg.n_genes), covariates)
            z = net.mean(net.hidden(net.encoder, h, covariates, cfg.n_layers - 1))
            h = net.decoder[0].linear(z, covariates)
            shares = net.shares(net.hidden(net.decoder, h, covariates, cfg.n_layers - 1))
    except KeyError as error:
        return f"there is no {error}"
    except RuntimeError as error:
        return one_line(error)
    found = (z.shape[1], h.shape[1], shares.shape[1])
    return "" if found == (cfg.n_latent, cfg.n_hidden, cfg.n_genes) else f"their widths are {found}"


# -- the restricted reader ---------------------------------------------------------------------------------------------


class _Forgotten:
    """Stands for a pandas table in a saved training history: takes what it is given and keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Forgotten:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _read_restricted(path: Path) -> Any:
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    refuse_pointer(path)
    try:
        tables = [name for name in get_unsafe_globals_in_checkpoint(path) if name.startswith("pandas.")]
        with safe_globals([*_array_names(), *((_Forgotten, name) for name in tables)]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise InputError(f"{path} is refused: {_reason(error)}. Only weights and arrays are read, code never") from None
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}); copy or save it again") from None


def _array_names() -> list[Any]:
    rebuild, scalar = np._core.multiarray._reconstruct, np._core.multiarray.scalar
    # NumPy 1 wrote numpy.core where NumPy 2 writes numpy._core.
    functions = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("_core", "core")
        for function, name in ((rebuild, "_reconstruct"), (scalar, "scalar"))
    ]
    kinds = [
        type(np.dtype(kind)) for kind in ("O", "U", "S", "?", "i1", "i2", "i4", "i8", "u1", "u4", "u8", "f4", "f8")
    ]
    # torch's reader fills only plain dicts, so the registry's defaultdict becomes one.
    return [np.ndarray, np.dtype, *kinds, *functions, (_plain_dict, "collections.defaultdict"), dict, bytes, slice]


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _reason(error: Exception) -> str:
    """Return what torch's restricted reader objected to, in one line."""
    import re

    found = re.search(r"(?:GLOBAL|[Gg]lobal|function|class) `?([\w.]+\.[\w.]+)", str(error))
    return f"it would run {found.group(1)}" if found else "it holds more than weights and arrays"
