"""The control plane's objects as the agent keeps them: small, immutable, compared by value.

They hold what a node needs and nothing else. Names are those of controlplane.antrea.io/v1beta2.
"""

from __future__ import annotations

import enum

import msgspec

from agent.model import Action, Direction, IPAddress, IPNetwork, PolicyReference


class Kind(enum.Enum):
    """The three resources that a node follows. The value is the plural name in the API."""

    ADDRESS_GROUP = "addressgroups"
    APPLIED_TO_GROUP = "appliedtogroups"
    NETWORK_POLICY = "networkpolicies"

    @property
    def singular(self) -> str:
        return _SINGULAR[self]


_SINGULAR = {
    Kind.ADDRESS_GROUP: "AddressGroup",
    Kind.APPLIED_TO_GROUP: "AppliedToGroup",
    Kind.NETWORK_POLICY: "NetworkPolicy",
}


class NamedPort(msgspec.Struct, frozen=True, gc=False):
    """A container port that has a name, as a group member carries it."""

    name: str
    protocol: str
    port: int


class Member(msgspec.Struct, frozen=True):
    """A member of a group.

    ``type`` is Pod, ExternalEntity, Node or Service. Members of applied-to groups carry no addresses.
    """

    type: str
    namespace: str
    name: str
    ips: tuple[IPAddress, ...] = ()
    ports: tuple[NamedPort, ...] = ()


class IPBlock(msgspec.Struct, frozen=True):
    """A CIDR without some of its parts."""

    cidr: IPNetwork
    excepts: tuple[IPNetwork, ...] = ()


class Peer(msgspec.Struct, frozen=True):
    """The other side of a rule. Empty: no traffic matches."""

    address_groups: tuple[str, ...] = ()
    ip_blocks: tuple[IPBlock, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.address_groups and not self.ip_blocks


class Service(msgspec.Struct, frozen=True, gc=False):
    """One alternative of a rule's ports. ``port`` is a number, a name to be resolved per pod, or all."""

    protocol: str
    port: int | str | None = None
    end_port: int | None = None

    @property
    def is_named(self) -> bool:
        return isinstance(self.port, str)


class Rule(msgspec.Struct, frozen=True):
    """One rule of a policy. ``id`` is made of the policy's uid and the rule's content (see wire.rule_id)."""

    id: str
    policy_name: str
    policy: PolicyReference
    direction: Direction
    peer: Peer
    services: tuple[Service, ...]
    action: Action | None
    applied_to: tuple[str, ...]
    enable_logging: bool = False
    name: str = ""

    @property
    def has_named_ports(self) -> bool:
        return any(service.is_named for service in self.services)


class Policy(msgspec.Struct, frozen=True):
    """A policy with its rules.

    ``raw`` is the object as it came (a NetworkPolicy message without envelope): it goes to the disk and to
    the local API as it is. ``unsupported`` is empty, or a sentence that says why the policy is not enforced
    on this node; then it has no rules.
    """

    name: str
    uid: str
    generation: int
    reference: PolicyReference
    rules: tuple[Rule, ...]
    applied_to: frozenset[str]
    raw: bytes
    unsupported: str = ""
