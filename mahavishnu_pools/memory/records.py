"""Memory records made of the outbox's entries. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from mahavishnu_pools.schemas.memory import MAX_CONTENT_BYTES, POOL_EXECUTION, MemoryRecord

#: Stands where a secret was, and where text was left out.
MASK, CUT = "•••", "\n[…]\n"

#: Bytes of the content that the task may take; its output has the rest.
_TASK_BYTES = 6 * 1024

#: Tools and files of an AI program that a record names, and characters of one.
_NAMES_MOST, _NAME_MOST, _PATH_MOST = 50, 100, 300

#: Values that are secret by their form, whoever wrote them: keys of known services, tokens, passwords in URLs.
#: The parts of tokens are bounded and nothing is given back (``}+``), so that no output makes this search long.
_SECRETS = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16}"
    r"|AIza[0-9A-Za-z_-]{30,}|eyJ[\w-]{10,1024}+\.[\w-]{10,8192}+\.[\w-]{5,})"
    r"|(?<=Bearer )[A-Za-z0-9._~+/-]{12,}=*"
    r"|(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)

#: ``name=value`` and ``"name": "value"`` where the name says that it is secret.
_NAMED = re.compile(r"(?i)((?:api_?key|token|secret|passw(?:or)?d)\"?\s*[=:]\s*\"?)([^\s\"',;]{8,})")


def record_of(fields: Mapping[str, str]) -> MemoryRecord:
    """Return the memory record of an outcome as the store noted it; texts that cannot be read are kept as they are."""
    spec, outcome = _object(fields.get("spec", "")), _outcome(fields.get("outcome", ""))
    finished = datetime.fromtimestamp(float(fields["finished"]), UTC)
    metadata = _metadata(fields, outcome, finished)
    if isinstance(spec.get("cwd"), str):
        metadata["cwd"] = spec["cwd"]
    replayed = fields.get("replayed", "")
    memory_id = f"{fields['task']}.{replayed}" if replayed else fields["task"]
    return MemoryRecord(
        memory_id=memory_id[:200],
        content=_content(fields, spec, outcome),
        timestamp=finished,
        metadata=metadata,
    )


def masked(text: str) -> str:
    """Return the text without what looks like a secret."""
    return _NAMED.sub(rf"\1{MASK}", _SECRETS.sub(MASK, text))


def _metadata(fields: Mapping[str, str], outcome: Mapping[str, Any], finished: datetime) -> dict[str, JsonValue]:
    error, started = outcome.get("error"), fields.get("started")
    return {
        "type": POOL_EXECUTION,
        "pool_id": fields.get("pool", ""),
        "pool_name": fields.get("pool_name", ""),
        "pool_type": fields.get("pool_type", ""),
        "worker_id": outcome.get("worker_id") or fields.get("worker", ""),
        "task_id": fields["task"],
        "task_type": fields.get("type", ""),
        "status": fields.get("status", ""),
        "duration_seconds": round(max(0.0, float(fields["finished"]) - float(started)), 6) if started else None,
        "exit_code": outcome.get("exit_code"),
        "error": masked(_clean(error)) if isinstance(error, str) else None,
        "timestamp": finished.isoformat(),
        **_of_agent(outcome.get("metadata")),
    }


def _of_agent(metadata: Any) -> dict[str, JsonValue]:
    """Return what an AI program did: names of its tools, files it wrote, cost in US dollars."""
    told = metadata if isinstance(metadata, dict) else {}
    tools, files, cost = told.get("tools"), told.get("files"), told.get("cost_usd")
    found: dict[str, JsonValue] = {}
    if isinstance(tools, dict) and tools:
        found["tools"] = [masked(_clean(name))[:_NAME_MOST] for name in list(tools)[:_NAMES_MOST]]
    if isinstance(files, list) and files:
        paths = [path for path in files[:_NAMES_MOST] if isinstance(path, str)]
        found["files"] = [masked(_clean(path))[:_PATH_MOST] for path in paths]
    if isinstance(cost, (int, float)) and not isinstance(cost, bool):
        found["cost_usd"] = cost
    return found


def _content(fields: Mapping[str, str], spec: Mapping[str, Any], outcome: Mapping[str, Any]) -> str:
    task = _shortened(masked(_clean(_task(fields, spec))), _TASK_BYTES)
    said = outcome.get("output") or outcome.get("error") or ""
    if not isinstance(said, str):
        said = json.dumps(said, ensure_ascii=False)
    room = MAX_CONTENT_BYTES - len(task.encode()) - 2
    output = _shortened(masked(_clean(said)), room)
    return f"{task}\n\n{output}" if output else task


def _task(fields: Mapping[str, str], spec: Mapping[str, Any]) -> str:
    payload = spec.get("payload") or {}
    prompt = spec.get("prompt") or (isinstance(payload, dict) and payload.get("prompt"))
    if isinstance(prompt, str) and prompt:
        return prompt
    kind = fields.get("type", "") or "task"
    if payload:
        return f"{kind} {json.dumps(payload, ensure_ascii=False)}"
    text = fields.get("spec", "")
    return kind if spec or not text else f"{kind} {text}"


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _beginning(text)
    return value if isinstance(value, dict) else {}


def _beginning(text: str) -> dict[str, Any]:
    """Return the prompt of a specification that the store has cut behind its beginning."""
    found = re.match(r'\{\s*"prompt"\s*:\s*("(?:[^"\\]|\\.)*)', text, re.DOTALL)
    if not found:
        return {}
    try:
        return {"prompt": json.loads(found[1] + '"')}
    except ValueError:
        return {}


def _outcome(text: str) -> dict[str, Any]:
    value = _object(text)
    inner = value.get("result")
    return inner if "task_id" in value and isinstance(inner, dict) else value


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _shortened(text: str, most: int) -> str:
    """Return the text in so many bytes: its head and its tail."""
    data = text.encode()
    if len(data) <= most:
        return text
    room = most - len(CUT.encode())
    head, tail = data[: room * 2 // 3], data[len(data) - room // 3 :]
    return head.decode("utf-8", "ignore") + CUT + tail.decode("utf-8", "ignore")
