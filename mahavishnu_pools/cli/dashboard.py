"""The group ``dashboard``: the Grafana dashboard and the alert rules for Prometheus."""

from __future__ import annotations

from pathlib import Path

import click

from mahavishnu_pools.cli.formats.interface import Document, Fields, Note
from mahavishnu_pools.cli.options import format_option
from mahavishnu_pools.cli.output import Output


@click.group()
def dashboard() -> None:
    """Watch the pools with Grafana and Prometheus."""


@dashboard.command()
@click.option("--alerts", is_flag=True, help="The alert rules for Prometheus (YAML) instead of the dashboard (JSON).")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file.")
def export(*, alerts: bool, output: Path | None) -> None:
    """Print the dashboard for Grafana's import, or the alert rules."""
    from mahavishnu_pools.metrics.deploying import alerts_text, dashboard_text

    text = alerts_text() if alerts else dashboard_text()
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise click.FileError(str(output), exc.strerror) from exc


@dashboard.command()
@click.option("--url", required=True, metavar="URL", help="The Grafana server, like http://localhost:3000.")
@click.option(
    "--token",
    required=True,
    envvar="MAHAVISHNU_GRAFANA_TOKEN",
    metavar="TOKEN",
    help="Of a service account that may write dashboards; best put into MAHAVISHNU_GRAFANA_TOKEN.",
)
@click.option("--folder", metavar="UID", help="Put it into this folder.")
@format_option
def deploy(*, url: str, token: str, folder: str | None, output: Output) -> None:
    """Put the dashboard on a Grafana server, over an older one of this project."""
    from mahavishnu_pools.metrics.deploying import deploy_dashboard

    where = deploy_dashboard(url, token, folder=folder)
    blocks = (Note("The dashboard is deployed", good=True), Fields(None, (("URL", where),), indented=True))
    output.show(Document({"url": where}, blocks))
