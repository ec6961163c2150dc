"""The code that MLflow runs for a consumer (*models from code*): read the bundle, score, no pickle.

This file is copied into every logged model, with the package beside it, so that a consumer needs
``mlflow`` and the logged requirements and not crmml itself.
"""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel


class ScoringError(MlflowException):
    """A refusal that a server answers with: our sentence alone.

    MLflow's server puts the whole input before the message of an exception, which would send rows
    of customers back and into its logs. So the sentence stays what it was.
    """

    def __init__(self, sentence: str, error_code: int) -> None:
        self._sentence = sentence
        super().__init__(sentence, error_code)

    @property
    def message(self) -> str:
        """The sentence."""
        return self._sentence

    @message.setter
    def message(self, longer: str) -> None:
        del longer


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
            training, each of which may be left out; rows of ``subscriptions`` for a bundle of
            contracts alone, of the labelled table, without the outcome, for a model of one. Rows
            of other tables have their name in the column ``table``
            (:mod:`crmml.scoring.frames`). The cleaning rounds money to cents.
        params : dict, optional
            ``cutoff``: score as of this date, ISO 8601; the cutoff of the training by default.
            ``budget``: allocate it among these customers, instead of asking the stored prices.
            ``lang``: language of the reasons, ``en`` or ``fa``.

        Returns
        -------
        DataFrame
            One row per customer. A missing value is None, which JSON writes as ``null`` (NaN is
            no JSON).

        Raises
        ------
        ScoringError
            If the rows or the cutoff break a rule: MLflow's own exception, with our sentence.
        """
        from crmml.exceptions import CrmmlError

        try:
            return self._score(model_input, params or {})
        except CrmmlError as error:
            raise ScoringError(str(error), INVALID_PARAMETER_VALUE) from None
        except Exception as error:
            logging.getLogger("crmml").exception("scoring failed")
            sentence = f"scoring failed ({type(error).__name__}); the log of the server has more"
            raise ScoringError(sentence, INTERNAL_ERROR) from None

    def _score(self, rows: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        from crmml.exceptions import ParameterError
        from crmml.scoring.bases import main_table
        from crmml.scoring.frames import split_tables

        given = dict(params)
        if self.bundle.manifest.kind == "labelled":
            if given:
                raise ParameterError("params", "left out: a labelled table has no time", [*given])
            from crmml.scoring.labelled import id_column

            rows = self._with_ids(rows, id_column(self.bundle.manifest))
            return self._plain(self.bundle.score(rows))
        cutoff = given.pop("cutoff", None) or self.bundle.manifest.cutoff
        budget = given.pop("budget", None)
        lang = given.pop("lang", None) or "en"
        if given:
            raise ParameterError("params", "cutoff, budget and lang: all else is trained", [*given])
        rows = self._with_ids(rows, "customer_id")
        tables = split_tables(rows, main_table(self.bundle.manifest))
        return self._plain(self.bundle.score(tables, cutoff, budget=budget, lang=lang))

    def _with_ids(self, rows: pd.DataFrame, name: str | None) -> pd.DataFrame:
        """Return rows whose ids are text, if those of the training were: a file gives numbers."""
        if self.bundle.manifest.id_type != "text" or name is None or name not in rows:
            return rows
        ids = rows[name]
        if not pd.api.types.is_integer_dtype(ids):
            return rows
        return rows.assign(**{name: ids.astype("string").astype(object)})

    @staticmethod
    def _plain(scores: pd.DataFrame) -> pd.DataFrame:
        for name in [name for name in scores if scores[name].hasnans]:
            scores[name] = scores[name].astype(object).where(scores[name].notna(), None)
        return scores


set_model(BundleModel())
