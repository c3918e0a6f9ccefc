"""The spec: YAML in, frozen models out, and every error with its place."""

from targcc_gen.spec.models import (
    BLUEPRINTS,
    AlertsSpec,
    DefaultsSpec,
    JobSpec,
    MisfireSpec,
    ProjectSpec,
    QueueSpec,
    ScheduleKind,
    Spec,
)
from targcc_gen.spec.params import PARAM_TYPES, Param

__all__ = [
    "BLUEPRINTS",
    "PARAM_TYPES",
    "AlertsSpec",
    "DefaultsSpec",
    "JobSpec",
    "MisfireSpec",
    "Param",
    "ProjectSpec",
    "QueueSpec",
    "ScheduleKind",
    "Spec",
]
