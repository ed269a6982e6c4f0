# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Time and memory of inference, from a JPEG file to a scene graph, beside a plain path and beside transformers' DETR.

python -m benchmarks.inference [--sizes 800x1333 600x800] [--batch 1] [--repeats 3] [--model FOLDER] [--output FILE.json]

Alternatives take turns: the plain path (`benchmarks/plain.py`); the model as it is loaded; `model.optimize_for_inference()`;
the same in bfloat16; and `DetrForObjectDetection` with the same backbone, widths, layers and number of queries, as it is loaded
and with its backbone in the state of ours. Weights are random unless there is a `--model`. DETR has one decoder instead of
three and makes no graphs: only the networks are compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from benchmarks.comparison import (
    as_json,
    compare,
    environment,
    peak_memory_in_new_process,
    say,
    timing_table,
    write_report,
)
from benchmarks.folding import fold_backbone
from benchmarks.made_models import made_config, made_detr, made_model, write_image
from benchmarks.plain import PlainModel, plain_prepare
from benchmarks.plain_post_processing import plain_scene_graph
from benchmarks.stage_clock import StageClock
from speaq_hf import SpeaQForSceneGraphGeneration, SpeaQImageProcessor
from speaq_hf.image_reading import read_image
from speaq_hf.inspection.model_benchmark import Timing
from speaq_hf.models.speaq.post_processing_speaq import OUTPUT_NAMES
from speaq_hf.predictor import SceneGraphPredictor, preferred_device


# Of a photograph's sides in those of the network's input: VG's 375 x 500 become 600 x 800.
PHOTOGRAPH = 0.625
STAGES = ("load", "preprocess", "backbone", "encoder", "decoders", "heads", "post-process")
PLAIN, LOADED, FAST, BFLOAT16 = MAKES_GRAPHS = ("plain", "as loaded", "fast", "fast, bfloat16")
DETR, DETR_FOLDED = ("DETR", "DETR, folded")
ALTERNATIVES = (*MAKES_GRAPHS, DETR, DETR_FOLDED)
# How many times faster than the plain path, and in how many times DETR's time.
LEAST_TIMES = {FAST: 1.6, BFLOAT16: 3.0}
MOST_OF_DETR = 1.35


@dataclass(frozen=True)
class Setting:
    """What is computed.

    Args:
        height: Of the network's input.
        width: Likewise.
        batch: Images at once.
        model: Folder or Hub name; None: the published network with random weights.
        small: Whether a small network takes its place.
        device: Where.
    """

    height: int
    width: int
    batch: int = 1
    model: str | None = None
    small: bool = False
    device: str = "cpu"

    def load(self) -> SpeaQForSceneGraphGeneration:
        """The model as a user has it."""
        if self.model is not None:
            return SpeaQForSceneGraphGeneration.from_pretrained(self.model).eval().to(self.device)
        return made_model(made_config(self.small)).to(self.device)

    def processor(self) -> SpeaQImageProcessor:
        """Makes inputs of the size."""
        sides = sorted((self.height, self.width))
        return SpeaQImageProcessor(size={"shortest_edge": sides[0], "longest_edge": sides[1]})

    def write_photographs(self, folder: Path) -> list[Path]:
        """Files that become inputs of the size."""
        sides = (round(PHOTOGRAPH * self.height), round(PHOTOGRAPH * self.width))
        return [write_image(folder / f"{index}.jpg", *sides, seed=index) for index in range(self.batch)]


@dataclass
class Pipeline:
    """One alternative: from files to graphs, or to what its network says.

    Args:
        network: Is watched.
        parts: Its parts by stage.
        read: File to image.
        prepare: Images to the network's inputs.
        compute: Those to outputs.
        finish: Outputs and (height, width) of the images to graphs.
        files: Of a batch.
        device: Where the network is.
    """

    network: nn.Module
    parts: dict[str, nn.Module]
    read: Callable[[Path], Image.Image]
    prepare: Callable[[list[Image.Image]], Any]
    compute: Callable[[Any], dict[str, Tensor]]
    finish: Callable[[dict[str, Tensor], list[tuple[int, int]]], Any]
    files: Sequence[Path]
    device: torch.device
    outputs: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = StageClock(self.device)
        self.clock.watch(self.network, self.parts, rest="heads")

    @torch.inference_mode()
    def __call__(self) -> Any:
        """Graphs of the files."""
        self.clock.begin_run()
        with self.clock.stage("load"):
            images = [self.read(file) for file in self.files]
        with self.clock.stage("preprocess"):
            inputs = self.prepare(images)
        self.outputs = self.compute(inputs)
        with self.clock.stage("post-process"):
            return self.finish(self.outputs, [(image.height, image.width) for image in images])


def _read_plainly(file: Path) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(file)).convert("RGB")


