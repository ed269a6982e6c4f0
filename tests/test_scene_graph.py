import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from speaq_hf.scene_graph import SceneGraph
from tests.predictions.factories import random_graph


ID2LABEL = {0: "man", 1: "horse", 2: "hat"}
ID2PREDICATE = {0: "riding", 1: "wearing"}
OBJECT_FIELDS = ("boxes", "labels", "scores")
RELATION_FIELDS = ("relations", "relation_scores", "predicate_probabilities", "query_indices")


def make_graph(num_objects: int = 4, num_relations: int = 5, seed: int = 0) -> SceneGraph:
    generator = torch.Generator().manual_seed(seed)
    relations = torch.randint(0, max(num_objects, 1), (num_relations, 2), generator=generator)
    predicates = torch.randint(0, 2, (num_relations, 1), generator=generator)
    return SceneGraph(
        boxes=torch.rand(num_objects, 4, generator=generator) * 100,
        labels=torch.randint(0, 3, (num_objects,), generator=generator),
        scores=torch.rand(num_objects, generator=generator),
        relations=torch.cat([relations, predicates], dim=1),
        relation_scores=torch.rand(num_relations, generator=generator).sort(descending=True).values,
        predicate_probabilities=torch.rand(num_relations, 3, generator=generator).softmax(-1),
        query_indices=torch.arange(num_relations),
        image_size=(100, 120),
        id2label=ID2LABEL,
        id2predicate=ID2PREDICATE,
    )


def riding_scene() -> SceneGraph:
    """man 0 rides horse 1 and wears hat 2; man 3 stands alone."""
    return SceneGraph(
        boxes=[[0, 0, 10, 10], [0, 5, 20, 20], [2, 0, 6, 2], [30, 0, 40, 20]],
        labels=[0, 1, 2, 0],
        scores=[0.9, 0.8, 0.7, 0.6],
        relations=[[0, 1, 0], [0, 2, 1]],
        relation_scores=[0.5, 0.25],
        predicate_probabilities=[[0.7, 0.2, 0.1], [0.2, 0.4, 0.4]],
        query_indices=[7, 3],
        image_size=(24, 48),
        id2label=ID2LABEL,
        id2predicate=ID2PREDICATE,
    )


def assert_same(a: SceneGraph, b: SceneGraph) -> None:
    for name in OBJECT_FIELDS + RELATION_FIELDS:
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right), name
    assert (a.image_size, a.id2label, a.id2predicate) == (b.image_size, b.id2label, b.id2predicate)
    assert a == b


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": [[0, 0, 10, 10], [0, 5, 20, 20], [2, 0, 6, 2], [30, 0, 40, 20.001]]},
        {"scores": [0.9, 0.8, 0.7, 0.61]},
        {"relations": [[0, 2, 1], [0, 1, 0]]},
        {"query_indices": [3, 7]},
        {"image_size": (48, 24)},
        {"id2label": {0: "man", 1: "horse", 2: "cap"}},
        {"id2label": {0: "man", 1: "horse", 2: "hat", 3: "dog"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_graphs_are_equal_when_all_fields_are(change):
    assert riding_scene() == riding_scene() != dataclasses.replace(riding_scene(), **change)
    assert riding_scene() != "graph" and riding_scene() not in [None]


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, dataclasses.replace, lambda graph: pickle.loads(pickle.dumps(graph))]
)
def test_graphs_can_be_copied(duplicate):
    graph = riding_scene()
    assert duplicate(graph) == graph and duplicate(graph) is not graph


def test_iterating_gives_the_relations_in_words():
    graph = riding_scene()
    assert list(graph) == graph.triplets() and len(list(graph)) == len(graph)
    assert np.array([graph, graph], dtype=object).shape == (2,)  # a graph is a thing, not a row


@settings(max_examples=50, deadline=None)
@given(num_objects=st.integers(1, 6), num_relations=st.integers(0, 8), seed=st.integers(0, 999))
def test_json_round_trip_is_exact(num_objects, num_relations, seed):
    graph = make_graph(num_objects, num_relations, seed)
    assert_same(SceneGraph.from_dict(json.loads(json.dumps(graph.to_dict(), allow_nan=False))), graph)


