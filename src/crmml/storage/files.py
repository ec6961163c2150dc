"""The names of 0.1 for storing bundles and scores."""

from crmml.storage.bundles import load_bundle, save_bundle
from crmml.storage.scores import read_scores, write_scores

__all__ = ["load_bundle", "read_scores", "save_bundle", "write_scores"]
