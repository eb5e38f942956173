"""The process that evaluates CEL, apart from the API: nothing else bounds what an expression costs.

The engine is Google's own, CEL for C++: it counts iterations and matches in linear time, but a rule may still
double a text thirty times over. So this process has little memory, and the kernel ends it when a request has
taken its time; whoever asked starts another one. It ends with its standard input.

    ← {"compile": [rule, …]}                             → [error or null, …]
    ← {"evaluate": [[rule, message expression, values], …]} → [[true | false | error, message], …]

One JSON document a line; `values` are the variables by name.
"""

from __future__ import annotations

import functools
import json
import re
import resource
import signal
import sys
from typing import Any

SECONDS = 1.0
"""Of processor time for one request: about what kube-apiserver's cost budget for an object comes to."""

_MEMORY = 768 * 1024 * 1024
_MISSING = re.compile(r'NOT_FOUND: Key not found in map : "(.*)"', re.DOTALL)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@functools.cache
def _environment() -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_math, ext_optional, ext_strings

    # Of rules, and of match conditions of admission hooks.
    names = ("self", "oldSelf", "object", "oldObject", "request")
    variables = dict.fromkeys(names, cel.Type.DYN)
    extensions = [ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional()]
    return cel.NewEnv(variables=variables, extensions=extensions)


@functools.lru_cache(maxsize=1024)
def _program(rule: str) -> Any:
    try:
        return _environment().compile(rule)
    except RuntimeError as error:
        # Cross-type comparisons of literals, which kube-apiserver's checker takes and this one does not.
        if "undeclared reference" in str(error) or "no matching overload" not in str(error):
            raise
        return _environment().compile(rule, disable_check=True)


def _complaint(text: str) -> str:
    """In kube-apiserver's words where it has some."""
    missing = _MISSING.search(text)
    if missing is not None:
        return f"no such key: {missing[1]}"
    if "Iteration budget exceeded" in text:
        return "operation cancelled: actual cost limit exceeded"
    if (
        "No matching overloads" in text
        or "no matching overload" in text
        or "no such overload" in text.lower()
    ):
        return "no such overload"
    return re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", text)


def _compile(rule: str) -> str | None:
    try:
        _program(rule)
    except Exception as error:  # the binding raises plain RuntimeErrors, and others
        return _complaint(str(error))
    return None


def _value(rule: str, values: dict[str, Any]) -> Any:
    """What the rule comes to; an error is text behind a prefix that no value has."""
    try:
        result = _program(rule).eval(data=values)
        if result.type().name() == "ERROR":
            return Exception(_complaint(str(result.value())))
        return result.plain_value()
    except MemoryError:
        sys.exit("a rule needs more memory than rules have")
    except Exception as error:
        return Exception(_complaint(str(error)))


def _evaluate(rule: str, message: str, values: dict[str, Any]) -> list[Any]:
    result = _value(rule, values)
    if isinstance(result, Exception):
        return [str(result), None]
    if not isinstance(result, bool):
        return ["must evaluate to a bool", None]
    text = _value(message, values) if message and not result else None
    return [result, text if isinstance(text, str) else None]


def main() -> None:
    _limit()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's, meant for the API
    _environment()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        if "compile" in request:
            answer: list[Any] = [_compile(rule) for rule in request["compile"]]
        else:
            answer = [_evaluate(*asked) for asked in request["evaluate"]]
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
