"""The feature doctor: checks of project, database and tables."""

from ...kernel.feature import Commands, Feature

FEATURE = Feature(
    __name__,
    needs=("alerts",),
    parts=(Commands("commands:doctor", "doctor", after="release"),),
)
