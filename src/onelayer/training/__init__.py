"""A stack of models trained in one pass."""
