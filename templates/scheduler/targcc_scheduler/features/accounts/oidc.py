"""Client of an OpenID Connect provider.

joserfc checks the signature, issuer, audience, times and nonce of the provider's token.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from ...core.errors import AuthError
from ...core.identity import known_name
from ...settings import Settings

# The client: OpenID Connect Core 1.0 with the authorization code flow, PKCE (RFC 7636) and discovery.

_TIMEOUT_SECONDS = 10
_FRESH_SECONDS = 3_600
_AGAIN_SECONDS = 5
"""Seconds without requests to a provider after a failed discovery."""
_LEEWAY_SECONDS = 60
_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""Public-key signature algorithms. ``none`` and the HMAC algorithms, which sign with the client secret, are excluded."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_OK = 200


@dataclass(frozen=True, slots=True)
class Registration:
    """The registration of this scheduler as a client of the provider.

    Args:
        issuer: The URL that identifies the provider.
        client_id: The client id at the provider.
        client_secret: The client secret at the provider; empty for a public client.
        scopes: The scopes to request.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in attempt; the browser keeps the values in a cookie until the provider redirects back.

    Args:
        state: The provider returns ``state`` in the redirect.
        nonce: The provider returns ``nonce`` inside the signed token.
        verifier: The PKCE code verifier; proves that the same client requested and redeems the code.
    """

    state: str
    nonce: str
    verifier: str

    @classmethod
    def begin(cls) -> Attempt:
        """Return an attempt with new random values."""
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    @property
    def challenge(self) -> str:
        """The PKCE code challenge: the SHA-256 of the verifier in base64url. The first request carries only the challenge."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class OpenIDClient:
    """Signs people in at one provider.

    Args:
        registration: The registration of this client at the provider.
        http: Makes an ``httpx.AsyncClient``; the default client follows no redirects.
        clock: Return seconds since 1970, to check the times of tokens.
    """

    def __init__(
        self,
        registration: Registration,
        http: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registration = registration
        self._http = http or _http
        self._clock = clock
        self._metadata: dict[str, Any] = {}
        self._keys: Any = None
        self._read = float("-inf")
        self._asking = asyncio.Lock()
        self._failure: tuple[float, str] = (float("-inf"), "")

    async def address(self, attempt: Attempt, redirect_uri: str) -> str:
        """Return the URL at which the browser signs in.

        Raises:
            AuthError: discovery failed.
        """
        metadata = await self._discovered()
        query = {
            "response_type": "code",
            "client_id": self.registration.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.registration.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(metadata["authorization_endpoint"], query)

    async def claims(self, attempt: Attempt, code: str, redirect_uri: str) -> dict[str, Any]:
        """Redeem the code and return the claims of the verified token, joined with the claims of the user info endpoint.

        Raises:
            AuthError: the provider refuses the code, or the token or user info fails verification.
        """
        metadata, registration = await self._discovered(), self.registration
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
            "client_id": registration.client_id,
        }
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        basic = registration.client_secret and "client_secret_basic" in methods
        if registration.client_secret and not basic:
            form["client_secret"] = registration.client_secret
        auth = (registration.client_id, registration.client_secret) if basic else None
        options = {"auth": auth} if auth else {}
        answer = await self._json("POST", metadata["token_endpoint"], data=form, **options)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise AuthError("the provider sent no token that says who it is")
        claims = await self._verified(token, attempt.nonce)
        return claims | await self._user_info(metadata, answer.get("access_token"), claims["sub"])

    async def leave_address(self, back_to: str) -> str:
        """Return the URL at which the browser signs out of the provider; empty when the provider has no such endpoint."""
        metadata = await self._discovered()
        place = metadata.get("end_session_endpoint")
        query = {"client_id": self.registration.client_id, "post_logout_redirect_uri": back_to}
        return _with_query(place, query) if isinstance(place, str) else ""

    async def _user_info(
        self, metadata: Mapping[str, Any], access_token: object, subject: str
    ) -> dict[str, Any]:
        place = metadata.get("userinfo_endpoint")
        if place is None or not isinstance(access_token, str):
            return {}
        headers = {"Authorization": f"Bearer {access_token}"}
        user_info = await self._json("GET", place, headers=headers)
        if user_info.get("sub") != subject:  # OpenID Connect Core 1.0, section 5.3.4
            raise AuthError("the provider's user info is about somebody else")
        taken = {"iss", "aud", "exp", "iat", "nonce", "azp"}  # keep the claims of the signed token
        return {name: value for name, value in user_info.items() if name not in taken}

    async def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            claims = await self._decoded(token)
            jwt.JWTClaimsRegistry(
                now=int(self._clock()),
                leeway=_LEEWAY_SECONDS,
                iss={"essential": True, "value": self.registration.issuer},
                aud={"essential": True, "value": self.registration.client_id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(claims)
        except (JoseError, ValueError) as error:
            raise AuthError(
                f"the provider's token cannot be believed: {type(error).__name__}"
            ) from None
        party = claims.get("azp", self.registration.client_id)
        if party != self.registration.client_id or not isinstance(claims["sub"], str):
            raise AuthError("the provider's token is for another program")
        return claims

    async def _decoded(self, token: str) -> dict[str, Any]:
        """Check the signature and return the claims; when the check fails, read the keys again and retry once."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            return dict(jwt.decode(token, self._keys, algorithms=_ALGORITHMS).claims)
        except (JoseError, ValueError):
            self._read = float("-inf")
            await self._discovered()
            return dict(jwt.decode(token, self._keys, algorithms=_ALGORITHMS).claims)

    async def _discovered(self) -> dict[str, Any]:
        """Return the provider's metadata, read at most once an hour; concurrent requests wait for one read."""
        async with self._asking:
            if time.monotonic() - self._read < _FRESH_SECONDS:
                return self._metadata
            failed_at, error_text = self._failure
            if time.monotonic() - failed_at < _AGAIN_SECONDS:
                raise AuthError(error_text)
            try:
                return await self._discover()
            except AuthError as error:
                self._failure = time.monotonic(), str(error)
                raise

    async def _discover(self) -> dict[str, Any]:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        issuer = self.registration.issuer
        place = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = await self._json("GET", place)
        if metadata.get("issuer") != issuer:
            raise AuthError(f"the provider calls itself {metadata.get('issuer')!r}, not {issuer}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(metadata.get(name), str):
                raise AuthError(f"the provider does not say its {name}")
        keys: Any = await self._json("GET", metadata["jwks_uri"])
        try:
            self._keys = KeySet.import_key_set(keys)
        except (JoseError, ValueError, KeyError, TypeError):
            raise AuthError("the provider's keys cannot be read") from None
        self._metadata, self._read = metadata, time.monotonic()
        return metadata

    async def _json(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        import httpx

        require_safe(url)
        try:
            async with self._http() as http:
                answer = await http.request(method, url, **options)
            document = answer.json() if answer.status_code == _OK else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise AuthError(f"the provider does not answer: {type(error).__name__}") from None
        if not isinstance(document, dict):
            raise AuthError(f"the provider refuses, with the status {answer.status_code}")
        return document


def client_of(settings: Settings) -> OpenIDClient | None:
    """Return the client of the OpenID provider in the settings; ``None`` without a provider."""
    if not settings.oidc_issuer:
        return None
    secret = settings.oidc_client_secret.get_secret_value()
    return OpenIDClient(
        Registration(settings.oidc_issuer, settings.oidc_client_id, secret, settings.oidc_scopes)
    )


def require_safe(url: str) -> None:
    """Check that requests to the URL are encrypted, or stay on this machine.

    Raises:
        AuthError: the URL is not https, and not http to a loopback address.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise AuthError(f"the provider is reached by https only, not by {parts.scheme or 'that'}")


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _http() -> Any:
    import httpx

    return httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False)


# The name and role of a person, from the claims of an OpenID provider.

PREFIX = "oidc:"
"""Prefix for the names of people who sign in at the provider. Names of local users have no colon, so none can collide."""


def name_of(claims: Mapping[str, Any], claim: str) -> str:
    """Return the local name of a person: the prefix and the value of the claim.

    Raises:
        AuthError: the claim is missing or not a valid name.
    """
    return PREFIX + known_name(claims.get(claim), f"the claim {claim}")
