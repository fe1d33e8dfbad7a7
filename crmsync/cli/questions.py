"""Asking on a terminal for what `crmsync init` has to know. A bad answer is asked again, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from crmsync.config.logins import Service, Way
from crmsync.config.settings import BY_VARIABLE
from crmsync.health.redaction import printable
from crmsync.setup.answers import Answers, objection

_URLS = {"Salesforce": "SALESFORCE_LOGIN_URL", "Experiture": "EXPERITURE_BASE_URL"}
_WITHOUT_URL = ("token",)
_ORGS_OWN_URL = ("client_credentials",)


def prompt(text: str, **how: Any) -> Any:
    """`click.prompt`, after whose end by Ctrl-C a new line begins."""
    try:
        return click.prompt(text, **how)
    except click.Abort:
        click.echo(err=True)
        raise


class Questions:
    """Collects answers into `answers`, whose values serve as defaults; `folder` is where paths start from."""

    def __init__(self, answers: Answers, folder: Path) -> None:
        self.answers = answers
        self.ways: dict[Service, Way] = {}
        self._folder = folder

    def service(self, service: Service) -> None:
        """Ask how to log in to a service, and for everything that takes."""
        click.echo(f"\n{service.name}: how does crmsync log in?")
        for way in service.ways:
            click.echo(f"  {way.name:<20} {', '.join(way.needs)}")
        self.ways[service] = way = self._way(service)
        if service.chooser:
            self.answers[service.chooser] = way.name
        url = _URLS[service.name]
        if way.name not in _WITHOUT_URL:
            own = service.name == "Salesforce" and way.name in _ORGS_OWN_URL
            self.ask(url, default=None if own else BY_VARIABLE[url].default)
        for variable in way.needs:
            self.ask(variable)
        for variable in way.uses:
            self.ask(variable, optional=True)

    def ask(self, variable: str, *, default: str | None = None, optional: bool = False) -> None:
        """Ask for one setting until there is nothing to be said against the answer."""
        setting = BY_VARIABLE[variable]
        click.echo(f"\n{setting.about}")
        if setting.multiline and variable in self.answers:
            click.echo(f"{variable}: taken from where it is set already")
            return
        asked = setting.file_variable if setting.multiline else variable
        if setting.secret and setting.file_variable in self.answers and not setting.multiline:
            asked = setting.file_variable
        default = self.answers.get(asked, default)
        while True:
            answer = self._prompt(
                asked, default, hidden=asked == variable and setting.secret, optional=optional
            )
            if not answer:
                self.answers.pop(asked, None)
                return
            reason = objection(asked, {**self.answers, asked: answer}, self.ways.values(), self._folder)
            if reason is None:
                self.answers[asked] = answer
                return
            click.echo(printable(f"  {reason}"))

    def _way(self, service: Service) -> Way:
        names = [way.name for way in service.ways]
        known = self.answers.get(service.chooser or "") or _complete(service, self.answers)
        default = known if known in names else _usual(service)
        return service.way(prompt("Login", type=click.Choice(names), default=default, show_choices=False))

    def _prompt(self, asked: str, default: str | None, *, hidden: bool, optional: bool) -> str:
        suffix = ": "
        if hidden:
            keeps = "; Enter keeps what is set" if default else "; Enter for none" if optional else ""
            suffix = f" (not shown{keeps}): "
        elif optional and not default:
            suffix = " (Enter for none): "
        answer: str = prompt(
            asked,
            default="" if optional and default is None else default,
            hide_input=hidden,
            show_default=not hidden and default is not None,
            prompt_suffix=suffix,
        )
        return answer.strip()


def _complete(service: Service, answers: Mapping[str, str]) -> str | None:
    return next((way.name for way in service.ways if not way.missing(answers.keys())), None)


def _usual(service: Service) -> str:
    return "client_credentials" if service.chooser else service.ways[0].name
