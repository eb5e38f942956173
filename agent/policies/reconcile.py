"""Dirty rules become one commit of the flow programmer.

A round takes every rule that changed since the last one, resolves it, tells the programmer what to set and
what to delete, and commits once: however many events came in between, OVS sees one atomic bundle.

Two rules of order make a round safe at any point where it may be interrupted: what is new is set before what
is old is deleted, and the old rules of an edited policy stay until all the new ones have what they need, so
that no pod loses its isolation in between.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.model import PolicyRule
from agent.policies.cache import RuleCache
from agent.policies.groups import Group
from agent.policies.objects import Policy, Rule
from agent.policies.resolve import Addresses, Families, InterfacesOf, group_addresses, resolve
from runtime import log

logger = log.get(__name__)

SLICE = 0.005  # seconds of work between two looks at what else the event loop has to do


class PolicyFlows(Protocol):
    """The part of the pipeline that carries rules; changes take effect with the next commit."""

    def set(self, rule: PolicyRule) -> None: ...

    def delete(self, rule_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Realization:
    """What this node can say of one policy after a round. ``failure`` is empty or a sentence."""

    policy: str
    generation: int
    failure: str = ""


@dataclass(slots=True)
class Round:
    """What a round did."""

    set: int = 0
    deleted: int = 0
    realized: list[Realization] = field(default_factory=list)


class Reconciler:
    def __init__(
        self,
        cache: RuleCache,
        flows: PolicyFlows,
        commit: Callable[[], Awaitable[object]],
        interfaces_of: InterfacesOf,
        families: Families,
        refused: Callable[[str], Sequence[object]] = lambda _: (),
    ) -> None:
        """``refused(rule_id)``: what the switch refuses of a rule's flows at present."""
        self._cache = cache
        self._flows = flows
        self._commit = commit
        self._interfaces_of = interfaces_of
        self._families = families
        self._refused = refused
        self._faulty: dict[str, str] = {}  # rule id → why the datapath does not carry it as it should
        self._installed: dict[str, dict[str, PolicyRule]] = {}  # rule id → what it stands for in the datapath
        self._lingering: defaultdict[str, set[str]] = defaultdict(set)  # policy → rules that it no longer has
        self._addresses: dict[str, tuple[Group, Addresses]] = {}

    @property
    def installed(self) -> Iterable[PolicyRule]:
        return (rule for variants in self._installed.values() for rule in variants.values())

    async def run_once(self) -> Round:
        """One round. When the commit fails, its rules are dirty again and the error goes to the caller."""
        rules, policies = self._cache.take_dirty()
        try:
            outcome = await self._stage(rules, policies)
            await self._commit()
        except BaseException:
            self._cache.mark(rules, policies)
            raise
        outcome.realized.extend(self._realized(policies | {policy for policy in rules.values() if policy}))
        return outcome

    async def stage(self) -> Round:
        """A round without its commit: at start the whole pipeline is committed as one."""
        rules, policies = self._cache.take_dirty()
        return await self._stage(rules, policies)

    async def _stage(self, rules: dict[str, str], policies: set[str]) -> Round:
        outcome = Round()
        gone: list[str] = []
        pause = time.monotonic() + SLICE
        for rule_id in rules:
            if time.monotonic() > pause:
                await asyncio.sleep(0)
                pause = time.monotonic() + SLICE
            rule = self._cache.rule(rule_id)
            if rule is None:
                if rule_id in self._installed:
                    self._lingering[rules[rule_id]].add(rule_id)
            elif not self._cache.is_effective(rule):
                gone.append(rule_id)
            elif self._cache.is_realizable(rule):
                self._set(rule, outcome)
        for policy in {*policies, *rules.values()} & self._lingering.keys():
            if all(map(self._is_settled, self._rules_of(policy))):
                gone.extend(self._lingering.pop(policy))
        for rule_id in gone:
            rule = self._cache.rule(rule_id)
            if rule is None or not self._cache.is_effective(rule):
                self._faulty.pop(rule_id, None)
                for variant in self._installed.pop(rule_id, ()):
                    self._flows.delete(variant)
                    outcome.deleted += 1
        return outcome

    def _set(self, rule: Rule, outcome: Round) -> None:
        """Bring one rule up to date; one that cannot be carried must not keep the others out."""
        self._faulty.pop(rule.id, None)
        before = self._installed.get(rule.id, {})
        after: dict[str, PolicyRule] = {}
        try:
            for variant in resolve(
                rule,
                self._cache.targets(rule),
                self._cache.members,
                self._peer_addresses,
                self._interfaces_of,
                self._families,
            ):
                if before.get(variant.id) != variant:
                    self._flows.set(variant)
                    outcome.set += 1
                after[variant.id] = variant
        except Exception as error:
            logger.error("The rule %s of %s stays as it was: %s", rule.id, rule.policy, error)
            self._faulty[rule.id] = str(error) or type(error).__name__
            after = {**before, **after}
        for variant_id in before.keys() - after.keys():
            self._flows.delete(variant_id)
            outcome.deleted += 1
        if after:
            self._installed[rule.id] = after
        else:
            self._installed.pop(rule.id, None)

    def _is_settled(self, rule: Rule) -> bool:
        """Nothing that this rule needs is still on its way."""
        return not self._cache.is_effective(rule) or self._cache.is_realizable(rule)

    def _rules_of(self, policy: str) -> tuple[Rule, ...]:
        known: Policy | None = self._cache.policies.get(policy)
        return known.rules if known is not None else ()

    def _peer_addresses(self, group_name: str) -> Addresses:
        """The addresses of an address group, computed once for each version of it."""
        group = self._cache.address_groups[group_name]
        known = self._addresses.get(group_name)
        if known is not None and known[0] is group:
            return known[1]
        addresses = group_addresses(group, self._families)
        self._addresses[group_name] = (group, addresses)
        return addresses

    def forget_unused_groups(self) -> None:
        """Drop what is kept for groups that have ended."""
        for name in self._addresses.keys() - self._cache.address_groups.keys():
            del self._addresses[name]

    def _realized(self, policies: Iterable[str]) -> list[Realization]:
        found: list[Realization] = []
        for name in policies:
            policy = self._cache.policies.get(name)
            if policy is None:
                continue
            if policy.unsupported:
                found.append(Realization(name, policy.generation, policy.unsupported))
            elif name not in self._lingering and all(map(self._is_settled, policy.rules)):
                found.append(Realization(name, policy.generation, self._trouble(policy)))
        return found

    def _trouble(self, policy: Policy) -> str:
        """Why the policy is not enforced as it should be, or nothing."""
        for rule in policy.rules:
            if rule.id in self._faulty:
                return self._faulty[rule.id]
            for variant in self._installed.get(rule.id, ()):
                for failure in self._refused(variant):
                    return str(failure)
        return ""
