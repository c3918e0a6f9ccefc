"""Update a project on disk to its spec without losing users' edits.

`make_plan` compares the tree with the disk and the lock; `apply` writes the whole plan or nothing.
"""

from targcc_gen.render.tree import Owner, Tree, TreeFile
from targcc_gen.sync.apply import apply
from targcc_gen.sync.lock import Lock, LockEntry
from targcc_gen.sync.merge import Collision, Side
from targcc_gen.sync.plan.plan import Action, Change, Plan
from targcc_gen.sync.planner import make_plan, plan_eject, unsettled

__all__ = [
    "Action",
    "Change",
    "Collision",
    "Lock",
    "LockEntry",
    "Owner",
    "Plan",
    "Side",
    "Tree",
    "TreeFile",
    "apply",
    "make_plan",
    "plan_eject",
    "unsettled",
]
