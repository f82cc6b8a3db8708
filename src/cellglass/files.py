"""Files are written whole or not at all: to a temporary name beside the target, synced, then renamed.

JSON is read, or refused in one line. A folder that is being written can be locked.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cellglass.errors import InputError, one_line

LOCK = ".lock"
"""Name of the file that `locked` leaves in a folder."""
JOB = "job.json"
"""Name of the file that says which job the work in a folder is of."""
_TEMPORARY = ".writing-"
_LFS = b"version https://git-lfs.github.com/spec/"


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `target`, for a file or a folder; on success it takes the target's place.

    If the block fails or the process is killed, `target` is as it was; a leftover begins with ``.writing-``.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{_TEMPORARY}{os.getpid()}-{target.name}"
    _remove(temporary)
    try:
        yield temporary
        _sync(temporary)
        if target.is_dir() and not target.is_symlink():
            # A folder cannot be replaced in one step: the old one steps aside first.
            aside = target.parent / f"{_TEMPORARY}{os.getpid()}-old-{target.name}"
            _remove(aside)
            target.rename(aside)
            temporary.rename(target)
            _remove(aside)
        else:
            temporary.replace(target)
    finally:
        _remove(temporary)


def link_or_copy(source: Path | str, target: Path | str) -> None:
    """Put a file or a folder at `target` too, whole or not at all; no bytes are copied where the disk knows links.

    Both are one on disk, so neither may be written to in place afterwards.
    """
    source = Path(source)
    with atomic_path(target) as temporary:
        if source.is_dir():
            shutil.copytree(source, temporary, copy_function=_link)
        else:
            _link(source, temporary)


def _link(source: Path | str, target: Path | str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk without links, or one whose files may have no more of them
        shutil.copy2(source, target)


def is_lfs_pointer(path: Path | str) -> bool:
    """Say whether a file is what Git leaves in the place of a large one where git-lfs did not fetch it."""
    with Path(path).open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def remove_leftovers(folder: Path | str) -> None:
    """Remove what killed writers left under `folder`."""
    for leftover in sorted(Path(folder).rglob(f"{_TEMPORARY}*")):
        _remove(leftover)


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Keep others out of `folder`, which is made, while the block runs; the lock goes with the process.

    Raises
    ------
    InputError
        Another `what`, such as a run, is at work on it.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another {what} is at work on {folder}; wait for it, or choose another folder") from None
    try:
        yield
    finally:
        lock.release()


def take_folder(folder: Path, job: str, what: str) -> None:
    """Take a folder for a job, or go on with the same one; it is noted in the folder, which is made.

    Parameters
    ----------
    folder
    job
        What tells jobs apart, such as the sha256 of all that the work depends on.
    what
        The work, in words: "the trace of a class".

    Raises
    ------
    InputError
        The folder holds the work of another job.
    """
    found = noted_job(folder)
    if found is None:
        with atomic_path(folder / JOB) as temporary:
            temporary.write_text(json.dumps({"job": job}) + "\n", encoding="utf-8")
    else:
        check_job(folder, found, job, what)


def noted_job(folder: Path) -> str | None:
    """Return the job that `take_folder` noted in a folder, or None; InputError where the note cannot be read."""
    if not (folder / JOB).exists():
        return None
    held = read_json(folder / JOB, way_out=f"remove {folder}")
    return str(held.get("job")) if isinstance(held, dict) else str(held)


def check_job(folder: Path, found: str | None, job: str, what: str) -> None:
    """Raise InputError where the job that was found in a folder is another than the one that is asked for."""
    if found != job:
        raise InputError(
            f"{folder}: holds {what} of other cells, another model or question, or other settings; remove it, or "
            "choose another folder"
        )


def sha256(path: Path | str) -> str:
    """Return the sha256 of a file, or of a folder: of its files' relative names and contents, in order of name."""
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    else:
        with path.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def read_json(path: Path | str, *, way_out: str, missing: str | None = None) -> Any:
    """Return what a JSON file holds.

    Parameters
    ----------
    path : path
    way_out : str
        What to do about a file that is damaged.
    missing : str, optional
        The whole message where there is no such file; without it, it cannot be read.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, or it holds no JSON.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        if missing is not None and isinstance(error, FileNotFoundError | NotADirectoryError):
            raise InputError(missing) from None
        raise InputError(f"{path} cannot be read ({error.strerror}); {way_out}") from error
    return parse_json(content, path, way_out=way_out)


def parse_json(content: bytes, place: object, *, way_out: str) -> Any:
    """Return what JSON holds that was read from `place`; InputError where it is none."""
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} cannot be read as JSON ({one_line(error)}); {way_out}") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
