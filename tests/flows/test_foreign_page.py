"""A browser in which somebody is logged in, and a page of another origin in it that wants to profit from that."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from pipeline.flows.access import read_secret
from tests.flows.service import Service, wait_until
from tests.page.browser import Browser, chromium
from tests.repository import EXPERIMENT

pytestmark = pytest.mark.xdist_group("service")

# Every way by which a page reaches another origin: what each of them got to see, or null.
ATTACK = """
const [server, pages] = arguments, api = `${server}/api`, got = {};
const body = (name) => JSON.stringify({ name, value: 1 });
const text = async (asked) => (await asked).text();
const ways = {
  "read": () => text(fetch(`${api}/flows/filter`, { method: "POST", body: "{}", credentials: "include",
    headers: { "Content-Type": "application/json" } })),
  "read simply": () => text(fetch(`${api}/admin/settings`, { credentials: "include" })),
  "read what is open": () => text(fetch(`${api}/health`)),
  "read a page": () => text(fetch(pages)),
  "write": () => text(fetch(`${api}/variables/`, { method: "POST", body: body("written"), credentials: "include",
    headers: { "Content-Type": "application/json" } })),
  "write without looking": () => text(fetch(`${api}/variables/`, { method: "POST", mode: "no-cors",
    body: body("blindly"), credentials: "include", headers: { "Content-Type": "text/plain" } })),
  "submit a form": () => new Promise((done) => {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = "sink";
    document.body.append(frame, form);
    Object.assign(form, { action: `${api}/variables/`, method: "POST", enctype: "text/plain", target: "sink" });
    form.innerHTML = `<input name='{"name": "submitted", "value": "' value='"}'>`;
    frame.onload = () => { try { done(frame.contentDocument.body.innerText); } catch { done(null); } };
    form.submit();
  }),
  "frame": () => new Promise((done) => {
    const frame = document.createElement("iframe");
    document.body.append(frame);
    frame.onload = () => done(frame.contentWindow.length ? "framed" : null);
    frame.src = pages;
  }),
  "run as a script": () => new Promise((done) => {
    const script = document.createElement("script");
    Object.assign(script, { onload: () => done("loaded"), onerror: () => done(null), src: pages });
    document.body.append(script);
  }),
  "listen": () => new Promise((done) => {
    const socket = new WebSocket(`${api.replace("http", "ws")}/events/out`, "prefect");
    socket.onopen = () => { socket.send('{"type": "auth", "token": ""}'); socket.send('{"type": "filter"}'); };
    socket.onmessage = (event) => done(event.data);
    socket.onclose = () => done(null);
  }),
};
for (const [way, go] of Object.entries(ways)) {
  try { got[way] = await go(); } catch { got[way] = null; }
}
return got;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """A page of somebody else, on another port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><body></body>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.no_cover  # it happens in other processes
def test_prefects_pages_work_after_logging_in_and_help_no_other_page(
    service: Service, browser: Browser, stranger: str
) -> None:
    server = service.api.removesuffix("/api")
    browser.driver.get(f"{server}/deployments")
    (field,) = wait_until(lambda: browser.driver.find_elements(By.CSS_SELECTOR, "input[type=password]"))
    assert "rebuild" not in browser.driver.page_source
    field.send_keys(read_secret(service.root), Keys.ENTER)
    wait_until(lambda: f"{EXPERIMENT}" in browser.text("body") and "rebuild" in browser.text("body"))

    browser.driver.get(stranger)
    browser.complaints()
    got = browser.run(ATTACK, server, f"http://127.0.0.1:{service.port + 1}/{EXPERIMENT}")
    assert {way: seen for way, seen in got.items() if seen} == {}, json.dumps(got)
    assert len(got) == 10
    assert service.ask("/variables/filter") == []
    assert any("frame-ancestors" in complaint for complaint in browser.complaints())
