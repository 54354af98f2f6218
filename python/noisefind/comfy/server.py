"""A running ComfyUI server, by the routes of its API that tuning needs."""

from __future__ import annotations

import io
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any, Mapping

_LONGEST_PAUSE_SECONDS = 1.0


class ComfyError(RuntimeError):
    """A server that cannot be reached, or a workflow that it refuses or cannot run; the message has its reason."""


class ComfyServer:
    """The server at `url`, such as http://127.0.0.1:8188."""

    def __init__(self, url: str, timeout_seconds: float = 60.0):
        self.url = url.rstrip("/")
        self.timeout_seconds = timeout_seconds

    def upload(self, name: str, data: bytes) -> str:
        """Puts a file into the folder of temporary files; its name there."""
        boundary = uuid.uuid4().hex
        fields = [("type", None, b"temp"), ("overwrite", None, b"true"), ("image", name, data)]
        body = io.BytesIO()
        for field, filename, value in fields:
            suffix = f'; filename="{filename}"' if filename else ""
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{suffix}\r\n\r\n'
            body.write(head.encode() + value + b"\r\n")
        body.write(f"--{boundary}--\r\n".encode())
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return json.loads(self._send("/upload/image", body.getvalue(), kind))["name"]

    def queue(self, workflow: Mapping[str, Any]) -> str:
        """Queues a workflow in the API's format; the name of its run."""
        body = json.dumps({"prompt": workflow}).encode()
        return json.loads(self._send("/prompt", body, {"Content-Type": "application/json"}))["prompt_id"]

    def wait(self, prompt_id: str) -> Mapping[str, Any]:
        """The history of a run, once it is over: `outputs` by node, and `status`."""
        pause = 0.02
        while True:
            history = json.loads(self._send(f"/history/{prompt_id}"))
            if prompt_id in history:
                return history[prompt_id]
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE_SECONDS)

    def view(self, file: Mapping[str, str]) -> bytes:
        """A file that a node has saved, as `outputs` names it."""
        query = {name: file.get(name, "") for name in ("filename", "subfolder", "type")}
        return self._send("/view?" + urllib.parse.urlencode(query))

    def _send(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, body, dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            raise ComfyError(f"{self.url}{path}: {error.code} {error.reason}: {said}") from None
        except OSError as error:
            raise ComfyError(f"{self.url}{path}: {error}; start ComfyUI there, or give server=URL") from None


def failure(history: Mapping[str, Any]) -> str | None:
    """Why a run failed, in the server's words; None where it did not."""
    status = history.get("status") or {}
    if status.get("status_str") != "error":
        return None
    for kind, details in status.get("messages", []):
        if kind == "execution_error":
            return f"node {details.get('node_id')} ({details.get('node_type')}): {details.get('exception_message')}"
    return "the run was interrupted"
