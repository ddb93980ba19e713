"""Makes the Grafana dashboard of the table in ``panels``; ``python -m tests.metrics.dashboard`` writes it."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    dashboard,
    heatmap,
    piechart,
    prometheus,
    stat,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, GridPos, VariableRefresh
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from mahavishnu_pools import metrics
from tests.metrics.panels import ROWS, Panel

TARGET = Path(metrics.__file__).parent / "grafana" / "pool-monitoring.json"

UID = "pool-monitoring"

_BUILDERS: dict[str, Any] = {
    "stat": stat.Panel,
    "timeseries": timeseries.Panel,
    "table": table.Panel,
    "heatmap": heatmap.Panel,
    "piechart": piechart.Panel,
    "bargauge": bargauge.Panel,
    "text": text.Panel,
}

_SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")

#: Kinds that show one value a series: the last one.
_INSTANT = ("table", "bargauge", "piechart")

_HEIGHT = 7


def dashboard_json() -> str:
    """Return the dashboard as Grafana imports it."""
    register_default_plugins()
    made = (
        dashboard.Dashboard("Mahavishnu pools")
        .uid(UID)
        .tags(["mahavishnu", "celery"])
        .description("Pools, workers and tasks of Mahavishnu. Made by tests/metrics/dashboard.py.")
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_pools())
        .with_variable(dashboard.TextBoxVariable("server").label("Pool page").default_value("http://localhost:8680"))
    )
    y, ids = 0, count(1)
    for row in ROWS:
        made = made.with_row(dashboard.Row(row.title).id(next(ids)).grid_pos(GridPos(h=1, w=24, x=0, y=y)))
        y += 1
        x = 0
        for panel in row.panels:
            if x + panel.width > 24:
                x, y = 0, y + _HEIGHT
            place = GridPos(h=_HEIGHT, w=panel.width, x=x, y=y)
            made = made.with_panel(_panel(panel).id(next(ids)).grid_pos(place))
            x += panel.width
        y += _HEIGHT
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def _pools() -> Any:
    return (
        dashboard.QueryVariable("pool")
        .label("Pool")
        .datasource(_SOURCE)
        .query("label_values(mahavishnu_pools_pool_info, pool)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".*")
        .multi(True)
    )


def _panel(panel: Panel) -> Any:
    if panel.kind == "alertlist":
        return _AlertList(panel.title)
    builder = _BUILDERS[panel.kind]().title(panel.title)
    if panel.kind == "text":
        return builder.content(panel.text)
    if panel.kind == "heatmap":
        builder = builder.calculate(True)
    builder = builder.datasource(_SOURCE).unit(panel.unit)
    for number, (expression, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        if panel.kind in _INSTANT:
            query = query.instant().format(
                PromQueryFormat.TABLE if panel.kind == "table" else PromQueryFormat.TIME_SERIES
            )
        builder = builder.with_target(query)
    return builder


class _AlertList(dashboard.Panel):
    """The panel of Grafana's own alerts and those of Prometheus; the SDK has no builder for it."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title(title).type("alertlist").options(
            {
                "alertInstanceLabelFilter": '{alertname=~"Mahavishnu.*"}',
                "datasource": "$datasource",
                "groupMode": "default",
                "maxItems": 20,
                "sortOrder": 1,
                "stateFilter": {"error": True, "firing": True, "noData": False, "normal": False, "pending": True},
                "viewMode": "list",
            }
        )


def write() -> None:
    """Write the dashboard anew."""
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(dashboard_json(), encoding="utf-8")


if __name__ == "__main__":
    write()
