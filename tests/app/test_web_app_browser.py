"""The web app as people use it: started as a command, driven in headless Chromium, and listened to for words to outside."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from speaq_hf import SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.app.model_shelf import PACKAGED_MODEL
from speaq_hf.app.web_app import EXAMPLES
from tests.browser import Browser
from tests.helpers import tiny_config


FRAME = "document.querySelector('#graph iframe')"
VIEWER = f"{FRAME}.contentDocument"
# Runs the command and notes every address but this machine's that it looks up or connects to.
LISTENER = """
import socket, sys
def note(address):
    if str(address) not in ("127.0.0.1", "localhost", "0.0.0.0", "::1", "None", ""):
        with open(sys.argv[1], "a") as file:
            file.write(f"{address}\\n")
connect, look_up = socket.socket.connect, socket.getaddrinfo
def noted_connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        note(address[0])
    return connect(self, address)
def noted_look_up(host, *arguments, **options):
    note(host.decode() if isinstance(host, bytes) else host)
    return look_up(host, *arguments, **options)
socket.socket.connect, socket.getaddrinfo = noted_connect, noted_look_up
from speaq_hf.cli import app
app(sys.argv[2:])
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until_it_answers(process, address, log):
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "untrained"
    SpeaQForSceneGraphGeneration(tiny_config()).save_pretrained(folder)
    SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 100}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(browser, untrained, tmp_path_factory):
    """Address of the running app."""
    folder, port = tmp_path_factory.mktemp("app"), free_port()
    arguments = [str(folder / "outside"), "app", "--port", str(port), "--model", PACKAGED_MODEL, "--model", untrained]
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads"), "OMP_NUM_THREADS": "1"}
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", LISTENER, *arguments], stdout=log, stderr=log, env=environment
        )
    try:
        wait_until_it_answers(process, f"http://127.0.0.1:{port}/", folder / "log")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert not (folder / "outside").exists(), (folder / "outside").read_text()
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture
def app(request, browser, server):
    """The opened app, at the width given; the page must not complain and must ask nobody but the app."""
    width = getattr(request, "param", 1280)
    browser.open(server, width=width, height=1000)
    browser.wait_for(
        "['#picture input[type=file]', '#graph p', '.gallery-item'].every(part => document.querySelector(part))"
    )
    yield browser
    # gradio itself warns of what the server need not know ("Method not implemented.").
    assert [complaint for complaint in browser.complaints() if json.loads(complaint).get("type") != "warning"] == []
    assert [address for address in browser.requests() if not address.startswith((server, "blob:", "about:"))] == []
    assert browser.run("document.documentElement.scrollWidth") <= width


def upload(app, path):
    """Gives a picture to the app; the answer to it is there when this returns."""
    before = app.run("document.querySelector('#graph').innerHTML.length")
    app.choose_file("document.querySelector('#picture input[type=file]')", path)
    app.wait_for(f"document.querySelector('#graph').innerHTML.length !== {before}")


def wait_for_graph(app):
    app.wait_for(f"{FRAME}?.contentDocument?.querySelectorAll('.node').length")


def count(app, selector):
    return app.run(f"{VIEWER}.querySelectorAll({json.dumps(selector)}).length")


def slide(app, name, value):
    app.run(
        f"{VIEWER}.getElementById('{name}').value = {value};"
        f"{VIEWER}.getElementById('{name}').dispatchEvent(new Event('input', {{ bubbles: true }}))"
    )


def test_upload_slide_point_download(app, tmp_path):
    upload(app, EXAMPLES[0])
    wait_for_graph(app)
    slide(app, "count", 5)
    assert count(app, ".edge") == count(app, "#rows tr") == 5
    slide(app, "threshold", 100)
    assert count(app, ".edge") == count(app, "#rows tr") == 1
    assert count(app, ".box") == count(app, ".node") == 2
    slide(app, "threshold", 0)
    app.point_at(f"{VIEWER}.querySelector('#rows tr')")
    keys = f"[...{VIEWER}.querySelectorAll('%s.hot')].map(node => node.dataset.key).sort()"
    boxes, nodes, rows = (app.run(keys % part) for part in (".box", ".node", "tr"))
    assert boxes == nodes and len(boxes) == 2 and rows == ["r0"]
    for folder, button in (("png", "save-png"), ("json", "save-json")):
        (tmp_path / folder).mkdir()
        path = app.download(f"{VIEWER}.getElementById('{button}').click()", tmp_path / folder)
        assert path.name == f"{EXAMPLES[0].stem}.{folder}"
    assert Image.open(tmp_path / "png" / "bike.png").width > 1000
    saved = json.loads((tmp_path / "json" / "bike.json").read_text())
    assert len(saved["relations"]) == 5 and saved["image_size"] == [256, 256]


@pytest.mark.parametrize("app", [1280, 390], indirect=True)
def test_an_example_is_a_click_away(app):
    assert app.run("document.querySelectorAll('.gallery-item').length") == 6
    app.run("document.querySelectorAll('.gallery-item')[1].click()")
    wait_for_graph(app)
    app.wait_for(f"{FRAME}.clientHeight === {VIEWER}.documentElement.scrollHeight")
    assert app.run("document.querySelector('#graph [role=alert]')") is None
    app.wait_for(f"{FRAME}.getBoundingClientRect().top < innerHeight / 2")  # in sight, on a phone too


def test_the_model_can_be_changed_and_says_when_it_is_unsure(app, untrained, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(
        tmp_path / "noise.png"
    )
    upload(app, tmp_path / "noise.png")
    app.wait_for("document.querySelector('#graph .hint')?.textContent.includes('knows drawn scenes only')")
    app.click("document.querySelector('#model input')")
    options = "[...document.querySelectorAll('[role=option]')]"
    app.wait_for(f"{options}.length === 2")
    app.click(f"{options}[1]")
    app.wait_for("document.querySelector('#graph .hint')?.textContent.includes('may not know such pictures')")
    assert app.run("document.querySelector('#model input').value") == untrained


def test_a_broken_upload_is_one_sentence_and_the_next_picture_works(app, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture at all")
    upload(app, tmp_path / "broken.jpg")
    expected = "broken.jpg cannot be read as an image; choose another file."
    app.wait_for(f"document.querySelector('#graph .problem')?.textContent === {json.dumps(expected)}")
    app.run("document.querySelectorAll('.gallery-item')[2].click()")
    wait_for_graph(app)
    assert app.run("document.querySelector('#graph .problem')") is None
