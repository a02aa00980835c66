"""The commands and their arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem, get_completion_class

from .. import __version__
from ..duration import to_positive_seconds
from .loading import Misuse, load, require, select
from .output import stdout

_COMPLETE: Final = "_ANYDEPLOY_COMPLETE"
_SHELLS: Final = ("bash", "zsh", "fish")

# Generic for type checkers always, at run time only in newer versions of click.
if TYPE_CHECKING:
    _DurationBase = click.ParamType[float]
else:
    _DurationBase = click.ParamType

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Duration(_DurationBase):
    """A duration: seconds, or a number with a unit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return to_positive_seconds(_number_or_text(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def _number_or_text(value: object) -> object:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


class RunCommand(click.Command):
    """A command that keeps the arguments after the first ``--``: click would not tell where the names end."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[__name__] = args[at + 1 :]
            args = args[:at]
        elif ctx.resilient_parsing and args[-1:] == ["--on"]:
            # Its value is being completed. click would stop at the missing value, and never come to the file.
            args = args[:-1]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]


def _complete_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        names = list(load(ctx.params["file"], quiet=True))
    except (Misuse, KeyError, TypeError):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _complete_places(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from .places import every_place  # noqa: PLC0415 - not needed for --help

    try:
        places = list(every_place(load(ctx.params["file"], quiet=True)))
    except (Misuse, KeyError, TypeError):
        return []
    return [CompletionItem(place) for place in places if place.startswith(incomplete)]


_file = click.argument("file", type=click.Path())
_names = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=_complete_names)
_quiet = click.option("-q", "--quiet", is_flag=True, help="Show problems only.")


def _running(function: _Function) -> _Function:
    """Add the options of the commands that bring deployments up."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Show every step, and what is waited for."),
        _quiet,
        click.option("--timeout", type=Duration(), metavar="TIME", help="Limit for bringing up: 90, 90s, 5m ..."),
        click.option("--max-concurrent", type=click.IntRange(min=1), metavar="N", help="How many to start at once."),
        click.option("--backend", type=click.Choice(["asyncio", "trio"]), default="asyncio", show_default=True),
    ):
        function = option(function)
    return function


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="anydeploy")
def command() -> None:
    """Bring up execution environments in dependency order, and never leave one behind.

    FILE is a streamflow.yml or any file with a `deployments` section. NAMEs select deployments, with everything that
    they depend on; by default, all are selected.

    Exit status: 0; 1 if a deployment failed, or may be left behind; 2 for misuse or a bad file; 130, 143 or 129 when
    ended by SIGINT (Ctrl-C), SIGTERM or SIGHUP; `run`: that of its command. A first Ctrl-C stops and tears down, a
    second cuts grace periods short, a third leaves at once.
    """


@command.command()
@_file
@_quiet
def validate(file: str, *, quiet: bool) -> None:
    """Check FILE, and report all of its problems."""
    configs = load(file, quiet=quiet)
    if not quiet:
        count = len(configs)
        stdout().line(f"{click.format_filename(file)}: ok, {count} deployment{'' if count == 1 else 's'}")


@command.command()
@_file
@_names
@_quiet
@click.option("--json", "form", flag_value="json", type=str, help="Print the plan as JSON.")
@click.option("--mermaid", "form", flag_value="mermaid", type=str, help="Print the graph for Mermaid.")
@click.option("--dot", "form", flag_value="dot", type=str, help="Print the graph for Graphviz.")
def plan(file: str, names: Sequence[str], form: str | None, *, quiet: bool) -> None:
    """Show the waves in which deployments come up."""
    from . import plan as rendering  # noqa: PLC0415 - not needed for --help

    if form is None:
        require("rich")
    selection = select(load(file, quiet=quiet), names)
    renderers = {"json": rendering.to_json, "mermaid": rendering.to_mermaid, "dot": rendering.to_dot}
    if form is None:
        rendering.show_table(selection)
    else:
        stdout().line(renderers[form](selection))


@command.command()
@_file
@_names
@_running
@click.option("--json", "as_json", is_flag=True, help="Print every step as one JSON object per line.")
def up(file: str, names: Sequence[str], *, as_json: bool, **options: Any) -> None:
    """Bring deployments up, stay until Ctrl-C, and tear them down again.

    Progress goes to stderr: a live view on a terminal, otherwise a line for every step. When a deployment is lost,
    because its environment has ended by itself, and has no `restarts` left, everything is torn down and the exit status
    is 1. If the reader of --json goes away, the same happens, with exit status 141.
    """
    from .running import Options, bring_up  # noqa: PLC0415 - not needed for --help

    chosen = Options(file=file, as_json=as_json, **options)
    raise SystemExit(bring_up(chosen, select(chosen.load(), names)))


@command.command(cls=RunCommand)
@_file
@_names
@click.option(
    "--on",
    metavar="NAME[/SERVICE]",
    shell_complete=_complete_places,
    help="The deployment to run on, or a service of it; default: here.",
)
@_running
@click.pass_context
def run(ctx: click.Context, /, file: str, names: Sequence[str], *, on: str | None, **options: Any) -> None:
    """Bring deployments up, run COMMAND, and tear them down whatever happens.

    Stdin, stdout and exit status are those of COMMAND (128 + N if signal N ended it, 127 if there is no such
    program, 126 if it cannot be started); progress goes to stderr. The first signal is passed on to COMMAND, which has
    10 s to end by itself; the second kills it. If a deployment is lost meanwhile, that is reported and COMMAND goes on.
    """
    from .places import Place  # noqa: PLC0415 - not needed for --help
    from .running import Options, bring_up  # noqa: PLC0415 - likewise
    from .user_command import UserCommand  # noqa: PLC0415 - likewise

    argv: Sequence[str] = ctx.meta.get(__name__, ())
    if not argv:
        raise click.UsageError("COMMAND is missing; write it after `--`", ctx)
    chosen = Options(file=file, **options)
    place = Place.read(on) if on is not None else None
    selection = select(chosen.load(), names if place is None else [*names, place.name])
    if place is not None:
        place.check(selection.configs)
    raise SystemExit(bring_up(chosen, selection, UserCommand(argv, place)))


@command.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash: source <(anydeploy completion bash)       in ~/.bashrc
    zsh:  source <(anydeploy completion zsh)        in ~/.zshrc
    fish: anydeploy completion fish | source        in ~/.config/fish/config.fish
    """  # noqa: D301 - the backspace tells click not to wrap the text
    script = get_completion_class(shell)
    assert script is not None  # noqa: S101 - click knows these
    stdout().line(script(command, {}, "anydeploy", _COMPLETE).source())
