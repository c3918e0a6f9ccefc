"""What looks like a secret: the second line, for values that this process does not know."""

from __future__ import annotations

import re
from collections.abc import Callable

MASK = "••••••"
"""What is shown instead of a secret."""

_WORD = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key"
    r"|private[_-]?key|(?<![a-z])sig(?:nature)?)"
)
_IS_SECRET = re.compile(
    rf"{_WORD}$|(?:^|[_-])(?:authorization|credentials?|cookie)$", re.IGNORECASE
)
_QUOTED = r"""'(?:[^'\n]|''){1,500}+'|"(?:[^"\n]|""){1,500}+"|\{(?:[^{}\n]|\}\}){1,500}+\}"""
_VALUE = rf"""(?:{_QUOTED}|['"]?[^&\s@'";,<>)\]}}]++)"""
_IS = r"[ \t]{0,9}=[ \t]{0,9}"
_SPACED = rf"{_IS}(?![ \t=>]|[a-z_][\w.]{{0,80}}+[(\[])"
"""An equals sign with blanks around it, but for comparisons and for code that calls a function."""
_NO_PROSE = r"(?![ \t]|(?-i:[a-z]{1,15}) [a-z])"
_HEADER = r"""(?:\\*['"]\s{0,9},|\\*['"]?\s{0,9}[:=])\s{0,9}[br]?\\*['"]?"""
"""What stands between the name of a header and its value, in a dump of headers too: ``b'Cookie', b'…'``."""

Rule = tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]]


def looks_secret(name: str) -> bool:
    """Whether what is called so is a secret, such as ``smtp_password``."""
    return _IS_SECRET.search(name[-80:]) is not None


def _rule(needles: tuple[str, ...], pattern: str, shown: str = rf"\1{MASK}") -> Rule:
    return needles, re.compile(pattern, re.IGNORECASE), shown


_NAMES = ("pass", "pwd", "secret", "token", "key", "sig")
_RULES: tuple[Rule, ...] = (
    _rule(
        ("private key-----",), r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)[\s\S]*?(?=-----END|\Z)"
    ),
    _rule(
        ("://",),
        r"(://[^:/@\s'\"]{0,200}+:)(?!\*\*\*@)(?!\d{1,5}(?:[?#\s,;:.)'\"]|/(?![^@\s'\"?#]{1,300}+@)|\Z))[^@\s'\"]{1,300}+(?=@)",
    ),
    _rule(("jdbc:oracle",), r"(jdbc:oracle:\w{1,9}:[^/@\s]{1,100}+/)[^@\s]{1,300}+(?=@)"),
    # In a connection string a value may hold blanks: it ends with a semicolon, or with the string.
    _rule(_NAMES, rf"((?<=;)[ \t]{{0,9}}{_WORD}{_IS})(?![{{'\"\s])[^;\n'\"]{{1,300}}+"),
    _rule(_NAMES, rf"({_WORD}{_IS})(?![{{'\"\s=>])[^;=\n'\"]{{1,300}}+(?=;[ \t]?[\w ]{{2,30}}=)"),
    _rule(_NAMES, rf"({_WORD}(?:=|{_SPACED})){_VALUE}"),
    _rule(_NAMES, rf"({_WORD}\\*['\"]\s{{0,9}}[:=]\s{{0,9}}[br]?\\*['\"])[^'\"\\\n]{{1,500}}+"),
    # A header as a pair, as clients log it: (b'X-Api-Key', b'…').
    _rule(_NAMES, rf"""(\(b?['"][\w-]{{0,40}}{_WORD}['"],\s?b?['"])[^'"\n]{{1,500}}+"""),
    _rule(_NAMES, rf"({_WORD}>)[^<>\n]{{1,500}}+(?=</)"),
    _rule(_NAMES, rf"({_WORD}:[ \t]{{0,9}}){_NO_PROSE}{_VALUE}"),
    _rule(("bearer ", "basic "), r"(\b(?:Bearer|Basic)[ \t]{1,9}+)[^\s&@'\",;]{6,}+"),
    _rule(
        ("authorization",),
        rf"(authorization{_HEADER}(?:Digest|AWS4-HMAC-SHA256|Signature)[ \t]{{1,9}})[^\n]{{1,2000}}+",
    ),
    _rule(
        ("authorization",),
        rf"(authorization{_HEADER}(?:[\w-]{{1,30}}[ \t]{{1,9}})?+){_NO_PROSE}(?!{MASK}|(?-i:[a-z]+)(?:[\s.,;]|\Z))[^\s&@'\",;]{{6,}}+",
    ),
    _rule(("cookie",), rf"(cookie{_HEADER})(?=[^\s=]{{1,80}}=)[^\n'\"\\]{{1,4000}}+"),
    _rule(
        ("hooks.slack.com/", "webhook.office.com/", "discord", "/webhook"),
        r"((?:hooks\.slack\.com/(?:services|workflows|triggers)|webhook\.office\.com/\w{1,20}|discord(?:app)?\.com/api/webhooks)/)[^\s'\"<>]+",
    ),
    # The path alone, as urllib3 logs it beside the host.
    _rule(
        ("/services/", "/webhookb2/", "/api/webhooks/", "/workflows/"),
        r"(/(?:services/T\w{1,30}|webhookb2|api/webhooks|workflows/\w{1,64}/triggers)/)[^\s'\"<>]++",
    ),
    _rule(
        (
            "eyj",
            "akia",
            "asia",
            "ghp_",
            "gho_",
            "ghs_",
            "github_pat_",
            "glpat-",
            "xox",
            "sk_live_",
            "tgc_",
        ),
        r"(?<![A-Za-z0-9])(?:eyJ[\w-]{8,4000}+\.[\w-]{8,4000}+(?:\.[\w-]{0,4000}+)?|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pos]_\w{20,}"
        r"|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|sk_live_\w{10,}|tgc_[\w-]{20,})",
        MASK,
    ),
)


def mask_patterns(text: str) -> str:
    """``text`` without what looks like a password, a token, or a key. Rules whose words are not in it cost next to nothing."""
    low = text.lower()
    for needles, pattern, shown in _RULES:
        if any(needle in low for needle in needles):
            text = pattern.sub(shown, text)
    return text
