#!/usr/bin/env python3
"""The API as the official openai package and plain HTTP see it.

usage: api_test.py THINKEY MODEL WORK_DIRECTORY
"""
import json
import math
import subprocess
import sys
import threading
from pathlib import Path

from serving import TOOL_TEMPLATE, Server, run, with_clients

with_clients("openai")
import openai  # noqa: E402

program, model, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
work.mkdir(parents=True, exist_ok=True)
(work / "tools.jinja").write_text(TOOL_TEMPLATE)
server = Server(program, model, "--chat-template-file", work / "tools.jinja", "--kv-memory", "64MiB", "--alias", "tiny")
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0)

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"], "additionalProperties": False}}}
TIME = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {
    "zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]}}}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
          "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}}, "required": ["name", "age", "tags"], "additionalProperties": False}
HELLO = [{"role": "user", "content": "hello"}]


def chat(**more):
    return client.chat.completions.create(model="tiny", messages=more.pop("messages", HELLO), **{"max_tokens": 12, "temperature": 0, **more})


def models_are_listed():
    assert [m.id for m in client.models.list()][0] == "tiny"
    assert client.models.retrieve("tiny").owned_by == "thinkey"
    try:
        client.models.retrieve("other")
        raise AssertionError("found")
    except openai.NotFoundError:
        pass


def greedy_answers_equal_run():
    prompt = "the model reads "
    for spec in ("full", "think:0.5,form=paper", "snapkv:24,window=8"):
        alone = json.loads(subprocess.run([program, "run", "-m", model, "-p", prompt, "-n", "40", "--temp", "0", "--json", "-q",
                                           "--special", "--cache", spec], capture_output=True, check=True).stdout)
        got = server.post("/v1/completions", {"prompt": prompt, "max_tokens": 40, "temperature": 0, "cache": spec, "logprobs": 0})
        assert got["choices"][0]["text"] == alone["text"], (got, alone)


def streams_equal_whole_answers():
    for more in ({}, {"n": 2, "temperature": 1, "seed": 5}, {"stop": ["e"], "seed": 1, "temperature": 1}):
        whole = chat(**more)
        texts = {}
        reasons = {}
        usage = None
        for chunk in chat(stream=True, stream_options={"include_usage": True}, **more):
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
                reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
            usage = chunk.usage or usage
        for choice in whole.choices:
            assert texts[choice.index] == choice.message.content
            assert reasons[choice.index] == choice.finish_reason
            for stop in more.get("stop", []):
                assert stop not in choice.message.content
        assert usage.prompt_tokens == whole.usage.prompt_tokens
        assert usage.completion_tokens == whole.usage.completion_tokens
        assert usage.cache_bytes > 0


def log_probabilities():
    got = chat(logprobs=True, top_logprobs=3)
    content = got.choices[0].logprobs.content
    assert len(content) == got.usage.completion_tokens
    assert "".join(c.token for c in content if not c.token.startswith("<|")) == got.choices[0].message.content
    for c in content:
        assert bytes(c.bytes).decode() == c.token
        assert len(c.top_logprobs) == 3
        assert c.top_logprobs[0].logprob == c.logprob, "greedy takes the likeliest"
    echo = client.completions.create(model="tiny", prompt="abcdef", max_tokens=1, logprobs=2, echo=True, temperature=0)
    choice = echo.choices[0]
    assert choice.text.startswith("abcdef")
    assert choice.logprobs.token_logprobs[0] is None
    assert len(choice.logprobs.tokens) == echo.usage.prompt_tokens + 1
    assert all(p <= 0 for p in choice.logprobs.token_logprobs[1:])
    # The prompt's probability from its tokens, or from asking for each of them.
    tokens = server.post("/tokenize", {"content": "abcdef", "add_special": True})["tokens"]
    for i in range(1, len(tokens)):
        one = server.post("/v1/completions", {"prompt": tokens[:i], "max_tokens": 1, "logprobs": 0, "temperature": 0,
                                              "logit_bias": {str(tokens[i]): 100}})["choices"][0]["logprobs"]
        assert one["tokens"][0] == choice.logprobs.tokens[i], "the bias chose it, its probability is the model's"
        assert math.isclose(one["token_logprobs"][0], choice.logprobs.token_logprobs[i], abs_tol=0.05), (one, i)


def tokens_of(more):
    """Of a greedy answer of 80 tokens."""
    got = server.post("/v1/completions", {"prompt": "The and the and the", "max_tokens": 80, "temperature": 0, "ignore_eos": True,
                                          "logprobs": 0, **more})
    return got["choices"][0]["logprobs"]["tokens"]


def sampling_is_reproducible_and_bounded():
    assert chat(temperature=1, seed=3).choices[0].message.content == chat(temperature=1, seed=3).choices[0].message.content
    assert chat(temperature=1, seed=3).choices[0].message.content != chat(temperature=1, seed=4).choices[0].message.content
    tokens = server.post("/tokenize", {"content": "q"})["tokens"]
    only = chat(logit_bias={str(tokens[-1]): 100}).choices[0].message.content
    assert only == "q" * 12, only
    never = chat(logit_bias={str(tokens[-1]): -100}, temperature=1, seed=1, max_tokens=100).choices[0].message.content
    assert "q" not in never
    # Each repetition costs 2: no token comes again while another is within that.
    counts = [len({t for t in tokens_of(more)}) for more in ({}, {"presence_penalty": 2, "frequency_penalty": 2})]
    assert counts[1] > counts[0], counts


def json_answers_are_json():
    for seed in range(6):
        got = chat(response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}, temperature=1.5,
                   seed=seed, max_tokens=120)
        assert got.choices[0].finish_reason == "stop", got
        person = json.loads(got.choices[0].message.content)
        assert set(person) == {"name", "age", "tags"} and 0 <= person["age"] <= 120 and len(person["tags"]) <= 3
        got = chat(response_format={"type": "json_object"}, temperature=1, seed=seed, max_tokens=200)
        if got.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(got.choices[0].message.content), dict)
    server.refused("/v1/chat/completions", {"messages": HELLO, "response_format": {"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}}}},
        "response_format.json_schema.schema.properties.a.pattern", "pattern")


def tools_are_called():
    got = chat(tools=[WEATHER, TIME], tool_choice={"type": "function", "function": {"name": "weather"}}, max_tokens=120,
               temperature=1, seed=2, parallel_tool_calls=False)
    call = got.choices[0].message.tool_calls[0]
    assert got.choices[0].finish_reason == "tool_calls" and call.function.name == "weather", got
    arguments = json.loads(call.function.arguments)
    assert len(arguments["city"]) <= 5 and 1 <= arguments["days"] <= 9
    streamed, name, ids = "", None, set()
    for chunk in chat(tools=[WEATHER, TIME], tool_choice={"type": "function", "function": {"name": "weather"}}, max_tokens=120,
                      temperature=1, seed=2, parallel_tool_calls=False, stream=True):
        for delta in chunk.choices[0].delta.tool_calls or []:
            streamed += delta.function.arguments or ""
            name = name or delta.function.name
            ids.add(delta.id)
    assert (streamed, name) == (call.function.arguments, "weather") and len(ids - {None}) == 1
    got = chat(tools=[WEATHER, TIME], tool_choice="required", max_tokens=200, temperature=1, seed=4)
    for call in got.choices[0].message.tool_calls:
        assert call.function.name in ("weather", "time")
    # Results go back through the template.
    messages = HELLO + [{"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "time", "arguments": "{\"zone\": \"UTC\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "12:00"}]
    prompt = server.post("/apply-template", {"messages": messages})["prompt"]
    assert '{"name": "time", "arguments": {"zone": "UTC"}}' in prompt and "12:00" in prompt, prompt
    assert chat(messages=messages, tools=[TIME]).choices[0].message.content is not None
    assert chat(tools=[TIME], tool_choice="none").choices[0].message.tool_calls is None


def responses():
    got = client.responses.create(model="tiny", input="hello", max_output_tokens=10, temperature=0, instructions="be brief")
    assert got.output_text and got.usage.output_tokens <= 10
    assert got.status == ("incomplete" if got.usage.output_tokens == 10 else "completed")
    text, done = "", None
    for event in client.responses.create(model="tiny", input=[{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
                                         max_output_tokens=10, temperature=0, instructions="be brief", stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type in ("response.completed", "response.incomplete"):
            done = event.response
    assert text == got.output_text == done.output_text
    tool = {"type": "function", **WEATHER["function"]}
    got = client.responses.create(model="tiny", input="hello", tools=[tool], tool_choice={"type": "function", "name": "weather"},
                                  max_output_tokens=150, temperature=1, parallel_tool_calls=False)
    call = got.output[0]
    assert call.type == "function_call" and call.name == "weather" and json.loads(call.arguments)
    got = client.responses.create(model="tiny", max_output_tokens=5, input=[
        {"role": "user", "content": "hello"}, {"type": "function_call", "call_id": call.call_id, "name": "weather", "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}], tools=[tool])
    assert got.output_text is not None
    server.refused("/v1/responses", {"input": "x", "previous_response_id": "resp_1"}, "previous_response_id")


def conversations_go_on():
    messages = [{"role": "user", "content": "a long enough question, of more than sixty-four letters so that it counts"}]
    first = chat(messages=messages, max_tokens=20)
    messages += [{"role": "assistant", "content": first.choices[0].message.content}, {"role": "user", "content": "and then?"}]
    second = chat(messages=messages, max_tokens=5)
    assert second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens, second.usage
    fresh = chat(messages=messages, max_tokens=5, extra_body={"cache_prompt": False})
    assert fresh.usage.prompt_tokens_details.cached_tokens == 0
    thin = chat(messages=messages, max_tokens=5, extra_body={"cache": "think:0.5,form=paper+kivi:4,residual=32"})
    assert thin.usage.cache_bytes < fresh.usage.cache_bytes
    slots = server.get("/slots")
    assert any(s["cache"].startswith("think") for s in slots)


def what_would_change_the_answer_is_refused():
    path = "/v1/chat/completions"
    for more, field in [({"unknown": 1}, "unknown"), ({"temperature": "hot"}, "temperature"), ({"temperature": -1}, "temperature"),
                        ({"n": 0}, "n"), ({"n": 1000}, "n"), ({"functions": []}, "functions"), ({"modalities": ["audio"]}, "modalities"),
                        ({"cache": "thin:1"}, "cache"), ({"logit_bias": {"x": 1}}, "logit_bias"), ({"stop": [""]}, "stop"),
                        ({"top_logprobs": 2}, "top_logprobs"), ({"stream_options": {"include_usage": True}}, "stream_options"),
                        ({"tool_choice": "required"}, "tool_choice"), ({"tools": [{"type": "code"}]}, "tools[0]"),
                        ({"response_format": {"type": "xml"}}, "response_format.type"), ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens")]:
        server.refused(path, {"messages": HELLO, **more}, field)
    server.refused(path, {}, "messages")
    server.refused(path, {"messages": []}, "messages")
    server.refused(path, {"messages": [{"content": "x"}]}, "messages[0].role")
    server.refused(path, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
                   "messages[0].content[0].type", "image_url")
    # Words that are of another type.
    server.refused(path, {"messages": HELLO, "tools": [{"type": 1, "function": {"name": "f"}}]}, "tools[0]")
    server.refused(path, {"messages": HELLO, "tool_choice": {"type": 1}}, "tool_choice")
    server.refused(path, {"messages": HELLO, "response_format": {"type": "json_schema", "json_schema": {"schema":
                   {"$ref": "#"}}}}, "response_format.json_schema.schema.$ref", "refers to itself")
    server.refused("/v1/completions", {"prompt": "x", "suffix": "y"}, "suffix")
    server.refused("/v1/completions", {"prompt": "x", "best_of": 2}, "best_of")
    error = server.post("/v1/completions", {"prompt": "x y " * 9000}, 400)["error"]
    assert "context is 8192" in error["message"], error
    error = server.post(path, {"messages": HELLO, "model": "gpt-4"}, 404)["error"]
    assert error["code"] == "model_not_found"


def many_at_once_answer_as_alone():
    prompts = [("what is %d and why " % i) * 3 for i in range(16)]

    def ask(i, out):
        out[i] = server.post("/v1/completions", {"prompt": prompts[i], "max_tokens": 60, "temperature": 0, "ignore_eos": True,
                                                 "cache_prompt": False})["choices"][0]["text"]
    alone, together = {}, {}
    for i in range(16):
        ask(i, alone)
    threads = [threading.Thread(target=ask, args=(i, together)) for i in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert alone == together
    assert server.metric("requests_running") == 0


def connections_leave_the_model_its_threads():
    with Server(program, model, "-t", 3) as other:
        for _ in range(5):
            other.post("/v1/completions", {"prompt": "one two", "max_tokens": 2})
        assert other.get("/props")["threads"] == 3


def drafts_change_no_answer():
    body = {"prompt": "one two three four five six, " * 8 + "one two", "max_tokens": 80, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    schema = {"prompt": body["prompt"], "max_tokens": 60, "temperature": 1, "seed": 5, "cache_prompt": False}
    wanted = [server.post("/v1/completions", b)["choices"][0]["text"] for b in (body, schema)]
    with Server(program, model, "--lookup", 8, "--alias", "tiny") as drafting:
        assert drafting.get("/props")["lookup"] == 8
        assert [drafting.post("/v1/completions", b)["choices"][0]["text"] for b in (body, schema)] == wanted
        assert "".join(e["choices"][0]["text"] for e in drafting.events("/v1/completions", body)) == wanted[0]
        accepted = drafting.metric("draft_accepted_tokens_total")
        assert 20 < accepted <= drafting.metric("drafted_tokens_total"), accepted
        assert drafting.metric("generated_tokens_total") > drafting.metric("decode_steps_total") + accepted / 2


run([models_are_listed, greedy_answers_equal_run, streams_equal_whole_answers, log_probabilities, sampling_is_reproducible_and_bounded,
     json_answers_are_json, tools_are_called, responses, conversations_go_on, what_would_change_the_answer_is_refused,
     many_at_once_answer_as_alone, connections_leave_the_model_its_threads, drafts_change_no_answer])
