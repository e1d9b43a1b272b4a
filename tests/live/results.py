"""The times that a live test took, kept for `make runbook` where it asks for them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tests.live.watch import Times

FOLDER = "RUNBOOK_TIMES"
"""The variable that names the folder; without it nothing is kept."""


def keep(times: Mapping[str, Times]) -> None:
    """Each alert must have fired and cleared; write down when."""
    open_ends = [name for name, one in times.items() if None in (one.fired_s, one.cleared_s)]
    assert open_ends == []
    folder = os.environ.get(FOLDER)
    if folder is None:
        return
    for name, one in times.items():
        found = {"fault": one.fault, "fired_s": one.fired_s, "cleared_s": one.cleared_s}
        (Path(folder) / f"{name}.json").write_text(json.dumps(found))
