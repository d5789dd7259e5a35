"""Which files a process writes: every file falls to exactly one share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError
from hiddenscape.extraction.sharding import local_device, mine, parse_share


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**40))
def test_every_file_falls_to_one_share(count, n, mask):
    ranges = [(4 * j, 4 * j + 4) for j in range(count)]
    todo = [span for j, span in enumerate(ranges) if mask >> j & 1]
    shares = [mine(todo, ranges, (i, n)) for i in range(n)]
    assert sorted(span for share in shares for span in share) == todo


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "1/0", "a/b", "1 / 2", "Auto"])
def test_other_forms_are_refused(text):
    with pytest.raises(InputError, match="expected I/N with 0 <= I < N"):
        parse_share(text)


ARRAY = {
    "SLURM_ARRAY_TASK_ID": "7",
    "SLURM_ARRAY_TASK_MIN": "3",
    "SLURM_ARRAY_TASK_STEP": "2",
    "SLURM_ARRAY_TASK_COUNT": "4",
}


@pytest.mark.parametrize(
    ("env", "share"),
    [
        (ARRAY, (2, 4)),
        ({**ARRAY, "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (5, 8)),
        ({"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "5"}, (0, 2)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "5"}, (1, 5)),
        ({"SLURM_ARRAY_TASK_ID": "0"}, (0, 1)),
    ],
)
def test_automatic_shares(env, share):
    assert parse_share("auto", env) == share


def test_automatic_shares_need_variables_that_make_sense():
    with pytest.raises(InputError, match="neither SLURM_ARRAY_TASK_ID, RANK nor SLURM_PROCID"):
        parse_share("auto", {})
    with pytest.raises(InputError, match="WORLD_SIZE is 'two'"):
        parse_share("auto", {"RANK": "0", "WORLD_SIZE": "two"})
    with pytest.raises(InputError, match="give share 9 of 4"):
        parse_share("auto", {"RANK": "9", "WORLD_SIZE": "4"})


def test_the_device_of_a_process():
    assert local_device("cuda", {"LOCAL_RANK": "3"}) == "cuda:3"
    assert local_device("cuda", {}) == "cuda"
    assert local_device("cuda:1", {"LOCAL_RANK": "3"}) == "cuda:1"
