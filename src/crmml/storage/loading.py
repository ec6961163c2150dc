"""Load what was saved: a model from its file, a scoring bundle from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crmml.models.files import read_model
from crmml.storage.bundles import load_bundle


def load(path: str | Path) -> Any:
    """Load a model or a scoring bundle.

    Parameters
    ----------
    path : str or Path
        The file that ``model.save(path)`` wrote, or the folder of a bundle.

    Returns
    -------
    Estimator or ScoringBundle
        Equal to what was saved, to the last bit.

    Raises
    ------
    BundleError
        If there is nothing, or it was changed, or its format is newer than this version reads.
    StorageError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from crmml.models import ShiftedBetaGeoModel
    >>> import pandas as pd
    >>> contracts = pd.DataFrame({"customer_id": range(6), "renewals": [0, 0, 1, 2, 4, 4],
    ...                           "ended": [True, True, True, True, False, False]})
    >>> model = ShiftedBetaGeoModel().fit(contracts)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = load(model.save(Path(folder) / "contracts.json"))
    >>> again.params_ == model.params_
    True
    """
    return load_bundle(path) if Path(path).is_dir() else read_model(path)
