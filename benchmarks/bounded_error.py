# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What is faster than the exact path, by how much, and what it costs: number formats, compilation, exported files.

python -m benchmarks.bounded_error --output bounded_error.json

Each alternative predicts 200 drawn test images with a trained model; how many of the exact path's best relations (the same
query, classes and predicate) are among its own, and what recall says, stands beside its speed. `--full` times a network of the
published size with random weights instead, on one image of --size. torchao is looked for where `make` puts it, too.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.comparison import as_json, compare, environment, say, timing_table, write_report
from speaq_hf import SceneGraph, SpeaQConfig, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.data import generate_synthetic_genome, load_scene_graphs
from speaq_hf.export import ExportOptions, export_model, load_exported
from speaq_hf.image_reading import read_image
from speaq_hf.metrics import RecallSettings, SceneGraphEvaluator
from speaq_hf.packaged_models import packaged_model
from speaq_hf.predictor import GraphOptions, SceneGraphPredictor
from speaq_hf.quiet_loading import without_progress_bars
from training.demo import IMAGE_SIZE, SCENES
from training.prediction import EvaluationCollator


EXACT = "exact"
PROTOCOL, METRICS = "speaq", ("R@20", "R@50", "R@100", "mR@20", "mR@50", "mR@100")


@dataclass(frozen=True)
class Alternative:
    """A way to predict.

    Args:
        predictor: Predicts.
        num_bytes: What it takes on disk.
    """

    predictor: SceneGraphPredictor
    num_bytes: int


def _in_torch(
    folder: Path, _: Path, change: Callable[[SceneGraphPredictor], Any] = lambda predictor: None, **options: Any
) -> Alternative:
    with without_progress_bars():
        predictor = SceneGraphPredictor.from_pretrained(folder, device="cpu", **options)
    change(predictor)
    content = io.BytesIO()
    torch.save(predictor.model.state_dict(), content)
    return Alternative(predictor, content.getbuffer().nbytes)


def _compile(predictor: SceneGraphPredictor, dynamic: bool = True) -> None:
    predictor.model.compile(dynamic=dynamic)


def _quantize(predictor: SceneGraphPredictor, config: str) -> None:
    from torchao import quantization

    quantization.quantize_(predictor.model.model, getattr(quantization, config)())


def _exported(folder: Path, work: Path, name: str, options: ExportOptions | None = None) -> Alternative:
    export_model(folder, work / name, options)
    return Alternative(load_exported(work / name), (work / name).stat().st_size)


def _quantized_onnx(folder: Path, work: Path) -> Alternative:
    from onnxruntime.quantization import quantize_dynamic

    if not (work / "plain.onnx").exists():
        export_model(folder, work / "plain.onnx")
    quantize_dynamic(work / "plain.onnx", work / "int8.onnx", op_types_to_quantize=["MatMul", "Gemm"])
    return Alternative(load_exported(work / "int8.onnx"), (work / "int8.onnx").stat().st_size)


# The folder of the model and a folder for files -> the alternative.
ALTERNATIVES: dict[str, Callable[[Path, Path], Alternative]] = {
    EXACT: _in_torch,
    "bfloat16": lambda *folders: _in_torch(*folders, dtype=torch.bfloat16),
    "compiled": lambda *folders: _in_torch(*folders, change=_compile),
    "compiled for each size": lambda *folders: _in_torch(*folders, change=lambda p: _compile(p, dynamic=False)),
    "bfloat16, compiled": lambda *folders: _in_torch(*folders, change=_compile, dtype=torch.bfloat16),
    "int8 weights": lambda *folders: _in_torch(*folders, change=lambda p: _quantize(p, "Int8WeightOnlyConfig")),
    "int8 products": lambda *folders: _in_torch(
        *folders, change=lambda p: _quantize(p, "Int8DynamicActivationInt8WeightConfig")
    ),
    "ONNX": lambda *folders: _exported(*folders, "plain.onnx"),
    "ONNX, graphs within": lambda *folders: _exported(*folders, "graphs.onnx", ExportOptions(graph=GraphOptions())),
    "ONNX, int8 products": _quantized_onnx,
    "torch.export": lambda *folders: _exported(*folders, "program.pt2"),
}


def build(names: Sequence[str], folder: Path, work: Path) -> tuple[dict[str, Alternative], dict[str, str]]:
    """Make alternatives; those that cannot be made here are told with the reason."""
    made, missing = {}, {}
    for name in names:
        try:
            made[name] = ALTERNATIVES[name](folder, work)
        except ImportError as error:
            missing[name] = str(error)
    return made, missing


def agreement(graphs: Sequence[SceneGraph], expected: Sequence[SceneGraph], top_k: int) -> float:
    """Share of the expected graphs' best relations that the others have among theirs, too."""
    shares = []
    for graph, other in zip(graphs, expected, strict=True):
        best = _relations(other, top_k)
        shares.append(len(best & _relations(graph, top_k)) / len(best) if best else 1.0)
    return float(np.mean(shares))


