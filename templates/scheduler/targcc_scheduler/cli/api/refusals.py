"""What a server refuses, and why it cannot be reached, as one sentence with what to do."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import httpx

from ...search.errors import SearchError
from ..group import CliError

_ADVICE = {
    "urn:targcc:problem:no-such-job": "\n  targcc job list shows what there is",
    "urn:targcc:problem:sign-in-first": "\n  give one with --token, TARGCC_TOKEN or a profile",
    "urn:targcc:problem:the-question-took-too-long": "\n  TARGCC_QUERY_SECONDS says how long it may take.",
}


def refusal(answer: httpx.Response, where: str) -> CliError:
    """What a status other than success means."""
    problem = _problem(answer)
    if problem is None:
        return CliError(_not_ours(answer, where))
    title, detail = str(problem.get("title", "")), str(problem.get("detail", ""))
    kind = str(problem.get("type", ""))
    if kind == "urn:targcc:problem:the-arguments-do-not-fit":
        return CliError(f"the arguments do not fit: {detail}")
    if "search" in problem and "position" in problem:
        wrong = SearchError(
            "", text=str(problem["search"]), at=problem["position"], length=problem["length"]
        )
        return CliError(f"the search cannot be understood {detail}\n{wrong.frame}")
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        detail = f"{title[:1].lower()}{title[1:]}: {detail}"
    return CliError(f"{detail or title}{_ADVICE.get(kind, '')}{_whose(answer, where)}")


def _problem(answer: httpx.Response) -> dict[str, Any] | None:
    if "json" not in answer.headers.get("Content-Type", ""):
        return None
    try:
        found = answer.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) and "title" in found else None


def _whose(answer: httpx.Response, where: str) -> str:
    """Who refuses, where that is about the caller and not about the request."""
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
    """Why there is no answer."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CliError(
                f"the certificate of {where} cannot be trusted: {cause.verify_message}\n"
                "  --ca FILE, or the profile's, names the authority that signed it."
            )
        if isinstance(cause, ssl.SSLError):
            return CliError(f"{where} does not speak TLS: is it http:// instead?")
    if isinstance(error, httpx.TimeoutException):
        return CliError(f"{where} does not answer in time")
    if isinstance(error, httpx.RemoteProtocolError):
        return CliError(f"{where} does not speak HTTP: is it https:// instead?")
    reason = next((str(one) for one in reversed(causes) if str(one)), type(error).__name__)
    return CliError(f"{where} cannot be reached: {_one_line(reason)}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
