"""`targcc-gen blueprints`: what a job can start out as."""

from __future__ import annotations

import click


@click.command(short_help="List what a job can start out as.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def blueprints(*, as_json: bool) -> None:
    """List the blueprints: what a job's file can start out as, each with a test that passes.

    \b
    Example:
      targcc-gen blueprints
      targcc-gen job DailyReport --cron "0 2 * * *" --blueprint report
    """
    from targcc_gen.render.job.blueprints import blueprint, blueprint_names

    found = [blueprint(name) for name in blueprint_names()]
    if as_json:
        import json

        data = [
            {"name": one.name, "summary": one.summary, "defaults": one.defaults} for one in found
        ]
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    width = max(len(one.name) for one in found)
    for one in found:
        click.echo(f"{one.name:<{width}}  {one.summary}")
