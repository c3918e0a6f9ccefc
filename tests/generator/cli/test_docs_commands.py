"""The commands of the README and the manual's first pages work in order from an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from targcc_gen.demo import free_port

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[3]
NOT_HERE = {"pip install uv && uv run targcc-gen demo": "it stays; .ci/run runs it with --check"}

# The interpreter of the tests already has everything that `uv run` would install.
UV = """#!/bin/sh
case "$1 $2" in
  "tool install") exit 0 ;;
  "run targcc") shift 2; exec "{python}" -m acme_jobs.scheduler "$@" ;;
  "run pytest") shift 2; exec "{python}" -m pytest -q -p no:cacheprovider "$@" ;;
esac
echo "the tests do not know: uv $*" >&2
exit 64
"""
SERVE = """{command} &
server=$!
trap 'kill $server' EXIT
curl -s --retry 60 --retry-delay 1 --retry-connrefused {base}/jobs/health/ready >/dev/null
"""
STOP = """trap - EXIT
kill $server
wait $server
"""


def script(page: Path, base: str) -> str:
    """Return the commands of a page as a shell script that stops at the first failure; the server runs until the end."""
    lines = ["set -eux"]
    text = page.read_text(encoding="utf-8")
    matches = re.finditer(
        r"^```console\n(?P<block>.*?)^```|^<!-- edit (?P<file>\S+): (?P<old>[^\n]+) becomes (?P<new>[^\n]+) -->$"
        r"|^<!-- (?P<stop>stop the server) -->$",
        text,
        re.DOTALL | re.MULTILINE,
    )
    for match in matches:
        if match["stop"]:
            lines.append(STOP)
            continue
        if match["file"]:
            old, new = match["old"], match["new"]
            lines += [
                f"grep -q '{old}' {match['file']}",
                f"sed -i 's/{old}/{new}/' {match['file']}",
            ]
            continue
        for line in match["block"].splitlines():
            command = line.removeprefix("$ ").partition("  #")[0].strip()
            if not line.startswith("$ ") or command in NOT_HERE:
                continue
            serve = command in {"uv run targcc serve", "uv run targcc dev"}
            lines.append(SERVE.format(command=command, base=base) if serve else command)
    return "\n".join([*lines, STOP]).replace("http://127.0.0.1:8000", base)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    "name", ["README.md", pytest.param("docs/getting-started.md", marks=pytest.mark.soak)]
)
def test_what_the_page_tells_to_type_works(name: str, tmp_path: Path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "uv").write_text(UV.format(python=sys.executable), encoding="utf-8")
    (programs / "uv").chmod(0o755)
    (programs / "targcc-gen").symlink_to(Path(sys.executable).with_name("targcc-gen"))
    port = free_port()
    commands = script(ROOT / name, f"http://127.0.0.1:{port}")
    folder = tmp_path / "work"
    folder.mkdir()
    bash = shutil.which("bash")
    assert bash is not None

    done = subprocess.run(
        [bash, "-c", commands],
        cwd=folder,
        env=os.environ
        | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": "src",
            "TARGCC_PORT": str(port),
            "BROWSER": "true",  # targcc dev opens no real browser
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )

    assert commands.count("\n") > 5
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
