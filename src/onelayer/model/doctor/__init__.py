"""The gradient doctor: which wrong formula gave these numbers? See docs/doctor.md.

Three parts: the questions (`points`, `questions`), the calls (`conventions`), and the verdicts
(`laws`, `formulas`, `patterns`, `diagnosis`). Code under test runs only in the calls, and only
arrays come back from it.
"""
