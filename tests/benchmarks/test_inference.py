"""The benchmarks of inference run, compare equal things and say whether their targets are met."""

import json
import re
from types import SimpleNamespace

import pytest
import torch

from benchmarks import inference, post_processing
from benchmarks.folding import fold_backbone
from benchmarks.made_models import made_config, made_detr, made_model
from benchmarks.stage_clock import StageClock
from speaq_hf.models.speaq.inference_speaq import SpeaQFusedConv2d
from speaq_hf.models.speaq.post_processing_speaq import post_process_scene_graph


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "inference.json"
    inference.main(["--quick", "--repeats", "1", "--device", "cpu", "--output", str(file)])
    return json.loads(file.read_text())


class TestInference:
    def test_every_alternative_takes_its_turn(self, report):
        (setting,) = report["settings"]
        assert set(setting["network"]) == set(inference.ALTERNATIVES)
        assert set(setting["pipeline"]) == set(inference.MAKES_GRAPHS)
        assert report["environment"]["torch"] == torch.__version__

    def test_stages_are_parts_of_the_whole(self, report):
        (setting,) = report["settings"]
        for name, whole in setting["pipeline"].items():
            timings = {stage: timing["median"] for stage, timing in setting["stages"][name].items()}
            assert min(timings[stage] for stage in inference.STAGES) > 0
            assert sum(timings[stage] for stage in inference.STAGES) <= whole["median"]
            assert sum(timings[stage] for stage in inference.STAGES[2:6]) <= timings["network"]

    def test_exact_alternatives_equal_the_plain_path(self, report):
        differences = report["settings"][0]["differences"]
        for name in (inference.LOADED, inference.FAST):
            assert differences[name]["logits"] < 1e-4 and differences[name]["boxes"] < 1e-5
        assert 1e-4 < differences[inference.BFLOAT16]["logits"] < 0.5

    def test_targets_are_ratios_of_medians(self):
        medians = {"plain": 6.0, "fast": 3.0, "fast, bfloat16": 2.5, "DETR, folded": 2.0}
        timings = {name: SimpleNamespace(median=median) for name, median in medians.items()}
        first, second, *_, last = rows = inference.targets({"network": timings, "pipeline": timings})
        assert len(rows) == 5
        assert (first["ratio"], first["met"]) == (2.0, True)
        assert (second["ratio"], second["met"]) == (pytest.approx(2.4), False)
        assert (last["ratio"], last["met"]) == (1.5, False)

    def test_a_small_network_has_no_targets(self, report):
        assert report["settings"][0]["targets"] == []

    def test_memory_is_that_of_other_processes(self, report):
        for values in report["settings"][0]["memory"].values():
            assert values["peak"] - values["before"] == values["call"] and values["before"] > 0

    def test_sizes_are_checked(self, capsys):
        assert inference.parse_size("800x1333") == (800, 1333)
        with pytest.raises(SystemExit):
            inference.main(["--sizes", "800"])
        assert "expected HEIGHTxWIDTH such as 800x1333, got '800'" in capsys.readouterr().err


class TestMadeModels:
    def test_numbers_stay_small_through_fifty_layers(self):
        deep = {"model_type": "resnet", "depths": [2, 2, 11, 2], "embedding_size": 8, "hidden_sizes": [8, 8, 16, 16]}
        model = made_model(made_config(small=True, backbone_config=deep | {"out_features": ["stage4"]}))
        with torch.inference_mode():
            features, _ = model.model.backbone(torch.randn(1, 3, 96, 96), None)
        assert 0.1 < features.std() < 20

    def test_folding_leaves_the_outputs_of_detr(self):
        detr, images = made_detr(made_config(small=True)), torch.randn(2, 3, 65, 97)
        with torch.no_grad():
            expected = detr(images)
            fold_backbone(detr.model.backbone.model)
            folded = detr(images)
        assert sum(isinstance(module, SpeaQFusedConv2d) for module in detr.modules()) > 4
        torch.testing.assert_close(folded.logits, expected.logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(folded.pred_boxes, expected.pred_boxes, rtol=0, atol=1e-4)

    def test_a_folding_that_is_not_exact_is_refused(self):
        with pytest.raises(RuntimeError, match=r"folding changed DETR's outputs by 0\.5"):
            inference.check_folding({"boxes": torch.zeros(1)}, {"boxes": torch.full((1,), 0.5)})


def test_parts_of_a_network_that_run_several_times_add_up():
    clock, part = StageClock(), torch.nn.Linear(2, 2)
    network = torch.nn.Sequential(part, part, torch.nn.ReLU())
    clock.watch(network, {"part": part}, rest="rest")
    clock.begin_run()
    network(torch.zeros(1, 2))
    timings = clock.timings()
    assert set(timings) == {"part", "rest", "network"}
    assert timings["part"].median + timings["rest"].median <= timings["network"].median


class TestPostProcessing:
    @pytest.mark.parametrize("kind", post_processing.KINDS)
    def test_outputs_are_of_their_kind(self, kind):
        outputs = post_processing.make_outputs(kind, queries=120, classes=30, predicates=7, images=2)
        graphs = post_process_scene_graph(outputs, [(600, 800)] * 2, nms_threshold=0.3)
        objects = {graph.labels.unique().numel() for graph in graphs}, max(len(graph.boxes) for graph in graphs)
        assert {
            "objects": min(objects[0]) > 10 and 20 < objects[1] < 100,
            "one class": objects[0] == {1} and objects[1] < 40,
            "chain": objects[0] == {1} and objects[1] > 20,
            "nothing alike": min(objects[0]) > 25 and objects[1] > 100,
        }[kind]

    def test_report(self, tmp_path, capsys):
        post_processing.main(["--quick", "--images", "1", "--output", str(tmp_path / "report.json")])
        report = json.loads((tmp_path / "report.json").read_text())
        assert set(report["kinds"]) == {f"{kind}, batch 1" for kind in post_processing.KINDS}
        typical = report["kinds"]["objects, batch 1"]["milliseconds_per_image"]
        assert f"{typical:.1f} ms per image\n" in capsys.readouterr().out  # without a target, which is for 600 queries

    def test_the_target_is_said_of_the_published_size(self, tmp_path, capsys):
        post_processing.main(["--queries", "20", "--repeats", "1", "--images", "1"])
        assert re.search(r"ms per image, target <= 8 ms: (met|missed)", capsys.readouterr().out)

    def test_different_graphs_are_noticed(self, monkeypatch):
        monkeypatch.setattr(post_processing, "plain_scene_graph", lambda *args, **kwargs: [])
        with pytest.raises(RuntimeError, match="the graphs of 'objects' differ"):
            post_processing.measure("objects", repeats=1, queries=10)
