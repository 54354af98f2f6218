"""Packages that an extra of noisefind installs, imported where they are first needed."""

from __future__ import annotations

import importlib
from typing import Any


def needed(name: str, extra: str) -> Any:
    """The module `name`.

    Raises:
        ModuleNotFoundError: Where it is not installed, with the extra that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        reason = f'this needs the package {name}, which is not installed; pip install "noisefind[{extra}]"'
        raise ModuleNotFoundError(reason, name=name) from None
