"""Jobs with arguments, which fail while the file ``broken`` is in the working directory, and one that has to be done by a time."""

from pathlib import Path

from targcc_scheduler import JobContext, JobResult, JobType, job

LONG = "Reconcile" + "ABCDEFGHIJKLMNOPQRST" * 3 + "Accounts"
"""77 letters."""


def _check(error: Exception) -> JobResult:
    if Path("broken").exists():
        raise error
    return JobResult.success("done")


@job(JobType.MANUAL, retries=0)
class ChargeJob:
    """Charges a customer."""

    def execute(self, _ctx: JobContext, customer: int) -> JobResult:
        if customer % 2:
            return _check(ConnectionError(f"the bank does not answer for customer {customer}"))
        return _check(KeyError(f"card-{customer}"))


@job(JobType.MANUAL, retries=0)
class MailJob:
    """Mails a customer."""

    def execute(self, _ctx: JobContext, customer: int) -> JobResult:
        if Path("broken").exists():
            return JobResult.failure(f"no address for customer {customer}")
        return JobResult.success("sent")


@job(JobType.MANUAL, retries=0)
class ImportJob:
    """Reads a file."""

    def execute(self, _ctx: JobContext, customer: int) -> JobResult:
        return _check(FileNotFoundError(f"[Errno 2] No such file: '/in/{customer}.csv'"))


@job(JobType.MANUAL, retries=0, name=LONG)
class ReconcileJob:
    """Has a long name and a long word in its error."""

    def execute(self, _ctx: JobContext, customer: int) -> JobResult:
        return _check(ValueError("x" * 300))


@job(JobType.MANUAL, retries=0, queue="slow")
class ExportJob:
    """Exports one customer."""

    def execute(self, _ctx: JobContext, customer: int) -> JobResult:
        return _check(PermissionError(f"customer {customer} may not be exported"))


@job("0 0 1 1 *", at_least="1 success in 1h", timezone="UTC", misfire="skip")
class LedgerJob:
    """Close the books; must succeed once an hour, more often than its schedule runs it."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("closed")
