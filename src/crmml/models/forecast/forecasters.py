"""All forecasters by their names, for whoever compares them: the candidates of a backtest."""

from crmml.models.forecast.blend import BlendForecaster
from crmml.models.forecast.boosted import BoostedForecaster
from crmml.models.forecast.forecaster import Forecaster, in_order
from crmml.models.forecast.heuristic import HeuristicForecaster, OwnMeanSpend
from crmml.models.forecast.hybrid import HybridForecaster
from crmml.models.forecast.process import ProcessForecaster

__all__ = [
    "BlendForecaster",
    "BoostedForecaster",
    "Forecaster",
    "HeuristicForecaster",
    "HybridForecaster",
    "OwnMeanSpend",
    "ProcessForecaster",
    "in_order",
]
