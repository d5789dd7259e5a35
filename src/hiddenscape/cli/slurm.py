"""``hiddenscape slurm``: a batch script for a cluster; nothing is submitted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import click

from hiddenscape.cli.app import Verb
from hiddenscape.cli.options import build_spec, spec_options
from hiddenscape.spec import GROUPS, options

_EXAMPLES = """
hiddenscape slurm run.toml --shares 8 > array.sh
hiddenscape slurm --network gpt2 --data sentences.txt --device cuda --gpus 4 --out runs/gpt2
hiddenscape slurm run.toml --time 08:00:00 --sbatch partition=gpu --sbatch account=me > array.sh
"""

_SCRIPT = """\
#!/bin/bash
# {shares} shares of one extraction, {tasks} per element of the array{where}. Submit it with
#     job=$(sbatch --parsable THIS_FILE)
# and what comes after the last share with
#     sbatch --dependency=afterok:$job --time={time} --wrap={after}
# Elements may start, stop and come back in any order and number; finished files are never redone.
#SBATCH --job-name=hiddenscape
#SBATCH --array=0-{last}
#SBATCH --ntasks-per-node={tasks}
#SBATCH --cpus-per-task={cpus}
#SBATCH --time={time}
{more}#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR2@90

export OMP_NUM_THREADS="${{SLURM_CPUS_PER_TASK:-1}}"

# One process per GPU; LOCAL_RANK tells each which one is its own.
srun bash -c 'export LOCAL_RANK="$SLURM_LOCALID"; exec "$@"' task \\
    {command} &
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
        scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
        exit 0
        ;;
    *) exit "$code" ;;
esac
"""


@click.command("slurm", cls=Verb, examples=_EXAMPLES)
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@spec_options(*GROUPS)
@click.option(
    "--shares",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Elements of the array; each takes its part of the files.",
)
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    default=None,
    help="GPUs per element, one process each.  [default: 1 with --device cuda, else none]",
)
@click.option(
    "--cpus", type=click.IntRange(min=1), default=4, show_default=True, help="Cores per process."
)
@click.option("--time", default="04:00:00", show_default=True, help="Time limit of an element.")
@click.option(
    "--sbatch",
    "extra",
    multiple=True,
    help="One more option for sbatch, as in partition=gpu; may be repeated.",
)
def command(
    file: str | None,
    shares: int,
    gpus: int | None,
    cpus: int,
    time: str,
    extra: Sequence[str],
    **flags: Any,
) -> None:
    """Print a batch script that extracts in parallel on a cluster; submit it yourself.

    FILE and the options are those of `hiddenscape run`. Every element of the array fills its share
    of one store. Told by SLURM that the time is nearly over, it finishes the file it is at and goes
    back into the queue.
    """
    spec = build_spec(file, flags)
    spec.require("data", "out")
    if not spec.checkpoints:
        spec.require("network")
    if gpus is None:
        gpus = 1 if spec.device.startswith("cuda") else 0
    if gpus and not spec.device.startswith("cuda"):
        raise click.UsageError(f"--gpus {gpus} with --device {spec.device}: give --device cuda")
    if gpus > 1 and spec.device != "cuda":
        raise click.UsageError(
            f"--device {spec.device} is one GPU, {gpus} are asked for; give cuda"
        )
    click.echo(_script(file, flags, shares, gpus, cpus, time, extra), nl=False)


def _script(
    file: str | None,
    flags: Mapping[str, Any],
    shares: int,
    gpus: int,
    cpus: int,
    time: str,
    extra: Sequence[str],
) -> str:
    tasks = max(1, gpus)
    more = [f"gpus-per-node={gpus}"] if gpus else []
    more += [item.removeprefix("--") for item in extra]
    for line in (time, *more):
        if not line.isprintable() or not line.strip():
            raise click.UsageError(f"{line!r} cannot stand in a line of sbatch options")
    extract = [*_typed(file, flags, "network", "data", "extraction"), "--shard", "auto"]
    return _SCRIPT.format(
        shares=shares * tasks,
        tasks=tasks,
        where=", one per GPU" if gpus else "",
        last=shares - 1,
        cpus=cpus,
        time=time,
        more="".join(f"#SBATCH --{line}\n" for line in more),
        after=shlex.quote(shlex.join(["hiddenscape", "run", *_typed(file, flags, *GROUPS)])),
        command=shlex.join(["hiddenscape", "extract", *extract]),
    )


def _typed(file: str | None, flags: Mapping[str, Any], *groups: str) -> list[str]:
    """What was typed, as arguments again; where to write goes with every group."""
    words = [] if file is None else [file]
    for option in options():
        value = flags.get(option.name)
        if value is None or (option.group not in groups and option.name != "out"):
            continue
        name = option.name.replace("_", "-")
        if option.kind is bool:
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", ",".join(map(str, value)) if option.many else str(value)]
    return words
