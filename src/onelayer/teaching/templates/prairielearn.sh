#!/bin/sh
# PrairieLearn runs this for each submission. The code of a student runs in a sandbox.
mkdir -p /grade/results
chmod -R go= /grade/tests  # its secret
exec python3 -m onelayer teach judge /grade/tests/course/course.toml /grade/student \
  --form prairielearn --out /grade/results/results.json \
  --metadata /grade/data/data.json
