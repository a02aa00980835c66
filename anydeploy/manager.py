"""The deployment manager: the interface, and the facade over definitions, engine and tasks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from anyio import create_task_group, get_cancelled_exc_class
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from .checking import check_name, check_names, check_parameters
from .config import DeploymentConfig
from .connector import Connector
from .definitions import Definitions, ResolvedDefinition
from .engine.deployment import Claim, Deployment, undeploy_error
from .engine.engine import Engine
from .exceptions import DeployError, ManagerClosedError, UndeployError, WorkflowExecutionException
from .lazy import NOTHING_ARMED, Arming, FutureConnector, LazyConnectors
from .lifecycle import DeploymentEvent, DeploymentState, DeploymentStatus, Phase
from .reporting import Reporter
from .runner import Runner, worker
from .shell import Shell

DEFAULT_UNDEPLOY_TIMEOUT = 300.0
DEFAULT_SHUTDOWN_TIMEOUT = 900.0


class DeploymentManager(ABC):
    """The interface of StreamFlow's deployment managers."""

    @abstractmethod
    async def deploy(self, deployment_config: DeploymentConfig) -> None:
        """Bring up a deployment and everything it depends on; return when it is live.

        :param deployment_config: its definition
        :raises WorkflowDefinitionException: if it is misspecified, before anything is deployed
        :raises WorkflowExecutionException: if it does not come up

        If cancelled it returns at once, and its demand is withdrawn.
        """

    @abstractmethod
    def get_connector(self, deployment_name: str) -> Connector | None:
        """Return the connector of a deployment that is up; None for any other name. It does not wait.

        :param deployment_name: the name in its definition
        """

    @abstractmethod
    async def undeploy(self, deployment_name: str) -> None:
        """Withdraw the demand for a deployment; return when it is gone, or at once if another one stands on it.

        :param deployment_name: the name in its definition; nothing is done for one that is not up
        :raises WorkflowExecutionException: if its teardown failed

        If cancelled it returns at once; the teardown goes on.
        """

    @abstractmethod
    async def undeploy_all(self) -> None:
        """Take everything down, dependents first; return when it is gone.

        :raises ExceptionGroup: of a :class:`WorkflowExecutionException` for every teardown that failed

        If cancelled it returns at once; the teardown goes on.
        """

    @abstractmethod
    async def close(self) -> None:
        """Take everything down for good: :meth:`deploy` raises from now on. It may be called more than once.

        :raises ExceptionGroup: of a :class:`WorkflowExecutionException` for everything that may be left

        If cancelled it returns at once; the teardown goes on.
        """


