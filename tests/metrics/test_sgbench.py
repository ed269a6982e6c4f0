"""The protocol `sgbench` gives the numbers of the functions of the package `sgbench` (Lorenz et al., 2024).

Two things are left to whoever calls these functions, and what the package's own file reader makes of them is not followed:
it takes a plain mean over predicates, which is nan as soon as one predicate has no annotation (here such a predicate is left
out), and an image that is missing from the prediction file counts 0 in R@K but is left out of mR@K (here it counts as one
without predictions, 0 in both). Nor are degenerate boxes compared: the package divides by their area of 0.
"""

import numpy as np
import pytest

from speaq_hf.metrics import SceneGraphRecall
from tests.metrics.random_images import P, random_images


sgbench = pytest.importorskip("sgbench")

KS = (1, 2, 5, 20, 100)
NUM_PREDICATES = P + 1  # the last one never occurs


def with_area(graph):
    boxes = graph["boxes"]
    return graph | {"boxes": np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)], axis=1)}


def images_of(mode, count):
    predictions, references = random_images(7, count, mode)
    for prediction in predictions:
        prediction.pop("predicate_probabilities", None)  # the package takes ranked triplets
    return [with_area(graph) for graph in predictions], [with_area(graph) for graph in references]


def recalls_of_package(prediction, reference, mode):
    """Recall `(ks,)` and recall per predicate `(ks, P)` of the constrained, then of the unconstrained triplets."""
    from sgbench.pred import deduplicate

    given = {"sgdet": (), "sgcls": ("boxes",), "predcls": ("boxes", "labels")}[mode]
    prediction = prediction | {name: reference[name] for name in given}
    truth = np.unique(reference["relations"], axis=0)
    matches = sgbench.match_instances(
        reference["boxes"].astype(float), reference["labels"], prediction["boxes"].astype(float), prediction["labels"]
    )
    for name in ("relations", "unconstrained_relations"):
        rows = prediction.get(name, prediction["relations"])
        rows = sgbench.remap_triplets(matches, deduplicate(rows))
        yield [sgbench.recall(k, False, truth, rows, NUM_PREDICATES) for k in KS]
        yield [sgbench.recall(k, True, truth, rows, NUM_PREDICATES) for k in KS]


@pytest.mark.parametrize(("mode", "count"), [("sgdet", 2100), ("sgcls", 300), ("predcls", 300)])
def test_recall_equals_the_package(mode, count):
    predictions, references = images_of(mode, 3 * count // 2)
    metric = SceneGraphRecall(NUM_PREDICATES, KS, mode=mode, protocol="sgbench")
    metric.add_batch(predictions, references)
    results = metric.compute()
    related = [image for image in zip(predictions, references, strict=True) if len(image[1]["relations"])]
    assert len(related) == results["num_images"] >= count
    assert results["num_images_without_predictions"] > count / 30
    with np.errstate(invalid="ignore"):
        columns = zip(*(recalls_of_package(*image, mode) for image in related), strict=True)
        recall, per_predicate, ng_recall, ng_per_predicate = map(np.array, columns)
    for prefix, images, predicates in (("", recall, per_predicate), ("ng-", ng_recall, ng_per_predicate)):
        predicates = np.nanmean(predicates[:, :, :P], axis=0)
        for i, k in enumerate(KS):
            assert results[f"{prefix}R@{k}"] == pytest.approx(images[:, i].mean(), abs=1e-12, rel=0)
            assert results[f"{prefix}recall_per_predicate@{k}"][:P] == pytest.approx(predicates[i], abs=1e-12, rel=0)
            assert np.isnan(results[f"{prefix}recall_per_predicate@{k}"][P])
            assert results[f"{prefix}mR@{k}"] == pytest.approx(predicates[i].mean(), abs=1e-12, rel=0)
    assert 0 < results["R@1"] < results["R@5"] < results["R@100"] < 1


def test_every_image_equals_the_package():
    predictions, references = images_of("sgdet", 200)
    for prediction, reference in zip(predictions, references, strict=True):
        if not len(reference["relations"]):
            continue
        metric = SceneGraphRecall(NUM_PREDICATES, KS, protocol="sgbench")
        metric.add_batch([prediction], [reference])
        results = metric.compute()
        recall, per_predicate, ng_recall, _ = recalls_of_package(prediction, reference, "sgdet")
        assert [results[f"R@{k}"] for k in KS] == recall
        assert [results[f"ng-R@{k}"] for k in KS] == ng_recall
        np.testing.assert_array_equal([results[f"recall_per_predicate@{k}"] for k in KS], per_predicate)
