"""One Redis URL in the forms that Celery and RedBeat want."""

from __future__ import annotations

import pytest

from mahavishnu_pools.broker.celery_urls import celery_url, login_of, redbeat_connection, without_login


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("redis://:pw@host:1/2", "redis://:pw@host:1/2"),
        ("rediss://host", "rediss://host?ssl_cert_reqs=required"),
        ("rediss://host/0?ssl_cert_reqs=none", "rediss://host/0?ssl_cert_reqs=none"),
        ("rediss://host?ssl_ca_certs=%2Fca.pem", "rediss://host?ssl_cert_reqs=required&ssl_ca_certs=%2Fca.pem"),
        ("unix:///run/s.sock", "redis+socket:///run/s.sock?virtual_host=0"),
        ("unix://:p%2Fw@/run/s.sock?db=3", "redis+socket://:p%2Fw@/run/s.sock?virtual_host=3"),
        ("unix:///s?username=u&password=p", "redis+socket://u:p@/s?virtual_host=0"),
        ("sentinel://u:p@a:1,b/svc/4", "sentinel://u:p@a:1/4;sentinel://u:p@b:26379/4"),
    ],
)
def test_celery_gets_the_form_it_knows(given: str, wanted: str) -> None:
    assert celery_url(given) == wanted


@pytest.mark.parametrize(
    ("given", "bare", "login"),
    [
        ("redis://host/1", "redis://host/1", {}),
        ("redis://u:p%40@host:1/1", "redis://host:1/1", {"username": "u", "password": "p@"}),
        ("rediss://:p@host?ssl_ca_certs=%2Fca", "rediss://host?ssl_ca_certs=%2Fca", {"password": "p"}),
        ("redis://host/0?password=p&db=1", "redis://host/0?db=1", {"password": "p"}),
        ("unix://:p@/run/s.sock?db=3", "unix:///run/s.sock?db=3", {"password": "p"}),
    ],
)
def test_redbeat_gets_the_login_apart_from_the_url(given: str, bare: str, login: dict[str, str]) -> None:
    assert (without_login(given), login_of(given)) == (bare, login)
    assert redbeat_connection(given) == (bare, login)
