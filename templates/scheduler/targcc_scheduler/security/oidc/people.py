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
    return PREFIX + known_name(claims.get(claim), f"the claim {claim}")


def known_name(said: object, where: str) -> str:
    """A name that somebody else vouches for.

    Args:
        said: What they say.
        where: Where they say it, for the error.

    Raises:
        AuthError: it is no name of at most 80 characters, or an odd one.
    """
    if not isinstance(said, str) or not said.strip() or len(said) > _LONGEST:
        raise AuthError(f"there is no name in {where}")
    if not said.isprintable():
        raise AuthError(f"the name in {where} has characters that are no text")
    return said.strip()


def role_of(said: object, roles: Mapping[str, str], default: str) -> str | None:
    """The role that a claim gives: a text, or a list of groups; ``None`` when it gives none and there is no default.

    The highest built-in one counts before roles of one's own, of which the first in ``roles`` does.

    Args:
        said: The claim's value.
        roles: The role of each group.
        default: The role of everybody else; empty for none.
    """
    groups = [said] if isinstance(said, str) else said
    known = {one for one in groups if isinstance(one, str)} if isinstance(groups, Iterable) else ()
    given = [role for group, role in roles.items() if group in known]
    built_in = [role for role in Role if role in given]
    return built_in[-1] if built_in else next(iter(given), default or None)