def make_network(name: str, setting: Setting, model: SpeaQForSceneGraphGeneration) -> nn.Module:
    """The network of an alternative by its name, made from the model as it is loaded."""
    if name == LOADED:
        return model
    if name == PLAIN:
        return PlainModel(model)
    if name in (DETR, DETR_FOLDED):
        detr = made_detr(model.config).to(setting.device)
        if name == DETR_FOLDED:
            fold_backbone(detr.model.backbone.model)
        return detr
    fast = model.optimize_for_inference()
    return fast.to(torch.bfloat16) if name == BFLOAT16 else fast


def make_pipeline(name: str, network: nn.Module, setting: Setting, files: Sequence[Path]) -> Pipeline:
    """An alternative with its network."""
    make = {PLAIN: plain_pipeline, DETR: detr_pipeline, DETR_FOLDED: detr_pipeline}.get(name, predictor_pipeline)
    return make(network, setting, files)


def plain_pipeline(network: PlainModel, setting: Setting, files: Sequence[Path]) -> Pipeline:
    """The plain path from first to last."""
    config, processor, device = network.config, setting.processor(), torch.device(setting.device)
    parts = {"backbone": network.backbone, "encoder": network.encoder, "decoders": network.decoder}

    def prepare(images: list[Image.Image]) -> dict[str, Tensor]:
        return {name: value.to(device) for name, value in plain_prepare(images, processor).items()}

    def finish(outputs: dict[str, Any], sizes: list[tuple[int, int]]) -> Any:
        on_cpu = {name: outputs[name].cpu() for name in OUTPUT_NAMES}
        return plain_scene_graph(on_cpu, sizes, id2label=config.id2label, id2predicate=config.id2predicate)

    return Pipeline(network, parts, _read_plainly, prepare, lambda inputs: network(**inputs), finish, files, device)


def _read_plainly(file: Path) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(file)).convert("RGB")


def predictor_pipeline(network: SpeaQForSceneGraphGeneration, setting: Setting, files: Sequence[Path]) -> Pipeline:
    """What a user of `SceneGraphPredictor` gets."""
    predictor, base = SceneGraphPredictor(network, setting.processor()), network.model
    parts = {"backbone": base.backbone, "encoder": base.encoder, "decoders": base.decoder}
    steps = (read_image, predictor.prepare, predictor.compute, predictor.make_graphs)
    return Pipeline(network, parts, *steps, files, network.device)


