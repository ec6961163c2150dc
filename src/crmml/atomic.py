"""Files and folders written whole or not at all.

Every write goes to a hidden sibling first and takes its place in one rename; an exception or an
interrupt removes the sibling and leaves what was there before. A sibling has a random name, is new
(never a link that somebody has laid there) and can be read by its owner only until it is whole.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crmml.exceptions import StorageError


@contextmanager
def reported(doing: str, path: Path) -> Iterator[None]:
    """Turn the operating system's refusal into one sentence."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"cannot {doing} {path}: {error}") from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":  # other systems cannot open a folder, and flush renames themselves
        _flush(folder)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden sibling to write to; it takes the place of ``path`` when all went well.

    Parameters
    ----------
    path : Path
        The file to write; its folder is made if need be.

    Yields
    ------
    Path
        The file to fill. On any exception, an interrupt included, it is removed.

    Raises
    ------
    StorageError
        If the folder cannot be written to.
    """
    with reported("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _sibling(path, "partial")
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            yield partial
            _flush(partial)
            partial.chmod(_permissions(path, 0o666))
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)


def _permissions(path: Path, usual: int) -> int:
    """Return the permissions of what stands there already, else the usual ones of this process."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mask = os.umask(0o077)  # there is no way to ask for it but to set it
        os.umask(mask)
        return usual & ~mask


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{suffix}")


def write_folder(files: Mapping[str, bytes], folder: Path) -> None:
    """Write a new folder, or replace one, as a whole.

    Parameters
    ----------
    files : mapping of str to bytes
        Plain file names to contents.
    folder : Path
        Where. A folder that is already there is set aside until the new one stands.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    with reported("write", folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial, aside = _sibling(folder, "partial"), _sibling(folder, "old")
        partial.mkdir(mode=0o700)
        try:
            for name, content in files.items():
                (partial / name).write_bytes(content)
                _flush(partial / name)
            partial.chmod(_permissions(folder, 0o777))
            _flush_folder(partial)
            if folder.exists():
                os.rename(folder, aside)
            os.rename(partial, folder)
        except BaseException:
            if aside.exists() and not folder.exists():
                os.rename(aside, folder)
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(aside, ignore_errors=True)
        _flush_folder(folder.parent)
