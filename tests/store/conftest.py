"""What the torture tests share: a server of processes that can be killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def processes() -> Any:
    """Starts small extractions as forks of a process that has imported everything."""
    if os.name != "posix":
        pytest.skip("forks and kills are a POSIX matter")
    pytest.importorskip("torch")
    from hiddenscape.testing.torture import forks

    return forks()


@pytest.fixture(scope="session")
def reference(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``reference(**options)``: files of an undisturbed run, and the seconds it took."""
    import time

    from hiddenscape.testing.torture import Extraction, run_bytes

    known: dict[str, tuple[dict[str, bytes], float]] = {}

    def of(**options: Any) -> tuple[dict[str, bytes], float]:
        name = repr(sorted(options.items()))
        if name not in known:
            run: Path = tmp_path_factory.mktemp("alone")
            processes.start(Extraction(run / "warm", **options)).join()
            began = time.monotonic()
            process = processes.start(Extraction(run / "run", **options))
            process.join()
            assert process.exitcode == 0
            known[name] = run_bytes(run / "run"), time.monotonic() - began
        return known[name]

    return of
