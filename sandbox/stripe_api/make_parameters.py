"""Write `parameters.json`: which parameters Stripe's API knows, read out of stripe-python's own sources.

    python -m sandbox.stripe_api.make_parameters

stripe-python is generated from Stripe's OpenAPI document: each service method names its HTTP method, its path and
a TypedDict of parameters. The sources are parsed, never imported, so that the sandbox neither needs stripe at run
time nor pays for loading it. The file looks like this::

    {"api_version": "…",
     "routes": {"POST /v1/invoices/{}/pay": 12, …},          # number of a shape
     "shapes": [[{"payment_method": "string", …}, ["required", …]], …]}

A type is `"string"`, `"integer"`, `"number"`, `"boolean"`, `"map"` (string to string), `["enum", …]`,
`["list", type]`, `["shape", number]`, `["any", type, …]` or `["empty", type]` (an empty string unsets it).
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

FAMILIES = (
    "/v1/billing/meter_events",
    "/v1/billing/meters",
    "/v1/billing_portal/",
    "/v1/charges",
    "/v1/checkout/sessions",
    "/v1/coupons",
    "/v1/credit_notes",
    "/v1/customers",
    "/v1/disputes",
    "/v1/events",
    "/v1/invoice_payments",
    "/v1/invoiceitems",
    "/v1/invoices",
    "/v1/payment_intents",
    "/v1/payment_methods",
    "/v1/prices",
    "/v1/products",
    "/v1/refunds",
    "/v1/setup_intents",
    "/v1/subscription_items",
    "/v1/subscriptions",
    "/v1/test_helpers/test_clocks",
    "/v1/webhook_endpoints",
)
EXACT = ("/v1/account",)
SCALARS = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "Decimal": "number",
    "UntypedStripeObject": "map",
}
OUTPUT = Path(__file__).with_name("parameters.json")


class Reader:
    """Collects shapes from TypedDict sources; equal shapes are written once."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self.shapes: list[Any] = []
        self._by_text: dict[str, int] = {}
        self._modules: dict[Path, dict[str, ast.ClassDef]] = {}

    def _classes(self, path: Path) -> dict[str, ast.ClassDef]:
        if path not in self._modules:
            tree = ast.parse(path.read_text())
            self._modules[path] = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
        return self._modules[path]

    def shape(self, path: Path, name: str) -> int:
        """The number of the shape that the TypedDict `name` of the module at `path` describes."""
        classes = self._classes(path)
        fields: dict[str, Any] = {}
        required: list[str] = []
        for field, annotation in _fields(classes[name]):
            kind, needed = self._type(path, annotation)
            fields[field] = kind
            if needed:
                required.append(field)
        text = json.dumps([fields, required])
        if text not in self._by_text:
            self._by_text[text] = len(self.shapes)
            self.shapes.append([fields, required])
        return self._by_text[text]

    def _type(self, path: Path, node: ast.expr) -> tuple[Any, bool]:
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "NotRequired":
            return self._kind(path, node.slice), False
        return self._kind(path, node), True

    def _kind(self, path: Path, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self._kind(path, ast.parse(node.value, mode="eval").body)
        if isinstance(node, ast.Name):
            if node.id in SCALARS:
                return SCALARS[node.id]
            if node.id in self._classes(path):
                return ["shape", self.shape(path, node.id)]
            return "string"
        if isinstance(node, ast.BinOp):
            return self._union(path, _flatten(node))
        if isinstance(node, ast.Subscript):
            outer = ast.unparse(node.value)
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if outer == "Literal":
                return ["enum", *(ast.literal_eval(part) for part in parts)]
            if outer in ("List", "list"):
                return ["list", self._kind(path, parts[0])]
            if outer == "UntypedStripeObject":
                return "map"
            if outer in ("Dict", "dict"):
                values = self._kind(path, parts[1])
                return "map" if values == "string" else ["map", values]
            if outer in ("Union", "Optional"):
                return self._union(path, parts)
        return "string"

    def _union(self, path: Path, nodes: list[ast.expr]) -> Any:
        kinds = [self._kind(path, node) for node in nodes]
        empty = ["enum", ""] in kinds
        kinds = [kind for kind in kinds if kind != ["enum", ""]]
        if any(isinstance(kind, list) and kind[0] == "enum" for kind in kinds):
            # The library writes `Literal[…] | str` so that new values type-check; the API knows the list.
            kinds = [kind for kind in kinds if kind != "string"]
        kinds = [kind for n, kind in enumerate(kinds) if kind not in kinds[:n]]
        kind = kinds[0] if len(kinds) == 1 else ["any", *kinds]
        return ["empty", kind] if empty else kind


def _flatten(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [*_flatten(node.left), *_flatten(node.right)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _flatten(ast.parse(node.value, mode="eval").body)
    return [node]


def _fields(node: ast.ClassDef) -> list[tuple[str, ast.expr]]:
    return [
        (item.target.id, item.annotation)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]


def _imports(tree: ast.Module) -> dict[str, str]:
    return {
        alias.name: statement.module
        for statement in ast.walk(tree)
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("stripe.")
        for alias in statement.names
        if statement.module
    }


def _requests(tree: ast.Module) -> list[tuple[str, str, str]]:
    """(HTTP method, path with `{}` for each id, name of the parameters' class) of each synchronous method."""
    found = []
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        for call in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
            if not (isinstance(call.func, ast.Attribute) and call.func.attr == "_request"):
                continue
            target = call.args[1]
            if isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute):
                target = target.func.value
            annotation = next(
                (
                    ast.unparse(a.annotation)
                    for a in function.args.args + function.args.kwonlyargs
                    if a.arg == "params" and a.annotation
                ),
                "",
            )
            names = re.findall(r"\w+Params", annotation)
            if isinstance(target, ast.Constant) and isinstance(target.value, str) and names:
                method = ast.literal_eval(call.args[0]).upper()
                found.append((method, re.sub(r"\{\w+\}", "{}", target.value), names[0]))
    return found


def build(library: Path) -> dict[str, Any]:
    """The whole table, from the installed library's folder."""
    reader = Reader(library)
    routes: dict[str, int] = {}
    for source in sorted(library.rglob("*_service.py")):
        if "v2" in source.parts:
            continue
        text = source.read_text()
        if not any(path in text for path in (*FAMILIES, *EXACT)):  # parsing is what takes long
            continue
        tree = ast.parse(text)
        modules = _imports(tree)
        for method, path, name in _requests(tree):
            if (path in EXACT or path.startswith(FAMILIES)) and name in modules:
                module = library.parent / (modules[name].replace(".", "/") + ".py")
                routes[f"{method} {path}"] = reader.shape(module, name)
    version = re.search(r'CURRENT = "([^"]+)"', (library / "_api_version.py").read_text())
    return {
        "api_version": version.group(1) if version else "",
        "routes": dict(sorted(routes.items())),
        "shapes": reader.shapes,
    }


def main() -> None:
    """Write the file next to this module and say how much it holds."""
    found = importlib.util.find_spec("stripe")
    if found is None or found.origin is None:
        sys.exit("stripe is not installed: pip install the version that requirements.txt pins")
    table = build(Path(found.origin).parent)
    OUTPUT.write_text(json.dumps(table, separators=(",", ":")) + "\n")
    sys.stdout.write(f"{len(table['routes'])} routes, {len(table['shapes'])} shapes\n")


if __name__ == "__main__":
    main()
