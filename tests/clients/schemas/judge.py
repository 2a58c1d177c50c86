"""Reads tools from stdin as tools/list returns them, and writes what google-genai and langchain-google-genai make of each: the names of its arguments.

Both refuse a schema by raising an error. It runs with the Python of this folder's requirements.
"""

import json
import sys
import types as python

from google.genai import _mcp_utils, types
from langchain_google_genai._function_utils import convert_to_genai_function_declarations


def untyped(schema: types.Schema, place: str) -> list[str]:
    """The places of a schema at which Gemini is not told what to write."""
    found = [] if schema.type or schema.any_of else [place]
    parts = [*(schema.properties or {}).items(), *enumerate(schema.any_of or [])]
    if schema.items:
        parts.append(("items", schema.items))
    for name, part in parts:
        found += untyped(part, f"{place}.{name}")
    return found


def declared(tool: dict) -> types.FunctionDeclaration:
    given = {"name": tool["name"], "description": tool["description"]}
    return types.FunctionDeclaration(**given, parameters=tool["inputSchema"], response=tool["outputSchema"])


def converted(tool: dict) -> types.FunctionDeclaration:
    """As google-genai does it with the tools of an MCP session."""
    [declaration] = _mcp_utils.mcp_to_gemini_tool(python.SimpleNamespace(**tool)).function_declarations
    return declaration


def langchain(tool: dict) -> types.FunctionDeclaration:
    """As LangChain does it with the tools of its MCP adapters."""
    function = {"name": tool["name"], "description": tool["description"], "parameters": tool["inputSchema"]}
    [converted_tool] = convert_to_genai_function_declarations([function])
    [declaration] = converted_tool.function_declarations
    return declaration


verdicts: dict[str, dict[str, list[str]]] = {}
for tool in json.load(sys.stdin):
    for judge in (declared, converted, langchain):
        declaration = judge(tool)
        for schema in filter(None, (declaration.parameters, declaration.response)):
            if places := untyped(schema, tool["name"]):
                raise SystemExit(f"{judge.__name__}: no type at {places}")
        verdicts.setdefault(judge.__name__, {})[tool["name"]] = sorted(declaration.parameters.properties)
print(json.dumps(verdicts))
