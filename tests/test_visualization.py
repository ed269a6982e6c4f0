import itertools
import math
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Rectangle
from PIL import Image

from speaq_hf.graph_views.graph_layout import layout_scene_graph
from speaq_hf.metrics import SceneGraphRecall
from speaq_hf.scene_graph import SceneGraph
from speaq_hf.visualization import (
    HIT_COLOR,
    MISS_COLOR,
    GalleryExample,
    compare_scene_graphs,
    find_hits,
    plot_scene_graph,
    write_html_gallery,
)


ID2LABEL = dict(enumerate(["man", "horse", "hat", "surfboard", "tree"]))
ID2PREDICATE = dict(enumerate(["riding", "wearing", "in front of", "near"]))
SIZE = (96, 128)


def make_graph(num_objects, num_relations, seed=0, id2label=None):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (num_objects, 2))
    pairs = rng.integers(0, max(num_objects, 1), (num_relations, 2))
    return SceneGraph(
        boxes=np.concatenate([corners, corners + rng.uniform(5, 36, (num_objects, 2))], axis=1),
        labels=rng.integers(0, 5, num_objects),
        scores=rng.random(num_objects),
        relations=np.column_stack([pairs, rng.integers(0, 4, num_relations)]),
        relation_scores=np.sort(rng.random(num_relations))[::-1].copy(),
        predicate_probabilities=rng.dirichlet(np.ones(5), num_relations).reshape(-1, 5),
        query_indices=np.arange(num_relations),
        image_size=SIZE,
        id2label=id2label or ID2LABEL,
        id2predicate=ID2PREDICATE,
    )


