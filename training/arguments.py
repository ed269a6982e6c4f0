# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a training run can be told: one dataclass per section of its YAML file. The defaults are the published recipe.

Each class checks the range of its values; types are checked where the values come from, and what depends on files or on
the model where those are read.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal


DataFormat = Literal["auto", "visual_genome", "synthetic_genome", "coco", "imagefolder", "arrow", "parquet", "hub"]


def _described(default: Any, text: str) -> Any:
    """A dataclass field with a help text; dicts and lists are copied for every instance."""
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


def _require(section: str, condition: Any, message: str) -> None:
    if not condition:
        raise ValueError(f"{section}.{message}")


@dataclass
class ModelArguments:
    """Section `model`. Next to these options it takes every field of `SpeaQConfig`; they are kept in `config`."""

    variant: Literal["speaq", "iterative_sgg"] | None = _described(
        None,
        "Defaults of the configuration: speaq, if not set. With model.pretrained, which has its own: null, or its variant.",
    )
    pretrained: str | None = _described(None, "Folder or Hub name of a scene graph model to go on from.")
    detr: str | None = _described(None, "Folder or Hub name of a DETR detector to start from.")
    config: dict[str, Any] = _described({}, "Fields of SpeaQConfig that differ from the variant's.")

    def __post_init__(self) -> None:
        both = self.pretrained is not None and self.detr is not None
        _require("model", not both, "pretrained and model.detr exclude each other: set one of them.")


@dataclass
class DetectorArguments:
    """Section `model` of a detector. It takes the fields of `SpeaQConfig` that describe a detector too: those of the
    backbone, the transformer's sizes and rates, and `num_object_queries`; they are kept in `config`."""

    backbone: str | None = _described(
        None,
        "Folder or Hub name of a trained image classifier whose backbone to start from, e.g. microsoft/resnet-101.",
    )
    config: dict[str, Any] = _described({}, "Fields that differ from SpeaQConfig's defaults.")

    def __post_init__(self) -> None:
        both = self.backbone is not None and "backbone_config" in self.config
        _require("model", not both, "backbone and model.backbone_config exclude each other: set one of them.")


@dataclass
class DataArguments:
    """Section `data`."""

    root: str | None = _described(None, "Folder, file or Hub name of the data set.")
    format: DataFormat = _described("auto", "Its format; auto looks which files are there.")
    images: str | None = _described(None, "Folder of the images below root, if not the format's own.")
    annotations: str | None = _described(None, "HDF5 file below root, if not the format's own.")
    categories: str | None = _described(None, "JSON file of the vocabularies below root, if not the format's own.")
    image_data: str | None = _described(None, "JSON file of the image sizes below root, if not the format's own.")
    num_validation_images: int | None = _described(
        None, "Use the first so many training images for validation instead of the format's rule."
    )
    max_train_images: int | None = _described(
        None, "Train on the first so many images of root only; those of synthetic_root stay."
    )
    filter_non_overlap: bool = _described(False, "Leave out training relations between boxes that do not overlap.")
    synthetic_root: str | None = _described(
        None, "Folder, file or Hub name of a synthetic set to mix in; see ratios and loss_weights."
    )
    synthetic_format: DataFormat = _described(
        "auto", "Its format; auto prefers the files of generate-data where there are others too."
    )
    ratios: dict[str, float | int] | None = _described(
        {"real": 0.7, "synthetic": 0.3}, "Share of each source in a batch; without synthetic_root unused."
    )
    loss_weights: dict[str, float | int] | None = _described(
        {"real": 1.0, "synthetic": 0.5}, "Loss weight of each source's images; null: 1. Without synthetic_root unused."
    )
    short_edges: list[int] = _described(list(range(480, 801, 32)), "Short edge of a training image, one at random.")
    test_short_edge: int = _described(800, "Short edge of an image in evaluation, in pixels.")
    longest_edge: int = _described(1333, "Upper limit of the long edge, in pixels.")
    flip_probability: float = _described(0.5, "Chance of a horizontal flip.")
    crop_probability: float = _described(0.5, "Chance of a random crop.")
    crop_short_edges: list[int] = _described([400, 500, 600], "Short edge before the crop, one at random.")
    crop_sides: list[int] = _described([384, 600], "Smallest and largest side of the crop, in pixels.")
    num_workers: int = _described(4, "Processes that read images, for each training process.")
    image_reading: Literal["exact", "quick"] = _described(
        "exact",
        "quick: large training photos are decoded smaller, in half the time; pixels differ slightly. Small ones gain little.",
    )
    unreadable_images: Literal["raise", "replace"] = _described(
        "raise",
        "An image that cannot be read ends the run, or the next one takes its place (evaluation leaves it out).",
    )

    def __post_init__(self) -> None:
        _require("data", self.root is not None, "root is not set: pass --data.root DIR, the folder of the data set.")
        complete = self.synthetic_root is None or self.ratios is not None
        _require(
            "data", complete, "ratios must be set with synthetic_root, e.g. {real: 0.7, synthetic: 0.3}; got null."
        )
        for name in ("test_short_edge", "longest_edge"):
            _require("data", getattr(self, name) >= 1, f"{name} must be at least 1 pixel, got {getattr(self, name)}.")
        some = self.max_train_images is None or self.max_train_images >= 1
        _require("data", some, f"max_train_images must be at least 1 or null, got {self.max_train_images}.")
        _require("data", self.num_workers >= 0, f"num_workers must be at least 0, got {self.num_workers}.")


