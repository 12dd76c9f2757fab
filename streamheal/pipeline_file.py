"""Reads a pipeline file: YAML by the safe loader, overrides, environment; every error with file, line and key."""

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from streamheal.config import PipelineConfig
from streamheal.errors import ConfigError, redact

_MAX_BYTES = 1 << 20  # a pipeline file is written by hand; a larger one is a mistake or an attack
_MAX_NODES = 20_000  # YAML aliases can grow a small file without bound
_MAX_DEPTH = 16  # an alias may name what it lies in
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    file: str
    line: int | None  # from 1; None for an override or the file as a whole
    key: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return redact(f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}")


class PipelineFileError(ConfigError):
    """Carries all problems of a file, not only the first."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))


def load(path: str | Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """The configuration in the file at `path`, with `KEY=VALUE` overrides (dotted keys, YAML values) laid over it.

    Raises PipelineFileError with every problem: file, line, key, what is allowed.
    """
    return read(path, overrides).config


@dataclass(frozen=True, slots=True)
class PipelineFile:
    """A pipeline file that was read and is valid."""

    config: PipelineConfig
    data: dict[str, Any]  # as written, overrides laid over it, `${NAME}` left as it is


def read(path: str | Path, overrides: Sequence[str] = ()) -> PipelineFile:
    """As `load`, with the text's own data beside the configuration."""
    file = str(path)
    written, lines = _parse(path)
    for override in overrides:
        _apply(written, override)
    problems: list[Problem] = []
    data = _with_environment(written, (), file, lines, problems)
    if problems:
        raise PipelineFileError(problems)
    try:
        return PipelineFile(PipelineConfig.model_validate(data), written)
    except ValidationError as error:
        raise PipelineFileError([_problem(e, file, lines) for e in error.errors(include_input=False)]) from None


def _parse(path: str | Path) -> tuple[dict, dict[Key, int]]:
    file = str(path)

    def fail(message: str, line: int | None = None, key: str = ""):
        raise PipelineFileError([Problem(file, line, key, message)])

    try:
        with open(path, "rb") as handle:
            raw = handle.read(_MAX_BYTES + 1)
    except OSError as error:
        fail(f"can't be read: {error.strerror or error}; give the path of a pipeline file, such as pipelines/demo.yaml")
    if len(raw) > _MAX_BYTES:
        fail(f"is larger than {_MAX_BYTES} bytes; that is no pipeline file")
    try:
        text = raw.decode("utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        fail(f"is not UTF-8 text: {error.reason} at byte {error.start}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        fail(f"is not YAML: {getattr(error, 'problem', None) or error}", mark.line + 1 if mark else None)
    if not isinstance(root, yaml.MappingNode):
        fail("must hold keys and values (source, detector, …)", 1)
    lines: dict[Key, int] = {(): 1}
    try:
        for key, line in _walk(root):
            if key in lines:
                fail(f"given twice; first in line {lines[key]}", line, dotted(key))
            lines[key] = line
    except _TooMuch as error:
        fail(str(error))
    try:
        return yaml.safe_load(text), lines
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        fail(f"is not plain YAML: {getattr(error, 'problem', None) or error}", mark.line + 1 if mark else None)


class _TooMuch(ValueError):
    """The text stands for more than a pipeline file has."""


def _walk(root: yaml.Node) -> Iterator[tuple[Key, int]]:
    """Every key below `root` with its line. Raises _TooMuch, and so ends, whatever aliases make of the text."""
    waiting: list[tuple[Key, yaml.Node]] = [((), root)]
    count = 0
    while waiting:
        at, node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            below = [((*at, str(name.value)), name, value) for name, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            below = [((*at, index), value, value) for index, value in enumerate(node.value)]
        else:
            continue
        count += len(below)
        if count > _MAX_NODES:
            raise _TooMuch(f"has more than {_MAX_NODES} values; that is no pipeline file")
        if below and len(at) == _MAX_DEPTH:
            raise _TooMuch(f"is nested more than {_MAX_DEPTH} deep; that is no pipeline file")
        yield from ((key, named.start_mark.line + 1) for key, named, _ in below)
        waiting += [(key, value) for key, _, value in below]


def _apply(data: dict, override: str) -> None:
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {redact(override)}: write KEY=VALUE, for example --set output.path=out")
    try:
        if (root := yaml.compose(text, Loader=yaml.SafeLoader)) is not None:
            for _ in _walk(root):
                pass
        value = yaml.safe_load(text)
    except _TooMuch as error:
        raise ConfigError(f"--set {name}: the value {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--set {name}: the value is not YAML: {getattr(error, 'problem', None) or error}") from None
    # A chosen source replaces the one in the file: `--set source.path=…` on the demo's file means that path.
    if keys[0] == "source" and len(keys) > 1 and isinstance(data.get("source"), dict) and keys[1] not in data["source"]:
        data["source"] = {}
    at: Any = data
    for step, key in enumerate(keys[:-1]):
        if isinstance(at, list):
            at = at[_index(at, key, name)]
        else:
            if at.get(key) is None:
                at[key] = {}
            at = at[key]
        if not isinstance(at, dict | list):
            raise ConfigError(f"--set {name}: {'.'.join(keys[: step + 1])} is a value and has no keys")
    if isinstance(at, list):
        at[_index(at, keys[-1], name)] = value
    else:
        at[keys[-1]] = value


def _index(items: list, key: str, name: str) -> int:
    if not key.isdigit() or int(key) >= len(items):
        raise ConfigError(f"--set {name}: {key!r} is not an index of a list with {len(items)} items")
    return int(key)


def _with_environment(value: Any, at: Key, file: str, lines: dict[Key, int], problems: list[Problem]) -> Any:
    if isinstance(value, dict):
        return {k: _with_environment(v, (*at, str(k)), file, lines, problems) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_environment(v, (*at, i), file, lines, problems) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    if not _can_be_a_name(value):
        problems.append(Problem(file, _line(at, lines), dotted(at), "holds a character that no text or path can have"))

    def look_up(match: re.Match) -> str:
        if match[1] not in os.environ:
            problems.append(Problem(file, _line(at, lines), dotted(at), f"environment variable {match[1]} is not set"))
        return os.environ.get(match[1], "")

    return _VARIABLE.sub(look_up, value)


def _can_be_a_name(value: str) -> bool:
    """False with a NUL, which ends a path, or half a character, which can't be written."""
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _problem(error: dict, file: str, lines: dict[Key, int]) -> Problem:
    key: Key = tuple(error["loc"])
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if error["type"] == "extra_forbidden":
        allowed = _allowed(key[:-1])
        close = difflib.get_close_matches(str(key[-1]), allowed, n=1)
        message = f"unknown key; allowed here: {', '.join(allowed)}" + (f"; did you mean {close[0]}?" if close else "")
    elif error["type"] == "missing":
        message = "is missing"
    return Problem(file, _line(key, lines), dotted(key), message)


def _line(key: Key, lines: dict[Key, int]) -> int | None:
    while key and key not in lines:
        key = key[:-1]
    return lines.get(key)


def _allowed(key: Key) -> list[str]:
    """The keys that the section at `key` takes."""
    model: Any = PipelineConfig
    for part in key:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        candidates += [inner for c in candidates for inner in getattr(c, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)


def dotted(key: Key) -> str:
    """`("source", "cameras", 0, "url")` as `source.cameras[0].url`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