def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def arrows(axes):
    return [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


def overlapping_texts(axes):
    renderer = axes.figure.canvas.get_renderer()
    extents = [(text.get_text(), text.get_window_extent(renderer)) for text in axes.texts]
    return [(a, b) for (a, x), (b, y) in itertools.combinations(extents, 2) if x.overlaps(y)]


@pytest.mark.parametrize("num_relations", [1, 6, 15, 30])
def test_every_object_and_relation_is_drawn_and_no_text_covers_another(num_relations):
    graph = make_graph(2 + num_relations // 2, num_relations)
    image_axes, graph_axes, _ = plot_scene_graph(graph, picture()).axes
    assert sum(isinstance(patch, Rectangle) for patch in image_axes.patches) == len(graph.boxes)
    assert sorted(re.sub(r" \d+$", "", name) for name in texts(image_axes)) == sorted(
        ID2LABEL[label] for label in graph.labels.tolist()
    )
    assert sorted(texts(graph_axes)[num_relations:]) == sorted(texts(image_axes))
    assert texts(graph_axes)[0] == f"{graph.triplets()[0].predicate} {graph.relation_scores[0]:.2f}"
    assert len(arrows(graph_axes)) == num_relations
    assert overlapping_texts(graph_axes) == []


def test_labels_on_the_image_do_not_cover_each_other():
    boxes = [[10, 10, 90, 80], [12, 11, 80, 70], [10, 12, 100, 90], [11, 40, 100, 92]]
    graph = SceneGraph.from_annotation(boxes, [0, 0, 1, 3], [], SIZE, ID2LABEL, ID2PREDICATE)
    image_axes = plot_scene_graph(graph, picture()).axes[0]
    assert sorted(texts(image_axes)) == ["horse", "man 1", "man 2", "surfboard"]
    assert overlapping_texts(image_axes) == []


def test_everything_stays_inside_the_figure():
    figure = plot_scene_graph(make_graph(12, 15), picture(), title="A title")
    renderer = figure.canvas.get_renderer()
    width, height = figure.canvas.get_width_height()
    extents = [text.get_window_extent(renderer) for axes in figure.axes for text in axes.texts]
    assert len(extents) > 27
    assert all(e.x0 >= 0 and e.y0 >= 0 and e.x1 <= width and e.y1 <= height for e in extents)
    assert "A title" in [text.get_text() for text in figure.texts]


def test_an_object_has_one_colour_in_image_and_graph():
    image_axes, graph_axes, _ = plot_scene_graph(make_graph(6, 6), picture()).axes
    on_image = {text.get_text(): to_hex(text.get_bbox_patch().get_facecolor()) for text in image_axes.texts}
    in_graph = {text.get_text(): to_hex(text.get_bbox_patch().get_facecolor()) for text in graph_axes.texts[6:]}
    assert on_image == in_graph
    assert len(set(on_image.values())) == 6


@pytest.mark.parametrize(
    "graph",
    [
        make_graph(0, 0),
        make_graph(1, 0),
        make_graph(1, 3),  # an object related to itself
        make_graph(2, 6),  # several relations of one pair, both directions
        make_graph(30, 2),
        make_graph(3, 2, id2label=dict(enumerate(["$x_1$", "a_b", "\\frac", "<b>", "µ"]))),
    ],
)
def test_unusual_graphs_are_drawn(graph, tmp_path):
    figure = plot_scene_graph(graph)
    figure.savefig(tmp_path / "graph.png")
    assert len(arrows(figure.axes[1])) == len(graph)
    assert len(figure.axes[0].texts) == len(graph.boxes)
    assert overlapping_texts(figure.axes[1]) == []


def shaped_graph(size, num_objects=8, seed=0):
    """Objects of an image of any shape, each related to the next."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 1, (num_objects, 2, 2)), axis=1).reshape(-1, 4)
    relations = [[i, i + 1, i % 4] for i in range(num_objects - 1)]
    boxes, labels = corners * np.tile(size[::-1], 2), rng.integers(0, 5, num_objects)
    return SceneGraph.from_annotation(boxes, labels, relations, size, ID2LABEL, ID2PREDICATE)


@pytest.mark.parametrize("size", [(60, 2000), (2000, 60), (1, 5000), (3, 4), (1, 1)])
def test_names_have_room_beside_images_of_any_shape(size):
    figure = plot_scene_graph(shaped_graph(size), Image.new("RGB", size[::-1]))
    image_axes, graph_axes, _ = figure.axes
    assert overlapping_texts(image_axes) == overlapping_texts(graph_axes) == []
    renderer = figure.canvas.get_renderer()
    graph_left = graph_axes.get_window_extent().x0
    assert all(text.get_window_extent(renderer).x1 <= graph_left for text in image_axes.texts)


def test_names_of_crowded_boxes_are_led_to_them():
    boxes = [[50, 40, 54, 43]] * 12
    graph = SceneGraph.from_annotation(boxes, [3] * 12, [], SIZE, ID2LABEL, ID2PREDICATE)
    image_axes = plot_scene_graph(graph).axes[0]
    assert overlapping_texts(image_axes) == []
    assert 0 < len(image_axes.lines) < 12  # those that found no place at the box
    for line in image_axes.lines:
        assert 50 <= line.get_xdata()[1] <= 54 and 40 <= line.get_ydata()[1] <= 43


def test_objects_without_relation_do_not_flood_the_picture():
    graph = make_graph(300, 8)
    in_relation = len(graph.filter().boxes)
    image_axes, graph_axes, _ = plot_scene_graph(graph).axes
    assert len(image_axes.texts) == len(graph_axes.texts) - 8 == 40
    assert len(plot_scene_graph(graph, max_objects=0).axes[0].texts) == in_relation
    assert len(plot_scene_graph(graph, max_relations=4).axes[0].texts) == len(graph.top(4).boxes)
    best = plot_scene_graph(graph.top(0, keep_isolated=True), max_objects=1).axes[0]
    assert texts(best) == [ID2LABEL[graph.labels[graph.scores.argmax()].item()]]


def test_arrows_have_the_colour_of_their_subject():
    graph = make_graph(5, 6)
    image_axes, graph_axes, _ = plot_scene_graph(graph).axes
    colors = [to_hex(text.get_bbox_patch().get_facecolor()) for text in graph_axes.texts[6:]]
    assert [to_hex(arrow.get_edgecolor()) for arrow in arrows(graph_axes)] == [
        colors[subject] for subject in graph.relations[:, 0].tolist()
    ]


def test_endless_names_are_shortened_but_keep_their_number():
    graph = SceneGraph.from_annotation([[0, 0, 9, 9]] * 2, [0, 0], [[0, 1, 0]], SIZE, {0: "x" * 500}, {0: "y" * 500})
    image_axes, graph_axes, _ = plot_scene_graph(graph, show_scores=False).axes
    assert max(map(len, texts(image_axes) + texts(graph_axes))) == 48
    assert sorted(name[-2:] for name in texts(image_axes)) == [" 1", " 2"]


def test_large_images_are_drawn_with_fewer_pixels():
    graph = shaped_graph((6000, 4000))
    shown = plot_scene_graph(graph, Image.new("RGB", (4000, 6000), "red")).axes[0].images[0].get_array()
    assert shown.shape == (1500, 1000, 3) and (shown[0, 0] == [255, 0, 0]).all()


def test_two_relations_of_one_pair_do_not_cross():
    layout = layout_scene_graph(np.array([[0, 1, 0], [0, 1, 1]]), np.full((2, 2), [40, 16]), np.full((2, 2), [60, 14]))
    (first, second), (left, right) = layout.objects, layout.relations
    along = second - first
    sides = [np.sign(along[0] * (label - first)[1] - along[1] * (label - first)[0]) for label in (left, right)]
    assert sorted(sides) == [-1, 1]


def test_one_pixel_and_grey_images():
    graph = SceneGraph.from_annotation([[0, 0, 1, 1]], [0], [], (1, 1), ID2LABEL, ID2PREDICATE)
    assert texts(plot_scene_graph(graph, Image.new("L", (1, 1))).axes[0]) == ["man"]


def test_wrong_image_is_refused():
    with pytest.raises(ValueError, match=r"shape \(96, 128\[, 3\]\), got an image of shape \(3, 96, 128\)"):
        plot_scene_graph(make_graph(2, 1), np.zeros((3, 96, 128)))


def test_max_relations_limits_the_drawing():
    graph = make_graph(6, 12)
    assert len(arrows(plot_scene_graph(graph, max_relations=4).axes[1])) == 4
    assert len(arrows(plot_scene_graph(graph, max_relations=None).axes[1])) == 12


def test_graph_plots_itself():
    graph = make_graph(3, 2)
    figure = graph.plot(picture(), show_scores=False)
    assert texts(figure.axes[1])[:2] == [triplet.predicate for triplet in graph.triplets()]


def test_pyplot_and_its_global_state_are_not_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
    figure = make_graph(3, 2).plot(picture())
    assert len(arrows(figure.axes[1])) == 2


@settings(max_examples=25, deadline=None)
@given(num_objects=st.integers(1, 12), num_relations=st.integers(0, 20), seed=st.integers(0, 999))
def test_layout_keeps_texts_apart_and_inside(num_objects, num_relations, seed):
    rng = np.random.default_rng(seed)
    relations = rng.integers(0, num_objects, (num_relations, 3))
    sizes = rng.uniform(5, 90, (num_objects, 2)), rng.uniform(5, 90, (num_relations, 2))
    layout = layout_scene_graph(relations, *sizes)
    again = layout_scene_graph(relations, *sizes)
    assert np.array_equal(layout.objects, again.objects) and layout.size == again.size
    centers, half = np.concatenate([layout.objects, layout.relations]), np.concatenate(sizes) / 2
    low, high = centers - half, centers + half
    assert (low >= -1e-6).all() and (high <= np.array(layout.size) + 1e-6).all()
    apart = (low[:, None] >= high[None] - 1e-4).any(-1) | (low[None] >= high[:, None] - 1e-4).any(-1)
    assert apart[~np.eye(len(apart), dtype=bool)].all()


def riding_pair():
    """Prediction: one hit, one wrong predicate, one misplaced box; truth: three relations."""
    boxes = [[0, 0, 40, 40], [50, 0, 90, 40], [0, 50, 40, 90]]
    truth = SceneGraph.from_annotation(
        boxes, [0, 1, 2], [[0, 1, 0], [0, 2, 1], [2, 0, 3]], SIZE, ID2LABEL, ID2PREDICATE
    )
    predicted = SceneGraph.from_annotation(
        [boxes[1], boxes[0], [60, 60, 70, 70]],
        [1, 0, 2],
        [[1, 0, 0], [1, 0, 3], [1, 2, 1]],
        SIZE,
        ID2LABEL,
        ID2PREDICATE,
    )
    return predicted, truth


def test_hits_are_those_of_the_metric():
    predicted, truth = riding_pair()
    hits = find_hits(predicted, truth)
    assert hits.tolist() == [[True, False, False], [False] * 3, [False] * 3]
    metric = SceneGraphRecall(num_predicates=4, ks=(20,))
    metric.add_batch([predicted], [truth])
    assert metric.compute()["R@20"] == pytest.approx(hits.any(axis=0).mean())


def test_comparison_marks_hits_and_misses():
    predicted, truth = riding_pair()
    figure = compare_scene_graphs(picture(), predicted, truth)
    assert [text.get_text() for text in figure.texts] == [
        "Predicted: 1 of 3 relations correct",
        "True: 1 of 3 relations found",
    ]
    _, predicted_graph, predicted_list, _, true_graph, true_list = figure.axes
    assert texts(predicted_list) == [
        "\u2713 man riding horse 1.00",
        "\u2717 man near horse 1.00",
        "\u2717 man wearing hat 1.00",
    ]
    assert texts(true_list)[1:] == ["\u2717 man wearing hat", "\u2717 hat near man"]
    for axes in (predicted_graph, true_graph):
        assert [to_hex(arrow.get_edgecolor()) for arrow in arrows(axes)] == [HIT_COLOR, MISS_COLOR, MISS_COLOR]
        assert overlapping_texts(axes) == []


def test_comparison_gives_the_same_object_the_same_colour():
    predicted, truth = riding_pair()
    axes = compare_scene_graphs(picture(), predicted, truth).axes
    colors = [{t.get_text(): to_hex(t.get_bbox_patch().get_facecolor()) for t in a.texts} for a in (axes[0], axes[3])]
    assert colors[0]["man"] == colors[1]["man"] and colors[0]["horse"] == colors[1]["horse"]
    assert colors[0]["hat"] not in colors[1].values()  # elsewhere: not that hat


def test_comparison_counts_only_what_it_draws():
    predicted, truth = riding_pair()
    figure = compare_scene_graphs(
        picture(), predicted.filter(predicates=["near", "wearing"]), truth, num_predictions=1
    )
    assert figure.texts[0].get_text() == "Predicted: 0 of 1 relations correct"
    assert len(arrows(figure.axes[1])) == 1


def test_comparison_goes_by_names():
    predicted, truth = riding_pair()
    fields = truth.to_dict() | {"id2predicate": {0: "wearing", 1: "riding", 2: "in front of", 3: "near"}}
    fields |= {"relations": [[0, 1, 1], [0, 2, 0], [2, 0, 3]], "labels": [7, 0, 1]}
    fields["id2label"] = {7: "man", 0: "horse", 1: "hat"}
    figure = compare_scene_graphs(picture(), predicted, SceneGraph.from_dict(fields))
    assert figure.texts[0].get_text() == "Predicted: 1 of 3 relations correct"
    colors = [{t.get_text(): t.get_bbox_patch().get_facecolor() for t in figure.axes[i].texts} for i in (0, 3)]
    assert colors[0]["man"] == colors[1]["man"] and colors[0]["horse"] == colors[1]["horse"]


def test_comparison_without_any_prediction():
    _, truth = riding_pair()
    figure = compare_scene_graphs(picture(), truth.top(0), truth)
    assert figure.texts[0].get_text() == "Predicted: 0 of 0 relations correct"


def write_gallery(folder, **overrides):
    predicted, truth = riding_pair()
    metrics = {
        "trained": {"R@20": 0.41234, "zR@20": math.nan, "num_images": 3, "recall_per_predicate@20": [1.0, 0.0]},
        "<untrained>": {"R@20": 0.01},
    }
    options = {"title": "Scenes & <script>graphs</script>", "metrics": metrics, "dpi": 40}
    examples = [GalleryExample(picture(), predicted, truth, "<img src=x onerror=alert(1)>.jpg")] * 2
    return write_html_gallery(folder, examples, **(options | overrides))


def test_gallery_page_is_self_contained(tmp_path):
    index = write_gallery(tmp_path / "a" / "gallery")
    page = index.read_text(encoding="utf-8")
    assert re.search(r"https?:|//[a-z]|@import|url\(|<script|<link", page) is None
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources == ["pictures/0000.png", "pictures/0001.png"]
    for source in sources:
        with Image.open(index.parent / source) as png:
            assert png.format == "PNG" and min(png.size) > 100
    assert list(index.parent.rglob("*.tmp")) == []


def test_gallery_escapes_every_text(tmp_path):
    page = write_gallery(tmp_path).read_text(encoding="utf-8")
    assert "<h1>Scenes &amp; &lt;script&gt;graphs" in page
    assert "<img src=x" not in page and "&lt;img src=x onerror" in page
    assert "&lt;untrained&gt;" in page


def test_gallery_shows_numbers_and_relations(tmp_path):
    page = write_gallery(tmp_path).read_text(encoding="utf-8")
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)]
    assert rows[1:] == [["R@20", "41.23", "1.00"], ["zR@20", "\u2013", "\u2013"], ["num_images", "3", "\u2013"]]
    assert '<li class="hit">man <b>riding</b> horse (1.00)</li>' in page
    assert '<li class="miss">hat <b>near</b> man</li>' in page


def test_empty_gallery_has_no_table(tmp_path):
    page = write_html_gallery(tmp_path, [], title="Nothing").read_text(encoding="utf-8")
    assert "<table>" not in page and "<h1>Nothing</h1>" in page
