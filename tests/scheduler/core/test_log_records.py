"""Log records of the scheduler in the handlers of a host application."""

import io
import logging
from collections.abc import Iterator

import pytest
from targcc_scheduler import Settings
from targcc_scheduler.core.masking import MASK, MaskedTraceback
from targcc_scheduler.core.secrets import register_secret
from targcc_scheduler.kernel.jobs.context import RunLog

SECRET = "hunter2-Very-Secret"


class Host(logging.Handler):
    """Handler that keeps records, like a handler that ships records elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def factory() -> Iterator[None]:
    """Install the host's own record factory; restore the previous factory afterwards."""
    before = logging.getLogRecordFactory()

    class Numbered(logging.LogRecord):
        number = 7

    logging.setLogRecordFactory(Numbered)
    yield
    logging.setLogRecordFactory(before)


class Nothing:
    def write(self, level: str, message: str) -> None: ...


@pytest.mark.usefixtures("factory")
def test_handlers_of_a_host_app_get_the_schedulers_records_without_secrets():
    Settings(database_url="sqlite:///x.db")
    register_secret(SECRET)
    root, host, text = logging.getLogger(), Host(), io.StringIO()
    plain = logging.StreamHandler(text)
    plain.setFormatter(logging.Formatter("%(name)s %(message)s"))
    for handler in (host, plain):
        root.addHandler(handler)
    try:
        ours = logging.getLogger("targcc.worker.executor")
        ours.warning("the key is %s", SECRET)
        ours.warning("%(key)s", {"key": SECRET})
        try:
            raise ValueError(f"refused: {SECRET}")  # noqa: TRY301 - it is what is logged
        except ValueError:
            ours.exception("it failed with %r", [SECRET])
            RunLog(Nothing()).exception("job", key=SECRET)
        logging.getLogger("shop").warning("the host's own: %s", SECRET)
    finally:
        for handler in (host, plain):
            root.removeHandler(handler)
    *scheduler, host_record = host.records
    assert len(scheduler) == 4
    for record in scheduler:
        assert record.number == 7  # type: ignore[attr-defined]
        held = f"{vars(record)} {record.getMessage()} {record.exc_text}"
        assert SECRET not in held
        assert MASK in held
    assert scheduler[2].exc_info is not None
    assert scheduler[2].exc_info[0] is MaskedTraceback
    assert SECRET in host_record.getMessage()
    shown = text.getvalue()
    assert shown.count(SECRET) == 1
    assert "Traceback (most recent call last)" in shown
    assert "ValueError: refused: " + MASK in shown
