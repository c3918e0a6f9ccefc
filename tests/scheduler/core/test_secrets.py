"""References to secrets, and masking of secrets."""

import json

import pytest
from targcc_scheduler.core import masking, secrets
from targcc_scheduler.core.errors import SecretError
from targcc_scheduler.core.masking import MASK, mask, masked
from targcc_scheduler.core.secrets import EnvironmentSource, FileSource, resolve


class Vault:
    """Secret source added by this test."""

    def resolve(self, text):
        return "from-the-vault" if text == "vault:slack" else text


@pytest.fixture
def references(tmp_path, monkeypatch):
    """Return for each source a valid reference, its value, an invalid reference and the missing name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RIG_SECRET", "https://hooks.example.com/T0/abc")
    file = tmp_path / "slack"
    file.write_text("https://hooks.example.com/T1/def\n", encoding="utf-8")
    gone = tmp_path / "gone"
    return {
        EnvironmentSource: (
            "${RIG_SECRET}",
            "https://hooks.example.com/T0/abc",
            "${RIG_NO}",
            "RIG_NO",
        ),
        FileSource: (f"file:{file}", "https://hooks.example.com/T1/def", f"file:{gone}", str(gone)),
    }


# Contract of a secret source.


@pytest.mark.parametrize("source", [EnvironmentSource, FileSource])
def test_a_source_finds_what_its_reference_names(source, references):
    reference, value, *_ = references[source]
    assert source().resolve(reference) == value
    assert resolve(reference) == value


@pytest.mark.parametrize("source", [EnvironmentSource, FileSource, Vault])
@pytest.mark.parametrize("text", ["https://hooks.example.com/T0/abc", "ops@example.com", "", "$5"])
def test_a_text_that_is_no_reference_stays_as_it_is(source, text):
    assert source().resolve(text) == text
    assert resolve(text) == text


@pytest.mark.parametrize("source", [EnvironmentSource, FileSource])
def test_a_reference_that_leads_nowhere_is_named(source, references):
    *_, reference, name = references[source]
    with pytest.raises(SecretError) as error:
        resolve(reference)
    assert name in str(error.value)


def test_a_source_of_ones_own_is_asked_too():
    assert resolve("vault:slack", [FileSource(), Vault()]) == "from-the-vault"


# Forms of references.


def test_a_variable_may_be_a_part_of_the_text(monkeypatch):
    monkeypatch.setenv("RIG_TOKEN", "abc")
    assert resolve("https://hooks.example.com/${RIG_TOKEN}/x") == "https://hooks.example.com/abc/x"


def test_a_variable_may_be_a_line_of_the_env_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RIG_DOTENV", raising=False)
    (tmp_path / ".env").write_text("RIG_DOTENV=from the file\n", encoding="utf-8")
    assert resolve("${RIG_DOTENV}") == "from the file"
    monkeypatch.setenv("RIG_DOTENV", "from the environment")
    assert resolve("${RIG_DOTENV}") == "from the environment"


def test_an_error_about_one_variable_does_not_hold_the_value_of_another(monkeypatch):
    monkeypatch.setenv("RIG_TOKEN", "hunter2-secret")
    with pytest.raises(SecretError) as error:
        resolve("${RIG_TOKEN}${RIG_NO}")
    assert "hunter2" not in str(error.value)


def test_an_empty_file_is_no_secret(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(SecretError, match="is empty"):
        resolve(f"file:{tmp_path / 'empty'}")


# Masking.


def test_passwords_and_tokens_are_masked():
    assert mask("postgresql://jobs:hunter2@db/x") == f"postgresql://jobs:{MASK}@db/x"
    assert mask("/login?token=abc&next=1") == f"/login?token={MASK}&next=1"


def test_a_secret_that_was_looked_up_is_masked_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("RIG_HOOK", "https://hooks.example.com/T9/xyz")
    resolve("${RIG_HOOK}")
    assert mask("posting to https://hooks.example.com/T9/xyz failed") == f"posting to {MASK} failed"


def test_a_source_that_was_added_is_asked_first(monkeypatch):
    monkeypatch.setattr(secrets, "_added", [])
    secrets.add_secret_source(Vault())
    assert resolve("vault:slack") == "from-the-vault"
    assert mask("it is from-the-vault now") == f"it is {MASK} now"


def test_a_value_that_was_registered_is_masked_in_any_form():
    secrets.register_secret("k/9+got at run time")
    for form in (
        "k/9+got at run time",
        "k%2F9%2Bgot%20at%20run%20time",
        "ay85K2dvdCBhdCBydW4gdGltZQ==",
    ):
        assert mask(f"x {form} y").startswith(f"x {MASK}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://jobs:pa/ss@h/x", f"postgresql://jobs:{MASK}@h/x"),
        ("http://localhost:8000/jobs/runs/1", "http://localhost:8000/jobs/runs/1"),
        ("http://h:8000/p?email=a@b.c", "http://h:8000/p?email=a@b.c"),
        ("PWD=abc;Server=x", f"PWD={MASK};Server=x"),
        ('{"password": "a b", "user": "u"}', f'{{"password": "{MASK}", "user": "u"}}'),
        ("{'api_key': 'abc'}", f"{{'api_key': '{MASK}'}}"),
        ("client_secret: 'a b'", f"client_secret: {MASK}"),
        ("password: a password has ten characters", "password: a password has ten characters"),
        ("Authorization: Basic YWJjZGVm", f"Authorization: Basic {MASK}"),
        ("?sig=abc%2F&x=1", f"?sig={MASK}&x=1"),
        ("design=blue", "design=blue"),
        ("<password>abc</password>", f"<password>{MASK}</password>"),
        ("token ghp_abcdefghijklmnopqrstuvwxyz", f"token {MASK}"),
        ("Server=x; PWD = my long word;Uid=sa", f"Server=x; PWD = {MASK};Uid=sa"),
        ("PWD = my long word; Server=x", f"PWD = {MASK}; Server=x"),
        ("Server=x;Uid=sa;Pwd = my long word", f"Server=x;Uid=sa;Pwd = {MASK}"),
        ("Server=x;PWD={my;}}long} ;Uid=sa", f"Server=x;PWD={MASK} ;Uid=sa"),
        ("PWD = hunter2", f"PWD = {MASK}"),
        ("password = 'my \"long\" word' and", f"password = {MASK} and"),
        ("password=\"my 'long' word\", x", f"password={MASK}, x"),
        ('Password = "a""b c";Server=x', f"Password = {MASK};Server=x"),
        ("token = fetch_token(client)", "token = fetch_token(client)"),
        ("if token == other:", "if token == other:"),
        ("jdbc:oracle:thin:scott/tiger@//h:1521/x", f"jdbc:oracle:thin:scott/{MASK}@//h:1521/x"),
        ("jdbc:sqlserver://h:1433;user=sa;password=my word;x=1", f"jdbc:sqlserver://h:1433;user=sa;password={MASK};x=1"),
        ("jdbc:postgresql://h/x?user=u&password=p/w", f"jdbc:postgresql://h/x?user=u&password={MASK}"),
        ("postgresql://jobs:12/ter@h/x", f"postgresql://jobs:{MASK}@h/x"),
        ("http://localhost:8000/@me", "http://localhost:8000/@me"),
        ("Authorization: 0123456789abcdef", f"Authorization: {MASK}"),
        ("Authorization: Token abc12345", f"Authorization: Token {MASK}"),
        ('Authorization: Digest username="u", response="6629fae4"', f"Authorization: Digest {MASK}"),
        ("{'Authorization': 'ApiKey abc12345'}", f"{{'Authorization': 'ApiKey {MASK}'}}"),
        ("[(b'Host', b'h'), (b'Authorization', b'Token abc12345')]", f"[(b'Host', b'h'), (b'Authorization', b'Token {MASK}')]"),
        ("[(b'X-Api-Key', b'abc'), (b'Host', b'h')]", f"[(b'X-Api-Key', b'{MASK}'), (b'Host', b'h')]"),
        ("Authorization: the header is missing", "Authorization: the header is missing"),
        ("Set-Cookie: session=abc; HttpOnly", f"Set-Cookie: {MASK}"),
        ("(b'cookie', b'session=abc; theme=dark')", f"(b'cookie', b'{MASK}')"),
        ('h:443 "POST /services/T0/B0/xyz HTTP/1.1" 200', f'h:443 "POST /services/T0/{MASK} HTTP/1.1" 200'),
        ('h:443 "POST /webhookb2/1@2/x HTTP/1.1" 200', f'h:443 "POST /webhookb2/{MASK} HTTP/1.1" 200'),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", f"-----BEGIN RSA PRIVATE KEY-----{MASK}-----END RSA PRIVATE KEY-----"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_masked(text, shown):
    assert mask(text) == shown


def test_an_ordinary_word_is_not_masked_because_it_is_a_password(monkeypatch):
    monkeypatch.setattr(masking, "KNOWN", masking.KnownSecrets())
    masking.KNOWN.add("jobs")
    masking.KNOWN.add("1234567")
    masking.KNOWN.add_url("postgresql://postgres:postgres@localhost/postgres")
    masking.KNOWN.add_environment({"PWD": "/srv/acme", "SORT_KEY": "created_at"})
    text = "run 1234567 of jobs on postgres in /srv/acme by created_at"
    assert mask(text) == text


def test_passing_values_are_forgotten_and_lasting_ones_are_not(monkeypatch):
    monkeypatch.setattr(masking, "KNOWN", masking.KnownSecrets())
    masking.KNOWN.add("lasting-0123456789")
    for number in range(600):
        masking.KNOWN.add(f"passing-{number:010}", passing=True)
    assert mask("passing-0000000001") == "passing-0000000001"
    assert mask("passing-0000000599 lasting-0123456789") == f"{MASK} {MASK}"


def test_what_is_nested_is_masked_value_by_value_and_stays_what_it_is():
    given = {"a": [1, None, True, {"password": "x", "said": 'password=\\"abc\\" end'}], "token": 5}
    assert masked(given) == {
        "a": [1, None, True, {"password": MASK, "said": masked('password=\\"abc\\" end')}],
        "token": 5,
    }
    assert json.loads(json.dumps(masked(given))) == masked(given)
    assert masked({"key": {1: object}})["key"]["1"] == str(object)
