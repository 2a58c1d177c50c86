"""Answers of the sandbox in a form that the caller gives: whatever the schema, they hold under it, and an independent judge says so."""

import json
import random
import urllib.error
import urllib.request

import jsonschema
import pytest


def object_of(properties: dict, *required: str, **more) -> dict:
    return {"type": "object", "properties": properties, "required": list(required), **more}


NODE = {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}

SCHEMAS = {
    "optional": object_of({"a": {"type": "string"}, "b": {"type": "integer"}}, "b"),
    "nothing-required": object_of({"a": {"type": "string"}}),
    "exclusive": object_of({"a": {"type": "integer", "exclusiveMinimum": 10}, "b": {"type": "number", "exclusiveMaximum": -3}}, "a", "b"),
    "exclusive-narrow": object_of({"a": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001}}, "a"),
    "exclusive-and-inclusive": object_of({"a": {"type": "integer", "minimum": 5, "exclusiveMinimum": 5, "maximum": 7, "exclusiveMaximum": 7}}, "a"),
    "multiple": object_of({"a": {"type": "integer", "minimum": 100, "multipleOf": 7}, "b": {"type": "number", "multipleOf": 0.25, "minimum": 0.6}}, "a", "b"),
    "multiples-met-together": object_of({"a": {"allOf": [{"multipleOf": 6}, {"multipleOf": 4}, {"minimum": 13}]}}, "a"),
    "negative": object_of({"a": {"type": "integer", "maximum": -100}, "b": {"type": "number", "minimum": -2, "maximum": -1}}, "a", "b"),
    "large": object_of({"a": {"type": "integer", "minimum": 9007199254740993}}, "a"),
    "length": object_of({"a": {"type": "string", "minLength": 30, "maxLength": 31}, "b": {"type": "string", "maxLength": 2}}, "a", "b"),
    "empty-text": object_of({"a": {"type": "string", "maxLength": 0}}, "a"),
    "patterns": object_of(
        {
            "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d{4}$"},
            "slug": {"type": "string", "pattern": "^[a-z0-9]+(?:-[a-z0-9]+)*$", "minLength": 12},
            "phone": {"type": "string", "pattern": "^(\\([0-9]{3}\\))?[0-9]{3}-[0-9]{4}$"},
            "part": {"type": "string", "pattern": "b+c", "maxLength": 2},
            "word": {"type": "string", "pattern": "^[\\w.-]{1,256}$"},
            "either": {"type": "string", "pattern": "^(?:https?|ftp)://[^\\s/$.?#].[^\\s]*$"},
            "not": {"type": "string", "pattern": "^[^@\\s]+@[^@\\s]+$"},
            "two": {"allOf": [{"pattern": "^a"}, {"pattern": "z$"}, {"pattern": "^a.*z$"}]},
        },
        *["code", "slug", "phone", "part", "word", "either", "not", "two"],
    ),
    "formats": object_of(
        {
            name: {"type": "string", "format": name}
            for name in ["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "uuid", "regex", "json-pointer"]
        },
        *["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "uuid", "regex", "json-pointer"],
    ),
    "format-and-length": object_of({"a": {"type": "string", "format": "email", "minLength": 40}, "b": {"type": "string", "format": "email", "maxLength": 8}}, "a", "b"),
    "enum-and-const": object_of({"a": {"enum": [None, 3, "x"]}, "b": {"const": {"deep": [1]}}, "c": {"type": "string", "enum": [5, "five"]}}, "a", "b", "c"),
    "nullable": object_of({"a": {"type": ["null", "integer"]}, "b": {"anyOf": [{"type": "null"}, {"type": "string"}]}}, "a", "b"),
    "array": object_of({"a": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 4}}, "a"),
    "array-empty": object_of({"a": {"type": "array", "items": {"type": "string"}, "maxItems": 0}}, "a"),
    "array-unique": object_of(
        {
            "numbers": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 5}, "minItems": 5, "uniqueItems": True},
            "words": {"type": "array", "items": {"type": "string", "maxLength": 1}, "minItems": 12, "uniqueItems": True},
            "coded": {"type": "array", "items": {"type": "string", "pattern": "^x[0-9]$"}, "minItems": 10, "uniqueItems": True},
            "objects": {"type": "array", "items": object_of({"id": {"type": "integer"}}, "id"), "minItems": 4, "uniqueItems": True},
            "picked": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
            "mails": {"type": "array", "items": {"type": "string", "format": "email"}, "minItems": 3, "uniqueItems": True},
            "both": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "uniqueItems": True},
            "pairs": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}, "minItems": 3, "uniqueItems": True},
        },
        *["numbers", "words", "coded", "objects", "picked", "mails", "both", "pairs"],
    ),
    "tuple": object_of({"a": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False}}, "a"),
    "tuple-and-more": object_of({"a": {"type": "array", "prefixItems": [{"const": 1}], "items": {"type": "boolean"}, "minItems": 3}}, "a"),
    "contains": object_of({"a": {"type": "array", "contains": {"type": "integer", "minimum": 7}, "minContains": 2, "minItems": 3, "items": {"type": "integer"}}}, "a"),
    "any-of": object_of({"a": {"anyOf": [{"type": "string", "minLength": 3, "maxLength": 2}, {"type": "integer", "minimum": 4}]}}, "a"),
    "one-of": object_of({"a": {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 0}]}}, "a"),
    "one-of-objects": {"oneOf": [object_of({"kind": {"const": "cat"}, "lives": {"type": "integer"}}, "kind", "lives"), object_of({"kind": {"const": "dog"}}, "kind")]},
    "all-of": {"allOf": [object_of({"a": {"type": "integer"}}, "a"), object_of({"a": {"minimum": 50}, "b": {"type": "string"}}, "b")]},
    "all-of-within-any-of": {"type": "object", "allOf": [{"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}], "properties": {"a": False, "b": {"type": "null"}}},
    "not": object_of({"a": {"type": "string", "not": {"const": "sandbox"}}, "b": {"not": {"type": ["string", "object", "array", "null"]}}}, "a", "b"),
    "if-then-else": object_of(
        {"kind": {"enum": ["card", "cash"]}, "number": {"type": "string", "minLength": 4}},
        "kind",
        **{"if": {"properties": {"kind": {"const": "card"}}}, "then": {"required": ["number"]}, "else": {"properties": {"number": False}}},
    ),
    "dependent": object_of({"a": {"const": 1}, "b": {"type": "integer"}, "c": {"type": "integer"}}, "a", dependentRequired={"a": ["b"], "b": ["c"]}),
    "dependent-schemas": object_of({"a": {"const": 1}, "b": {"type": "integer"}}, "a", dependentSchemas={"a": {"required": ["b"], "properties": {"b": {"minimum": 9}}}}),
    "references": {
        "type": "object",
        "properties": {"from": {"$ref": "#/$defs/place"}, "to": {"$ref": "#/$defs/place"}},
        "required": ["from", "to"],
        "$defs": {"place": object_of({"at": {"$ref": "#/$defs/number"}}, "at"), "number": {"type": "number", "exclusiveMinimum": 1}},
    },
    "definitions": {"$ref": "#/definitions/a", "definitions": {"a": object_of({"x~y": {"$ref": "#/definitions/b~1c"}}, "x~y"), "b/c": {"type": "integer"}}},
    "reference-beside": object_of({"a": {"$ref": "#/$defs/n", "minimum": 8}}, "a", **{"$defs": {"n": {"type": "integer"}}}),
    "anchor": object_of({"a": {"$ref": "#it"}}, "a", **{"$defs": {"x": {"$anchor": "it", "type": "boolean"}}}),
    "list-in-itself": {**NODE, "required": ["next", "value"], "$defs": {"node": {**NODE, "required": ["next", "value"]}}},
    "tree-in-itself": object_of({"children": {"type": "array", "items": {"$ref": "#"}}, "parent": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "children", "parent"),
    "expression-in-itself": {
        "$ref": "#/$defs/e",
        "$defs": {
            "e": {"oneOf": [object_of({"left": {"$ref": "#/$defs/e"}, "right": {"$ref": "#/$defs/e"}}, "left", "right"), object_of({"value": {"type": "number"}}, "value")]}
        },
    },
    "no-more": object_of({"a": {"type": "string"}}, "a", additionalProperties=False),
    "more-by-rule": object_of({}, "x", "y", additionalProperties={"type": "integer", "minimum": 3}),
    "more-by-pattern": object_of({}, "n_1", patternProperties={"^n_": {"type": "integer"}, "_1$": {"minimum": 6}}, additionalProperties=False),
    "at-least": object_of({"a": {"type": "string"}}, minProperties=3, additionalProperties={"type": "boolean"}),
    "at-least-by-pattern": object_of({}, minProperties=3, patternProperties={"^k[0-9]$": {"type": "integer"}}, additionalProperties=False),
    "names": object_of({}, minProperties=2, propertyNames={"pattern": "^[A-Z]{3}$"}),
    "unevaluated": {"allOf": [object_of({"a": {"type": "string"}}, "a")], "unevaluatedProperties": False},
    "default-that-does-not-hold": object_of({"a": {"type": "integer", "minimum": 5, "default": 1}, "b": {"type": "integer", "default": 42}}, "a", "b"),
    "any-value": object_of({"a": {}, "b": True}, "a", "b"),
    "strict": object_of({"steps": {"type": "array", "items": object_of({"t": {"type": "string"}}, "t", additionalProperties=False)}}, "steps", additionalProperties=False),
    "deep": object_of({"a": object_of({"b": object_of({"c": object_of({"d": {"type": "array", "items": {"type": "integer"}}}, "d")}, "c")}, "b")}, "a"),
}


def value_of(schema: dict, **more) -> dict:
    return object_of({"v": schema}, "v", **more)


NUMBERS = {
    **{f"number-from-{low}": {"type": "number", "minimum": low} for low in (1e19, 1e20, 2**63, 1e30, 10**23, 2**64 + 1, 1e300, 1e-15, -1e-15)},
    **{f"number-to-{high}": {"type": "number", "maximum": high} for high in (1e-15, -1e-15, -1e30, -(10**23), -(2**63) - 1, -1e300)},
    **{f"number-above-{low}": {"type": "number", "exclusiveMinimum": low} for low in (0, 1e-15, 2**53, 2**63, 1e30, 1e300)},
    **{f"whole-from-{low}": {"type": "integer", "minimum": low} for low in (2**53 + 1, 10**18, 2**63, 2**64 - 1, 2**64 + 1, 1e20, 1e30, 10**23, 1e-15)},
    **{f"whole-to-{high}": {"type": "integer", "maximum": high} for high in (-(2**63), -(2**63) - 1, -1e30, -1e-15)},
    **{f"whole-above-{low}": {"type": "integer", "exclusiveMinimum": low} for low in (2**53, 2**63 - 1, 2**64 - 1, 1e30)},
    **{f"multiple-of-{step}": {"type": "number", "multipleOf": step, "exclusiveMinimum": 0} for step in (0.1, 0.01, 1e-6, 1e-13, 2.5, 1e20, 1e30, 2**63)},
    **{f"whole-multiple-of-{step}": {"type": "integer", "multipleOf": step, "minimum": 1e30} for step in (3, 7, 10, 1000, 2.5)},
    **{f"multiple-of-{step}-from-2-63": {"type": "integer", "multipleOf": step, "minimum": 2**63} for step in (3, 7, 10, 12_345)},
    "near-zero": {"type": "number", "minimum": 0, "maximum": 1e-15},
    "near-zero-below": {"type": "number", "minimum": -1e-12, "maximum": -1e-13},
    "near-zero-within": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-12},
    "near-zero-far": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-300},
    "near-zero-multiple": {"type": "number", "exclusiveMinimum": 0, "maximum": 1e-12, "multipleOf": 1e-13},
    "narrow": {"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.10000000000000003},
    "narrow-and-large": {"type": "number", "exclusiveMinimum": 1e30, "exclusiveMaximum": 1.0000000000000005e30},
    "narrow-and-whole": {"type": "integer", "exclusiveMinimum": 10**18, "maximum": 10**18 + 1},
    "wide": {"type": "number", "exclusiveMinimum": -1.7e308, "exclusiveMaximum": 1.7e308},
    "several-numbers": {"type": "array", "items": {"type": "number", "minimum": 1e30}, "minItems": 5, "uniqueItems": True},
    "several-within": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-15}, "minItems": 5, "uniqueItems": True},
}
SCHEMAS |= {name: value_of(schema) for name, schema in NUMBERS.items()}
SCHEMAS |= {
    **{f"long-array-{least}": value_of({"type": "array", "items": {"type": "number"}, "minItems": least, "maxItems": least}) for least in (1_000, 1_536, 3_072, 8_192)},
    "long-array-of-objects": value_of({"type": "array", "items": object_of({"a": {"type": "string"}, "b": {"type": "integer"}}, "a", "b"), "minItems": 1_200}),
    "long-array-of-anything": value_of({"type": "array", "minItems": 2_000}),
    "long-array-that-contains": value_of({"type": "array", "items": {"type": "integer"}, "contains": {"const": 7}, "minContains": 3, "maxContains": 3, "minItems": 1_500}),
    "long-arrays": value_of({"type": "array", "items": {"type": "array", "items": {"type": "number"}, "minItems": 512}, "minItems": 12}),
    "long-tuple": value_of({"type": "array", "prefixItems": [{"const": "a"}] * 3 + [{"const": "b"}], "items": {"type": "null"}, "minItems": 1_100}),
    "encoded-reference": value_of({"$ref": "#/$defs/Box%3Cstring%3E"}, **{"$defs": {"Box<string>": {"type": "integer", "minimum": 4}}}),
    "encoded-and-escaped-reference": value_of({"$ref": "#/$defs/A%20b~1c~0d"}, **{"$defs": {"A b/c~d": {"type": "integer", "minimum": 4}}}),
    "encoded-letter": value_of({"$ref": "#/$defs/%C3%BCber"}, **{"$defs": {"über": {"type": "null"}}}),
    "own-address": value_of({"$ref": "https://e.com/s.json#/$defs/a"}, **{"$id": "https://e.com/s.json", "$defs": {"a": {"type": "null"}}}),
    "own-address-shortened": value_of({"$ref": "s.json#/$defs/a"}, **{"$id": "https://e.com/s.json", "$defs": {"a": {"type": "null"}}}),
    "address-within": value_of({"$ref": "a.json"}, **{"$id": "https://e.com/s.json", "$defs": {"a": {"$id": "a.json", "type": "null"}}}),
    "address-within-and-anchor": value_of({"$ref": "a.json#it"}, **{"$id": "https://e.com/s.json", "$defs": {"a": {"$id": "a.json", "$defs": {"b": {"$anchor": "it", "type": "null"}}}}}),
    "address-within-and-pointer": value_of({"$ref": "a.json#/$defs/b"}, **{"$id": "https://e.com/s.json", "$defs": {"a": {"$id": "a.json", "$defs": {"b": {"type": "null"}}}}}),
    "places-of-an-address-within": value_of({"$ref": "a.json"}, **{"$id": "https://e.com/s.json", "$defs": {"b": {"type": "string"}, "a": {"$id": "a.json", "$ref": "#/$defs/b", "$defs": {"b": {"type": "null"}}}}}),
}

