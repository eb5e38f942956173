"""How structs say what Go's reflection would know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec


class GoStruct(msgspec.Struct, rename="camel", gc=False):
    """Base of the structs that ``unmarshal`` decodes. ``package`` qualifies the class's name in messages.

    The garbage collector leaves them alone: they hold no cycles, and a large object is made of 100,000."""

    package: ClassVar[str] = "v1"


@dataclass(frozen=True, slots=True)
class Named:
    """A field whose Go type has a name of its own, such as ``v1beta1.RuleAction`` for a string."""

    name: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A property of a field that matters for encoding."""

    name: str


ALWAYS = Mark("always")  # no omitempty: encoded also when it is absent
POINTER = Mark("pointer")  # set is set: encoded also when the value is zero

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
IntOrString = int | str  # apimachinery's: a string stays one, anything else has to be an int32
