"""Ours against the peers, in one run; see README.md."""
