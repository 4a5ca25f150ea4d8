"""The API rules of the design, over the generated CRDs: what `kubectl explain` prints and the API server enforces."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tunewright.api.crd import DEFINITIONS, KindDefinition, crd
from tunewright.cli import generate

MAX_YAML_BYTES = 250_000
ENUM = re.compile(r"^[A-Z][A-Za-z0-9]*$")
"""CamelCase; acronyms (`JSON`, `BF16`) are words of the field."""
ALLOWED_KEYS = {
    "type", "description", "properties", "required", "items", "enum", "default", "format", "pattern", "minLength", "maxLength", "minItems",
    "maxItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
}  # fmt: skip

every_kind = pytest.mark.parametrize("kind", DEFINITIONS, ids=lambda kind: kind.short)


def version(kind: KindDefinition) -> dict[str, Any]:
    return crd(kind)["spec"]["versions"][0]


def root(kind: KindDefinition) -> dict[str, Any]:
    return version(kind)["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema below `schema` with its path, `[]` for items."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def ours(kind: KindDefinition) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the nodes of spec and status; the rest of the root is Kubernetes' own."""
    for part in ("spec", "status"):
        yield from nodes(root(kind)["properties"][part], f".{part}")


def wrong(kind: KindDefinition, is_wrong: Any) -> list[str]:
    return [path for path, node in ours(kind) if is_wrong(path, node)]


@every_kind
def test_the_crd_is_small_enough_for_the_api_server(kind):
    assert len(yaml.safe_dump(crd(kind))) < MAX_YAML_BYTES


@every_kind
def test_only_structural_keys_are_used(kind):
    assert {key for _, node in ours(kind) for key in node} <= ALLOWED_KEYS


@every_kind
def test_strings_are_bounded(kind):
    def unbounded(path, node):
        return node.get("type") == "string" and not ("maxLength" in node or "enum" in node or "format" in node)

    assert wrong(kind, unbounded) == []


@every_kind
def test_lists_are_bounded_and_say_how_they_merge(kind):
    def bad(path, node):
        return node.get("type") == "array" and not ("maxItems" in node and node.get("x-kubernetes-list-type") in ("atomic", "set", "map"))

    assert wrong(kind, bad) == []


@every_kind
def test_keys_of_list_maps_are_required_or_have_a_default(kind):
    for path, node in ours(kind):
        for key in node.get("x-kubernetes-list-map-keys", []):
            item = node["items"]
            assert key in item.get("required", []) or "default" in item["properties"][key], (path, key)


@every_kind
def test_numbers_of_the_spec_are_bounded_on_both_sides(kind):
    def bad(path, node):
        return path.startswith(".spec") and node.get("type") in ("integer", "number") and not ("minimum" in node and "maximum" in node)

    assert wrong(kind, bad) == []


@every_kind
def test_objects_have_named_properties_and_nothing_else(kind):
    def bad(path, node):
        return node.get("type") == "object" and (not node.get("properties") or "additionalProperties" in node or "x-kubernetes-preserve-unknown-fields" in node)

    assert wrong(kind, bad) == []


@every_kind
def test_every_node_has_a_type(kind):
    assert wrong(kind, lambda path, node: "type" not in node) == []


@every_kind
def test_required_properties_exist(kind):
    assert wrong(kind, lambda path, node: not set(node.get("required", [])) <= node.get("properties", {}).keys()) == []


@every_kind
def test_enums_are_camel_case(kind):
    assert [(path, value) for path, node in ours(kind) for value in node.get("enum", []) if not ENUM.match(value)] == []


@every_kind
def test_property_names_are_lower_camel_case(kind):
    names = [name for _, node in ours(kind) for name in node.get("properties", {})]
    assert [name for name in names if not re.fullmatch(r"[a-z][A-Za-z0-9]*", name)] == []


@every_kind
def test_durations_and_sizes_have_their_unit_in_the_name(kind):
    """An integer that measures time or size says in what."""
    vague = re.compile(r"(timeout|deadline|duration|interval|ttl|period|eta|memory|size)$", re.IGNORECASE)
    assert wrong(kind, lambda path, node: node.get("type") in ("integer", "number") and vague.search(path) and not path.endswith("batchSize")) == []


