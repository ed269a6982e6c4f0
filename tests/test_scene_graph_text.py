"""Scene graphs in words, for networkx and for Graphviz."""

import json
import re
import shutil
import subprocess
import sys

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speaq_hf.models.speaq.scene_graph_text_speaq import numbered_names
from speaq_hf.scene_graph import SceneGraph
from tests.predictions.factories import random_graph
from tests.test_scene_graph import riding_scene


NASTY_NAMES = [
    'say "hi"',
    "back\\slash",
    "\\N",
    "a\nb",
    "&amp; <b>",
    "名前 é",
    "x -> y;",
    "}",
    "",
    "tail\\",
    '\\"',
    "\x00",
]
names = st.text(max_size=8) | st.sampled_from(NASTY_NAMES)


def named_graph(labels: list[str], predicates: list[str]) -> SceneGraph:
    """Objects in a chain: each related to the next by the next predicate."""
    relations = [[i % len(labels), (i + 1) % len(labels), i] for i in range(len(predicates))]
    count = len(labels)
    return SceneGraph.from_annotation(
        [[0, 0, 5, 5]] * count, range(count), relations, (9, 9), dict(enumerate(labels)), dict(enumerate(predicates))
    )


def two_men() -> SceneGraph:
    """The riding scene, and the man who stands alone looks at the horse: objects man, horse, hat, man."""
    fields = riding_scene().to_dict()
    fields["relations"] = [[0, 1, 0], [3, 0, 1]]
    return SceneGraph.from_dict(fields)


def test_sentences():
    graph = two_men()
    assert graph.to_text() == "man 1 riding horse; man 2 wearing man 1."
    assert graph.to_text(scores=True) == "man 1 riding horse (0.50); man 2 wearing man 1 (0.25)."
    assert graph.to_text(keep_isolated=True) == "man 1 riding horse; man 2 wearing man 1. Without relation: hat."
    assert graph.to_text(boxes=True) == (
        "man 1 [0,0,10,10] riding horse [0,5,20,20]; man 2 [30,0,40,20] wearing man 1."
    )
    assert riding_scene().to_text() == "man riding horse; man wearing hat."  # no number without need


def test_compact():
    graph = two_men()
    assert graph.to_text("compact") == "objects: 0 man; 1 horse; 2 man\nrelations: 0 riding 1; 2 wearing 0"
    assert graph.to_text("compact", boxes=True, scores=True, keep_isolated=True) == (
        "image: 48x24\n"
        "objects: 0 man [0,0,10,10] 0.90; 1 horse [0,5,20,20] 0.80; 2 hat [2,0,6,2] 0.70; 3 man [30,0,40,20] 0.60\n"
        "relations: 0 riding 1 0.50; 3 wearing 0 0.25"
    )


def test_json():
    assert json.loads(two_men().to_text("json")) == {
        "objects": [{"id": 0, "name": "man"}, {"id": 1, "name": "horse"}, {"id": 2, "name": "man"}],
        "relations": [
            {"subject": 0, "predicate": "riding", "object": 1},
            {"subject": 2, "predicate": "wearing", "object": 0},
        ],
    }
    full = json.loads(two_men().to_text("json", boxes=True, scores=True))
    assert (full["width"], full["height"]) == (48, 24)
    assert full["objects"][1] == {"id": 1, "name": "horse", "box": [0, 5, 20, 20], "score": 0.8}
    assert full["relations"][1]["score"] == 0.25


def test_text_of_graphs_without_relations():
    alone, nothing = riding_scene().top(0, keep_isolated=True), riding_scene().top(0)
    assert alone.to_text() == nothing.to_text() == nothing.to_text(keep_isolated=True) == ""
    assert alone.to_text(keep_isolated=True) == "Without relation: man 1, horse, hat, man 2."
    assert nothing.to_text("compact") == "objects:\nrelations:"
    assert json.loads(nothing.to_text("json")) == {"objects": [], "relations": []}


def test_unknown_style_is_refused():
    with pytest.raises(ValueError, match="one of sentences, compact, json, got 'poem'"):
        riding_scene().to_text("poem")


@settings(max_examples=100, deadline=None)
@given(labels=st.lists(st.sampled_from(["man", "man 1", "man 2", "man\n2", ""]) | names, min_size=1, max_size=9))
def test_every_object_has_a_name_of_its_own(labels):
    given_names = numbered_names(named_graph(labels, []))
    assert len(set(given_names)) == len(labels)
    for label, name in zip(labels, given_names, strict=True):
        assert name.startswith(" ".join(label.split())) and "\n" not in name


