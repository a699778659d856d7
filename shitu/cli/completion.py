"""`shitu completion`: click's own completion of commands and options, printed or put where the shell looks for it."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from shitu.cli.options import PROGRAM, examples
from shitu.cli.terminal import errors

VARIABLE = f"_{PROGRAM.upper()}_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command(epilog=examples("completion bash --install", "completion zsh --install", "completion fish"))
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Write it to your own folder, from where the shell loads it.")
def completion(shell: str | None, install: bool) -> None:
    """Print the completion script for SHELL (default: yours), or install it.

    Without installing, `eval "$(shitu completion bash)"` gives it to the shell that runs.
    """
    shell = shell or _own_shell()
    script = source(shell)
    if not install:
        click.echo(script)
        return
    target = place(shell)
    with errors():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(script + "\n", encoding="utf-8")
    click.echo(target)
    click.echo(_next(shell, target), err=True)


def source(shell: str) -> str:
    """The script that gets completions from `shitu`."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"click knows no completion for {shell}")
    maker = kind(click.get_current_context().find_root().command, {}, PROGRAM, VARIABLE)
    # `source` would start the shell to see its version; bash before 4.4 has no completion of this kind.
    return (maker.source_template % maker.source_vars()).strip()


def place(shell: str) -> Path:
    """Where that shell loads completions of a user from, by the XDG rules."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return {
        "bash": data / "bash-completion" / "completions" / PROGRAM,
        "zsh": Path.home() / ".zfunc" / f"_{PROGRAM}",
        "fish": config / "fish" / "completions" / f"{PROGRAM}.fish",
    }[shell]


def _own_shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise click.UsageError(f"name your shell: {', '.join(SHELLS)}")
    return name


def _next(shell: str, target: Path) -> str:
    if shell == "zsh":
        return (
            f"Have this in ~/.zshrc, then start a new shell: fpath+={target.parent}; autoload -Uz compinit && compinit"
        )
    if shell == "bash":
        return f"Start a new shell. It needs the package bash-completion; without it, have `. {target}` in ~/.bashrc."
    return "Start a new shell."
