"""Servers for commands: from the user's profiles file, from options, or from ``TARGCC_SERVER`` and ``TARGCC_TOKEN``."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import click

from ..core.errors import SecretError
from ..core.masking import mask
from ..core.secrets import register_secret, resolve
from .group import CliError, ProfileError

LOCAL = "local"
"""Profile for the project's own database, without a server."""
OPTIONS = ("server", "token", "ca", "profile")
"""``targcc`` options that choose a server."""
_NAME = re.compile(r"[\w.-]{1,50}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Profile:
    """A server and its credentials.

    Args:
        server: Dashboard address, such as ``https://jobs.example.com/jobs``.
        token: API token, or a reference: ``${NAME}`` or ``file:PATH``.
        ca: File with certificates from the authority that signed the server's certificate; empty for the default authorities.

    Raises:
        CliError: the address is invalid.
    """

    server: str
    token: str = field(default="", repr=False)
    ca: str = ""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.server)
        except ValueError:
            raise ProfileError(
                "the server is no address such as https://jobs.example.com/jobs"
            ) from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ProfileError(
                f"{mask(self.server)!r} is no address such as https://jobs.example.com/jobs"
            )
        if parts.username or parts.query or parts.fragment:
            raise ProfileError("the address of a server has no user, no ? and no #")

    def secret(self) -> str:
        """Resolve and return the token, and register the token for masking.

        Raises:
            CliError: the token cannot be resolved.
        """
        try:
            token = resolve(self.token)
        except SecretError as error:
            raise CliError(str(error), code=error.code) from None
        if token:
            register_secret(token)
        return token


@dataclass(frozen=True, slots=True)
class Profiles:
    """Content of the profiles file."""

    current: str = LOCAL
    named: dict[str, Profile] = field(default_factory=dict)

    def get(self, name: str) -> Profile | None:
        """Return a profile by name; ``None`` for the project's own database.

        Raises:
            CliError: the profile does not exist.
        """
        if name == LOCAL:
            return None
        if name not in self.named:
            known = ", ".join([LOCAL, *self.named])
            raise ProfileError(f"there is no profile {name!r}: {known}")
        return self.named[name]


def file() -> Path:
    """Return the profiles file: ``TARGCC_PROFILES``, else the platform's directory for settings."""
    return Path(
        os.environ.get("TARGCC_PROFILES") or Path(click.get_app_dir("targcc"), "profiles.toml")
    )


def load() -> Profiles:
    """Read the user's profiles; without a file, return no profiles.

    Raises:
        CliError: the file cannot be read.
    """
    path = file()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        named = {name: Profile(**fields) for name, fields in document.get("profiles", {}).items()}
        return Profiles(str(document.get("current", LOCAL)), named)
    except FileNotFoundError:
        return Profiles()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ProfileError(f"{path} cannot be read: {error}") from None


def save(profiles: Profiles) -> None:
    """Replace the profiles file, readable by its owner only."""
    lines = [f"current = {_quoted(profiles.current)}"]
    for name, profile in profiles.named.items():
        lines += ["", f"[profiles.{_quoted(name)}]"]
        lines += [f"{key} = {_quoted(value)}" for key, value in asdict(profile).items() if value]
    path = file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as writer:
        writer.write("\n".join(lines) + "\n")
    beside.replace(path)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # TOML's basic strings have JSON's syntax


def added(profiles: Profiles, name: str, profile: Profile) -> Profiles:
    """Return the profiles with ``profile`` added or replaced.

    Raises:
        CliError: the name is invalid.
    """
    if name == LOCAL or not _NAME.fullmatch(name):
        raise ProfileError(
            f"{name!r} is no name for a profile: letters, digits, - _ . and not {LOCAL}"
        )
    return replace(profiles, named={**profiles.named, name: profile})


def removed(profiles: Profiles, name: str) -> Profiles:
    """Return the profiles without ``name``. If ``name`` was in use, the project's own database becomes the current profile.

    Raises:
        CliError: the profile does not exist.
    """
    profiles.get(name)
    left = {key: profile for key, profile in profiles.named.items() if key != name}
    return Profiles(LOCAL if profiles.current == name else profiles.current, left)


def server() -> Profile | None:
    """Return the server for this command line; ``None`` for the project's own database.

    Options precede the environment. The environment precedes the profile in use.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return None
    return _chosen(**{name: context.find_root().params.get(name) for name in OPTIONS})


def _chosen(
    *, server: str | None, token: str | None, ca: str | None, profile: str | None
) -> Profile | None:
    if profile is None and server:
        chosen_profile: Profile | None = Profile(server)
    else:
        profiles = load()
        chosen_profile = profiles.get(profile or profiles.current)
    return chosen_profile and replace(
        chosen_profile, token=token or chosen_profile.token, ca=ca or chosen_profile.ca
    )
