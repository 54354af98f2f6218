"""Serves a ComfyUI workflow to the command line.

    noisefind tune PROMPT --model "exec:python -m noisefind.comfy workflow_api.json [server=http://127.0.0.1:8188]"

The workflow is one that was saved with Export (API), with noisefind's nodes installed on the server. Its noise node is
replaced; `{prompt}` in one of its texts stands for PROMPT. The server may run on another machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Sequence

from .._external import arguments, serve
from .server import ComfyServer
from .workflow import PROMPT, Workflow, WorkflowGenerator


def main(texts: Sequence[str] = sys.argv[1:]) -> None:
    """Serves the workflow in the file `texts[0]` to noisefind."""
    if not texts or texts[0].startswith("-"):
        raise SystemExit(__doc__)
    named = arguments(texts[1:])
    server = ComfyServer(named.pop("server", "http://127.0.0.1:8188"))
    if named:
        raise SystemExit(f"found the argument {next(iter(named))!r}, expected server=URL")

    def start() -> tuple[Sequence[int], Any, bool]:
        workflow = Workflow(json.loads(Path(texts[0]).read_text()))
        if not workflow.has_prompt:
            print(f"no text of {texts[0]} holds {PROMPT}; the workflow generates what it says itself")
        generator = WorkflowGenerator(workflow, server)
        return generator.noise_shape, generator.generate, generator.generates_clips

    serve(start)


if __name__ == "__main__":
    main()
