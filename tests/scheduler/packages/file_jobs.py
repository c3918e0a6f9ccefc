"""Jobs that take and attach files."""

# ruff: noqa: ARG001 - a job takes its context

from pydantic import SecretStr
from targcc_scheduler import File, JobContext, job


@job(retries=3)
async def read_file(ctx: JobContext, report: File, others: list[File] | None = None) -> str:
    """Read the given files."""
    with report.open() as content:
        head = content.read(5)
    await ctx.attach("copy.html", report)
    return f"{report.name} {report.size} {report.content_type} {head!r} {[file.read_text() for file in others or ()]} {report.path}"


@job(retries=3)
def count_lines(ctx: JobContext, lines: list[str], title: str = "") -> str:
    """Count the lines."""
    ctx.attach_sync("lines.txt", "\n".join(lines[:2]))
    ctx.attach_sync("lines.txt", b"again")
    return f"{title} {len(lines)}"


@job(isolation="process", retries=0)
async def far_away(ctx: JobContext, report: File, lines: list[str]) -> str:
    """Take and attach files in a separate process."""
    await ctx.attach("bytes.bin", b"from there")
    await ctx.attach("copy.txt", report.path)
    return f"{report.read_text()} {len(lines)}"


@job(retries=0)
async def keep_secret(ctx: JobContext, key: SecretStr, lines: list[str]) -> str:
    """Take a secret."""
    return f"{len(key.get_secret_value())} {len(lines)}"
