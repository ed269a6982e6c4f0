"""Every family of `AutoBackbone` as the model's backbone, in a tiny size with random weights."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration
from speaq_hf.models.speaq.backbone_speaq import (
    BackboneGeometry,
    SpeaQBackbone,
    SpeaQFrozenBatchNorm2d,
    backbone_stage,
    downsample_pixel_mask,
    supports_sdpa,
)
from tests.helpers import ORIGINAL_OUTPUTS, random_label, tiny_config


@dataclass(frozen=True)
class Family:
    """A tiny backbone and what must be found out about it.

    Args:
        model_type: Its name in transformers.
        stride: Height and width of a cell in pixels.
        stages: Numbers of the stages that the last map depends on; what follows the last one is not counted.
        fields: Its configuration.
        is_local: Whether far away pixels do not change a cell (no attention to or statistics over the whole canvas).
    """

    model_type: str
    stride: tuple[int, int]
    stages: range
    fields: dict[str, Any] = field(default_factory=dict)
    is_local: bool = False

    def config(self, **overrides: Any) -> SpeaQConfig:
        """A small scene graph model with this backbone."""
        backbone = {"model_type": self.model_type, **self.fields}
        return tiny_config(backbone_config=backbone, decoder_layers=1, **overrides)


FOUR = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "out_features": ["stage4"]}
SWIN = {"embed_dim": 4, "depths": [1] * 4, "num_heads": [1] * 4, "window_size": 2, "out_features": ["stage4"]}
VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL_VIT = VIT | {"mlp_ratio": 1, "image_size": 56}
LCNET = {
    "scale": 0.1,
    "block_configs": [[[3, 16, 80, 1, False]]] + [[[3, 80, 80, 2, False]]] * 3 + [[[3, 80, 80, 1, True]]],
}
HGNET = {
    "embedding_size": 8,
    "stem_channels": [3, 4, 8],
    "stage_in_channels": [8, 8, 8, 16],
    "stage_mid_channels": [4] * 4,
    "stage_out_channels": [8, 8, 16, 16],
    "stage_num_blocks": [1] * 4,
    "stage_numb_of_layers": [1] * 4,
}
PPLCNET_V4 = {
    "stem_channels": [3, 8, 8],
    "block_configs": [
        [[3, 8, 8, 1, True]],
        [[3, 8, 8, 1, False]],
        [[3, 8, 16, [2, 1], True]],
        [[3, 16, 16, [2, 1], False]],
    ],
}
UVDOC = {
    "resnet_head": [[3, 8], [8, 8]],
    "resnet_configs": [[[8, 8, 1, False]], [[8, 8, 1, True]], [[8, 16, 1, True]]],
    "stage_configs": [[[16, 1]], [[16, 2]]],
}
TEXTNET = {"stem_out_channels": 8, "hidden_sizes": [8, 8, 8, 16, 16], "out_features": ["stage4"]}
TEXTNET |= {"conv_layer_kernel_sizes": [[[3, 3]]] * 4, "conv_layer_strides": [[2]] * 4}
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 10}


RESNET_DEPTHS = {
    "resnet-18": ([2, 2, 2, 2], "basic"),
    "resnet-34": ([3, 4, 6, 3], "basic"),
    "resnet-50": ([3, 4, 6, 3], "bottleneck"),
    "resnet-101": ([3, 4, 23, 3], "bottleneck"),
    "resnet-152": ([3, 8, 36, 3], "bottleneck"),
}


def resnet(depths: list[int], layer_type: str, out: int = 4) -> dict[str, Any]:
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 8, 16]}
    return sizes | {"depths": depths, "layer_type": layer_type, "out_features": [f"stage{out}"]}


FAMILIES = {
    "resnet": Family("resnet", (32, 32), range(5), resnet([1, 1, 1, 1], "basic"), is_local=True),
    "resnet-bottleneck": Family("resnet", (32, 32), range(5), resnet([1, 2, 1, 1], "bottleneck")),
    "resnet-stride-8": Family("resnet", (8, 8), range(3), resnet([1, 1, 1, 1], "basic", 2), is_local=True),
    "resnet-stride-16": Family("resnet", (16, 16), range(4), resnet([1, 1, 1, 1], "basic", 3), is_local=True),
    "beit": Family("beit", (8, 8), range(3), VIT | {"intermediate_size": 16, "patch_size": 8}),
    "beit-positions": Family(
        "beit",
        (16, 16),
        range(3),
        VIT | {"intermediate_size": 16, "image_size": 64, "use_absolute_position_embeddings": True},
    ),
    "bit": Family("bit", (32, 32), range(5), FOUR | {"embedding_size": 8, "num_groups": 2}),
    "convnext": Family("convnext", (32, 32), range(5), FOUR, is_local=True),
    "convnextv2": Family("convnextv2", (32, 32), range(5), FOUR),
    "dinov2": Family("dinov2", (14, 14), range(3), SMALL_VIT),
    "dinov2-registers": Family("dinov2_with_registers", (14, 14), range(3), SMALL_VIT | {"patch_size": 14}),
    "dinov3-convnext": Family("dinov3_convnext", (32, 32), range(1, 5), FOUR, is_local=True),
    "dinov3-vit": Family("dinov3_vit", (16, 16), range(3), VIT | {"intermediate_size": 16, "num_register_tokens": 2}),
    "focalnet": Family("focalnet", (32, 32), range(5), FOUR | {"embed_dim": 4}),
    "hgnet-v2": Family("hgnet_v2", (32, 32), range(5), FOUR | HGNET, is_local=True),
    "lw-detr-vit": Family(
        "lw_detr_vit", (16, 16), range(3), SMALL_VIT | {"num_windows": 4, "window_block_indices": [0]}
    ),
    "maskformer-swin": Family("maskformer-swin", (32, 32), range(5), SWIN, is_local=True),
    "pixio": Family("pixio", (16, 16), range(3), VIT | {"mlp_ratio": 1, "image_size": 64, "n_cls_tokens": 2}),
    "pp-lcnet": Family("pp_lcnet", (16, 16), range(6), LCNET),
    "pp-lcnet-v3": Family("pp_lcnet_v3", (16, 16), range(6), LCNET),
    "pp-lcnet-v4": Family("pp_lcnet_v4", (16, 4), range(5), PPLCNET_V4),
    "pvt-v2": Family("pvt_v2", (32, 32), range(1, 5), FOUR | {"num_attention_heads": [1] * 4, "mlp_ratios": [1] * 4}),
    "rf-detr-dinov2": Family("rf_detr_dinov2", (14, 14), range(3), SMALL_VIT | {"num_windows": 1}),
    "rt-detr-resnet": Family("rt_detr_resnet", (32, 32), range(5), resnet([1] * 4, "basic"), is_local=True),
    "sapiens2": Family(
        "sapiens2", (16, 16), range(3), VIT | {"intermediate_size": 16, "num_key_value_attention_heads": 1}
    ),
    "swin": Family("swin", (32, 32), range(5), SWIN, is_local=True),
    "swin-stride-16": Family("swin", (16, 16), range(4), SWIN | {"out_features": ["stage3"]}, is_local=True),
    "swinv2": Family("swinv2", (32, 32), range(5), SWIN, is_local=True),
    "textnet": Family("textnet", (32, 32), range(5), TEXTNET, is_local=True),
    "tipsv2": Family(
        "tipsv2", (14, 14), range(3), {"vision_config": SMALL_VIT | {"patch_size": 14}, "text_config": TEXT}
    ),
    "tipsv2-vision": Family("tipsv2_vision_model", (14, 14), range(3), SMALL_VIT),
    "uvdoc": Family("uvdoc_backbone", (16, 16), range(4), UVDOC),
    "vitdet": Family("vitdet", (16, 16), range(3), SMALL_VIT | {"window_size": 2, "window_block_indices": [0]}),
}

# What cannot serve, and how the user learns about it.
UNFIT = {
    "dinat": ({}, ImportError, "natten"),
    "hiera": ({"embed_dim": 8, "depths": [1] * 4, "num_heads": [1] * 4}, ValueError, "hiera.*any size"),
    "timm_backbone": ({"backbone": "resnet18"}, ImportError, "timm"),
    "vitpose_backbone": (VIT | {"image_size": [64, 64]}, ValueError, r"vitpose.*doesn't match.*any size"),
}


def built(config: SpeaQConfig) -> SpeaQForSceneGraphGeneration:
    """A model away from its initial zeros, which hide errors."""
    torch.manual_seed(0)
    model = SpeaQForSceneGraphGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@functools.cache
def model_of(name: str) -> SpeaQForSceneGraphGeneration:
    """The model of a family, to look at but not to change."""
    return built(FAMILIES[name].config())


def placed(images: list[torch.Tensor], height: int, width: int) -> dict[str, torch.Tensor]:
    """Images at the top left of a canvas, and their mask."""
    pixel_values = torch.zeros(len(images), 3, height, width)
    pixel_mask = torch.zeros(len(images), height, width, dtype=torch.long)
    for index, image in enumerate(images):
        pixel_values[index, :, : image.shape[1], : image.shape[2]] = image
        pixel_mask[index, : image.shape[1], : image.shape[2]] = 1
    return {"pixel_values": pixel_values, "pixel_mask": pixel_mask}


def assert_same_predictions(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    for name in ORIGINAL_OUTPUTS:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-4)


def test_every_family_is_decided():
    decided = {family.model_type for family in FAMILIES.values()} | UNFIT.keys()
    assert decided == MODEL_FOR_BACKBONE_MAPPING_NAMES.keys()


@pytest.mark.parametrize("model_type", UNFIT)
def test_a_backbone_that_cannot_serve_says_why(model_type):
    fields, error, message = UNFIT[model_type]
    with pytest.raises(error, match=message):
        SpeaQForSceneGraphGeneration(tiny_config(backbone_config={"model_type": model_type, **fields}))


def test_windows_that_mix_up_rows_and_columns_are_refused():
    fields = FAMILIES["rf-detr-dinov2"].fields | {"num_windows": 2}
    with pytest.raises(ValueError, match="`num_windows=1`"):
        SpeaQBackbone(tiny_config(backbone_config={"model_type": "rf_detr_dinov2", **fields}))


@pytest.mark.parametrize("name", RESNET_DEPTHS)
def test_every_resnet(name):
    model = SpeaQBackbone(tiny_config(backbone_config={"model_type": "resnet", **resnet(*RESNET_DEPTHS[name])})).eval()
    assert model.geometry == BackboneGeometry(16, (32, 32), (1, 1), frozenset())
    assert model(torch.randn(1, 3, 33, 65), None)[0].shape == (1, 16, 2, 3)


@pytest.mark.parametrize("name", FAMILIES)
class TestFamilies:
    def test_map_and_mask_fit_the_image(self, name):
        model, (rows, columns) = model_of(name).model.backbone, FAMILIES[name].stride
        batch = placed([torch.randn(3, 70, 101), torch.randn(3, 33, 65)], 75, 101)
        features, mask = model(**batch)
        assert model.geometry.stride == (rows, columns)
        assert features.shape == (2, model.geometry.channels, -(-75 // rows), -(-101 // columns))
        assert mask.any(2).sum(1).tolist() == [-(-70 // rows), -(-33 // rows)]
        assert mask.any(1).sum(1).tolist() == [-(-101 // columns), -(-65 // columns)]

    def test_cells_lie_where_their_pixels_are(self, name):
        model, (rows, columns) = model_of(name).model.backbone, FAMILIES[name].stride
        torch.manual_seed(0)
        images = torch.randn(1, 3, 200, 333)
        changed = images.clone()
        changed[:, :, 128:160, 224:256] += 3 * torch.randn(3, 32, 32)
        with torch.no_grad():
            change = (model(changed, None)[0] - model(images, None)[0]).abs().sum(1)[0]
        row, column = divmod(change.argmax().item(), change.shape[1])
        assert 128 // rows - 1 <= row <= 160 // rows + 1 and 224 // columns - 1 <= column <= 256 // columns + 1

    def test_trains_all_that_is_not_frozen(self, name):
        family = FAMILIES[name]
        model = SpeaQForSceneGraphGeneration(family.config(freeze_backbone_stages=2)).train()
        loss = model(torch.randn(2, 3, 64, 96), labels=[random_label(3, 2), random_label(2, 1)]).loss
        loss.backward()
        assert loss.isfinite()
        assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        backbone = model.model.backbone
        stages = {
            name: backbone_stage(name)
            for name, _ in backbone.model.named_parameters()
            if name not in backbone.geometry.unused
        }
        assert {*stages.values()} - {sys.maxsize} == {*family.stages}
        trained = {stages[name] for name, p in backbone.model.named_parameters() if p.requires_grad}
        assert trained - {sys.maxsize} == {stage for stage in family.stages if stage >= 2}

    def test_saved_model_predicts_the_same(self, name, tmp_path):
        model = model_of(name)
        model.save_pretrained(tmp_path)
        loaded, info = SpeaQForSceneGraphGeneration.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
        frozen = [[name for name, p in m.named_parameters() if not p.requires_grad] for m in (model, loaded)]
        assert frozen[0] == frozen[1]
        batch = placed([torch.randn(3, 64, 90)], 70, 101)
        assert_same_predictions(loaded(**batch), model(**batch))

    def test_batch_equals_single_images(self, name):
        images = torch.randn(2, 3, 64, 96)
        singles = [model_of(name)(image[None]) for image in images]
        joined = {key: torch.cat([single[key] for single in singles]) for key in ORIGINAL_OUTPUTS}
        assert_same_predictions(model_of(name)(images), joined)

    def test_eager_equals_sdpa(self, name):
        if not supports_sdpa(model_of(name).config.backbone_config):
            return  # no attention, or only an own kind
        model = built(FAMILIES[name].config())
        images = torch.randn(1, 3, 64, 96)
        fused = model(images)
        model.set_attn_implementation("eager")
        assert model.config.backbone_config._attn_implementation == "eager"
        assert_same_predictions(model(images), fused)

    @pytest.mark.parametrize("size", [(1, 1), (1, 200), (300, 3)])
    def test_odd_sizes(self, name, size):
        model, (rows, columns) = model_of(name).model.backbone, FAMILIES[name].stride
        features, mask = model(torch.randn(1, 3, *size), torch.ones(1, *size))
        assert features.shape[2:] == (-(-size[0] // rows), -(-size[1] // columns))
        assert features.isfinite().all() and mask.all()


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.is_local])
def test_canvas_does_not_matter(name):
    model, image = model_of(name).model.backbone, torch.randn(3, 64, 90)
    cells = []
    for canvas in ((288, 384), (300, 330)):
        features, mask = model(**placed([image], *canvas))
        cells.append(features.permute(0, 2, 3, 1)[mask])
    torch.testing.assert_close(*cells, rtol=1e-3, atol=1e-4)


class TestMask:
    @given(st.sampled_from([4, 8, 14, 16, 32]), st.integers(1, 700), st.integers(1, 700), st.data())
    @settings(deadline=None)
    def test_cells_below_ceil_of_size_over_stride(self, stride, height, width, data):
        h, w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
        mask = torch.zeros(1, height, width, dtype=torch.long)
        mask[:, :h, :w] = 1
        cells = downsample_pixel_mask(mask, (-(-height // stride), -(-width // stride)), (stride, stride))
        assert cells.any(2).sum() == -(-h // stride) and cells.any(1).sum() == -(-w // stride)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("embedder.embedder.convolution.weight", 0),  # ResNet
        ("encoder.stages.0.layers.2.layer.0.convolution.weight", 1),
        ("encoder.layers.3.blocks.1.attention.self.query.weight", 4),  # Swin
        ("hidden_states_norms.stage4.weight", 4),
        ("hidden_states_norms.3.weight", 4),  # MaskFormer's Swin
        ("embeddings.norm.weight", 0),
        ("encoder.layer.11.norm1.weight", 12),  # DINOv2
        ("layernorm.weight", sys.maxsize),
        ("_backbone.conv1.weight", 0),  # timm
        ("_backbone.layer4.2.conv3.weight", 4),
        ("_backbone.stages_1.blocks.0.conv_dw.weight", 2),
    ],
)
def test_stages_by_name(name, stage):
    assert backbone_stage(name) == stage


def test_frozen_batch_norm_computes_in_float32():
    reference = torch.nn.BatchNorm2d(4).eval()
    norm = SpeaQFrozenBatchNorm2d(4)
    state = {name: torch.rand(4) + 0.5 for name in ("weight", "bias", "running_mean", "running_var")}
    norm.load_state_dict(state)
    reference.load_state_dict(state, strict=False)
    x = torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(norm(x), reference(x))
    assert norm(x.bfloat16()).dtype == torch.bfloat16
    assert torch.equal(norm(x.bfloat16()), norm(x.bfloat16().float()).bfloat16())
