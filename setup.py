"""The one thing that pyproject.toml cannot say: the compiled kernel."""

from setuptools import setup

setup(cffi_modules=["src/onelayer/training/kernel/build.py:builder"])
