"""What to do about it: catalogue, net gain, allocation, control group, recommendation."""

from crmml.actions.allocation import Allocation, Prices, Tie, allocate, apply_prices, budget_curve
from crmml.actions.catalogue import Action, ActionCatalogue, CatalogueError, SaveRate
from crmml.actions.contacts import ContactLimit, ContactMemory
from crmml.actions.economics import NetGains, Stakes, compute_net_gains
from crmml.actions.expressions import Expression, ExpressionError
from crmml.actions.holdout import Holdout, assign_holdout
from crmml.actions.recommendation import Recommendation, recommend

__all__ = [
    "Action",
    "ActionCatalogue",
    "Allocation",
    "CatalogueError",
    "ContactLimit",
    "ContactMemory",
    "Expression",
    "ExpressionError",
    "Holdout",
    "NetGains",
    "Prices",
    "Recommendation",
    "SaveRate",
    "Stakes",
    "Tie",
    "allocate",
    "apply_prices",
    "assign_holdout",
    "budget_curve",
    "compute_net_gains",
    "recommend",
]
