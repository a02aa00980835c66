"""One ``up`` or ``run``: bring deployments up, stay or run a command, and take everything down again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from signal import Signals
from typing import Any

from anyio import CancelScope, create_task_group, current_time, open_signal_receiver, sleep, sleep_forever
from attrs import define, field

from ..exceptions import DeployError, UndeployError, WorkflowDefinitionException, WorkflowExecutionException
from ..lifecycle import DeploymentEvent, DeploymentState, Step
from ..manager import DefaultDeploymentManager
from .loading import Misuse, Selection
from .messages import showing_messages
from .output import seconds
from .progress import Progress
from .signals import Interrupts, ending_signals, ignore_signals
from .tracker import TrackedDeployment, Tracker, attempt, enumerate_names
from .user_command import COMMAND_GRACE, UserCommand

#: The exit status that a shell reports for a program that SIGPIPE has ended.
STATUS_BROKEN_PIPE = 128 + Signals.SIGPIPE


class Reason(StrEnum):
    """The reason why a session ends before its command does. The first one decides."""

    SIGNAL = "a signal"
    FAILED = "a deployment failed"
    TIMEOUT = "the timeout passed"
    LOST = "a deployment was lost"
    BROKEN_PIPE = "the reader of the output has gone"
    NOT_RUN = "the command could not be started"


@define(eq=False)
class Session:
    """One manager, whose block is left only when everything is down again or known to be stuck.

    :ivar timeout: seconds for bringing up
    :ivar command: the command of ``run``; None: stay until a signal
    """

    selection: Selection
    tracker: Tracker
    progress: Progress
    config_dir: Path
    max_concurrent: int | None = None
    timeout: float | None = None
    command: UserCommand | None = None
    _manager: DefaultDeploymentManager = field(init=False)
    _interrupts: Interrupts = field(init=False)
    #: Around all that happens between entering and leaving the manager's block; inside of that, so that the teardown
    #: does not run in a cancelled scope.
    _body: CancelScope = field(init=False)
    _reason: Reason | None = field(init=False, default=None)
    #: Everything has been up: a deploy that fails from now on is that of a lost deployment.
    _ready: bool = field(init=False, default=False)
    #: Environments that may be left behind, when the manager's block has ended.
    _left: list[UndeployError] = field(init=False, factory=list[UndeployError])

    async def run(self) -> int:
        """Bring the selection up, stay or run the command, and take everything down. Return the exit status.

        :raises Misuse: if the definitions turn out to be wrong only now
        """
        self._body = CancelScope()
        self._interrupts = Interrupts(self._stop, self._hurry, self._leave)
        self._manager = DefaultDeploymentManager(
            self.selection.eager(),
            config_dir=self.config_dir,
            max_concurrent=self.max_concurrent,
            on_event=self._on_event,
        )
        misuse: WorkflowDefinitionException | None = None
        numbers = ending_signals()
        try:
            with (
                open_signal_receiver(*numbers) as received,
                self._interrupts.counting(numbers),
                showing_messages(self.progress),
            ):
                async with create_task_group() as tasks:
                    tasks.start_soon(self._interrupts.listen, received)
                    tasks.start_soon(self.progress.refresh)
                    misuse = await self._in_manager()
                    tasks.cancel_scope.cancel()
        finally:
            ignore_signals(numbers)
        if misuse is not None:
            raise Misuse([str(misuse)])
        return self._finish()

    async def _in_manager(self) -> WorkflowDefinitionException | None:
        misuse = None
        self.progress.resume()
        try:
            async with self._manager:
                with self._body:
                    try:
                        await self._up_and_work()
                    except WorkflowDefinitionException as exc:
                        misuse = exc
                self.tracker.stopping = True
                self.progress.resume()
        except* UndeployError as group:
            self._left = [error for error in group.exceptions if isinstance(error, UndeployError)]
        self.progress.pause()
        return misuse

    # -- Bringing up -------------------------------------------------------------------------------------------------

    async def _up_and_work(self) -> None:
        if not await self._bring_up():
            return
        self._ready = True
        for deployment in self.tracker.deployments.values():
            self._check_up(deployment)
        self.progress.pause()
        count = len(self.selection.order)
        took = seconds(current_time() - self.tracker.started_at)
        text = f"ready: {count} deployment{'' if count == 1 else 's'} in {took}"
        if self.command is not None:
            self.progress.notice("ready", text)
            await self._run_command(self.command)
        else:
            self.progress.notice("ready", f"{text}; Ctrl-C stops")
            self._check_reader()
            await sleep_forever()

    async def _bring_up(self) -> bool:
        failure: DeployError | None = None
        misuse: WorkflowDefinitionException | None = None
        async with create_task_group() as tasks:
            if self.timeout is not None:
                tasks.start_soon(self._expire, self.timeout)
            # Raised in here, they would come out as a group.
            try:
                await self._manager.deploy_all(self.selection.names)
            except DeployError as exc:
                failure = exc
            except WorkflowDefinitionException as exc:
                misuse = exc
            tasks.cancel_scope.cancel()
        if misuse is not None:
            raise misuse
        if failure is not None:
            self._end(Reason.FAILED)
            self._report_failures(failure)
        return failure is None

    async def _expire(self, timeout: float) -> None:
        await sleep(timeout)
        tree = self.tracker.starting_tree(current_time())
        self._end(Reason.TIMEOUT)
        self.progress.problem("timeout", f"not ready within {seconds(timeout)}; still starting:\n{tree}")

    def _report_failures(self, error: DeployError) -> None:
        failed = self.tracker.failed()
        if not failed:
            self.progress.problem("failed", str(error))
        for deployment in failed:
            self._report_failure(deployment)

    def _report_failure(self, deployment: TrackedDeployment) -> None:
        failure = deployment.failure
        assert failure is not None  # noqa: S101 - for the type checker
        number = f" in {attempt(failure)}" if failure.attempts > 1 else ""
        took = seconds(failure.when - deployment.attempted_at)
        culprit = f" because of '{failure.because}'" if failure.because is not None else ""
        above = self.tracker.not_started(deployment.name)
        waiting = f"\nnot started because of that: {enumerate_names(above)}" if above else ""
        text = f"failed to deploy{number} after {took}{culprit}: {deployment.problem}{waiting}"
        self._report(deployment, "failed", text)

    def _report(self, deployment: TrackedDeployment, kind: str, text: str, **details: Any) -> None:
        text = f"deployment '{deployment.name}' ({deployment.type}) {text}"
        self.progress.problem(kind, text, name=deployment.name, type=deployment.type, **details)

    # -- The command of `run` ----------------------------------------------------------------------------------------

    async def _run_command(self, command: UserCommand) -> None:
        place = command.on
        connector = command.local() if place is None else self._manager.get_connector(place.name)
        if connector is None:
            self._end(Reason.LOST)
            return
        workdir = self.selection.configs[place.name].workdir if place is not None else None
        try:
            await command.run(connector.at(place.service) if place is not None else connector, workdir)
        except (OSError, WorkflowExecutionException) as exc:
            self._end(Reason.NOT_RUN)
            self.progress.problem("not-run", str(exc))

    @property
    def _command_running(self) -> bool:
        return self.command is not None and self.command.running

    # -- Events ------------------------------------------------------------------------------------------------------

    def _on_event(self, event: DeploymentEvent) -> None:
        self.progress.on_event(event)
        deployment = self.tracker.deployments.get(event.name)
        if deployment is not None:
            match event.step:
                case Step.LOST:
                    self._on_loss(deployment, event)
                case Step.FAILED | Step.UNDEPLOY_FAILED if self._ready and not self.tracker.stopping:
                    self._check_up(deployment)
                case _:
                    pass
        self._check_reader()

    def _on_loss(self, deployment: TrackedDeployment, event: DeploymentEvent) -> None:
        if event.because is not None:
            # The event of the one to blame came before, and decided.
            self._report(deployment, "lost", f"was lost because of '{event.because}'")
        elif self._is_restarted(event):
            self._report(deployment, "lost", f"was lost, and is restarted: {deployment.problem}", restarting=True)
        else:
            self._report(deployment, "lost", f"was lost: {deployment.problem}", restarting=False)
            self._end_unless_running(Reason.LOST)

    def _is_restarted(self, lost: DeploymentEvent) -> bool:
        """Tell whether the lost deployment, or one that was lost with it, is renewed by itself."""
        return any(
            status.due is not None and lost.name in (status.name, status.because)
            for status in self._manager.status().values()
            if status.state is DeploymentState.LOST
        )

    def _check_up(self, deployment: TrackedDeployment) -> None:
        """End the session if a deployment cannot come up again after a loss."""
        if deployment.failed:
            self._report_failure(deployment)
            self._end_unless_running(Reason.FAILED)
        elif deployment.state is DeploymentState.STUCK:
            text = f"could not be undeployed, and is not restarted: {deployment.problem}"
            self._report(deployment, "stuck", text)
            self._end_unless_running(Reason.FAILED)

    def _check_reader(self) -> None:
        if self.progress.broken_pipe:
            self._end(Reason.BROKEN_PIPE)

    def _end_unless_running(self, reason: Reason) -> None:
        """End the session, unless the command of ``run`` is running: it may well do without the deployment."""
        if not self._command_running:
            self._end(reason)

    def _end(self, reason: Reason) -> None:
        self._reason = self._reason or reason
        self._body.cancel()

    # -- Signals -----------------------------------------------------------------------------------------------------

    def _stop(self, number: Signals) -> None:
        if self.command is not None and self.command.running:
            self._reason = self._reason or Reason.SIGNAL
            self.command.send_signal(number)
            self._body.deadline = current_time() + COMMAND_GRACE
            text = f"{number.name}: passed on to the command; once more kills it"
        else:
            self._end(Reason.SIGNAL)
            text = f"{number.name}: stopping; once more cuts grace periods short"
        self.progress.notice("stopping", text, signal=number.name)

    def _hurry(self) -> None:
        self.progress.notice("hurrying", "grace periods are cut short; once more leaves at once")
        if self.command is not None:
            self.command.kill()
        self._manager.hurry()

    def _leave(self) -> None:
        self.progress.pause()
        existing = [each for each in self.tracker.deployments.values() if each.exists]
        left = [f"{each.label}: {each.phase}" for each in existing]
        process = self.command.describe() if self.command is not None else None
        if process is not None:
            left.append(process)
        text = "\n".join(["left at once; this may be left behind:", *left]) if left else "left at once"
        self.progress.problem("left-behind", text, names=[each.name for each in existing])

    # -- The end -----------------------------------------------------------------------------------------------------

    def _finish(self) -> int:
        for error in self._left:
            self.progress.problem("left-behind", str(error), name=error.deployment_name)
        status = self._exit_status()
        end = "some deployments may be left behind" if self._left else "everything is down"
        self.progress.notice("end", end, status=status)
        return status

    def _exit_status(self) -> int:
        if self._left:
            return 1
        if self.command is not None and self.command.done:
            return self.command.status
        first = self._interrupts.first
        statuses = {
            None: 0,
            Reason.SIGNAL: 128 + first if first is not None else 1,
            Reason.NOT_RUN: self.command.status if self.command is not None else 1,
            Reason.BROKEN_PIPE: STATUS_BROKEN_PIPE,
        }
        return statuses.get(self._reason, 1)
