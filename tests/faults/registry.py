"""The faults that are tried, by id: what docs/reliability.md lists, and what pytest collects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .world import World

Check = Callable[[World], None]


@dataclass(frozen=True)
class Fault:
    """One fault: the check to run, what it promises (its docstring's words), and the world it wants."""

    check: Check
    contacts: int
    login: str

    @property
    def promise(self) -> str:
        return " ".join((self.check.__doc__ or "").split())


@dataclass
class Faults:
    """A table of faults. `add` registers a function under an id and leaves it as it is."""

    known: dict[str, Fault] = field(default_factory=dict)

    def add(
        self, name: str, *, contacts: int = 60, login: str = "client_credentials"
    ) -> Callable[[Check], Check]:
        assert name not in self.known, f"two faults are called {name}"

        def register(check: Check) -> Check:
            self.known[name] = Fault(check, contacts, login)
            return check

        return register
