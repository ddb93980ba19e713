"""A program that is not logged in on its node: prompts wait, everybody is told, and a login is noticed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from mahavishnu_pools import errors
from tests.fixtures.agents import Farm
from tests.integration.test_limits import REAL_GROUP, manager_of, submit
from tests.waiting import eventually, eventually_async

#: Answers when the file "login" is there, else as claude does.
PROGRAM = """\
#!/bin/sh
cat >/dev/null
if [ ! -e {here}/login ]; then
  echo '{{"type": "result", "is_error": true, "result": "Not logged in"}}'
  exit 1
fi
echo '{{"type": "result", "result": "done"}}'
"""


@pytest.fixture
def types_file(tmp_path: Path) -> Path:
    program = tmp_path / "robot"
    program.write_text(PROGRAM.format(here=tmp_path))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    robot = {
        "argv": [str(program)],
        "output": "claude-json",
        "login": [str(tmp_path / "login")],
        "logged_out": "^Not logged in",
        "log_in": "press the button",
    }
    file = tmp_path / "types.yaml"
    file.write_text(yaml.safe_dump({"robot": robot}))
    return file


async def test_prompts_wait_for_a_login_and_start_when_there_is_one(
    farm: Farm, tmp_path: Path, types_file: Path
) -> None:
    farm.agent(group=REAL_GROUP, WORKER_TYPES_FILE=str(types_file)).wait_ready()
    pool_id = farm.create("a", worker_type="robot", allowed_roots=(str(tmp_path),))
    farm.wait_running(pool_id)
    manager = manager_of(farm)

    async def reason() -> str:
        return (await manager.pool_info("a")).reason or ""

    try:
        first = submit(farm, pool_id)
        eventually(lambda: farm.task(first).status == "failed", within=30)
        assert "Not logged in. To log in: press the button." in (farm.task(first).error or "")
        waits = submit(farm, pool_id)

        await eventually_async(reason, until=lambda text: "press the button" in text, within=30)
        with pytest.raises(errors.NoPoolAvailable, match="press the button"):
            await manager.submit({"prompt": "x"}, pool_selector="least_loaded")
        assert farm.task(waits).attempts == 0
        found = {one.kind: one.message for one in (await manager.check()).findings}
        assert "press the button" in found["program_logged_out"]
        (resting,) = (await manager.limits())["cool_downs"]
        assert (resting["worker_type"], resting["node"] is not None) == ("robot", True)

        (tmp_path / "login").touch()
        eventually(lambda: farm.task(waits).ok, within=30)
        await eventually_async(reason, until=lambda text: text == "", within=30)
        assert (await manager.limits())["cool_downs"] == []
    finally:
        await manager.close()
