"""A Containerfile's subset as data: FROM, COPY, ENV, WORKDIR, USER, ENTRYPOINT, CMD.

Anything else is refused by its name and line: a step that was silently left out would be an image that differs from
what `docker build` makes of the same file. Pure; used by `app.py`.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from dataclasses import dataclass, field
from typing import Final

from imagebuild import BuildError

MAX_BYTES: Final = 64 << 10
_VARIABLE: Final = re.compile(r"(?<!\\)\$")
_ENV_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Copy:
    """`sources` are relative to the build context, `target` is absolute; a trailing `/` means: into that directory."""

    sources: tuple[str, ...]
    target: str
    line: int


@dataclass
class Containerfile:
    base: str = ""
    copies: list[Copy] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    working_dir: str = ""
    user: str = ""
    entrypoint: list[str] | None = None
    command: list[str] | None = None


@dataclass(frozen=True)
class _Step:
    line: int
    name: str
    rest: str

    def error(self, cause: str) -> BuildError:
        return BuildError(f"cannot build from Containerfile: line {self.line}: {self.name}: {cause}")


def parse(text: str) -> Containerfile:
    """BuildError names line and instruction."""
    if len(text.encode()) > MAX_BYTES:
        raise BuildError(f"cannot build from Containerfile: longer than {MAX_BYTES} bytes")
    result = Containerfile()
    for step in _steps(text):
        if _VARIABLE.search(step.rest):
            raise step.error("variables are not supported")
        if not result.base and step.name != "FROM":
            raise step.error("the first instruction must be FROM")
        _apply(result, step)
    if not result.base:
        raise BuildError("cannot build from Containerfile: it has no FROM")
    return result


def _steps(text: str) -> list[_Step]:
    """Logical lines: comments dropped, lines that end in a backslash joined."""
    steps: list[_Step] = []
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("#") or not line:
            continue
        start = start or number
        if line.endswith("\\"):
            pending += line[:-1].rstrip() + " "
            continue
        name, _, rest = (pending + line).strip().partition(" ")
        steps.append(_Step(start, name.upper(), rest.strip()))
        pending, start = "", 0
    if pending:
        raise BuildError(f"cannot build from Containerfile: line {start}: it ends in a continuation")
    return steps


def _apply(result: Containerfile, step: _Step) -> None:
    if step.name == "FROM":
        if result.base:
            raise step.error("several stages are not supported")
        if len(step.rest.split()) != 1:
            raise step.error("takes one image and nothing else")
        result.base = step.rest
    elif step.name == "COPY":
        result.copies.append(_copy(result, step))
    elif step.name == "ENV":
        result.environment |= _environment(step)
    elif step.name == "WORKDIR":
        result.working_dir = _absolute(result, step, _words(step)[0] if len(_words(step)) == 1 else "")
    elif step.name == "USER":
        if not re.fullmatch(r"[a-z0-9_][a-z0-9_-]*(:[a-z0-9_][a-z0-9_-]*)?", step.rest):
            raise step.error("takes user[:group]")
        result.user = step.rest
    elif step.name == "ENTRYPOINT":
        result.entrypoint = _exec_form(step)
    elif step.name == "CMD":
        result.command = _exec_form(step)
    else:
        raise step.error("this instruction is not supported (FROM, COPY, ENV, WORKDIR, USER, ENTRYPOINT, CMD are)")


def _words(step: _Step) -> list[str]:
    try:
        return shlex.split(step.rest)
    except ValueError as failure:
        raise step.error(str(failure)) from failure


def _absolute(result: Containerfile, step: _Step, path: str) -> str:
    """`path` below the working directory, normalised; keeps a trailing slash."""
    if not path or "\0" in path:
        raise step.error("takes one path")
    whole = posixpath.join("/", result.working_dir, path)
    normal = "/" + posixpath.normpath(whole).lstrip("/")
    return normal + "/" if path.endswith(("/", "/.")) and normal != "/" else normal


def _copy(result: Containerfile, step: _Step) -> Copy:
    words = _exec_form(step) if step.rest.startswith("[") else _words(step)
    if words and words[0].startswith("--"):
        raise step.error(f"the option {words[0].partition('=')[0]} is not supported")
    if len(words) < 2:
        raise step.error("takes sources and a target")
    sources = []
    for source in words[:-1]:
        clean = posixpath.normpath(source.lstrip("/") or ".")
        if clean.startswith("..") or any(sign in source for sign in "*?["):
            raise step.error(f"{source!r} leads out of the build context, or is a pattern")
        sources.append(clean)
    if words[-1] == ".":
        words[-1] = "./"
    if len(sources) > 1 and not words[-1].endswith("/"):
        raise step.error("with several sources the target must end in /")
    return Copy(tuple(sources), _absolute(result, step, words[-1]), step.line)


def _environment(step: _Step) -> dict[str, str]:
    pairs = [word.partition("=") for word in _words(step)]
    if not pairs or not all(equals and _ENV_KEY.fullmatch(key) for key, equals, _ in pairs):
        raise step.error("takes KEY=value ...")
    return {key: value for key, _, value in pairs}


def _exec_form(step: _Step) -> list[str]:
    try:
        words = json.loads(step.rest)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise step.error('takes the JSON form ["program", "argument"]: there is no shell in the image')
    return words
