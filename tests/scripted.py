"""A small world of scripted connectors, told and asked in few words, and callers that keep their outcome.

In every test some rules are watched: a deployment comes up after its dependencies and goes down after its dependents,
and no two instances of a name exist at once (D1-D3, R3, U1, U3).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any, ClassVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from attrs import define, field

from anydeploy import DefaultDeploymentManager, DeploymentConfig, DeploymentEvent
from anydeploy.lifecycle import Step
from anydeploy.testing import EntryKind, Rule, Script
from anydeploy.testing.rules_deploy import NoOverlap, OneInstance, Order, Support
from anydeploy.testing.rules_undeploy import OneTeardown, Teardown

#: The text of an entry about an operation of a connector: "deploy a", then "deployed a" or "deploy failed a".
_READS = {
    EntryKind.BEGAN: "{} {}",
    EntryKind.ENDED: "{}ed {}",
    EntryKind.FAILED: "{} failed {}",
    EntryKind.CANCELLED: "{} cancelled {}",
}


def _watching() -> list[Rule]:
    return [rule() for rule in (Order, OneInstance, NoOverlap, Support, Teardown, OneTeardown)]


class World(Script):
    """A script, and the managers that are made for it."""

    def __init__(self) -> None:
        super().__init__(rules=_watching)
        self.events: list[DeploymentEvent] = []

    @property
    def told(self) -> list[str]:
        """The operations of the connectors, each entry in a few words."""
        entries = [entry for entry in self.history.entries if entry.operation in ("deploy", "undeploy")]
        return [_READS[entry.kind].format(entry.operation, entry.name) for entry in entries]

    @property
    def existing(self) -> dict[str, Any]:
        """The connectors of environments that are there, wholly or in part."""
        present = [instance for instance in self.history.picture.all() if instance.exists]
        return {instance.name: self.connectors[instance.name][instance.number - 1] for instance in present}

    @property
    def most_running(self) -> int:
        """The largest number of operations that ran at once."""
        running = most = 0
        for entry in self.history.entries:
            running += 1 if entry.kind is EntryKind.BEGAN else -(entry.kind in _READS)
            most = max(most, running)
        return most

    def count(self, entry: str) -> int:
        return self.told.count(entry)

    def position(self, entry: str) -> int:
        return self.told.index(entry)

    def build(self, *configs: DeploymentConfig, **options: Any) -> DefaultDeploymentManager:
        self.define(*configs)
        options.setdefault("on_event", self.events.append)
        return DefaultDeploymentManager(configs, connector_types=self.types, **options)

    @asynccontextmanager
    async def manager(
        self, *configs: DeploymentConfig, **options: Any
    ) -> AsyncGenerator[DefaultDeploymentManager, None]:
        """A manager with these definitions; after it nothing may be left, and no rule broken."""
        async with self.build(*configs, **options) as manager:
            yield manager
        self.check()

    def check(self) -> None:
        self.history.check()
        assert self.existing == {}
        assert self.operations == []

    def states(self, name: str) -> list[str]:
        """The states that a deployment came to, in this order."""
        told = [event.state.value for event in self.events if event.name == name]
        return [state for state, _ in groupby(told)]

    def steps(self, name: str) -> list[Step]:
        """The steps that were told of a deployment, in this order."""
        return [event.step for event in self.events if event.name == name]


@define(eq=False)
class Call:
    """A task that makes one call and keeps its outcome."""

    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    ended: anyio.Event = field(factory=anyio.Event)
    #: "waiting", "returned", "raised", "cancelled"
    outcome: str = "waiting"
    value: Any = None
    error: BaseException | None = None

    running: ClassVar[str] = "waiting"

    async def make(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        try:
            with self.scope:
                self.value = await function(*args)
                self.outcome = "returned"
            if self.outcome == "waiting":
                self.outcome = "cancelled"
        except anyio.get_cancelled_exc_class():
            self.outcome = "cancelled"
            raise
        except Exception as exc:  # noqa: BLE001 - it is what the test looks at
            self.error, self.outcome = exc, "raised"
        finally:
            self.ended.set()

    def cancel(self) -> None:
        self.scope.cancel()

    async def wait(self) -> str:
        await self.ended.wait()
        return self.outcome


def start(tasks: TaskGroup, function: Callable[..., Awaitable[Any]], *args: Any) -> Call:
    """Make a call in a task of its own."""
    call = Call()
    tasks.start_soon(call.make, function, *args)
    return call


async def settle() -> None:
    """Let everything go on that can: far more turns of the event loop than any chain of wake-ups in a test needs."""
    for _ in range(30):
        await checkpoint()
