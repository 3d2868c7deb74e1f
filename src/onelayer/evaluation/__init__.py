"""Evaluation: accuracies, metrics, intervals, tests and records of trained models."""
