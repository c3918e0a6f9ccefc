"""The spec: YAML in, frozen models out, each error with its position."""

from targcc_gen.spec.blueprint_names import BLUEPRINTS, FIRST_JOB
from targcc_gen.spec.dump import SCHEMA_LINE, dump_spec, flow_values, job_values
from targcc_gen.spec.edit import (
    add_flows,
    add_job,
    add_jobs,
    add_queues,
    change_jobs,
    remove_job,
    rename_job,
    set_scheduler,
)
from targcc_gen.spec.errors import Problem, SpecErrors
from targcc_gen.spec.loader import load_spec, parse_spec, read_text
from targcc_gen.spec.models import FlowSpec, FlowStepSpec, JobSpec, Spec, build_job, with_job
from targcc_gen.spec.params import PARAM_TYPES, Param
from targcc_gen.spec.parts import AlertsSpec, DefaultsSpec, MisfireSpec, ProjectSpec, QueueSpec
from targcc_gen.spec.times import format_duration

__all__ = [
    "BLUEPRINTS",
    "FIRST_JOB",
    "PARAM_TYPES",
    "SCHEMA_LINE",
    "AlertsSpec",
    "DefaultsSpec",
    "FlowSpec",
    "FlowStepSpec",
    "JobSpec",
    "MisfireSpec",
    "Param",
    "Problem",
    "ProjectSpec",
    "QueueSpec",
    "Spec",
    "SpecErrors",
    "add_flows",
    "add_job",
    "add_jobs",
    "add_queues",
    "build_job",
    "change_jobs",
    "dump_spec",
    "flow_values",
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