def test_empty_graph_keeps_shapes_through_json():
    empty = SceneGraph.from_annotation([], [], [], (1, 1), ID2LABEL, ID2PREDICATE)
    assert empty.boxes.shape == (0, 4) and empty.relations.shape == (0, 3)
    assert empty.predicate_probabilities.shape == (0, 3)
    assert len(empty) == 0 and empty.triplets() == [] and len(empty.top(5)) == 0
    assert_same(SceneGraph.from_dict(json.loads(json.dumps(empty.to_dict()))), empty)


def test_triplets_name_the_parts_and_keep_the_order():
    first, second = riding_scene().triplets()
    assert (first.subject, first.predicate, first.object) == ("man", "riding", "horse")
    assert (second.subject, second.predicate, second.object) == ("man", "wearing", "hat")
    assert first.score == 0.5 and second.object_score == pytest.approx(0.7)
    assert first.object_box == (0.0, 5.0, 20.0, 20.0)
    assert str(first) == "man riding horse (0.50)"


@settings(max_examples=50, deadline=None)
@given(num_objects=st.integers(1, 6), num_relations=st.integers(0, 8), k=st.integers(0, 10), seed=st.integers(0, 999))
def test_top_is_a_prefix_and_drops_idle_objects(num_objects, num_relations, k, seed):
    graph = make_graph(num_objects, num_relations, seed)
    top = graph.top(k)
    assert top.triplets() == graph.triplets()[:k]
    assert sorted(set(top.relations[:, :2].flatten().tolist())) == list(range(len(top.boxes)))
    assert len(graph.top(k, keep_isolated=True).boxes) == num_objects


def test_filter_by_predicate_renumbers_and_carries_every_field():
    kept = riding_scene().filter(predicates=["wearing"])
    assert kept.relations.tolist() == [[0, 1, 1]]
    assert kept.labels.tolist() == [0, 2]
    assert kept.query_indices.tolist() == [3]
    assert kept.predicate_probabilities[0].tolist() == pytest.approx([0.2, 0.4, 0.4])


def test_filter_by_label_needs_both_ends():
    graph = riding_scene()
    assert [str(t) for t in graph.filter(labels=["man", 2]).triplets()] == ["man wearing hat (0.25)"]
    assert len(graph.filter(labels=["man"]).boxes) == 0
    assert graph.filter(labels=["man"], keep_isolated=True).scores.tolist() == pytest.approx([0.9, 0.6])
    assert len(graph.filter(labels=[])) == 0


@pytest.mark.parametrize(
    "labels",
    [(name for name in ("man", "hat")), np.array([0, 2]), np.array(["man", "hat"]), torch.tensor([0, 2]), {0, "hat"}],
)
def test_filter_takes_any_collection(labels):
    assert [str(t) for t in riding_scene().filter(labels=labels).triplets()] == ["man wearing hat (0.25)"]


def test_filter_by_scores():
    graph = riding_scene()
    assert len(graph.filter(min_score=0.5)) == 1
    assert len(graph.filter(min_object_score=0.75)) == 1
    assert len(graph.filter()) == 2 and len(graph.filter().boxes) == 3


def test_filter_by_the_ends():
    def words(**conditions):
        return [str(triplet).split(" (")[0] for triplet in riding_scene().filter(**conditions)]

    assert words(subjects=["man"]) == ["man riding horse", "man wearing hat"]
    assert words(subjects=["man"], objects=["hat", 0]) == ["man wearing hat"]
    assert words(objects=["man"]) == words(subjects=["hat"]) == []
    assert words(involving=["horse"]) == ["man riding horse"]
    assert words(involving=["horse", "hat"], predicates=["wearing"]) == ["man wearing hat"]
    assert len(riding_scene().filter(subjects=["hat"], keep_isolated=True).boxes) == 4


