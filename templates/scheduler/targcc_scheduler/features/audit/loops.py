"""Chain the rows of the audit."""

from __future__ import annotations

from ...kernel import audit_chain
from ...kernel.node.loops import NodeContext, WhenSeen

_SECONDS = 2.0
UNSEALED = audit_chain.IS_UNSEALED
"""Condition: an audit row has no place in the chain."""


class AuditChain(WhenSeen):
    """Chains the rows of the audit. A database with one writer chains each row at once, and leaves no work.

    Args:
        context: The node.
    """

    def __init__(self, context: NodeContext) -> None:
        super().__init__(
            context,
            "chaining the audit",
            lambda seen: bool(seen.marks["unsealed"]),
            self.chain_once,
            _SECONDS,
        )

    async def run(self) -> None:
        """Chain rows until the node ends its loops; return at once if the database has one writer."""
        if self._context.services.store.dialect.many_writers:
            await super().run()

    async def chain_once(self) -> None:
        """Chain all rows of the audit that are not in the chain."""
        more = True
        while more and not self._context.ending.is_set():
            async with self._context.services.store.write() as connection:
                more = await connection.run_sync(audit_chain.seal)
