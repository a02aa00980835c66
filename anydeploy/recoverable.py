"""The part of the contract that is about a crash: what an environment is found by, and how its remains are removed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from attrs import define, field
from attrs.setters import NO_OP

from .operations import Operations


@define(kw_only=True, eq=False, slots=False)
class Recoverable(Operations):
    """An environment that can be found and removed after the process that made it was killed.

    It says before it is made what it will be found by (:meth:`traces`), and records what is known later
    (:meth:`record`). A later process builds a connector with the same token, which removes what is left.
    """

    #: Part of the names of all that it makes outside; see :attr:`token`.
    _token: str | None = field(init=False, default=None, repr=False, on_setattr=NO_OP)
    #: The facts that were recorded; made when there are any.
    _facts: dict[str, str] | None = field(init=False, default=None, repr=False, on_setattr=NO_OP)
    #: The listener for :meth:`record`, which never waits.
    on_record: Callable[[str, str], None] | None = field(init=False, default=None, repr=False, on_setattr=NO_OP)

    async def reattach(self, facts: Mapping[str, str] | None = None) -> None:  # noqa: ARG002
        """Open a new way into an environment whose connection was lost, for the teardown of what stands on it.

        It is called at most once, after this connector has reported a :class:`ConnectionLostError`, and only while
        its wrappers are torn down; or after a crash, in place of :meth:`deploy` and in the task that calls
        ``undeploy``, with what was recorded. It creates nothing, and waits for nothing but the connection; users'
        operations stay refused. It may raise, and may be cancelled by the ``undeploy_timeout`` of the wrapper, whose
        ``undeploy`` is then called all the same (rule X3).

        :param facts: after a crash, those that an earlier process has recorded; otherwise None
        """
        return

    def traces(self) -> Mapping[str, str]:
        """Return what the environment will be found by after a crash: names that are decided before ``deploy``.

        They contain :attr:`token`. The method is pure, and gives the same answer every time::

            return {"container": f"anydeploy-{self.deployment_name}-{self.token}"}
        """
        return {}

    async def remove_left(self, traces: Mapping[str, str], facts: Mapping[str, str]) -> None:  # noqa: ARG002
        """Remove what a process that was killed has left of this environment.

        It may be called again, and nothing need exist any more. It touches nothing that does not carry the token.

        :param traces: what :meth:`traces` said in that process; ``facts``: what was recorded by :meth:`record`
        """
        return

    @property
    def token(self) -> str:
        """Letters and digits that all names of what this connector makes outside contain. Never the same twice."""
        if self._token is None:
            self._token = secrets.token_hex(8)
        return self._token

    @token.setter
    def token(self, token: str) -> None:
        self._token = token

    def record(self, key: str, value: str) -> None:
        """Record a fact that is known only now: the number of a job, the node that it runs on. Never waits or raises.

            self.record("job", job)

        After a crash it is given to :meth:`reattach` and :meth:`remove_left`.
        """
        if self._facts is None:
            self._facts = {}
        self._facts[key] = value
        if self.on_record is not None:
            self.on_record(key, value)

    @property
    def facts(self) -> Mapping[str, str]:
        """The facts that were recorded so far."""
        return dict(self._facts or {})
