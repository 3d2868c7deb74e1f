"""One reader for each format of files; registry.py knows which one suits a path."""