@every_kind
def test_every_property_has_a_description_that_begins_with_its_name(kind):
    bad = []
    for path, node in ours(kind):
        for name, child in node.get("properties", {}).items():
            description = child.get("description", "")
            if not re.match(rf"{name}\b", description) or len(description) < len(name) + 5:
                bad.append((f"{path}.{name}", description))
    assert bad == []


@every_kind
def test_descriptions_are_sentences_on_one_line(kind):
    assert (
        wrong(kind, lambda path, node: "description" in node and (not node["description"].strip().endswith((".", "`")) or len(node["description"]) > 400)) == []
    )


@every_kind
def test_validations_say_what_is_allowed(kind):
    for path, node in nodes(root(kind)):
        for rule in node.get("x-kubernetes-validations", []):
            assert len(rule.get("message", "")) > 15, (path, rule)
            assert "`" in rule["message"], f"{path}: the message names no field: {rule}"
            assert "\n" not in rule["message"]


@every_kind
def test_defaults_fit_their_bounds(kind):
    for path, node in ours(kind):
        if isinstance(default := node.get("default"), int | float) and not isinstance(default, bool):
            assert node["minimum"] <= default <= node["maximum"], path


@every_kind
def test_conditions_follow_the_conventions(kind):
    conditions = root(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert set(conditions["items"]["required"]) == {"type", "status", "reason", "message", "observedGeneration", "lastTransitionTime"}
    properties = conditions["items"]["properties"]
    assert properties["status"]["enum"] == ["True", "False", "Unknown"]
    assert properties["lastTransitionTime"]["format"] == "date-time"


@every_kind
def test_the_status_is_a_subresource_with_observed_generation(kind):
    assert version(kind)["subresources"] == {"status": {}}
    assert "observedGeneration" in root(kind)["properties"]["status"]["properties"]
    assert "required" not in root(kind)["properties"]["status"], "a status may be empty"


def test_names_are_those_of_the_design():
    found = {(kind.kind.value, crd(kind)["spec"]["names"]["shortNames"][0]) for kind in DEFINITIONS}
    assert found == {("FineTuneJob", "ftj"), ("ModelMerge", "mmerge"), ("Evaluation", "tfeval"), ("InferenceService", "tfisvc")}
    assert all(crd(kind)["spec"]["scope"] == "Namespaced" and crd(kind)["spec"]["group"] == "tunewright.dev" for kind in DEFINITIONS)


@every_kind
def test_printer_columns_are_of_the_schema(kind):
    columns = version(kind)["additionalPrinterColumns"]
    assert "Age" in [column["name"] for column in columns]
    assert len([column for column in columns if "priority" not in column]) <= 8, "a table must fit a terminal"
    types = {"string": "string", "integer": "integer", "number": "number", "date": "string"}
    for column in columns:
        if column["jsonPath"].startswith(".metadata."):
            continue
        node = root(kind)
        for name in re.sub(r"\[\?\(@\.type==\"\w+\"\)\]", "", column["jsonPath"]).strip(".").split("."):
            node = node.get("items", node)["properties"][name]
        assert node["type"] == types[column["type"]], column


@every_kind
def test_immutable_fields_cannot_come_or_go(kind):
    spec = root(kind)["properties"]["spec"]
    rules = " ".join(rule["rule"] for rule in spec.get("x-kubernetes-validations", []))
    for name, field in spec["properties"].items():
        frozen = any(rule["rule"] == "self == oldSelf" for rule in field.get("x-kubernetes-validations", []))
        if frozen and name not in spec["required"] and "default" not in field:
            assert f"has(self.{name}) == has(oldSelf.{name})" in rules, name


def test_no_spec_has_a_pod_spec_inside():
    banned = {"containers", "podTemplate", "template", "env", "image", "command", "securityContext", "volumes"}
    for kind in DEFINITIONS:
        assert banned.isdisjoint({name for _, node in nodes(root(kind)["properties"]["spec"]) for name in node.get("properties", {})})


def test_generated_files_do_not_drift(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert generate.main() == 0, capsys.readouterr().out
