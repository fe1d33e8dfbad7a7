"""The documentation says what the program does: pages made from the code, commands that exist, errors explained."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import crmsync
from crmsync.cli import COMMANDS, cli
from crmsync.config.settings import VARIABLES
from crmsync.errors import TROUBLESHOOTING, CrmsyncError
from crmsync.health import logs

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
SOURCES = [path for path in sorted((ROOT / "crmsync").rglob("*.py")) if "sandbox" not in path.parts]
OPERATED = ("SALESFORCE_", "EXPERITURE_", "HUBSPOT_", "CRMSYNC_")


def generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = generator()
EVERY_COMMAND = dict(GENERATE.every_command())


# --- pages made from the code -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATE.PAGES)
def test_a_page_made_from_the_code_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text() == GENERATE.PAGES[name](), "run `python docs/generate.py`"


@pytest.mark.parametrize("path", EVERY_COMMAND, ids=lambda path: " ".join(path) or "crmsync")
def test_the_page_shows_what_help_prints(path: tuple[str, ...]) -> None:
    printed = CliRunner().invoke(cli, [*path, "--help"], prog_name="crmsync", terminal_width=GENERATE.WIDTH)
    assert printed.output.strip() == GENERATE.help_of(path, EVERY_COMMAND[path])


@pytest.mark.parametrize("path", EVERY_COMMAND, ids=lambda path: " ".join(path) or "crmsync")
def test_every_command_and_option_says_what_it_is_for(path: tuple[str, ...]) -> None:
    command = EVERY_COMMAND[path]
    assert command.help
    shown = GENERATE.help_of(path, command)
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.hidden or option.opts[-1] in shown


def test_the_readme_lists_every_command() -> None:
    table = (ROOT / "README.md").read_text().partition("## Commands")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `crmsync ([\w-]+)", table, re.M)
    assert set(listed) == set(COMMANDS)


# --- what is mentioned exists -------------------------------------------------------------------------------


def code_in(path: Path) -> Iterator[str]:
    """What a page or a module shows as something to type."""
    text = path.read_text()
    if path.suffix == ".md":
        for block in re.findall(r"^```[a-z ]*\n(.*?)^```", text, re.S | re.M):
            yield from TYPED.findall(block)
        for span in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)):
            yield from TYPED.findall(span)
    elif path.suffix == ".py":
        for span in (span for sentence in sentences(path) for span in re.findall(r"`([^`\n]+)`", sentence)):
            yield from TYPED.findall(span)
    else:
        yield from re.findall(r"(?<=\s)crmsync (?:pull|check)\b.*$", text, re.M)


TYPED = re.compile(r"^ *(?:\$ )?(?:\S*/)?(crmsync \S.*?)(?:  .*)?$", re.M)
"""A line that begins with crmsync; what stands behind two blanks says what it does."""


def sentences(path: Path) -> Iterator[str]:
    """The texts of a module; … stands for what is put into one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def wrong_in(line: str) -> Iterator[str]:
    """What a line asks crmsync for, and crmsync does not have."""
    for call in re.findall(r"(?<![\w./@-])crmsync((?: +[^\s|;&>#]+)*)", line):
        command: click.Command = cli
        names = call.split()
        if names and not re.match(r"[a-z]", names[0]):
            continue
        for name in names:
            if name.startswith("-"):
                known = {
                    spelled for option in command.params for spelled in (*option.opts, *option.secondary_opts)
                }
                if name.partition("=")[0].rstrip(",.…") not in known | {"-h", "--help"}:
                    yield f"{command.name} has no {name}: {line}"
            elif isinstance(command, click.Group) and re.match(r"[a-z]", name):
                for word in reversed(name.split("·")):
                    found = command.get_command(click.Context(command), word)
                    if found is None:
                        yield f"{command.name} has no {word}: {line}"
                command = found or command


@pytest.mark.parametrize(
    "path", [*PAGES, *SOURCES, ROOT / "cron.example"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_command_and_option_that_is_mentioned_exists(path: Path) -> None:
    assert [wrong for line in code_in(path) for wrong in wrong_in(line)] == []


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    assert list(wrong_in("crmsync pul --full"))
    assert list(wrong_in("crmsync pull --fulll"))
    assert list(wrong_in("crmsync state show·sett"))
    assert not list(wrong_in("crmsync state show contacts --json"))


OF_THE_TESTS = {"CRMSYNC_HYPOTHESIS"}
"""Variables that the program itself does not know."""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_that_is_mentioned_exists(path: Path) -> None:
    named = re.findall(r"\b(?:" + "|".join(OPERATED) + r")[A-Z0-9_]*[A-Z0-9]\b", path.read_text())
    assert set(named) - set(VARIABLES) <= OF_THE_TESTS


def anchors(page: Path) -> set[str]:
    """As the hosts of repositories make them from headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        page, _, anchor = target.partition("#")
        found = (path.parent / page).resolve() if page else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_page_that_is_named_is_there(path: Path) -> None:
    for page, anchor in re.findall(r"\b(docs/[\w./-]+\.md)(?:#([\w-]+))?", path.read_text()):
        assert (ROOT / page).exists(), page
        assert not anchor or anchor in anchors(ROOT / page), f"{page}#{anchor}"


# --- errors are explained -----------------------------------------------------------------------------------

PAGE = ROOT / TROUBLESHOOTING


def errors() -> list[type[CrmsyncError]]:
    """Every class of error, of every module that can be imported."""
    for module in pkgutil.walk_packages(crmsync.__path__, "crmsync."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, left = [], [CrmsyncError]
    while left:
        error = left.pop()
        found.append(error)
        left += error.__subclasses__()
    return sorted(set(found), key=lambda error: error.__name__)


def section(topic: str) -> str:
    """What the page says under a heading."""
    for heading, text in re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", PAGE.read_text(), re.M):
        if heading.lower().replace(" ", "-") == topic:
            return str(text)
    raise AssertionError(f"{TROUBLESHOOTING} has no section {topic}")


@pytest.mark.parametrize("error", errors(), ids=lambda error: error.__name__)
def test_every_error_names_a_section_that_gives_its_exit_code(error: type[CrmsyncError]) -> None:
    told = section(error.topic)
    code = 130 if error.__name__ == "Interrupted" else error.exit_code
    first = told.strip().partition("\n\n")[0]
    assert re.match(rf"Exit code .*\b{code}\b", first, re.S), told


def test_every_message_of_the_page_is_one_that_the_program_has() -> None:
    told = "\n".join(sentence for path in SOURCES for sentence in sentences(path))
    told = re.sub(r"%[sd]", "…", told)
    table = PAGE.read_text().partition("## By message")[2].partition("\n## ")[0]
    messages = re.findall(r"^\| `(.+?)` \|", table, re.M)
    assert len(messages) > 30
    unknown = [m for m in messages if not all(part.strip() in told for part in m.split("…") if part.strip())]
    assert unknown == []


def test_every_exit_code_is_explained_in_the_readme_and_on_the_page() -> None:
    codes = {error.exit_code for error in errors()} | {0, 2, 3, 130, 143}
    for page, heading in ((ROOT / "README.md", "## Exit codes"), (PAGE, "## By exit code")):
        table = page.read_text().partition(heading)[2].partition("\n## ")[0]
        listed = {
            int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for code in row.split(",")
        }
        assert codes <= listed


def test_every_member_of_a_log_line_is_documented() -> None:
    table = (DOCS / "logs.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    assert documented == {"ts", "level", "logger", "msg", "run_id", *logs.MORE}