class DefaultDeploymentManager(DeploymentManager):
    """Brings deployments up in dependency order, each exactly once, and leaves none behind.

    Use it as an async context manager: the block owns the task group that the deployments live in, and leaving it is
    :meth:`close`. An exception raised in the block comes out as itself; if the teardown fails as well, a note on it
    says what may be left (rule M2). Without one, or if the block was cancelled, an ``ExceptionGroup`` of
    :class:`UndeployError` comes out. A manager belongs to one event loop and is not thread-safe. Connectors and
    listeners run in the context (:mod:`contextvars`) in which it was entered.

        async with DefaultDeploymentManager(load_file("stack.yml")) as manager:
            await manager.deploy("web")
            await manager.get_connector("web").run(["echo", "hello"])

    While a connector's ``deploy`` or ``undeploy`` runs, neither that nor a task that was started from there can wait
    for the manager: a call that would have to raises :class:`WorkflowExecutionException`.

    No limit of time bounds what cannot be cancelled: a connector that works in a thread, or behind a shield of its own.
    The block waits for it, and a warning in the log says so.

    :param deployments: the definitions known from the start, or a mapping of them as :func:`load_file` returns it
    :param connector_types: connector classes by type string, in addition to those that are installed
    :param config_dir: the directory that relative paths in connector settings are relative to; default: the current one
    :param max_concurrent: how many connector ``deploy`` and ``undeploy`` calls may run at once (rule K1)
    :param deploy_timeout: seconds for one connector ``deploy``, or a string such as ``5m``; None: no limit (rule K2)
    :param undeploy_timeout: the same for one connector ``undeploy``
    :param shutdown_timeout: the same for :meth:`close`
    :param on_event: called with a :class:`DeploymentEvent` after every step, when everything that follows from it at
        once has been decided (so :meth:`status` may be ahead of the event). It is not a coroutine, must not block, and
        may start tasks that use the manager. An error that it raises is logged (rule D7).
    :raises WorkflowDefinitionException: if a parameter or a definition is wrong, or if two different definitions have
        the same name
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
        self._engine = Engine(given.max_concurrent)
        self._visible: Mapping[str, Any] = self._engine.visible
        self._reporter = Reporter(given.on_event)
        self._shell = Shell(self._engine, self._reporter, self._present)
        self._lazy = LazyConnectors(self._is_current, self._use)
        self._shutdown_timeout = math.inf if given.shutdown_timeout is None else given.shutdown_timeout
        self._tasks: TaskGroup | None = None
        #: `close` has said what may be left, so that leaving the block need not.
        self._reported = False

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise WorkflowExecutionException("a deployment manager can be entered only once")
        self._shell.context = self._reporter.context = copy_context()
        self._tasks = self._shell.tasks = self._reporter.tasks = create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None  # noqa: S101 - for the type checker
        self._begin_close()
        # The body's exception is not the task group's business, or it would come out wrapped. The group waits for
        # every deployment, whichever task waits for it and is cancelled: each shields itself, up to the shutdown
        # timeout. The wait is shielded as well, or on asyncio its cancellation would come out in place of the body's
        # exception.
        self._tasks.cancel_scope.shield = True
        try:
            await self._tasks.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            # Of tasks in which a connector has left a scope open: event loops complain when such a task ends.
            self._reporter.failed("ending the tasks of deployments", group)
        finally:
            self._conclude(exc)

    def _conclude(self, exc: BaseException | None) -> None:
        """Say what may be left, and raise an interrupt that came out of foreign code."""
        interrupt = self._reporter.interrupt
        failure = None if self._reported else self._failure()
        if failure is not None:
            visible = interrupt or exc
            if visible is None or isinstance(visible, get_cancelled_exc_class()):
                raise failure
            visible.add_note("\n".join([str(failure), *map(str, failure.exceptions)]))
        if interrupt is not None:
            raise interrupt

    # -- The interface -----------------------------------------------------------------------------------------------

    async def deploy(self, deployment_config: DeploymentConfig | str, *more: DeploymentConfig | str) -> None:
        """Bring up a deployment, or several at once, and their closure; return when they are live (rules D1 to D6).

        A lazy one is only checked and registered (rule L1). Of several all come up, or none.

            await manager.deploy("web")
            await manager.deploy(DeploymentConfig("tests", "command", {...}, depends_on=["web"]))

        :param deployment_config: a definition, or the name of one that the manager knows
        :param more: further ones, likewise
        :raises WorkflowDefinitionException: for a misspecification, before anything is deployed
        :raises DeployError: if it, or something it depends on, does not come up, or is undeployed meanwhile
        :raises ManagerClosedError: outside the ``async with`` block, or after :meth:`close`

        If cancelled it returns at once and its demand is withdrawn: the deployment goes down again, or stays for
        other callers.
        """
        self._check_open()
        deployment = None if more else self._granted(deployment_config)
        if deployment is None:
            await self._deploy([deployment_config, *more])
            return
        epoch = deployment.epoch
        await checkpoint()
        if deployment.epoch != epoch:
            raise DeployError(deployment.name, "was undeployed before it was up")

    async def deploy_all(self, names: Iterable[str] | None = None) -> None:
        """:meth:`deploy` several names at once: all of them come up, or none.

            await manager.deploy_all(["web", "db"])

        :param names: names that the manager knows; None: all of them
        :raises WorkflowDefinitionException: for a misspecification, before anything is deployed
        :raises DeployError: for the first that does not come up; the demand for the others is then withdrawn
        :raises ManagerClosedError: outside the ``async with`` block, or after :meth:`close`

        If cancelled it returns at once and the demand for all of them is withdrawn.
        """
        self._check_open()
        await self._deploy(self._definitions.names if names is None else check_names(names))

    def get_connector(self, deployment_name: str) -> Connector | None:
        """Return the connector of a deployment that is live and not withdrawn by ``undeploy``; else None (rule R1).

        For a lazy deployment it is a :class:`FutureConnector`, from its ``deploy`` on.

            connector = manager.get_connector("web")
            if connector is not None:
                await connector.run(["true"])

        :raises WorkflowDefinitionException: for what cannot be a name because it is not hashable, a list for example
        """
        try:
            connector: Connector | None = self._visible.get(deployment_name)
        except TypeError:
            check_name(deployment_name)
            raise
        if connector is None and self._lazy:
            return self._lazy.armed(deployment_name)
        return connector

    def is_up(self, deployment: DeploymentConfig | str) -> bool:
        """Return whether :meth:`deploy` would find nothing to do: it is live, and was asked for explicitly.

            if not manager.is_up("web"):
                print("starting the web server")

        A lazy deployment never is, since each ``deploy`` of it has to be registered.

        :param deployment: a name, or the definition object that the deployment came up with
        """
        return self._granted(deployment) is not None

    async def undeploy(self, deployment_name: str) -> None:
        """Withdraw the demand for a deployment (rules U1 to U6).

        It returns when the environment is gone, and whatever went down with it; or at once if dependents still need
        it. For an unknown or absent name it does nothing.

        :param deployment_name: the name in its definition
        :raises UndeployError: if a teardown failed and the environment may still exist; calling again tries again.
            If several failed, the others are in its notes
        :raises WorkflowDefinitionException: if it is not a string
        :raises ManagerClosedError: before the ``async with`` block

        If cancelled it returns at once; the teardown goes on.
        """
        self._check_entered()
        check_name(deployment_name)
        deployment = self._engine.deployments.get(deployment_name)
        if deployment is not None and not deployment.holders:
            self._check_may_wait()
        self._lazy.disarm(deployment_name)
        wait = self._engine.withdraw(self._shell.now(), deployment_name)
        self._shell.perform()
        if wait is None:
            await checkpoint()
            return
        await self._shell.wait(wait)
        first, *others = [*wait.errors(), None]
        if first is not None:
            for other in others[:-1]:
                first.add_note(str(other))
            raise first

    async def undeploy_all(self) -> None:
        """Withdraw the demand for everything, and wait until it is gone, dependents first (rule U7).

        :raises ExceptionGroup: of all :class:`UndeployError`; what the failed ones stand on stays up
        :raises ManagerClosedError: before the ``async with`` block

        If cancelled it returns at once; the teardown goes on.
        """
        self._check_entered()
        self._check_may_wait()
        self._lazy.disarm_all()
        wait = self._engine.withdraw_all(self._shell.now())
        self._shell.perform()
        await self._shell.wait(wait)
        errors = wait.errors()
        if errors:
            raise ExceptionGroup("some deployments could not be undeployed", errors)

    async def restart(self, deployment_name: str) -> None:
        """Take down a deployment and all that stands on it, and bring up again what was demanded (rule X4).

        It returns when that is live. What the deployment itself stands on stays up. Where nothing was asked for, since
        the deployment is absent or only waits to go down, nothing is brought up, and it returns at once.

            await manager.restart("web")

        :param deployment_name: the name in its definition
        :raises UnknownDeploymentError: if the manager does not know the name
        :raises DeployError: if something does not come up again, cannot be taken down, or is undeployed meanwhile
        :raises ManagerClosedError: outside the ``async with`` block, or after :meth:`close`

        If cancelled it returns at once; the restart goes on.
        """
        self._check_open()
        check_name(deployment_name)
        self._definitions[deployment_name]
        self._check_may_wait()
        claim = self._engine.restart(self._shell.now(), deployment_name)
        self._shell.perform()
        if claim is None:
            await checkpoint()
        else:
            await self._await_claim(claim)

    async def close(self) -> None:
        """Give up what is coming up, take everything down, and accept no demand any more (rule U8).

        What is stuck is tried a last time, and does not keep what lies under it from going down. Calling it again
        waits for the same end. Leaving the ``async with`` block does the same, and cannot be cancelled. Before the
        block it does nothing; after it, it only tells again what may be left.

        :raises ExceptionGroup: of an :class:`UndeployError` for everything that may be left

        If cancelled it returns at once; the teardown goes on.
        """
        if self._tasks is None:
            await checkpoint()
            return
        self._check_may_wait()
        self._begin_close()
        await self._shell.drained()
        failure = self._failure()
        if failure is not None:
            self._reported = True
            raise failure

    def hurry(self) -> None:
        """Cut short every grace period that a connector allows what it has to stop.

        An error that a connector raises is logged (rule D7). Where nothing is up, nothing is done::

            manager.hurry()  # at a second Ctrl-C
        """
        for deployment in list(self._engine.deployments.values()):
            if deployment.task is not None:
                runner: Runner = deployment.task
                runner.hurry()

    def definition(self, deployment_name: str) -> DeploymentConfig | None:
        """Return the definition that a name was given or deployed with last; None for an unknown name.

        It may be called outside the block as well::

            assert manager.definition("web").type == "process"

        :raises WorkflowDefinitionException: if it is not a string
        """
        check_name(deployment_name)
        return self._definitions.get(deployment_name)

    def status(self) -> Mapping[str, DeploymentStatus]:
        """Return every known deployment as it is now, by name, the absent ones included.

        It raises nothing, and may be called outside the block as well::

            for name, status in manager.status().items():
                print(name, status.state, status.error or "")
        """
        known = {name: DeploymentStatus(name, DeploymentState.ABSENT) for name in self._definitions.names}
        return known | {name: status for name, status in self._engine.statuses().items() if name in known}

    # -- What the calls have in common -------------------------------------------------------------------------------

    def _check_entered(self) -> None:
        if self._tasks is None:
            raise ManagerClosedError("the deployment manager is used outside its `async with` block")

    def _check_open(self) -> None:
        if self._tasks is None:
            self._check_entered()
        if self._engine.closing:
            raise ManagerClosedError("the deployment manager is closed")

    def _check_may_wait(self) -> None:
        """Refuse to let a connector at work wait: what it waits for may be waiting for it, or for its slot."""
        deployment = worker(self._engine)
        if deployment is not None:
            raise WorkflowExecutionException(
                f"the connector of deployment '{deployment.name}' must not wait for deployments to come up or go down "
                f"in its deploy or undeploy, nor may a task that was started there meanwhile, for they may be waiting "
                f"for '{deployment.name}': let it depend on what it needs"
            )

    def _granted(self, wanted: object) -> Deployment | None:
        """Return an eager deployment of which a caller has to register nothing and wait for nothing, if it is one."""
        name = wanted.name if isinstance(wanted, DeploymentConfig) else wanted
        deployment = self._engine.granted(name) if isinstance(name, str) else None
        if deployment is None:
            return None
        config = cast("ResolvedDefinition", deployment.definition).config
        return deployment if not config.lazy and (wanted is config or wanted == name) else None

    async def _deploy(self, wanted: Sequence[DeploymentConfig | str]) -> None:
        definitions, present = self._definitions, self._engine.deployments
        resolution = definitions.resolve(wanted, present=present, in_use=self._lazy)
        definitions.commit(resolution)
        lazy = [name for name in resolution.names if definitions[name].lazy]
        if lazy:
            await self._deploy_lazy(lazy, [name for name in resolution.names if name not in lazy])
        elif resolution.names:
            await self._bring_up(resolution.names, resolution.missing)
        else:
            await checkpoint()
        self._check_open()

    async def _deploy_lazy(self, lazy: Sequence[str], eager: Sequence[str]) -> None:
        definitions = self._definitions
        with self._lazy.arming(lazy) as arming:
            if eager:
                resolution = definitions.resolve(eager, present=self._engine.deployments, in_use=self._lazy)
                await self._bring_up(resolution.names, resolution.missing, arming)
            else:
                await checkpoint()
            self._check_open()
            arming.check()
        for name in lazy:
            definition = definitions.resolved(name)
            self._lazy.arm(name, definition.connector_type, definition.config_dir)

    async def _bring_up(
        self, names: Sequence[str], missing: Sequence[ResolvedDefinition], arming: Arming = NOTHING_ARMED
    ) -> None:
        if worker(self._engine) is not None and not self._are_live(names):
            self._check_may_wait()
        claim = self._engine.claim(self._shell.now(), names, missing)
        self._shell.perform()
        await self._await_claim(claim, arming)

    def _are_live(self, names: Iterable[str]) -> bool:
        found = [self._engine.deployments.get(name) for name in names]
        return all(each is not None and each.phase is Phase.LIVE for each in found)

    async def _await_claim(self, claim: Claim, arming: Arming = NOTHING_ARMED) -> None:
        """Wait for a claim on behalf of one of its callers."""
        granted = False
        try:
            await self._shell.wait(claim)
            if claim.failure is not None:
                raise claim.failure.error()
            arming.check()
            granted = True
        finally:
            self._engine.leave(self._shell.now(), claim, granted=granted)
            self._shell.perform()

    def _begin_close(self) -> None:
        if self._engine.closing:
            return
        self._lazy.disarm_all()
        self._engine.close(self._shell.now(), self._shutdown_timeout)
        self._shell.perform()
        if self._engine.deployments and self._shutdown_timeout < math.inf:
            assert self._tasks is not None  # noqa: S101 - for the type checker
            self._tasks.start_soon(self._shell.report_overrun, name="anydeploy: shutdown timeout")

    def _failure(self) -> ExceptionGroup[UndeployError] | None:
        left = [
            undeploy_error(deployment.name, deployment.error)
            for deployment in self._engine.left_behind.values()
            if deployment.error is not None
        ]
        return ExceptionGroup("some deployments may have been left behind", left) if left else None

    # -- Lazy connectors ---------------------------------------------------------------------------------------------

    def _present(self, deployment: Deployment, connector: Connector) -> object:
        definition = cast("ResolvedDefinition", deployment.definition)
        if definition.config.lazy:
            return self._lazy.bind(definition.name, connector, definition.config_dir)
        return connector

    def _is_current(self, name: str, future: FutureConnector) -> bool:
        deployment = self._engine.deployments.get(name)
        return deployment is not None and deployment.connector is future

    async def _use(self, name: str) -> Connector:
        """Bring up a lazy deployment, because its connector is used."""
        self._check_open()
        if self._engine.granted(name) is None:
            resolution = self._definitions.resolve([name], present=self._engine.deployments)
            await self._bring_up(resolution.names, resolution.missing)
        future = cast("FutureConnector", self._engine.deployments[name].connector)
        return cast("Connector", future.real)
