"""The shop's web page (WSGI): an order is invoiced on a pool, then a mail is sent by the shop's own workers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import make_server

from shop.tasks import app, make_invoice, send_mail

Start = Callable[[str, list[tuple[str, str]]], object]


def application(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Answer POST /orders (JSON: order, customer, prices) and GET /results/ID."""
    path = environ.get("PATH_INFO", "/")
    if environ["REQUEST_METHOD"] == "POST" and path == "/orders":
        status, body = "202 Accepted", order(read_json(environ))
    elif path.startswith("/results/"):
        found = app.AsyncResult(path.removeprefix("/results/"))
        status, body = "200 OK", {"state": found.state, "result": found.result if found.successful() else None}
    else:
        status, body = "404 Not Found", {}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]


def order(given: dict[str, Any]) -> dict[str, str]:
    """Send both tasks; all invoices of one customer go to one pool."""
    invoice = make_invoice.apply_async(
        (given["order"], given["prices"]),
        pool_affinity=f"customer-{given['customer']}",
        pool_filter={"tags": ["invoices"]},  # the pools that have loaded the shop
    )
    mail = send_mail.delay(given["customer"], f"Order {given['order']} has arrived.")
    return {"invoice": invoice.id, "mail": mail.id}


def read_json(environ: dict[str, Any]) -> dict[str, Any]:
    return json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000, application) as server:
        print(f"http://127.0.0.1:{server.server_port}/orders", flush=True)
        server.serve_forever()
