"""What is wanted by whom, and the flow that follows from it. No I/O.

Several owners may want flows with the same key (table, priority, match). Clauses of conjunctions are merged
into one flow that carries the conjunctions of all; equal flows are one flow, which stays until its last owner
drops it; owners that want different things are a conflict, which the first one wins and which is reported.

Flows that a switch had already and nobody here has asked for yet are *unclaimed*: they stay, merged with what
is wanted, until they are given up. So an agent that starts takes nothing away before it knows everything.
"""

from __future__ import annotations

import bisect
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from agent.openflow.codec.flow import Flow, conjunctions, join_conjunctions

log = logging.getLogger(__name__)


class _Shared:
    """The claims of several owners on one key. Thousands of rules may share a flow: nothing here that a
    commit needs walks through all claims."""

    __slots__ = ("_actions", "_plain", "_twice", "claims")

    def __init__(self) -> None:
        self.claims: dict[int, Flow] = {}  # by identity: two owners may want equal flows
        self._actions: list[bytes] = []  # the conjunction actions of all claims, ordered
        self._twice = 0  # how many of them are there more than once
        self._plain: Counter[tuple[bytes, int]] = Counter()  # what the claims that are not conjunctive want

    def add(self, flow: Flow) -> None:
        self.claims[id(flow)] = flow
        found = conjunctions(flow.body)
        if found is None:
            self._plain[flow.body, flow.cookie] += 1
            return
        actions = self._actions
        for action in found:
            index = bisect.bisect_left(actions, action)
            if index < len(actions) and actions[index] == action:
                self._twice += 1
            actions.insert(index, action)

    def remove(self, flow: Flow) -> None:
        del self.claims[id(flow)]
        found = conjunctions(flow.body)
        if found is None:
            self._plain[flow.body, flow.cookie] -= 1
            if not self._plain[flow.body, flow.cookie]:
                del self._plain[flow.body, flow.cookie]
            return
        actions = self._actions
        for action in found:
            index = bisect.bisect_left(actions, action)
            del actions[index]
            if index < len(actions) and actions[index] == action:
                self._twice -= 1

    def flow(self) -> Flow:
        first = next(iter(self.claims.values()))
        if not self._plain:
            actions = list(dict.fromkeys(self._actions)) if self._twice else self._actions
            return Flow(first.key, first.cookie, join_conjunctions(actions))
        if self._actions or len(self._plain) > 1:
            different = {(flow.body, flow.cookie): flow for flow in self.claims.values()}
            log.error(
                "several features want different flows under one match; the first one stays:%s",
                "".join(f"\n{flow}" for flow in different.values()),
            )
        return first


class Desired:
    """Who wants which flows. ``dirty`` are the keys whose flow may have changed since they were last
    taken."""

    def __init__(self) -> None:
        self._owned: dict[str, tuple[Flow, ...]] = {}
        self._claims: dict[bytes, Flow | _Shared] = {}
        self._unclaimed: dict[bytes, Flow] = {}
        self.dirty: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._claims)

    def want(self, owner: str, flows: Sequence[Flow]) -> None:
        """From now on the owner wants these flows and no others. Of two with one key the last one counts."""
        before = self._owned.get(owner)
        if before is None:
            if not flows:
                return
            # The hot path: a new owner. Keys within one owner are nearly always distinct.
            claims, dirty = self._claims, self.dirty
            fresh: dict[bytes, Flow] = {flow.key: flow for flow in flows}
            self._owned[owner] = tuple(fresh.values())
            for key, flow in fresh.items():
                there = claims.get(key)
                if there is None:
                    claims[key] = flow
                elif isinstance(there, _Shared):
                    there.add(flow)
                else:
                    self._share(key, there, flow)
            dirty.update(fresh)
            return
        if not flows:
            self.drop(owner)
            return
        old = {flow.key: flow for flow in before}
        new = {flow.key: flow for flow in flows}
        for key, flow in old.items():
            replacement = new.get(key)
            if replacement is not None and replacement == flow:
                new[key] = flow  # keep the object that is claimed already
            else:
                self._release(flow)
        for key, flow in new.items():
            if old.get(key) is not flow:
                self._claim(key, flow)
        self._owned[owner] = tuple(new.values())

    def drop(self, owner: str) -> None:
        """The owner wants nothing any more. Unknown owners are no error."""
        for flow in self._owned.pop(owner, ()):
            self._release(flow)

    def _claim(self, key: bytes, flow: Flow) -> None:
        there = self._claims.get(key)
        if there is None:
            self._claims[key] = flow
        elif isinstance(there, _Shared):
            there.add(flow)
        else:
            self._share(key, there, flow)
        self.dirty.add(key)

    def _share(self, key: bytes, one: Flow, other: Flow) -> None:
        shared = self._claims[key] = _Shared()
        shared.add(one)
        shared.add(other)

    def _release(self, flow: Flow) -> None:
        there = self._claims[flow.key]
        if isinstance(there, _Shared):
            there.remove(flow)
            if len(there.claims) == 1:
                self._claims[flow.key] = next(iter(there.claims.values()))
        else:
            del self._claims[flow.key]
        self.dirty.add(flow.key)

    # --- what follows from it ---

    def flow(self, key: bytes) -> Flow | None:
        """The flow that should be in the switch under this key. Raises CodecError if too many share it."""
        there = self._claims.get(key)
        wanted = there.flow() if isinstance(there, _Shared) else there
        if self._unclaimed:
            kept = self._unclaimed.get(key)
            if kept is not None:
                return _merged(wanted, kept)
        return wanted

    def wants(self, key: bytes) -> bool:
        """Whether there should be a flow under this key."""
        return key in self._claims or key in self._unclaimed

    def keys(self) -> Iterator[bytes]:
        yield from self._claims
        yield from (key for key in self._unclaimed if key not in self._claims)

    def owners(self, key: bytes) -> list[str]:
        """Who wants the flow with this key. Slow: for error messages."""
        return [owner for owner, flows in self._owned.items() if any(flow.key == key for flow in flows)]

    def owned(self, owner: str) -> tuple[Flow, ...]:
        return tuple(self._owned.get(owner, ()))

    # --- unclaimed flows ---

    def keep(self, flows: Iterable[Flow]) -> None:
        """These flows were found in the switch; they stay until ``give_up``."""
        self._unclaimed = {flow.key: flow for flow in flows}

    def give_up(self) -> int:
        """Lets go of the flows that nobody has claimed meanwhile. Gives how many there were."""
        found, self._unclaimed = self._unclaimed, {}
        self.dirty.update(found)
        return len(found)


def _merged(wanted: Flow | None, kept: Flow) -> Flow:
    """A flow found in the switch, together with what is wanted by now."""
    if wanted is None:
        return kept
    mine, theirs = conjunctions(wanted.body), conjunctions(kept.body)
    if mine is None or theirs is None:
        return wanted
    known = {action[12:] for action in mine}
    actions = sorted([*mine, *(action for action in theirs if action[12:] not in known)])
    return Flow(wanted.key, wanted.cookie, join_conjunctions(actions))
