"""The deployment manager: what callers see."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from anyio import create_task_group, get_cancelled_exc_class
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from attrs import frozen

from .checking import check_parameters
from .config import DeploymentConfig
from .connector import Connector
from .definitions import Definitions, Resolution
from .deployment import Deployment, at_work
from .exceptions import ManagerClosedError, UndeployError, WorkflowExecutionException, describe
from .fleet import Fleet
from .lazy import FutureConnector
from .lifecycle import DeploymentEvent, DeploymentState, DeploymentStatus
from .slots import Slots

logger = logging.getLogger("anydeploy")
logger.addHandler(logging.NullHandler())

DEFAULT_UNDEPLOY_TIMEOUT = 300.0
DEFAULT_SHUTDOWN_TIMEOUT = 900.0


class DeploymentManager(ABC):
    """The interface of StreamFlow's deployment managers."""

    @abstractmethod
    async def deploy(self, deployment_config: DeploymentConfig) -> None:
        """Bring up a deployment and everything it depends on."""

    @abstractmethod
    def get_connector(self, deployment_name: str) -> Connector | None:
        """The connector of a deployment that is up; None for any other name."""

    @abstractmethod
    async def undeploy(self, deployment_name: str) -> None:
        """Say that a deployment is no longer needed for its own sake."""

    @abstractmethod
    async def undeploy_all(self) -> None:
        """Take everything down."""

    @abstractmethod
    async def close(self) -> None:
        """Take everything down, for good."""


