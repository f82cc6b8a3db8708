"""The manifest of an atlas: which stages ran, from what, and the sha256 of what they wrote; replaced atomically.

    {"schema_version": 1, "cellglass_version": "0.1.0", "created": "2026-01-31T12:00:00+00:00", "seed": 0,
     "versions": {library: version}, "config": {...},
     "encodings": {"evaluation.json": {"encoding-type": "cellglass.evaluation", "encoding-version": "1.0.0"}},
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
from cellglass.atlas.reading import AGAIN
from cellglass.errors import InputError
from cellglass.files import atomic_path, read_json, sha256

LIBRARIES = (
    "anndata",
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
        "encodings": _encodings(),
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
    manifest = read_json(place, way_out="run the same command again into an empty folder")
    return check_manifest(manifest, folder)


def write_manifest(folder: Path | str, manifest: Mapping[str, Any]) -> Path:
    """Replace the manifest of the atlas in `folder`; it states the encodings of parts that have no place for theirs."""
    target = Path(folder) / schema.MANIFEST
    check_manifest(manifest, folder)
    content = {**manifest, "encodings": _encodings()}
    with atomic_path(target) as temporary:
        temporary.write_text(
            json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
    return target


def check_manifest(manifest: object, place: object) -> dict[str, Any]:
    """Return the manifest if this version of cellglass can read its atlas, else raise InputError.

    A manifest without ``schema_version`` belongs to some other program; a larger one to a newer cellglass.
    """
    if not isinstance(manifest, dict) or not isinstance(manifest.get("schema_version"), int):
        raise InputError(
            f"{place}: {schema.MANIFEST} has no schema_version, so this is no cellglass atlas; name another folder"
        )
    version = manifest["schema_version"]
    if version > schema.SCHEMA_VERSION:
        raise InputError(
            f"{place}: the atlas has schema version {version} and this cellglass reads up to "
            f"{schema.SCHEMA_VERSION}; update with: pip install -U cellglass"
        )
    if not isinstance(manifest.get("stages"), dict):
        raise InputError(f"{place}: {schema.MANIFEST} has no stages; {AGAIN}")
    for name, stage in manifest["stages"].items():
        if not isinstance(stage, dict) or stage.get("state") not in schema.STAGE_STATES:
            raise InputError(f"{place}: {schema.MANIFEST}: stage {name!r} has no state; {AGAIN}")
    return manifest


def unfinished_stages(manifest: Mapping[str, Any]) -> list[str]:
    """Return the names of the stages that have begun and have not ended."""
    return [name for name, stage in manifest["stages"].items() if stage["state"] != "done"]


def outputs_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return relative path -> sha256 of every part that the stages that are done have written."""
    found: dict[str, str] = {}
    for stage in manifest["stages"].values():
        if stage["state"] == "done":
            found.update(stage.get("outputs", {}))
    return found


def artefact_digest(path: Path | str) -> str:
    """Return the sha256 by which artefacts are compared.

    It is of the bytes, since the writers write the same content as the same bytes.
    """
    return sha256(path)


def stated_encoding(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what the manifest says of the encoding of the part called `name`; nothing where it says nothing."""
    encodings = manifest.get("encodings")
    stated = encodings.get(name) if isinstance(encodings, Mapping) else None
    return stated if isinstance(stated, Mapping) else {}


def _encodings() -> dict[str, dict[str, str]]:
    """Return the encodings of parts that have no place for theirs."""
    return {
        name: dict(zip(schema.ENCODING_KEYS, encoding, strict=True)) for name, encoding in schema.JSON_ENCODINGS.items()
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
