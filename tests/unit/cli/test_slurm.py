"""The batch script: its text, that a shell takes it, and what it does with each exit code."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

GOLDEN = """\
#!/bin/bash
# 16 shares of one extraction, 2 per element of the array, one per GPU. Submit it with
#     job=$(sbatch --parsable THIS_FILE)
# and what comes after the last share with
#     sbatch --dependency=afterok:$job --time=02:00:00 --wrap='hiddenscape run run.toml \
--device cuda --untrained-twin --k 5,10'
# Elements may start, stop and come back in any order and number; finished files are never redone.
#SBATCH --job-name=hiddenscape
#SBATCH --array=0-7
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=4
#SBATCH --time=02:00:00
#SBATCH --gpus-per-node=2
#SBATCH --partition=gpu
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR2@90

export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

# One process per GPU; LOCAL_RANK tells each which one is its own.
srun bash -c 'export LOCAL_RANK="$SLURM_LOCALID"; exec "$@"' task \\
    hiddenscape extract run.toml --device cuda --untrained-twin --shard auto &
child=$!

# Ninety seconds before the time is over the script hears USR2 and passes it on.
trap 'kill -USR2 "$child" 2>/dev/null' USR2
code=140
while [ "$code" -eq 140 ]; do # 128 + USR2: only the waiting was interrupted
    wait "$child"
    code=$?
done

case "$code" in
    0 | 4) exit 0 ;; # 4: this share is done, others are at work
    75) # stopped, work saved: come back
        scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
        exit 0
        ;;
    *) exit "$code" ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "run.toml").write_text(
        'network = "gpt2"\ndata = "s.txt"\nout = "runs/a"\n', encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _parsed(text: str) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    done = subprocess.run([bash, "-n"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_text(place: Path, cli: Any) -> None:
    answer = cli(
        "slurm", "run.toml", "--shares", 8, "--gpus", 2, "--device", "cuda", "--time", "02:00:00",
        "--sbatch", "partition=gpu", "--k", "5,10", "--untrained-twin",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.out == GOLDEN
    _parsed(answer.out)


def test_odd_names_stay_one_word(place: Path, cli: Any) -> None:
    name = 'it\'s $(touch ran) `x` & "so".txt'
    answer = cli("slurm", "--network", "gpt2", "--data", name, "--out", "a b", "--no-store-text")
    assert answer.code == 0, answer.err
    _parsed(answer.out)
    assert "gpus" not in answer.out
    stub = place / "bin" / "srun"
    stub.parent.mkdir()
    stub.write_text('#!/bin/bash\nprintf "%s\\n" "$@" > words\n')
    stub.chmod(0o755)
    _run(place, answer.out)
    words = (place / "words").read_text().splitlines()
    assert words[words.index("hiddenscape") :] == [
        "hiddenscape", "extract", "--network", "gpt2", "--data", name, "--no-store-text",
        "--out", "a b", "--shard", "auto",
    ]  # fmt: skip
    assert not (place / "ran").exists()


@pytest.mark.parametrize(("flags", "message"), [
    (["--gpus", 2], "--gpus 2 with --device cpu"),
    (["--gpus", 2, "--device", "cuda:1"], "is one GPU, 2 are asked for"),
    (["--sbatch", "a\nrm -rf x"], "cannot stand in a line"),
    (["--out", ""], "out is missing"),
])  # fmt: skip
def test_what_cannot_be_is_refused(place: Path, cli: Any, flags: list[Any], message: str) -> None:
    answer = cli("slurm", "run.toml", *flags)
    assert answer.code == 2
    assert message in answer.err
    assert answer.out == ""


def _stubs(place: Path, body: str) -> None:
    folder = place / "bin"
    folder.mkdir(exist_ok=True)
    for name, text in (("srun", body), ("scontrol", 'echo "$@" > requeued\n')):
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)


def _environment(place: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "SLURM_ARRAY_JOB_ID": "77",
        "SLURM_ARRAY_TASK_ID": "3",
    }


def _run(place: Path, script: str) -> int:
    (place / "array.sh").write_text(script)
    done = subprocess.run(["bash", "array.sh"], env=_environment(place), check=False, timeout=20)
    return done.returncode


@pytest.mark.parametrize(("code", "ends", "again"), [
    (0, 0, False), (4, 0, False), (75, 0, True), (1, 1, False), (2, 2, False), (130, 130, False),
])  # fmt: skip
def test_exit_codes(place: Path, cli: Any, code: int, ends: int, again: bool) -> None:
    script = cli("slurm", "run.toml").out
    _stubs(place, f"exit {code}\n")
    assert _run(place, script) == ends
    assert (place / "requeued").exists() == again
    if again:
        assert (place / "requeued").read_text() == "requeue 77_3\n"


def test_the_signal_reaches_the_work_and_its_code_is_waited_for(place: Path, cli: Any) -> None:
    script = cli("slurm", "run.toml").out
    _stubs(place, "trap 'sleep 0.3; exit 75' USR2\ntouch started\nwhile :; do sleep 0.05; done\n")
    (place / "array.sh").write_text(script)
    process = subprocess.Popen(["bash", "array.sh"], env=_environment(place))
    deadline = time.monotonic() + 15
    while not (place / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGUSR2)
    assert process.wait(timeout=15) == 0
    assert (place / "requeued").read_text() == "requeue 77_3\n"


NETS = """
import torch
def make():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh())
"""


def test_shares_end_with_4_until_the_last(place: Path, cli: Any) -> None:
    import numpy as np

    np.save("x.npy", np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32))
    (place / "nets.py").write_text(NETS)
    run = ("extract", "--network", "python:nets.py:make", "--data", "x.npy", "--pooling", "flat",
           "--shard-rows", 10, "--untrained-twin", "--out", "run")  # fmt: skip
    first = cli(*run, "--shard", "1/3")
    assert (first.code, first.out) == (4, "run\n")
    assert re.search(r"other shares are missing in \S+, null", first.err)
    assert cli(*run, "--shard", "0/3").code == 4
    assert cli(*run, "--shard", "1/3").code == 4
    assert cli(*run, "--shard", "2/3").code == 0
    assert cli(*run).code == 0
    assert cli("verify", "run").code == 0
    assert cli(*run, "--shard", "3/3").code == 1
    assert cli(*run, "--shard", "0/3", "--overwrite").code == 2
