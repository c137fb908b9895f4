"""The route table as an OpenAPI 3.1 document; `python -m gateway.esdk_server.openapi` writes esdk/openapi.json."""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from pathlib import Path
from typing import Any, Final

from gateway import __version__
from gateway.esdk_server.routes import ROUTES, Route

TARGET: Final = Path(__file__).parents[2] / "esdk" / "openapi.json"
_SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}
_ERRORS: Final = {
    "400": "The request is wrong; `problems` names every path",
    "403": "The manifest does not grant it; `hint` names the key that would allow it",
    "404": "There is no such port, line or call",
    "503": "Not now; try again",
    "504": "The device did not answer",
}


def document() -> dict[str, Any]:
    """The whole document as a JSON value."""
    schemas: dict[str, Any] = {"Error": _error_schema()}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fieldgate eSDK",
            "version": __version__,
            "description": "HTTP/1.1 on the Unix socket /run/esdk/esdk.sock. The socket is the caller's identity.",
        },
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def render() -> str:
    return json.dumps(document(), indent=1, sort_keys=False) + "\n"


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    content = "text/event-stream" if route.stream else "application/json"
    operation: dict[str, Any] = {
        "summary": route.summary,
        "description": f"Needs `x-esdk.{route.needs}` in the manifest." if route.needs else "Open to every APP.",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _path_parameters(route.path)
        ]
        + [{"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in route.query],
        "responses": {
            "200": {"description": "Done", "content": {content: {}}},
            **{
                status: {
                    "description": text,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
                for status, text in _ERRORS.items()
            },
        },
    }
    if route.body is not None:
        schema = _schema(route.body, schemas)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _path_parameters(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    origin = typing.get_origin(kind)
    if origin is tuple:
        return {"type": "array", "items": _schema(typing.get_args(kind)[0], schemas)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(member, schemas) for member in typing.get_args(kind)]}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        schemas[kind.__name__] = _object(kind, schemas)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    raise TypeError(f"no schema for {kind}")


def _object(kind: type, schemas: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    required = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": {field.name: _schema(hints[field.name], schemas) for field in fields},
    }


def _error_schema() -> dict[str, Any]:
    text = {"type": "string"}
    problem = {"type": "object", "properties": {"path": text, "message": text}}
    return {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": text, "message": text, "hint": text, "problems": {"type": "array", "items": problem}},
    }


if __name__ == "__main__":
    TARGET.write_text(render())
