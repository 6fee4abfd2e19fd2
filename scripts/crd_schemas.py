"""What an operator's own resources may hold, in exactly the version that deploy/k8s/README.md asks for at least.

`python -m scripts.crd_schemas NAME VERSION LICENCE CRD.yaml…` reads the CustomResourceDefinitions of a release, and writes the part of their
schemas that our manifests use to `tests/unit/deploy/crds/NAME.json`, without descriptions. It refuses a field that the release does not have.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tests.unit.deploy.manifests import OVERLAYS, documents, rendered, rendered_text

Schema = dict[str, Any]

FOLDER: Final = Path(__file__).parents[1] / "tests" / "unit" / "deploy" / "crds"
KEPT: Final = (
    "type",
    "enum",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "required",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
)
EXAMPLES: Final = ("examples/argocd", "examples/flux/rest", "examples/restore-drill")


class NotThere(Exception):
    """A manifest has a field that this release does not know."""


def used(schema: Schema, values: Iterable[Any], path: str) -> Schema:
    """The part of a schema that these values use. Raises NotThere."""
    kept = {key: schema[key] for key in KEPT if key in schema}
    objects = [value for value in values if isinstance(value, dict)]
    lists = [value for value in values if isinstance(value, list)]
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties")
    names = sorted({name for value in objects for name in value})
    for name in names:
        inner = [value[name] for value in objects if name in value]
        if name in properties:
            part = used(properties[name], inner, f"{path}.{name}")
            kept.setdefault("properties", {})[name] = part
        elif isinstance(more, dict):
            kept["additionalProperties"] = used(more, inner, f"{path}.*")
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            raise NotThere(f"{path}.{name}")
    if properties and more is None and not schema.get("x-kubernetes-preserve-unknown-fields"):
        kept.setdefault("properties", {})
        kept["additionalProperties"] = False
    if lists and "items" in schema:
        entries = [entry for value in lists for entry in value]
        kept["items"] = used(schema["items"], entries, f"{path}[]")
    return kept


def ours() -> list[dict[str, Any]]:
    """All that the overlays and examples render to."""
    found = [one for overlay in OVERLAYS for one in rendered(overlay)]
    for example in EXAMPLES:
        found += documents(rendered_text(example))
    return found


def schemas(files: Iterable[Path], resources: list[dict[str, Any]]) -> dict[str, Schema]:
    """`group/version Kind` with its schema, for those kinds that we use."""
    made = {}
    for file in files:
        (definition,) = documents(file.read_text())
        spec = definition["spec"]
        for version in spec["versions"]:
            name = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
            values = [one for one in resources if (one["apiVersion"], one["kind"]) == name]
            if values:
                schema = version["schema"]["openAPIV3Schema"]
                schema["properties"] = {
                    key: schema["properties"][key]
                    for key in schema["properties"]
                    if key != "metadata"
                } | {"metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
                made[" ".join(name)] = used(schema, values, name[1])
    return made


def main() -> None:
    """Write one operator's file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("version")
    parser.add_argument("licence")
    parser.add_argument("crds", nargs="+", type=Path)
    asked = parser.parse_args()
    document = {
        "of": asked.name,
        "version": asked.version,
        "licence": asked.licence,
        "schemas": schemas(asked.crds, ours()),
    }
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{asked.name}.json").write_text(
        json.dumps(document, indent=1, sort_keys=True) + "\n"
    )


if __name__ == "__main__":
    main()
