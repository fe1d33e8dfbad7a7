"""Every error crmsync raises on purpose, grouped by what the caller should do about it.

The exit code sits on the class (see the table in README.md), so that no other place decides it. Messages
never carry a secret, an e-mail address, a phone number or a person's name: they name the setting, the field,
the row's Id or the file, and the way out.
"""

from __future__ import annotations

from collections.abc import Sequence

TROUBLESHOOTING = "docs/troubleshooting.md"


class CrmsyncError(Exception):
    """The root. `hint` is one sentence saying what to do next, `correlation_id` what a service calls the
    request that failed, in its own log. `topic` is the section of TROUBLESHOOTING that says more.
    """

    exit_code = 1
    topic = "a-refused-request"

    def __init__(self, message: str, *, hint: str | None = None, correlation_id: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.correlation_id = correlation_id

    @property
    def page(self) -> str:
        """Where the documentation says more."""
        return f"{TROUBLESHOOTING}#{self.topic}"

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class ConfigError(CrmsyncError):
    """Fix the configuration. All problems found are in `problems`, one sentence each."""

    exit_code = 78
    topic = "configuration"

    def __init__(self, problems: str | Sequence[str], *, hint: str | None = None) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        if len(self.problems) == 1:
            message = self.problems[0]
        else:
            listed = "\n".join(f"  - {problem}" for problem in self.problems)
            message = f"{len(self.problems)} problems in the configuration:\n{listed}"
        super().__init__(message, hint=hint)


class SourceChanged(CrmsyncError):
    """The source refuses a field that it described: it has to be described anew."""

    exit_code = 78
    topic = "fields-that-vanish"


class StateError(CrmsyncError):
    """The stored state cannot be trusted: it is refused, never reset."""

    exit_code = 78
    topic = "state-that-is-refused"


class StateMoved(StateError):
    """The state is somewhere else now: in `place`."""

    def __init__(self, message: str, *, place: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.place = place


class NoWatermark(CrmsyncError):
    """A first pull needs to be told where to begin."""

    exit_code = 78
    topic = "the-first-pull"


class AuthError(CrmsyncError):
    """A login was refused, or a permission is missing."""

    exit_code = 77
    topic = "logins-and-permissions"


class BrakeError(CrmsyncError):
    """Stopped on purpose before something that a person should look at first."""

    exit_code = 4
    topic = "brakes"


class TryAgain(CrmsyncError):
    """Nothing is wrong with the set-up; a later run may succeed."""

    exit_code = 75
    topic = "try-again-later"


class LockHeld(TryAgain):
    """Another run of the same sync is at work."""

    topic = "another-run-is-at-work"


class StateConflict(TryAgain):
    """Somebody else has written the state since it was read (a lost compare-and-swap)."""

    topic = "a-lost-lease"


class QuotaExhausted(TryAgain):
    """The source's daily allowance is used up, or the configured share of it."""

    topic = "request-quota"


class Outage(TryAgain):
    """A service did not answer, or kept answering with errors that pass, until the retries were used up."""

    topic = "outages"


class Unconfirmed(TryAgain):
    """A batch was sent and nothing proves what became of it; nothing has moved past it."""

    topic = "unconfirmed-batches"


class DeadlineReached(TryAgain):
    """`--max-duration` is over."""

    topic = "stopped-on-purpose"


class Interrupted(CrmsyncError):
    """Stopped by a signal, gracefully. The exit code is 128 plus the signal's number."""

    topic = "stopped-on-purpose"

    def __init__(self, signum: int) -> None:
        super().__init__("stopped by a signal; the next run goes on from the last checkpoint")
        self.exit_code = 128 + signum
