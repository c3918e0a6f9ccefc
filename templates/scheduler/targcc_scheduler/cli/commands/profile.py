"""``targcc profile``: named servers; ``targcc completion``: completion scripts of shells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ...core import completion_scripts
from .. import profiles
from ..completing import profile_names
from ..group import Commands, OutputError
from ..output import done, json_option, print_json, print_table, shows
from ..profiles import LOCAL, Profile

# ``targcc profile``: named servers for commands.


@click.group("profile", cls=Commands)
def profile_group() -> None:
    """Manage profiles: named servers that commands are sent to."""


@profile_group.command("list")
@shows
def list_profiles(*, as_json: bool) -> None:
    """List the profiles and mark the active profile. Shows where tokens are stored, not the tokens.

    \b
    Example:
      targcc profile list
    """
    stored_profiles = profiles.load()
    shown = {LOCAL: Profile("http://localhost"), **stored_profiles.named}
    rows = [
        {
            "name": name,
            "in_use": name == stored_profiles.current,
            "server": profile.server if name != LOCAL else None,
            "token": _where(profile.token),
            "ca": profile.ca or None,
        }
        for name, profile in shown.items()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["PROFILE", "", "SERVER", "TOKEN"],
        [
            [
                str(profile["name"]),
                "in use" if profile["in_use"] else "",
                str(profile["server"] or "the project's database"),
                str(profile["token"] or ""),
            ]
            for profile in rows
        ],
    )


def _where(token: str) -> str | None:
    """Return the place of a token, not the token; ``None`` without a token."""
    if not token:
        return None
    return token if token.startswith(("${", "file:")) else "in the file of profiles"


@profile_group.command("add")
@click.argument("name")
@click.argument("server", metavar="URL")
@click.option("--token", help="API token, or a reference: '${NAME}' or file:PATH. Default: ask.")
@click.option(
    "--ca", default="", metavar="FILE", help="File with the certificates of the trusted authority."
)
@click.option("--use", is_flag=True, help="Send commands to this server from now on.")
@json_option
def add_profile(
    name: str, server: str, *, token: str | None, ca: str, use: bool, as_json: bool
) -> None:
    """Add or change the profile of a server, given the URL of its dashboard.

    The token is stored in a file that only its owner may read. With a reference such as '${JOBS_TOKEN}', only the reference is stored.

    \b
    Example:
      targcc profile add production https://jobs.example.com/jobs --token '${JOBS_TOKEN}' --use
    """
    trusted = str(Path(ca).absolute()) if ca else ""
    profile = Profile(server, "", trusted)
    if token is None:
        token = click.prompt("Token", hide_input=True, default="", show_default=False)
    new_profiles = profiles.added(profiles.load(), name, replace(profile, token=token))
    profiles.save(replace(new_profiles, current=name) if use else new_profiles)
    used = f"; commands go to {server}" if use else f": targcc --profile {name} job list"
    done(f"{name} is {server}{used}", as_json=as_json, profile=name)


@profile_group.command("use")
@click.argument("name", shell_complete=profile_names)
@json_option
def use_profile(name: str, *, as_json: bool) -> None:
    """Send commands to the server of a profile from now on. The profile local is the project's own database.

    \b
    Example:
      targcc profile use production
      targcc profile use local
    """
    stored_profiles = profiles.load()
    profile = stored_profiles.get(name)
    profiles.save(replace(stored_profiles, current=name))
    where = profile.server if profile is not None else "the project's own database"
    done(f"commands go to {where}", as_json=as_json, profile=name)


@profile_group.command("remove")
@click.argument("name", shell_complete=profile_names)
@json_option
def remove_profile(name: str, *, as_json: bool) -> None:
    """Remove a profile and its stored token.

    \b
    Example:
      targcc profile remove production
    """
    profiles.save(profiles.removed(profiles.load(), name))
    done(f"{name} is forgotten", as_json=as_json, profile=name)


# ``targcc completion``: completion scripts of shells.


@click.command()
@click.argument("shell", type=click.Choice(completion_scripts.SHELLS))
@click.option("--install", is_flag=True, help="Install the script for the shell.")
def completion(shell: str, *, install: bool) -> None:
    """Print the shell completion script. It completes commands and the names of jobs, flows, queues, states, servers and profiles.

    \b
    Example:
      targcc completion bash --install
      source <(targcc completion bash)
    """
    root = click.get_current_context().find_root().command
    try:
        click.echo(completion_scripts.completion(root, "targcc", shell, install=install))
    except OSError as error:
        raise OutputError(f"{error.filename} cannot be written: {error.strerror}") from None
