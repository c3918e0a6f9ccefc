"""The feature search: text index of runs and saved searches."""

from ...kernel.feature import Feature, Pages

FEATURE = Feature(
    __name__,
    parts=(Pages("pages:router"),),
)
