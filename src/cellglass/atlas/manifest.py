"""The manifest of an atlas: which stages ran, from what, and the sha256 of what they wrote; replaced atomically.

    {"schema_version": 1, "cellglass_version": "0.1.0", "created": "2026-01-31T12:00:00+00:00", "seed": 0,
     "versions": {library: version}, "config": {...},
     "stages": {name: {"fingerprint", "state": "done" | "running", "seconds", "outputs": {relative path: sha256}}}}

``created`` and ``seconds`` are the only things in an atlas that two equal runs do not share.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cellglass._version import __version__
from cellglass.atlas import schema
from cellglass.errors import InputError
from cellglass.files import atomic_path, sha256

LIBRARIES = (
    "anndata",
    "decoupler",
    "numpy",
    "pandas",
    "scanpy",
    "scikit-learn",
    "scipy",
    "scvi-tools",
    "torch",
    "zarr",
)


def new_manifest(seed: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of an atlas that has no stages yet."""
    return {
        "schema_version": schema.SCHEMA_VERSION,
        "cellglass_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": int(seed),
        "versions": {name: found for name in LIBRARIES if (found := _version(name)) is not None},
        "config": dict(config),
        "stages": {},
    }


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """Return the checked manifest of the atlas in `folder`; InputError says what the folder is instead."""
    folder = Path(folder)
    place = folder / schema.MANIFEST
    if not folder.exists():
        raise InputError(f"{folder}: there is no such folder; name the folder that `cellglass run --out` wrote")
    if not folder.is_dir():
        raise InputError(
            f"{folder}: an atlas is a folder and this is a file; name the folder that `cellglass run` wrote"
        )
    if not place.is_file():
        raise InputError(
            f"{folder}: there is no {schema.MANIFEST} in it, so it is no cellglass atlas; name another folder"
        )
    try:
        manifest = json.loads(place.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(
            f"{place}: it cannot be read ({type(error).__name__}); run the same command again into an empty folder"
        ) from error
    return schema.check_manifest(manifest, folder)


def write_manifest(folder: Path | str, manifest: Mapping[str, Any]) -> Path:
    """Replace the manifest of the atlas in `folder`."""
    target = Path(folder) / schema.MANIFEST
    schema.check_manifest(manifest, folder)
    with atomic_path(target) as temporary:
        temporary.write_text(
            json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
    return target


def artefact_digest(path: Path | str) -> str:
    """Return the sha256 by which artefacts are compared.

    It is of the bytes, since the writers write the same content as the same bytes.
    """
    return sha256(path)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
