"""The code that MLflow runs for a consumer (*models from code*): read the bundle, score, no pickle.

This file is copied into every logged model, with the package beside it, so that a consumer needs
``mlflow`` and the logged requirements and not crmml itself.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class BundleModel(PythonModel):
    """A scoring bundle behind MLflow's ``predict``."""

    def load_context(self, context: Any) -> None:
        """Read and check the bundle that was logged."""
        from crmml.storage.bundles import load_bundle

        self.bundle = load_bundle(context.artifacts["bundle"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Score the customers of some transactions.

        Parameters
        ----------
        context : PythonModelContext
            Not needed after :meth:`load_context`.
        model_input : DataFrame
            Transactions: ``customer_id``, ``timestamp``, ``amount`` and further columns as at
            training, each of which may be left out. Rows of other tables have their name in the
            column ``table`` (:mod:`crmml.scoring.frames`). The cleaning rounds money to cents.
        params : dict, optional
            ``cutoff``: score as of this date, ISO 8601; the cutoff of the training by default.
            ``budget``: allocate it among these customers, instead of asking the stored prices.

        Returns
        -------
        DataFrame
            One row per customer. A missing value is None, which JSON writes as ``null`` (NaN is
            no JSON).
        """
        from crmml.exceptions import ParameterError
        from crmml.scoring.frames import split_tables

        given = dict(params or {})
        cutoff = given.pop("cutoff", None) or self.bundle.manifest.cutoff
        budget = given.pop("budget", None)
        if given:
            raise ParameterError("params", "cutoff and budget: all else is trained", [*given])
        scores: pd.DataFrame = self.bundle.score(split_tables(model_input), cutoff, budget=budget)
        for name in [name for name in scores if scores[name].hasnans]:
            scores[name] = scores[name].astype(object).where(scores[name].notna(), None)
        return scores


set_model(BundleModel())
