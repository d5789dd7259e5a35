"""However a command ends: one exit code, at most one line on stderr, never a traceback unasked."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from hiddenscape.cli.app import Verb
from hiddenscape.cli.exits import guarded
from hiddenscape.errors import (
    ConfigError,
    DiskFullError,
    MissingDependency,
    NonFiniteError,
    SiteError,
    StoreError,
)


def _command(body: Callable[[], object]) -> click.Command:
    return Verb("try", callback=body)


def _raising(error: BaseException) -> click.Command:
    def body() -> None:
        raise error

    return _command(body)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (StoreError("runs/a: no store here"), 1, "error: runs/a: no store here"),
        (DiskFullError("need 3 bytes, 1 free"), 1, "error: need 3 bytes, 1 free"),
        (SiteError("no site 'x'"), 1, "error: no site 'x'"),
        (NonFiniteError("row 3 holds NaN", rows=[3]), 1, "error: row 3 holds NaN"),
        (MissingDependency("pip install hiddenscape[hf]"), 1, "error: pip install hiddenscape[hf]"),
        (ConfigError("k: got 0"), 2, "error: k: got 0"),
        (StoreError("two\nlines  here"), 1, "error: two lines here"),
        (click.UsageError("bad"), 2, "error: bad (see `hiddenscape --help`)"),
        (click.ClickException("bad"), 1, "error: bad"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 1,
         "error: out: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "out/a"), 1,
         "error: no space left on the device (out/a); what was finished is saved, make room and "
         "run the same command again"),
        (ValueError("odd\nthing"), 1,
         "error: ValueError: odd thing; run again with --debug to see where"),
        (AssertionError(), 1, "error: AssertionError; run again with --debug to see where"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(_raising(error), []) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", line + "\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_exits_130(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(_raising(error), []) == 130
    # click ends the line in which the terminal shows ^C.
    assert capsys.readouterr().err.strip() == (
        "interrupted; what was finished is saved, run the same command again to go on"
    )


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(_raising(StoreError("gone")), ["--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.endswith("\nerror: gone\n")


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3), (1, 1)])
def test_a_verb_may_return_its_code(returned: int | None, code: int) -> None:
    assert guarded(_command(lambda: returned), []) == code


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR2"])
def test_a_stop_signal_exits_75(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(getattr(signal, name))

    def body() -> None:
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(5)

    assert guarded(_command(body), []) == 75
    assert capsys.readouterr().err.startswith("stopped; what was finished is saved")
    assert signal.getsignal(getattr(signal, name)) == before


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\n"
        "from hiddenscape.cli.app import Verb\nfrom hiddenscape.cli.exits import guarded\n"
        "def body():\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n        time.sleep(9)\n"
        "    finally:\n        os.kill(os.getpid(), signal.SIGTERM)\n        time.sleep(9)\n"
        "guarded(Verb('try', callback=body), [])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=30, check=False)
    assert done.returncode == -signal.SIGTERM


def test_a_closed_pipe_is_silent() -> None:
    done = subprocess.run(
        f"{sys.executable} -m hiddenscape.cli cite | head -c 10",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("@article{f", "")


def test_the_environment_is_left_alone(cli: Any) -> None:
    # HF_HOME, HF_HUB_OFFLINE and NO_COLOR are read by the libraries they belong to.
    before = dict(os.environ)
    cli("list", "nonsense")
    cli("--help")
    assert dict(os.environ) == before
