"""Studies: what their files say, that they run, go on where they were, and what is collected of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from scipy import stats

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.data import generate_scene_world, load_scene_graphs
from speaq_hf.models.speaq.loss_speaq import RelationAssigner
from training import evaluate
from training.arguments import DataArguments
from training.configuration_file import DETECTOR_SECTIONS, SECTIONS, parse_run
from training.data import load_training_data
from training.experiments import run_study, train_arm
from training.experiments.assignment_observer import AssignmentObserver
from training.experiments.collection import paired_difference
from training.experiments.study import Study
from training.prediction import LoadingOptions

from .micro_run import MICRO_RUN


STUDIES = sorted(
    path
    for path in (Path(run_study.ROOT) / "training" / "experiments").glob("*.yaml")
    if "arms" in yaml.safe_load(path.read_text())
)


class TestStudyFiles:
    @pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
    def test_every_arm_and_detector_trains_with_what_the_file_sets(self, path):
        study = Study.read(path)
        parts = [(study.options, arm.set, SECTIONS) for arm in study.arms.values()]
        parts += [(detector.options, detector.set, DETECTOR_SECTIONS) for detector in study.detectors.values()]
        for options, changes, sections in parts:
            arguments = parse_run(options, run_study.option_words(changes), sections)
            for name, value in changes.items():
                section, field = name.split(".")
                part = getattr(arguments, section)
                assert (part.config if field in getattr(part, "config", {}) else vars(part))[field] == value, name
            with pytest.raises(ValueError, match="colour"):
                parse_run(options, run_study.option_words(changes | {"model.colour": "red"}), sections)

    def test_models_have_the_sizes_and_the_data_of_their_detector(self):
        folder = STUDIES[0].parent
        model, detector = (
            yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in ("scene_world", "scene_world_detector")
        )
        assert model["model"] == detector["model"] and model["data"] == detector["data"]

    def test_the_headline_pairs_have_three_seeds(self):
        for path in STUDIES:
            study = Study.read(path)
            for pair in study.comparisons:
                assert all(len(study.arms[name].seeds) >= 3 for name in pair)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"arms": None}, "arms must be a mapping of at least one"),
            ({"colour": "red"}, "colour is unknown"),
            ({"detector": "none"}, "'none', which is not in the file"),
            ({"comparisons": [["a"]]}, "a comparison must be two of a, b"),
            ({"comparisons": [["a", "c"]]}, "a comparison must be two of a, b"),
            ({"arms": {"a": {"title": "A", "seeds": 3}}}, "seeds must be a list of integers, got 3"),
            ({"arms": {"a": {"title": "A"}}}, "seeds is missing"),
        ],
    )
    def test_wrong_files_are_named(self, tmp_path, change, message):
        (tmp_path / "options.yaml").write_text("{}")
        content = {
            "options": "options.yaml",
            "arms": {name: {"title": name.upper(), "seeds": [0]} for name in ("a", "b")},
        }
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content | change))
        with pytest.raises(ValueError, match=message):
            Study.read(path)

    def test_missing_files_are_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no study .*nothing\.yaml"):
            Study.read(tmp_path / "nothing.yaml")
        (tmp_path / "study.yaml").write_text("options: gone.yaml\narms: {a: {title: A, seeds: [0]}}")
        with pytest.raises(FileNotFoundError, match=r"gone\.yaml, which does not exist"):
            Study.read(tmp_path / "study.yaml")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("world")
    generate_scene_world(root, num_images=110, num_workers=1)
    return root


@pytest.fixture
def study_file(tmp_path) -> Path:
    options = MICRO_RUN | {"data": MICRO_RUN["data"] | {"format": "auto"}}
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(options))
    arms = {
        "speaq": {"title": "SpeaQ", "seeds": [0, 1]},
        "isg": {"title": "Iterative SGG", "seeds": [0, 1], "set": {"model.variant": "iterative_sgg"}},
    }
    path = tmp_path / "tiny.yaml"
    study = {"options": "options.yaml", "arms": arms, "comparisons": [["speaq", "isg"]]}
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def call_here(runner: run_study.StudyRunner, folder: Path, program: str, *words: str) -> None:
    """In this process, which has imported everything."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    {"training/experiments/train_arm.py": train_arm, "training/evaluate.py": evaluate}[program].main(list(words))


