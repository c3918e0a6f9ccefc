"""Time and memory of the generator, compared with its peers in the same run; run with `-m benchmark -n0 -s`."""

import cProfile
import itertools
import os
import pstats
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from targcc_gen.assets import examples, project_template
from targcc_gen.render import render_project
from targcc_gen.render.project import template_data
from targcc_gen.spec import Spec, load_spec, set_scheduler
from targcc_gen.sync import apply, make_plan

pytestmark = pytest.mark.benchmark

EXAMPLE = examples() / "acme" / "targcc.yaml"
TARGCC_GEN = (sys.executable, "-c", "from targcc_gen.cli import main; main()")


def report(line: str) -> None:
    print(f"\n{line}", end="")  # noqa: T201 - what the benchmark is for


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def process(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def fastest(rounds: int, *actions: Callable[[], object]) -> list[float]:
    """Return the fastest time of each action; the actions alternate, so that disturbances of the machine hit all of them."""
    times = [[seconds(action) for action in actions] for _ in range(rounds)]
    return [min(durations) for durations in zip(*times, strict=True)]


def test_help_is_about_as_fast_as_click_itself():
    helped, imported = fastest(
        15,
        lambda: process(*TARGCC_GEN, "--help"),
        lambda: process(sys.executable, "-c", "import click"),
    )
    report(
        f"--help {helped * 1000:.0f} ms, import click {imported * 1000:.0f} ms: {helped / imported:.2f} x"
    )
    assert helped <= 1.8 * imported


def test_a_job_is_there_in_half_a_second(tmp_path):
    process(*TARGCC_GEN, "new", tmp_path / "acme", "--spec", EXAMPLE)
    names = (f"Added{number}" for number in itertools.count())
    added, imported = fastest(
        9,
        lambda: process(
            *TARGCC_GEN, "job", next(names), "--cron", "0 2 * * *", cwd=tmp_path / "acme"
        ),
        lambda: process(sys.executable, "-c", "import click"),
    )
    report(f"job: {added * 1000:.0f} ms, {added / imported:.1f} x import click")
    # The second limit scales with a busy machine, where importing click takes longer too.
    assert added <= max(0.5, 12 * imported)


def template_of_the_same_tree(folder: Path, way: str) -> tuple[Path, Path]:
    """Return a copier template that gives the same files as `new`, and the matching spec."""
    text = set_scheduler(EXAMPLE.read_text(encoding="utf-8"), way)
    spec, template = folder / "targcc.yaml", folder / "template"
    spec.write_text(text, encoding="utf-8")
    shutil.copytree(project_template(), template)
    made = {path.replace("acme_jobs", "{{ package }}") for path in by_copier(template)}
    for file in render_project(load_spec(spec), spec_text=text):
        if file.path.replace("acme_jobs", "{{ package }}") not in made:
            (template / file.path).parent.mkdir(parents=True, exist_ok=True)
            (template / file.path).write_bytes(file.content)
    return template, spec


def by_copier(template: Path) -> set[str]:
    files = (path for path in template.rglob("*") if path.is_file() and path.name != "copier.yml")
    return {path.relative_to(template).as_posix().removesuffix(".jinja") for path in files}


def files_of(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and path.name != "lock.jsonl")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("way", ["vendored", "package"])
def test_a_new_project_takes_little_more_than_copier_takes_for_the_same_files(way, tmp_path):
    template, spec = template_of_the_same_tree(tmp_path, way)
    data = tmp_path / "data.yml"
    data.write_text(yaml.safe_dump(template_data(load_spec(spec))))
    fresh = (tmp_path / str(number) for number in itertools.count())
    copier = (
        sys.executable,
        "-m",
        "copier",
        "copy",
        "--trust",
        "--defaults",
        "--quiet",
        "--data-file",
        data,
    )
    generator_root, copier_root = next(fresh), next(fresh)
    process(*TARGCC_GEN, "new", generator_root, "--spec", spec)
    process(*copier, template, copier_root)
    assert files_of(generator_root) == files_of(copier_root)
    new, copied = fastest(
        5,
        lambda: process(*TARGCC_GEN, "new", next(fresh), "--spec", spec),
        lambda: process(*copier, template, next(fresh)),
    )
    report(f"{way}: new {new:.2f} s, copier copy {copied:.2f} s: {new / copied:.2f} x")
    for line in breakdown(next(fresh), next(fresh), spec, (*copier, template)):
        report(f"  {line}")
    assert new <= 1.3 * copied


def breakdown(
    ours: Path, theirs: Path, spec_file: Path, copier: tuple[str | Path, ...]
) -> list[str]:
    """Return lines on the time of each part of `new`, and on copier's time for asking git about every file."""
    spec = load_spec(spec_file)
    parts: dict[str, float] = {}
    profile = cProfile.Profile()
    profile.enable()
    apply(make_plan(render_project(spec), ours))
    profile.disable()
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]  # typeshed does not have it
    for (file, _, function), (_, _, _, spent, _) in stats.items():
        name = Path(file).name
        for key in (("project.py", "_copy"), ("jobs.py", "job_files"), ("planner.py", "make_plan"), ("apply.py", "apply")):  # fmt: skip
            if "targcc_gen" in file and (name, function) == key:
                parts[function.strip("_")] = spent
    bare = {key: value for key, value in os.environ.items() if key != "PATH"}
    without = seconds(
        lambda: subprocess.run(
            [*map(str, copier), str(theirs)],
            env={**bare, "PATH": "/nonexistent"},
            check=True,
            capture_output=True,
        )
    )
    return [
        *(
            f"{name:<10} {spent * 1000:5.0f} ms (with the profiler)"
            for name, spent in parts.items()
        ),
        f"copier copy without a git to ask: {without:.2f} s",
    ]


