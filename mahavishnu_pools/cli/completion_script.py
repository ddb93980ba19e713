"""The command ``completion``: what a shell needs to complete commands, options and names of pools."""

from __future__ import annotations

import click

_WHERE = {
    "bash": 'eval "$(mahavishnu completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(mahavishnu completion zsh)"   # in ~/.zshrc, behind compinit',
    "fish": "mahavishnu completion fish | source   # in ~/.config/fish/config.fish",
}


@click.command("completion", epilog="\b\n" + "\n".join(_WHERE.values()))
@click.argument("shell", type=click.Choice(list(_WHERE)))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print the script that makes a SHELL complete commands, options and the names of pools."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    program = context.find_root().command
    click.echo(found(program, {}, "mahavishnu", "_MAHAVISHNU_COMPLETE").source())
