"""The command tree on click, with the conventions of upstream's command line: flags anywhere, its errors.

Upstream's antctl is built on cobra: options of a leaf command may stand before the command's name, a wrong
flag ends with status 1 and one line, an unknown word inside a group prints the group's help and succeeds.
Scripts rely on these, so click's own parsing errors are translated and the words are put in order first.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import click

from antctl.commands import COMMANDS, GROUPS, Spec, available, later
from antctl.errors import CommandError
from antctl.mode import Mode
from antctl.session import Session

# Flags that stand alone; all others take the next word as their value.
_SWITCHES = {
    "-v", "--verbose", "-h", "--help", "--insecure", "--table-names-only", "--controller", "--disable-filter",
    "--controller-only",
}  # fmt: skip
FORMATS = ("json", "table", "yaml", "raw")

Run = Callable[[Session, dict[str, str], list[str], str], str]
"""Session, flags by name, positional arguments, output format; returns what goes to stdout."""


def global_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["-k", "--kubeconfig"], default="", metavar="PATH", help="absolute path to the kubeconfig file"
        ),
        click.Option(
            ["-s", "--server"], default="", metavar="URL", help="address and port of the API server"
        ),
        click.Option(
            ["-t", "--timeout"], default="0", metavar="DURATION", help="give up after this time; 0: never"
        ),
        click.Option(["-v", "--verbose"], is_flag=True, help="show the requests on stderr"),
    ]


GLOBALS = frozenset({"kubeconfig", "server", "timeout", "verbose"})


def leaf(
    spec: Spec,
    mode: Mode,
    run: Run,
    *,
    options: Sequence[click.Option] = (),
    argument: str = "",
    output: str | None = "table",
    text: str = "",
) -> click.Command:
    """A command without subcommands. ``argument`` names its only positional one; ``output`` None: no -o."""

    def invoke(words: tuple[str, ...], **values: Any) -> None:
        limit = 1 if argument else 0
        if len(words) > limit and limit:
            raise CommandError(f"accepts at most {limit} arg(s), received {len(words)}")
        if len(words) > limit and output is not None:
            path = " ".join(filter(None, ("antctl", spec.group, spec.name)))
            raise CommandError(f'unknown command "{words[0]}" for "{path}"')
        session = Session(
            mode,
            kubeconfig=values.pop("kubeconfig"),
            server=values.pop("server"),
            timeout=duration(values["timeout"]),
            timeout_text=values.pop("timeout"),
            verbose=values.pop("verbose"),
        )
        form = values.pop("output", output or "table")
        names = {option.name: _flag_name(option) for option in options}
        flags = {
            names[key]: "" if value is True else str(value)
            for key, value in values.items()
            if value not in ("", False)
        }
        click.echo(run(session, flags, list(words), form), nl=False)

    params: list[click.Parameter] = list(options)
    if output is not None:
        params.append(
            click.Option(["-o", "--output"], default=output, metavar="FORMAT", help="|".join(FORMATS))
        )
    params += global_options()
    params.append(click.Argument(["words"], nargs=-1, metavar=f"[{argument}]" if argument else ""))
    help_text = (text or spec.help).replace("${component}", mode.component)
    return click.Command(
        spec.name,
        callback=invoke,
        params=params,
        help=help_text,
        short_help=spec.help,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _flag_name(option: click.Option) -> str:
    return next(name for name in option.opts if name.startswith("--")).removeprefix("--")


class Group(click.Group):
    """Finds commands in the table and imports them when they are called."""

    def __init__(self, name: str, mode: Mode, help_text: str) -> None:
        super().__init__(
            name,
            help=help_text,
            params=global_options(),
            invoke_without_command=False,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        self._mode = mode
        self._inside = name if name in GROUPS else ""

    @property
    def empty(self) -> bool:
        """Nothing is in this group in this mode, and nothing will be."""
        return not self._specs() and not later.names(self._inside, self._mode.letter)

    def _specs(self) -> list[Spec]:
        return [spec for spec in available(self._mode.letter) if spec.group == self._inside]

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = [spec.name for spec in self._specs()]
        if not self._inside:
            names += list(GROUPS)
        return sorted(names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if not self._inside and cmd_name in GROUPS:
            return Group(cmd_name, self._mode, GROUPS[cmd_name])
        for spec in self._specs():
            if cmd_name == spec.name or cmd_name in spec.aliases:
                module = importlib.import_module(f"antctl.commands.{spec.module}")
                command: click.Command = module.build(spec, self._mode)
                return command
        return None

    def get_help(self, ctx: click.Context) -> str:
        return f"{self.help}\n" if self.empty else super().get_help(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(spec.name, spec.help) for spec in self._specs()]
        missing = later.names(self._inside, self._mode.letter)
        if not self._inside:
            groups = [Group(name, self._mode, text) for name, text in GROUPS.items()]
            rows += [(str(group.name), str(group.help)) for group in groups if group._specs()]
            missing += [str(group.name) for group in groups if not group._specs() and not group.empty]
        if rows:
            with formatter.section("Available Commands"):
                formatter.write_dl(sorted(rows))
        if missing:
            with formatter.section("Not in this version yet"):
                formatter.write_text(", ".join(missing))


def arrange(words: Sequence[str], mode: Mode) -> list[str]:
    """Command words first, then everything else in its order."""
    commands: list[str] = []
    others: list[str] = []
    index = 0
    groups = set(GROUPS)
    while index < len(words):
        word = words[index]
        if word == "--":
            others += words[index:]
            break
        if word.startswith("-") and word != "-":
            others.append(word)
            takes_next = (
                "=" not in word and word not in _SWITCHES and (word.startswith("--") or len(word) == 2)
            )
            if takes_next and index + 1 < len(words):
                index += 1
                others.append(words[index])
        elif not commands or (len(commands) == 1 and commands[0] in groups):
            commands.append(word)
        else:
            others.append(word)
        index += 1
    return commands + others


def duration(text: str, flag: str = "-t, --timeout") -> float:
    """Seconds of a duration such as ``10s`` or ``1m30s``. Raises CommandError."""
    import re

    units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    if text in ("0", "+0", "-0"):
        return 0.0
    match = re.fullmatch(r"([-+]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+)", text)
    if match is None:
        problem = "missing unit in duration" if re.fullmatch(r"[-+]?[\d.]+", text) else "invalid duration"
        raise CommandError(f'invalid argument "{text}" for "{flag}" flag: time: {problem} "{text}"')
    total = sum(
        float(number) * units[unit]
        for number, unit in re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", match[2])
    )
    return -total if match[1] == "-" else total


def suggestions(word: str, mode: Mode) -> list[str]:
    """Commands that the user may have meant."""
    names = [spec.name for spec in COMMANDS if not spec.group and mode.letter in spec.modes]
    names += [*later.names("", mode.letter), *GROUPS]
    return [
        name
        for name in sorted(names)
        if _distance(word.lower(), name.lower()) <= 2 or name.lower().startswith(word.lower())
    ]


def _distance(left: str, right: str) -> int:
    """How many letters must be put in, taken out or replaced to get from one word to the other."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]
