"""Evaluations of made-up images, and the reports on them."""

import json
import re
from types import SimpleNamespace

import numpy as np
from PIL import Image

from speaq_hf.metrics import PROTOCOLS, ErrorAnatomy, compare_recall
from speaq_hf.metrics.evaluation_report import EvaluatedModel, ReportClasses, ReportExample, write_evaluation_report
from speaq_hf.metrics.scene_graph_evaluator import RecallSettings, SceneGraphEvaluator
from tests.metrics.perturbed_annotations import perturbed_annotation


OBJECTS = [*("man", "horse", "hat", "table", "cup", "Tree"), '<b>&amp; "quoted"', "</script><script>throw 1</script>"]
PREDICATES = ["on", "near", "</script><img src=x onerror=alert(1)>", "riding", "behind", "has"]
COUNTS = [500, 900, 40, 30, 20, 10]
P = len(PREDICATES)


def annotation(rng, image_id):
    """An annotation of some objects and triplets; the last predicate never occurs."""
    n, r = rng.integers(3, 8), rng.integers(2, 7)
    corners = rng.uniform(0, 300, (n, 2))
    pairs = np.array([rng.permutation(n)[:2] for _ in range(r)])
    return {
        "image_id": image_id,
        "boxes": np.concatenate([corners, corners + rng.uniform(40, 180, (n, 2))], axis=1),
        "labels": rng.integers(0, len(OBJECTS), n),
        "relations": np.column_stack([pairs, rng.integers(0, P - 1, r)]),
    }


def picture(rng):
    """Smooth noise, which is as hard to compress as a photograph."""
    return Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((320, 240))


def evaluate(num_images, num_models=2, protocols=tuple(PROTOCOLS), k=5):
    """Models, differences and examples of made-up images."""
    rng = np.random.default_rng(0)
    references = [annotation(rng, i) for i in range(num_images)]
    images = [picture(rng) for _ in range(min(20, num_images))]
    evaluators, predictions = [], []
    for error_rate in (0.35, 0.6)[:num_models]:
        predicted = [perturbed_annotation(r, rng, len(OBJECTS), P, error_rate) for r in references]
        settings = RecallSettings(P, ks=(5, 10), predicate_counts=COUNTS, num_replicates=50)
        evaluator = SceneGraphEvaluator(settings, protocols, {"error_anatomy": ErrorAnatomy(P, k)})
        evaluator.add_batch(predicted, references)
        evaluators.append(evaluator)
        predictions.append(predicted)
    names = ("speaq <i>best</i>", "baseline")
    models = [EvaluatedModel(name, e.compute()) for name, e in zip(names, evaluators, strict=False)]
    differences = (
        {name: compare_recall(*(e.recalls[name] for e in evaluators)) for name in protocols}
        if num_models == 2
        else None
    )
    examples = [
        ReportExample(f"image <{i}>.jpg", reference, [p[i] for p in predictions], images[i % len(images)])
        for i, reference in enumerate(references)
    ]
    return SimpleNamespace(models=models, differences=differences, examples=examples)


CLASSES = ReportClasses(OBJECTS, PREDICATES, COUNTS)


def written(folder, evaluated, **options):
    """The path of a report in a new folder."""
    path = folder / "new" / "report.html"
    options = {"differences": evaluated.differences, "title": "A <title> & more"} | options
    assert write_evaluation_report(path, evaluated.models, CLASSES, evaluated.examples, **options) == path
    return path


def page_data(page):
    """What the page's script works on."""
    return json.loads(re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL).group(1))
