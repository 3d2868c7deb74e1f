"""Bytes on disk to a Dataset."""
