"""Files with bearer tokens: read again when they change, changed with the old one accepted for a while."""

from __future__ import annotations

from pathlib import Path

import pytest

from mahavishnu_pools import errors, token_file
from mahavishnu_pools.cli.main import main
from mahavishnu_pools.token_file import TokenFile, read_tokens


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "server.token"
    path.write_text("first\n")
    return path


def test_a_token_that_is_changed_is_accepted_at_the_next_look(file: Path) -> None:
    tokens = TokenFile(file)
    token_file.rotate(file)
    together = list(tokens)
    finished = (token_file.finish(file), token_file.finish(file))

    assert (len(together), together[1]) == (2, "first")
    assert len(together[0]) > 40
    assert finished == (True, False)
    assert list(tokens) == together[:1]
    assert (len(tokens), "first" in tokens) == (1, False)


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe"])
def test_while_the_file_cannot_be_used_what_it_said_last_counts(file: Path, content: bytes | None) -> None:
    tokens = TokenFile(file)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)

    assert list(tokens) == ["first"]
    with pytest.raises(errors.InvalidField, match=r"token-file: (cannot be read|is empty)"):
        TokenFile(file)


def test_a_new_file_is_for_its_owner_alone_and_a_known_one_keeps_its_rights(tmp_path: Path, file: Path) -> None:
    fresh = tmp_path / "fresh.token"
    file.chmod(0o640)

    token_file.rotate(fresh)
    token_file.rotate(file)

    assert fresh.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh.token", "server.token"]


def test_the_command_says_what_to_do_next_and_refuses_to_lose_an_accepted_token(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = [main(["rotate", "--token-file", str(file), *more]) for more in ([], [], ["--finish"], ["--finish"])]
    said = capsys.readouterr()

    assert codes == [0, 2, 0, 0]
    assert f"mahavishnu rotate --token-file {file} --finish" in said.err
    assert "an earlier one is not finished" in said.err
    assert "No older token is accepted." in said.err
    assert read_tokens(file)[0] not in said.out + said.err
    assert main(["rotate", "--token-file", str(file.parent / "no" / "where")]) == 2
