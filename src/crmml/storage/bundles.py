"""Bundles as folders of plain files; every file is checked against its hash when it is read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from crmml.atomic import named, reported, write_folder
from crmml.exceptions import BundleError, StorageError
from crmml.scoring.manifest import DIGEST, MANIFEST, check_digest

if TYPE_CHECKING:
    from crmml.scoring.bundle import ScoringBundle


class StoredBundle(Protocol):
    """What storage asks of a bundle: its files."""

    def to_files(self) -> dict[str, bytes]:
        """Return file name to content; ``manifest.json`` holds a ``hashes`` mapping."""
        ...


def save_bundle(bundle: StoredBundle, folder: str | Path, exist_ok: bool = False) -> Path:
    """Store a scoring bundle as a folder of plain files.

    Parameters
    ----------
    bundle : ScoringBundle
        What to store.
    folder : str or Path
        Usually ``models/<name>/<version>``.
    exist_ok : bool, default False
        Whether the same bundle may stand there already. Another one is never replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    StorageError
        If something else stands there already, or the folder cannot be written.
    """
    target, files = Path(folder), bundle.to_files()
    if target.exists() and not exist_ok:
        raise StorageError(
            f"{target} exists already; set exist_ok to store the same bundle again, or name "
            "another folder"
        )
    if target.exists() and not (target / MANIFEST).is_file():
        raise StorageError(
            f"{target} exists and holds no bundle ({MANIFEST} is missing); it is left as it is"
        )
    if target.exists() and _contents(_stored_manifest(target)) != _contents(files[MANIFEST]):
        raise StorageError(
            f"{target} holds another bundle, which is left as it is; name another folder"
        )
    write_folder(files, target)
    return target


def shelve_bundle(bundle: StoredBundle, folder: str | Path) -> Path:
    """Store a bundle in a folder or, where another one stands there, beside it.

    Versions come from a registry. When its database was begun anew they start at 1 again, while
    the folders of the earlier one still stand.

    Parameters
    ----------
    bundle : ScoringBundle
        What to store.
    folder : str or Path
        Usually ``models/<name>/<version>``.

    Returns
    -------
    Path
        ``folder``, or ``<folder>-<12 digits>``: the start of the hash of the bundle's contents.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    target, contents = Path(folder), _contents(bundle.to_files()[MANIFEST])
    if target.exists():
        manifest = _stored_manifest(target) if (target / MANIFEST).is_file() else None
        if manifest is None or _contents(manifest) != contents:
            target = target.with_name(f"{target.name}-{contents[:12]}")
    return save_bundle(bundle, target, exist_ok=True)


def _stored_manifest(folder: Path) -> bytes:
    with reported("read", folder):
        return (folder / MANIFEST).read_bytes()


def _contents(manifest: bytes) -> str:
    """Hash of a manifest, which holds those of all other files."""
    return hashlib.sha256(manifest).hexdigest()


def load_bundle(folder: str | Path) -> ScoringBundle:
    """Read a bundle that :func:`save_bundle` wrote, after checking every file.

    Parameters
    ----------
    folder : str or Path
        Usually ``models/<name>/<version>``.

    Returns
    -------
    ScoringBundle

    Raises
    ------
    BundleError
        If the folder holds no bundle, a file is missing or changed, or the format is newer than
        this version of crmml reads.
    """
    from crmml.scoring.bundle import FORMAT_VERSION, ScoringBundle

    return ScoringBundle.from_files(read_bundle_files(folder, newest=FORMAT_VERSION))


def read_bundle_files(folder: str | Path, *, newest: int) -> dict[str, bytes]:
    """Read the files of a stored bundle and check them against their SHA-256 hashes.

    Parameters
    ----------
    folder : str or Path
        The bundle.
    newest : int
        The newest ``format_version`` that the caller understands.

    Raises
    ------
    BundleError
        See :func:`load_bundle`.
    """
    home = Path(folder)
    with named(home):
        there = (home / MANIFEST).is_file()
    if not there:
        raise BundleError(f"no bundle at {home}: {MANIFEST} is missing")
    with reported("read", home):
        manifest_bytes = (home / MANIFEST).read_bytes()
    try:
        manifest = json.loads(manifest_bytes)
        version, hashes = int(manifest["format_version"]), dict(manifest["hashes"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BundleError(
            f"the bundle at {home} is damaged: {MANIFEST} is not a readable manifest "
            f"({error!s:.200})"
        ) from error
    if version > newest:
        written_by = manifest.get("crmml_version", "a newer version")
        raise BundleError(
            f"the bundle at {home} has format {version}, written by crmml {written_by}; "
            f"this crmml reads formats up to {newest}: update crmml"
        )
    if version < 1:
        raise BundleError(f"the bundle at {home} has format {version}; formats begin with 1")
    files = {MANIFEST: manifest_bytes}
    if (home / DIGEST).is_file():
        with reported("read", home / DIGEST):
            files[DIGEST] = (home / DIGEST).read_bytes()
    # a digest that is there counts, also where the manifest was edited to say format 1
    if version > 1 or DIGEST in files:
        check_digest(files, f"the bundle at {home}")
    for name, expected in hashes.items():
        if Path(name).name != name:
            raise BundleError(f"the bundle at {home} names a file outside its folder: {name!r}")
        if not (home / name).is_file():
            raise BundleError(f"the bundle at {home} is damaged: {name} is missing")
        with reported("read", home / name):
            files[name] = (home / name).read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != expected:
            raise BundleError(
                f"the bundle at {home} is damaged: {name} does not match its SHA-256 in {MANIFEST}"
            )
    return files
