"""An instant as the `<time>` element of a page."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from ...core.humanize import NOTHING, clock, full, relative
from ...core.languages.reader import gettext


def time_tag(
    instant: datetime | None, now: datetime, zone: ZoneInfo, style: str = "clock"
) -> Markup:
    """A ``<time>`` element; its title has all of the instant, and the page's script keeps a relative one fresh.

    Args:
        instant: The instant; ``None`` shows a dash.
        now: What relative times count from.
        zone: In which to show it.
        style: ``clock``, ``relative``, ``both`` or ``full``.
    """
    if instant is None:
        return Markup('<span class="nothing">{}</span>').format(NOTHING)
    iso, title = instant.isoformat(timespec="seconds"), escape(full(instant, zone))
    tag = f'<time datetime="{iso}" title="{title}"'
    if style == "full":
        return Markup(f"{tag}>{title}</time>")  # noqa: S704 - texts in it are escaped
    at = escape(clock(instant, now, zone))
    if style == "clock":
        return Markup(f"{tag}>{at}</time>")  # noqa: S704
    relative_tag = f"{tag} data-relative>{escape(relative(instant, now))}</time>"
    if style == "relative":
        return Markup(relative_tag)  # noqa: S704
    return Markup(f'{tag}>{at}</time> <span class="soft">{relative_tag}</span>')  # noqa: S704


def beside(instant: datetime, own: str, now: datetime, zone: ZoneInfo) -> Markup:
    """The same instant by the clock that a job goes by, where that is another than the reader's; else nothing."""
    if own == zone.key:
        return Markup("")
    at = clock(instant, now, ZoneInfo(own))
    said = gettext("%(time)s in %(zone)s", time=at, zone=own)
    return Markup(' <span class="soft">{}</span>').format(said)