def test_filter_by_region():
    def kept(
        region, **options
    ):  # boxes: man (0, 0, 10, 10), horse (0, 5, 20, 20), hat (2, 0, 6, 2), man (30, 0, 40, 20)
        return riding_scene().filter(region=region, keep_isolated=True, **options).boxes[:, 2].int().tolist()

    assert kept((0, 0, 48, 24)) == [10, 20, 6, 40]
    assert kept((0, 0, 10, 12)) == [10, 6] and kept((0, 0, 10, 12.5)) == [10, 20, 6]  # the edge belongs to it
    assert kept((0, 0, 10, 12.5), region_rule="inside") == [10, 6] and kept((0, 0, 9, 9), region_rule="inside") == [6]
    assert kept((8, 8, 31, 9), region_rule="overlap") == [10, 20, 40]
    assert kept((10, 0, 30, 4), region_rule="overlap") == []  # touching is not enough
    assert [str(triplet) for triplet in riding_scene().filter(region=(0, 0, 9, 9))] == ["man wearing hat (0.25)"]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), corners=st.lists(st.integers(0, 100), min_size=4, max_size=4, unique=True))
def test_inside_is_stricter_than_centre_and_centre_than_overlap(seed, corners):
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    graph = random_graph(seed, 12)
    kept = [
        set(map(tuple, graph.filter(region=(x1, y1, x2, y2), region_rule=rule, keep_isolated=True).boxes.tolist()))
        for rule in ("inside", "center", "overlap")
    ]
    assert kept[0] <= kept[1] <= kept[2]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"region": (0, 0, 0, 5)}, "`region` must be .* x1 < x2 and y1 < y2, got .0.0, 0.0, 0.0, 5.0"),
        ({"region": (0, 0, 5)}, "`region` must be"),
        ({"region": (0, 0, float("nan"), 5)}, "`region` must be"),
        ({"region": (0, 0, 5, 5), "region_rule": "near"}, "`region_rule` must be one of .*got 'near'"),
        ({"subjects": ["unicorn"]}, r"`subjects` \['unicorn'\]"),
        ({"objects": "hat"}, "`objects` must be a collection, got the string 'hat'"),
        ({"involving": [9]}, r"`involving` \[9\]"),
    ],
)
def test_filter_says_what_is_wrong(conditions, message):
    with pytest.raises(ValueError, match=message):
        riding_scene().filter(**conditions)


def test_filter_names_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"`labels` \['unicorn'\]"):
        riding_scene().filter(labels=["man", "unicorn"])
    with pytest.raises(ValueError, match=r"`labels` \[7\]"):
        riding_scene().filter(labels=np.array([0, 7]))
    with pytest.raises(ValueError, match=r"`predicates` \['on'\]"):
        riding_scene().filter(predicates=(name for name in ("riding", "on")))
    with pytest.raises(TypeError, match="`labels` must be a collection, got 3"):
        riding_scene().filter(labels=3)
    with pytest.raises(ValueError, match="got the string 'riding'"):
        riding_scene().filter(predicates="riding")
    with pytest.raises(ValueError, match="at least 0, got -1"):
        riding_scene().top(-1)


def test_select_by_masks():
    graph = riding_scene()
    assert [str(triplet) for triplet in graph.select(relations=graph.relation_scores < 0.5)] == [
        "man wearing hat (0.25)"
    ]
    kept = graph.select(objects=np.array([True, False, False, True]), keep_isolated=True)
    assert kept.boxes[:, 2].tolist() == [10, 40] and len(kept) == 0
    assert graph.select(keep_isolated=True) == graph and graph.select() == graph.filter()
    assert graph.top(0).select(objects=[], relations=[]) == graph.top(0)
    with pytest.raises(ValueError, match=r"`objects` must be 4 booleans, got shape \(2,\)"):
        graph.select(objects=[True, False])
    with pytest.raises(ValueError, match=r"`relations` must be 2 booleans, got shape \(2,\) of torch.int64"):
        graph.select(relations=[0, 1])


def test_annotation_becomes_a_certain_graph():
    boxes, labels = np.array([[0, 0, 4, 4], [2, 2, 8, 8]], dtype=np.float64), np.array([0, 1])
    graph = SceneGraph.from_annotation(boxes, labels, [[0, 1, 0]], (10, 10), ID2LABEL, {"0": "riding", "1": "on"})
    assert graph.scores.tolist() == [1, 1] and graph.relation_scores.tolist() == [1]
    assert graph.predicate_probabilities.tolist() == [[1, 0, 0]]
    assert graph.query_indices.tolist() == [-1]


