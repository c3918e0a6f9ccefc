"""Pull: copy a job's values from its code into the spec."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from targcc_gen.errors import InputError, JobCodeError, UnknownJobError
from targcc_gen.names import JobName, same_job
from targcc_gen.render import job_paths, render_job
from targcc_gen.spec import Param, add_job, build_job, change_jobs, job_values
from targcc_gen.spec.blueprint_names import own_params
from targcc_gen.spec.rules import OF_UNIQUE
from targcc_gen.sync.disk import Disk
from targcc_gen.sync.jobs.arguments import (
    PARAMS,
    PROCEDURE,
    Drift,
    closest_blueprint,
    constant_name,
    declared,
    drift,
)
from targcc_gen.sync.jobs.decorator import (
    ALIASES,
    DESCRIPTION,
    LEFT_SPEC,
    NAME,
    SCHEDULE,
    DecoratedJob,
    Unread,
    job_in,
    spec_values,
)
from targcc_gen.sync.jobs.decorator_merge import WHEN, drifted
from targcc_gen.sync.jobs.removed import key_of, stray_job
from targcc_gen.sync.lock import Lock

if TYPE_CHECKING:
    from targcc_gen.spec import JobSpec, Spec

_WHEN_KEYS = ("cron", "every", "anchor", "after", "at", "type")
_LIKE_ENOUGH = 0.4
_PARAM_TYPES = {
    **{name: name for name in ("str", "int", "float", "bool", "date", "datetime")},
    **{f"{kind}[{item}]": f"list[{item}]" for kind in ("list", "Sequence") for item in ("str", "int")},
    **dict.fromkeys(("dict", "dict[str, Any]", "Mapping[str, Any]"), "dict"),
    "UUID": "uuid",
}  # fmt: skip


@dataclass(frozen=True)
class Pulled:
    """A spec updated from the code.

    Attributes:
        text: Text of the spec.
        changed: Changed arguments of `@job`, by job.
        adopted: Jobs that were new to the spec.
        unread: Arguments that only running Python could compute, by job.
    """

    text: str
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    adopted: tuple[str, ...] = ()
    unread: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def pull(spec: Spec, text: str, root: Path, keys: Iterable[str]) -> Pulled:
    """Copy the values of jobs from their code into the spec.

    Args:
        spec: The spec.
        text: Text of the spec.
        root: The project's folder.
        keys: Keys of the jobs; a job that is new to the spec is adopted.

    Raises:
        InputError: A job is not in the code, or its values fit no spec.
    """
    disk, lock = Disk(root), Lock.load(root)
    changed: dict[str, tuple[str, ...]] = {}
    unread: dict[str, tuple[str, ...]] = {}
    adopted: list[str] = []
    for key in keys:
        if key not in spec.jobs:
            text = add_job(text, key, _adopted(spec, key, disk, lock))
            adopted.append(key)
            continue
        module = render_job(spec, key)[0]
        now, was = _job_at(module.path, disk, key), _job_before(module.path, lock)
        wanted = job_in(module.content)
        assert wanted is not None and module.job is not None  # noqa: PT018 - the generator made it
        holds = module.job.defaults
        names = drifted(now, wanted, was, keep=module.job.keep, defaults=holds)
        values = {name: now.means(name, holds) for name in names}
        code = disk.look(module.path).text or b""
        entry = lock.entries.get(module.path)
        base = module.content if entry is None or entry.base is None else entry.base
        facts = module.job
        differences = drift(code, base, module.content, blueprint=facts.blueprint, keep=facts.keep)
        try:
            known = _with_params_of(spec, key, values, code)
            job = _with_drift(_changed(known, key, now, values, holds), differences, key, code)
        except ValueError as error:
            unread[key] = (str(error),)
            continue
        if names or differences.words:
            changed[key] = (*names, *differences.words)
            text = change_jobs(text, {key: job})
    return Pulled(text, changed, tuple(adopted), unread)


def as_in_code(spec: Spec, key: str, root: Path) -> JobSpec:
    """Read a job that is not in the spec from its code, as far as the code can be read, for a record of the job.

    Raises:
        InputError: The job is not in the code, or its values fit no spec.
    """
    return _adopted(spec, key, Disk(root), Lock.load(root), strict=False)


def find_in_code(spec: Spec, name: str, root: Path) -> str:
    """Return the key of a job in the code for a name given by a user.

    Raises:
        InputError: No job in the code has the name.
    """
    wanted = JobName.parse(name).key
    disk, lock = Disk(root), Lock.load(root)
    for key in [*spec.jobs, *strays(lock, disk)]:
        if same_job(key, wanted):
            return key
    job = _job_at(job_paths(spec, wanted)[0], disk, wanted)
    return key_of(job)


def strays(lock: Lock, disk: Disk) -> dict[str, str]:
    """Return the paths of the job modules that the lock knows and whose job is in the code, by the job's key."""
    result = {}
    for path, entry in lock.entries.items():
        if entry.owner == "scaffold" and path.endswith(".py") and "/jobs/" in path:
            text = disk.look(path).text
            job = stray_job(entry, text) if text is not None else None
            if job is not None:
                result[key_of(job)] = path
    return result


