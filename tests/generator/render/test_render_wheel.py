"""The wheel inside a project equals the release's own build, with the same bytes on every machine."""

import base64
import hashlib
import io
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import targcc_gen
import targcc_scheduler
from packaging.requirements import Requirement
from packaging.version import Version
from targcc_gen.render import package
from targcc_gen.render import wheel as render_wheel
from targcc_gen.render.wheel import (
    _made,
    deflate,
    meets,
    version_of,
    wheel,
    wheel_name,
    wheel_path,
    wheel_version,
)

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "from targcc_scheduler.schedules import parse_zone; print(parse_zone('Europe/London'))"


@pytest.fixture(scope="module")
def carried() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(wheel()))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel of the same package with the build backend."""
    folder = tmp_path_factory.mktemp("built")
    uv = shutil.which("uv")
    assert uv is not None
    command = [uv, "build", "--quiet", "--wheel", "--package", "targcc-scheduler"]
    subprocess.run([*command, "--out-dir", folder, ROOT], check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def contents(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Return the files by name, without the local part of the version."""
    own = ("/WHEEL", "/RECORD")  # these files name the builder and list its files
    local = f"+{wheel_version().partition('+')[2]}"
    return {
        name.replace(local, ""): archive.read(name).replace(local.encode(), b"")
        for name in archive.namelist()
        if not name.endswith(own)
    }


@pytest.mark.usefixtures("processes")
def test_it_holds_what_the_release_s_build_holds(carried, built):
    assert contents(carried).keys() == contents(built).keys()
    assert contents(carried) == contents(built)


def test_its_record_lists_every_file_with_its_hash_and_size(carried):
    [record] = [name for name in carried.namelist() if name.endswith("/RECORD")]
    lines = [line.rsplit(",", 2) for line in carried.read(record).decode().splitlines()]
    assert [name for name, _, _ in lines] == carried.namelist()
    for name, recorded_hash, size in lines[:-1]:
        digest = base64.urlsafe_b64encode(hashlib.sha256(carried.read(name)).digest())
        assert recorded_hash == f"sha256={digest.decode().rstrip('=')}"
        assert int(size) == carried.getinfo(name).file_size
    assert lines[-1] == [record, "", ""]


@pytest.mark.slow
def test_nothing_in_it_depends_on_when_or_where_it_was_made(carried, monkeypatch):
    import zlib

    # compressed output differs between zlib versions
    monkeypatch.setattr(zlib, "compressobj", None)
    monkeypatch.setattr(zlib, "compress", None)
    assert _made() == wheel()
    assert carried.filelist[0].date_time == (1980, 1, 1, 0, 0, 0)
    for entry in carried.filelist:
        assert (entry.create_system, entry.external_attr) == (3, 0o100644 << 16)
    assert len({(entry.date_time, entry.extra) for entry in carried.filelist}) == 1


def test_it_is_less_than_half_as_large_as_what_it_holds(carried):
    assert len(wheel()) < 0.45 * sum(entry.file_size for entry in carried.filelist)


def test_another_content_has_another_name_and_the_same_content_the_same(monkeypatch):
    name = wheel_name()
    files = package.package_files()
    monkeypatch.setattr(
        render_wheel, "package_files", lambda: (*files[:-1], (files[-1][0], b"other"))
    )
    wheel_version.cache_clear()
    other = wheel_name()
    monkeypatch.undo()
    wheel_version.cache_clear()
    assert wheel_name() == name != other


def test_a_version_of_it_is_none_that_an_index_can_have():
    version = Version(wheel_version())
    assert str(version) == wheel_version()  # as installers normalise the version
    assert re.fullmatch(r"h[0-9a-f]{10}", version.local or "")
    assert version_of(wheel_path()) == wheel_version()


@pytest.mark.parametrize(
    ("pinned", "installed", "is_met"),
    [
        ("0.2.0+h1", "0.2.0+h1", True),
        ("0.2.0+h1", "0.2.0+h2", False),
        ("0.2.0+h1", "0.2.0", True),  # a checkout
        ("0.2.0+h1", "0.1.0", False),
        ("0.2.0", "0.2.0+h1", True),
    ],
)
def test_an_installed_build_meets_its_own_name_alone(pinned, installed, is_met):
    assert meets(Requirement(f"targcc-scheduler[run]=={pinned}"), installed) is is_met


def test_a_kept_wheel_is_used_only_when_it_is_whole(tmp_path, monkeypatch):
    made = wheel()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setattr(render_wheel, "_made", lambda: made)
    wheel.cache_clear()
    assert wheel() == made
    [kept] = tmp_path.rglob("*.whl")
    kept.write_bytes(kept.read_bytes()[:-1])
    wheel.cache_clear()
    assert wheel() == made


@pytest.mark.parametrize(
    "data",
    [
        b"a",
        b"ab" * 60_000,
        bytes(range(256)) * 300,
        b"".join(b"%d " % number for number in range(30_000)),
        "שלום עולם ".encode() * 9,
    ],
    ids=["one byte", "two bytes", "all bytes", "numbers", "letters"],
)
def test_any_decoder_reads_what_is_compressed(data):
    import zlib

    assert zlib.decompress(deflate(data), -15) == data


def test_the_generator_the_scheduler_and_the_wheel_have_one_version():
    assert targcc_gen.__version__ == targcc_scheduler.__version__
    assert wheel_version().partition("+")[0] == targcc_gen.__version__
    import importlib.metadata

    required = map(Requirement, importlib.metadata.requires("targcc-gen") or ())
    [scheduler] = [
        requirement for requirement in required if requirement.name == "targcc-scheduler"
    ]
    assert str(scheduler.specifier) == f"=={targcc_gen.__version__}"


@pytest.mark.usefixtures("processes")
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
