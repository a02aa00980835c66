"""The selected deployments as the events describe them: the model behind every view of a command's progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import define, field

from ..exceptions import describe
from ..graph import dependents
from ..lifecycle import DeploymentEvent, DeploymentState, Step
from .loading import Selection
from .output import first_line, seconds

MAX_NAMES = 5
MAX_TREE_LINES = 200
MAX_TREE_DEPTH = 30

#: The word for a deployment after a step that tells more than its state does.
_PHASES: Mapping[Step, str] = {
    Step.DEMANDED: "waiting",
    Step.ATTEMPT_FAILED: "retrying",
    Step.RENEWED: "renewing",
    Step.RESTARTED: "restarting",
}


@define(eq=False)
class TrackedDeployment:
    """One deployment as its last event left it.

    :ivar since: when its phase began: the time of the last event, or before the first one that of the command's start
    :ivar event: the last event; None before the first one
    """

    name: str
    type: str
    since: float
    event: DeploymentEvent | None = None
    #: When the attempt that was made last began.
    attempted_at: float = 0.0
    #: When it became live last.
    live_at: float = 0.0
    #: The event that ended its present life before it was live; None otherwise.
    failure: DeploymentEvent | None = None
    #: The last error of its present life; None once it is live.
    error: BaseException | None = None

    def apply(self, event: DeploymentEvent) -> None:
        """Take over what an event says."""
        match event.step:
            case Step.DEMANDED:
                self.failure = None
                self.error = None
            case Step.BEGUN:
                self.attempted_at = event.when
            case Step.DEPLOYED:
                self.live_at = event.when
                self.error = None
            case Step.FAILED | Step.FAILED_BELOW:
                self.failure = event
            case _:
                pass
        if event.error is not None:
            self.error = event.error
        self.event = event
        self.since = event.when

    @property
    def label(self) -> str:
        return f"{self.name} ({self.type})"

    @property
    def state(self) -> DeploymentState:
        return DeploymentState.ABSENT if self.event is None else self.event.state

    @property
    def step(self) -> Step | None:
        return None if self.event is None else self.event.step

    @property
    def exists(self) -> bool:
        """Whether an environment of it may exist."""
        return self.state is not DeploymentState.ABSENT and self.step is not Step.DEMANDED

    @property
    def failed(self) -> bool:
        """Whether its own deploy failed, and not something below it."""
        return self.failure is not None and self.failure.step is Step.FAILED

    @property
    def phase(self) -> str:
        """A word for what it is doing: waiting is told from working, and a failure from plain absence."""
        if self.state is DeploymentState.ABSENT and self.failure is not None:
            return "failed" if self.failed else "not started"
        return str(self.state) if self.step is None else _PHASES.get(self.step, str(self.state))

    @property
    def problem(self) -> str:
        """The text of the last error of its present life; empty without one."""
        return describe(self.error) if self.error is not None else ""


@define(eq=False)
class Tracker:
    """The deployments of a selection, dependencies first, without the implicit ones of the manager.

    :ivar started_at: when the command started, on the clock of the event loop
    :ivar stopping: everything has to go down: a live deployment waits for its dependents from now on
    """

    selection: Selection
    started_at: float
    stopping: bool = False
    deployments: Mapping[str, TrackedDeployment] = field(init=False)
    _dependents: Mapping[str, list[str]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        configs = self.selection.configs
        self.deployments = {
            name: TrackedDeployment(name, configs[name].type, self.started_at) for name in self.selection.order
        }
        self._dependents = dependents(self.selection.order, self.selection.dependencies)

    def apply(self, event: DeploymentEvent) -> TrackedDeployment | None:
        """Take over an event; return the deployment that it is about, or None if that is not in the selection."""
        deployment = self.deployments.get(event.name)
        if deployment is not None:
            deployment.apply(event)
        return deployment

    def waits_for(self, name: str) -> list[str]:
        """Return the dependencies that keep a deployment from starting, or the dependents that keep it up."""
        deployment = self.deployments[name]
        match deployment.step:
            case Step.DEMANDED | Step.ATTEMPT_FAILED:
                below = [self.deployments[each] for each in self.selection.dependencies(name)]
                return [each.name for each in below if each.state is not DeploymentState.LIVE]
            case Step.RENEWED:
                return [each for each in self._existing_above(name) if self._wraps(each, name)]
            case Step.RESTARTED:
                return self._existing_above(name)
            case Step.DEPLOYED if self.stopping:
                return self._existing_above(name)
            case _:
                return []

    def _existing_above(self, name: str) -> list[str]:
        return [each for each in self._dependents[name] if self.deployments[each].exists]

    def _wraps(self, name: str, inner: str) -> bool:
        wraps = self.selection.configs[name].wraps
        return wraps is not None and wraps.deployment == inner

    def present(self) -> list[TrackedDeployment]:
        """Return those that exist, may exist, or have to come up."""
        return [each for each in self.deployments.values() if each.state is not DeploymentState.ABSENT]

    def failed(self) -> list[TrackedDeployment]:
        """Return those whose own deploy failed."""
        return [each for each in self.deployments.values() if each.failed]

    def not_started(self, because: str) -> list[str]:
        """Return the names that were not started because of the failure of another deployment."""
        failures = [each.failure for each in self.deployments.values() if each.failure is not None]
        return [each.name for each in failures if each.step is Step.FAILED_BELOW and each.because == because]

    def counts(self) -> str:
        """Return how many are in each phase, as in ``3 live, 2 deploying``."""
        count: dict[str, int] = {}
        for deployment in self.deployments.values():
            count[deployment.phase] = count.get(deployment.phase, 0) + 1
        return ", ".join(f"{number} {phase}" for phase, number in count.items())

    def details(self, name: str) -> str:
        """Return what there is to say beside the phase: the names it waits for, or the number of its attempt."""
        event = self.deployments[name].event
        names = enumerate_names(self.waits_for(name))
        match event.step if event is not None else None:
            case Step.DEMANDED:
                return f"for {names or 'its turn'}"
            case Step.BEGUN | Step.ATTEMPT_FAILED if event is not None and not names:
                return attempt(event)
            case _:
                return f"waiting for {names}" if names else ""

    def describe(self, name: str, now: float) -> str:
        """Return a line on one deployment: its phase, the details, how long that has lasted, and the last error."""
        deployment = self.deployments[name]
        details = self.details(name)
        separator = " " if deployment.step is Step.DEMANDED else ", "
        doing = separator.join([deployment.phase, details]) if details else deployment.phase
        problem = f": {first_line(deployment.problem)}" if deployment.problem else ""
        return f"{deployment.label}: {doing}, {seconds(now - deployment.since)}{problem}"

    def starting_tree(self, now: float) -> str:
        """Return a tree of what is still coming up, each above what it waits for."""
        return "\n".join(self._tree_lines(now))

    def _tree_lines(self, now: float) -> Iterator[str]:
        awaited = {name for each in self.present() for name in self.waits_for(each.name)}
        starting = [each.name for each in self.present() if each.state is not DeploymentState.LIVE]
        stack = [(name, 0) for name in reversed(starting) if name not in awaited]
        seen: set[str] = set()
        lines = 0
        while stack and lines < MAX_TREE_LINES:
            name, depth = stack.pop()
            below = self.waits_for(name)
            again = name in seen and bool(below)
            seen.add(name)
            lines += 1
            yield "  " * min(depth, MAX_TREE_DEPTH) + self.describe(name, now) + (" (see above)" if again else "")
            if not again:
                stack += [(dependency, depth + 1) for dependency in reversed(below)]
        if stack:
            yield f"... and {len(stack)} more"


def attempt(event: DeploymentEvent) -> str:
    """Return the number of an attempt; empty if there is only one."""
    return f"attempt {event.attempt} of {event.attempts}" if event.attempts > 1 else ""


def enumerate_names(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(names[:MAX_NAMES])
    more = len(names) - MAX_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