class DefaultDeploymentManager(DeploymentManager):
    """Brings deployments up in dependency order, each exactly once, and leaves none behind.

    Use it as an async context manager: the block owns the task group that the deployments live in, and leaving it is
    :meth:`close`. An exception raised in the block comes out as itself; if the teardown fails as well, a note on it
    says what may be left (rule M2). It belongs to one event loop and is not thread-safe. Connectors and listeners run
    in the context (:mod:`contextvars`) in which it was entered.

    While a connector's ``deploy`` or ``undeploy`` runs, neither that nor a task that was started from there can wait
    for the manager: a call that would have to raises :class:`WorkflowExecutionException`.

    :param deployments: the definitions known from the start, or a mapping of them as :func:`load_file` returns it
    :param connector_types: connector classes by type string, in addition to those that are installed
    :param config_dir: what relative paths in connector settings are relative to; default: the current directory
    :param max_concurrent: how many connector ``deploy`` and ``undeploy`` calls may run at once (rule K1)
    :param deploy_timeout: seconds for one connector ``deploy``, or a string such as ``2m``; None: no limit (rule K2)
    :param undeploy_timeout: likewise for one connector ``undeploy``
    :param shutdown_timeout: likewise for :meth:`close`
    :param on_event: called with a :class:`DeploymentEvent` after every change of state, when everything that follows
        from it at once has been decided (so :meth:`status` may be ahead of the event). It is not a coroutine, must
        neither block nor raise, and may start tasks that use the manager.
    :raises WorkflowDefinitionException: if a parameter is wrong, or two different definitions have the same name
    """

    def __init__(
        self,
        deployments: Iterable[DeploymentConfig] | Mapping[str, DeploymentConfig] = (),
        *,
        connector_types: Mapping[str, type[Connector]] | None = None,
        config_dir: str | Path | None = None,
        max_concurrent: int | None = None,
        deploy_timeout: float | str | None = None,
        undeploy_timeout: float | str | None = DEFAULT_UNDEPLOY_TIMEOUT,
        shutdown_timeout: float | str | None = DEFAULT_SHUTDOWN_TIMEOUT,
        on_event: Callable[[DeploymentEvent], None] | None = None,
    ) -> None:
        given = check_parameters(
            deployments,
            connector_types=connector_types,
            config_dir=config_dir,
            max_concurrent=max_concurrent,
            deploy_timeout=deploy_timeout,
            undeploy_timeout=undeploy_timeout,
            shutdown_timeout=shutdown_timeout,
            on_event=on_event,
        )
        self._definitions = Definitions(
            given.connector_types, given.config_dir, given.deploy_timeout, given.undeploy_timeout
        )
        self._definitions.add_all(given.deployments)
        self._fleet = Fleet(self._spawn, self._report, self._heard, self._crash, Slots(given.max_concurrent))
        self._futures: dict[str, FutureConnector] = {}
        self._shutdown_timeout = math.inf if given.shutdown_timeout is None else given.shutdown_timeout
        self._on_event = given.on_event
        self._tasks: TaskGroup | None = None
        #: What the manager was entered in. Connectors run in copies of it, and listeners in it, whoever it was whose
        #: call was the reason.
        self._context: Context
        self._reported = False
        self._crashed: BaseException | None = None

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise WorkflowExecutionException("a deployment manager can be entered only once")
        self._context = copy_context()
        self._tasks = create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None  # noqa: S101 - for the type checker
        self._begin_close()
        # The body's exception is not the task group's business, or it would come out wrapped. The group waits for
        # every deployment, whoever cancels the task that waits: each shields itself, up to the shutdown timeout. The
        # wait is shielded as well, or on asyncio its cancellation would come out in place of the body's exception.
        self._tasks.cancel_scope.shield = True
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._conclude(self._crashed or exc)

    def _conclude(self, exc: BaseException | None) -> None:
        """Say what may be left, and raise what no manager may keep for itself."""
        failure = None if self._reported else self._failure()
        if failure is not None:
            if exc is None or isinstance(exc, get_cancelled_exc_class()):
                raise failure
            exc.add_note("\n".join([str(failure), *map(str, failure.exceptions)]))
        if self._crashed is not None:
            raise self._crashed

    async def deploy(self, deployment_config: DeploymentConfig | str) -> None:
        """Bring up a deployment and its closure; return when it is live (rules D1 to D6).

        A lazy one is only checked and registered (rule L1).

        :param deployment_config: a definition, or the name of one that the manager knows
        :raises WorkflowDefinitionException: for a misspecification, before anything is deployed
        :raises DeployError: if it, or something it depends on, does not come up, or is undeployed meanwhile
        :raises ManagerClosedError: outside the ``async with`` block, or after :meth:`close`

        If cancelled it returns at once and its demand is withdrawn: the deployment goes down again, or on coming up
        for others who want it.
        """
        self._check_open()
        await self._deploy([deployment_config])

    async def deploy_all(self, names: Iterable[str] | None = None) -> None:
        """:meth:`deploy` several names at once, by default all that are known: all of them come up, or none.

        :raises DeployError: for the first that does not come up; the demand for the others is then withdrawn
        """
        self._check_open()
        await self._deploy(list(self._definitions.names if names is None else dict.fromkeys(names)))

    def get_connector(self, deployment_name: str) -> Connector | None:
        """The connector of a deployment that is live and not withdrawn by ``undeploy``; otherwise None (rule R1).

        For a lazy deployment a :class:`FutureConnector`, from its ``deploy`` on.
        """
        deployment = self._fleet.deployments.get(deployment_name)
        visible = deployment is not None and deployment.visible
        if deployment is not None and visible and not deployment.blueprint.config.lazy:
            return deployment.connector
        future = self._future(deployment_name, deployment) if visible else self._futures.get(deployment_name)
        return future if future is not None and (visible or future.armed) else None

    async def undeploy(self, deployment_name: str) -> None:
        """Withdraw the demand for a deployment (rules U1 to U6).

        It returns when the environment is gone, or at once if dependents still need it. For an unknown or absent name
        it does nothing.

        :raises UndeployError: if the teardown failed and the environment may still exist; calling again tries again
        :raises ManagerClosedError: before the ``async with`` block

        If cancelled it returns at once; the teardown goes on.
        """
        self._check_entered()
        deployment = self._fleet.deployments.get(deployment_name)
        if deployment is not None and not deployment.dependents:
            self._check_may_wait()
        self._disarm(deployment_name)
        deployment = self._fleet.withdraw(deployment_name)
        if deployment is None or deployment.demanded:
            await checkpoint()
        else:
            await deployment.wait_gone()

    async def undeploy_all(self) -> None:
        """Withdraw the demand for everything, and wait until it is gone, dependents first (rule U7).

        :raises ExceptionGroup: of all :class:`UndeployError`; what the failed ones stand on stays up
        """
        self._check_entered()
        self._check_may_wait()
        for name in list(self._futures):
            self._disarm(name)
        descent = self._fleet.withdraw_all()
        await descent.event.wait()
        if descent.errors:
            raise ExceptionGroup("some deployments could not be undeployed", descent.errors)

    async def close(self) -> None:
        """Give up what is coming up, take everything down, and accept no demand any more (rule U8).

        What is stuck is tried a last time, and does not keep what lies under it from going down. Calling it again
        waits for the same end. Leaving the ``async with`` block does the same, and cannot be cancelled.

        :raises ExceptionGroup: of an :class:`UndeployError` for everything that may be left
        """
        if self._tasks is None:
            await checkpoint()
            return
        self._check_may_wait()
        self._begin_close()
        await self._fleet.drained()
        failure = self._failure()
        if failure is not None:
            self._reported = True
            raise failure

    def hurry(self) -> None:
        """Cut short every grace period that a connector allows what it has to stop."""
        for deployment in self._fleet.deployments.values():
            if deployment.connector is not None:
                deployment.connector.hurry()

    def status(self) -> Mapping[str, DeploymentStatus]:
        """Every known deployment as it is now, the absent ones included."""
        known = {name: DeploymentStatus(name, DeploymentState.ABSENT) for name in self._definitions.names}
        present = {**self._fleet.left_behind, **self._fleet.deployments}
        return known | {name: deployment.status() for name, deployment in present.items()}

    # -- What the calls have in common -------------------------------------------------------------------------------

    def _check_entered(self) -> None:
        if self._tasks is None:
            raise ManagerClosedError("the deployment manager is used outside its `async with` block")

    def _check_open(self) -> None:
        self._check_entered()
        if self._fleet.closing:
            raise ManagerClosedError("the deployment manager is closed")

    def _check_may_wait(self) -> None:
        """A connector at work must not wait: who knows who is waiting for it, or for its slot."""
        worker = at_work(self._fleet)
        if worker is not None:
            raise WorkflowExecutionException(
                f"the connector of deployment '{worker.name}' must not wait for deployments to come up or go down in "
                f"its deploy or undeploy, nor may a task that was started there meanwhile, for they may be waiting for "
                f"'{worker.name}': let it depend on what it needs"
            )

    def _is_live(self, name: str) -> bool:
        deployment = self._fleet.deployments.get(name)
        return deployment is not None and deployment.state is DeploymentState.LIVE

    def _is_in_use(self, name: str) -> bool:
        future = self._futures.get(name)
        return name in self._fleet.deployments or (future is not None and future.armed)

    def _is_met(self, name: str) -> bool:
        deployment = self._fleet.deployments.get(name)
        return deployment is not None and deployment.joinable

    def _resolve(self, wanted: Sequence[str | DeploymentConfig]) -> Resolution:
        resolution = self._definitions.resolve(wanted, present=_Names(self._is_met), in_use=_Names(self._is_in_use))
        self._definitions.commit(resolution)
        return resolution

    async def _deploy(self, wanted: Sequence[str | DeploymentConfig]) -> None:
        resolution = self._resolve(wanted)
        lazy = [name for name in resolution.names if self._definitions[name].lazy]
        eager = [name for name in resolution.names if not self._definitions[name].lazy]
        if eager:
            await self._bring_up(self._resolve(eager) if lazy else resolution)
        else:
            await checkpoint()
        self._check_open()
        for name in lazy:
            self._future(name, self._fleet.deployments.get(name)).armed = True

    async def _bring_up(self, resolution: Resolution) -> None:
        if not all(map(self._is_live, resolution.names)):
            self._check_may_wait()
        claim = self._fleet.claim(resolution.names, resolution.missing)
        granted = False
        try:
            await claim.wait()
            granted = True
        finally:
            self._fleet.leave(claim, granted=granted)

    def _future(self, name: str, deployment: Deployment | None) -> FutureConnector:
        """The lazy connector of a name: the one that was given out, for as long as that is good."""
        future = self._futures.get(name)
        if future is None or not (future.armed or future.live):
            definition = self._definitions.resolved(name)

            async def bring_up() -> Connector:
                await self._bring_up(self._resolve([name]))
                live = self._future(name, self._fleet.deployments[name]).live
                assert live is not None  # noqa: S101 - it has just been granted
                assert live.connector is not None  # noqa: S101 - likewise
                return live.connector

            future = self._futures[name] = FutureConnector(
                deployment_name=name,
                config_dir=definition.config_dir,
                real_type=definition.connector_type,
                bring_up=bring_up,
            )
        if deployment is not None and deployment.state is DeploymentState.LIVE:
            future.deployment = deployment
        return future

    def _disarm(self, name: str) -> None:
        future = self._futures.get(name)
        if future is not None:
            future.armed = False
            if not future.live:
                del self._futures[name]

    def _begin_close(self) -> None:
        if not self._fleet.closing:
            for future in self._futures.values():
                future.armed = False
            self._fleet.close(self._shutdown_timeout)

    def _failure(self) -> ExceptionGroup[UndeployError] | None:
        left = [deployment.undeploy_error(deployment.error) for deployment in self._fleet.left_behind.values()]
        return ExceptionGroup("some deployments may have been left behind", left) if left else None

    def _spawn(self, deployment: Deployment) -> None:
        assert self._tasks is not None  # noqa: S101 - nothing is claimed outside the block
        self._context.run(partial(self._tasks.start_soon, deployment.run, name=f"anydeploy: {deployment.name}"))

    def _crash(self, exc: BaseException) -> None:
        """Something like KeyboardInterrupt came out of a connector or listener: end the block, which then raises it."""
        assert self._tasks is not None  # noqa: S101 - as above
        self._crashed = self._crashed or exc
        self._tasks.cancel_scope.cancel()

    def _heard(self, error: BaseException | None) -> bool:
        return self._on_event is not None or logger.isEnabledFor(_level(error))

    def _report(self, event: DeploymentEvent) -> None:
        try:
            self._context.run(self._tell, event)
        except (Exception, get_cancelled_exc_class()):
            # Logging itself may be what has failed.
            with suppress(Exception):
                logger.exception("telling of %s failed", event)
        except BaseException as exc:  # noqa: BLE001 - raised at the end of the block, as what comes out of connectors
            self._crash(exc)

    def _tell(self, event: DeploymentEvent) -> None:
        level = _level(event.error)
        if logger.isEnabledFor(level):
            why = f": {describe(event.error)}" if event.error is not None else ""
            logger.log(level, "deployment '%s' is %s%s", event.name, event.state, why)
        if self._on_event is not None:
            self._on_event(event)


@frozen
class _Names:
    """The names for which a predicate holds."""

    holds: Callable[[str], bool]

    def __contains__(self, name: object) -> bool:
        return self.holds(cast("str", name))


def _level(error: BaseException | None) -> int:
    return logging.INFO if error is None else logging.WARNING