class TestRun:
    def test_it_runs_goes_on_and_collects(self, world, study_file, tmp_path, monkeypatch):
        monkeypatch.setattr(run_study.StudyRunner, "_call", call_here)
        output = tmp_path / "out"
        words = [str(study_file), "--output", str(output), "--world", str(world), "--training.max_steps", "2"]
        run_study.main([*words, "--arms", "speaq", "--seeds", "0", "--evaluation.steps", "1"])
        results = json.loads((output / "results.json").read_text())
        assert list(results["arms"]) == ["speaq"] and not results["comparisons"]
        run = results["arms"]["speaq"]["runs"][0]
        assert [step for step, _ in run["curves"]["evaluation"]["queries_per_relation"]] == [1, 2]
        assert set(run["test"]) == {"real", "synthetic"}
        assert 0 <= run["test"]["real"]["strict"]["metrics"]["R@20"] <= 1
        for name in ("test", "curves", "groups"):
            assert (output / f"{name}.png").stat().st_size > 5_000
        # What is finished is not run again.
        monkeypatch.setattr(run_study.StudyRunner, "_call", lambda *arguments: pytest.fail("runs again"))
        run_study.main([*words, "--arms", "speaq", "--seeds", "0"])

    def test_a_failed_run_is_named(self, world, study_file, tmp_path):
        words = [str(study_file), "--output", str(tmp_path / "out"), "--world", str(world), "--arms", "isg"]
        with pytest.raises(SystemExit, match="output.txt"):
            run_study.main([*words, "--seeds", "0", "--training.learning_rate", "much"])
        assert "learning_rate" in (tmp_path / "out" / "arms" / "isg" / "seed-0" / "output.txt").read_text()

    def test_unknown_arms_are_refused(self, study_file, tmp_path, capsys):
        with pytest.raises(SystemExit):
            run_study.main([str(study_file), "--output", str(tmp_path), "--arms", "none"])
        assert "there are speaq, isg" in capsys.readouterr().err


class TestDifferences:
    def test_the_interval_is_that_of_a_paired_t_test(self):
        found = paired_difference(np.array([0.01, 0.03, 0.02]))
        half = stats.t.ppf(0.975, 2) * 0.01 / np.sqrt(3)
        assert found["mean"] == pytest.approx(0.02)
        assert found["interval"] == pytest.approx([0.02 - half, 0.02 + half])
        assert found["p"] == pytest.approx(2 * stats.t.sf(0.02 / (0.01 / np.sqrt(3)), 2))

    @pytest.mark.parametrize("values", [[], [0.1], [0.0, 0.0]])
    def test_too_little_for_an_interval(self, values):
        found = paired_difference(np.array(values))
        assert found["interval"] is None and found["differences"] == values


def test_the_observer_sees_copies_and_groups(world):
    """Beside what the assigner says of the same predictions."""
    data = load_scene_graphs(world / "real", "train").select(range(6))
    arguments = parse_run(STUDIES[0].parent / "scene_world.yaml", ["--data.root", str(world / "real")])
    counts = np.linspace(40, 1, 50).tolist()
    torch.manual_seed(0)
    fields = arguments.model.config | {"predicate_counts": counts, "group_predicate_counts": counts}
    model, observer = SpeaQForSceneGraphGeneration(SpeaQConfig(**fields)), AssignmentObserver()
    processor = SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 64})
    batches = list(observer(model, processor, data, Accelerator(cpu=True), LoadingOptions(batch_size=4)))
    assert [len(graphs) for graphs, _ in batches] == [4, 2]
    seen = observer.compute(model.config)
    assert 1 <= seen["queries_per_relation"] <= model.config.assignment_topk
    assert sum(seen["group_use"]) == pytest.approx(1)
    assert len(seen["group_use"]) == len(seen["group_fidelity"]) == model.config.num_query_groups
    assert all(0 <= share <= 1 for share in seen["group_fidelity"])


def test_only_the_first_training_images_are_used(world):
    data = load_training_data(DataArguments(root=str(world / "real"), max_train_images=7))
    whole = load_training_data(DataArguments(root=str(world / "real")))
    assert data.train["image_id"][:] == whole.train["image_id"][:7]
    assert len(data.validation) == len(whole.validation)
    with pytest.raises(ValueError, match="max_train_images must be at least 1 or null, got 0"):
        DataArguments(root="x", max_train_images=0)


def test_use_and_fidelity_of_groups():
    """Of four best relations three come from the first group's queries, two of them with a predicate of that group."""
    observer = AssignmentObserver()
    observer._assigner = RelationAssigner(predicate_to_group=[0, 0, 1], query_groups=[2, 2])
    queries, predicates = torch.tensor([0, 1, 1, 3]), torch.tensor([0, 2, 1, 2])
    found = observer._group_use(queries, predicates)
    assert found["group_use"] == pytest.approx([0.75, 0.25])
    assert found["group_fidelity"] == pytest.approx([2 / 3, 1.0])
