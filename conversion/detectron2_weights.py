# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Names and shapes: from the state dict of the Detectron2 programs of SpeaQ and Iterative SGG to ours."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


_ATTENTION = r"(self_attn|multihead_attn)"
_ATTENTION_NAMES = {"self_attn": "self_attn", "multihead_attn": "cross_attn"}
_NORM_NAMES = {
    "encoder": {"1": "self_attn_norm", "2": "mlp_norm"},
    "decoder": {"1": "self_attn_norm", "2": "cross_attn_norm", "3": "mlp_norm"},
}
_BACKBONE = "model.backbone.model."

# Pattern of an original name and the name it becomes. Packed attention matrices are cut after renaming.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"detr\.backbone\.0\.backbone\.stem\.conv1\.norm\.", _BACKBONE + "embedder.embedder.normalization."),
    (r"detr\.backbone\.0\.backbone\.stem\.conv1\.", _BACKBONE + "embedder.embedder.convolution."),
    (r"detr\.input_proj\.", "model.input_projection."),
    (r"detr\.query_embed\.", "model.subject_queries."),
    (r"detr\.object_query_embed\.", "model.object_queries."),
    (r"detr\.relation_query_embed\.", "model.relation_queries."),
    (r"detr\.transformer\.decoder\.(object|relation)_pos_attn\.(\d+)\.", r"model.decoder.\1_positions.\2.attention."),
    (
        r"detr\.transformer\.decoder\.(object|relation)_pos_linear\.(\d+)\.",
        r"model.decoder.\1_positions.\2.projection.",
    ),
    (r"detr\.transformer\.decoder\.(\w+)_graph_query_attn\.(\d+)\.", r"model.decoder.\1_refinements.\2.attention."),
    (
        r"detr\.transformer\.decoder\.(\w+)_graph_query_residual\.(\d+)\.",
        r"model.decoder.\1_refinements.\2.projection.",
    ),
    (r"detr\.transformer\.decoder\.(\w+)_graph_query_norm\.(\d+)\.", r"model.decoder.\1_refinements.\2.norm."),
    (r"detr\.transformer\.decoder\.subject_norm\.", "model.decoder.entity_norm."),
    (r"detr\.transformer\.decoder\.relation_norm\.", "model.decoder.relation_norm."),
    (r"detr\.transformer\.object_embed\.", "class_head."),
    (r"detr\.transformer\.relation_embed\.", "predicate_head."),
    (r"detr\.transformer\.object_bbox_coords\.", "box_head."),
)
_RESNET_BLOCK = re.compile(
    r"detr\.backbone\.0\.backbone\.res(?P<stage>[2-5])\.(?P<block>\d+)\.(?P<part>conv\d|shortcut)\.(?P<rest>.+)"
)
_LAYER = re.compile(
    r"detr\.transformer\.(?P<side>encoder|decoder)\.(?P<stack>(?:\w+_)?layers)\.(?P<index>\d+)\.(?P<rest>.+)"
)
_PACKED = re.compile(r"(?P<module>.+)\.in_proj_(?P<kind>weight|bias)")
_SEPARATE = re.compile(r"(?P<module>.+)\.(?P<projection>[qkv]_proj)_weight")


@dataclass
class ConversionReport:
    """What became of every entry of a checkpoint.

    Args:
        mapped: Original tensor name to our names; a packed attention matrix becomes three.
        ignored: Original name to the reason why it is not needed.
        assumed: Settings that were not given, with the original programs' defaults that took their place.
        missing: Our names for which the checkpoint has nothing.
    """

    mapped: dict[str, list[str]] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    assumed: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """One line per outcome."""
        lines = [f"mapped: {len(self.mapped)} tensors to {sum(map(len, self.mapped.values()))}"]
        lines += [f"ignored: {name} ({reason})" for name, reason in self.ignored.items()]
        lines += [f"assumed: {name} = {value}" for name, value in self.assumed.items()]
        return "\n".join([*lines, f"missing: {', '.join(self.missing) or 'nothing'}"])


def convert_state_dict(original: dict[str, Tensor], report: ConversionReport) -> dict[str, Tensor]:
    """Rename and cut every tensor that belongs to the network.

    Args:
        original: State dict of the Detectron2 program.
        report: Filled with what was mapped; names that belong to nothing known are ignored with a reason.

    Returns:
        State dict for [`SpeaQForSceneGraphGeneration`].
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in original.items():
        new_name = rename(name)
        if new_name is None:
            report.ignored[name] = _IGNORED.get(name, "belongs to no part of the network")
            continue
        pieces = dict(_cut_attention(new_name, tensor))
        report.mapped[name] = list(pieces)
        converted |= pieces
    return converted


_IGNORED = {
    "criterion.empty_weight_obj": "rebuilt from eos_coefficient",
    "criterion.empty_rel_weight": "stored in the configuration as predicate_class_weights",
    "pixel_mean": "stored in the image processor",
    "pixel_std": "stored in the image processor",
}


def rename(name: str) -> str | None:
    """Our name for a tensor, attention projections still packed; `None` when it is not part of the network.

    Example:

    ```python
    >>> rename("detr.transformer.decoder.subject_layers.3.multihead_attn.out_proj.bias")
    'model.decoder.subject_layers.3.cross_attn.out_proj.bias'

    ```
    """
    if match := _RESNET_BLOCK.fullmatch(name):
        return _rename_resnet(**match.groupdict())
    if match := _LAYER.fullmatch(name):
        return _rename_layer(**match.groupdict())
    for pattern, replacement in _RENAMES:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return None


def _rename_resnet(stage: str, block: str, part: str, rest: str) -> str:
    position = part if part == "shortcut" else f"layer.{int(part[-1]) - 1}"
    kind = "normalization." + rest.removeprefix("norm.") if rest.startswith("norm.") else "convolution." + rest
    return f"{_BACKBONE}encoder.stages.{int(stage) - 2}.layers.{block}.{position}.{kind}"


def _rename_layer(side: str, stack: str, index: str, rest: str) -> str:
    rest = re.sub(rf"^{_ATTENTION}\.", lambda match: _ATTENTION_NAMES[match[1]] + ".", rest)
    rest = re.sub(r"^linear(\d)\.", r"mlp.fc\1.", rest)
    rest = re.sub(r"^norm(\d)\.", lambda match: _NORM_NAMES[side].get(match[1], f"norm{match[1]}") + ".", rest)
    return f"model.{side}.{stack}.{index}.{rest}"


def _cut_attention(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Give query, key and value projections their own entries, as `nn.MultiheadAttention` packs them."""
    if match := _PACKED.fullmatch(name):
        if tensor.ndim == 0 or len(tensor) % 3 or not len(tensor):
            raise ValueError(f"{name} must hold three matrices of one size, got shape {tuple(tensor.shape)}.")
        for projection, piece in zip("qkv", tensor.chunk(3), strict=True):
            # A copy: views of one storage cannot be saved as separate tensors.
            yield f"{match['module']}.{projection}_proj.{match['kind']}", piece.clone()
    elif match := _SEPARATE.fullmatch(name):
        yield f"{match['module']}.{match['projection']}.weight", tensor
    else:
        yield name, tensor
