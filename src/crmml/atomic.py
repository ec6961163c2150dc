"""Files and folders written whole or not at all.

Every write goes to a hidden sibling first and takes its place in one rename; an exception or an
interrupt removes the sibling and leaves what was there before. A sibling has a random name, is new
(never a link that somebody has laid there) and can be read by its owner only until it is whole.
Its name holds the process that writes, so that what a killed one left is swept by the next.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
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
        why = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot {doing} {path!s:.200}: {why}") from error
    except ValueError as error:
        if "null byte" not in str(error):
            raise
        raise StorageError(f"cannot {doing} {path}: a name holds no zero") from None


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Turn a name that no file can have (too long, with a zero, in a circle) into one sentence."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        circle = isinstance(error, RuntimeError)  # what Python says of links to each other
        other = "its links go round in a circle" if circle else "it holds a zero"
        why = getattr(error, "strerror", None) or other
        shown = str(path).replace("\0", "?")
        raise StorageError(f"no file can be called {shown:.80}: {why.lower()}") from None


# ------------------------------------------------------------------------------- who writes


def owner() -> str:
    """Name this process: a hash of its host, and its number."""
    return f"{_host()}-{os.getpid()}"


@cache
def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def is_dead(name: str) -> bool:
    """Whether the :func:`owner` in a name was a process of this host that is no more.

    Examples
    --------
    >>> is_dead(f"crmml-{owner()}-x"), is_dead("crmml-00000000-1-of-another-host")
    (False, False)
    """
    found = re.search(rf"{_host()}-(\d{{1,9}})(?!\d)", name)
    if found is None or os.name != "posix":  # elsewhere to ask for a process would end it
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is somebody else's
        return False
    return False


def sweep(folder: Path) -> None:
    """Take away what killed processes left half written in a folder, or put it back."""
    for left in sorted(folder.glob(".*")):
        if left.suffix not in (".partial", ".old") or not is_dead(left.name):
            continue
        whole = left.with_name(left.name[1:].rsplit(".", 3)[0])
        if left.suffix == ".old" and not whole.exists():
            os.rename(left, whole)
        elif left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


@cache
def private_folder() -> Path:
    """Return the folder of this process for files that pass, removed when it ends.

    Only its owner can read it. Those of processes that were killed are removed first.
    """
    home = Path(tempfile.gettempdir())
    for left in home.glob(f"crmml-{_host()}-*"):
        if is_dead(left.name) and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)  # that of another user stays
    folder = Path(tempfile.mkdtemp(prefix=f"crmml-{owner()}-"))
    atexit.register(_remove_own, folder, os.getpid())
    return folder


def _remove_own(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a fork leaves the folder of its parent alone
        shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------------- writing


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
        made = _make_folder(path.parent)
        sweep(path.parent)
        partial = _sibling(path, "partial")
        try:
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            yield partial
            _flush(partial)
            partial.chmod(_permissions(path, 0o666))
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                partial.unlink(missing_ok=True)
            for folder in made:
                with suppress(OSError):  # somebody else has written there meanwhile
                    folder.rmdir()
            raise
        _flush_folder(path.parent)


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder; return it and those above it that were not there, the deepest first."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _permissions(path: Path, usual: int) -> int:
    """Return the permissions of what stands there already, else the usual ones of this process."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        mask = os.umask(0o077)  # there is no way to ask for it but to set it
        os.umask(mask)
        return usual & ~mask


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{owner()}.{secrets.token_hex(4)}.{suffix}")


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
        sweep(folder.parent)
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
