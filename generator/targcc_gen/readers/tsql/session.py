"""How a session of SQL Server reads dates: ``SET DATEFORMAT``, and the order that comes with ``SET LANGUAGE``."""

from __future__ import annotations

_ORDERS = {"mdy", "dmy", "ymd", "ydm", "myd", "dym"}
# Names and aliases of sys.syslanguages, by their dateformat.
_LANGUAGES = {
    "mdy": ("us_english", "english"),
    "ymd": (
        "日本語", "japanese", "svenska", "swedish", "magyar", "hungarian", "hrvatski", "croatian", "latviešu", "latvian",
        "lietuvių", "lithuanian", "繁體中文", "traditional chinese", "한국어", "korean", "简体中文", "simplified chinese",
    ),
    "dmy": (
        "deutsch", "german", "français", "french", "dansk", "danish", "español", "spanish", "italiano", "italian", "nederlands",
        "dutch", "norsk", "norwegian", "português", "portuguese", "suomi", "finnish", "čeština", "czech", "polski", "polish",
        "română", "romanian", "slovenčina", "slovak", "slovenski", "slovenian", "ελληνικά", "greek", "български", "bulgarian",
        "русский", "russian", "türkçe", "turkish", "british", "british english", "eesti", "estonian", "português (brasil)",
        "brazilian", "arabic", "ไทย", "thai",
    ),
}  # fmt: skip
_ORDER_OF = {name: order for order, names in _LANGUAGES.items() for name in names}


def session_order(name: str) -> str | None:
    """Return the order of a ``SET DATEFORMAT``; ``None`` where it is none."""
    order = name.strip().lower()
    return order if order in _ORDERS else None


def language_order(name: str) -> str | None:
    """Return the order of dates in a language of SQL Server; ``None`` for a language that it does not have."""
    return _ORDER_OF.get(name.strip().casefold())
