"""Headless Chromium over the DevTools protocol: opens pages, runs scripts in them, and listens to what they do."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import websocket


def find_chromium() -> str:
    """The browser's program; skips the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if program := shutil.which(name):
            return program
    pytest.skip("no Chromium found: install Debian's `chromium`, or another that is called chromium or google-chrome")


class Browser:
    """A browser with one page. Use it in a `with` statement.

    Args:
        folder: For its profile.
    """

    def __init__(self, folder: Path) -> None:
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")
        services = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
        command = [find_chromium(), *options, *services, "--remote-debugging-port=0", f"--user-data-dir={folder}"]
        with open(os.devnull, "wb") as nowhere:
            self._process = subprocess.Popen([*command, "about:blank"], stdout=nowhere, stderr=nowhere)
        try:
            self._socket = websocket.create_connection(_page_address(folder), timeout=60, suppress_origin=True)
        except BaseException:
            self._process.kill()
            raise
        self._numbers = itertools.count(1)
        self.events = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=30)

    def send(self, method: str, **parameters: object) -> dict:
        """Sends a command and returns its answer; events that arrive meanwhile are kept in `events`."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := self._receive()).get("id") != number:
            pass
        assert "error" not in message, message
        return message["result"]

    def open(self, page: Path | str, width: int = 1280, height: int = 900) -> None:
        """Loads a file or an address and waits until it is loaded."""
        self.events.clear()
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive()

    def run(self, script: str) -> object:
        """The value of an expression in the page; promises are waited for."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 30) -> object:
        """The value of an expression in the page, once it is a true one."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"not true within {seconds} s: {script}"
            time.sleep(0.05)
        return value

    def point_at(self, element: str) -> dict[str, float]:
        """Moves the mouse to the middle of what an expression gives, in the page or in a frame of it; says where that is."""
        place = self.run(
            f"(() => {{ const node = {element}; node.scrollIntoView({{ block: 'nearest' }}); let x = 0, y = 0;"
            " for (let part = node; part; part = part.ownerDocument.defaultView.frameElement) {"
            "   const box = part.getBoundingClientRect();"
            "   x += part === node ? box.x + box.width / 2 : box.x; y += part === node ? box.y + box.height / 2 : box.y;"
            " } return { x, y }; })()"
        )
        self.send("Input.dispatchMouseEvent", type="mouseMoved", **place)
        return place

    def click(self, element: str) -> None:
        """Clicks, with the mouse, on what an expression gives."""
        place = self.point_at(element)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def choose_file(self, element: str, path: Path) -> None:
        """Gives a file to the file field that an expression gives."""
        field = self.send("Runtime.evaluate", expression=element)["result"]["objectId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], objectId=field)

    def download(self, script: str, folder: Path) -> Path:
        """The file that the page lets fall into an empty folder when a script has run."""
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.run(script)
        deadline = time.monotonic() + 30
        while not (
            done := [path for path in folder.iterdir() if path.suffix != ".crdownload" and path.stat().st_size]
        ):
            assert time.monotonic() < deadline, "nothing was downloaded"
            time.sleep(0.05)
        return done[0]

    def complaints(self) -> list[str]:
        """Errors and warnings of the page since it was opened."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded")
        return [
            json.dumps(event["params"])
            for event in self.events
            if event["method"] in kinds
            or (
                event["method"] == "Runtime.consoleAPICalled"
                and event["params"]["type"] in ("error", "warning", "assert")
            )
        ]

    def requests(self) -> list[str]:
        """Addresses that the page asked for since it was opened, itself first, without those that hold their content."""
        sent = [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [address for address in sent if not address.startswith("data:")]

    def _receive(self) -> dict:
        """The next message; events are kept."""
        message = json.loads(self._socket.recv())
        if "method" in message:
            self.events.append(message)
            # It would wait for an answer for ever.
            assert message["method"] != "Page.javascriptDialogOpening", message
        return message

    def screenshot(self, path: Path) -> None:
        """A picture of the window as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


def _page_address(folder: Path) -> str:
    """The address of the page's socket, once the browser has written where it listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            port = (folder / "DevToolsActivePort").read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
                return next(page["webSocketDebuggerUrl"] for page in json.load(answer) if page["type"] == "page")
        except (OSError, IndexError, StopIteration):
            time.sleep(0.05)
    raise TimeoutError("Chromium did not start within 60 s.")
