"""Without streamflow only what has to be said about its absence is tested."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("streamflow") is None:
    collect_ignore = ["test_run.py", "test_manager.py", "test_contract.py", "test_hosted.py", "test_signals.py"]
