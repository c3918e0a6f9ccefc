"""Unusable results, errors, log lines and progress values of jobs.

Each poison is a function of the context that returns the result of ``execute``, together with the state in which its run must end.
``POISONS`` is for async and sync jobs.
"""

# ruff: noqa: ARG001, TRY301 - this is what it is about

import asyncio
import itertools
import math
import os
import pickle
import threading
from collections import UserDict, UserString
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from targcc_scheduler import JobContext, JobResult, job

OK, FAILED = "succeeded", "failed"
HUGE = int(os.environ.get("HUGE_POISON", "5000000"))
"""Length of huge texts."""
POISONS: dict[str, tuple[Callable[[JobContext], Any], str]] = {}


def poison(state: str) -> Callable[[Callable[[JobContext], Any]], Callable[[JobContext], Any]]:
    """Add a function to the collection."""

    def add(function: Callable[[JobContext], Any]) -> Callable[[JobContext], Any]:
        assert function.__name__ not in POISONS
        POISONS[function.__name__] = (function, state)
        return function

    return add


def _returning(name: str, state: str, make: Callable[[], Any]) -> None:
    POISONS[name] = (lambda _ctx: make(), state)


def _forced(**fields: Any) -> JobResult:
    """Return a result with invalid fields, set past its validation."""
    result = JobResult.success("done")
    for name, value in fields.items():
        object.__setattr__(result, name, value)
    return result


def _with(value: Any) -> Callable[[], JobResult]:
    return lambda: JobResult.success("done").with_metadata(value=value)


class Rude:
    """Object whose methods raise errors."""

    def _raise(self, *_: object) -> Any:
        raise ValueError("no")

    __str__ = __repr__ = __iter__ = __len__ = __bool__ = __hash__ = __eq__ = __format__ = _raise


class RudeBase(Rude):
    """Object whose methods raise an error that ``except Exception`` does not catch."""

    def _raise(self, *_: object) -> Any:
        raise KeyboardInterrupt

    __str__ = __repr__ = __iter__ = __len__ = __bool__ = __hash__ = __eq__ = __format__ = _raise


class RudeMapping(UserDict):  # type: ignore[type-arg]
    """Mapping that cannot be read."""

    def __iter__(self) -> Any:
        raise ValueError("no")

    items = keys = __len__ = __iter__


class Liar:
    """Object that claims to be a result through ``__class__``."""

    @property
    def __class__(self) -> type:
        return JobResult


class RudeLiar:
    """Object whose ``__class__`` raises an error."""

    @property
    def __class__(self) -> type:
        raise ValueError("no")


class OddText(str):
    """Text subclass with faulty methods."""

    __slots__ = ()

    def __str__(self) -> str:
        raise ValueError("no")

    def __len__(self) -> int:
        return -1  # noqa: PLE0303 - on purpose

    replace = encode = split = strip = splitlines = __getitem__ = __str__  # type: ignore[assignment]


class Broken(JobResult):
    """Result whose message cannot be read."""

    @property
    def message(self) -> str:  # type: ignore[override]
        """Raise an error."""
        raise ValueError("no")


class BrokenOk(JobResult):
    """Result whose ``ok`` cannot be read."""

    @property
    def ok(self) -> bool:  # type: ignore[override]
        """Raise an error."""
        raise KeyboardInterrupt


class Meta(type):
    """Metaclass of classes whose name cannot be read."""

    @property
    def __name__(cls) -> str:
        raise ValueError("no")

    __module__ = __name__  # type: ignore[assignment]  # noqa: A003


class Nameless(metaclass=Meta):
    """Object whose class name cannot be read."""


class NamelessError(Exception, metaclass=Meta):
    """Error whose class name cannot be read."""


class RudeError(Exception):
    """Error without a readable text."""

    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


class RudeBaseError(BaseException):
    """Error without a readable text that is not an ``Exception``."""

    def __str__(self) -> str:
        raise SystemExit(1)

    __repr__ = __str__


class OddTextError(Exception):
    """Error whose message is an odd text."""

    def __str__(self) -> str:
        return OddText("odd")


