"""The command ``rotate``."""

from __future__ import annotations

from pathlib import Path

import click

from mahavishnu_pools.cli.stack import data_dir_option, settings_of


@click.command()
@click.option("--finish", is_flag=True, help="Refuse the older password from now on.")
@data_dir_option
def rotate(*, finish: bool, data_dir: Path | None) -> None:
    """Change the password of the local stack's Redis. Old and new are accepted together until --finish.

    The stack is started again with the new one: running tasks go on for drain_timeout, what runs longer runs again. The
    key that signs messages is changed in the settings: message_signing_key takes "new,old".
    """
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
