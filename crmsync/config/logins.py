"""Which login the settings make up. Pure: it looks at which variables are given, never at their values.

Each service knows a few ways to log in, and each way needs a set of settings. A way is *complete* when all it
needs is given. Settings may serve two ways: a client id and secret alone are client credentials, but beside a
refresh token they belong to it. So a way gives way to another complete one that uses all its settings too. If
two are still complete, nobody but the operator knows which is meant, and that is a problem.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

SHARED_LOGIN_HOSTS = ("login.salesforce.com", "test.salesforce.com")
"""Hosts that serve every org; Salesforce takes client credentials only at an org's own."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to log in: the variables it needs, and those it uses where they are given."""

    name: str
    needs: tuple[str, ...]
    uses: tuple[str, ...] = ()

    def missing(self, given: Collection[str]) -> list[str]:
        return [variable for variable in self.needs if variable not in given]

    def covers(self, other: Way) -> bool:
        """Whether all that `other` needs serves this way too."""
        return other is not self and set(other.needs) <= {*self.needs, *self.uses}


@dataclass(frozen=True, slots=True)
class Service:
    """A service and its ways to log in. `chooser` is the variable that picks one, where there is such."""

    name: str
    ways: tuple[Way, ...]
    chooser: str | None = None

    def way(self, name: str) -> Way:
        return next(way for way in self.ways if way.name == name)


SALESFORCE = Service(
    "Salesforce",
    (
        Way("token", ("SALESFORCE_INSTANCE_URL", "SALESFORCE_ACCESS_TOKEN")),
        Way("client_credentials", ("SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET")),
        Way("jwt", ("SALESFORCE_CLIENT_ID", "SALESFORCE_USERNAME", "SALESFORCE_PRIVATE_KEY")),
        Way(
            "refresh_token",
            ("SALESFORCE_CLIENT_ID", "SALESFORCE_REFRESH_TOKEN"),
            ("SALESFORCE_CLIENT_SECRET",),
        ),
        Way("password", ("SALESFORCE_USERNAME", "SALESFORCE_PASSWORD"), ("SALESFORCE_SECURITY_TOKEN",)),
    ),
    chooser="SALESFORCE_AUTH",
)
EXPERITURE = Service(
    "Experiture",
    (
        Way("api_key", ("EXPERITURE_API_KEY",)),
        Way(
            "client_credentials", ("EXPERITURE_CLIENT_ID", "EXPERITURE_CLIENT_SECRET", "EXPERITURE_TOKEN_URL")
        ),
    ),
)
HUBSPOT = Service(
    "HubSpot",
    (
        Way("token", ("HUBSPOT_TOKEN",)),
        Way("refresh_token", ("HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET", "HUBSPOT_REFRESH_TOKEN")),
    ),
)


SERVICES = {"salesforce": SALESFORCE, "experiture": EXPERITURE, "hubspot": HUBSPOT}
"""By the name that a sync gives its source or destination."""


def choose(service: Service, given: Collection[str], chosen: str | None) -> tuple[str | None, str | None]:
    """The login's name, or None; and a sentence about what stands in the way of one, or None.

    `given` are the variables that have a value; `chosen` is what the chooser says.
    """
    if chosen is not None:
        missing = service.way(chosen).missing(given)
        return (None, f"{chosen} also needs {_listed(missing)}") if missing else (chosen, None)
    complete = [way for way in service.ways if not way.missing(given)]
    left = [way for way in complete if not any(other.covers(way) for other in complete)]
    if len(left) == 1:
        return left[0].name, None
    return None, _ambiguous(service, left) if left else _incomplete(service, given)


def _ambiguous(service: Service, complete: Sequence[Way]) -> str:
    ways = " and for ".join(f"{way.name} ({', '.join(way.needs)})" for way in complete)
    out = f"set {service.chooser} to the one that is meant" if service.chooser else "unset the one not meant"
    return f"the settings are complete for {ways}; {out}"


def _incomplete(service: Service, given: Collection[str]) -> str:
    """What the nearest begun ways lack; every way there is, where none is begun."""
    begun = [way for way in service.ways if len(way.missing(given)) < len(way.needs)]
    if not begun:
        ways = ", or ".join(f"{_listed(way.needs)} ({way.name})" for way in service.ways)
        return f"no login is configured; set {ways}"
    fewest = min(len(way.missing(given)) for way in begun)
    nearest = [way for way in begun if len(way.missing(given)) == fewest]
    ways = ", or ".join(f"{_listed(way.missing(given))} (for {way.name})" for way in nearest)
    return f"the login is incomplete; missing: {ways}"


def _listed(variables: Sequence[str]) -> str:
    return " and ".join(variables)
