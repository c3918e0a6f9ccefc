"""The limits of a job by key, as a frozen model."""

from __future__ import annotations

from pydantic import Field, StrictInt

from targcc_gen.spec.params import ParamName
from targcc_gen.spec.parts import Frozen
from targcc_gen.spec.ties.values import Rate


class LimitSpec(Frozen):
    """How many runs may be under way at once, and how many may start in a while, by key; `running`, `rate` or both are given."""

    key: ParamName | None = Field(
        default=None,
        description="The argument by which runs share a limit, such as `tenant_id`; without it all runs of the job do.",
    )
    running: StrictInt | None = Field(
        default=None, ge=1, le=100_000, description="Runs of a key at once, on all nodes together."
    )
    rate: Rate | None = Field(
        default=None, description="Attempts of a key that may start, such as `100/min`."
    )
    burst: StrictInt | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="With `rate`: so many may start at once after a pause; by default what comes in a second, at least 1.",
    )
    weight: StrictInt = Field(
        default=1, ge=1, le=100_000, description="How much of `running` a run takes."
    )


MODELS: dict[str, type[Frozen]] = {"limit": LimitSpec}
"""The kinds of mappings that ties have, by the names that findings give them."""