def test_each_job_costs_the_same_in_small_and_large_projects(tmp_path):
    runs = itertools.count()

    def made(count: int) -> float:
        run = next(runs)  # names rendered before are cached
        jobs = {f"Run{run}Job{number}": {"cron": "0 2 * * *"} for number in range(count)}
        spec = Spec.model_validate({"targcc": 1, "project": {"name": "many"}, "jobs": jobs})
        return seconds(lambda: apply(make_plan(render_project(spec), tmp_path / str(run))))

    made(1)  # warms up the imports
    base, ten, hundred = fastest(5, lambda: made(0), lambda: made(10), lambda: made(100))
    thousand = min(made(1000) for _ in range(2))
    costs = {
        count: (took - base) / count
        for count, took in ((10, ten), (100, hundred), (1000, thousand))
    }
    report(f"no jobs: {base:.2f} s")
    for count, cost in costs.items():
        report(f"{count:>5} jobs: {cost * 1000:.1f} ms a job")
    assert costs[1000] <= 2.5 * max(
        costs[10], costs[100]
    )  # constant, with slack for noise at ten jobs


KINDS = ("blank", "report", "cleanup", "batch", "sync", "backup", "alert-check")


def many_jobs(folder: Path, count: int) -> Path:
    """Write a project with ``count`` jobs of all blueprints."""
    jobs = "\n".join(
        f'  Job{n:04}:\n    cron: "{n % 60} {n % 24} * * *"\n    description: Does thing {n}\n'
        f"    blueprint: {KINDS[n % len(KINDS)]}\n    retries: {n % 9}\n"
        for n in range(count)
    )
    spec, root = folder / f"{count}.yaml", folder / f"jobs-{count}"
    spec.write_text(f"targcc: 1\nproject: {{name: many-jobs}}\njobs:\n{jobs}", encoding="utf-8")
    process(*TARGCC_GEN, "new", root, "--spec", spec)
    return root


def processor_time(*command: str | Path, cwd: Path | None = None) -> float:
    """Return the processor seconds of a command, which other load on the machine hardly affects."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process(*command, cwd=cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


PARSE = "import ast, pathlib, sys; [ast.parse(file.read_bytes()) for file in pathlib.Path(sys.argv[1]).rglob('*.py')]"


def parsed(root: Path) -> float:
    """Return the processor seconds that Python takes to parse the project: a busy machine lengthens them as it lengthens those of a check."""
    return min(processor_time(sys.executable, "-c", PARSE, root) for _ in range(3))


@pytest.mark.parametrize(("count", "most"), [(300, 2.0), (1000, 1.3)])
def test_large_projects_are_checked_and_get_a_job_quickly(count, most, tmp_path):
    root = many_jobs(tmp_path, count)
    checked = min(processor_time(*TARGCC_GEN, "regenerate", "--check", cwd=root) for _ in range(3))
    added = min(
        processor_time(*TARGCC_GEN, "job", f"Added{n}", "--manual", cwd=root) for n in range(3)
    )
    imported = min(processor_time(sys.executable, "-c", "import click") for _ in range(5))
    least = parsed(root)
    report(f"{count} jobs: regenerate --check {checked:.2f} s, job {added:.2f} s of processor time")
    report(f"  import click: {imported:.3f} s; parsing: {least:.2f} s, ratio {checked / least:.2f}")
    assert checked <= most * least
    # The second limit scales with a machine whose processors are shared.
    assert added <= max(0.6, 16 * imported)


def test_a_project_that_its_own_tool_has_formatted_is_checked_quickly(tmp_path):
    root = many_jobs(tmp_path, 300)
    plain = [root / "src", root / "tests"]
    process(sys.executable, "-m", "black", "--quiet", "--config", os.devnull, "-l", "66", *plain)
    checked = min(processor_time(*TARGCC_GEN, "regenerate", "--check", cwd=root) for _ in range(3))
    least = parsed(root)
    report(f"300 jobs, formatted otherwise: regenerate --check {checked:.2f} s of processor time")
    report(f"  parsing: {least:.2f} s, ratio {checked / least:.2f}")
    assert checked <= 3 * least
