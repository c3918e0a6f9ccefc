"""REST API client for commands, with errors as messages."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeVar, overload

from ..core.search_language import SearchError
from .answers import read, typed
from .group import AnswerError, CertificateError, CliError, UnreachableError
from .light_httpx import httpx

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ..scheduler import Scheduler


# Messages for refused requests and unreachable servers, with the next step.

_ADVICE = {
    "urn:targcc:problem:no-such-job": "\n  targcc job list shows what there is",
    "urn:targcc:problem:sign-in-first": "\n  give one with --token, TARGCC_TOKEN or a profile",
    "urn:targcc:problem:the-question-took-too-long": "\n  TARGCC_QUERY_SECONDS says how long it may take.",
}


def refusal(answer: httpx.Response, where: str) -> CliError:
    """Return the error for an answer with an unsuccessful status."""
    problem = _problem(answer)
    if problem is None:
        return AnswerError(_not_ours(answer, where))
    title, detail = str(problem.get("title", "")), str(problem.get("detail", ""))
    kind = str(problem.get("type", ""))
    code = str(problem.get("code", AnswerError.code))  # a server of release 0.1 sends none
    if kind == "urn:targcc:problem:the-arguments-do-not-fit":
        return CliError(f"the arguments do not fit: {detail}", code=code)
    if "search" in problem and "position" in problem:
        wrong = SearchError(
            "", text=str(problem["search"]), at=problem["position"], length=problem["length"]
        )
        return CliError(f"the search cannot be understood {detail}\n{wrong.frame}", code=code)
    if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
        detail = detail.removeprefix("body.").replace("; body.", "; ").replace("Value error, ", "")
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        detail = f"{title[:1].lower()}{title[1:]}: {detail}"
    return CliError(f"{detail or title}{_ADVICE.get(kind, '')}{_whose(answer, where)}", code=code)


def _problem(answer: httpx.Response) -> dict[str, Any] | None:
    if "json" not in answer.headers.get("Content-Type", ""):
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) and "title" in body else None


def _whose(answer: httpx.Response, where: str) -> str:
    """Name the server if the refusal concerns the caller (401, 403), not the request."""
    about_caller = answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
    return f"\n  {where} says so." if where and about_caller else ""


def _not_ours(answer: httpx.Response, where: str) -> str:
    status = answer.status_code
    if answer.has_redirect_location:
        return f"{where} sends elsewhere, to {answer.headers['Location']}: give that address"
    if status == httpx.codes.NOT_FOUND:
        return (
            f"{where or 'the API'} has no {answer.request.url.path}: it is an older release,"
            " or not the address of a dashboard, such as https://jobs.example.com/jobs"
        )
    return f"{where or 'the API'} answers with status {status}: {_one_line(answer.text)[:200]}"


def unreachable(error: httpx.HTTPError, where: str) -> CliError:
    """Return the error for a request without an answer."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CertificateError(
                f"the certificate of {where} cannot be trusted: {cause.verify_message}\n"
                "  --ca FILE, or the profile's, names the authority that signed it."
            )
        if isinstance(cause, ssl.SSLError):
            return CertificateError(f"{where} does not speak TLS: is it http:// instead?")
    if isinstance(error, httpx.TimeoutException):
        return UnreachableError(f"{where} does not answer in time")
    if isinstance(error, httpx.RemoteProtocolError):
        return UnreachableError(f"{where} does not speak HTTP: is it https:// instead?")
    reason = next(
        (str(exception) for exception in reversed(causes) if str(exception)), type(error).__name__
    )
    return UnreachableError(f"{where} cannot be reached: {_one_line(reason)}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


# REST API client. The transport decides whether this process or a server answers.

T = TypeVar("T")
Body: TypeAlias = "BaseModel | dict[str, Any] | None"
Sent = tuple[str, tuple[str, BinaryIO]]
"""A file in a form: part name, file name, content."""
_MOST = 500
"""Most rows in an API answer."""
_CURSOR = re.compile(r'[?&]cursor=([^&>]+)[^>]*>; rel="next"')


class Api:
    """REST API client; answers are records, see :mod:`.answers`.

    Every method raises :class:`CliError` if the server cannot be reached or refuses.

    Args:
        client: HTTP client with the dashboard's address as base URL.
        where: Dashboard address for messages; empty in this process.
        scheduler: Scheduler that answers in this process; ``None`` with a server.
    """

    def __init__(
        self, client: httpx.AsyncClient, where: str = "", scheduler: Scheduler | None = None
    ) -> None:
        self._client = client
        self._where = where
        self.scheduler = scheduler

    @property
    def now(self) -> datetime:
        """Return the current time: the scheduler's in this process, else this machine's."""
        return self.scheduler.clock.now() if self.scheduler is not None else datetime.now(UTC)

    @overload
    async def get(self, address: str, **query: Any) -> Any: ...
    @overload
    async def get(self, address: str, kind: type[T], **query: Any) -> T: ...
    async def get(self, address: str, kind: Any = dict, **query: Any) -> Any:
        """Send GET; return the object of the answer as a :class:`~.answers.Record`, or the answer as a value of ``kind``."""
        return self._read(await self._send("GET", address, query=query), kind)

    async def rows(
        self, address: str, *, limit: int | None = None, field: str = "", **query: Any
    ) -> Any:
        """Send GET; return a list as records.

        Args:
            address: Path of the list.
            limit: Most rows to return, over as many pages as needed. Default: the rows of one answer.
            field: Field of the answer that has the rows. Default: the answer is the list.
            query: Query parameters.
        """
        items: list[Any] = []
        while limit is None or len(items) < limit:
            if limit is not None:
                query["limit"] = min(limit - len(items), _MOST)
            answer = await self._send("GET", address, query=query)
            items += self._read(answer)[field] if field else self._read(answer, list)
            following = _CURSOR.search(answer.headers.get("Link", ""))
            if following is None or limit is None:
                break
            query["cursor"] = httpx.QueryParams(f"cursor={following[1]}")["cursor"]
        return items

    @overload
    async def post(self, address: str, *, body: Body = None) -> Any: ...
    @overload
    async def post(self, address: str, kind: type[T], body: Body = None) -> T: ...
    async def post(self, address: str, kind: Any = dict, body: Body = None) -> Any:
        """Send POST with a JSON body; return the answer as :meth:`get` does."""
        return self._read(await self._send("POST", address, body=body), kind)

    async def send_files(self, address: str, fields: dict[str, str], files: Sequence[Sent]) -> Any:
        """Send POST with form fields and files; return the object of the answer as a record."""
        return self._read(await self._send("POST", address, fields=fields, files=files))

    async def content(self, address: str) -> AsyncIterator[bytes]:
        """Stream a file as bytes, piece by piece."""
        async with self._streamed(address, {}) as answer:
            async for piece in answer.aiter_bytes():
                yield piece

    @overload
    async def delete(self, address: str, **query: Any) -> Any: ...
    @overload
    async def delete(self, address: str, kind: type[T], **query: Any) -> T: ...
    async def delete(self, address: str, kind: Any = dict, **query: Any) -> Any:
        """Send DELETE; return the answer as :meth:`get` does."""
        return self._read(await self._send("DELETE", address, query=query), kind)

    async def text(self, address: str, **query: Any) -> AsyncIterator[str]:
        """Stream a file as text, piece by piece."""
        async with self._streamed(address, query) as answer:
            async for piece in answer.aiter_text():
                yield piece

    @contextlib.asynccontextmanager
    async def _streamed(self, address: str, query: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        request = self._client.build_request("GET", address, params=_plain(query))
        try:
            answer = await self._client.send(request, stream=True)
            try:
                if not answer.is_success:
                    await answer.aread()
                    raise refusal(answer, self._where)
                yield answer
            finally:
                await answer.aclose()
        except httpx.HTTPError as error:
            raise unreachable(error, self._where) from error

    async def _send(
        self,
        method: str,
        address: str,
        *,
        query: dict[str, Any] | None = None,
        body: Body = None,
        fields: dict[str, str] | None = None,
        files: Sequence[Sent] = (),
    ) -> httpx.Response:
        try:
            answer = await self._client.request(
                method,
                address,
                params=_plain(query or {}),
                json=None if body is None else _plain_body(body),
                data=fields,
                files=list(files) or None,
            )
        except httpx.HTTPError as error:
            raise unreachable(error, self._where) from error
        if not answer.is_success:
            raise refusal(answer, self._where)
        return answer

    def _read(self, answer: httpx.Response, kind: Any = dict) -> Any:
        if kind in (dict, list):
            return read(answer.content, self._where, kind)
        return typed(answer.content, self._where, kind)


def _plain_body(value: Any) -> Any:
    """Return a body for JSON: instants as texts, of a model the fields that are set."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, dict):
        return {name: _plain_body(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_body(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _plain(query: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in query.items()
        if value not in (None, "", ())
    }