def detr_pipeline(network: nn.Module, setting: Setting, files: Sequence[Path]) -> Pipeline:
    """DETR on the same inputs; nothing comes after its network."""
    processor, base = setting.processor(), network.model
    parts = {"backbone": base.backbone, "encoder": base.encoder, "decoders": base.decoder}

    def prepare(images: list[Image.Image]) -> dict[str, Tensor]:
        return {name: value.to(network.device) for name, value in processor(images, return_tensors="pt").items()}

    def compute(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = network(**inputs)
        return {"logits": outputs.logits, "boxes": outputs.pred_boxes}

    return Pipeline(network, parts, read_image, prepare, compute, lambda *_: None, files, network.device)


def largest_difference(outputs: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Of logits, and of boxes in [0, 1], from those of the plain path."""
    differences = {name: float((outputs[name].float() - expected[name]).abs().max()) for name in OUTPUT_NAMES}
    return {
        kind: max(differences[name] for name in OUTPUT_NAMES if name.endswith(kind)) for kind in ("logits", "boxes")
    }


def check_folding(plain: dict[str, Tensor], folded: dict[str, Tensor]) -> float:
    """The largest difference that the state of DETR's backbone makes to its outputs.

    Raises:
        RuntimeError: It is more than rounding.
    """
    difference = max(float((plain[name] - folded[name]).abs().max()) for name in plain)
    if difference > 1e-3:
        raise RuntimeError(f"folding changed DETR's outputs by {difference}, which is more than rounding")
    return difference


def measure(setting: Setting, files: Sequence[Path], repeats: int, warm_up: int = 1) -> dict[str, Any]:
    """Times of all alternatives for one size, taken in turn, and what they computed."""
    model = setting.load()
    # All networks before the first pipeline: what watches one must not be copied into another.
    networks = {name: make_network(name, setting, model) for name in ALTERNATIVES}
    pipelines = {name: make_pipeline(name, network, setting, files) for name, network in networks.items()}
    totals = compare(pipelines, repeats, warm_up, torch.device(setting.device))
    stages = {name: pipeline.clock.timings(warm_up) for name, pipeline in pipelines.items()}
    wholes = {name: totals[name] for name in MAKES_GRAPHS}
    expected = pipelines[PLAIN].outputs
    folding = check_folding(pipelines[DETR].outputs, pipelines[DETR_FOLDED].outputs)
    return {
        "network": {name: timings["network"] for name, timings in stages.items()},
        "pipeline": wholes,
        "stages": stages,
        "differences": {name: largest_difference(pipelines[name].outputs, expected) for name in MAKES_GRAPHS[1:]},
        "folding": folding,
        "parameters": {name: sum(p.numel() for p in networks[name].parameters()) for name in (LOADED, DETR)},
    }


def targets(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Ratios with the numbers that they shall reach."""
    rows = []
    for part in ("network", "pipeline"):
        timings = measured[part]
        for name, least in LEAST_TIMES.items():
            ratio = timings[PLAIN].median / timings[name].median
            rows.append(
                {"what": f"{part}: {name}, times plain", "ratio": ratio, "at least": least, "met": ratio >= least}
            )
    ratio = measured["network"][FAST].median / measured["network"][DETR_FOLDED].median
    what = f"network: {FAST}, in times of {DETR_FOLDED}"
    return [*rows, {"what": what, "ratio": ratio, "at most": MOST_OF_DETR, "met": ratio <= MOST_OF_DETR}]


def stage_table(stages: dict[str, dict[str, Timing]]) -> str:
    """Medians in milliseconds, a line for each alternative."""
    width = max(map(len, stages)) + 2
    lines = ["ms".ljust(width) + "".join(f"{name:>14}" for name in STAGES)]
    for name, timings in stages.items():
        cells = (f"{1e3 * timings[stage].median:14.1f}" for stage in STAGES)
        lines.append(name.ljust(width) + "".join(cells))
    return "\n".join(lines)


def prepare_call(name: str, setting: Setting, files: Sequence[Path]) -> Callable[[], Any]:
    """What a new process calls to measure its memory."""
    return make_pipeline(name, make_network(name, setting, setting.load()), setting, files)


def measure_memory(setting: Setting, files: Sequence[Path]) -> dict[str, dict[str, int]]:
    """Bytes of each alternative that makes graphs, of one of them in a quick run, in a process of its own."""
    names = (FAST,) if setting.small else MAKES_GRAPHS
    return {name: peak_memory_in_new_process(prepare_call, name, setting, files) for name in names}


def tell(setting: Setting, measured: dict[str, Any]) -> None:
    """Print what was measured."""
    say(f"\n{setting.height} x {setting.width}, batch {setting.batch}: network")
    say(timing_table(measured["network"], PLAIN))
    say("\nfrom JPEG to scene graph")
    say(timing_table(measured["pipeline"], PLAIN))
    say(f"\n{stage_table(measured['stages'])}\n")
    for name, values in measured["differences"].items():
        say(f"{name:16} differs from plain by at most {values['logits']:.1e} (logits), {values['boxes']:.1e} (boxes)")
    for row in measured["targets"]:
        bound = f">= {row['at least']}" if "at least" in row else f"<= {row['at most']}"
        say(f"{row['what']:48}{row['ratio']:6.2f}   target {bound:8}{'met' if row['met'] else 'missed'}")
    for name, values in measured.get("memory", {}).items():
        say(f"{name:16} memory: {values['before'] / 1e6:.0f} MB before, {values['peak'] / 1e6:.0f} MB at most")


def run(settings: Sequence[Setting], repeats: int) -> list[dict[str, Any]]:
    """Measure every setting; memory of the first."""
    reports = []
    for index, setting in enumerate(settings):
        with tempfile.TemporaryDirectory() as folder:
            files = setting.write_photographs(Path(folder))
            measured = measure(setting, files, repeats)
            measured["targets"] = [] if setting.small else targets(measured)  # they are those of the published network
            if index == 0:
                measured["memory"] = measure_memory(setting, files)
        tell(setting, measured)
        reports.append(dataclasses.asdict(setting) | _plain_numbers(measured))
    return reports


def _plain_numbers(measured: dict[str, Any]) -> dict[str, Any]:
    stages = {
        name: {stage: dataclasses.asdict(timing) for stage, timing in timings.items()}
        for name, timings in measured["stages"].items()
    }
    ratios = {part: as_json(measured[part], PLAIN) for part in ("network", "pipeline")}
    return measured | {"stages": stages} | ratios


def parse_size(text: str) -> tuple[int, int]:
    """`800x1333` to (height, width)."""
    try:
        height, width = map(int, text.split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 800x1333, got {text!r}") from error
    return height, width


def main(words: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=parse_size, nargs="+", default=[(800, 1333), (600, 800)], help="Of the network's input."
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="Images at once.")
    parser.add_argument("--repeats", type=int, default=3, help="Rounds that count.")
    parser.add_argument("--model", help="Folder or Hub name; default: random weights.")
    parser.add_argument("--device", default=str(preferred_device()), help="Default: the accelerator if there is one.")
    parser.add_argument("--quick", action="store_true", help="A small network on small images.")
    parser.add_argument("--output", type=Path, help="JSON file to write.")
    arguments = parser.parse_args(words)
    sizes = [(64, 96)] if arguments.quick else arguments.sizes
    settings = [
        Setting(*size, batch, arguments.model, arguments.quick, arguments.device)
        for size in sizes
        for batch in arguments.batch
    ]
    reports = run(settings, arguments.repeats)
    write_report({"environment": environment(arguments.device), "settings": reports}, arguments.output)


if __name__ == "__main__":
    main()
