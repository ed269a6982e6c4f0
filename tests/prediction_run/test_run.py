"""Runs over images: the same file whatever happens on the way, and a reason for every image that cannot be read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from speaq_hf.prediction_run.interruption import InterruptedRun
from speaq_hf.prediction_run.run import PredictionRun
from speaq_hf.prediction_run.run_options import RunOptions
from speaq_hf.prediction_run.sources import SourceOptions, find_sources
from speaq_hf.prediction_run.unfinished_run import UnfinishedRun
from speaq_hf.predictions import read_predictions, read_scene_graphs
from speaq_hf.predictor import GraphOptions, SceneGraphPredictor


class OneOf:
    """One of several processes, which the test lets run one after the other."""

    device = None

    def __init__(self, index, count, run_others=lambda: None):
        self.index, self.count, self.is_first = index, count, index == 0

    def wait(self):
        pass

    def share(self, items):
        return items[self.index :: self.count]


class Interrupted(SceneGraphPredictor):
    """Ends after so many batches, as if a signal had come."""

    def __init__(self, predictor, batches):
        super().__init__(predictor.model, predictor.processor)
        self.batches = batches

    def predict_prepared(self, prepared, options=None):
        if self.batches == 0:
            raise InterruptedRun(15)
        self.batches -= 1
        return super().predict_prepared(prepared, options)


@pytest.fixture
def options(tmp_path) -> RunOptions:
    return RunOptions(output=tmp_path / "out.jsonl", batch_size=3, graph=GraphOptions(top_k=5))


@pytest.fixture(scope="module")
def whole(photos, predictor, tmp_path_factory) -> Path:
    """What a run in one go writes."""
    output = tmp_path_factory.mktemp("whole") / "out.jsonl"
    PredictionRun(find_sources([photos]), RunOptions(output=output, batch_size=3, graph=GraphOptions(top_k=5)))(
        predictor
    )
    return output


def entries(output):
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_a_folder_gives_a_line_for_each_image_in_order(whole, photos, predictor):
    written = dict(read_scene_graphs(whole))
    assert list(written) == list(range(10))
    assert [entry["image_id"] for entry in entries(whole)[1:]] == list(range(10))
    alone = predictor([photos / "003.png", photos / "004.png"], GraphOptions(top_k=5))[0]
    assert written[3].triplets()[0][:3] == alone.triplets()[0][:3]
    assert written[3].image_size == (80, 96)
    assert not list(whole.parent.glob("*.unfinished"))


def test_bad_files_are_named_with_their_reasons(whole, photos, options, predictor):
    summary = PredictionRun(find_sources([photos]), options)(predictor)
    assert summary.is_complete and summary.num_predicted == 10
    assert list(summary.skipped) == [str(photos / "004b.jpg"), str(photos / "005b.png")]
    assert all(reason.startswith("cannot be read: ") for reason in summary.skipped.values())
    listed = entries(options.skipped_file)
    assert {entry["source"]: entry["reason"] for entry in listed} == summary.skipped


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_an_interrupted_run_goes_on_to_the_same_file(whole, photos, options, predictor, batches):
    sources = find_sources([photos])
    with pytest.raises(InterruptedRun):
        PredictionRun(sources, options)(Interrupted(predictor, batches))
    assert not options.output.exists()
    summary = PredictionRun(sources, replace(options, resume=True))(predictor)
    assert summary.num_predicted == 10 - summary.num_known
    assert summary.num_known in {0: [0], 1: [3], 3: [7, 8]}[batches]
    assert options.output.read_bytes() == whole.read_bytes()
    assert len(summary.skipped) == 2


@pytest.mark.parametrize("cut", [1, 0.3, 0.5, 0.9, -1])
def test_a_crash_in_a_line_loses_and_doubles_nothing(whole, photos, options, predictor, cut):
    sources = find_sources([photos])
    with pytest.raises(InterruptedRun):
        PredictionRun(sources, options)(Interrupted(predictor, 3))
    (part,) = Path(f"{options.output}.unfinished").glob("*.jsonl")
    content = part.read_bytes()
    part.write_bytes(content[: int(cut * len(content)) if isinstance(cut, float) else cut])
    PredictionRun(sources, replace(options, resume=True))(predictor)
    assert options.output.read_bytes() == whole.read_bytes()


def test_several_processes_write_the_same_file(whole, photos, options, predictor):
    sources = find_sources([photos])
    summaries = [PredictionRun(sources, options, processes=OneOf(index, 3))(predictor) for index in range(3)]
    assert [summary.is_complete for summary in summaries] == [False, False, True]
    assert sum(summary.num_predicted for summary in summaries) == 10
    assert options.output.read_bytes() == whole.read_bytes()
    assert len(summaries[-1].skipped) == 2


def test_another_number_of_processes_goes_on(whole, photos, options, predictor):
    sources, resumed = find_sources([photos]), replace(options, resume=True)
    PredictionRun(sources, options, processes=OneOf(0, 2))(predictor)  # the other one died before its first batch
    assert not options.output.exists()
    summaries = [PredictionRun(sources, resumed, processes=OneOf(index, 3))(predictor) for index in range(3)]
    assert options.output.read_bytes() == whole.read_bytes()
    assert sum(summary.num_predicted for summary in summaries) < 10


@pytest.mark.parametrize("format", ["coco", "sgbench"])
def test_other_formats_are_written_in_the_end(whole, photos, options, predictor, format):
    options = replace(options, output=options.output.with_name("out.json"), format=format)
    sources = find_sources([photos])
    with pytest.raises(InterruptedRun):
        PredictionRun(sources, options)(Interrupted(predictor, 2))
    PredictionRun(sources, replace(options, resume=True))(predictor)
    config = predictor.model.config
    read = list(read_predictions(options.output, config.id2label, config.id2predicate))
    expected = list(read_predictions(whole))
    assert [image.image_id for image in read] == [image.image_id for image in expected]
    assert all((a.graph["relations"] == b.graph["relations"]).all() for a, b in zip(read, expected, strict=True))


def test_nothing_is_replaced_unasked(photos, options, predictor):
    sources = find_sources([photos / "001.png"])
    PredictionRun(sources, options)(predictor)
    with pytest.raises(FileExistsError, match="out.jsonl exists; --resume goes on with it, --overwrite begins anew"):
        PredictionRun(sources, options)
    before = options.output.read_bytes()
    with pytest.raises(InterruptedRun):
        PredictionRun(sources, replace(options, overwrite=True))(Interrupted(predictor, 0))
    assert options.output.read_bytes() == before
    with pytest.raises(FileExistsError, match="holds an interrupted run"):
        PredictionRun(sources, options)
    other = replace(options, overwrite=True, graph=GraphOptions(top_k=1))
    PredictionRun(sources, other)(predictor)
    assert len(entries(options.output)[1]["relations"]) == 1


def test_a_run_with_other_settings_does_not_go_on(photos, options, predictor):
    sources = find_sources([photos])
    with pytest.raises(InterruptedRun):
        PredictionRun(sources, options, {"model": "a"})(Interrupted(predictor, 1))
    other = replace(options, resume=True, graph=GraphOptions(top_k=7))
    with pytest.raises(ValueError, match="in which top k was 5, now it is 7"):
        PredictionRun(sources, other, {"model": "a"})(predictor)
    with pytest.raises(ValueError, match="in which model was 'a', now it is 'b'"):
        PredictionRun(sources, replace(options, resume=True), {"model": "b"})(predictor)


def test_a_complete_file_gets_the_images_that_have_come_since(photos, options, predictor):
    PredictionRun(find_sources([photos / "003.png", photos / "005.png"]), options)(predictor)
    first = options.output.read_bytes().splitlines()
    later = find_sources([photos / "001.png", photos / "003.png"])
    summary = PredictionRun(later, replace(options, resume=True))(predictor)
    assert (summary.num_known, summary.num_predicted) == (1, 1)
    assert [entry["image_id"] for entry in entries(options.output)[1:]] == [5, 1, 3]
    assert set(first) < set(options.output.read_bytes().splitlines())


def test_images_that_stay_unreadable_cost_no_prediction(whole, photos, options, predictor):
    options.output.write_bytes(whole.read_bytes())
    summary = PredictionRun(find_sources([photos]), replace(options, resume=True))(Interrupted(predictor, 0))
    assert (summary.num_known, summary.num_predicted, len(summary.skipped)) == (10, 0, 2)
    assert options.output.read_bytes() == whole.read_bytes()


def test_pictures_are_drawn_and_resumed(photos, options, predictor):
    options = replace(options, output=None, pictures=options.output.with_name("pictures"))
    sources = find_sources([photos / "001.png", photos / "deeper"])
    with pytest.raises(InterruptedRun):
        PredictionRun(sources, options)(Interrupted(predictor, 0))
    PredictionRun(sources[:1], options)(predictor)
    with pytest.raises(FileExistsError, match="1.png exists"):
        PredictionRun(sources, options)
    before = (options.pictures / "1.png").stat().st_mtime_ns
    summary = PredictionRun(sources, replace(options, resume=True))(predictor)
    assert summary.num_known == 1
    assert sorted(path.name for path in options.pictures.iterdir()) == ["1.png", "7.png"]
    assert (options.pictures / "1.png").stat().st_mtime_ns == before


def test_without_files_the_graphs_are_shown(photos, predictor):
    texts = []
    PredictionRun(find_sources([photos / "001.png"]), RunOptions(), show=texts.append)(predictor)
    (text,) = texts
    assert text.startswith(f"{photos / '001.png'} (104 x 80 pixels)\n  objects: ")


def test_an_image_that_the_model_cannot_take_does_not_cost_its_batch(photos, options, predictor):
    class Picky(SceneGraphPredictor):
        def predict_prepared(self, prepared, options=None):
            if any(width == 112 for _, width in prepared.sizes):
                raise RuntimeError("too odd\nfor me")
            return super().predict_prepared(prepared, options)

    summary = PredictionRun(find_sources([photos]), options)(Picky(predictor.model, predictor.processor))
    reasons = {Path(name).stem: reason for name, reason in summary.skipped.items()}
    assert reasons["002"] == "is 112 x 80 pixels, of which the model makes nothing: too odd"
    assert summary.num_predicted == 7 and sorted(reasons) == ["002", "004b", "005", "005b", "008"]


def test_too_little_memory_ends_the_run_with_advice(photos, options, predictor):
    import torch

    class Large(SceneGraphPredictor):
        def predict_prepared(self, prepared, options=None):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(MemoryError, match="3 images at once.*--batch-size"):
        PredictionRun(find_sources([photos]), options)(Large(predictor.model, predictor.processor))


@pytest.mark.parametrize("format", ["visual_genome", "coco", "imagefolder"])
def test_predicted_files_are_recognised_by_their_ground_truth(genome, tmp_path, options, predictor, format):
    from speaq_hf.data.scene_graph_files import convert_scene_graphs

    root = genome
    if format != "visual_genome":
        convert_scene_graphs(genome, root := tmp_path / "set", format)
    images = {"visual_genome": ["VG_100K"], "coco": ["images/test"], "imagefolder": ["test"]}[format]
    PredictionRun(find_sources([root / name for name in images]), options)(predictor)
    of_data = replace(options, output=tmp_path / "data.jsonl")
    PredictionRun(SourceOptions(data=str(root), split="test").find(), of_data)(predictor)
    by_name, by_id = (dict(read_scene_graphs(output)) for output in (options.output, of_data.output))
    assert by_id.keys() <= by_name.keys()
    assert len(by_id) > 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"format": "xml"}, "--format must be one of"),
        ({"format": "coco", "predicate_probabilities": False}, "coco has no probabilities"),
        ({"resume": True, "overwrite": True}, "take one of them"),
        ({"output": None, "resume": True}, "--resume needs --output or --pictures"),
        ({"batch_size": 0}, "--batch-size must be at least 1"),
        ({"graph": GraphOptions(top_k=0)}, "--top-k must be at least 1"),
        ({"graph": GraphOptions(threshold=1.5)}, "--threshold must be from 0 to 1"),
    ],
)
def test_impossible_options_are_refused(options, wrong, words):
    with pytest.raises(ValueError, match=words):
        replace(options, **wrong)


def test_no_source_is_replaced_even_when_asked(photos, tmp_path, options):
    photo = tmp_path / "1.png"
    photo.write_bytes((photos / "001.png").read_bytes())
    link = tmp_path / "link.jsonl"
    link.symlink_to(photo)
    sources = find_sources([photo])
    for change in ({"output": photo}, {"output": link}, {"output": None, "pictures": tmp_path}):
        for how in ("overwrite", "resume"):
            with pytest.raises(ValueError, match="is one of the sources, and would be replaced"):
                PredictionRun(sources, replace(options, **{how: True}, **change))
    assert photo.read_bytes() == (photos / "001.png").read_bytes()


def test_a_device_is_not_replaced(photos, options):
    with pytest.raises(ValueError, match="/dev/null is no regular file"):
        PredictionRun(find_sources([photos]), replace(options, output="/dev/null", overwrite=True))


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_a_second_run_does_not_meddle_with_one_that_goes_on(whole, photos, options, predictor, how):
    """Of two in one folder the first one to end would write what the other had so far, and lose the rest."""
    sources = find_sources([photos])

    class Meanwhile(SceneGraphPredictor):
        def predict_prepared(self, prepared, graph_options=None):
            with pytest.raises(FileExistsError, match="another run is writing .*out.jsonl now"):
                PredictionRun(sources, replace(options, **{how: True}))(predictor)
            return super().predict_prepared(prepared, graph_options)

    summary = PredictionRun(sources, options)(Meanwhile(predictor.model, predictor.processor))
    assert summary.num_written == 10 and options.output.read_bytes() == whole.read_bytes()
    assert not UnfinishedRun(options.output).folder.exists()


def test_a_damaged_record_of_settings_is_named(photos, options, predictor):
    folder = UnfinishedRun(options.output).folder
    folder.mkdir()
    for content in ("{bad", "[]"):
        (folder / "run.json").write_text(content)
        with pytest.raises(ValueError, match=r"run.json .*--overwrite"):
            PredictionRun(find_sources([photos]), replace(options, resume=True))(predictor)


def test_more_predicates_than_there_are_end_the_run_before_it_begins(photos, options, predictor):
    many = replace(options, graph=GraphOptions(predicates_per_query=99))
    with pytest.raises(ValueError, match="--predicates-per-query must be at most 50"):
        PredictionRun(find_sources([photos]), many)(predictor)
    assert not UnfinishedRun(options.output).folder.exists()
