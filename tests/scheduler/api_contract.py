"""Check each API response of a test against the OpenAPI description."""

import json
import re
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from targcc_scheduler.web import openapi

__all__ = ["holds"]


async def holds(answer: httpx.Response) -> None:
    """Compare a response with its OpenAPI description; ignore responses that do not come from the API. For ``event_hooks`` of httpx."""
    operation = _operation(answer.request.method, answer.request.url.path)
    if operation is None:
        return
    await answer.aread()
    what = f"{answer.request.method} {answer.request.url} -> {answer.status_code}"
    described = operation["responses"].get(str(answer.status_code))
    assert described is not None, f"{what}: no such status in the description"
    content = described.get("content")
    if content is None:
        assert not answer.content, f"{what}: a body that is not described"
        return
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content, f"{what}: {kind} is not described"
    if kind.endswith("json"):
        wrong = next(
            _validator(json.dumps(content[kind]["schema"])).iter_errors(answer.json()), None
        )
        assert wrong is None, f"{what}: {wrong.message if wrong else ''}"


@cache
def _templates() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    paths = openapi.schema()["paths"]
    fixed_first = sorted(paths, key=lambda path: path.count("{"))
    return [
        (re.compile(r"(?:/jobs)?" + re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path))), paths[path])
        for path in fixed_first
    ]


def _operation(method: str, path: str) -> dict[str, Any] | None:
    for template, methods in _templates():
        if template.fullmatch(path) and method.lower() in methods:
            return methods[method.lower()]
    return None


@cache
def _validator(schema: str) -> Draft202012Validator:
    components = openapi.schema()["components"]
    return Draft202012Validator({**json.loads(schema), "components": components})
