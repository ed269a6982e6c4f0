"""The union of scene graphs."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speaq_hf.scene_graph import SceneGraph
from tests.predictions.factories import random_graph
from tests.test_scene_graph import riding_scene


def graphs(first_seed: int) -> st.SearchStrategy[SceneGraph]:
    seeds = st.integers(first_seed, first_seed + 10**6)
    return st.builds(random_graph, seeds, num_objects=st.integers(1, 7), num_relations=st.integers(0, 9))


def merged_once(graph: SceneGraph) -> SceneGraph:
    """The graph with every relation once."""
    return graph.merge(graph.top(0))


def contents(graph: SceneGraph) -> tuple[list, list]:
    """Objects and relations by name, in an order that does not depend on rows and ids."""
    objects = [
        (graph.id2label[label], score, *box)
        for label, score, box in zip(graph.labels.tolist(), graph.scores.tolist(), graph.boxes.tolist(), strict=True)
    ]
    relations = [
        (score, objects[s], graph.id2predicate[p], objects[o], named_probabilities(graph, row))
        for row, ((s, o, p), score) in enumerate(
            zip(graph.relations.tolist(), graph.relation_scores.tolist(), strict=True)
        )
    ]
    return sorted(objects), sorted(relations)


def named_probabilities(graph: SceneGraph, row: int) -> list:
    values = graph.predicate_probabilities[row].tolist()
    named = [(name, values[key]) for key, name in graph.id2predicate.items() if values[key]]
    return [*sorted(named), ("no relation", values[-1])]


def jittered(graph: SceneGraph, seed: int) -> SceneGraph:
    """The graph as another model may see it: moved a little, other scores, rows and vocabulary in another order."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(graph.boxes), generator=generator)
    new_row = rows.argsort()
    relations = torch.cat([new_row[graph.relations[:, :2]], 1 - graph.relations[:, 2:]], dim=1)
    return SceneGraph(
        boxes=graph.boxes[rows] + torch.rand(len(rows), 4, generator=generator) * 6,
        labels=2 - graph.labels[rows],
        scores=torch.rand(len(rows), generator=generator),
        relations=relations,
        relation_scores=torch.rand(len(graph), generator=generator).sort(descending=True).values,
        predicate_probabilities=graph.predicate_probabilities[:, [1, 0, 2]],
        query_indices=graph.query_indices,
        image_size=graph.image_size,
        id2label={2: "man", 1: "horse", 0: "hat"},
        id2predicate={1: "riding", 0: "wearing"},
    )


@settings(max_examples=50, deadline=None)
@given(graph=graphs(0))
def test_merging_with_itself_or_with_nothing_changes_nothing(graph):
    graph = merged_once(graph)
    assert graph.merge(graph) == graph
    assert graph.merge(graph.top(0)) == graph
    assert contents(graph.top(0).merge(graph)) == contents(graph)
    assert merged_once(graph) == graph


@settings(max_examples=100, deadline=None)
@given(graph=graphs(0), other=graphs(10**7), seed=st.integers(0, 10**6), threshold=st.sampled_from([0.2, 0.5, 0.9]))
def test_the_order_of_the_two_does_not_matter(graph, other, seed, threshold):
    for second in (other, jittered(graph, seed)):  # with other seeds, hence without equal scores
        ours, theirs = graph.merge(second, threshold), second.merge(graph, threshold)
        assert contents(ours) == contents(theirs)


@settings(max_examples=50, deadline=None)
@given(graph=graphs(0), seed=st.integers(0, 10**6))
def test_nothing_is_lost_and_objects_keep_their_rows(graph, seed):
    other = jittered(graph, seed)
    union = graph.merge(other)
    assert union.labels[: len(graph.boxes)].tolist() == graph.labels.tolist()
    assert max(len(graph.boxes), len(other.boxes)) <= len(union.boxes) <= len(graph.boxes) + len(other.boxes)
    assert (union.relation_scores.diff() <= 0).all()
    assert len({tuple(row) for row in union.relations.tolist()}) == len(union)
    words = {str(t).split(" (")[0] for g in (graph, other) for t in g}
    assert {str(t).split(" (")[0] for t in union} == words
    best = max((t.score for g in (graph, other) for t in g), default=None)
    assert best == (union.relation_scores[0].item() if len(union) else None)


