"""URLs of Redis servers: which are taken, how the others are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mahavishnu_pools import errors
from mahavishnu_pools.bootstrap import with_url
from mahavishnu_pools.cli.main import main
from mahavishnu_pools.manager import PoolManager
from mahavishnu_pools.redis_url import check_url
from mahavishnu_pools.settings import Settings

MALFORMED = [
    "redis://:hidden@h:abc/0",
    "redis://:hidden@[::1",
    "redis://:hidden@h:99999/0",
    "redis://:hid/den@h:6379/0",
    "redis://:hid#den@h:6379/0",
    "redis://hidden@h/first",
    "redis://hidden@h/0?hidden=1",
    "redis://hidden@h/0?socket_timeout=hidden",
    "redis://h/0?db=hidden",
    "sentinel://:hidden@one:26379,two:abc/service",
]


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://me:pw@localhost:6379/0",
        "redis://:p%2Fw@[::1]:6379/3?socket_timeout=1.5&protocol=3",
        "rediss://h:1/0?ssl_cert_reqs=required&ssl_ca_certs=ca.pem",
        "unix:///run/redis.sock?db=1",
        "unix://me:pw@/run/redis.sock",
        "sentinel://me:pw@one:26379,two/service/2?sentinel_password=pw",
    ],
)
def test_urls_of_servers_are_taken_as_they_are(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize("url", [*MALFORMED, "http://hidden", "localhost:6379", "unix://", "", "   ", "redis://a b"])
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(errors.InvalidConfig, match=r"^redis_url: .*MAHAVISHNU_REDIS_URL") as caught:
        check_url(url)

    assert "hid" not in str(caught.value)


def test_a_manager_refuses_such_a_url_when_it_is_made() -> None:
    for url in ("", "http://x", *MALFORMED):
        with pytest.raises(errors.InvalidConfig):
            PoolManager(settings=Settings(), redis_url=url)
        with pytest.raises(errors.InvalidConfig):
            with_url(Settings(), url)


@pytest.mark.parametrize("command", [["pools", "list"], ["pools", "get", "p"], ["check"], ["up", "--detach"]])
@pytest.mark.parametrize("url", [*MALFORMED, "http://hidden"])
def test_commands_refuse_such_a_url_with_exit_code_2_and_one_message(
    command: list[str], url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MAHAVISHNU_REDIS_URL", url)
    monkeypatch.setenv("MAHAVISHNU_DATA_DIR", str(tmp_path / "data"))

    code = main([*command, "--format", "json"])

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert json.loads(err)["error"]["code"] == "invalid_config"
    assert "hid" not in err
    assert not (tmp_path / "data").exists()
