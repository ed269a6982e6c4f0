"""The pipeline "scene-graph-generation": what it takes, what it gives, and that a batch changes nothing."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset
from transformers import AutoImageProcessor, DetrImageProcessorPil, pipeline
from transformers.pipelines.pt_utils import KeyDataset
from transformers.testing_utils import CaptureLogger
from transformers.utils import logging

from speaq_hf import AutoModelForSceneGraphGeneration, SceneGraph, SceneGraphGenerationPipeline
from speaq_hf.image_reading import UnreadableImageError, read_image
from speaq_hf.models.speaq.pipeline_speaq import TASK
from speaq_hf.models.speaq.size_groups_speaq import predict_size_by_size
from speaq_hf.packaged_models import packaged_model
from speaq_hf.predictor import GraphOptions, SceneGraphPredictor
from tests.odd_images import encode, odd_addresses, odd_files, odd_objects, serve_odd_answers


SIZES = [(90, 70), (60, 200), (90, 70), (33, 44), (200, 60)]


def images(sizes=SIZES):
    """Blobs of colour `(H, W, 3)`, which give the model more to say than noise."""
    random = np.random.default_rng(0)
    small = [random.integers(0, 256, (5, 5, 3), dtype=np.uint8) for _ in sizes]
    return [
        np.asarray(Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC))
        for blobs, (height, width) in zip(small, sizes, strict=True)
    ]


@pytest.fixture(scope="module")
def runner() -> SceneGraphGenerationPipeline:
    return pipeline(TASK, device="cpu")


def assert_same_graphs(actual, expected):
    assert len(actual) == len(expected) > 0
    for one, other in zip(actual, expected, strict=True):
        assert torch.equal(one.relations, other.relations) and torch.equal(one.labels, other.labels)
        torch.testing.assert_close(one.relation_scores, other.relation_scores, atol=1e-5, rtol=0)
        torch.testing.assert_close(one.boxes, other.boxes, atol=1e-3, rtol=0)  # pixels
        assert one.image_size == other.image_size


def test_the_packaged_model_is_the_default(runner):
    assert type(runner) is SceneGraphGenerationPipeline
    assert runner.model.name_or_path == str(packaged_model())


def test_relations_are_those_of_the_graph(runner):
    model, processor = runner.model, runner.image_processor
    image = images()[0]
    with torch.no_grad():
        outputs = model(**processor(image, return_tensors="pt"))
    [graph] = processor.post_process_scene_graph(outputs, [(90, 70)], top_k=7)
    relations = runner(image, top_k=7)
    assert len(relations) == 7 and json.loads(json.dumps(relations)) == relations
    for relation, (subject, obj, predicate), score in zip(
        relations, graph.relations.tolist(), graph.relation_scores.tolist(), strict=True
    ):
        assert list(relation) == ["score", "subject", "predicate", "object"]
        assert relation["score"] == pytest.approx(score, abs=1e-6)
        assert relation["predicate"] == model.config.id2predicate[predicate]
        for end, index in (("subject", subject), ("object", obj)):
            assert relation[end]["label"] == model.config.id2label[graph.labels[index].item()]
            assert relation[end]["score"] == pytest.approx(graph.scores[index].item(), abs=1e-6)
            box = relation[end]["box"]
            assert list(box) == ["xmin", "ymin", "xmax", "ymax"] and all(type(side) is int for side in box.values())
            np.testing.assert_allclose(list(box.values()), graph.boxes[index], atol=0.501)


def test_graphs(runner):
    graph = runner(images()[0], top_k=None, return_scene_graphs=True)
    assert (
        isinstance(graph, SceneGraph)
        and graph.image_size == (90, 70)
        and len(graph) > len(runner(images()[0], top_k=7))
    )


def test_every_way_to_give_an_image(runner, tmp_path):
    image = images()[0]
    content = encode(image)
    path = tmp_path / "image.png"
    path.write_bytes(content)
    expected = [runner(image, return_scene_graphs=True)]
    text = base64.b64encode(content).decode()
    ways = [path, str(path), content, io.BytesIO(content), Image.fromarray(image), Image.open(path), text]
    ways += [torch.tensor(image).permute(2, 0, 1), image / 255, {"bytes": content, "path": None}, {"image": image}]
    for given in ways:
        assert_same_graphs([runner(given, return_scene_graphs=True)], expected)
        assert_same_graphs(runner([given], return_scene_graphs=True), expected)
    with serve_odd_answers() as server:
        assert runner(f"{server}/photo.png") == runner(read_image(f"{server}/photo.png"))


class Rows(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_every_way_to_give_several(runner, batch_size):
    datasets = pytest.importorskip("datasets")
    given, options = images(), {"return_scene_graphs": True, "top_k": 20}
    expected = [runner(image, **options) for image in given]
    rows = [{"image": Image.fromarray(image)} for image in given]
    table = datasets.Dataset.from_list(rows, features=datasets.Features({"image": datasets.Image()}))
    for several in (given, tuple(given)):
        results = runner(several, batch_size=batch_size, **options)
        assert isinstance(results, list)
        assert_same_graphs(results, expected)
    lazy = [
        (image for image in given),
        iter(given),
        map(np.asarray, given),
        KeyDataset(rows, "image"),
        Rows(rows),
        Rows(given),
    ]
    lazy += [
        table,
        table["image"],
        KeyDataset(table, "image"),
        table.to_iterable_dataset(),
        table.with_format("numpy"),
    ]
    for several in lazy:
        results = runner(several, batch_size=batch_size, **options)
        assert not isinstance(results, list)
        assert_same_graphs(list(results), expected)


def test_nothing_gives_nothing(runner):
    assert runner([]) == runner(()) == list(runner(iter([]))) == list(runner(Rows([]))) == []


def test_generators_are_not_read_ahead(runner):
    read = []
    results = iter(runner(read.append(index) or image for index, image in enumerate(images())))
    next(results)
    assert len(read) <= 2


def test_a_batch_changes_nothing_where_padding_would(runner):
    """Sizes are mixed, so that a padded batch would give other numbers."""
    given = images()
    inputs = [
        {name: value[0] for name, value in runner.image_processor(image, return_tensors="pt").items()}
        for image in given
    ]
    with torch.no_grad():
        alone = [runner.model(inputs["pixel_values"][None]) for inputs in inputs]
        together = predict_size_by_size(runner.model, inputs)
        padded = runner.model(**runner.image_processor(given, return_tensors="pt"))
    for index, output in enumerate(alone):
        for name, value in together.items():
            torch.testing.assert_close(value[index], output[name][0], atol=1e-5, rtol=1e-5)
    assert (padded["predicate_logits"][0] - alone[0]["predicate_logits"][0]).abs().max() > 1e-2


def test_a_processor_that_pads_to_one_size(runner):
    padding = AutoImageProcessor.from_pretrained(packaged_model(), pad_size={"height": 450, "width": 450})
    fixed = pipeline(TASK, model=runner.model, image_processor=padding, device="cpu")
    model, given = runner.model, images()[1]
    with torch.no_grad():
        outputs = model(**padding(given, return_tensors="pt"))
    expected = padding.post_process_scene_graph(outputs, [given.shape[:2]])
    assert_same_graphs(fixed([given, images()[0]], batch_size=2, return_scene_graphs=True)[:1], expected)


def test_options_of_construction_and_of_a_call():
    runner = pipeline(TASK, device="cpu", top_k=3, batch_size=2, return_scene_graphs=True)
    image = images()[0]
    assert len(runner(image)) == 3 and len(runner(image, top_k=5)) == 5 and len(runner(image)) == 3
    graph = runner(image, top_k=None)
    middle = graph.relation_scores.median().item()
    assert 0 < len(runner(image, top_k=None, threshold=middle)) < len(graph)
    assert runner(image, top_k=None, threshold=middle).relation_scores.min() >= middle
    assert len(runner(image, top_k=None, predicates_per_query=3)) > len(graph)
    assert len(runner(image, nms_threshold=1.0).boxes) > len(runner(image, nms_threshold=0.1).boxes)
    assert isinstance(runner(image, return_scene_graphs=False), list)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threshold": 1.5}, ValueError, "`threshold` must be a relation score in [0, 1], got 1.5."),
        ({"threshold": "high"}, ValueError, "`threshold` must be a relation score in [0, 1], got 'high'."),
        ({"top_k": 0}, ValueError, "`top_k` must be at least 1, or None to keep all relations, got 0."),
        ({"top_k": 2.5}, TypeError, "`top_k` must be an integer, got 2.5."),
        ({"nms_threshold": -1}, ValueError, "`nms_threshold` must be an IoU in [0, 1] (1 merges no boxes), got -1."),
        ({"predicates_per_query": 51}, ValueError, "`predicates_per_query` must be in [1, 50], got 51."),
        ({"predicates_per_query": None}, TypeError, "`predicates_per_query` must be an integer, got None."),
        ({"timeout": 0}, ValueError, "`timeout` must be a positive number of seconds, got 0."),
        ({"treshold": 0.5}, TypeError, "the pipeline scene-graph-generation has no option treshold, only"),
    ],
)
def test_wrong_options_are_refused_before_any_image_is_read(runner, options, error, message):
    for function in (lambda: runner("missing.jpg", **options), lambda: pipeline(TASK, model=runner.model, image_processor=runner.image_processor, **options)):  # fmt: skip
        with pytest.raises(error) as caught:
            function()
        assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_what_is_saved_names_no_folder_of_this_machine(runner, tmp_path):
    """That it is loaded again, also without the package, is tested with the Hub."""
    runner.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    saved = {"impl": "pipeline_speaq.SpeaQSceneGraphPipeline", "pt": ["AutoModelForObjectDetection"], "type": "image"}
    assert config["custom_pipelines"] == {TASK: saved}
    code = {path.stem for path in tmp_path.glob("*.py")}
    assert code >= {"pipeline_speaq", "image_reading_speaq", "image_pixels_speaq", "size_groups_speaq"}
    again = SceneGraphGenerationPipeline(
        model=AutoModelForSceneGraphGeneration.from_pretrained(tmp_path),
        image_processor=AutoImageProcessor.from_pretrained(tmp_path),
        device="cpu",
    )
    assert again(images()[0]) == runner(images()[0])


def test_a_processor_that_makes_no_graphs_is_refused(runner):
    with pytest.raises(
        TypeError, match="needs an image processor with `post_process_scene_graph`.*DetrImageProcessorPil"
    ):
        pipeline(TASK, model=runner.model, image_processor=DetrImageProcessorPil())


def test_models_in_training_mode_and_processors_without_names(runner):
    nameless = AutoImageProcessor.from_pretrained(packaged_model())
    nameless.id2label = nameless.id2predicate = None
    model = AutoModelForSceneGraphGeneration.from_pretrained(packaged_model()).train()
    other = pipeline(TASK, model=model, image_processor=nameless, device="cpu")
    assert not model.training and other(images()[0]) == runner(images()[0])


def test_half_precision_and_workers(runner):
    half = pipeline(TASK, dtype=torch.bfloat16, device="cpu")
    assert half.model.dtype == torch.bfloat16
    seen = []
    half.model.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["pixel_values"].dtype), with_kwargs=True
    )
    [relation] = half(images()[0], top_k=1)
    assert seen == [torch.bfloat16]
    assert relation["score"] == pytest.approx(runner(images()[0], top_k=1)[0]["score"], abs=0.1)
    assert runner(images(), num_workers=1, batch_size=2) == runner(images())


@pytest.mark.parametrize("odd", [*odd_files()[::7], *odd_objects()[::5]], ids=lambda odd: odd.name)
def test_odd_images(runner, odd):
    """A sample: pipeline and predictor read as `read_image` does, and say the same of what it cannot read."""
    predictor = SceneGraphPredictor(runner.model, runner.image_processor)
    source = odd.source
    if isinstance(source, (list, tuple)):  # several images
        return
    try:
        image = read_image(source)
    except (UnreadableImageError, TypeError) as expected:
        for function in (runner, lambda image: predictor([image])):
            with pytest.raises(type(expected)) as caught:
                function(source)
            assert str(caught.value) == str(expected)
        return
    expected = runner(image, return_scene_graphs=True)
    assert expected.image_size == (image.height, image.width)
    assert_same_graphs([runner(source, return_scene_graphs=True), *predictor([source])], [expected] * 2)


def test_bad_addresses_are_named(runner):
    with serve_odd_answers() as server:
        for odd in odd_addresses(server):
            if odd.pixels is None:
                with pytest.raises(UnreadableImageError) as caught:
                    runner(odd.source, timeout=0.3)
                assert odd.source in str(caught.value) and "\n" not in str(caught.value)


def test_one_bad_image_of_several_is_named(runner, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    for batch_size in (1, 3):
        results = iter(runner(iter([*images()[:3], bad]), batch_size=batch_size))
        assert len([next(results) for _ in range(3)]) == 3
        with pytest.raises(UnreadableImageError, match="bad.jpg cannot be read"):
            next(results)


def test_names_are_those_of_the_model_whatever_the_processor_was_made_for(runner):
    names = list(runner.model.config.id2label.values())
    turned = AutoModelForSceneGraphGeneration.from_pretrained(
        packaged_model(), id2label=dict(enumerate(reversed(names))), ignore_mismatched_sizes=True
    )
    old = AutoImageProcessor.from_pretrained(packaged_model())
    other = pipeline(TASK, model=turned, image_processor=old, device="cpu")
    [expected], [found] = (run(images()[0], top_k=1) for run in (runner, other))
    assert [found[end]["label"] for end in ("subject", "object")] == [
        expected[end]["label"] for end in ("subject", "object")
    ]
    graph = SceneGraphPredictor(turned, old)(images()[:1], GraphOptions(top_k=1))[0]
    assert [graph.triplets()[0].subject, graph.triplets()[0].object] == [
        expected[end]["label"] for end in ("subject", "object")
    ]


def test_detection_with_the_pipeline_of_transformers(runner):
    with CaptureLogger(logging.get_logger("transformers")) as log:
        detector = pipeline("object-detection", model=str(packaged_model()), device="cpu")
    assert "not supported" not in log.out
    assert isinstance(detector.model, type(runner.model))
    image = Image.fromarray(images()[0])
    graph = runner(image, return_scene_graphs=True)
    names = [runner.model.config.id2label[label] for label in graph.labels.tolist()]
    threshold = float(graph.scores[3])
    found = detector(image, threshold=threshold)
    assert [(one["label"], one["score"]) for one in found] == list(zip(names, graph.scores.tolist(), strict=True))[:3]
    assert [list(one["box"].values()) for one in found] == graph.boxes[:3].int().tolist()
