"""The shelf on which bundles stand; the only room that knows MLflow."""
