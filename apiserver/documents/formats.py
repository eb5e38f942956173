"""Formats of single values: names, labels, ports, addresses. A check returns its complaints."""

from __future__ import annotations

import functools
import ipaddress
import re

_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_RE_QUALIFIED = re.compile(_QUALIFIED)
_RE_LABEL = re.compile(_LABEL)
_RE_SUBDOMAIN = re.compile(_SUBDOMAIN)
_RE_LABEL_1035 = re.compile(_LABEL_1035)
_RE_CONFIG_KEY = re.compile(_CONFIG_KEY)

_QUALIFIED_WORDS = (
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)


def _pattern_message(words: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{words} (e.g. {shown}regex used for validation is '{pattern}')"


def _at_most(length: int) -> str:
    return f"must be no more than {length} characters"


def qualified_name(value: str) -> list[str]:
    """Label and annotation keys: an optional DNS prefix, a slash, a name of at most 63 characters."""
    problems: list[str] = []
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return [
            "a qualified name "
            + _pattern_message(_QUALIFIED_WORDS, _QUALIFIED, "MyName", "my.name", "123-abc")
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if slash:
        if not prefix:
            problems.append("prefix part must be non-empty")
        else:
            problems += [f"prefix part {problem}" for problem in dns_subdomain(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part " + _at_most(63))
    if not _RE_QUALIFIED.fullmatch(name):
        problems.append(
            "name part " + _pattern_message(_QUALIFIED_WORDS, _QUALIFIED, "MyName", "my.name", "123-abc")
        )
    return problems


def label_value(value: str) -> list[str]:
    problems = []
    if len(value) > 63:
        problems.append(_at_most(63))
    if value and not _RE_QUALIFIED.fullmatch(value):
        problems.append(_pattern_message(_VALUE_WORDS, f"({_QUALIFIED})?", "MyValue", "my_value", "12345"))
    return problems


def dns_label(value: str) -> list[str]:
    problems = []
    if len(value) > 63:
        problems.append(_at_most(63))
    if not _RE_LABEL.fullmatch(value):
        if _RE_SUBDOMAIN.fullmatch(value):
            problems.append("must not contain dots")
        else:
            problems.append(_pattern_message(_LABEL_WORDS, _LABEL, "my-name", "123-abc"))
    return problems


def dns_subdomain(value: str) -> list[str]:
    problems = []
    if len(value) > 253:
        problems.append(_at_most(253))
    if not _RE_SUBDOMAIN.fullmatch(value):
        problems.append(_pattern_message(_SUBDOMAIN_WORDS, _SUBDOMAIN, "example.com"))
    return problems


def dns1035_label(value: str) -> list[str]:
    problems = []
    if len(value) > 63:
        problems.append(_at_most(63))
    if not _RE_LABEL_1035.fullmatch(value):
        problems.append(_pattern_message(_1035_WORDS, _LABEL_1035, "my-name", "abc-123"))
    return problems


def path_segment(value: str) -> list[str]:
    """Names that only have to fit into a URL: RBAC objects, APIServices."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{mark}'" for mark in "/%" if mark in value]


def config_key(value: str) -> list[str]:
    problems = []
    if len(value) > 253:
        problems.append(_at_most(253))
    if not _RE_CONFIG_KEY.fullmatch(value):
        words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        problems.append(_pattern_message(words, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    elif value == ".":
        problems.append("must not be '.'")
    elif value.startswith(".."):
        problems.append("must not be '..'" if value == ".." else "must not start with '..'")
    return problems


def environment_name(value: str) -> list[str]:
    """Since Kubernetes 1.34 any printable ASCII but '='."""
    if not value:
        return ["environment variable name must be non-empty"]
    if not all(" " <= char <= "~" and char != "=" for char in value):
        return [
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
        ]
    return []


def port_number(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def port_name(value: str) -> list[str]:
    problems = []
    if len(value) > 15:
        problems.append(_at_most(15))
    if not re.fullmatch("[-a-z0-9]+", value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        problems.append("must not begin or end with a hyphen")
    return problems


IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _without_leading_zeros(address: str) -> str:
    """The cluster reads 010.0.0.1 as 10.0.0.1."""
    if re.fullmatch(r"\d{1,10}(\.\d{1,10}){3}", address):
        return ".".join(str(int(part)) for part in address.split("."))
    return address


def parse_address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if "%" in value:
        return None
    try:
        return ipaddress.ip_address(_without_leading_zeros(value))
    except ValueError:
        return None


@functools.lru_cache(maxsize=256)  # of one block several rules ask, one after the other
def parse_cidr(value: str) -> IPNetwork | None:
    """As lenient as the cluster with fields older than strict parsing: host bits and leading zeros pass."""
    address, slash, length = value.partition("/")
    parsed = parse_address(address)
    if parsed is None or not slash or not re.fullmatch(r"\d+", length) or not length.isascii():
        return None
    bits = int(length)
    if bits > parsed.max_prefixlen:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped is not None and bits >= 96:
        return ipaddress.ip_network((mapped, bits - 96), strict=False)
    return ipaddress.ip_network((parsed, bits), strict=False)


def ip_address(value: str) -> list[str]:
    return [] if parse_address(value) else ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]


def cidr(value: str) -> list[str]:
    return [] if parse_cidr(value) else ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
