"""What is known of a kind of model before it is imported: how its folders are told, its sites, how it is fitted.

A kind is one entry in the registry of models (``registry.py``). Another package adds one by an entry point of the group
``cellglass.models``. Imports no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellglass.errors import InputError
from cellglass.files import read_json
from cellglass.progress import Progress, silent

if TYPE_CHECKING:
    from cellglass.cells import Cells
    from cellglass.models.base import CellModel


def _never(_folder: Path) -> bool:
    return False


@dataclass(frozen=True)
class FitConfig:
    """How a model is fitted to cells; None takes what the kind needs.

    Attributes
    ----------
    layers, width, epochs : int, optional
        Size of the network, and passes over the cells.
    genes, latent : int, optional
        Highly variable genes that the model reads, and width of its latent space, where the kind has such.
    batch : str, optional
        Column of obs with the batch, where the kind takes a covariate.
    seed : int
    checkpoint : Path, optional
        A file from which a killed fit goes on to the same weights.
    progress : Progress
        Told how far the fit is.
    """

    layers: int | None = None
    width: int | None = None
    epochs: int | None = None
    genes: int | None = None
    latent: int | None = None
    batch: str | None = None
    seed: int = 0
    checkpoint: Path | None = None
    progress: Progress = silent

    def options(self, *names: str, **renamed: str) -> dict[str, Any]:
        """Return the settings called `names` that are not None; ``new="old"`` gives setting `old` the name `new`."""
        wanted = {**{name: name for name in names}, **renamed}
        return {new: getattr(self, old) for new, old in wanted.items() if getattr(self, old) is not None}


@dataclass(frozen=True)
class Fitting:
    """How a kind is fitted to a user's cells.

    Attributes
    ----------
    fit : callable, (Cells, FitConfig) -> CellModel
    sites : callable, FitConfig -> sequence of str
        Names of the sites that the model will have, the default first: a run that takes minutes to fit a model should
        refuse a wrong site at once.
    defaults : mapping of str to int
        The settings of `FitConfig` that the kind reads, with their defaults; None where it depends on the cells.
    takes_batch : bool
        Whether it takes a covariate.
    one_thread : bool
        Whether two threads only get in each other's way.
    """

    fit: Callable[[Cells, FitConfig], CellModel]
    sites: Callable[[FitConfig], Sequence[str]]
    defaults: Mapping[str, int | None]
    takes_batch: bool = False
    one_thread: bool = False


@dataclass(frozen=True)
class ModelKind:
    """A kind of model.

    Attributes
    ----------
    name : str
        As in the ``kind`` of a saved model.
    title : str
        As people write it; of ours as in `cellglass.vocabulary.TITLES`.
    load : callable, Path -> CellModel
        Reads a saved or published folder.
    takes_file : bool
        Whether it reads a file of weights too, with what lies beside it, where a folder holds several.
    recognises : callable, Path -> bool
        Whether a folder without cfg.json of ours holds such a model as its authors publish it.
    transformers_types : tuple of str
        The ``model_type`` in the config.json of transformers that such a folder has.
    read_back : bool
        Whether `load` makes the model from its folder alone, without its author's code.
    fitting : Fitting, optional
        None where it cannot be fitted.
    """

    name: str
    title: str
    load: Callable[[Path], CellModel]
    recognises: Callable[[Path], bool] = field(default=_never)
    transformers_types: tuple[str, ...] = ()
    read_back: bool = True
    takes_file: bool = False
    fitting: Fitting | None = None

    def check_fit(self, config: FitConfig, site: str | None) -> None:
        """Raise InputError if the model that is fitted with `config` will have no `site`, or takes no batch."""
        assert self.fitting is not None, "it was asked whether it can be fitted"  # noqa: S101
        if config.batch is not None and not self.fitting.takes_batch:
            raise InputError(
                f"batch is {config.batch!r}, but {self.name} takes no covariate; leave it out (swap partners can be "
                f"matched by it: --match {config.batch})"
            )
        known = self.fitting.sites(config)
        if site is not None and site not in known:
            raise InputError(f"the {self.name} model has no site {site!r}; its sites are: {', '.join(known)}")


def transformers_type(folder: Path) -> str | None:
    """Return the ``model_type`` of the config.json of transformers in `folder`, or None where there is none."""
    path = folder / "config.json"
    if not path.exists():
        return None
    config = read_json(path, way_out="copy the folder again")
    return str(config.get("model_type")) if isinstance(config, dict) else str(None)