@dataclass
class TrainingArguments:
    """Section `training`."""

    output_dir: str = _described("outputs/speaq", "Folder for logs, checkpoints and the trained model.")
    overwrite: bool = _described(False, "Delete what an earlier run left in output_dir.")
    resume_from: str | None = _described(
        None, "A checkpoint folder, or auto: the latest in output_dir, if there is one."
    )
    max_steps: int = _described(150_000, "Optimizer steps.")
    batch_size: int = _described(20, "Images per process and forward pass; the published 20 are over all processes.")
    gradient_accumulation_steps: int = _described(
        1, "Forward passes per optimizer step; each has its own normalizers."
    )
    learning_rate: float = _described(1e-4, "Of the transformer and the heads.")
    backbone_learning_rate_factor: float = _described(0.1, "The backbone's learning rate is this times learning_rate.")
    weight_decay: float = _described(1e-4, "AdamW's, on every parameter.")
    max_grad_norm: float | None = _described(0.01, "Gradients of the whole model are scaled down to this norm.")
    schedule: Literal["step", "cosine"] = _described("step", "step: times decay at milestones; cosine: to 0.")
    milestones: list[int] = _described([96_000], "Steps at which the learning rate drops.")
    decay: float = _described(0.1, "Factor of a drop.")
    warmup_ratio: float = _described(0.0, "Share of the steps in which the learning rate rises from 0.")
    mixed_precision: Literal["no", "fp16", "bf16"] = _described("fp16", "Number format of the forward pass.")
    gradient_checkpointing: bool = _described(False, "Recompute activations: less memory, about a third slower.")
    channels_last: bool = _described(
        False, "Memory layout of convolutions; with frozen norms they have the faster one in any case."
    )
    compile: bool = _described(
        False, "Compile the network: faster steps after the first ones, which take minutes; needs a C++ compiler."
    )
    seed: int = _described(0, "Of weights, data order, augmentation and dropout.")
    log_steps: int = _described(50, "Steps between two lines of the log.")
    save_steps: int = _described(2_000, "Steps between two checkpoints; the last one is kept.")
    max_skipped_steps: int = _described(25, "Stop after so many steps in a row without finite loss and gradients.")
    tracker: Literal["tensorboard", "wandb", "trackio", "none"] = _described(
        "tensorboard", "Further log, next to log.jsonl; without the package there is none."
    )

    def __post_init__(self) -> None:
        at_least_one = ("max_steps", "batch_size", "gradient_accumulation_steps", "log_steps", "save_steps")
        for name in (*at_least_one, "max_skipped_steps"):
            _require("training", getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}.")
        rates = ("learning_rate", "backbone_learning_rate_factor", "weight_decay", "decay", "warmup_ratio", "seed")
        for name in rates:
            value = getattr(self, name)
            _require("training", math.isfinite(value) and value >= 0, f"{name} must not be negative, got {value}.")
        norm = self.max_grad_norm
        _require("training", norm is None or norm > 0, f"max_grad_norm must be positive or null, got {norm}.")
        increasing = self.milestones == sorted(set(self.milestones)) and min(self.milestones, default=1) >= 1
        _require("training", increasing, f"milestones must be at least 1 and increase, got {self.milestones}.")
        _require("training", self.decay <= 1, f"decay must be at most 1, got {self.decay}.")
        _require("training", self.warmup_ratio < 1, f"warmup_ratio must be below 1, got {self.warmup_ratio}.")


@dataclass
class EvaluationArguments:
    """Section `evaluation`: SGDet recall on the validation split while training."""

    steps: int = _described(6_000, "Steps between two evaluations; 0: none.")
    max_images: int | None = _described(None, "Evaluate on the first so many images only.")
    batch_size: int = _described(8, "Images per process and forward pass.")
    best_metric: str = _described("R@50", "The model with the highest value of it is kept in output_dir/best.")

    metrics: ClassVar[tuple[str, ...]] = tuple(
        f"{name}@{k}" for name in ("R", "ng-R", "mR", "F", "zR") for k in (20, 50, 100)
    )

    def __post_init__(self) -> None:
        _require("evaluation", self.steps >= 0, f"steps must be at least 0, got {self.steps}.")
        _require("evaluation", self.batch_size >= 1, f"batch_size must be at least 1, got {self.batch_size}.")
        enough = self.max_images is None or self.max_images >= 1
        _require("evaluation", enough, f"max_images must be at least 1 or null, got {self.max_images}.")
        known = self.best_metric in self.metrics
        expected = ", ".join(self.metrics)
        _require("evaluation", known, f"best_metric must be one of {expected}; got {self.best_metric!r}.")


@dataclass
class DetectionArguments(EvaluationArguments):
    """Section `evaluation` of a detector: recall of the annotated objects on the validation split while training."""

    best_metric: str = _described("recall@50", "The detector with the highest value of it is kept in output_dir/best.")

    metrics: ClassVar[tuple[str, ...]] = ("recall@10", "recall@50", "recall@100")


@dataclass
class RunArguments:
    """All sections."""

    model: ModelArguments | DetectorArguments
    data: DataArguments
    training: TrainingArguments
    evaluation: EvaluationArguments

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The sections as they stand in a YAML file."""
        sections = asdict(self)
        sections["model"] |= sections["model"].pop("config")
        return sections
