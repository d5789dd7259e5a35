"""A bar on a terminal; off it, a line per half minute and nothing else."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest

from hiddenscape.cli.progress import LINE_EVERY, Lines, show_progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _lines(events: Iterable[tuple[float, str, int, int]]) -> list[str]:
    events = list(events)
    times = iter([time for time, *_ in events])
    out = io.StringIO()
    advance = Lines(out, clock=lambda: next(times))
    for _, stage, done, total in events:
        advance(stage, done, total)
    return out.getvalue().splitlines()


def test_short_work_is_silent() -> None:
    assert _lines((t, "extract", int(t), 29) for t in range(30)) == []


def test_at_most_one_line_per_half_minute() -> None:
    lines = _lines((t / 10, "measure", t, 3000) for t in range(3000))
    assert len(lines) == 3000 // (10 * LINE_EVERY) - 1
    assert lines[0] == "measure: 300 of 3000, 10.0 per second, 4 min left"


def test_rows_that_were_there_before_do_not_count_as_speed() -> None:
    lines = _lines([(0, "extract", 900, 1000), (30, "extract", 930, 1000)])
    assert lines == ["extract: 930 of 1000, 1.0 per second, 1 min left"]


def test_a_new_stage_has_its_own_rate() -> None:
    lines = _lines([(0, "a", 0, 10), (29, "a", 10, 10), (30, "b", 0, 4), (60, "b", 1, 4)])
    assert lines == ["b: 0 of 4", "b: 1 of 4, 0.0 per second, 2 min left"]


def test_off_a_terminal_there_is_no_bar() -> None:
    out = io.StringIO()
    with show_progress(out) as advance:
        advance("extract", 1, 2)
    assert out.getvalue() == ""


def test_on_a_terminal_there_is_a_bar_with_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    out = _Terminal()
    with show_progress(out) as advance:
        advance("extract", 1, 2)
        advance("extract", 2, 2)
    text = out.getvalue()
    assert "extract" in text
    assert "2/2" in text
    # Colors are switched off; moving the cursor is not a color.
    assert "\x1b[3" not in text
