"""Command line basics: output, streams and exit statuses."""

import gc
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from targcc_gen import __version__
from targcc_gen.cli import main

EXECUTABLE = [sys.executable, "-c", "from targcc_gen.cli import main; main(prog_name='targcc-gen')"]
COMMANDS = main.list_commands(click.Context(main))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="targcc-gen")


def in_process(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a real process."""
    return subprocess.run(
        [*EXECUTABLE, *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_the_version():
    assert run("--version").stdout == f"targcc-gen {__version__}\n"


def test_nothing_is_looked_for_at_the_end(monkeypatch):
    registered = []
    monkeypatch.setattr("atexit.register", registered.append)
    run("--version")
    assert registered == [gc.freeze]


def test_the_help_lists_every_command_in_its_section():
    text = run("-h").stdout
    assert re.findall(r"^([A-Z].*):$", text, re.MULTILINE) == ["Options", "Make a project", "Change it", "Look"]  # fmt: skip
    assert re.findall(r"^  ([a-z][a-z-]+)  +[A-Z]", text, re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    text = result.stdout
    assert f"targcc-gen {command}" in text.split("Usage:", 1)[1].split("\n", 1)[1]
    assert not re.search(
        r"^  --?[a-z-]+\s*$(?!\n {4,})", text, re.MULTILINE
    ), "an option without help"


@pytest.mark.parametrize(
    ("typed", "meant"), [("nwe", "new"), ("regen", "regenerate"), ("jbo", "job"), ("import", "import-legacy")]
)  # fmt: skip
def test_an_unknown_command_gets_a_suggestion(typed, meant):
    result = run(typed)
    assert result.exit_code == 2
    assert f"no command '{typed}': did you mean '{meant}'?" in result.stderr


@pytest.mark.usefixtures("processes")
def test_errors_go_to_the_error_stream_without_a_traceback(tmp_path):
    done = in_process("status", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error[TG201]: no project here: neither ")
    assert "targcc-gen new NAME" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("processes")
def test_debug_shows_the_traceback(tmp_path):
    done = in_process("--debug", "status", cwd=tmp_path)
    assert "Traceback (most recent call last)" in done.stderr


@pytest.mark.usefixtures("processes")
def test_plain_text_in_a_pipe(tmp_path):
    done = in_process("new", "jobs", "--yes", "--diff", "--scheduler", "package", cwd=tmp_path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr


def on_terminal(*arguments: str, cwd: Path, **environment: str) -> str:
    """Return the output of the command on a terminal."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*EXECUTABLE, *arguments],
        cwd=cwd,
        env={**os.environ, "TERM": "xterm", **environment},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    seen = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(controller)
    process.wait()
    return seen.decode()


@pytest.mark.usefixtures("processes")
def test_colours_on_a_terminal_unless_no_color(tmp_path):
    run("new", str(tmp_path), "--yes", "--name", "jobs")
    add = ("job", "Report", "--manual", "--dry-run")
    assert "\x1b[32mcreate" in on_terminal(*add, cwd=tmp_path)
    assert "\x1b[" not in on_terminal(*add, cwd=tmp_path, NO_COLOR="1")


@pytest.mark.usefixtures("processes")
def test_any_text_in_any_locale(tmp_path):
    spec = "targcc: 1\nproject: {name: jobs, description: שלום 🦉}\njobs: {A: {type: manual}}\n"
    (tmp_path / "spec.yaml").write_text(spec, encoding="utf-8")
    done = in_process(
        "new", "jobs", "--spec", "spec.yaml", "--diff",
        cwd=tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("processes")
def test_a_reader_that_stops_reading_is_no_error(tmp_path):
    run("new", str(tmp_path), "--yes", "--name", "jobs")
    process = subprocess.Popen(
        [*EXECUTABLE, "schema"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


@pytest.mark.usefixtures("processes")
def test_shell_completion_knows_commands_jobs_and_blueprints(tmp_path):
    run("new", str(tmp_path), "--yes", "--name", "jobs")

    def completed(words: str) -> str:
        return in_process(
            cwd=tmp_path,
            _TARGCC_GEN_COMPLETE="bash_complete",
            COMP_WORDS=words,
            COMP_CWORD=str(len(words.split(" ")) - 1),
        ).stdout

    assert "plain,regenerate\n" in completed("targcc-gen reg")
    assert "plain,Heartbeat\n" in completed("targcc-gen job --remove Hea")
    assert "plain,stored-procedure\n" in completed("targcc-gen job X --blueprint stor")


@pytest.mark.usefixtures("processes")
def test_ctrl_c_ends_quietly(tmp_path):
    script = (
        "import targcc_gen.cli.commands.doctor as d, targcc_gen.cli.checks as c\n"
        "def stop(): raise KeyboardInterrupt\n"
        "c.machine_findings = stop\n"
        "from targcc_gen.cli import main\n"
        "main(['doctor'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nStopped.\n")


def test_blueprints_are_listed():
    result = run("blueprints")
    assert "report            Mails a report" in result.stdout
    assert {blueprint["name"] for blueprint in json.loads(run("blueprints", "--json").stdout)} >= {
        "blank",
        "sync",
    }


class TestDoctor:
    @pytest.mark.usefixtures("processes")
    def test_all_is_well(self, tmp_path):
        run("new", str(tmp_path), "--yes", "--name", "jobs")
        done = in_process("doctor", cwd=tmp_path, TARGCC_PORT="0", TARGCC_DATABASE_URL="")
        assert done.returncode == 0, done.stdout
        assert "every file is what targcc.yaml asks for" in done.stdout

    @pytest.mark.usefixtures("processes")
    def test_what_will_not_work_is_said(self, tmp_path):
        run("new", str(tmp_path), "--yes", "--name", "jobs")
        lock = tmp_path / ".targcc/lock.jsonl"
        lock.write_text(lock.read_text()[:-200])
        (tmp_path / ".env").write_text("TARGCC_DATABASE_URL=postgresql://me:secret@127.0.0.1:1/x\n")
        done = in_process("doctor", cwd=tmp_path)
        assert done.returncode == 1
        assert "the lock is damaged" in done.stdout
        assert "nothing answers at 127.0.0.1:1" in done.stdout
        assert "secret" not in done.stdout
        assert done.stderr == "3 things will not work.\n"

    @pytest.mark.usefixtures("processes")
    def test_without_a_project_only_the_machine(self, tmp_path):
        done = in_process("doctor", "--json", cwd=tmp_path)
        assert all(check["level"] != "fail" for check in json.loads(done.stdout))
