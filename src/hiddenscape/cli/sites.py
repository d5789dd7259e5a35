"""``hiddenscape sites``: the table of sites of a network."""

from __future__ import annotations

import json
from typing import Any

import click

import hiddenscape as hs
from hiddenscape.cli.app import Verb
from hiddenscape.cli.options import spec_options

_EXAMPLES = """
hiddenscape sites demo
hiddenscape sites gpt2
hiddenscape sites checkpoints/my-model --task causal --dtype float32
hiddenscape sites gpt2 --json > sites.json
"""
_NETWORK = (
    "task", "dtype", "device", "attn", "trust_remote_code", "allow_bin", "adapter", "tokenizer",
    "quantization", "device_map", "offload_folder",
)  # fmt: skip


@click.command("sites", cls=Verb, examples=_EXAMPLES)
@click.argument("model")
@spec_options(*_NETWORK)
@click.option("--revision", help="Branch, tag or commit of a Hugging Face id.")
@click.option("--untrained", is_flag=True, help="The same network with fresh random weights.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of these weights.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model: str, untrained: bool, seed: int, as_json: bool, **flags: Any) -> None:
    """Show the sites of MODEL: what can be read, where, how it was checked, its other names.

    MODEL is a Hugging Face id, a folder of a checkpoint, python:FILE.py:FUNCTION, or 'demo'. Sites
    that its self-check does not confirm are listed with the reason. The aliases (Hugging Face's
    hidden_states, TransformerLens, papers) may be given to --sites like any site.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    network = hs.open_network(model, untrained=untrained, seed=seed, **given)
    table = hs.describe_sites(network)
    click.echo(json.dumps(table.to_dict(), indent=1) if as_json else str(table))
