import subprocess
import sys

import pytest

from gaitbench import __version__
from gaitbench.__main__ import RUNS, TOOLS, guarded, run
from gaitbench.errors import InputError

HEAVY = ("torch", "pandas", "pytorch_lightning", "numpy", "matplotlib")


def loaded_by(statement: str) -> tuple[str, list[str]]:
    """What a fresh interpreter prints, and the heavy packages it has loaded by the end."""
    program = f"{statement}\nimport sys\nprint('loaded', *(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    *printed, last = done.stdout.splitlines()
    return "\n".join(printed), last.split()[1:]


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["--version"], __version__), ([], "usage: gaitbench"), (["nonsense"], "")],
)
def test_answers_that_need_nothing_load_nothing(words: list[str], expected: str) -> None:
    printed, loaded = loaded_by(f"from gaitbench.__main__ import run; run({words!r})")
    assert expected in printed
    assert loaded == []


def test_importing_the_package_loads_nothing() -> None:
    assert loaded_by("import gaitbench")[1] == []


def test_list_of_commands_names_each(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["-h"], ["--help"]):
        assert run(words) == 0
        shown = capsys.readouterr().out
        for name, text in {**RUNS, **TOOLS}.items():
            assert f"  {name} " in shown
            assert text in shown


def test_unknown_command_is_refused_with_those_that_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["fitt", "--config", "x.yaml"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "gaitbench: error: command 'fitt' is unknown; choose fit, validate, test, predict, "
        "synthesize, extract, pipeline, embed, bench, export, identify, evaluate, compare, report, "
        "matrix, report-data, animate, import-checkpoint\n"
    )


def test_users_mistake_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    def mistaken() -> None:
        raise InputError("poses.csv line 3: x is 'a'; mend it")

    assert guarded(mistaken) == 2
    assert capsys.readouterr().err == "gaitbench: error: poses.csv line 3: x is 'a'; mend it\n"


def test_stopping_by_hand_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    assert guarded(stopped) == 130
    assert capsys.readouterr().err == "gaitbench: stopped\n"


def test_errors_of_the_program_are_not_hidden() -> None:
    def wrong() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        guarded(wrong)


def test_words_of_the_process_are_taken_where_none_are_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gaitbench", "--version"])
    assert run() == 0
    assert capsys.readouterr().out == f"gaitbench {__version__}\n"


@pytest.mark.parametrize("command", TOOLS)
def test_each_tool_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: gaitbench {command}" in capsys.readouterr().out


def test_module_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gaitbench", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"gaitbench {__version__}\n"
