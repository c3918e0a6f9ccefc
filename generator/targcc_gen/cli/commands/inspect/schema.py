"""`targcc-gen schema`: the spec's JSON Schema."""

from __future__ import annotations

import click


@click.command
def schema() -> None:
    """Print the JSON Schema of targcc.yaml.

    Editors that know it complete keys and mark mistakes while you type. A generated project has it in
    .targcc/schema.json, and its targcc.yaml names it in the first line.

    \b
    Example:
      targcc-gen schema > targcc.schema.json
    """
    import json

    from targcc_gen.spec.docs.schema import spec_schema

    click.echo(json.dumps(spec_schema(), indent=2, ensure_ascii=False))
