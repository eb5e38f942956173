"""What the controller has sent, indexed so that a change finds the rules it touches.

The cache holds groups and policies and knows which rules use which group. Every change marks the rules that
it touches as dirty; whoever reconciles takes the dirty rules, all that have gathered since the last time.
Nothing here knows the datapath.

A rule is *effective* if at least one of its applied-to groups is here (only groups with members on this node
are sent), and *realizable* if all its address groups are. Between the three watches of upstream's protocol
there is no order, so an effective rule may have to wait.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from agent.policies.groups import Group, GroupPatch, Object, patched
from agent.policies.objects import Kind, Member, Policy, Rule


class UnknownGroup(LookupError):
    """A patch for a group that is not here: events were lost, the stream must start over."""


class RuleCache:
    def __init__(self) -> None:
        self.policies: dict[str, Policy] = {}
        self.address_groups: dict[str, Group] = {}
        self.applied_to_groups: dict[str, Group] = {}
        self._rules: dict[str, Rule] = {}
        self._by_address_group: defaultdict[str, set[str]] = defaultdict(set)
        self._by_applied_to: defaultdict[str, set[str]] = defaultdict(set)
        self._groups_of_pod: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._dirty_rules: dict[str, str] = {}  # rule id → name of its policy; in the order of the changes
        self._dirty_policies: dict[str, None] = {}

    # --- what came from the controller ---

    def put(self, kind: Kind, value: Object) -> bool:
        """Add or replace one object. Returns whether anything changed."""
        if kind is Kind.NETWORK_POLICY:
            assert isinstance(value, Policy)
            return self._put_policy(value)
        assert isinstance(value, Group)
        return self._put_group(kind, value)

    def patch(self, kind: Kind, patch: GroupPatch) -> bool:
        """Insert what was added, then remove what was removed. Raises UnknownGroup."""
        old = self._groups(kind).get(patch.name)
        if old is None:
            raise UnknownGroup(
                f"A patch came for the {kind.singular} {patch.name}, which this node does not have: "
                "an event was lost, and the watch starts over."
            )
        new = patched(old, patch)
        if new.members == old.members:
            return False
        return self._replace_group(kind, old, new)

    def remove(self, kind: Kind, name: str) -> bool:
        """Forget one object. Returns whether it was here."""
        if kind is Kind.NETWORK_POLICY:
            return self._remove_policy(name)
        old = self._groups(kind).pop(name, None)
        if old is None:
            return False
        if kind is Kind.APPLIED_TO_GROUP:
            self._index_pods(name, old, None)
            self._mark(self._by_applied_to.get(name, ()))
        # The end of an address group says nothing by itself: the policy that used it has ended or ends soon.
        return True

    def objects(self, kind: Kind) -> dict[str, Group] | dict[str, Policy]:
        return self.policies if kind is Kind.NETWORK_POLICY else self._groups(kind)

    # --- what the reconciler asks ---

    def take_dirty(self) -> tuple[dict[str, str], set[str]]:
        """The rules (id → policy) and policies that changed since the last call; they are clean now."""
        rules, policies = self._dirty_rules, set(self._dirty_policies)
        self._dirty_rules, self._dirty_policies = {}, {}
        return rules, policies

    @property
    def has_dirty(self) -> bool:
        return bool(self._dirty_rules or self._dirty_policies)

    def mark_pod(self, namespace: str, name: str) -> None:
        """A local pod was attached, changed or detached: its rules have to be looked at."""
        for group in self._groups_of_pod.get((namespace, name), ()):
            self._mark(self._by_applied_to.get(group, ()))

    def mark_all(self) -> None:
        self._mark(self._rules)
        self._dirty_policies.update(dict.fromkeys(self.policies))

    def mark(self, rules: Iterable[str], policies: Iterable[str]) -> None:
        """Take back what ``take_dirty`` gave, because it could not be carried out."""
        for policy in policies:
            self._dirty_policies[policy] = None
        for rule in rules:
            self._dirty_rules.setdefault(rule, self._rules[rule].policy_name if rule in self._rules else "")

    def rule(self, rule_id: str) -> Rule | None:
        return self._rules.get(rule_id)

    def is_effective(self, rule: Rule) -> bool:
        return any(group in self.applied_to_groups for group in rule.applied_to)

    def is_realizable(self, rule: Rule) -> bool:
        return all(group in self.address_groups for group in rule.peer.address_groups)

    def targets(self, rule: Rule) -> Iterator[Member]:
        for name in rule.applied_to:
            group = self.applied_to_groups.get(name)
            if group is not None:
                yield from group.decoded()

    def members(self, address_group: str) -> Iterable[Member]:
        return self.address_groups[address_group].decoded()

    def policies_of_pod(self, namespace: str, name: str) -> set[str]:
        """The names of the policies that select a pod."""
        return {
            self._rules[rule].policy_name
            for group in self._groups_of_pod.get((namespace, name), ())
            for rule in self._by_applied_to.get(group, ())
        }

    def rules(self) -> Iterable[Rule]:
        return self._rules.values()

    # --- inside ---

    def _groups(self, kind: Kind) -> dict[str, Group]:
        return self.address_groups if kind is Kind.ADDRESS_GROUP else self.applied_to_groups

    def _put_group(self, kind: Kind, group: Group) -> bool:
        old = self._groups(kind).get(group.name)
        return old != group and self._replace_group(kind, old, group)

    def _replace_group(self, kind: Kind, old: Group | None, group: Group) -> bool:
        self._groups(kind)[group.name] = group
        if kind is Kind.APPLIED_TO_GROUP:
            self._index_pods(group.name, old, group)
            self._mark(self._by_applied_to.get(group.name, ()))
        else:
            self._mark(self._by_address_group.get(group.name, ()))
        return True

    def _index_pods(self, name: str, old: Group | None, new: Group | None) -> None:
        before = {(member.namespace, member.name) for member in old.decoded()} if old else set()
        after = {(member.namespace, member.name) for member in new.decoded()} if new else set()
        for pod in before - after:
            self._groups_of_pod[pod].discard(name)
            if not self._groups_of_pod[pod]:
                del self._groups_of_pod[pod]
        for pod in after - before:
            self._groups_of_pod[pod].add(name)

    def _put_policy(self, policy: Policy) -> bool:
        old = self.policies.get(policy.name)
        if old is not None and old.raw == policy.raw:
            return False
        self.policies[policy.name] = policy
        self._dirty_policies[policy.name] = None
        before = {rule.id: rule for rule in old.rules} if old else {}
        after = {rule.id: rule for rule in policy.rules}
        for rule_id, rule in before.items():
            if after.get(rule_id) != rule:
                self._unindex(rule)
        for rule_id, rule in after.items():
            if before.get(rule_id) != rule:
                self._index(rule)
        return True

    def _remove_policy(self, name: str) -> bool:
        old = self.policies.pop(name, None)
        if old is None:
            return False
        self._dirty_policies[name] = None
        for rule in old.rules:
            self._unindex(rule)
        return True

    def _index(self, rule: Rule) -> None:
        self._rules[rule.id] = rule
        self._dirty_rules[rule.id] = rule.policy_name
        for group in rule.applied_to:
            self._by_applied_to[group].add(rule.id)
        for group in rule.peer.address_groups:
            self._by_address_group[group].add(rule.id)

    def _unindex(self, rule: Rule) -> None:
        del self._rules[rule.id]
        self._dirty_rules[rule.id] = rule.policy_name
        for index, groups in (
            (self._by_applied_to, rule.applied_to),
            (self._by_address_group, rule.peer.address_groups),
        ):
            for group in groups:
                index[group].discard(rule.id)
                if not index[group]:
                    del index[group]

    def _mark(self, rules: Iterable[str]) -> None:
        for rule in rules:
            self._dirty_rules[rule] = self._rules[rule].policy_name
