"""JSON as Go's encoding/json reads and writes it, where Antrea makes the difference visible.

Users see Go's words when an object does not decode (a webhook's refusal quotes them), and names of rules
are hashes of Go's encoding. Parts: ``unmarshal`` (typed decoding with Go's error texts), ``syntax`` (what Go
says of text that is no JSON), ``marshal`` (the encoding of a struct, omitempty and all), ``quote`` (%q).

The types are msgspec structs: fields in the order of the Go struct, None for what is absent, and marks for
what msgspec has no need to know::

    class PacketSpec(GoStruct):
        package: ClassVar[str] = "v1beta1"
        action: Annotated[str | None, Named("v1beta1.RuleAction"), ALWAYS] = None
"""

from apis.gojson.encoding import marshal
from apis.gojson.errors import GoJSONError
from apis.gojson.quoting import quote
from apis.gojson.types import ALWAYS, POINTER, GoStruct, Int32, Int64, IntOrString, Named
from apis.gojson.unmarshal import unmarshal

__all__ = [
    "ALWAYS",
    "POINTER",
    "GoJSONError",
    "GoStruct",
    "Int32",
    "Int64",
    "IntOrString",
    "Named",
    "marshal",
    "quote",
    "unmarshal",
]
