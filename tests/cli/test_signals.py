"""The third signal: what is left behind is reported, however busy the machine is."""

from __future__ import annotations

import subprocess
import sys

#: Each step takes longer than the timeout, but for its processor time only; then it stands still.
_SLOW = """
import os, signal, time
from anydeploy.cli import signals

signals.REPORT_TIMEOUT = 0.5

def report():
    end = time.thread_time() + 0.75
    while time.thread_time() < end:
        pass
    os.write(1, b"left")
    time.sleep(1000)

interrupts = signals.Interrupts(lambda number: None, lambda: None, report)
signal.signal(signal.SIGTERM, lambda *_: None)
with interrupts.counting([signal.SIGTERM]):
    for _ in range(3):
        signal.raise_signal(signal.SIGTERM)
"""


def test_a_report_ends_when_it_does_not_come_on() -> None:
    done = subprocess.run([sys.executable, "-c", _SLOW], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, b"left", b"")
