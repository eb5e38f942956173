"""matchConditions of hooks: CEL about the request, which keeps a hook from being asked."""

from __future__ import annotations

import asyncio
from typing import Any

from apiserver.resources import Object
from lab.api.custom.expressions import ENGINE, Asked, BudgetError

NAMES = ("object", "oldObject", "request")


class ConditionError(Exception):
    """A condition that could not be evaluated."""


class Conditions:
    async def match(self, conditions: list[Object], request: Object) -> bool:
        """Whether all hold; one that does not decides, whatever fails besides. Raises ConditionError."""
        values: dict[str, Any] = {
            "object": request.get("object"),
            "oldObject": request.get("oldObject"),
            "request": {k: v for k, v in request.items() if k not in ("object", "oldObject")},
        }
        asked = [Asked(str(condition.get("expression", "")), "", values) for condition in conditions]
        try:
            verdicts = await asyncio.to_thread(ENGINE.evaluate, asked)
        except BudgetError:
            raise ConditionError("the match conditions ran out of cost budget") from None
        if any(verdict.result is False for verdict in verdicts):
            return False
        for condition, verdict in zip(conditions, verdicts, strict=True):
            if verdict.result is not True:
                name, why = condition.get("name", ""), verdict.result
                raise ConditionError(f"expression '{name}' resulted in error: {why}")
        return True
