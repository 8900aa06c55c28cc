"""The description as one page of HTML that needs nothing else: no script, no style sheet, no picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#1c2733;background:#fff}
code,pre{font-family:ui-monospace,monospace;font-size:.875em}pre{background:#f2f4f7;padding:.75rem;overflow-x:auto}
details{border:1px solid #d5dbe3;border-radius:4px;margin:.5rem 0;padding:0 .75rem}
summary{cursor:pointer;padding:.5rem 0}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;
border-bottom:1px solid #e4e8ee}h4{margin:1rem 0 .25rem}.method{display:inline-block;min-width:4rem;font-weight:700}
nav a{margin-right:.75rem}@media(prefers-color-scheme:dark){body{color:#dde4ec;background:#14191f}
pre{background:#1e262f}
details,th,td{border-color:#34404d}a{color:#8ab8ff}}
"""


def page(document: Json) -> str:
    """Return the page that shows this description."""
    info = document["info"]
    tags = [tag["name"] for tag in document["tags"]]
    links = " ".join(f'<a href="#{_anchor(tag)}">{escape(tag)}</a>' for tag in tags)
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}: the API</h1>",
        *_text(info["description"]),
        '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>',
        f"<nav>{links}</nav>",
    ]
    for tag in tags:
        parts.append(f'<h2 id="{_anchor(tag)}">{escape(tag)}</h2>')
        parts += [_operation(document, method, path, one) for method, path, one in _of_tag(document, tag)]
    parts.append('<h2 id="schemas">schemas</h2>')
    parts += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return "\n".join([*parts, "</body></html>\n"])


def _of_tag(document: Json, tag: str) -> Iterator[tuple[str, str, Json]]:
    """Yield the operations of a tag; a PATCH that does what POST does is told there."""
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            if tag in one["tags"] and not (method == "patch" and "post" in methods):
                yield method.upper(), path, one


def _operation(document: Json, method: str, path: str, one: Json) -> str:
    also = " (or PATCH)" if method == "POST" and "patch" in document["paths"][path] else ""
    parts = [
        f'<details id="{one["operationId"]}"><summary><span class="method">{method}</span> '
        f"<code>{escape(path)}</code> {escape(one['summary'])}{also}</summary>",
        *_text(one.get("description", "")),
    ]
    if parameters := [_resolved(document, each) for each in one.get("parameters", ())]:
        rows = [(p["name"], p["in"], _shown(p["schema"]), p["description"]) for p in parameters]
        parts += ["<h4>Parameters</h4>", _table(("name", "in", "schema", "meaning"), rows)]
    if "requestBody" in one:
        body = _resolved(document, one["requestBody"])
        parts.append(f"<h4>Body{'' if body.get('required') else ', which may be left out'}</h4>")
        parts += _contents(body["content"])
    parts.append("<h4>Answers</h4>")
    for status, answer in one["responses"].items():
        parts.append(_answer(status, answer, document))
    return "\n".join([*parts, "</details>"])


def _answer(status: str, answer: Json, document: Json) -> str:
    if "$ref" in answer:
        return f"<p><b>{status}</b> {escape(_resolved(document, answer)['description'])}</p>"
    return "\n".join([f"<p><b>{status}</b> {escape(answer['description'])}</p>", *_contents(answer.get("content", {}))])


def _contents(contents: Json) -> Iterator[str]:
    for media_type, content in contents.items():
        yield f"<p><code>{escape(media_type)}</code>: {_shown(content['schema'])}</p>"
        for summary, value in _examples(content):
            text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
            yield f"<p>Example{escape(summary)}:</p><pre>{escape(text.replace(chr(13), ''))}</pre>"


def _examples(content: Json) -> Iterator[tuple[str, Any]]:
    if "example" in content:
        yield "", content["example"]
    for example in content.get("examples", {}).values():
        yield f", {example['summary']}", example["value"]


def _schema(name: str, schema: Json) -> str:
    text = escape(json.dumps(schema, indent=2, ensure_ascii=False))
    return f'<details id="schema-{name}"><summary><code>{name}</code></summary><pre>{text}</pre></details>'


def _shown(schema: Any) -> str:
    """Return a schema as a link where it has a name, in JSON where it has none."""
    if isinstance(schema, dict) and set(schema) == {"$ref"}:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{name}">{name}</a>'
    if isinstance(schema, dict) and set(schema) == {"type", "items"}:
        return f"list of {_shown(schema['items'])}"
    text = json.dumps(schema, ensure_ascii=False)
    if len(text) <= 100:
        return f"<code>{escape(text)}</code>"
    return f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"


def _resolved(document: Json, one: Json) -> Json:
    if "$ref" not in one:
        return one
    _, _, kind, name = one["$ref"].split("/")
    found: Json = document["components"][kind][name]
    return found


def _table(head: Iterable[str], rows: Iterable[tuple[str, str, str, str]]) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{escape(word)}</th>" for word in head) + "</tr>"]
    for name, where, schema, meaning in rows:
        cells = (f"<code>{escape(name)}</code>", where, schema, escape(meaning))
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "".join([*lines, "</table>"])


def _text(text: str) -> Iterator[str]:
    """Yield the paragraphs and lists of a text."""
    for block in text.strip().split("\n\n"):
        if block.startswith("- "):
            entries = block.removeprefix("- ").replace("\n  ", " ").split("\n- ")
            yield "<ul>" + "".join(f"<li>{_inline(entry)}</li>" for entry in entries) + "</ul>"
        elif block:
            yield f"<p>{_inline(block)}</p>"


def _inline(text: str) -> str:
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if at % 2 else piece for at, piece in enumerate(pieces))


def _anchor(tag: str) -> str:
    return tag.replace(" ", "-")
