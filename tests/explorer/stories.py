"""Tells where tasks stand."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import trio


def where(name: str, coroutine: Any) -> str:
    """``name waits in f (file:line), called from g (file:line)``: the innermost first."""
    frames = list(_frames(coroutine))
    if not frames:
        return f"{name} has not begun or has ended"
    return f"{name} waits in " + ", called from ".join(reversed(frames))


def _frames(coroutine: Any) -> Any:
    while coroutine is not None:
        frame = _first(coroutine, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:
            return
        path = frame.f_code.co_filename
        if not path.startswith(_PLUMBING):
            yield f"{frame.f_code.co_qualname} ({_short(path)}:{frame.f_lineno})"
        coroutine = _first(coroutine, "cr_await", "gi_yieldfrom", "ag_await")


def _first(found: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(found, name, None)) is not None), None)


def _short(path: str) -> str:
    return "/".join(Path(path).parts[-2:])


#: Frames of these are left out of the place where a task waits.
_PLUMBING = tuple(str(Path(module.__file__ or "").parent) for module in (anyio, trio, asyncio))
