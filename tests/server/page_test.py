#!/usr/bin/env python3
"""The page in Chromium, headless: a chat from the keyboard, stop, Markdown that runs nothing, the figures of the
cache, a document, and a phone's width. Exit 77, which CTest shows as skipped, where there is no Chromium.

usage: page_test.py THINKEY MODEL WORK_DIRECTORY
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from serving import SKIPPED, Server, run

program, model, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)


class Browser:
    """Chromium by its own protocol, over two pipes."""

    def __init__(self, path):
        to, self.write = os.pipe()
        self.read, from_ = os.pipe()

        def connect():
            os.dup2(to, 30), os.dup2(from_, 31)
            os.dup2(30, 3), os.dup2(31, 4)
        self.process = subprocess.Popen(
            [path, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
             f"--user-data-dir={work}/profile", "about:blank"], preexec_fn=connect, pass_fds=(3, 4),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.next, self.buffer, self.session, self.errors = 1, b"", None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        number, self.next = self.next, self.next + 1
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                self.buffer += os.read(self.read, 1 << 16)
            text, self.buffer = self.buffer.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"])
            if answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                self.errors.append(answer["params"]["entry"])
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script, seconds=60):
        until = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < until, f"never: {script}"
            time.sleep(0.05)

    def open(self, url, width=1300, height=850):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && !!document.activeElement && document.activeElement.id === 'input'")

    def type(self, text):
        self.call("Input.insertText", text=text)

    def key(self, name, code, text=None):
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **more)

    def picture(self, name):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        (work / f"{name}.png").write_bytes(base64.b64decode(data))


path = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
if not path or subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode != 0:
    print("skipped: there is no Chromium")
    sys.exit(SKIPPED)
server = Server(program, model, "--kv-memory", "64MiB", "--temp", "0", "-n", "40", "--chat-template", "chatml")
browser = Browser(path)
URL = f"http://127.0.0.1:{server.port}/"


def a_chat_from_the_keyboard():
    browser.open(URL)
    browser.type("What is the number?")
    browser.key("Enter", 13, "\r")
    browser.wait("document.querySelectorAll('.message').length === 2 && !running")
    note = browser.value("document.querySelector('.message.assistant .note').textContent")
    assert "tokens; prompt" in note, note
    figures = browser.value("document.getElementById('bytes').textContent")
    assert "in full f16" in figures and "full" in figures, figures
    assert browser.value("document.querySelectorAll('#layers > span').length") == 4
    assert browser.value("document.getElementById('rate').textContent").endswith("s")
    browser.type("And again?")
    browser.key("Enter", 13, "\r")
    browser.wait("document.querySelectorAll('.message').length === 4 && !running")
    browser.picture("chat")
    browser.open(URL)  # conversations are kept in the browser
    assert browser.value("document.querySelectorAll('.message').length") == 4


def stop_ends_an_answer():
    browser.open(URL)
    browser.value("document.getElementById('max_tokens').value = 8000, document.getElementById('temperature').value = 2")
    browser.value("document.getElementById('new').click()")
    # This small model would soon end its answer by itself.
    browser.value("{ const send = window.fetch; window.fetch = (to, o) => send(to, o?.body ? "
                  "{...o, body: JSON.stringify({...JSON.parse(o.body), ignore_eos: true})} : o); }")
    before = server.metric("requests_cancelled_total")
    browser.type("Write a long story.")
    browser.key("Enter", 13, "\r")
    browser.wait("!!running && document.querySelector('.message.assistant .text').textContent.length > 20")
    assert browser.value("document.getElementById('send').disabled")
    browser.key("Escape", 27)
    browser.wait("!running")
    assert browser.value("document.querySelector('.message.assistant .note').textContent") == "Stopped."
    until = time.monotonic() + 20
    while server.metric("requests_cancelled_total") == before:
        assert time.monotonic() < until
        time.sleep(0.05)


def markdown_runs_nothing():
    browser.open(URL)
    evil = ("# A *title*\n\n<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>\n\n- **bold** `a<b`\n- [good](https://example.org/) "
            "[bad](javascript:window.pwned=1)\n\n```html\n<b>code</b>\n```\n> quote\n\n1. one\n2. two")
    html = browser.value(f"(() => {{ const d = document.createElement('div'); d.append(markdown({json.dumps(evil)})); document.body.append(d); "
                         "const out = d.innerHTML; d.remove(); return out; })()")
    for part in ("<h3>A <em>title</em></h3>", "<strong>bold</strong>", "<code>a&lt;b</code>", "<pre", "&lt;b&gt;code&lt;/b&gt;", "<blockquote>",
                 "<ol><li>one</li><li>two</li></ol>", 'href="https://example.org/"', "&lt;img src=x"):
        assert part in html, f"{part} is missing in {html}"
    for part in ("<img", "<script", 'href="javascript'):
        assert part not in html, html
    assert browser.value("window.pwned === undefined")


def a_document_is_read_once():
    browser.open(URL)
    browser.value("document.getElementById('max_tokens').value = 10, document.getElementById('temperature').value = 0")
    browser.value("document.getElementById('new').click()")
    browser.value("document.getElementById('document').value = 'A fact about a thing. '.repeat(60)")
    for i in range(2):
        browser.type("What of it?")
        browser.key("Enter", 13, "\r")
        browser.wait(f"document.querySelectorAll('.message').length === {2 * i + 2} && !running")
    note = browser.value("[...document.querySelectorAll('.message.assistant .note')].pop().textContent")
    cached = int(note.split("of which ")[1].split()[0])
    assert cached > 200, note


def a_thin_cache_shows():
    browser.open(URL)
    browser.value("document.getElementById('cache').value = 'snapkv:64,window=16+think:0.5,form=paper', document.getElementById('new').click()")
    browser.value("document.getElementById('document').value = 'A fact about a thing. '.repeat(60)")
    browser.type("What of it?")
    browser.key("Enter", 13, "\r")
    browser.wait("document.querySelectorAll('.message').length === 2 && !running")
    share = browser.value("latest.bytes / latest.full_bytes")
    assert share < 0.6, share
    browser.value("document.getElementById('shown').value = 'channels', document.getElementById('shown').onchange()")
    mean = browser.value("document.getElementById('layer-text').textContent")
    assert "50.0 % of the channels" in mean, mean
    browser.picture("thin")
    browser.value("document.getElementById('cache').value = 'nonsense'")
    browser.value("document.getElementById('input').focus()")
    browser.type("Again?")
    browser.key("Enter", 13, "\r")
    browser.wait("!running && document.querySelectorAll('.error').length === 1")
    assert "nonsense" in browser.value("document.querySelector('.error').textContent")
    browser.value("document.getElementById('cache').value = '', save()")


def a_phone_is_wide_enough():
    browser.open(URL, 390, 800)
    assert browser.value("document.documentElement.scrollWidth <= 390")
    browser.picture("phone")
    for panel in ("list", "side"):
        browser.value(f"document.getElementById('show-{panel}').click()")
        assert browser.value(f"document.getElementById('{panel}').getBoundingClientRect().width > 300")
        assert browser.value(f"document.getElementById('show-{panel}').getAttribute('aria-expanded')") == "true"
        assert browser.value("document.documentElement.scrollWidth <= 390")
        browser.picture(f"phone-{panel}")
    browser.key("Escape", 27)
    assert browser.value("getComputedStyle(document.getElementById('side')).display") == "none"


def nothing_went_wrong():
    bad = [e for e in browser.errors if "400" not in json.dumps(e)]
    assert not bad, bad
    others = browser.value("performance.getEntriesByType('resource').filter(r => !r.name.startsWith(location.origin)).length")
    assert others == 0, "the page asks nobody else"


try:
    run([a_chat_from_the_keyboard, stop_ends_an_answer, markdown_runs_nothing, a_document_is_read_once, a_thin_cache_shows,
         a_phone_is_wide_enough, nothing_went_wrong])
finally:
    browser.process.kill()
