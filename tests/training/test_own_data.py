"""Training on data that users have: any known format, and the README's example word for word."""

import json
import re
import shlex
import shutil
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from speaq_hf import SpeaQImageProcessorPil
from speaq_hf.data import (
    generate_synthetic_genome,
    load_scene_graph_splits,
    load_synthetic_genome,
    object_names,
    predicate_names,
    predicate_statistics,
    save_scene_graphs,
)
from speaq_hf.data.scene_graph_files import WRITTEN_FORMATS
from speaq_hf.data.vocabulary import renumber_classes
from tests.training.conftest import ROOT
from tests.training.test_train import entries, run
from training import evaluate, pretrain_detector, train
from training.arguments import DataArguments
from training.configuration_file import parse_run
from training.data import load_split, load_training_data


SECTION = (ROOT / "README.md").read_text().split("## Train on your own images in ten lines")[1].split("\n## ")[0]


def read_example() -> tuple[list[str], list[list[str]]]:
    """The lines of the metadata, and the words of the commands."""
    metadata, _, commands = re.findall(r"```(?:json|bash)\n(.*?)```", SECTION, re.DOTALL)
    return metadata.splitlines(), [
        shlex.split(line, comments=True) for line in commands.replace("\\\n", "").splitlines()
    ]


def data_arguments(micro_run, *overrides):
    config, *words = micro_run("run", "--data.format", "auto", *overrides)[1:]
    return parse_run(config, words).data


