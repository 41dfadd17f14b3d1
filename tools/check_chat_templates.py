#!/usr/bin/env python3
"""Renders chat templates with transformers' Jinja and with thinkey, and says where they differ.

  tools/check_chat_templates.py DIRECTORY [--program build/release/bin/thinkey]

Every *.jinja file under DIRECTORY meets every conversation below. "equal" counts equal texts and
templates that both refuse; exit 1 when anything differs. Needs transformers and jinja2.
"""

import argparse
import collections
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NOW = 1753091415  # 2025-07-21 09:50:15 UTC, what strftime_now tells both

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a place.\nIn \"SI\" units.",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "The city's name"},
        "days": {"type": "integer", "enum": [1, 3, 7]},
        "units": {"type": ["string", "null"], "items": {"type": "string"}}},
        "required": ["city"]},
    "return": {"type": "object", "properties": {"degrees": {"type": "number"}}}}}
SEARCH = {"type": "function", "function": {
    "name": "search", "description": "Süche – im <Netz>",
    "parameters": {"type": "object", "properties": {
        "query": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        "count": {"type": "integer", "default": 5},
        "filter": {"type": "object", "properties": {"from": {"type": "string"}}}}}}}


def call(name, arguments, identifier="call00001"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(text):
    return {"role": "user", "content": text}


def system(text):
    return {"role": "system", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def tool(text, identifier="call00001", name="get_weather"):
    return {"role": "tool", "content": text, "tool_call_id": identifier, "name": name}


def conversations():
    """(name, request): messages and whatever goes with them."""
    asked = call("get_weather", {"city": "Zürich", "days": 3})
    with_calls = [user("Weather in Zürich?"), assistant("", tool_calls=[asked]), tool("{\"degrees\": 21.5}"),
                  assistant("It is 21.5 °C."), user("And tomorrow?")]
    two_calls = [system("Use tools."), user("Compare."),
                 assistant("I look.", tool_calls=[asked, call("search", {"query": "x", "tags": ["a", "b"]}, "call00002")]),
                 tool("21"), tool("[1, 2]", "call00002", "search")]
    thinking = [user("2+2?"), assistant("<think>\nTwo and two.\n</think>\n\n4"), user("Sure?"),
                assistant("Yes.", reasoning_content="I check: 4."), user("Thanks")]
    return [
        ("one question", dict(messages=[user("Hi there")])),
        ("no prompt", dict(messages=[user("Hi"), assistant("Hello!")], add_generation_prompt=False)),
        ("system", dict(messages=[system("You are terse."), user("Hi")])),
        ("two turns", dict(messages=[user("Hi"), assistant("Hello! "), user(" How are you?\n")])),
        ("system, two turns", dict(messages=[system("Be kind.\n"), user("a"), assistant("b"), user("c"),
                                             assistant("d"), user("e")])),
        ("late system", dict(messages=[user("a"), assistant("b"), system("Now in French."), user("c")])),
        ("two users", dict(messages=[user("a"), user("b")])),
        ("empty", dict(messages=[system(""), user("")])),
        ("unicode", dict(messages=[user("Größe 漢字 👩‍👩‍👧 \u200d\u00a0 <|im_end|> {{ x }} \"q\" 'r' \\ \t"),
                                   assistant("Ω\r\n"), user("\n\nz  ")])),
        ("tools", dict(messages=[user("Weather?")], tools=[WEATHER, SEARCH])),
        ("tools, system", dict(messages=[system("S"), user("Weather?")], tools=[WEATHER])),
        ("tool calls", dict(messages=with_calls, tools=[WEATHER, SEARCH])),
        ("tool calls, no tools", dict(messages=with_calls)),
        ("two calls", dict(messages=two_calls, tools=[WEATHER, SEARCH])),
        ("arguments as text", dict(messages=[user("w"), assistant("", tool_calls=[
            call("get_weather", "{\"city\": \"Bern\"}")]), tool("20")], tools=[WEATHER])),
        ("null content", dict(messages=[user("w"), assistant(None, tool_calls=[asked]), tool("20")],
                              tools=[WEATHER])),
        ("thinking", dict(messages=thinking)),
        ("thinking off", dict(messages=thinking, chat_template_kwargs={"enable_thinking": False, "thinking": False})),
        ("thinking on", dict(messages=thinking[:3], chat_template_kwargs={
            "enable_thinking": True, "thinking": True, "reasoning_effort": "high"})),
        ("thinking and calls", dict(messages=[user("q"), assistant("", reasoning_content="hm", tool_calls=[asked]),
                                              tool("20"), assistant("20!", reasoning_content="ok")],
                                    tools=[WEATHER], add_generation_prompt=False)),
        ("parts", dict(messages=[user([{"type": "text", "text": "Hi "}, {"type": "text", "text": "you"}]),
                                 assistant([{"type": "text", "text": "Yes"}]), user("b")])),
        ("documents", dict(messages=[user("Who?")], documents=[
            {"title": "One", "text": "Ada.", "doc_id": 1}, {"title": "Two", "text": "Grace."}])),
        ("developer", dict(messages=[{"role": "developer", "content": "Dev."}, user("Hi")])),
    ]


def reference(source, request, variables):
    """transformers' text, or the exception it raises."""
    import transformers.utils.chat_template_utils as utils

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)

    utils.datetime = Clock
    more = {**variables, **request.get("chat_template_kwargs", {})}
    try:
        rendered, _ = utils.render_jinja_template(
            conversations=[utils._normalize_chat_messages(request["messages"])], tools=request.get("tools"),
            documents=request.get("documents"), chat_template=source,
            add_generation_prompt=request.get("add_generation_prompt", True), **more)
        return rendered[0], None
    except Exception as error:  # whatever a stranger's template raises
        return None, error


def ours(program, path, request, variables):
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(request, file)
        file.flush()
        done = subprocess.run(
            [program, "template", "--chat-template-file", path, "--messages", file.name, "--now", str(NOW),
             "--chat-template-kwargs", json.dumps(variables)],
            capture_output=True, env={**os.environ, "TZ": "UTC"}, timeout=60)
    if done.returncode != 0:
        return None, done.stderr.decode().strip()
    return done.stdout.decode(), None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--program", default="build/release/bin/thinkey")
    parser.add_argument("-v", "--verbose", action="store_true", help="also what both refuse")
    arguments = parser.parse_args()
    variables = {"bos_token": "<s>", "eos_token": "</s>"}
    counts = collections.Counter()
    templates = sorted(arguments.directory.rglob("*.jinja"))
    for path in templates:
        source = path.read_text(encoding="utf-8")
        for name, request in conversations():
            wanted, exception = reference(source, request, variables)
            got, message = ours(arguments.program, path, request, variables)
            kind = ("both refuse" if wanted is None and got is None else
                    "we refuse" if got is None else
                    "only transformers refuses" if wanted is None else
                    "equal" if wanted == got else "different")
            counts[kind] += 1
            if kind == "different":
                at = len(os.path.commonprefix([wanted, got]))
                print(f"{path.name}, {name}: differ at {at}:\n  {wanted[max(at - 30, 0):at + 50]!r}\n"
                      f"  {got[max(at - 30, 0):at + 50]!r}")
            elif kind not in ("equal", "both refuse") or (kind == "both refuse" and arguments.verbose):
                print(f"{path.name}, {name}: {kind}: {type(exception).__name__ if exception else ''} "
                      f"{str(exception)[:100] if exception else ''} | {(message or '')[:160]}")
    total = sum(counts.values())
    print(f"{len(templates)} templates x {len(conversations())} conversations = {total}: " +
          ", ".join(f"{kind} {count}" for kind, count in counts.most_common()))
    return 0 if counts["equal"] + counts["both refuse"] == total else 1


if __name__ == "__main__":
    sys.exit(main())
