"""Admission by webhooks: mutating hooks one after the other, validating ones all at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from apiserver import errors
from apiserver.documents.jsonpatch import PatchError, json_patch
from apiserver.documents.kind import Kind, clone
from apiserver.documents.operation import Operation
from apiserver.documents.schema import DecodeError
from apiserver.resources import Object
from lab.api.webhooks import review
from lab.api.webhooks.caller import Caller, CallError
from lab.api.webhooks.conditions import ConditionError, Conditions
from lab.api.webhooks.configurations import MUTATING, VALIDATING, Concern, Configurations

_log = logging.getLogger(__name__)
Convert = Callable[[Kind, list[Object], str], Awaitable[list[Object]]]
"""Objects of a kind as a version has them: (kind in the version that they have, objects, wanted version)."""


class WebhookAdmission:
    """The registry's reviewer."""

    def __init__(self, configurations: Configurations, caller: Caller, convert: Convert) -> None:
        self._configurations = configurations
        self._caller = caller
        self._convert = convert
        self._conditions = Conditions()

    def concerned(self, kind: Kind, operation: Operation) -> bool:
        configurations = self._configurations
        return bool(
            configurations.concerned(MUTATING, kind, operation)
            or configurations.concerned(VALIDATING, kind, operation)
        )

    async def mutate(self, kind: Kind, operation: Operation) -> bool:
        """Each hook sees what the ones before it have made; those that wish are asked again once."""
        changed = False
        changed_after: dict[str, bool] = {}
        for again in (False, True):
            for concern in self._configurations.concerned(MUTATING, kind, operation):
                name = f"{concern.hook.configuration}/{concern.hook.name}"
                wants = concern.hook.spec.get("reinvocationPolicy") == "IfNeeded"
                if again and not (wants and changed_after.get(name)):
                    continue
                changed_after.setdefault(name, False)
                if await self._mutate(concern, kind, operation):
                    changed = True
                    changed_after = {key: value or key != name for key, value in changed_after.items()}
            if not any(changed_after.values()):
                break
        return changed

    async def _mutate(self, concern: Concern, kind: Kind, operation: Operation) -> bool:
        answer = await self._ask(concern, kind, operation, mutating=True)
        if answer is None or not answer.patch or operation.new is None:
            return False
        before = await self._seen(kind, operation.new, concern.version)
        try:
            after = json_patch(before, answer.patch)
        except PatchError as error:
            raise errors.internal(error.reason) from None
        if after == before:
            return False
        if not isinstance(after, dict) or not isinstance(after.get("metadata"), dict):
            raise errors.internal(f'the patch of webhook "{concern.hook.name}" makes no object')
        if concern.version != kind.version:
            after = (await self._convert(kind, [after], kind.version))[0]
        try:
            operation.new, _ = kind.decode(after)
        except DecodeError as error:
            raise errors.internal(str(error)) from None
        return True

    async def validate(self, kind: Kind, operation: Operation) -> None:
        """All at once, so that none waits for another; the first refusal in order is the answer."""
        concerns = self._configurations.concerned(VALIDATING, kind, operation)
        asked = [self._ask(concern, kind, operation, mutating=False) for concern in concerns]
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _seen(self, kind: Kind, obj: Object, version: str) -> Object:
        """A copy of the object for a hook that knows ``version``."""
        whole = review.form_of(clone(obj), kind, kind.version)
        assert whole is not None
        return whole if version == kind.version else (await self._convert(kind, [whole], version))[0]

    async def _ask(
        self, concern: Concern, kind: Kind, operation: Operation, *, mutating: bool
    ) -> review.Answer | None:
        """The answer, or None where the failure of the hook is to be ignored. Raises StatusError."""
        hook = concern.hook
        try:
            answer = await self._answer(concern, kind, operation, mutating)
        except (CallError, review.AnswerError, ConditionError) as error:
            prefix = {
                CallError: "failed to call webhook: ",
                review.AnswerError: "received invalid webhook response: ",
            }.get(type(error), "")
            text = f'failed calling webhook "{hook.name}": {prefix}{error}'
            if hook.spec.get("failurePolicy") == "Ignore":
                _log.warning("%s (its failure policy is Ignore)", text)
                return None
            raise errors.internal(text) from None
        if answer is None:
            return None
        operation.warnings += answer.warnings
        if not answer.allowed:
            raise review.denied(hook.name, answer.result)
        return answer

    async def _answer(
        self, concern: Concern, kind: Kind, operation: Operation, mutating: bool
    ) -> review.Answer | None:
        spec = concern.hook.spec
        new, old = operation.new, operation.old
        seen_new = await self._seen(kind, new, concern.version) if new is not None else None
        seen_old = await self._seen(kind, old, concern.version) if old is not None else None
        versions = list(spec.get("admissionReviewVersions") or ())
        asked = review.question(versions, kind, operation, concern.version, seen_new, seen_old)
        conditions = spec.get("matchConditions")
        if conditions and not await self._conditions.match(conditions, asked["request"]):
            return None
        config, seconds = spec.get("clientConfig") or {}, float(spec.get("timeoutSeconds", 10))
        return review.read(await self._caller.ask(config, asked, seconds), asked, mutating)