def seen_by_another_model() -> SceneGraph:
    """Of the riding scene: the man, a bit lower and surer, beside a dog, which the other vocabulary lacks."""
    return SceneGraph(
        boxes=[[50, 0, 60, 20], [0, 1, 10, 11], [0, 5, 20, 20]],
        labels=[0, 5, 3],
        scores=[0.4, 0.95, 0.1],
        relations=[[1, 2, 1], [1, 0, 0]],
        relation_scores=[0.6, 0.3],
        predicate_probabilities=[[0.1, 0.8, 0.1], [0.5, 0.3, 0.2]],
        query_indices=[0, 1],
        image_size=(24, 48),
        id2label={0: "dog", 5: "man", 3: "horse"},
        id2predicate={0: "beside", 1: "riding"},
    )


def test_vocabularies_meet_by_name_and_the_higher_score_wins():
    union = riding_scene().merge(seen_by_another_model())
    assert union.id2label == {0: "man", 1: "horse", 2: "hat", 3: "dog"}
    assert union.id2predicate == {0: "riding", 1: "wearing", 2: "beside"}
    assert union.labels.tolist() == [0, 1, 2, 0, 3]
    assert union.boxes[0].tolist() == [0, 1, 10, 11]  # the surer one
    assert union.scores.tolist() == pytest.approx([0.95, 0.8, 0.7, 0.6, 0.4])
    assert union.relations.tolist() == [[0, 1, 0], [0, 4, 2], [0, 2, 1]]
    assert union.relation_scores.tolist() == pytest.approx([0.6, 0.3, 0.25])
    assert union.predicate_probabilities[0].tolist() == pytest.approx([0.8, 0, 0.1, 0.1])
    assert union.predicate_probabilities[2].tolist() == pytest.approx([0.2, 0.4, 0, 0.4])
    assert union.query_indices.tolist() == [-1, -1, 3]


def test_every_object_meets_one_other_at_most():
    one = SceneGraph.from_annotation([[0, 0, 10, 10]], [0], [], (9, 9), {0: "man"}, {0: "on"})
    two = SceneGraph.from_annotation(
        [[0, 0, 10, 8], [0, 0, 10, 9]], [0, 0], [[0, 1, 0]], (9, 9), {0: "man"}, {0: "on"}
    )
    union = one.merge(two)
    assert union.boxes.tolist() == [[0, 0, 10, 10], [0, 0, 10, 8]]  # the second of the two overlaps most
    assert union.relations.tolist() == [[1, 0, 0]]
    assert len(one.merge(two, iou_threshold=0.95).boxes) == 3


def test_boxes_without_area_meet_themselves():
    graph = SceneGraph.from_annotation(
        [[3, 3, 3, 3], [5, 2, 1, 0]], [0, 0], [[0, 1, 0]], (9, 9), {0: "dot"}, {0: "on"}
    )
    assert graph.merge(graph) == graph


def test_names_that_a_vocabulary_repeats():
    fields = riding_scene().to_dict() | {"id2label": {0: "man", 1: "horse", 2: "horse"}}
    graph = SceneGraph.from_dict(fields)
    assert graph.merge(graph) == graph
    union = riding_scene().merge(graph)
    assert union.id2label == riding_scene().id2label
    assert union.labels.tolist() == [0, 1, 2, 0, 1]  # what is a hat for one is a horse for the other


def test_merging_needs_one_image():
    with pytest.raises(ValueError, match=r"one size \(height, width\), got \(24, 48\) and \(24, 24\)"):
        riding_scene().merge(dataclasses.replace(riding_scene(), image_size=(24, 24)))
    with pytest.raises(ValueError, match=r"in \(0, 1\], got 0"):
        riding_scene().merge(riding_scene(), iou_threshold=0)


def test_tiles_come_together():
    whole = random_graph(3, num_objects=8, num_relations=12)
    left, right = whole.filter(region=(0, 0, 60, 100), keep_isolated=True), whole.filter(region=(60, 0, 120, 100))
    shift = torch.tensor([60, 0, 60, 0])
    tile = dataclasses.replace(right, boxes=right.boxes - shift, image_size=(100, 60))
    placed = dataclasses.replace(tile, boxes=tile.boxes + shift, image_size=whole.image_size)
    assert len(right) and contents(left.merge(placed)) == contents(left.merge(right))
