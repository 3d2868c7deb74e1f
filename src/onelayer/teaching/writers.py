"""One result in the words of each place where teachers grade.

The fields are those that each place publishes: Gradescope's autograder specification,
PrairieLearn's external grading results, JUnit's XML.
"""

import base64
import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from onelayer.errors import visible
from onelayer.teaching.grading import Graded
from onelayer.teaching.judging import CheckResult
from onelayer.teaching.pages import error_matrix

_LARGEST = 900_000  # bytes that PrairieLearn takes, 1 MB, with room to spare


def gradescope(graded: Graded) -> str:
    """Return what Gradescope reads from /autograder/results/results.json."""
    tests = [
        {
            "name": check.name,
            "score": check.points,
            "max_score": check.max_points,
            "status": "passed" if check.points >= check.max_points else "failed",
            "output": _text(check),
            "tags": list(check.codes),
            "visibility": check.visibility,
        }
        for check in graded.checks
    ]
    return _json(
        {
            "tests": tests,
            "output": "\n".join(graded.notes),
            "visibility": "visible",
            "stdout_visibility": "hidden",
            "execution_time": round(graded.seconds, 2),
            "extra_data": {"diagnoses": list(graded.codes)},
        }
    )


def prairielearn(graded: Graded) -> str:
    """Return what PrairieLearn reads from /grade/results/results.json, pictures included.

    A submission of which nothing could be run is not gradable, and costs no attempt.
    """
    gradable = any(check.lines for check in graded.checks)
    tests = [
        {
            "name": check.name,
            "description": " ".join(check.codes),
            "points": check.points,
            "max_points": check.max_points,
            "output": _text(check) if check.visibility == "visible" else "",
            "images": [_picture(check)] if _is_drawn(check) else [],
        }
        for check in graded.checks
    ]
    told: dict[str, Any] = {
        "gradable": gradable,
        "score": graded.points / graded.max_points if graded.max_points else 0.0,
        "message": f"{graded.points:g} of {graded.max_points:g} points",
        "output": "\n".join(graded.notes),
        "tests": tests,
    }
    if not gradable:
        told["format_errors"] = list(graded.notes)
    if len(text := _json(told)) > _LARGEST:
        for test in tests:
            test |= {"images": [], "output": str(test["output"])[:2000]}
        text = _json(told)
    return text


def _is_drawn(check: CheckResult) -> bool:
    return check.visibility == "visible" and bool(check.errors)


def _picture(check: CheckResult) -> dict[str, str]:
    packed = base64.b64encode(error_matrix(check.errors).encode()).decode("ascii")
    return {
        "label": "relative errors of ∂J/∂W: white is right",
        "url": f"data:image/svg+xml;base64,{packed}",
    }


def junit(graded: Graded) -> str:
    """Return JUnit's XML: a test case for each check, which fails where points are missing."""
    failures = sum(check.points < check.max_points for check in graded.checks)
    suite = ElementTree.Element(
        "testsuite",
        name="onelayer",
        tests=str(len(graded.checks)),
        failures=str(failures),
        errors="0",
        skipped="0",
        time=f"{graded.seconds:.3f}",
    )
    for check in graded.checks:
        case = ElementTree.SubElement(
            suite, "testcase", classname="onelayer", name=check.name, time="0"
        )
        if check.points < check.max_points:
            points = f"{check.points:g} of {check.max_points:g} points"
            words = f"{points}: {' '.join(check.codes)}".rstrip(": ")
            ElementTree.SubElement(case, "failure", message=words).text = visible(_text(check))
    if graded.notes:
        ElementTree.SubElement(suite, "system-out").text = visible("\n".join(graded.notes))
    top = ElementTree.Element("testsuites")
    top.append(suite)
    return ElementTree.tostring(top, encoding="unicode", xml_declaration=True) + "\n"


def _text(check: CheckResult) -> str:
    return "\n".join(check.lines)


def _json(told: dict[str, Any]) -> str:
    return json.dumps(told, indent=1) + "\n"


WRITERS: dict[str, Callable[[Graded], str]] = {
    "gradescope": gradescope,
    "prairielearn": prairielearn,
    "junit": junit,
}
