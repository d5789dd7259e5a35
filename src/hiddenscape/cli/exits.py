"""Exit codes, and how every way to fail becomes one line on stderr.

0 done; 1 failed; 2 usage; 3 finished, but checks failed under ``--strict``; 4 this share is done,
others are missing; 75 stopped by a signal with the work saved; 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from hiddenscape.errors import ConfigError, HiddenscapeError, scrub

__all__ = [
    "CHECKS_FAILED",
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "PARTIAL",
    "STOPPED",
    "USAGE",
    "guarded",
]

DONE, FAILED, USAGE, CHECKS_FAILED, PARTIAL, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 75, 130

_STOP_SIGNALS = ("SIGTERM", "SIGUSR2")


class _Stop(BaseException):
    """A signal asked to stop; not an Exception, so that no handler of errors swallows it."""


def guarded(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a click command and turn whatever happens into an exit code and at most one line."""
    state = {"debug": False}
    try:
        with _stoppable():
            result = command.main(
                args=list(arguments), prog_name="hiddenscape", standalone_mode=False, obj=state
            )
            sys.stdout.flush()
        return result if isinstance(result, int) else DONE
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more while closing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except _Stop:
        _say("stopped; what was finished is saved, run the same command again to go on")
        return STOPPED
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted; what was finished is saved, run the same command again to go on")
        return INTERRUPTED
    except click.UsageError as error:
        return _usage(error)
    except Exception as error:  # noqa: BLE001  the one place where everything ends
        if state["debug"]:
            _say(scrub(traceback.format_exc()).rstrip())
        _say(f"error: {_sentence(error)}")
        return USAGE if isinstance(error, ConfigError) else FAILED


def _usage(error: click.UsageError) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return USAGE
    path = error.ctx.command_path if error.ctx else "hiddenscape"
    _say(f"error: {_one_line(error.format_message())} (see `{path} --help`)")
    return USAGE


def _sentence(error: Exception) -> str:
    if isinstance(error, HiddenscapeError):
        return _one_line(str(error))
    if isinstance(error, click.ClickException):
        return _one_line(error.format_message())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f" ({error.filename})" if error.filename else ""
        return (
            f"no space left on the device{where}; what was finished is saved, "
            "make room and run the same command again"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{_one_line(what)}; run again with --debug to see where"


def _one_line(text: str) -> str:
    return scrub(" ".join(text.split()))


def _say(line: str) -> None:
    click.echo(line, err=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the first stop signal into an exception; a second one ends the process at once."""
    before: dict[signal.Signals, Any] = {}

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        for known in before:
            signal.signal(known, signal.SIG_DFL)
        raise _Stop

    try:
        for name in _STOP_SIGNALS:
            if number := getattr(signal, name, None):
                before[number] = signal.signal(number, stop)
    except ValueError:
        # Not the main thread, as in tests and notebooks: the host owns the signals.
        before.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