def _relations(graph: SceneGraph, top_k: int) -> set[tuple[int, ...]]:
    subjects, objects, predicates = graph.relations[:top_k].T
    columns = (graph.query_indices[:top_k], graph.labels[subjects], predicates, graph.labels[objects])
    return set(zip(*(column.tolist() for column in columns), strict=True))


def recall(graphs: Sequence[SceneGraph], references: Sequence[dict[str, Any]]) -> dict[str, float]:
    """R@K and mR@K of the published protocol, in percent."""
    evaluator = SceneGraphEvaluator(RecallSettings(len(graphs[0].id2predicate)), (PROTOCOL,))
    evaluator.add_batch(graphs, references)
    values = evaluator.compute()["protocols"][PROTOCOL]["metrics"]
    return {name: 100 * float(values[name]) for name in METRICS}


def drawn_images(root: Path, num_images: int, collator: EvaluationCollator) -> tuple[list[Image.Image], list[dict]]:
    """Test images as the packaged model has learnt to see them, and what is annotated in them."""
    generate_synthetic_genome(
        root, num_images, seed=0, domain="real", split_shares=(0, 0, 1), image_size=IMAGE_SIZE, complexity=SCENES
    )
    rows = list(load_scene_graphs(root, "test"))
    return [read_image(row["image"]) for row in rows], collator(rows)["references"]


def measure_fidelity(
    alternatives: dict[str, Alternative], images: list[Image.Image], references: list[dict]
) -> dict[str, dict[str, Any]]:
    """How many relations stay the same, and what recall says, for each alternative."""
    report, expected = {}, None
    for name, alternative in alternatives.items():
        graphs = [graph for image in images for graph in alternative.predictor([image])]
        expected = graphs if expected is None else expected
        same = {f"same of top {top_k}": 100 * agreement(graphs, expected, top_k) for top_k in (20, 100)}
        report[name] = same | recall(graphs, references) | {"megabytes": alternative.num_bytes / 1e6}
    for values in report.values():
        values["largest change of recall"] = max(abs(values[m] - report[EXACT][m]) for m in METRICS)
    return report


def fidelity_table(report: dict[str, dict[str, Any]]) -> str:
    """Lines of a table."""
    columns = ("same of top 20", "same of top 100", "R@20", "mR@20", "largest change of recall", "megabytes")
    width = max(map(len, report)) + 2
    lines = [f"{'':{width}}" + "".join(f"{name:>{len(name) + 2}}" for name in columns)]
    for name, values in report.items():
        lines.append(f"{name:{width}}" + "".join(f"{values[column]:>{len(column) + 2}.2f}" for column in columns))
    return "\n".join(lines)


def write_full_model(folder: Path) -> Path:
    """A network of the published size with random weights."""
    torch.manual_seed(0)
    SpeaQForSceneGraphGeneration(SpeaQConfig()).save_pretrained(folder)
    SpeaQImageProcessorPil().save_pretrained(folder)
    return folder


def run(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Measure, and say what was measured."""
    folder = write_full_model(work / "model") if arguments.full else arguments.model or packaged_model()
    names = [EXACT, *(name for name in arguments.alternatives or ALTERNATIVES if name != EXACT)]
    alternatives, missing = build(names, folder, work)
    report: dict[str, Any] = {"environment": environment(), "missing": missing}
    if not arguments.full:
        collator = EvaluationCollator(alternatives[EXACT].predictor.processor)
        images, references = drawn_images(work / "images", arguments.num_images, collator)
        report["fidelity"] = measure_fidelity(alternatives, images, references)
        say(fidelity_table(report["fidelity"]))
    else:
        height, width = arguments.size
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        images = [Image.fromarray(noise)]
    calls = {name: lambda p=alternative.predictor: p(images[:1]) for name, alternative in alternatives.items()}
    timings = compare(calls, arguments.repeats, arguments.warm_up)
    report["seconds per image"] = as_json(timings, EXACT)
    say(timing_table(timings, EXACT))
    for name, reason in missing.items():
        say(f"{name} not measured: {reason}")
    return report


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="Folder of a model; default: the packaged one.")
    parser.add_argument("--num-images", type=int, default=200)
    parser.add_argument("--alternatives", nargs="+", choices=list(ALTERNATIVES), help="Default: all.")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="Time a network of the published size; takes longer.")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(600, 800), help="Height and width of the image of --full."
    )
    parser.add_argument("--quick", action="store_true", help="Few images and repeats.")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.num_images, arguments.repeats, arguments.warm_up = 6, 2, 1
    sys.path.append(str(Path(sys.prefix) / "quantization"))
    with tempfile.TemporaryDirectory() as folder:
        write_report(run(arguments, Path(folder)), arguments.output)


if __name__ == "__main__":
    main()
