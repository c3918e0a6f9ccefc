"""What a spec says of workers that queues share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictInt

from targcc_gen.spec.parts import Frozen


class PoolSpec(Frozen):
    """Workers that several queues share; a queue names its pool."""

    workers: StrictInt = Field(
        default=5,
        ge=1,
        le=1000,
        description="How many runs of all its queues together go on at once on each node.",
    )
    order: Literal["strict", "weighted"] = Field(
        default="weighted",
        description=(
            "`weighted`: of the queues in which runs wait, each starts runs in proportion to its `weight`; `strict`: a queue only"
            " while those before it in `queues` have none that can start."
        ),
    )


class EnvironmentPool(Frozen):
    """A pool in an environment; what is not said is as in `pools`."""

    workers: StrictInt | None = Field(
        default=None, ge=1, le=1000, description="How many runs at once on each node."
    )
    order: Literal["strict", "weighted"] | None = Field(
        default=None, description="In which order its queues go."
    )


MODELS: dict[str, type[Frozen]] = {"pool": PoolSpec, "environment pool": EnvironmentPool}
"""The kinds of mapping that pools add to a spec."""