def test_the_example_of_the_readme_trains(micro_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines, (pretraining, training, evaluation) = read_example()
    assert len(lines) + 3 <= 10
    root = tmp_path / "data" / "mine"
    root.mkdir(parents=True)
    copies = [json.loads(line) | {"file_name": f"{copy}.jpg"} for line in lines[:1] for copy in range(4)]
    for entry in (*copies, json.loads(lines[1])):
        Image.new("RGB", (100, 80), (90, 60, 30)).save(root / entry["file_name"])
    (root / "metadata.jsonl").write_text("\n".join([*map(json.dumps, copies), lines[1]]))
    words = pretraining[pretraining.index("--data.root") :]
    detection = {"evaluation": {"best_metric": "recall@10"}}
    pretrain_detector.main(
        micro_run("detector", *words, "--training.max_steps", "1", "--training.milestones", "[1]", **detection)
    )
    words = training[training.index("--data.root") :]
    run(micro_run("run", *words, "--training.max_steps", "1", "--training.milestones", "[1]"))
    config = json.loads((tmp_path / "outputs/mine/final/config.json").read_text())
    assert list(config["id2predicate"].values()) == ["on", "under"]
    evaluate.main([*evaluation[evaluation.index("--model") :], "--num_workers", "0"])
    assert "R " in capsys.readouterr().out


def test_boxes_without_relations_train_a_detector_alone(micro_run, genome, tmp_path, capsys):
    save_scene_graphs(load_scene_graph_splits(genome), tmp_path / "coco", "coco")
    for file in (tmp_path / "coco").glob("*.json"):
        content = json.loads(file.read_text())
        file.write_text(json.dumps({key: content[key] for key in ("images", "annotations", "categories")}))
    words = ("--data.root", str(tmp_path / "coco"), "--data.format", "auto", "--training.max_steps", "1")
    with pytest.raises(SystemExit):
        train.main(micro_run("graphs", *words))
    assert "no relations in " in capsys.readouterr().err
    detection = {"evaluation": {"best_metric": "recall@10"}}
    pretrain_detector.main(micro_run("boxes", *words, **detection))
    assert (tmp_path / "boxes/final/config.json").is_file()


def test_a_converted_set_trains_like_its_source(micro_run, genome, tmp_path):
    save_scene_graphs(load_scene_graph_splits(genome), tmp_path / "coco", "coco")
    source = run(micro_run("source", "--training.max_steps", "1"))
    converted = run(
        micro_run(
            "converted", "--training.max_steps", "1", "--data.root", str(tmp_path / "coco"), "--data.format", "auto"
        )
    )
    assert entries(converted)[0]["loss"] == entries(source)[0]["loss"]


def test_validation_images_from_the_training_split(micro_run, genome, tmp_path):
    save_scene_graphs(load_scene_graph_splits(genome)["train"], tmp_path / "set", "arrow")
    root = ("--data.root", str(tmp_path / "set"))
    arguments = data_arguments(micro_run, *root, "--data.num_validation_images", "5")
    train_split, validation = load_split(arguments, "train"), load_split(arguments, "val")
    ids = load_scene_graph_splits(tmp_path / "set")["train"]["image_id"][:]
    assert (validation["image_id"][:], train_split["image_id"][:]) == (ids[:5], ids[5:])
    with pytest.raises(ValueError, match="there is no split 'validation'; it has \\['train'\\]"):
        load_training_data(data_arguments(micro_run, *root))
    with pytest.raises(ValueError, match="data.num_validation_images must leave images for both"):
        load_split(data_arguments(micro_run, *root, "--data.num_validation_images", "1000"), "train")
    with pytest.raises(ValueError, match="data.filter_non_overlap is known for visual_genome"):
        load_split(data_arguments(micro_run, *root, "--data.filter_non_overlap", "true"), "train")


def test_a_set_without_test_images(micro_run, genome, tmp_path, caplog):
    splits = load_scene_graph_splits(genome)
    save_scene_graphs({name: splits[name] for name in ("train", "validation")}, tmp_path / "set", "arrow")
    data = load_training_data(data_arguments(micro_run, "--data.root", str(tmp_path / "set")))
    assert not caplog.messages  # a detector has no triplets
    assert "zero_shot_triplets" not in data.config_fields()
    assert "Zero-shot triplets are not recorded, there is no test split" in caplog.text


def test_an_option_of_another_format_ends_with_one_message(micro_run, genome, tmp_path, capsys):
    save_scene_graphs(load_scene_graph_splits(genome), tmp_path / "coco", "coco")
    root = ("--data.root", str(tmp_path / "coco"), "--data.format", "auto")
    with pytest.raises(SystemExit):
        train.main(micro_run("run", *root, "--data.categories", "names.json"))
    assert "error: the format coco has no option categories" in capsys.readouterr().err


def renumbered(dataset):
    return renumber_classes(dataset, object_names(dataset)[::-1], predicate_names(dataset)[::-1])


@pytest.mark.parametrize("format", WRITTEN_FORMATS)
def test_the_second_source_may_have_any_format(micro_run, genome, tmp_path, format):
    splits = load_scene_graph_splits(genome)
    other = tmp_path / "other"
    save_scene_graphs({name: renumbered(dataset) for name, dataset in splits.items()}, other, format)
    data = load_training_data(data_arguments(micro_run, "--data.synthetic_root", str(other)))
    assert data.sources == ["real"] * len(splits["train"]) + ["synthetic"] * len(splits["train"])
    real, synthetic = (
        data.train.filter(lambda row, name=name: row["source"] == name) for name in ("real", "synthetic")
    )
    for column in ("objects", "relations", "predicates"):
        first, second = real[column][:], synthetic[column][:]
        if column == "objects":  # Visual Genome's files round boxes
            first, second = ([objects["category"] for objects in rows] for rows in (first, second))
        assert first == second
    assert (data.statistics.counts == 2 * predicate_statistics(splits["train"]).counts).all()
    if format == "coco":
        assert entries(run(micro_run("run", "--data.synthetic_root", str(other), "--training.max_steps", "1")))


def test_a_generated_set_may_lie_beside_visual_genome(genome, tmp_path):
    both = tmp_path / "both"
    rows = load_scene_graph_splits(genome)["train"]
    save_scene_graphs(rows.select(range(3)), both, "visual_genome")
    shutil.copytree(genome, both, dirs_exist_ok=True)
    options = {"root": str(both), "format": "visual_genome", "num_validation_images": 1, "synthetic_root": str(both)}
    assert Counter(load_training_data(DataArguments(**options)).sources) == {"real": 2, "synthetic": len(rows)}
    with pytest.raises(ValueError, match="there is no split 'train'"):
        load_training_data(DataArguments(**options | {"synthetic_format": "coco"}))


def test_statistics_follow_the_vocabulary_of_the_real_set(genome, tmp_path):
    """A synthetic set may number its classes differently: its relations count for the names that they have."""
    other = tmp_path / "synthetic"
    shutil.copytree(genome, other)
    file = other / "synthetic-SGG-dicts-with-attri.json"
    names = json.loads(file.read_text())
    predicates = names["predicate_to_idx"]
    names["predicate_to_idx"] = {name: len(predicates) + 1 - index for name, index in predicates.items()}
    file.write_text(json.dumps(names))
    same, renumbered = (
        load_training_data(DataArguments(root=str(genome), synthetic_root=str(root))) for root in (genome, other)
    )
    first, second = same.statistics.counts, renumbered.statistics.counts
    assert first.sum() == second.sum() and not (first == second).all()
    alone = predicate_statistics(load_synthetic_genome(other, "train")).counts[::-1]
    assert (second == predicate_statistics(load_synthetic_genome(genome, "train")).counts + alone).all()


def test_the_mixture_of_the_readme_gives_losses(genome, tmp_path):
    real = generate_synthetic_genome(tmp_path / "real", 30, 1, domain="real", image_size=64, num_workers=1)
    text = (ROOT / "README.md").read_text().split("## Mix with synthetic data")[1].split("\n## ")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)).replace("batch_size=20", "batch_size=10")
    code = code.replace("data/visual_genome", str(real)).replace("data/synthetic_genome", str(genome))
    losses = []

    class Model:
        """Remembers the weights it is given."""

        def __call__(self, pixel_values, pixel_mask, labels):
            losses.append([float(label["loss_weight"]) for label in labels])
            return SimpleNamespace(loss=torch.zeros((), requires_grad=True))

    exec(code, {"model": Model(), "processor": SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 64})})
    assert losses and all(sorted(weights) == [0.5] * 3 + [1.0] * 7 for weights in losses)
