"""Predictions come back from every format as they were written."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from speaq_hf.predictions import (
    FORMATS,
    PredictionWriter,
    prediction_files,
    read_predictions,
    read_scene_graphs,
    recognise_predictions,
)
from tests.predictions.factories import (
    BOXES,
    COCO,
    LINES,
    NAMES,
    SGBENCH,
    content_of,
    random_graph,
    write_content,
)
from tests.test_scene_graph import assert_same


# What each format keeps; the order of the relations always.
KEPT = {
    "jsonl": ("boxes", "labels", "scores", "relations", "relation_scores", "predicate_probabilities", "query_indices"),
    "sgbench": ("boxes", "labels", "relations"),
    "coco": ("boxes", "labels", "scores", "relations", "relation_scores"),
}
graphs = st.lists(
    st.builds(random_graph, st.integers(0, 9999), st.integers(1, 6), st.integers(0, 8)), min_size=1, max_size=3
)


def write(path, graphs, format="jsonl", **options):
    with PredictionWriter(path, format, **options) as writer:
        for image_id, graph in enumerate(graphs):
            writer.write(image_id, graph)
    return path


def read(path, **options):
    return list(read_predictions(path, **(NAMES | options)))


@settings(max_examples=15, deadline=None)
@given(graphs=graphs, format=st.sampled_from(FORMATS))
def test_what_is_written_comes_back_exactly(graphs, format, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("files") / "predictions", graphs, format)
    assert recognise_predictions(path) == format
    images = read(path)
    assert [image.image_id for image in images] == list(range(len(graphs)))
    for image, graph in zip(images, graphs, strict=True):
        for name in KEPT[format]:
            expected = getattr(graph, name)
            assert torch.equal(torch.as_tensor(image.graph[name]).to(expected.dtype), expected), name
        assert_array_equal(image.graph["boxes"], graph.boxes.double())  # overlaps are those of the graph in memory


@settings(max_examples=15, deadline=None)
@given(graphs=graphs)
def test_our_format_restores_the_graphs(graphs, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("files") / "p.jsonl", [*graphs, random_graph(0, 0, 0)])
    restored = list(read_scene_graphs(path))
    assert [image_id for image_id, _ in restored] == list(range(len(graphs) + 1))
    for (_, graph), expected in zip(restored, [*graphs, random_graph(0, 0, 0)], strict=True):
        assert_same(graph, expected)


def test_vocabularies_are_written_once(tmp_path):
    header, *lines = write(tmp_path / "p.jsonl", [random_graph(1), random_graph(2)]).read_text().splitlines()
    assert json.loads(header) == LINES[0]
    assert len(lines) == 2 and not any("horse" in line for line in lines)


def test_probabilities_can_be_left_out(tmp_path):
    graph = random_graph(1)
    plain, full = (
        write(tmp_path / f"{with_them}.jsonl", [graph], predicate_probabilities=with_them)
        for with_them in (False, True)
    )
    assert "predicate_probabilities" not in read(plain)[0].graph
    assert plain.stat().st_size < full.stat().st_size
    with pytest.raises(ValueError, match=r"image 0: a SceneGraph needs predicate_probabilities, too"):
        list(read_scene_graphs(plain))


@pytest.mark.parametrize("format", FORMATS)
def test_the_forms_that_people_write(format, tmp_path):
    seven, eight = sorted(read(write_content(tmp_path, format, content_of(format))), key=lambda image: image.image_id)
    assert (seven.image_id, eight.image_id) == (7, 8)
    assert seven.graph["boxes"].tolist() == BOXES
    assert seven.graph["labels"].tolist() == [0, 1, 2]
    assert seven.graph["relations"].tolist() == [[0, 1, 0], [0, 2, 1]]  # of COCO, ranked by score
    assert eight.graph["relations"].tolist() == [[0, 0, 1]]
    assert seven.image_size == (None if format == "sgbench" else (100, 120)) and eight.image_size is None


def test_unconstrained_rows_of_sgbench(tmp_path):
    seven, eight = read(write_content(tmp_path, "sgbench", SGBENCH))
    assert seven.graph["unconstrained_relations"].tolist() == SGBENCH["images"][0]["ng_triplets"]
    assert "unconstrained_relations" not in eight.graph


@pytest.mark.parametrize("form", ["in images", "mapping", "without scores"])
def test_relation_rows_of_coco(form, tmp_path):
    content = content_of("coco")
    del content["rel_annotations"]
    rows = [[0, 2, 3, 0.25], [0, 1, 5, 0.5]]
    if form == "in images":
        content["images"][0]["relations"] = rows
    else:
        content["relations"] = {"7": rows if form == "mapping" else [row[:3] for row in rows]}
    seven, eight = read(write_content(tmp_path, "coco", content))
    ranked = [[0, 1, 0], [0, 2, 1]]
    assert seven.graph["relations"].tolist() == (ranked[::-1] if form == "without scores" else ranked)
    assert ("relation_scores" in seven.graph) == (form != "without scores")
    assert len(eight.graph["relations"]) == 0


def test_coco_without_a_list_of_images(tmp_path):
    content = content_of("coco")
    del content["images"]
    assert [image.image_id for image in read(write_content(tmp_path, "coco", content))] == [7, 8]


def test_names_find_the_numbers_of_the_ground_truth(tmp_path):
    graph = random_graph(3)
    other = {
        "id2label": {0: "hat", 1: "tree", 2: "man", 3: "horse"},
        "id2predicate": {0: "on", 1: "wearing", 2: "riding"},
    }
    (image,) = read(write(tmp_path / "p.jsonl", [graph]), **other)
    assert image.graph["labels"].tolist() == [{0: 2, 1: 3, 2: 0}[label] for label in graph.labels.tolist()]
    assert image.graph["relations"][:, 2].tolist() == [{0: 2, 1: 1}[p] for p in graph.relations[:, 2].tolist()]
    riding, wearing, background = graph.predicate_probabilities.T.numpy()
    expected = np.stack([np.zeros_like(riding), wearing, riding, background], axis=1)
    assert_array_equal(image.graph["predicate_probabilities"].astype(np.float32), expected)


def test_numbers_without_names_are_those_of_the_ground_truth(tmp_path):
    (image,) = read(write_content(tmp_path, "jsonl", LINES[1:2]), id2label=dict(enumerate("abc")))
    assert image.graph["labels"].tolist() == [0, 1, 2]


def test_the_classes_of_a_file_may_be_its_own(tmp_path):
    assert len(list(read_predictions(write_content(tmp_path, "coco", COCO)))) == 2
    assert len(list(read_predictions(write_content(tmp_path, "jsonl", LINES)))) == 2
    for format, content in (("sgbench", SGBENCH), ("jsonl", LINES[1:])):
        with pytest.raises(ValueError, match="names no classes; pass id2label and id2predicate"):
            read_predictions(write_content(tmp_path, format, content))


def test_ids_of_text_are_those_of_the_data_sets(tmp_path):
    lines = [LINES[2] | {"image_id": image_id} for image_id in ("107902", "beach")]
    assert [image.image_id for image in read(write_content(tmp_path, "jsonl", lines))] == [107902, 273685476166861]


@pytest.mark.parametrize("format", FORMATS)
def test_ids_may_be_integers_of_numpy(format, tmp_path):
    with PredictionWriter(tmp_path / "p", format) as writer:
        writer.write(np.int64(7), random_graph(1))
        with pytest.raises(ValueError, match="image '7' is written already"):
            writer.write("7", random_graph(1))
        with pytest.raises(TypeError, match="integer"):
            writer.write(7.0, random_graph(1))
    assert [image.image_id for image in read(tmp_path / "p")] == [7]


def test_width_and_height_instead_of_a_size(tmp_path):
    (image,) = read(write_content(tmp_path, "jsonl", [LINES[2] | {"width": 30, "height": 20}]))
    assert image.image_size == (20, 30)


def test_what_the_ground_truth_gives_may_be_missing(tmp_path):
    line = {"image_id": 7, "relations": [[0, 40, 1]]}
    (image,) = read(write_content(tmp_path, "jsonl", [line]), given=("boxes", "labels", "scores"))
    assert set(image.graph) == {"relations"}


def test_blank_lines_and_unknown_fields_do_not_matter(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("\ufeff" + json.dumps(LINES[0]) + "\r\n\n" + json.dumps(LINES[2] | {"author": "me"}) + "\n\n")
    assert len(read(path)) == 1


@pytest.mark.parametrize("name", ["rel_score", "confidence"])
def test_a_score_of_relations_with_another_name_is_pointed_out(name, tmp_path, caplog):
    content = content_of("coco")
    for entry in content["rel_annotations"]:
        entry[name] = entry.pop("score")
    read(write_content(tmp_path, "coco", content))
    (message,) = caplog.messages
    assert "order of the file" in message and f"their score is '{name}'" in message
    for entry in content["rel_annotations"]:
        del entry[name]
    caplog.clear()
    read(write_content(tmp_path, "coco", content))
    assert not caplog.messages


def test_relations_out_of_the_order_of_their_scores_are_pointed_out_once(tmp_path, caplog):
    lines = content_of("jsonl")
    read(write_content(tmp_path, "jsonl", lines))
    assert not caplog.messages
    lines[1]["relation_scores"].reverse()
    lines.append(lines[1] | {"image_id": 9})
    read(write_content(tmp_path, "jsonl", lines))
    (message,) = caplog.messages
    assert "line 2, image 7" in message and "strict" in message


@pytest.mark.parametrize("format", ["sgbench", "coco"])
def test_one_line_is_parsed_once(format, tmp_path, monkeypatch):
    path, parsed = write_content(tmp_path, format, content_of(format)), []
    path.write_text(json.dumps(json.loads(path.read_text())) + "\n")
    monkeypatch.setattr(prediction_files, "parse_json", lambda text, where: parsed.append(text) or json.loads(text))
    assert prediction_files.recognise_predictions(path) == format and len(parsed) == 1


def test_lines_are_read_one_by_one(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES) + "broken")
    images = read_predictions(path, **NAMES)
    assert next(images).image_id == 7 and next(images).image_id == 8
    with pytest.raises(ValueError, match="line 4: not valid JSON"):
        next(images)


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "p.jsonl"
    path.parent.mkdir()
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), PredictionWriter(path) as writer:
        writer.write(1, random_graph(1))
        raise KeyboardInterrupt
    assert [file.name for file in path.parent.iterdir()] == ["p.jsonl"] and path.read_text() == "old"
    write(path, [random_graph(1)])
    assert [file.name for file in path.parent.iterdir()] == ["p.jsonl"] and len(read(path)) == 1


def test_the_writer_refuses_what_the_reader_would(tmp_path):
    with pytest.raises(ValueError, match="format must be one of jsonl, sgbench, coco, got 'xml'"):
        PredictionWriter(tmp_path / "p", "xml")
    with PredictionWriter(tmp_path / "p") as writer:
        writer.write(7, random_graph(1))
        with pytest.raises(ValueError, match="image '7' is written already"):
            writer.write("7", random_graph(2))
        other = random_graph(2)
        other.id2label = {0: "a", 1: "b", 2: "c"}
        with pytest.raises(ValueError, match="image 8: its classes are not those"):
            writer.write(8, other)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_without_images_is_one_of_its_format(format, tmp_path):
    path = write(tmp_path / "predictions", [], format)
    text = path.read_text()
    assert text == "" if format == "jsonl" else json.loads(text)["images"] == []
    with pytest.raises(ValueError, match="the file is empty" if format == "jsonl" else "predictions"):
        read(path)


def test_sgbench_itself_reads_what_we_write(tmp_path):
    sgbench = pytest.importorskip("sgbench.pred")
    graph = random_graph(5)
    parsed = sgbench.parse_pred(json.loads(write(tmp_path / "p", [graph], "sgbench").read_text()))[0]
    assert_array_equal(parsed.bboxes, graph.boxes)
    assert_array_equal(parsed.categories, graph.labels)
    assert {tuple(row) for row in parsed.triplets.tolist()} == {tuple(row) for row in graph.relations.tolist()}


def test_unconstrained_triplets_of_a_graph_are_its_best_combinations():
    graph = random_graph(6)
    rows = graph.to_sgbench(1)["ng_triplets"]
    pairs = {tuple(pair) for pair in graph.relations[:, :2].tolist()}
    assert len(rows) == len(pairs) * 2 == len({tuple(row) for row in rows})
    assert graph.to_sgbench(1, max_unconstrained=3)["ng_triplets"] == rows[:3]

    def score(subject, object_, predicate):
        same = (graph.relations[:, :2] == torch.tensor([subject, object_])).all(dim=1)
        best = graph.predicate_probabilities[same, predicate].max()
        return float(graph.scores[subject] * graph.scores[object_] * best)

    scores = [score(*row) for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_coco_annotations_are_what_the_processor_takes():
    from speaq_hf.models.speaq.annotation_speaq import prepare_labels

    graph = random_graph(4)
    labels = prepare_labels(graph.to_coco(12), graph.image_size, 0)
    assert labels["image_id"].tolist() == [12]
    assert_array_equal(labels["class_labels"], graph.labels)
    assert_array_equal(labels["relations"], graph.relations)
    assert [entry["score"] for entry in graph.to_coco()["annotations"]] == pytest.approx(graph.scores.tolist())
