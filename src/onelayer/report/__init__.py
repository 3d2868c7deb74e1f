"""Stored results to figures, tables and a page; never trains."""
