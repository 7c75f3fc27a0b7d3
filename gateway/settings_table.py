"""All settings as a table for people: names, defaults, and the words that stand below each where it is declared."""

import ast
import inspect
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from gateway import media_settings, settings
from gateway.settings import Settings


def settings_table() -> str:
    """Markdown, a row a setting, in the order of the settings."""
    words = _words()
    rows = ["| setting | environment | default | |", "|---|---|---|---|"]
    for name, owner, default in _settings(Settings, Settings.model_construct(), ""):
        variable = "GATEWAY_" + name.upper().replace(".", "__")
        text = words.get((owner, name.rpartition(".")[2]), "")
        rows.append(f"| `{name}` | `{variable}` | {_shown(default)} | {text} |")
    return "\n".join(rows)


def _settings(model: type[BaseModel], value: BaseModel, prefix: str) -> Iterator[tuple[str, str, Any]]:
    """Dotted name, class that has it, default."""
    for name in model.model_fields:
        inner = getattr(value, name)
        if isinstance(inner, BaseModel):
            yield from _settings(type(inner), inner, f"{prefix}{name}.")
        else:
            yield prefix + name, model.__name__, inner


def _shown(default: Any) -> str:
    if default is None or default == "":
        return ""
    if isinstance(default, dict) and default == settings.DEFAULT_QUOTAS:
        return "see below"
    if isinstance(default, tuple):
        return f"`{json.dumps(default)}`"
    if isinstance(default, bool | dict):
        return f"`{json.dumps(default)}`"
    return f"`{default}`"


def _words() -> dict[tuple[str, str], str]:
    """The string below each field, by class and field."""
    found: dict[tuple[str, str], str] = {}
    nodes = (node for module in (settings, media_settings) for node in ast.parse(inspect.getsource(module)).body)
    for node in nodes:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, after in zip(node.body, node.body[1:], strict=False):
            match field, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[node.name, name] = " ".join(text.split())
                case _:
                    pass
    return found
