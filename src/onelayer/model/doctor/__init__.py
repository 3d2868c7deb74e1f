"""The gradient doctor: which wrong formula gave these numbers? See docs/doctor.md.

What is asked (`points`, `questions`) is apart from how a function is called (`conventions`) and
from who judges (`laws`, `formulas`, `patterns`, `diagnosis`): code under test runs in the middle
alone, and only arrays come back from it.
"""
