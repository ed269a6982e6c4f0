"""FREQ: what classes mostly have to do with each other, counted over all pairs of objects in an image."""

import numpy as np
import pytest

from speaq_hf.data import generate_scene_world, load_scene_graphs
from speaq_hf.metrics import SceneGraphRecall
from speaq_hf.metrics.frequency_predictor import FrequencyPredictor


PROBABILITIES = np.zeros((3, 3, 2), dtype=np.float32)
PROBABILITIES[0, 1] = (0.2, 0.5)
PROBABILITIES[1, 0] = (0.3, 0.0)
BOXES = np.array([[0, 0, 4, 4], [2, 2, 8, 8], [1, 1, 9, 9]], dtype=np.float32)


def test_pairs_are_ranked_by_scores_and_frequency():
    scores = np.array([1.0, 0.5, 0.9], dtype=np.float32)
    graph = FrequencyPredictor(PROBABILITIES).predict(BOXES, np.array([0, 1, 1]), scores, top_k=3)
    assert graph["relations"].tolist() == [[0, 2, 1], [2, 0, 0], [0, 1, 1]]
    np.testing.assert_allclose(graph["relation_scores"], [0.45, 0.27, 0.25], rtol=1e-6)
    np.testing.assert_allclose(graph["predicate_probabilities"][0], [0.2, 0.5, 0.3], rtol=1e-6)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_objects_have_no_relations(count):
    graph = FrequencyPredictor(PROBABILITIES).predict(BOXES[:count], np.zeros(count, dtype=np.int64))
    assert graph["relations"].shape == (0, 3) and graph["predicate_probabilities"].shape == (0, 3)
    metric = SceneGraphRecall(2, protocol="strict")
    metric.add_batch([graph], [{"boxes": BOXES[:2], "labels": [0, 1], "relations": [[0, 1, 1]]}])
    assert metric.compute()["R@20"] == 0


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    root = generate_scene_world(tmp_path_factory.mktemp("world"), domains=["real"], num_images=55, num_workers=1)
    return load_scene_graphs(root["real"], "train")


def test_counts_are_those_of_all_images(train):
    """Beside plain loops; two parts count as the whole."""
    found = FrequencyPredictor.from_datasets([train.select(range(20)), train.select(range(20, len(train)))])
    pairs, triplets = {}, {}
    for row in train.remove_columns("image"):
        labels = row["objects"]["category"]
        for i, subject in enumerate(labels):
            for j, object_ in enumerate(labels):
                if i != j:
                    pairs[subject, object_] = pairs.get((subject, object_), 0) + 1
        for i, j, predicate in row["relations"]:
            triplet = (labels[i], labels[j], predicate)
            triplets[triplet] = triplets.get(triplet, 0) + 1
    assert np.count_nonzero(found.probabilities) == len(triplets) > 50
    for (subject, object_, predicate), count in triplets.items():
        expected = min(count / pairs[subject, object_], 1)
        assert found.probabilities[subject, object_, predicate] == pytest.approx(expected)


def test_datasets_must_agree(train):
    with pytest.raises(ValueError, match="got 0 vocabularies"):
        FrequencyPredictor.from_datasets([])
    other = train.cast(train.features.copy())
    renamed = other.features.copy()
    renamed["objects"]["category"].feature.names = [
        f"{name}s" for name in renamed["objects"]["category"].feature.names
    ]
    with pytest.raises(ValueError, match="got 2 vocabularies"):
        FrequencyPredictor.from_datasets([train, other.cast(renamed)])
