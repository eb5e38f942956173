"""antctl: what Antrea knows, on the command line. Also runs as ``kubectl antctl``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from antctl import completion
from antctl import mode as modes
from antctl.cli import Group, arrange, suggestions
from antctl.commands import GROUPS, later
from antctl.errors import CommandError

ABOUT = "antctl is the command line tool for Antrea"


def main() -> None:
    sys.exit(run(sys.argv))


def run(argv: Sequence[str]) -> int:
    """Run a command line; returns the exit status. Output goes to stdout, ``Error: …`` to stderr."""
    program = os.path.basename(argv[0]) or "antctl"
    mode = modes.current()
    words = arrange(argv[1:], mode)
    root = Group(program, mode, ABOUT)
    try:
        if completion.asked(program):
            root.main(prog_name=program, complete_var=completion.variable(program))
        if words[:1] == ["help"]:
            words = arrange([*words[1:], "--help"], mode)
        if words[:1] == ["completion"]:
            click.echo(completion.script(root, program, words[1:]))
            return 0
        if missing := later.sentence(words, mode.letter):
            raise CommandError(missing)
        _refuse_unknown(root, words, mode)
        words = _or_help(root, words)
        root.main(args=words, prog_name=program, standalone_mode=False)
    except CommandError as error:
        if error.output:
            sys.stdout.write(error.output)
        return _fail(str(error))
    except click.UsageError as error:
        return _fail(_usage(error, argv[1:]))
    except click.Abort:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _or_help(root: Group, words: list[str]) -> list[str]:
    """The words, or those that print the help of where they end: without a command, or with one that the
    group does not know. Flags are looked at all the same."""
    if not words or words[0].startswith("-"):
        return ["--help", *words]
    if words[0] not in GROUPS:
        return words
    group = root.get_command(click.Context(root), words[0])
    assert isinstance(group, Group)
    named = len(words) > 1 and not words[1].startswith("-")
    if named and group.get_command(click.Context(group), words[1]) is not None:
        return words
    return [words[0], "--help", *words[2 if named else 1 :]]


def _fail(text: str) -> int:
    sys.stdout.flush()
    print(f"Error: {text}", file=sys.stderr)
    return 1


def _refuse_unknown(root: Group, words: Sequence[str], mode: modes.Mode) -> None:
    if not words or words[0].startswith("-"):
        return
    if root.get_command(click.Context(root), words[0]) is not None:
        return
    text = f'unknown command "{words[0]}" for "antctl"\n'
    if meant := suggestions(words[0], mode):
        text += "\nDid you mean this?\n" + "".join(f"\t{name}\n" for name in meant) + "\n"
    raise CommandError(text + "Run 'antctl --help' for usage.")


def _usage(error: click.UsageError, words: Sequence[str]) -> str:
    """Upstream's sentence for a mistake on the command line."""
    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        if name.startswith("--"):
            return f"unknown flag: {name}"
        letter = name.lstrip("-")[:1]
        word = next((w for w in words if w.startswith("-") and not w.startswith("--") and letter in w), name)
        return f"unknown shorthand flag: {letter!r} in {word}"
    if isinstance(error, click.BadOptionUsage):
        name = error.option_name
        if "requires an argument" in error.message:
            if name.startswith("--"):
                return f"flag needs an argument: {name}"
            return f"flag needs an argument: {name.lstrip('-')!r} in {name}"
        return error.message
    return error.format_message()


if __name__ == "__main__":
    main()
