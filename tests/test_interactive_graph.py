"""The page of one graph: what it holds, and what happens without the package or with odd input. Its behaviour: in a browser."""

import html
import json
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from speaq_hf import SceneGraph
from speaq_hf.image_reading import UnreadableImageError
from speaq_hf.interactive_graph import framed_page, render_interactive_graph
from tests.test_visualization import ID2LABEL, ID2PREDICATE, make_graph, picture


def page_data(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1))


def test_holds_what_the_graph_holds():
    graph = make_graph(6, 8)
    data = page_data(graph.to_html(picture(), title="A <title> & more", file_name="photo", num_shown=5))
    assert data["size"] == [128, 96] and (data["total"], data["shown"], data["fileName"]) == (8, 5, "photo")
    np.testing.assert_allclose([row[2:] for row in data["objects"]], graph.boxes, atol=0.006)
    for row, triplet in zip(data["relations"], graph.triplets(), strict=True):
        words = [data["objects"][row[0]][0], row[2], data["objects"][row[1]][0]]
        assert words == [triplet.subject, triplet.predicate, triplet.object]
        assert row[3] == pytest.approx(triplet.score, rel=1e-3)
    assert data["image"].startswith("data:image/jpeg;base64,")


def test_no_text_leaves_its_place():
    hostile = {0: "</script><script>alert(1)</script>", 1: "<!--", 2: "&quot;", 3: "{{ x }}", 4: "${y}"}
    page = make_graph(5, 6, id2label=hostile).to_html(title="<b>&</b>")
    assert page.count("<script") == 2 == page.count("</script>")
    assert "<b>&</b>" not in page and "&lt;b&gt;&amp;&lt;/b&gt;" in page
    assert {row[0] for row in page_data(page)["objects"]} <= set(hostile.values())


def test_asks_for_nothing_from_outside():
    page = make_graph(5, 6).to_html(picture())
    assert set(re.findall(r"https?://[^\"'\s]*", page)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page


def test_more_relations_than_fit_are_left_out_with_their_objects():
    graph = make_graph(30, 20)
    data = page_data(graph.to_html(max_relations=4))
    assert len(data["relations"]) == 4 and data["total"] == 20
    assert len(data["objects"]) == len(graph.top(4).boxes)
    assert len(page_data(graph.to_html(max_relations=20))["objects"]) == 30


def test_large_images_become_small_and_turned_ones_upright():
    graph = SceneGraph.from_annotation([], [], [], (2000, 3000), ID2LABEL, ID2PREDICATE)
    image = Image.new("RGB", (2000, 3000))
    image.getexif()[274] = 6  # to be turned by a quarter
    assert len(graph.to_html(image)) < 60_000


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (Image.new("RGB", (10, 10)), ValueError, r"height and width \(96, 128\), got \(10, 10\)"),
        (b"no image", UnreadableImageError, "cannot be read"),
        ("missing.jpg", UnreadableImageError, "missing.jpg"),
    ],
)
def test_images_of_something_else_are_refused(image, error, words):
    with pytest.raises(error, match=words):
        make_graph(2, 1).to_html(image)


@pytest.mark.parametrize("name", ["num_shown", "max_relations", "image_side"])
def test_numbers_are_checked(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        render_interactive_graph(make_graph(2, 1), **{name: 0})


def test_notebooks_get_a_small_frame():
    frame = make_graph(12, 30)._repr_html_()
    assert type(frame) is str and len(frame) < 45_000
    page = html.unescape(
        re.fullmatch(r'<iframe title="Scene graph" srcdoc="(.*?)" style="[^"]*"></iframe>', frame, re.S).group(1)
    )
    assert page == make_graph(12, 30).to_html()


@pytest.mark.parametrize("missing", ["jinja2", "markupsafe", "speaq_hf.html_pages"])
def test_without_the_package_notebooks_print_and_users_are_told(monkeypatch, missing):
    for name in ("speaq_hf.html_pages", "speaq_hf.interactive_graph"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    assert make_graph(2, 1)._repr_html_() is None
    with pytest.raises(ImportError, match=r"pip install speaq_hf\[viz\]"):
        make_graph(2, 1).to_html()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 25), st.integers(0, 40), st.integers(0, 1000), st.text(min_size=1, max_size=30))
def test_any_graph_and_name_gives_a_page(num_objects, num_relations, seed, name):
    graph = make_graph(num_objects, num_relations if num_objects else 0, seed, id2label=dict.fromkeys(range(5), name))
    data = page_data(framed_page(graph.to_html()) and graph.to_html())
    assert [row[0] for row in data["objects"]] == [name] * num_objects
    assert len(data["relations"]) == len(graph)
