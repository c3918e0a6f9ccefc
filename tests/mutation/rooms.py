"""The rooms whose modules are changed, and the tests that judge."""

from mutation.mutants import ROOT, Mutant, mutants_of

_SCHEDULER = "templates/scheduler/targcc_scheduler"
_KERNEL = f"{_SCHEDULER}/kernel"
ROOMS = {
    "create": [f"{_KERNEL}/runs/create.py"],
    "claim": [f"{_KERNEL}/runs/claim.py", f"{_KERNEL}/runs/eligibility.py"],
    "settle": [f"{_KERNEL}/runs/settle.py", f"{_KERNEL}/runs/transition.py"],
    "next state": [f"{_KERNEL}/worker/outcome.py"],
    "rerun": [f"{_KERNEL}/runs/rerun.py"],
    "limits": [f"{_KERNEL}/limits.py"],
    "unique": [f"{_KERNEL}/unique.py"],
    "dependencies": [f"{_KERNEL}/dependencies.py"],
    "statistics": [f"{_KERNEL}/statistics.py"],
    "slots": [f"{_KERNEL}/node/slots.py", f"{_KERNEL}/node/recurring.py"],
    "flows": [f"{_SCHEDULER}/features/flows/graph.py"],
    "schedules": [f"{_SCHEDULER}/schedules"],
    "sync": ["generator/targcc_gen/sync"],
    "plan": ["generator/targcc_gen/sync/plan"],
    "job edits": ["generator/targcc_gen/sync/jobs"],
    "readers": ["generator/targcc_gen/readers"],
}
GROUPS = {
    "schedules": (("schedules",), ("tests/scheduler/schedules",)),
    "generator": (
        ("sync", "plan", "job edits", "readers"),
        (
            *(f"tests/generator/{name}" for name in ("sync", "readers", "sources")),
            *(f"tests/generator/cli/test_{name}.py" for name in ("branches", "cli_regenerate")),
        ),
    ),
    "kernel": (
        (
            *("create", "claim", "settle", "next state", "rerun", "limits", "unique"),
            *("dependencies", "statistics", "slots", "flows"),
        ),
        (
            *(f"tests/scheduler/{name}" for name in ("worker", "jobs", "limits", "unique", "ties")),
            *(f"tests/scheduler/{name}" for name in ("flows", "storage", "node", "engine")),
            *(f"tests/scheduler/test_batches{name}.py" for name in ("", "_counted", "_tied")),
            "tests/scheduler/test_enqueue_many.py",
        ),
    ),
}
"""Rooms that are judged by the same tests, with the paths of the tests."""


def rooms_of(group: str | None) -> tuple[str, ...]:
    """Return the rooms of a group; all rooms for None."""
    return tuple(ROOMS) if group is None else GROUPS[group][0]


def paths_of(group: str | None) -> tuple[str, ...]:
    """Return the paths of the tests of a group; of all tests for None."""
    groups = GROUPS if group is None else (group,)
    return tuple(path for name in groups for path in GROUPS[name][1])


def modules(room: str) -> list[str]:
    """Return the paths of a room's modules, below the root."""
    paths = [ROOT / name for name in ROOMS[room]]
    files = [file for path in paths for file in ([path] if path.is_file() else path.glob("*.py"))]
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def all_modules() -> list[str]:
    """Return the paths of the modules of all rooms."""
    return [file for room in ROOMS for file in modules(room)]


def mutants_of_room(room: str) -> list[Mutant]:
    """List all mutants of a room."""
    sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in modules(room)}
    return [mutant for file, source in sources.items() for mutant in mutants_of(file, source)]
