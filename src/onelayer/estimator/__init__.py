"""The scikit-learn interface: a classifier and a search over its settings."""