def _job_at(path: str, disk: Disk, key: str) -> DecoratedJob:
    text = disk.look(path).text
    if text is None:
        raise UnknownJobError(f"no job {key} in the code", hint=f"its module would be {path}")
    try:
        job = job_in(text, f"{key}Job")
    except (SyntaxError, ValueError) as error:
        raise JobCodeError(f"{path} is no Python: {error}") from error
    if job is None:
        raise JobCodeError(f"{path} has no @job(…) for {key}")
    return job


def _job_before(path: str, lock: Lock) -> DecoratedJob | None:
    entry = lock.entries.get(path)
    base = None if entry is None else entry.base
    return None if base is None else job_in(base)


def _changed(
    spec: Spec, key: str, now: DecoratedJob, in_code: Mapping[str, Any], holds: Mapping[str, Any]
) -> JobSpec:
    values = dict(job_values(spec.jobs[key]))
    if any(name in WHEN for name in in_code):
        # The default of `overlap` depends on the schedule.
        in_code = {**in_code, **{name: now.means(name, holds) for name in (*WHEN, "overlap")}}
    for name in in_code:
        if name not in {"misfire", "misfire_grace", *WHEN}:
            values.pop(name, None)
    if SCHEDULE in in_code:
        for name in _WHEN_KEYS:
            values.pop(name, None)
    new = spec_values(
        {
            name: value
            for name, value in in_code.items()
            if value is not None and (name, value) != (NAME, key)
        }
    )
    misfire = _misfire(values.pop("misfire", {}), new.pop("misfire", {}), now, holds)
    if misfire:
        values["misfire"] = misfire
    new = _with_keys(spec, new)
    if "type" in new or isinstance(new.get("after"), list):  # a timezone needs a schedule
        values.pop("timezone", None)
    if "unique" not in {**values, **new}:  # these keys need `unique`
        values = {name: value for name, value in values.items() if name not in OF_UNIQUE}
    return build_job(key, {**values, **new})


def _with_drift(job: JobSpec, differences: Drift, key: str, text: bytes) -> JobSpec:
    """Replace the job's arguments and procedure by the code's, where they differ.

    Raises:
        ValueError: The spec cannot express the code's value; the message is the word for `keep`.
    """
    values = dict(job_values(job))
    if differences.names:
        readable, code = _params(text).get("params", {}), declared(text)
        names = set() if code is None else code.arguments.keys()
        if any(name in names and name not in readable for name in differences.names):
            raise ValueError(PARAMS)
        own = own_params(job.blueprint)
        values[PARAMS] = {
            name: kind for name, kind in readable.items() if name in job.params or name not in own
        } | {
            name: str(kind) for name, kind in job.params.items() if name in names - readable.keys()
        }
    if differences.procedure:
        code = declared(text)
        try:
            values[PROCEDURE] = ast.literal_eval("" if code is None else code.procedure)
        except (ValueError, SyntaxError) as error:
            raise ValueError(PROCEDURE) from error
    return build_job(key, values) if differences.words else job


def _with_params_of(spec: Spec, key: str, values: Mapping[str, Any], text: bytes) -> Spec:
    """Add the parameters that the code uses in `unique` or `limit` keys and the spec lacks."""
    unique, limit, job = values.get("unique"), values.get("limit"), spec.jobs[key]
    by = [*unique] if isinstance(unique, tuple) else []
    by += [limit.get("key")] if isinstance(limit, dict) else []
    missing = [name for name in by if name is not None and name not in job.params]
    if not missing:
        return spec
    params = _params(text).get("params", {})
    more = {name: Param.parse(params[name]) for name in missing if name in params}
    changed = job.model_copy(update={"params": {**job.params, **more}})
    return spec.model_copy(update={"jobs": {**spec.jobs, key: changed}})


def _with_keys(spec: Spec, values: dict[str, Any]) -> dict[str, Any]:
    """Replace stable names in `after` by the keys of the spec: code refers to jobs by stable name."""
    if not isinstance(values.get("after"), list):
        return values
    keys = {spec.stable_name(key): key for key in spec.jobs}
    return {**values, "after": [keys.get(name, name) for name in values["after"]]}


