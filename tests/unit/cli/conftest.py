"""The command line in this process: exit code, stdout, stderr."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from hiddenscape.cli.app import group
from hiddenscape.cli.exits import guarded


class Answer(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Answer]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = guarded(group, [str(a) for a in arguments])
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return call
