"""`media/_core.pyi` says what the built module offers: the same names, parameters, defaults and properties."""

import ast
import inspect
from pathlib import Path
from types import GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

import pytest

import media
from media import _core

STUB = Path(media.__file__).with_name("_core.pyi")
TREE = ast.parse(STUB.read_text(encoding="utf-8"))
CLASSES = [node for node in TREE.body if isinstance(node, ast.ClassDef)]
FUNCTIONS = [node for node in TREE.body if isinstance(node, ast.FunctionDef)]


def parameters(function: ast.FunctionDef) -> list[tuple[str, str, object]]:
    """Name, kind and default of each parameter in the stub, without self and cls."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    described = [
        (argument.arg, "positional", value(default)) for argument, default in zip(positional, defaults, strict=True)
    ]
    described += [
        (argument.arg, "keyword", value(default))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return [each for each in described if each[0] not in {"self", "cls"}]


def value(default: ast.expr | None) -> object:
    return inspect.Parameter.empty if default is None else ast.literal_eval(default)


def signature(built: Any) -> list[tuple[str, str, object]]:
    kinds = {
        inspect.Parameter.POSITIONAL_ONLY: "positional",
        inspect.Parameter.POSITIONAL_OR_KEYWORD: "positional",
        inspect.Parameter.KEYWORD_ONLY: "keyword",
    }
    given = inspect.signature(built).parameters.values()
    return [(each.name, kinds[each.kind], comparable(each)) for each in given if each.name != "self"]


def comparable(parameter: inspect.Parameter) -> object:
    """An empty sequence is one default, be it a list or a tuple."""
    return () if parameter.default == [] else parameter.default


def is_property(node: ast.FunctionDef) -> bool:
    return any(isinstance(decorator, ast.Name) and decorator.id == "property" for decorator in node.decorator_list)


def members(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [child for child in node.body if isinstance(child, ast.FunctionDef)]


def public(thing: type | ModuleType) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


def test_the_module_offers_what_the_stub_says() -> None:
    types = {"Transport"}  # exist for the type checker alone
    assigned = {
        node.target.id for node in TREE.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    named = {node.name for node in [*CLASSES, *FUNCTIONS]}
    assert public(_core) == named - types
    assert assigned == {"__version__"}
    assert isinstance(_core.__version__, str)


@pytest.mark.parametrize("node", CLASSES, ids=lambda node: node.name)
def test_a_class_is_as_the_stub_says(node: ast.ClassDef) -> None:
    built = getattr(_core, node.name)
    bases = {base.id for base in node.bases if isinstance(base, ast.Name)} - {"Exception"}
    assert {base.__name__ for base in built.__mro__[1:] if base.__module__ == "media._core"} == bases
    named = {member.name: member for member in members(node)}
    assert public(built) == {name for name in named if not name.startswith("_")}
    for name, member in named.items():
        if name == "__new__":
            assert signature(built) == parameters(member)
        elif is_property(member):
            assert isinstance(vars(built)[name], GetSetDescriptorType | MemberDescriptorType), name
        else:
            assert signature(vars(built)[name]) == parameters(member), name


@pytest.mark.parametrize("node", FUNCTIONS, ids=lambda node: node.name)
def test_a_function_is_as_the_stub_says(node: ast.FunctionDef) -> None:
    assert signature(getattr(_core, node.name)) == parameters(node)
