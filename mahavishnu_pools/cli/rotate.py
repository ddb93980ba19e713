"""The command ``rotate``."""

from __future__ import annotations

from pathlib import Path

import click

from mahavishnu_pools.cli.stack import data_dir_option, settings_of


@click.command()
@click.option("--finish", is_flag=True, help="Refuse the older password or token from now on.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Instead: put a new bearer token into this file, which is made if need be.",
)
@data_dir_option
def rotate(*, finish: bool, token_file: Path | None, data_dir: Path | None) -> None:
    """Change the password of the local stack's Redis, or a bearer token. Old and new are accepted until --finish.

    The stack is started again with the new password: running tasks go on for drain_timeout, what runs longer runs
    again. Servers read a token file again when it changes; nothing is started again. The key that signs messages is
    changed in the settings: message_signing_key takes "new,old".
    """
    if token_file is None:
        _password(data_dir, finish=finish)
    else:
        _token(token_file, finish=finish)


def _password(data_dir: Path | None, *, finish: bool) -> None:
    from mahavishnu_pools.embedded import rotation

    settings = settings_of(data_dir)
    if finish:
        done = rotation.finish(settings)
        click.echo("Only the new password is accepted now." if done else "No older password is accepted.", err=True)
        return
    state = rotation.rotate(settings)
    how = "The stack runs with it in the background." if state else "The next start of the stack takes it."
    click.echo(f"The password is another one. {how}", err=True)
    click.echo(
        "Agents elsewhere need it too (stack.json in the data directory has it); both are accepted until:", err=True
    )
    click.echo("  mahavishnu rotate --finish", err=True)


def _token(file: Path, *, finish: bool) -> None:
    from mahavishnu_pools import token_file

    if finish:
        done = token_file.finish(file)
        click.echo("Only the new token is accepted now." if done else "No older token is accepted.", err=True)
        return
    token_file.rotate(file)
    click.echo(f"The first line of {file} is a new token. Clients need it; the older one is accepted until:", err=True)
    click.echo(f"  mahavishnu rotate --token-file {file} --finish", err=True)
