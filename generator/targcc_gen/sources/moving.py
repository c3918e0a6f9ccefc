"""The move from a scheduler whose jobs are switched off by a script or by hand; ``c_Job`` has a move of its own."""

from __future__ import annotations

from targcc_gen.sources.model import Import, Move, MoveStep

SWITCHES = {"off": "turn_off_old", "on": "turn_on_old"}
"""The names of the scripts that stop and start the jobs on the old scheduler, without suffix."""


def plain_move(result: Import) -> Move:
    """Return the steps of a move without shared ownership: all jobs stop there, then all resume here."""
    suffixes = sorted({switch.suffix for switch in result.switches.values()})
    off, on = (
        tuple(f"legacy/{SWITCHES[way]}{suffix}" for suffix in suffixes) for way in ("off", "on")
    )
    jobs = len(result.jobs)
    scheduled = [job for job in result.running if job.spec.has_schedule]
    resume = tuple(f"targcc job resume {job.key}" for job in scheduled)
    pause = tuple(command.replace(" resume ", " pause ") for command in resume)
    by_hand = "" if off else ": edit its files, and keep a copy"
    return Move(
        steps=(
            MoveStep("A week before", "developer", "Import all jobs paused, and deploy the project", ("targcc-gen import-legacy … --new DIR --paused", "targcc serve"), f"targcc job list shows {jobs} jobs, paused"),
            MoveStep("A week before", "developer", "Try each job once where a second run does no harm", ("targcc job run NAME --wait",), "the run succeeded"),
            MoveStep("In the quiet window", "operator", f"Stop the jobs on the old scheduler{by_hand}; wait for those that run", off, "none of them runs or is enabled there"),
            MoveStep("Right after", "operator", "Resume the jobs here", resume, "targcc job list shows the next run of each"),
            MoveStep("The morning after", "team lead", "Look at the overview", (), "it is green"),
        ),
        no_return="when the jobs are deleted on the old scheduler; until then both lists of steps can be repeated",
        back=(
            MoveStep("At any time", "operator", "Pause the jobs here, and wait for those that run", pause, "targcc run list shows none that runs"),
            MoveStep("Right after", "operator", f"Start the jobs on the old scheduler{by_hand}", on, "each shows its next run there"),
        ),
    )  # fmt: skip
