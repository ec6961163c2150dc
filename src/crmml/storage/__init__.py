"""Files: bundles as folders, scores as tables; nothing is ever half written."""