class NotesError(Exception):
    """Error whose notes cannot be read."""

    @property
    def __notes__(self) -> list[str]:
        raise KeyboardInterrupt


class UnpicklableError(Exception):
    """Error that holds a lock, so pickling fails."""

    def __init__(self) -> None:
        super().__init__(threading.Lock())

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("no")


class LyingError(Exception):
    """Error that claims to be another class through ``__class__``."""

    @property
    def __class__(self) -> type:
        raise ValueError("no")


class Colour(IntEnum):
    """Named integers."""

    RED = 1


@dataclass
class Point:
    """Dataclass with a field that raises errors."""

    x: float
    y: Any


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _nested_dicts(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"k": value}
    return value


def _cycle() -> Any:
    value: dict[str, Any] = {"list": []}
    value["list"] += [value] * 50
    value["self"] = value
    return value


# Results with fields of wrong types: the constructor refuses them, and readers survive forced fields.
_returning("made_ok_text", FAILED, lambda: JobResult(ok="no", message="x"))  # type: ignore[arg-type]
_returning("made_ok_number", FAILED, lambda: JobResult(ok=2, message="x"))  # type: ignore[arg-type]
_returning("made_ok_none", FAILED, lambda: JobResult(ok=None, message="x"))  # type: ignore[arg-type]
_returning("made_message_none", FAILED, lambda: JobResult.success(None))  # type: ignore[arg-type]
_returning("made_message_bytes", FAILED, lambda: JobResult.success(b"x"))  # type: ignore[arg-type]
_returning("made_message_error", FAILED, lambda: JobResult.failure(ValueError("x")))  # type: ignore[arg-type]
_returning("made_metadata_list", FAILED, lambda: JobResult(ok=True, message="x", metadata=[1]))  # type: ignore[arg-type]
_returning("made_exception_text", FAILED, lambda: JobResult.failure("x", "oops"))  # type: ignore[arg-type]
_returning("made_retry_text", FAILED, lambda: JobResult.failure("x", retry="yes"))  # type: ignore[arg-type]
_returning("forced_ok_text", FAILED, lambda: _forced(ok="no"))
_returning("forced_ok_number", FAILED, lambda: _forced(ok=2))
_returning("forced_ok_none", FAILED, lambda: _forced(ok=None))
_returning("forced_ok_nan", FAILED, lambda: _forced(ok=math.nan))
_returning("forced_ok_rude", FAILED, lambda: _forced(ok=Rude()))
_returning("forced_message_none", OK, lambda: _forced(message=None))
_returning("forced_message_number", OK, lambda: _forced(message=10**5000))
_returning("forced_message_bytes", OK, lambda: _forced(message=b"\xff" * (HUGE // 5)))
_returning("forced_message_rude", OK, lambda: _forced(message=Rude()))
_returning("forced_message_rude_base", OK, lambda: _forced(message=RudeBase()))
_returning("forced_metadata_none", OK, lambda: _forced(metadata=None))
_returning("forced_metadata_rude", OK, lambda: _forced(metadata=Rude()))
_returning("forced_metadata_text", OK, lambda: _forced(metadata="text"))
_returning("forced_exception_text", FAILED, lambda: _forced(ok=False, exception="oops"))
_returning("forced_exception_rude", FAILED, lambda: _forced(ok=False, exception=Rude()))
_returning("forced_retry_rude", FAILED, lambda: _forced(ok=False, retry=Rude()))
_returning("forced_all_deleted", FAILED, lambda: object.__new__(JobResult))
_returning("broken_message", FAILED, lambda: Broken(ok=True, message="x"))
_returning("broken_message_unmade", FAILED, lambda: object.__new__(Broken))
_returning("broken_ok_unmade", FAILED, lambda: object.__new__(BrokenOk))

# Messages that no database stores unchanged.
_returning("message_surrogate", OK, lambda: JobResult.success("a\ud800b"))
_returning("message_nul", OK, lambda: JobResult.success("a\x00b"))
_returning("message_lines", OK, lambda: JobResult.success("a\r\n\u2028b\n" * 1000))
_returning("message_huge", OK, lambda: JobResult.success("x" * HUGE))
_returning("message_huge_secrets", OK, lambda: "token=abc " * 1_000_000)
_returning("message_odd_text", OK, lambda: JobResult.success(OddText("odd")))
_returning("text_odd", OK, lambda: OddText("odd"))
_returning("failure_surrogate", FAILED, lambda: JobResult.failure("a\udfffb\x00"))

# Metadata that JSON or a database cannot represent.
_returning("metadata_nan", OK, _with(math.nan))
_returning("metadata_infinity", OK, _with([math.inf, -math.inf]))
_returning("metadata_surrogate", OK, _with("a\ud800b"))
_returning("metadata_surrogate_key", OK, _with({"a\ud800b\x00": 1}))
_returning("metadata_nul", OK, _with("a\x00b"))
_returning("metadata_cycle", OK, lambda: JobResult.success("done").with_metadata(value=_cycle()))
_returning(
    "metadata_deep_lists", OK, lambda: JobResult.success("x").with_metadata(v=_nested(10_000))
)
_returning("metadata_deep_dicts", OK, lambda: _forced(metadata=_nested_dicts(10_000)))
_returning("metadata_rude", OK, _with(Rude()))
_returning("metadata_rude_base", OK, _with(RudeBase()))
_returning("metadata_rude_mapping", OK, _with(RudeMapping()))
_returning("metadata_is_rude_mapping", OK, lambda: _forced(metadata=RudeMapping()))
_returning("metadata_liar", OK, _with([Liar(), RudeLiar(), Nameless()]))
_returning(
    "metadata_keys", OK, lambda: _forced(metadata={1: 1, None: 2, (3,): 3, b"\xff": 4, "1": 5})
)
_returning("metadata_huge_int", OK, _with([10**5000, -(10**30), 2**63]))
_returning("metadata_set", OK, _with({1, "two", (3,)}))
_returning("metadata_generator", OK, _with(x for x in range(3)))
_returning(
    "metadata_endless", OK, lambda: JobResult.success("x").with_metadata(v=itertools.count())
)
_returning(
    "metadata_broken_generator",
    OK,
    lambda: JobResult.success("x").with_metadata(v=(1 / x for x in (1, 0))),
)
_returning("metadata_huge_text", OK, lambda: JobResult.success("x").with_metadata(v="x" * HUGE))
_returning(
    "metadata_huge_bytes", OK, lambda: JobResult.success("x").with_metadata(v=b"\xff" * HUGE)
)
_returning(
    "metadata_many", OK, lambda: JobResult.success("x").with_metadata(v=list(range(1_000_000)))
)
_returning(
    "metadata_many_keys",
    OK,
    lambda: JobResult.success("x").with_metadata(**{f"k{n}": n for n in range(50_000)}),
)
_returning("metadata_odd_text", OK, _with({OddText("odd"): OddText("odd")}))
_returning("metadata_dataclass", OK, _with(Point(math.nan, Rude())))
_returning("metadata_class", OK, _with([JobResult, len, Ellipsis, NotImplemented, object()]))
_returning(
    "metadata_values",
    OK,
    _with(
        [
            Decimal("NaN"),
            UUID(int=1),
            datetime.now(UTC),
            Colour.RED,
            Fraction(1, 3),
            1j,
            PurePosixPath("/x"),
            UserString("u"),
        ]
    ),
)

# Returned values that are not results.
_returning("returned_number", FAILED, lambda: 3)
_returning("returned_false", FAILED, lambda: False)
_returning("returned_nan", FAILED, lambda: math.nan)
_returning("returned_bytes", FAILED, lambda: b"\xff" * 1_000_000)
_returning("returned_dict", FAILED, lambda: {"ok": True})
_returning("returned_class", FAILED, lambda: JobResult)
_returning("returned_rude", FAILED, Rude)
_returning("returned_rude_base", FAILED, RudeBase)
_returning("returned_liar", FAILED, Liar)
_returning("returned_rude_liar", FAILED, RudeLiar)
_returning("returned_nameless", FAILED, Nameless)
_returning("returned_exception", FAILED, lambda: ValueError("returned"))
_returning("returned_not_implemented", FAILED, lambda: NotImplemented)
_returning("returned_generator", FAILED, lambda: (x for x in "ab"))
_returning("returned_lock", FAILED, threading.Lock)


async def _numbers() -> Any:
    yield 1


_returning("returned_async_generator", FAILED, _numbers)


# Exceptions.
def _raising(name: str, make: Callable[[], BaseException]) -> None:
    def function(_ctx: JobContext) -> Any:
        raise make()

    POISONS[name] = (function, FAILED)


def _with_cause() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def _long_chain() -> BaseException:
    error: BaseException = ValueError("root")
    for _ in range(3_000):
        following = ValueError("next")
        following.__cause__ = error
        error = following
    return error


def _deep_group() -> BaseException:
    error: Exception = ValueError("root")
    for _ in range(500):
        error = ExceptionGroup("deep", [error])
    return error


def _with_notes(*notes: Any) -> BaseException:
    error = ValueError("noted")
    error.__notes__ = list(notes)
    return error


_raising("raised_str_raises", RudeError)
_raising("raised_str_exits", RudeBaseError)
_raising("raised_odd_text", OddTextError)
_raising("raised_notes_raise", NotesError)
_raising("raised_notes_rude", lambda: _with_notes(Rude(), RudeBase(), 3, "\ud800"))
_raising("raised_rude_argument", lambda: ValueError(Rude()))
_raising("raised_nameless", NamelessError)
_raising("raised_unpicklable", UnpicklableError)
_raising("raised_lying", LyingError)
_raising("raised_group", lambda: ExceptionGroup("many", [ValueError(n) for n in range(5_000)]))
_raising("raised_deep_group", _deep_group)
_raising(
    "raised_base_group", lambda: BaseExceptionGroup("stop", [KeyboardInterrupt(), SystemExit(1)])
)
_raising("raised_keyboard_interrupt", KeyboardInterrupt)
_raising("raised_system_exit", lambda: SystemExit(0))
_raising("raised_generator_exit", GeneratorExit)
_raising("raised_cancelled", asyncio.CancelledError)
_raising("raised_base", lambda: BaseException("base"))
_raising("raised_stop_iteration", lambda: StopIteration("value"))
_raising("raised_stop_async_iteration", lambda: StopAsyncIteration("value"))
_raising("raised_memory_error", MemoryError)
_raising("raised_cyclic_cause", _with_cause)
_raising("raised_long_chain", _long_chain)
_raising("raised_huge", lambda: ValueError("x" * HUGE))
_raising("raised_surrogate", lambda: ValueError("a\ud800b\x00"))
_raising("raised_empty", lambda: ValueError("\n\n"))


@poison(FAILED)
def raised_recursion(ctx: JobContext) -> Any:
    """Recurse without end."""
    return raised_recursion(ctx)


@poison(FAILED)
def raised_syntax_error(ctx: JobContext) -> Any:
    """Raise an error whose traceback has extra parts."""
    raise SyntaxError("bad", ("file\x00", 10**9, -5, "x" * 100_000, 10**9, 10**9))


# Log lines, progress, steps.


@poison(OK)
def logged_rude(ctx: JobContext) -> str:
    """Log values that cannot be shown."""
    ctx.log.info("rude", value=Rude(), base=RudeBase(), liar=RudeLiar(), odd=OddText("odd"))
    ctx.log.info(Rude())  # type: ignore[arg-type]
    ctx.log.info(None)  # type: ignore[arg-type]
    try:
        raise NotesError
    except NotesError:
        ctx.log.exception("notes")
    return "done"


@poison(OK)
def logged_texts(ctx: JobContext) -> str:
    """Log texts that no database stores unchanged."""
    ctx.log.warning("a\ud800b\x00", **{"k\ud800": "\x00", "odd key": OddText("\udfff")})
    ctx.log.error("%s %d", number=10**5000)
    return "done"


@poison(OK)
def logged_huge(ctx: JobContext) -> str:
    """Log a huge line, and a line with a huge value."""
    ctx.log.info("x" * HUGE)
    ctx.log.info("line", value="x" * HUGE, raw=b"\xff" * 1_000_000)
    return "done"


@poison(OK)
def logged_many(ctx: JobContext) -> str:
    """Log more lines than are kept."""
    for number in range(10_500):
        ctx.log.debug("line", number=number)
    return "done"


@poison(OK)
def progress_odd(ctx: JobContext) -> str:
    """Report progress that is not a number."""
    for done in (
        math.nan,
        math.inf,
        -math.inf,
        "half",
        None,
        10**400,
        Rude(),
        b"1",
        [1],
        Decimal("sNaN"),
    ):
        ctx.progress(done)  # type: ignore[arg-type]
        ctx.progress(1, done)  # type: ignore[arg-type]
    return "done"


@poison(OK)
def progress_nan_at_last(ctx: JobContext) -> str:
    """Report invalid progress that is written together with the result."""
    ctx.progress(math.nan, math.nan)
    return "done"


@poison(OK)
def progress_odd_numbers(ctx: JobContext) -> str:
    """Report extreme numbers as progress."""
    ctx.progress(1e308, -1)
    ctx.progress(5, 0)
    return "done"


# Async jobs only.
ASYNC: dict[str, tuple[Callable[[JobContext], Any], str]] = {}


async def _kept(ctx: JobContext, value: Any) -> str:
    await ctx.step("step", lambda: value)
    return "done"


async def _named(ctx: JobContext, name: Any) -> str:
    await ctx.step(name, lambda: 1)
    return "done"


async def _in_a_task(error: BaseException) -> Any:
    async def task() -> None:
        raise error

    await asyncio.gather(task())


async def _cancels_itself() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return "done"


async def _stops_its_loop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    return "done"


async def _a_coroutine() -> str:
    return "never awaited"


async def _gives(value: Any) -> Any:
    return value


ASYNC["step_cycle"] = (lambda ctx: _kept(ctx, _cycle()), FAILED)
ASYNC["step_deep"] = (lambda ctx: _kept(ctx, _nested(10_000)), FAILED)
ASYNC["step_surrogate"] = (lambda ctx: _kept(ctx, "\ud800"), FAILED)
ASYNC["step_nul"] = (lambda ctx: _kept(ctx, "a\x00b"), OK)
ASYNC["step_rude"] = (lambda ctx: _kept(ctx, Rude()), FAILED)
ASYNC["step_nan"] = (lambda ctx: _kept(ctx, math.nan), FAILED)
ASYNC["step_name_nul"] = (lambda ctx: _named(ctx, "a\x00b"), FAILED)
ASYNC["step_name_surrogate"] = (lambda ctx: _named(ctx, "a\ud800"), FAILED)
ASYNC["step_name_number"] = (lambda ctx: _named(ctx, 3), FAILED)
ASYNC["task_exits"] = (lambda _: _in_a_task(SystemExit(3)), FAILED)
ASYNC["task_interrupts"] = (lambda _: _in_a_task(KeyboardInterrupt()), FAILED)
ASYNC["cancels_itself"] = (lambda _: _cancels_itself(), FAILED)
ASYNC["stops_its_loop"] = (lambda _: _stops_its_loop(), OK)
ASYNC["returns_a_coroutine"] = (lambda _: _gives(_a_coroutine()), FAILED)


@job(retries=0)
class PoisonJob:
    """Run one poison of the collection."""

    async def execute(self, ctx: JobContext, name: str) -> Any:
        served = (POISONS | ASYNC)[name][0](ctx)
        return await served if name in ASYNC else served


@job(retries=0)
class PlainPoisonJob:
    """Run one poison in a thread."""

    def execute(self, ctx: JobContext, name: str) -> Any:
        return POISONS[name][0](ctx)


@job("* * * * * *", overlap="allow", misfire="run_all", retries=0)
class BystanderJob:
    """Uninvolved job, due every second."""

    async def execute(self, ctx: JobContext) -> None: ...


ALL = [("Poison", name) for name in POISONS | ASYNC] + [("PlainPoison", name) for name in POISONS]
"""Pairs of job and poison."""


def state_of(name: str) -> str:
    """Return the state in which a run with this poison must end."""
    return (POISONS | ASYNC)[name][1]
