"""The group of verbs. A verb's module is imported when the verb is called, not before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from hiddenscape._version import __version__

__all__ = ["VERBS", "Verb", "group"]

# verb -> (module, one line for the list of verbs). The line stands here because reading it from
# the module would import them all.
VERBS = {
    "demo": ("demo", "Measure the network inside the package; see what a report looks like."),
    "run": ("run", "From a network and a data set to a report: extract, measure, report."),
    "extract": ("extract", "Write the hidden representations of a network to a run directory."),
    "import": ("import_", "Make a run directory from arrays that you already have."),
    "export": ("export", "Write the points of a run in a format that other programs read."),
    "slurm": ("slurm", "Print a batch script that extracts in parallel on a cluster."),
    "measure": ("measure", "Measure the geometry of every site of a run."),
    "report": ("report", "Write the report of a run: one HTML file, and its figures."),
    "neighbors": ("neighbors", "Print the nearest neighbors of every row at a site."),
    "verify": ("verify", "Check that a run directory is complete and undamaged."),
    "sites": ("sites", "Show the sites of a network: shapes, checks, aliases."),
    "list": ("list_", "List analyses, families, or the sites of a network or run."),
    "cite": ("cite", "Print BibTeX for what a run used."),
    "doctor": ("doctor", "Show versions, cores, memory and devices, and what is missing."),
}


_LAST = "Options"


class Verb(click.Command):
    """A command with examples at the end of its help, options under headings, and ``--debug``."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = [line.strip() for line in examples.strip().splitlines()]
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_set_debug,
                help="Show the traceback of an error.",
            )
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options under the heading of their group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                heading = getattr(param, "heading", _LAST)
                sections.setdefault(heading, []).append(record)
        for heading, records in sorted(sections.items(), key=lambda item: item[0] == _LAST):
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, one a line, unwrapped."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and isinstance(ctx.obj, dict):
        ctx.obj["debug"] = True


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"hiddenscape.cli.{VERBS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


@click.group(
    cls=_LazyGroup,
    epilog="Data goes to stdout, everything else to stderr. `hiddenscape VERB --help` explains a "
    "verb and shows examples.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="hiddenscape")
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of an error.",
)
def group() -> None:
    """Measure the geometry of a network's hidden representations, layer by layer."""
