"""Sign-in with an OpenID provider: a real provider in a separate process, and a provider that cheats."""

import base64
import contextlib
import hashlib
import json
import re
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwk, jwt
from projects import WEB
from pydantic import ValidationError
from targcc_scheduler import Settings
from targcc_scheduler.core.errors import AuthError
from targcc_scheduler.core.identity import Role, role_of
from targcc_scheduler.features.accounts.oidc import (
    Attempt,
    OpenIDClient,
    Registration,
    name_of,
    require_safe,
)
from web_fixtures import HOST, running

ISSUER = "https://login.example.com"
BACK = "https://jobs.example.com/jobs/login/oidc/answer"
NOW = 1_790_000_000
ROLES = {"ops": "operator", "bosses": "admin", "all": "viewer"}


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    """Start a real provider; yield the address of its process."""
    log = tmp_path_factory.mktemp("provider") / "log"
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "oidc_provider_mock", "--port", "0", "--require-nonce"],
            stdout=out,
            stderr=out,
        )
    try:
        ends = time.monotonic() + 30
        while not (match := re.search(r"http://\S+:(\d+)", log.read_text(encoding="utf-8"))):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < ends
            time.sleep(0.05)
        address = f"http://localhost:{match[1]}"
        people = {
            "1": {"preferred_username": "dana", "groups": ["ops", "unknown"]},
            "2": {"preferred_username": "eve", "groups": []},
        }
        for subject, claims in people.items():
            httpx.put(f"{address}/users/{subject}", json=claims, timeout=30).raise_for_status()
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
async def site(settings, provider):
    more = {
        "oidc_issuer": provider,
        "oidc_client_id": "jobs",
        "oidc_client_secret": "a secret of ours",
        "oidc_roles": ROLES,
        "base_url": HOST,
    }
    chosen = Settings(**{**settings.model_dump(exclude_unset=True), **more})
    async with running(chosen, work=False) as running_site:
        yield running_site


async def through(visitor, provider, subject):
    """Act as a browser: go to the provider, sign in there, and return."""
    page = await visitor.page("/jobs/login?next=/jobs/runs")
    link = re.search(r'href="(/jobs/login/oidc[^"]*)"', page)[1].replace("&amp;", "&")
    away = await visitor.get(link)
    assert away.status_code == 303
    location = away.headers["Location"]
    assert location.startswith(f"{provider}/")
    async with httpx.AsyncClient(timeout=30) as browser:
        signed = await browser.post(location, data={"sub": subject})
    assert signed.status_code == 302, signed.text
    return await visitor.get(signed.headers["Location"].removeprefix(HOST)), location


@pytest.mark.usefixtures("processes")
async def test_people_sign_in_at_a_real_provider_with_the_role_of_their_group_and_out(
    site, provider
):
    dana = await site.stranger()
    answer, location = await through(dana, provider, "1")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs/runs")
    query = parse_qs(urlsplit(location).query)
    assert query["code_challenge_method"] == ["S256"]
    account = await dana.page("/jobs/account")
    assert "oidc:dana" in account
    assert "Role: operator" in account
    assert "Second factor" not in account  # the provider handles second factors
    stranger = await site.stranger()
    assert (await stranger.get(answer.request.url.raw_path.decode())).status_code == 403
    dana.csrf = re.search(r'name="csrf" value="([^"]+)"', account)[1]
    left = await dana.send("/jobs/logout")
    assert "/jobs/login/oidc/leave" in await dana.page(left.headers["Location"])
    out = await dana.get("/jobs/login/oidc/leave")
    assert out.headers["Location"].startswith(f"{provider}/")
    assert (
        "post_logout_redirect_uri=http%3A%2F%2Ftestserver%2Fjobs%2Flogin" in out.headers["Location"]
    )
    assert (await dana.get("/jobs")).status_code == 303


@pytest.mark.usefixtures("processes")
async def test_who_has_no_role_here_stays_outside_and_is_written_down(site, provider):
    eve = await site.stranger()
    answer, _ = await through(eve, provider, "2")
    assert answer.status_code == 403
    assert "no role in this project" in answer.text
    assert (await eve.get("/jobs")).status_code == 303
    admin = await site.program("admin")
    (entry,) = (await admin.get("/api/audit", params={"action": "sign-in refused"})).json()
    assert (entry["actor"], entry["detail"]) == ("Manual (oidc:eve)", "no role here")


def forged(state):
    """Return the cookie of a sign-in that was never started."""
    kept = json.dumps([state, "nonce", "verifier", ""])
    return {f"targcc_oidc_{WEB.package}": base64.urlsafe_b64encode(kept.encode()).decode()}


@pytest.mark.usefixtures("processes")
async def test_a_stranger_at_the_address_of_the_answer_fills_no_audit_and_asks_little(
    site, monkeypatch
):
    requests = []
    real = OpenIDClient.claims

    async def counted(self, *given):
        requests.append(given)
        return await real(self, *given)

    monkeypatch.setattr(OpenIDClient, "claims", counted)
    stranger = await site.stranger()
    stranger.client.cookies.update(forged("mine"))
    statuses = []
    for number in range(40):
        answer = await stranger.get(
            "/jobs/login/oidc/answer", params={"state": "mine", "code": f"code-{number}"}
        )
        statuses.append(answer.status_code)
    assert set(statuses) == {403, 429}
    assert len(requests) <= 12
    admin = await site.program("admin")
    entries = (await admin.get("/api/audit", params={"action": "sign-in refused"})).json()
    assert len(entries) == 1


