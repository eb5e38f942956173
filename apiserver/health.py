"""/healthz, /livez and /readyz: named checks, one by one or all together, as kube-apiserver's answer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from aiohttp import web

from apiserver.render import HEADERS
from apiserver.request import Context

Check = Callable[[], str | Awaitable[str | None] | None]
"""Returns None when all is well, else what is wrong; a Remark where it is well enough."""


class Remark(str):
    """Something worth saying in ``?verbose`` that is no failure."""


_ENDPOINTS = ("healthz", "livez", "readyz")


def _ping() -> None:
    return None


class HealthChecks:
    """Checks in the order in which they are listed."""

    def __init__(self) -> None:
        self._checks: dict[str, dict[str, Check]] = {name: {"ping": _ping} for name in _ENDPOINTS}

    def add(self, name: str, check: Check, *, live: bool = True, ready: bool = True) -> None:
        """``live`` also puts it under /healthz. A readiness check alone keeps traffic away, but nobody
        restarts."""
        if live:
            self._checks["healthz"][name] = check
            self._checks["livez"][name] = check
        if ready:
            self._checks["readyz"][name] = check

    def paths(self) -> list[str]:
        return [f"/{e}" for e in _ENDPOINTS] + [
            f"/{e}/{name}" for e in _ENDPOINTS for name in self._checks[e]
        ]

    async def serve(self, ctx: Context) -> web.Response | None:
        """The answer, or None when the path is no health path."""
        endpoint, _, single = ctx.info.path.strip("/").partition("/")
        checks = self._checks.get(endpoint)
        if checks is None or (single and single not in checks):
            return None
        chosen = {single: checks[single]} if single else checks
        excluded = set(ctx.http.rel_url.query.getall("exclude", []))
        lines: list[str] = []
        failed: list[str] = []
        for name, check in chosen.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
                continue
            problem = await _run(check)
            if problem is None or isinstance(problem, Remark):
                lines.append(f"[+]{name} ok" + (f": {problem}" if problem else ""))
            else:
                failed.append(name)
                lines.append(f"[-]{name} failed: {problem}")
        unknown = sorted(excluded - set(chosen))
        if unknown:
            lines.append("warn: some health checks cannot be excluded: no matches for " + ", ".join(unknown))
        if failed:
            return _text("\n".join([*lines, f"{endpoint} check failed", ""]), 500)
        if "verbose" in ctx.query:
            return _text("\n".join([*lines, f"{endpoint} check passed", ""]))
        return _text("ok")


async def _run(check: Check) -> str | None:
    try:
        result = check()
        return await result if inspect.isawaitable(result) else result
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _text(body: str, code: int = 200) -> web.Response:
    headers = {**HEADERS, "X-Content-Type-Options": "nosniff"}
    return web.Response(text=body, status=code, headers=headers)