@settings(max_examples=50, deadline=None)
@given(labels=st.lists(names, min_size=1, max_size=5), predicates=st.lists(names, max_size=5))
def test_text_keeps_its_lines_whatever_the_names(labels, predicates):
    graph = named_graph(labels, predicates)
    assert len(graph.to_text("compact", boxes=True, keep_isolated=True).splitlines()) == 3
    parsed = json.loads(graph.to_text("json", keep_isolated=True))
    assert [entry["name"] for entry in parsed["objects"]] == labels
    assert [entry["predicate"] for entry in parsed["relations"]] == predicates


@settings(max_examples=25, deadline=None)
@given(num_objects=st.integers(1, 6), num_relations=st.integers(0, 9), seed=st.integers(0, 999))
def test_networkx_holds_everything_and_survives_json(num_objects, num_relations, seed):
    graph = random_graph(seed, num_objects, num_relations)
    parsed = json.loads(json.dumps(nx.node_link_data(graph.to_networkx(), edges="edges"), allow_nan=False))
    restored = nx.node_link_graph(parsed, edges="edges")
    assert isinstance(restored, nx.MultiDiGraph) and restored.graph == {"width": 120, "height": 100}
    edges = sorted(restored.edges(data=True, keys=True), key=lambda edge: edge[2])
    assert [[s, o, d["predicate"], d["score"], d["rank"]] for s, o, _, d in edges] == [
        [s, o, graph.id2predicate[p], pytest.approx(score), rank]
        for rank, ((s, o, p), score) in enumerate(
            zip(graph.relations.tolist(), graph.relation_scores.tolist(), strict=True)
        )
    ]
    assert [restored.nodes[i]["box"] for i in range(num_objects)] == graph.boxes.tolist()
    assert [restored.nodes[i]["label"] for i in range(num_objects)] == [
        graph.id2label[label] for label in graph.labels.tolist()
    ]
    assert [restored.nodes[i]["score"] for i in range(num_objects)] == pytest.approx(graph.scores.tolist())


def test_networkx_is_asked_for_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ImportError, match="to_networkx needs `pip install networkx`"):
        riding_scene().to_networkx()


_DOT_TOKEN = re.compile(r'\s+|("(?:\\.|[^"\\])*")|([A-Za-z_]\w*)|(->|[{}\[\];=,])', re.DOTALL)


def dot_tokens(source: str) -> list[str]:
    """The tokens of a DOT file; fails where there is something that is none."""
    tokens, position = [], 0
    while position < len(source):
        match = _DOT_TOKEN.match(source, position)
        assert match, source[position:]
        tokens += [part for part in match.groups() if part]
        position = match.end()
    return tokens


def test_dot():
    assert riding_scene().to_dot() == (
        "digraph scene_graph {\n"
        '  node [shape=box, style="rounded"];\n'
        '  o0 [label="man 1"];\n'
        '  o1 [label="horse"];\n'
        '  o2 [label="hat"];\n'
        '  o3 [label="man 2"];\n'
        '  o0 -> o1 [label="riding 0.50"];\n'
        '  o0 -> o2 [label="wearing 0.25"];\n'
        "}\n"
    )
    assert '[label="riding"]' in riding_scene().to_dot(scores=False)


@settings(max_examples=100, deadline=None)
@given(labels=st.lists(names, min_size=1, max_size=4), predicates=st.lists(names, max_size=4))
def test_dot_has_one_statement_per_object_and_relation_whatever_the_names(labels, predicates):
    tokens = dot_tokens(named_graph(labels, predicates).to_dot())
    assert tokens.count(";") == 1 + len(labels) + len(predicates)
    assert tokens.count("->") == len(predicates) and tokens.count("label") == len(labels) + len(predicates)
    assert tokens[-1] == "}" and all(token.isprintable() for token in tokens)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_shows_the_names():
    labels = [name for name in NASTY_NAMES if name.strip("\x00")]
    drawn = subprocess.run(
        ["dot", "-Tjson"],
        input=named_graph(labels, ["&eacute; \\L"]).to_dot(scores=False),
        capture_output=True,
        text=True,
    )
    assert drawn.returncode == 0 and drawn.stderr == ""
    parsed = json.loads(drawn.stdout)
    shown = [
        draw["text"] for part in (*parsed["objects"], *parsed["edges"]) for draw in part["_ldraw_"] if "text" in draw
    ]
    assert shown == [" ".join(name.split()) for name in labels] + ["&eacute; \\L"]
