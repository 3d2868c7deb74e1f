"""Data sets from where they are published: archives, verified, in a cache."""
