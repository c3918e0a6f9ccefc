"""Process that imports the scheduler once and forks nodes: a node starts in a tenth of a second, so many kills stay cheap.

Each input line is an order: ``{"name": …, "folder": …, "environment": {…}, "log": …, "words": […]}``; the answer is the process id. A fork
does what ``python -m targcc_scheduler --project storm_jobs WORDS`` does in ``folder``, or submits work if the words say so. For clock
faults libfaketime is preloaded into the zygote and thus into all forks; each fork reads its own file.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any

_PRELOADED = (
    "targcc_scheduler.__main__",
    "targcc_scheduler.cli.commands.serve",
    "targcc_scheduler.cli.commands.system",
    "targcc_scheduler.cli.web_server",
    "targcc_scheduler.web.state",
    "fastapi",
    "targcc_scheduler.kernel.engine.factory",
    "targcc_scheduler.kernel.engine.sqlite",
    "targcc_scheduler.kernel.engine.procrastinate",
    "targcc_scheduler.db.migrations.upgrade",
    "targcc_scheduler.cli.log_setup",
    "aiosqlite",
    "psycopg",
    "psutil",
    "httpx",
)
SUBMIT, ACT = "submit", "act"
"""Words of the orders to run an application and to act as people do."""


def main() -> None:
    """Fork the ordered processes until the input ends."""
    for name in _PRELOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children leave no zombie
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order)
        print(child, flush=True)


def _become(order: dict[str, Any]) -> None:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(order["log"], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o666)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(order["folder"])
        os.environ.update(order["environment"])
        sys.path.insert(0, order["folder"])
        _work(order["words"])
        status = 0
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # noqa: BLE001 - whatever it is, the log is to say it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _work(words: list[str]) -> None:
    if words == [SUBMIT]:
        from storms.submitter import main as submit

        submit()
        return
    if words == [ACT]:
        from storms.people import main as act

        act()
        return
    from targcc_scheduler.__main__ import run

    run(["--project", "storm_jobs", *words])


if __name__ == "__main__":
    main()