def test_repr_is_short_and_says_what_is_in_it():
    text = repr(riding_scene())
    assert text == ("SceneGraph(4 objects, 2 relations, image 24x48: man riding horse (0.50), man wearing hat (0.25))")
    assert len(repr(make_graph(30, 300))) < 200


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        ("boxes", torch.zeros(4, 3), ValueError, r"`boxes` must have shape \(n, 4\), got \(4, 3\)"),
        ("labels", [0, 1], ValueError, "`labels` has 2 rows but `boxes` has 4"),
        ("labels", [0, 1, 2, 9], ValueError, "`labels` row 3 is 9, which is not in `id2label`"),
        ("labels", [0.0, 1.0, 2.0, 0.5], TypeError, "`labels` must hold integers"),
        ("relations", [[0, 1, 0], [0, 4, 1]], ValueError, r"row 1 is \[0, 4\], but there are 4 objects"),
        ("relations", [[0, 1, 0], [-1, 2, 1]], ValueError, r"row 1 is \[-1, 2\]"),
        ("relations", [[0, 1, 2], [0, 2, 1]], ValueError, "row 0 is 2, which is not in `id2predicate`"),
        ("relation_scores", [], ValueError, "`relation_scores` has 0 rows but `relations` has 2"),
        ("predicate_probabilities", torch.zeros(2, 2), ValueError, r"must have shape \(n, 3\), got \(2, 2\)"),
        ("image_size", (3, 24, 48), ValueError, r"must be \(height, width\)"),
        ("image_size", (0, 48), ValueError, "each at least 1 pixel, got \\(0, 48\\)"),
        ("image_size", (24.5, 48), TypeError, "two integers"),
        ("image_size", 24, TypeError, "two integers"),
        ("boxes", [[0, 0, 1, 1]] * 3 + [[0, 0, np.nan, 1]], ValueError, "`boxes` must be finite.*nan.* in row 3"),
        ("scores", [0.5, 0.5, np.inf, 0.5], ValueError, "`scores` must be finite, got inf in row 2"),
        ("relation_scores", [0.5, np.nan], ValueError, "`relation_scores` must be finite, got nan in row 1"),
        ("predicate_probabilities", [[np.nan, 0, 0]] * 2, ValueError, "`predicate_probabilities` must be finite"),
        ("id2predicate", {0: "riding", 2: "wearing"}, ValueError, "without gaps"),
    ],
)
def test_malformed_field_is_named(field, value, error, message):
    with pytest.raises(error, match=message):
        SceneGraph.from_dict(riding_scene().to_dict() | {field: value})


@pytest.mark.parametrize(
    "opened",
    [str, lambda path: path, lambda path: path.read_bytes(), Image.open],
    ids=["str", "path", "bytes", "PIL"],
)
def test_plot_opens_files_and_turns_them_upright(tmp_path, opened):
    pytest.importorskip("matplotlib")
    pytest.importorskip("networkx")
    image, exif = Image.new("RGB", (24, 48), "red"), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # stored lying: upright it is 48 wide and 24 high, as the graph says
    image.save(tmp_path / "lying.png", exif=exif)
    assert riding_scene().plot(opened(tmp_path / "lying.png")).axes


def test_from_dict_names_missing_and_unknown_fields():
    fields = riding_scene().to_dict()
    del fields["scores"]
    with pytest.raises(ValueError, match=r"missing fields \['scores'\], unknown fields \['score'\]"):
        SceneGraph.from_dict(fields | {"score": []})


def test_tensors_leave_the_graph_of_gradients():
    boxes = torch.rand(2, 4, requires_grad=True)
    graph = SceneGraph.from_annotation(boxes.to(torch.bfloat16), [0, 1], [], (10, 10), ID2LABEL, ID2PREDICATE)
    assert not graph.boxes.requires_grad and graph.boxes.dtype == torch.float32


def test_top_takes_numbers_of_any_size():
    graph = SceneGraph.from_annotation([[0, 0, 1, 1]], [0], [[0, 0, 0]], (1, 1), {0: "a"}, {0: "p"})
    assert graph.top(10**30) == graph