async def test_a_provider_that_does_not_answer_is_not_asked_by_each_request():
    requests = []

    def refuse(request):
        requests.append(request)
        return httpx.Response(500)

    client = OpenIDClient(
        Registration(ISSUER, "jobs", "", "openid"),
        http=lambda: httpx.AsyncClient(transport=httpx.MockTransport(refuse)),
    )
    for _ in range(5):
        with pytest.raises(AuthError, match="refuses, with the status 500"):
            await client.address(Attempt.begin(), BACK)
    assert len(requests) == 1


class Cheat:
    """Provider whose responses the test sets; it requires PKCE from its clients."""

    def __init__(self):
        self.key = jwk.RSAKey.generate_key(2048, {"kid": "one"}, private=True)
        self.claims, self.header, self.signs_with = {}, {"alg": "RS256", "kid": "one"}, self.key
        self.unsigned = False
        self.challenge, self.user_info, self.issuer = "", {"sub": "1"}, ISSUER

    def answer(self, request):
        place = request.url.path
        if place.endswith("openid-configuration"):
            return self._json({"issuer": self.issuer, **self._places()})
        if place == "/keys":
            return self._json({"keys": [self.key.as_dict(private=False)]})
        if place == "/userinfo":
            return self._json(self.user_info)
        form = parse_qs(request.content.decode())
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != self.challenge:
            return httpx.Response(400, json={"error": "invalid_grant"})
        token = jwt.encode(
            self.header, self.claims, self.signs_with, algorithms=[self.header["alg"]]
        )
        if self.unsigned:
            head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
            token = f"{head}.{token.split('.')[1]}."
        return self._json({"id_token": token, "access_token": "at"})

    @staticmethod
    def _places():
        names = {
            "authorization_endpoint": "a",
            "token_endpoint": "t",
            "jwks_uri": "keys",
            "userinfo_endpoint": "userinfo",
        }
        return {name: f"{ISSUER}/{place}" for name, place in names.items()}

    @staticmethod
    def _json(value):
        return httpx.Response(200, json=value)


async def test_an_answer_that_is_not_the_providers_for_this_try_is_not_believed():
    cheat = Cheat()
    registration = Registration(ISSUER, "jobs", "secret", "openid")

    def client():
        transport = httpx.MockTransport(cheat.answer)
        return OpenIDClient(
            registration, lambda: httpx.AsyncClient(transport=transport), lambda: NOW
        )

    attempt = Attempt.begin()
    query = parse_qs(urlsplit(await client().address(attempt, BACK)).query)
    cheat.challenge = query["code_challenge"][0]
    good = {
        "iss": ISSUER,
        "aud": "jobs",
        "sub": "1",
        "exp": NOW + 300,
        "iat": NOW,
        "nonce": attempt.nonce,
    }
    cheat.claims = good
    assert (await client().claims(attempt, "code", BACK))["sub"] == "1"
    forged, short = jwk.RSAKey.generate_key(2048, {"kid": "one"}), jwk.OctKey.import_key(
        b"secret" * 8
    )
    lies = {
        "issuer": {"claims": {**good, "iss": "https://evil.example"}},
        "audience": {"claims": {**good, "aud": "another"}},
        "party": {"claims": {**good, "aud": ["jobs", "x"], "azp": "x"}},
        "late": {"claims": {**good, "exp": NOW - 61}},
        "early": {"claims": {**good, "iat": NOW + 61}},
        "replayed": {"claims": {**good, "nonce": Attempt.begin().nonce}},
        "nameless": {"claims": {name: value for name, value in good.items() if name != "sub"}},
        "forged": {"signs_with": forged},
        "by a secret": {"signs_with": short, "header": {"alg": "HS256", "kid": "one"}},
        "another's info": {"user_info": {"sub": "2", "groups": ["bosses"]}},
        "another issuer": {"issuer": "https://evil.example"},
        "another verifier": {"challenge": "x"},
        "unsigned": {"unsigned": True},
    }
    believed = []
    for what, changes in lies.items():
        before = {name: getattr(cheat, name) for name in changes}
        vars(cheat).update(changes)
        with contextlib.suppress(AuthError):
            believed += [what, await client().claims(attempt, "code", BACK)]
        vars(cheat).update(before)
    assert believed == []
    keeps = client()
    await keeps.claims(attempt, "code", BACK)
    cheat.key = cheat.signs_with = jwk.RSAKey.generate_key(2048, {"kid": "two"}, private=True)
    cheat.header = {"alg": "RS256", "kid": "two"}  # the provider rotates its keys
    assert (await keeps.claims(attempt, "code", BACK))["sub"] == "1"


def test_the_highest_role_counts_and_no_user_of_ours_has_such_a_name():
    assert role_of(["all", "bosses", "ops", 7], ROLES, "") is Role.ADMIN
    assert role_of("ops", ROLES, "") is Role.OPERATOR
    assert [role_of(value, ROLES, "") for value in (None, 5, [], "op")] == [None] * 4
    assert role_of(None, ROLES, "viewer") == Role.VIEWER
    assert name_of({"email": " d@x.example "}, "email") == "oidc:d@x.example"
    for odd in (None, "", 5, "x" * 81, "a\x1b[31m"):
        with pytest.raises(AuthError):
            name_of({"email": odd}, "email")
    for url in ("http://login.example.com", "ftp://localhost", "//x"):
        with pytest.raises(AuthError, match="https only"):
            require_safe(url)
    with pytest.raises(ValidationError, match="oidc_roles or oidc_default_role"):
        Settings(oidc_issuer=ISSUER, oidc_client_id="jobs")
    assert "hunter22" not in repr(Settings(oidc_client_secret="hunter22"))
