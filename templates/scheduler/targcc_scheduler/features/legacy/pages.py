"""The form that changes the owner of a job."""

from __future__ import annotations

from fastapi import APIRouter

from ...core.identity import Role
from ...core.languages import gettext
from ...kernel.job_owner import Owner
from ...web.dashboard.actions import Press, button
from ...web.dashboard.flash import Flash
from ...web.dashboard.page_route import PageRoute
from . import owning

router = APIRouter(route_class=PageRoute, include_in_schema=False)


async def _set_owner(press: Press) -> Flash:
    definition, form = press.scheduler.find(press.key), press.form
    ownership = await press.scheduler.operate(
        owning.set_owner,
        None,
        definition.name,
        Owner(form.get("owner", "")),
        press.by,
        reason=form.get("reason", "").strip() or None,
        old_is_off=bool(form.get("old_is_off")),
    )
    values = {"job": definition.display_name, "owner": str(ownership.owner)}
    return Flash(
        "good",
        (
            gettext("This scheduler runs %(job)s now (owner: %(owner)s).", **values)
            if ownership.owner is Owner.NEW
            else gettext("The old server runs %(job)s now (owner: %(owner)s).", **values)
        ),
    )


router.add_api_route("/jobs/{key}/owner", button(Role.OPERATOR, _set_owner), methods=["POST"])