def _misfire(
    before: Mapping[str, Any],
    new: Mapping[str, Any],
    now: DecoratedJob,
    holds: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the spec's `misfire`: old and new values, only the parts that the code sets."""
    parts = {"misfire": "policy", "misfire_grace": "grace"}
    parts_in_code = {part for name, part in parts.items() if now.means(name, holds) is not None}
    return {part: value for part, value in {**before, **new}.items() if part in parts_in_code}


def _adopted(spec: Spec, key: str, disk: Disk, lock: Lock, *, strict: bool = True) -> JobSpec:
    """Build the spec of a job from its code alone. `strict=False` skips arguments that cannot be read."""
    paths = job_paths(spec, key)
    text = disk.look(paths[0]).text or b""
    now = _job_at(paths[0], disk, key)
    in_code = {
        name: now.means(name)
        for name in [SCHEDULE, *now.arguments]
        if name not in {ALIASES, LEFT_SPEC}
        and now.means(name) is not None
        and (name, now.means(name)) != (NAME, key)
    }
    if not strict:
        in_code = {name: value for name, value in in_code.items() if not isinstance(value, Unread)}
        in_code = (
            in_code
            if any(name in WHEN for name in in_code)
            else {SCHEDULE: ("type", "manual")} | in_code
        )
    try:
        values = _with_keys(spec, spec_values(in_code))
    except ValueError as error:
        raise unreadable(paths[0], key, (str(error),)) from error
    values = _with_keep(values | _params(text))
    plain = build_job(key, values)
    entry = lock.entries.get(paths[0])
    base = text if entry is None or entry.base is None else entry.base
    name = _blueprint(spec, key, plain, base)
    if name != "blank":
        values["blueprint"] = name
    if name == "stored-procedure" and "PROCEDURE" in now.constants:
        values["procedure"] = ast.literal_eval(now.constants["PROCEDURE"])
    if DESCRIPTION not in values:
        from targcc_gen.render.blueprints import blueprint

        if now.docstring not in {"", blueprint(name).docstring}:
            values[DESCRIPTION] = now.docstring
    return build_job(key, values)


def _with_keep(values: dict[str, Any]) -> dict[str, Any]:
    """Move `unique` and `limit` to `keep` where their keys are parameters that the spec cannot express."""
    known, by = values.get("params", {}), values.get("unique")
    kept = []
    if isinstance(by, list) and not known.keys() >= set(by):
        kept += [name for name in ("unique", *OF_UNIQUE) if name in values]
    if values.get("limit", {}).get("key") not in {None, *known}:
        kept.append("limit")
    pulled = {name: value for name, value in values.items() if name not in kept}
    return pulled | {"keep": kept} if kept else values


def unreadable(path: str, key: str, names: Iterable[str]) -> InputError:
    """Return the error for arguments that only running Python could compute."""
    listed = ", ".join(names)
    return JobCodeError(
        f"{path}: what {listed} of {key} says is worked out by code",
        hint=f"write it as a plain value, or say in targcc.yaml that it is meant so: keep: [{listed}]",
    )


def _blueprint(spec: Spec, key: str, job: JobSpec, text: bytes) -> str:
    """Return the closest blueprint of a module; `blank` when none is close."""
    facts = render_job(spec.model_copy(update={"jobs": {**spec.jobs, key: job}}), key)[0].job
    assert facts is not None  # a job's module has facts
    return closest_blueprint(text, facts, at_least=_LIKE_ENOUGH) or "blank"


def _params(text: bytes) -> dict[str, Any]:
    """Return the typed arguments that the spec can express; other arguments stay in the code."""
    from targcc_gen.render.blueprints import own_parameters

    result: dict[str, str] = {}
    try:
        pairs = own_parameters(text.decode())
    except LookupError:
        return {}
    constants = {
        name: node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and (name := constant_name(node.targets[0]))
    }
    for argument, default in pairs:
        kind = _PARAM_TYPES.get(ast.unparse(argument.annotation) if argument.annotation else "")
        if kind is None:
            continue
        if default is None:
            result[argument.arg] = kind
            continue
        node = constants.get(default.id, default) if isinstance(default, ast.Name) else default
        try:
            result[argument.arg] = str(Param(kind, _default_of(node), required=False))
        except (ValueError, TypeError):
            continue
    return {"params": result} if result else {}


_MADE: Mapping[str, Callable[..., Any]] = {
    "date": date,
    "datetime": datetime,
    "datetime.fromisoformat": datetime.fromisoformat,
    "UUID": UUID,
}


def _default_of(node: ast.expr) -> Any:
    """Return the value of a default: a literal, or a call of `date`, `datetime` or `UUID` with literals.

    Raises:
        ValueError: Only running Python could compute the value.
    """
    if not isinstance(node, ast.Call):
        value = ast.literal_eval(node)
        return list(value) if isinstance(value, tuple) else value
    made = _MADE.get(ast.unparse(node.func))
    if made is None or node.keywords:
        raise ValueError(ast.unparse(node.func))
    return made(*(ast.literal_eval(argument) for argument in node.args))
