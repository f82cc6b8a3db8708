"""Runs stages in order, each once: a stage whose inputs did not change is not run again.

A stage's *fingerprint* is the sha256 of its name, its revision, its settings and the digests of what the stages before
it made. It is written to the manifest with the digests of the stage's own outputs when the stage is finished; at the
next start a stage is passed over if its fingerprint is the same and its outputs are still there, whole. A stage that is
killed leaves its finished *units* (one folder each) under ``work/units`` and goes on from them. One process at a time
works on a folder: the lock goes with the process, however it ends.

The same input gives the same bytes on one machine with the same libraries, whether a run was killed or not; on another
processor the last bits of products differ.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellglass.atlas.manifest import artefact_digest, new_manifest, read_manifest, write_manifest
from cellglass.errors import InputError
from cellglass.files import LOCK, locked, remove_leftovers
from cellglass.pipeline.backends.base import Backend
from cellglass.pipeline.backends.local import Local
from cellglass.pipeline.run import Run
from cellglass.pipeline.stage import Stage, Unit

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"


def run_stages(
    run: Run, stages: Sequence[type[Stage]], backend: Backend | None = None, *, after: Sequence[type[Stage]] = ()
) -> dict[str, Any]:
    """Run `stages` in order into ``run.folder`` and return the manifest.

    Parameters
    ----------
    run
        Where, and what it was told.
    stages
        In order; each reads only what those before it make.
    backend
        Where units are done; this process by default.
    after
        Stages before them, which stay as they are: what they read may be out of reach.

    Raises
    ------
    InputError
        If the folder is in use by another run, or holds something else than an atlas. A folder that this call made is
        removed again if wrong input is found before any stage that takes long is finished. Also if a stage of `after`
        is not finished, or something that it made is gone.
    """
    made = not run.folder.exists()
    check_folder(run.folder)
    opened = [stage(run) for stage in stages]
    settings = {stage.name: stage.settings() for stage in opened}  # finds wrong input before anything is written
    try:
        with locked(run.folder, "run"):
            return _run_stages(run, opened, settings, backend or Local(), after)
    except InputError:
        if made and not _worth_keeping(run.folder, stages):
            shutil.rmtree(run.folder, ignore_errors=True)
        raise


def check_folder(folder: Path) -> None:
    """Raise InputError if `folder` is not a place where an atlas can be written."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --out takes a folder, new or an atlas to go on with")
    parent = next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())
    if not parent.is_dir():
        raise InputError(f"{parent} is a file, so {folder} cannot be made; choose another folder for --out")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{parent} may not be written to, so {folder} cannot be made; choose another folder for --out")
    if folder.is_dir() and not (folder / MANIFEST).exists():
        strangers = [path.name for path in folder.iterdir() if path.name not in (LOCK, "work")]
        if strangers:
            raise InputError(
                f"{folder} holds other files ({sorted(strangers)[0]}, ...) and is no atlas; "
                "choose a new folder for --out"
            )
    if (folder / MANIFEST).exists():
        read_manifest(folder)


def _run_stages(
    run: Run,
    stages: Sequence[Stage],
    settings: Mapping[str, Any],
    backend: Backend,
    after: Sequence[type[Stage]],
) -> dict[str, Any]:
    remove_leftovers(run.folder)
    present = (run.folder / MANIFEST).exists()
    manifest = read_manifest(run.folder) if present else new_manifest(run.config.seed, run.config.as_dict())
    for earlier in after:
        _check_done(run, earlier.name, manifest["stages"].get(earlier.name))
    manifest |= {"seed": run.config.seed, "config": run.config.as_dict()}
    names = [*(stage.name for stage in after), *(stage.name for stage in stages)]
    manifest["stages"] = {name: manifest["stages"][name] for name in names if name in manifest["stages"]}
    for stage in stages:
        before = {need: manifest["stages"][need]["outputs"] for need in stage.needs}
        fingerprint = _fingerprint(stage, settings[stage.name], before)
        run.fingerprints[stage.name] = fingerprint
        _drop_stale_units(run, stage)
        known = manifest["stages"].get(stage.name)
        if known and known["state"] == "done" and known["fingerprint"] == fingerprint and _whole(run, known["outputs"]):
            log.info("%s: nothing changed, passed over", stage.name)
            continue
        if known and known["fingerprint"] != fingerprint:
            log.info("%s: its inputs changed, run again", stage.name)
        manifest["stages"][stage.name] = {"fingerprint": fingerprint, "state": "running", "seconds": 0.0, "outputs": {}}
        write_manifest(run.folder, manifest)
        _run_stage(run, stage, manifest, backend)
    return manifest


def _run_stage(run: Run, stage: Stage, manifest: dict[str, Any], backend: Backend) -> None:
    start = time.monotonic()
    log.info("%s: %s", stage.name, stage.does)
    run.progress(stage.name, 0, 0)
    for path in map(run.path, stage.optional):
        if path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder = run.unit_folder(stage.name)
    units = [Unit(stage, name, folder / name) for name in stage.units()]
    (Local() if stage.in_memory() else backend).run(units, run.progress)
    stage.join({unit.name: unit.folder for unit in units})
    made = [*stage.outputs, *(output for output in stage.optional if run.path(output).exists())]
    record = manifest["stages"][stage.name]
    record["outputs"] = {output: artefact_digest(run.path(output)) for output in made}
    record["seconds"] = round(time.monotonic() - start, 1)
    record["state"] = "done"
    write_manifest(run.folder, manifest)
    run.progress(stage.name, 1, 1)
    shutil.rmtree(folder, ignore_errors=True)


def _fingerprint(stage: Stage, settings: Any, before: Mapping[str, Any]) -> str:
    text = json.dumps([stage.name, stage.revision, settings, before], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _whole(run: Run, outputs: Mapping[str, str]) -> bool:
    """Say whether every output is there with the digest that was noted."""
    return all(run.path(name).exists() and artefact_digest(run.path(name)) == sha for name, sha in outputs.items())


def _check_done(run: Run, name: str, known: Mapping[str, Any] | None) -> None:
    """Raise InputError if a stage is not finished, or what it made is not there; its bytes are not read."""
    again = "run the `cellglass run` that made it again, it goes on from there"
    if not known or known["state"] != "done":
        raise InputError(f"{run.folder}: the stage {name!r} is not finished; {again}")
    gone = next((output for output in known["outputs"] if not run.path(output).exists()), None)
    if gone is not None:
        raise InputError(f"{run.path(gone)} is gone; {again}")


def _drop_stale_units(run: Run, stage: Stage) -> None:
    current = run.unit_folder(stage.name).name
    for folder in run.path("work", "units").glob(f"{stage.name}-*"):
        if folder.name != current:
            shutil.rmtree(folder)


def _worth_keeping(folder: Path, stages: Sequence[type[Stage]]) -> bool:
    """Say whether a stage that takes long is finished."""
    if not (folder / MANIFEST).exists():
        return False
    quick = {stage.name for stage in stages if stage.quick}
    return any(s["state"] == "done" for name, s in read_manifest(folder)["stages"].items() if name not in quick)
