"""Contracts as the base that is scored, in the place of the snapshot of a log."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from crmml.data.tables import Tables
from crmml.exceptions import CrmmlError
from crmml.features.contracts import Contracts
from crmml.scoring.contracts import ContractRisk
from crmml.scoring.predictors import Predictor


def contract_risk(predictors: Sequence[Predictor]) -> ContractRisk:
    """Return the predictor of contracts: it knows how they are to be looked at.

    Raises
    ------
    CrmmlError
        If there is none.
    """
    for predictor in predictors:
        if isinstance(predictor, ContractRisk):
            return predictor
    raise CrmmlError("a bundle of contracts needs the predictor of contracts; it has none")


def build_contract_base(
    predictors: Sequence[Predictor], tables: Tables, cutoff: pd.Timestamp
) -> Contracts:
    """Take the contracts that are active at a cutoff, by the settings of the training.

    Raises
    ------
    TooLittleDataError
        If none is active.
    """
    return contract_risk(predictors).look(tables, cutoff)