# Nothing is valid under these, or nothing that is found without look-around.
UNMET = {
    "false": {"type": "object", "properties": {"a": False}, "required": ["a"]},
    "bounds": object_of({"a": {"type": "integer", "minimum": 5, "exclusiveMaximum": 5}}, "a"),
    "kind": object_of({"a": {"type": "strin"}}, "a"),
    "endless": object_of({"me": {"$ref": "#"}}, "me"),
    "elsewhere": object_of({"a": {"$ref": "https://example.com/a.json"}}, "a"),
    "look-around": object_of({"a": {"type": "string", "pattern": "^(?=.*[A-Z])(?=.*\\d).{9,}$"}}, "a"),
    "nothing-between": value_of({"type": "number", "minimum": 1e30, "exclusiveMaximum": 1e30}),
    "no-whole-between": value_of({"type": "integer", "minimum": 1e-15, "maximum": 1e-12}),
    "too-many": value_of({"type": "array", "minItems": 1e30}),
    "too-many-each": value_of({"type": "array", "minItems": 5_000, "items": {"type": "array", "minItems": 5_000, "items": {"type": "integer"}}}),
    "address-elsewhere": value_of({"$ref": "b.json"}, **{"$id": "https://e.com/s.json", "$defs": {"a": {"$id": "a.json"}}}),
    "too-long": object_of({"a": {"type": "string", "minLength": 10**9}}, "a"),
}


