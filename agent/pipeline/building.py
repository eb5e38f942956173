"""Flows in terms of tables, match fragments and actions.

build.flow(CLASSIFIER, 190, in_port(3), do=(PKT_SOURCE.load(FROM_POD),), goto=SPOOF_GUARD)
"""

from __future__ import annotations

from agent.openflow.codec import actions as a
from agent.openflow.codec import match as m
from agent.openflow.codec.flow import Flow
from agent.pipeline.cookies import Category, cookie
from agent.pipeline.tables import Layout, Stage, Table

HIGH, NORMAL, LOW, MISS = 210, 200, 190, 0


class Builder:
    """Makes the flows of one feature: knows the tables' numbers and the feature's cookie."""

    def __init__(self, layout: Layout, round_number: int, category: Category) -> None:
        self.layout = layout
        self.cookie = cookie(round_number, category)

    def flow(
        self,
        table: Table,
        priority: int,
        *match: bytes,
        do: tuple[bytes, ...] = (),
        goto: Table | Stage | None = None,
    ) -> Flow:
        """A flow. Without ``do`` and ``goto`` it drops; a stage stands for its first table."""
        target = self.layout.first(goto) if isinstance(goto, Stage) else goto
        number = None if target is None else self.layout.number(target)
        body = a.instructions(*do, goto_table=number)
        return Flow.of(self.layout.number(table), priority, m.match(*match), body, self.cookie)

    def next(self, table: Table) -> Table:
        """The table that follows. Raises LookupError after the last one."""
        following = self.layout.next(table)
        if following is None:
            raise LookupError(f"{table.name} is the last table of its pipeline")
        return following
