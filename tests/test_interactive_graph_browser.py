"""The page of one graph in headless Chromium: links, sliders, downloads, places of texts, narrow screens, frames."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

from speaq_hf import SceneGraph
from speaq_hf.predictions import read_predictions
from tests.browser import Browser
from tests.test_visualization import ID2LABEL, ID2PREDICATE, make_graph, picture


GRAPH = make_graph(12, 30, seed=3)
CROWD = make_graph(40, 100, seed=9)
LONG = make_graph(8, 14, id2label={i: f"{'an extraordinarily long name ' * 4}{i}" for i in range(5)})
EMPTY = SceneGraph.from_annotation([[1, 2, 30, 40]], [0], [], (96, 128), ID2LABEL, ID2PREDICATE)
WIDE = SceneGraph.from_annotation(
    [[0, 0, 900, 20], [2000, 5, 4900, 30]], [0, 1], [[0, 1, 0]], (30, 5000), ID2LABEL, ID2PREDICATE
)
TALL = SceneGraph.from_annotation(
    [[0, 5, 1, 900], [0, 2000, 1, 2600]], [0, 1], [[0, 1, 0]], (5000, 1), ID2LABEL, ID2PREDICATE
)
GRAPHS = {"thirty": GRAPH, "crowd": CROWD, "long": LONG, "empty": EMPTY, "wide": WIDE, "tall": TALL}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def page(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(GRAPH.to_html(picture(), num_shown=10, file_name="photo"), encoding="utf-8")
    browser.open(path)
    browser.wait_for("document.querySelectorAll('.node').length")
    yield browser
    assert browser.complaints() == [] and browser.requests() == [path.as_uri()]


def slide(page, name, value):
    page.run(
        f"document.getElementById('{name}').value = {value};"
        f"document.getElementById('{name}').dispatchEvent(new Event('input', {{ bubbles: true }}))"
    )


def count(page, selector):
    return page.run(f"document.querySelectorAll({json.dumps(selector)}).length")


def hot(page):
    """Keys of what is marked: of boxes, of nodes and labels of the graph, of rows."""
    return [
        set(page.run(f"[...document.querySelectorAll('{part} .hot[data-key]')].map(node => node.dataset.key)"))
        for part in ("#picture", "#graph", "#rows")
    ]


def overlapping(page, selector):
    """Pairs of shapes that cover each other."""
    boxes = page.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(node => node.getBoundingClientRect())"
        ".map(box => [box.left, box.top, box.right, box.bottom])"
    )
    return [
        (a, b)
        for a, b in itertools.combinations(boxes, 2)
        if min(a[2], b[2]) - max(a[0], b[0]) > 0.5 and min(a[3], b[3]) - max(a[1], b[1]) > 0.5
    ]


def test_shows_boxes_graph_and_table(page):
    top = GRAPH.top(10)
    assert count(page, ".box") == count(page, ".node") == len(top.boxes)
    assert count(page, ".edge") == count(page, ".predicate") == count(page, "#rows tr") == 10
    rows = page.run(
        "[...document.querySelectorAll('#rows tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert [row[2] for row in rows] == [triplet.predicate for triplet in top.triplets()]
    assert [float(row[4]) for row in rows] == pytest.approx([triplet.score for triplet in top.triplets()], abs=1e-3)
    fills = (
        "[...document.querySelectorAll('{}')].map(node => [node.dataset.key, node.style.getPropertyValue('--color')])"
    )
    boxes, nodes = (dict(page.run(fills.format(selector))) for selector in (".box", ".node"))
    assert boxes == nodes and len(set(boxes.values())) == len(boxes)


def test_sliders_change_what_is_shown(page):
    slide(page, "count", 30)
    assert count(page, ".edge") == count(page, "#rows tr") == 30
    assert page.run("document.getElementById('count-value').textContent") == "30 of 30"
    slide(page, "threshold", 50)
    scores = GRAPH.relation_scores
    expected = int((scores >= scores.max() / 2).sum())
    assert count(page, ".edge") == expected < 30
    slide(page, "threshold", 100)
    assert count(page, ".edge") == 1 and count(page, ".node") == 2
    page.run("document.getElementById('isolated').click()")
    assert count(page, ".node") == count(page, ".box") == 12


def test_pointing_links_box_node_and_row(page):
    subject, object_, _ = GRAPH.relations[0].tolist()
    ends = {f"o{subject}", f"o{object_}"}
    page.point_at("document.querySelector('#rows tr')")
    assert hot(page) == [ends, ends | {"r0"}, {"r0"}]
    page.point_at("document.querySelector('.predicate[data-key=r0]')")
    assert hot(page) == [ends, ends | {"r0"}, {"r0"}]
    relations = [i for i, row in enumerate(GRAPH.relations[:10].tolist()) if subject in row[:2]]
    neighbours = {f"o{end}" for i in relations for end in GRAPH.relations[i, :2].tolist()}
    page.point_at(f"document.querySelector('.node[data-key=o{subject}]')")
    assert hot(page) == [neighbours, neighbours | {f"r{i}" for i in relations}, {f"r{i}" for i in relations}]
    assert float(page.run("getComputedStyle(document.querySelector('#graph .node:not(.hot)')).opacity")) < 0.5
    page.point_at("document.querySelector('h1, #controls')")
    assert hot(page) == [set(), set(), set()]
    smallest = min(range(12), key=lambda i: np.prod((GRAPH.boxes[i, 2:] - GRAPH.boxes[i, :2]).tolist()))
    slide(page, "count", 30)
    page.point_at(f"document.querySelector('.box[data-key=o{smallest}]')")
    assert f"o{smallest}" in hot(page)[1]


def test_the_row_that_belongs_to_a_label_comes_into_sight(page):
    slide(page, "count", 30)
    page.point_at("document.querySelector('.predicate[data-key=r29]')")
    row, table = page.run(
        "[document.querySelector('tr[data-key=r29]'), document.getElementById('table')]"
        ".map(node => node.getBoundingClientRect()).map(box => [box.top, box.bottom])"
    )
    assert table[0] <= row[0] and row[1] <= table[1]


def test_taps_and_keys_pin(page):
    key = next(f"o{end}" for end in GRAPH.relations[1, :2].tolist() if end not in GRAPH.relations[0, :2])
    node = f"document.querySelector('.node[data-key={key}]')"
    x, y = page.run(f"(() => {{ const box = {node}.getBoundingClientRect(); return [box.x + 5, box.y + 5]; }})()")
    page.send("Emulation.setTouchEmulationEnabled", enabled=True)
    for expected in (True, False, True):  # a second tap lets go
        page.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        page.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        page.wait_for(f"{node}.classList.contains('hot') === {json.dumps(expected)}")
        assert page.run(f"{node}.getAttribute('aria-pressed')") == json.dumps(expected)
    page.send("Emulation.setTouchEmulationEnabled", enabled=False)
    slide(page, "count", 1)
    slide(page, "count", 10)
    assert hot(page) == [set(), set(), set()]  # what disappeared was let go
    page.run("document.querySelector('#rows tr').focus()")
    page.send("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13)
    assert hot(page)[2] == {"r0"}
    page.send("Input.dispatchKeyEvent", type="keyDown", key="Escape", code="Escape", windowsVirtualKeyCode=27)
    assert hot(page) == [set(), set(), set()]


def test_what_is_shown_is_downloaded(page, tmp_path):
    (tmp_path / "json").mkdir()
    (tmp_path / "png").mkdir()
    slide(page, "count", 4)
    path = page.download("document.getElementById('save-json').click()", tmp_path / "json")
    assert path.name == "photo.json"
    (image,) = read_predictions(path, ID2LABEL, ID2PREDICATE)
    top = GRAPH.top(4)
    assert image.image_size == (96, 128)
    assert np.asarray(image.graph["relations"]).tolist() == top.relations.tolist()
    assert np.asarray(image.graph["labels"]).tolist() == top.labels.tolist()
    np.testing.assert_allclose(image.graph["boxes"], top.boxes, atol=0.006)
    path = page.download("document.getElementById('save-png').click()", tmp_path / "png")
    drawn = Image.open(path).convert("RGB")
    assert path.name == "photo.png" and drawn.width > 2 * 1000
    # The noise of the picture at the left, and at the right the colours of the nodes.
    left, right = (
        np.asarray(drawn)[:, side].reshape(-1, 3) for side in (slice(0, 800), slice(drawn.width // 2, None))
    )
    assert left.std() > 40
    fills = page.run("[...document.querySelectorAll('.node')].map(node => node.style.getPropertyValue('--color'))")
    for fill in fills:
        color = [int(fill[i : i + 2], 16) for i in (1, 3, 5)]
        assert (abs(right.astype(int) - color).max(axis=1) < 3).sum() > 100, fill


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", GRAPHS)
def test_no_text_covers_another_and_nothing_overflows(browser, tmp_path, name, width):
    (tmp_path / "page.html").write_text(GRAPHS[name].to_html(num_shown=100), encoding="utf-8")
    browser.open(tmp_path / "page.html", width=width)
    browser.wait_for("document.querySelectorAll('#picture svg').length")
    assert overlapping(browser, "#graph .node rect, #graph .predicate rect") == []
    assert overlapping(browser, "#picture .tag:not(.crowded) rect") == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert count(browser, "#picture .tag:not(.crowded)") >= min(10, count(browser, ".box"))
    assert browser.complaints() == []


def test_a_graph_without_relations_shows_its_boxes(browser, tmp_path):
    (tmp_path / "page.html").write_text(EMPTY.to_html(), encoding="utf-8")
    browser.open(tmp_path / "page.html")
    assert browser.wait_for("document.getElementById('note').textContent") == "No relation was found."
    assert (count(browser, ".box"), count(browser, ".node"), count(browser, "#rows tr")) == (1, 1, 0)


def test_a_page_of_frames(browser, tmp_path):
    """As in a notebook: each as high as its content, dark or light as the page around, and deaf to the others."""
    frames = GRAPH._repr_html_() + GRAPH.top(3)._repr_html_()
    (tmp_path / "page.html").write_text(f"<body style='background: #111'>{frames}</body>", encoding="utf-8")
    browser.open(tmp_path / "page.html", width=1000)
    inside = "[...document.querySelectorAll('iframe')].map(frame => frame.contentDocument)"
    browser.wait_for(f"{inside}.every(page => page.querySelectorAll('.node').length)")
    browser.wait_for(
        f"{inside}.every(page => page.defaultView.frameElement.clientHeight === page.documentElement.scrollHeight)"
    )
    assert browser.run(f"{inside}.map(page => page.documentElement.dataset.theme)") == ["dark", "dark"]
    browser.run(f"{inside}[0].querySelector('.node').dispatchEvent(new MouseEvent('click', {{ bubbles: true }}))")
    assert browser.run(f"{inside}.map(page => page.querySelectorAll('.hot').length > 0)") == [True, False]
    assert browser.complaints() == [] and browser.requests() == [(tmp_path / "page.html").as_uri()]
