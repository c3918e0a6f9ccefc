"""Who somebody is here, by what an OpenID provider says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...core.errors import AuthError
from ..roles import Role

PREFIX = "oidc:"
"""How the name of somebody begins who signed in at the provider: no user of our own can have it, since names have no colon."""
_LONGEST = 80


def name_of(claims: Mapping[str, Any], claim: str) -> str:
    """Their name here.

    Raises:
        AuthError: the provider says none, or an odd one.
    """
    said = claims.get(claim)
    if not isinstance(said, str) or not said.strip() or len(said) > _LONGEST:
        raise AuthError(f"the provider says no name in the claim {claim}")
    if not said.isprintable():
        raise AuthError("the name that the provider says has characters that are no text")
    return PREFIX + said.strip()


def role_of(said: object, roles: Mapping[str, str], default: str) -> Role | None:
    """The highest role that a claim gives: a text, or a list of groups; ``None`` when it gives none and there is no default.

    Args:
        said: The claim's value.
        roles: The role of each group.
        default: The role of everybody else; empty for none.
    """
    groups = [said] if isinstance(said, str) else said
    known = groups if isinstance(groups, Iterable) else ()
    given = [Role(roles[one]) for one in known if isinstance(one, str) and one in roles]
    if given:
        return max(given, key=list(Role).index)
    return Role(default) if default else None
