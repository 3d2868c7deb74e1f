"""The output of `onelayer doctor`."""

from onelayer.model.doctor.diagnosis import Diagnosis
from onelayer.report.doctor import assumptions, function_table, verdict
from onelayer.report.terminal import plain_console, show_table


def show_diagnosis(diagnosis: Diagnosis) -> None:
    """Print the findings, then a row for each function, then the assumptions."""
    console = plain_console()
    console.print(verdict(diagnosis), soft_wrap=True)
    for finding in diagnosis.findings:
        slip = finding.slip
        console.print(f"\n{slip.code} {finding.where}: {slip.name}", soft_wrap=True)
        found = {"found": finding.found, "right": slip.right, "hint": slip.hint}
        console.print(f"  {slip.sentence}", soft_wrap=True)
        for word, text in found.items():
            if text:
                console.print(f"  {word:<6} {text}", soft_wrap=True)
    show_table(function_table(diagnosis))
    console.print()
    for line in assumptions(diagnosis):
        console.print(line, soft_wrap=True)
