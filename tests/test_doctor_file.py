"""`onelayer doctor`: a student's file runs in a sandbox, and its mistakes are named."""

import json

import pytest

from onelayer.cli import run
from submissions import ALONE, CLASS, COURSE, GRADIENTS, OTHERS


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def notebook(cells: list[str], end: str = "\n") -> str:
    """Return a notebook of these cells, with such line ends."""
    code = [
        {
            "cell_type": "code",
            "id": f"{n}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": cell.replace("\n", end),
        }
        for n, cell in enumerate(cells)
    ]
    return json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_a_file_with_a_mistake_gets_its_name_first_and_a_page(here, capsys):
    wrong = next(each for each in OTHERS if each.name == "cost a sum beside a mean")
    (here / "my_code.py").write_text(wrong.text.replace("2 * lam * W", "lam * W"), "utf-8")
    assert run(["doctor", "my_code.py", "--html", "diagnosis.html"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("2 of 10 functions wrong: G40, C02, C01, G01\n")
    assert "  found  λW\n  right  2λW\n" in printed
    assert "assumed: ComputeGradients(X, Y, P, W, lam): X D×N, P K×N, W K×D, Y one-hot" in printed
    page = (here / "diagnosis.html").read_text("utf-8")
    assert "factor 2 of λ missing" in page
    assert "relative errors" in page
    assert run(["doctor", "my_code.py", "--html", "diagnosis.html"]) == 2  # the page is there


def test_a_notebook_with_magics_and_windows_line_ends_is_run_up_to_its_functions(here, capsys):
    cells = ["%matplotlib inline\n!pip list\n1 / 0", COURSE, "open('data_batch_1')"]
    (here / "lab.ipynb").write_text(notebook(cells, "\r\n"), "utf-8")
    assert run(["doctor", "lab.ipynb"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("10 functions right\n")
    assert "ZeroDivisionError" in printed


GRADS = "    def gradients(self, upstream):\n        return upstream\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("other.py", "def f(x):\n    return x\n", "expected one such as ComputeGradients"),
        (
            "other.py",
            CLASS[: CLASS.index("    def forward")] + GRADS,
            "it defines Network.gradients",
        ),
        ("broken.py", f"{ALONE}def f(:\n", "no function could be loaded: SyntaxError"),
        ("lacks.py", "import not_there\n", "ModuleNotFoundError"),
        ("code.txt", ALONE, "expected a .py file or a notebook"),
        ("cut.ipynb", '{"cells": [', "cut.ipynb"),
    ],
)
def test_a_file_without_functions_is_told_in_one_line(here, capsys, name, text, said):
    (here / name).write_text(text, "utf-8")
    assert run(["doctor", name]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


def test_lines_that_fail_or_last_are_passed_over(here, capsys):
    lines = "import not_there", "X = open('data_batch_1')", "n = int(input())", "while True: pass"
    (here / "lab.py").write_text("\n".join((*lines, ALONE)), "utf-8")
    assert run(["doctor", "lab.py"]) == 0
    assert "note: some lines of the file fail: lab.py, line 1: Mod" in capsys.readouterr().out


def test_a_folder_and_a_missing_file_are_told(here, capsys):
    assert run(["doctor", "."]) == 2
    assert "a folder; name the .py file" in capsys.readouterr().err
    assert run(["doctor", "nothing.py"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_function_that_never_ends_or_ends_the_process_harms_no_other(here, capsys):
    text = COURSE.replace("    k = Eval", "    import os; os._exit(0)\n    k = Eval")
    (here / "ends.py").write_text(text, "utf-8")
    assert run(["doctor", "ends.py"]) == 1
    assert capsys.readouterr().out.startswith("1 of 10 functions wrong: L01\n")


def test_what_was_planted_is_found_in_the_sandbox_as_here(here, capsys):
    for text, found in (
        (GRADIENTS[15].text, "1 of 1 function wrong: G60"),
        (CLASS.replace(" / Y.shape[1]", ""), "1 of 4 functions wrong: G01"),
    ):
        (here / "code.py").write_text(text, "utf-8")
        assert run(["doctor", "code.py"]) == 1
        assert capsys.readouterr().out.startswith(found)
