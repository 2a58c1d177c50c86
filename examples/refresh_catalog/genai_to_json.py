"""Reads the price table of the Python package genai-prices as text, without running it, and prints it as JSON.

Decimals are printed exactly as they are written, so that no price passes through a float.
"""

import ast
import json
import sys

RENAMED = {"or_": "or", "and_": "and"}
SKIPPED = {"extractors", "description", "price_comments", "pricing_urls", "provider_match", "model_match"}


def kept(word):
    absent = isinstance(word.value, ast.Constant) and word.value.value is None
    return word.arg not in SKIPPED and not absent


def text(node):
    if isinstance(node, ast.Constant):
        return json.dumps(node.value)
    if isinstance(node, ast.List):
        return "[" + ",".join(text(item) for item in node.elts) + "]"
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values)
        return "{" + ",".join(f"{text(key)}:{text(value)}" for key, value in pairs) + "}"
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        if name == "Decimal":
            return node.args[0].value
        if name == "date":
            year, month, day = (part.value for part in node.args)
            return f'"{year:04}-{month:02}-{day:02}"'
        if name == "time":
            parts = [part.value for part in node.args] + [0, 0]
            return f'"{parts[0]:02}:{parts[1]:02}:{parts[2]:02}Z"'
        pairs = ((RENAMED.get(word.arg, word.arg), word.value) for word in node.keywords if kept(word))
        return "{" + ",".join(f'"{key}":{text(value)}' for key, value in pairs) + "}"
    raise ValueError(f"line {node.lineno}: unexpected {type(node).__name__}")


with open(sys.argv[1], encoding="utf-8") as source:
    tree = ast.parse(source.read())
for statement in tree.body:
    if isinstance(statement, ast.AnnAssign) and statement.target.id == "providers":
        sys.stdout.write(text(statement.value))