@pytest.fixture(scope="module")
def ask(gateway):
    keys = {shape: gateway.spend_key(request_shape=shape) for shape in ("openai", "anthropic")}

    def post(path: str, body: dict) -> tuple[int, dict]:
        shape = "anthropic" if path == "messages" else "openai"
        model = "claude-haiku-4-5" if shape == "anthropic" else "gpt-4o-mini"
        body = {"model": model, "max_tokens": 20_000, "messages": [{"role": "user", "content": "hi"}], **body}
        headers = {"Authorization": f"Bearer {keys[shape]}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{gateway.url}/{path}", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return post


def by_response_format(ask, schema):
    status, answer = ask("chat/completions", {"response_format": {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}})
    return answer if status != 200 else json.loads(answer["choices"][0]["message"]["content"])


def by_function(ask, schema):
    tool = {"type": "function", "function": {"name": "it", "parameters": schema}}
    status, answer = ask("chat/completions", {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": "it"}}})
    return answer if status != 200 else json.loads(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])


def by_output_config(ask, schema):
    status, answer = ask("messages", {"output_config": {"format": {"type": "json_schema", "schema": schema}}})
    return answer if status != 200 else json.loads(answer["content"][0]["text"])


def by_output_format(ask, schema):
    status, answer = ask("messages", {"output_format": {"type": "json_schema", "schema": schema}})
    return answer if status != 200 else json.loads(answer["content"][0]["text"])


def by_tool(ask, schema):
    status, answer = ask("messages", {"tools": [{"name": "it", "input_schema": schema}], "tool_choice": {"type": "tool", "name": "it"}})
    return answer if status != 200 else answer["content"][0]["input"]


WAYS = [by_response_format, by_function, by_output_config, by_output_format, by_tool]


# The judge's own opinion of a time has no zone, which RFC 3339 demands.
FORMATS = jsonschema.FormatChecker(set(jsonschema.FormatChecker.checkers) - {"time"})


def judge(schema: dict, value) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema, format_checker=FORMATS).validate(value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_answered_holds_under_the_schema(ask, name, way):
    judge(SCHEMAS[name], way(ask, SCHEMAS[name]))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_optional_is_left_out(ask, way):
    assert way(ask, SCHEMAS["optional"]) == {"b": 1}
    assert way(ask, SCHEMAS["nothing-required"]) == {}
    assert way(ask, SCHEMAS["list-in-itself"]) == {"value": 1, "next": {"value": 1, "next": None}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", UNMET)
def test_a_schema_that_nothing_meets_is_a_bad_request(ask, name, way):
    error = way(ask, UNMET[name])["error"]
    assert error["type"] == "invalid_request_error" and "valid under" in error["message"], error


def some_schema(dice: random.Random, depth: int = 0) -> dict:
    """A schema that something is valid under."""
    kinds = ["integer", "number", "string", "boolean", "null", "enum"] + (["object", "array", "anyOf", "allOf"] if depth < 4 else [])
    match dice.choice(kinds):
        case "integer":
            low = dice.randint(-50, 50)
            bounds = [{"minimum": low}, {"exclusiveMinimum": low}, {"maximum": low}, {"exclusiveMaximum": low}, {"minimum": low, "maximum": low + 9}]
            return {"type": "integer", **dice.choice(bounds), **dice.choice([{}, {"multipleOf": dice.randint(1, 9)}])}
        case "number":
            low = dice.randint(-400, 400) / 4
            return {"type": "number", **dice.choice([{"exclusiveMinimum": low, "exclusiveMaximum": low + 0.25}, {"minimum": low}, {"maximum": low}])}
        case "string":
            least = dice.randint(0, 40)
            return {"type": "string", **dice.choice([{}, {"minLength": least, "maxLength": least + dice.randint(0, 3)}, {"pattern": "^[a-f]{2,40}$", "minLength": least}])}
        case "enum":
            return {"enum": dice.sample([1, "a", None, True, 2.5, [], {"x": 1}], 3)}
        case "object":
            names = dice.sample("abcdefgh", dice.randint(0, 5))
            properties = {name: some_schema(dice, depth + 1) for name in names}
            return object_of(properties, *[name for name in names if dice.random() < 0.5], **dice.choice([{}, {"additionalProperties": False}]))
        case "array":
            least = dice.randint(0, 3)
            return {"type": "array", "items": some_schema(dice, depth + 1), "minItems": least, **dice.choice([{}, {"maxItems": least + 1}])}
        case "anyOf":
            return {dice.choice(["anyOf"]): [some_schema(dice, depth + 1) for _ in range(dice.randint(1, 3))]}
        case "allOf":
            return {"allOf": [some_schema(dice, depth + 1), {}, {"description": "the same again"}]}
        case kind:
            return {"type": kind}


@pytest.mark.parametrize("way", [by_response_format, by_tool])
def test_schemas_made_by_chance(ask, way):
    dice = random.Random(20261128)
    for _ in range(150):
        schema = object_of({"it": some_schema(dice)}, "it")
        value = way(ask, schema)
        try:
            judge(schema, value)
        except jsonschema.ValidationError as error:
            raise AssertionError(f"{json.dumps(schema)} gave {json.dumps(value)}") from error


def test_json_of_no_given_form(ask):
    status, answer = ask("chat/completions", {"response_format": {"type": "json_object"}})
    assert status == 200 and isinstance(json.loads(answer["choices"][0]["message"]["content"]), dict)
