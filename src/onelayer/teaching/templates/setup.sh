#!/bin/sh
# Gradescope runs this once, when the autograder is built.
set -e
python3 -m pip install onelayer=={{ version }}
