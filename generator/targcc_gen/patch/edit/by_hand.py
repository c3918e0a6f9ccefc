"""The page of help of a refusal: which two lines a person adds, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from targcc_gen.patch.app.source import RefusalError

if TYPE_CHECKING:
    from targcc_gen.patch.app.apps import App
    from targcc_gen.patch.app.file import AppFile

ROUTER = "scheduler_router"
WRAPPER = "with_scheduler"
MOUNT = "mount"
PREFIX = "/jobs"
_AGAIN = "then: targcc-gen patch --verify"


@dataclass(frozen=True)
class ByHand:
    """The lines that a person adds to a file.

    Args:
        name: The file.
        importing: How the file imports from the scheduler: `from .scheduler import `.
        prefix: Where the scheduler is to be; empty for what its settings say.
    """

    name: str
    importing: str
    prefix: str = ""

    def include(self, target: str, line: int | None = None) -> str:
        """The page that includes the router in an app.

        Args:
            target: The app: `app`, `self.app`.
            line: The line after which the app is there.
        """
        where = "right after the app is made, before other routes"
        if self.prefix:
            return self._page(MOUNT, f'{MOUNT}({target}, "{self.prefix}")', where, line)
        return self._page(ROUTER, f"{target}.include_router({ROUTER})", where, line)

    def wrap(self, target: str, line: int | None = None, free: str = PREFIX) -> str:
        """The page that wraps what a server loads; that works for any application that speaks ASGI.

        Args:
            target: The name that the server loads: `app`.
            line: The line after which it is what the server gets.
            free: Where the pages will be, unless the prefix says so.
        """
        text = f'{target} = {WRAPPER}({target}, "{self.prefix or free}")'
        return self._page(WRAPPER, text, f"below all that changes {target}", line)

    def _page(self, name: str, text: str, where: str, line: int | None) -> str:
        place = f"{self.name}, below line {line}" if line else self.name
        return (
            f"Add two lines yourself; everything else is in place.\n\n"
            f"  {self.name}, to the imports:\n\n    {self.importing}{name}\n\n"
            f"  {place}, {where}:\n\n    {text}\n\n{_AGAIN}"
        )


def refusal(file: AppFile, app: App, lines: ByHand) -> RefusalError:
    """Why an app is not touched, with the lines to add and where they belong."""
    place = app.places[0]
    subject = app.target or place.bound or "this FastAPI app"
    text = f"{subject} cannot be wired: {app.problem}"
    if app.target and (app.scope or not _is_to_be_wrapped(app)):
        page = lines.include(app.target, place.last_line)
    else:
        page = lines.wrap(place.bound or "app", None if app.scope else place.last_line)
    return RefusalError(file.source.error(place.line, place.column, text).message, hint=page)


def _is_to_be_wrapped(app: App) -> bool:
    """Whether a router in the app would not do: routes before it, or a lifespan that does not run."""
    problem = app.problem or ""
    return app.mounted or "routes=" in problem
