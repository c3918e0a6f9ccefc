"""The spec: YAML in, frozen models out, and every error with its place."""

from targcc_gen.spec.blueprint_names import BLUEPRINTS
from targcc_gen.spec.build import build_job, with_job
from targcc_gen.spec.jobs.models import JobSpec
from targcc_gen.spec.models import Spec
from targcc_gen.spec.params import PARAM_TYPES, Param
from targcc_gen.spec.parts import (
    AlertsSpec,
    DefaultsSpec,
    MisfireSpec,
    ProjectSpec,
    QueueSpec,
)
from targcc_gen.spec.reading.loader import load_spec, parse_spec, read_text
from targcc_gen.spec.reading.problems import Problem, SpecErrors
from targcc_gen.spec.times import format_duration
from targcc_gen.spec.writing.change import change_jobs
from targcc_gen.spec.writing.dump import SCHEMA_LINE, dump_spec, job_values
from targcc_gen.spec.writing.edit import add_job, add_jobs, remove_job, set_scheduler
from targcc_gen.spec.writing.queues import add_queues
from targcc_gen.spec.writing.rename import rename_job

__all__ = [
    "BLUEPRINTS",
    "PARAM_TYPES",
    "SCHEMA_LINE",
    "AlertsSpec",
    "DefaultsSpec",
    "JobSpec",
    "MisfireSpec",
    "Param",
    "Problem",
    "ProjectSpec",
    "QueueSpec",
    "Spec",
    "SpecErrors",
    "add_job",
    "add_jobs",
    "add_queues",
    "build_job",
    "change_jobs",
    "dump_spec",
    "format_duration",
    "job_values",
    "load_spec",
    "parse_spec",
    "read_text",
    "remove_job",
    "rename_job",
    "set_scheduler",
    "with_job",
]
