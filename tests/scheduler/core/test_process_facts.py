"""Facts about processes: the values of ``/proc`` are those of psutil."""

import os
import subprocess
import sys

import psutil
import pytest
from targcc_scheduler.core import processes


@pytest.fixture(params=["proc", "psutil"])
def _source(request, monkeypatch):
    if request.param == "proc" and sys.platform != "linux":
        request.applymarker(pytest.mark.xfail(reason="/proc is Linux's"))
    monkeypatch.setattr(processes, "ON_LINUX", request.param == "proc")


@pytest.mark.usefixtures("_source", "processes")
def test_a_process_is_running_until_it_ends():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert processes.is_running(child.pid)
    assert processes.resident_bytes(child.pid) > 0
    assert processes.program_of(child.pid) == psutil.Process(child.pid).name()
    child.communicate(b"\n")
    assert not processes.is_running(child.pid)
    assert processes.program_of(child.pid) == ""
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        processes.resident_bytes(child.pid)


@pytest.mark.usefixtures("_source", "processes")
def test_a_process_that_nobody_waited_for_has_ended():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.is_running(child.pid)
    child.wait()


@pytest.mark.usefixtures("_source")
def test_resident_memory_is_that_of_this_process():
    size = psutil.Process().memory_info().rss
    assert processes.resident_bytes() == pytest.approx(size, rel=0.2)


@pytest.mark.usefixtures("_source")
def test_mounts_have_folder_type_and_options():
    [root] = [mount for mount in processes.mounts() if mount.mountpoint == "/"][-1:]
    assert root.fstype
    assert root.opts.split(",")[0] in {"ro", "rw"}


def test_the_folder_of_a_mount_may_have_a_space():
    assert processes._plain(r"/mnt/a\040b") == "/mnt/a b"
