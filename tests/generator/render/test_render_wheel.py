"""The wheel that a project on the package carries: what the release's own build makes, and the same bytes everywhere."""

import base64
import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import targcc_gen
import targcc_scheduler
from packaging.requirements import Requirement
from targcc_gen.render.wheel import wheel, wheel_name

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "from targcc_scheduler.schedules import parse_zone; print(parse_zone('Europe/London'))"


@pytest.fixture(scope="module")
def carried() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(wheel()))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """What the build backend makes of the same package."""
    folder = tmp_path_factory.mktemp("built")
    uv = shutil.which("uv")
    assert uv is not None
    command = [uv, "build", "--quiet", "--wheel", "--package", "targcc-scheduler"]
    subprocess.run([*command, "--out-dir", folder, ROOT], check=True, capture_output=True)
    return zipfile.ZipFile(folder / wheel_name())


def contents(archive: zipfile.ZipFile) -> dict[str, bytes]:
    own = ("/WHEEL", "/RECORD")  # they name the builder, and list what the builder wrote
    return {name: archive.read(name) for name in archive.namelist() if not name.endswith(own)}


def test_it_holds_what_the_release_s_build_holds(carried, built):
    assert set(carried.namelist()) == set(built.namelist())
    assert contents(carried) == contents(built)


def test_its_record_lists_every_file_with_its_hash_and_size(carried):
    [record] = [name for name in carried.namelist() if name.endswith("/RECORD")]
    lines = [line.rsplit(",", 2) for line in carried.read(record).decode().splitlines()]
    assert [name for name, _, _ in lines] == carried.namelist()
    for name, told, size in lines[:-1]:
        digest = base64.urlsafe_b64encode(hashlib.sha256(carried.read(name)).digest())
        assert told == f"sha256={digest.decode().rstrip('=')}"
        assert int(size) == carried.getinfo(name).file_size
    assert lines[-1] == [record, "", ""]


def test_nothing_in_it_depends_on_when_or_where_it_was_made(carried):
    wheel.cache_clear()
    assert zipfile.ZipFile(io.BytesIO(wheel())).filelist[0].date_time == (1980, 1, 1, 0, 0, 0)
    for entry in carried.filelist:
        assert entry.compress_type == zipfile.ZIP_STORED  # zlib's output differs between versions
        assert (entry.create_system, entry.external_attr) == (3, 0o100644 << 16)
    assert len({(entry.date_time, entry.extra) for entry in carried.filelist}) == 1


def test_the_generator_the_scheduler_and_the_wheel_have_one_version():
    assert targcc_gen.__version__ == targcc_scheduler.__version__
    assert wheel_name() == f"targcc_scheduler-{targcc_gen.__version__}-py3-none-any.whl"
    import importlib.metadata

    required = map(Requirement, importlib.metadata.requires("targcc-gen") or ())
    [scheduler] = [one for one in required if one.name == "targcc-scheduler"]
    assert str(scheduler.specifier) == f"=={targcc_gen.__version__}"


@pytest.mark.e2e
@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_it_can_be_installed(installer: str, tmp_path: Path):
    file = tmp_path / wheel_name()
    file.write_bytes(wheel())
    uv = shutil.which("uv")
    assert uv is not None
    venv = tmp_path / "venv"
    subprocess.run([uv, "venv", "--quiet", "--seed", "--python", sys.executable, venv], check=True)
    python = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pip = [python, "-m", "pip", "install", "--quiet"]
    by_uv = [uv, "pip", "install", "--quiet", "--python", python]
    done = subprocess.run(
        [*(pip if installer == "pip" else by_uv), file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    ran = subprocess.run(
        [python, "-I", "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "Europe/London"
