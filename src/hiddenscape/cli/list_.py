"""``hiddenscape list``: what there is."""

from __future__ import annotations

from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb

_EXAMPLES = """
hiddenscape list analyses
hiddenscape list families
hiddenscape list sites gpt2
hiddenscape list sites demo
hiddenscape list sites runs/gpt2
"""


@click.command("list", cls=Verb, examples=_EXAMPLES)
@click.argument("what", type=click.Choice(["analyses", "families", "sites"]))
@click.argument("where", required=False)
def command(what: str, where: str | None) -> None:
    """List what there is, one a line: name, tab, what it is.

    analyses: what can be measured, with its group and whether it is measured where nothing is
    asked for. families: architectures whose sites have canonical names.
    sites WHERE: the sites of a run directory, of a Hugging Face id, of a checkpoint folder, or of
    'demo'.
    """
    if what == "sites":
        if not where:
            raise click.UsageError("list sites WHERE needs a run directory or a network")
        lines = _sites(where)
    elif where:
        raise click.UsageError(f"list {what} takes no further argument, got {where!r}")
    elif what == "analyses":
        lines = [
            f"{name}\t{entry.summary} [{entry.group}{'' if entry.default else ', not default'}]"
            for name, entry in hs.ANALYSES.items()
        ]
    else:
        lines = [f"{family.name}\t{_served(family.classes)}" for family in hs.FAMILIES]
    click.echo("\n".join(lines))


def _served(classes: str) -> str:
    return "by its structure" if classes == ".*" else classes


def _sites(where: str) -> list[str]:
    if any((Path(where) / sign).exists() for sign in ("acts", "run.json")):
        points = hs.open_run(where).representations
        entries = points.entries
        return [
            f"{s.key}\tdepth {s.depth:g}, width {entries[s.key]['shape'][0]}" for s in points.sites
        ]
    return [f"{s.name}\tdepth {s.depth:g}" for s in hs.open_network(where).sites]
