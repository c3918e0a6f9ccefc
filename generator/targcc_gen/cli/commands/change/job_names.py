"""Which job of a project a name means, and which names are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targcc_gen.errors import InputError

if TYPE_CHECKING:
    from targcc_gen.cli.project import Project
    from targcc_gen.spec import Spec


def find_job(project: Project, name: str) -> str:
    """The key of the job that a person means, in any spelling.

    Raises:
        InputError: There is none.
    """
    from targcc_gen.names import JobName, same_job
    from targcc_gen.spec.value_errors import nearest

    wanted = JobName.parse(name).key
    for key in project.spec.jobs:
        if same_job(key, wanted):
            return key
    known = list(project.spec.jobs)
    hint = nearest(wanted, known) or (f"it has {', '.join(known)}" if known else "it has no jobs")
    raise InputError(f"no job {wanted} in targcc.yaml", hint=hint)


def refuse_taken(spec: Spec, key: str) -> None:
    """Command lines and file systems take two spellings for one job."""
    from targcc_gen.names import JobName, same_job

    for other in spec.jobs:
        if same_job(other, key) or JobName(other).module == JobName(key).module:
            raise InputError(
                f"there is a job {other} already",
                hint=f"choose another name, or change {other} in targcc.yaml and run: targcc-gen regenerate",
            )
