import math

import pytest
import torch
from transformers import ResNetConfig

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration
from speaq_hf.models.speaq.backbone_speaq import backbone_stage, downsample_pixel_mask
from speaq_hf.models.speaq.layers_speaq import sine_position_embedding
from tests.helpers import ORIGINAL_OUTPUTS, random_label, tiny_config


LOGITS, BOXES = {"rtol": 0, "atol": 5e-4}, {"rtol": 0, "atol": 5e-5}


@pytest.fixture
def tiny() -> SpeaQForSceneGraphGeneration:
    torch.manual_seed(0)
    return SpeaQForSceneGraphGeneration(tiny_config()).eval()


def perturb(model: torch.nn.Module) -> torch.nn.Module:
    """Move every parameter: freshly initialised models hide errors behind their zeros."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


class TestRecordedForward:
    def test_feature_map_positions_and_memory(self, model, variant, batch, recorded):
        captured = {}
        network = model.model
        network.input_projection.register_forward_hook(
            lambda _, inputs, output: captured.update(x=inputs[0], y=output)
        )
        outputs = network(**batch)
        prefix = f"{variant}/batch/"
        torch.testing.assert_close(captured["x"], recorded[prefix + "feature_res5"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(captured["y"], recorded[prefix + "input_proj"], **LOGITS)
        mask = ~recorded["batch/mask_res5"].bool()
        positions = sine_position_embedding(mask, model.config.d_model, torch.float32)
        expected = recorded[prefix + "position_res5"].flatten(2).transpose(1, 2)
        torch.testing.assert_close(positions, expected, rtol=0, atol=1e-5)
        memory = recorded[prefix + "memory"].transpose(0, 1)
        valid = mask.flatten(1)
        torch.testing.assert_close(outputs.encoder_last_hidden_state[valid], memory[valid], **LOGITS)

    def test_decoder_states(self, model, variant, batch, recorded):
        outputs = model.model(**batch)
        for ours, original in (("subject", "subject"), ("object", "object"), ("relation", "relation")):
            expected = recorded[f"{variant}/batch/hs_{original}"].transpose(1, 2)
            torch.testing.assert_close(outputs[f"{ours}_states"], expected, **LOGITS)

    def test_last_layer(self, model, variant, batch, recorded):
        outputs = model(**batch)
        for name, original in ORIGINAL_OUTPUTS.items():
            expected = recorded[f"{variant}/batch/{original}"]
            torch.testing.assert_close(outputs[name], expected, **(BOXES if "boxes" in name else LOGITS))

    def test_earlier_layers(self, model, variant, batch, recorded):
        outputs = model(**batch)
        assert len(outputs.auxiliary_outputs) == model.config.decoder_layers - 1
        streams = {"subject": ("_sub", "subject"), "object": ("_obj", "object"), "relation": ("", "predicate")}
        for layer, predicted in enumerate(outputs.auxiliary_outputs):
            for stream, (suffix, head) in streams.items():
                prefix = f"{variant}/batch/aux_outputs_r{suffix}/{layer}/"
                torch.testing.assert_close(predicted[f"{head}_logits"], recorded[prefix + "pred_logits"], **LOGITS)
                torch.testing.assert_close(predicted[f"{stream}_boxes"], recorded[prefix + "pred_boxes"], **BOXES)

    @pytest.mark.parametrize("image", [0, 1])
    @pytest.mark.parametrize("with_mask", [True, False])
    def test_single_image(self, model, variant, batch, recorded, image, with_mask):
        height, width = recorded["batch/image_sizes_hw"][image].tolist()
        pixel_values = batch["pixel_values"][image : image + 1, :, :height, :width]
        mask = torch.ones(1, height, width, dtype=torch.long) if with_mask else None
        outputs = model(pixel_values, mask)
        for name, original in ORIGINAL_OUTPUTS.items():
            expected = recorded[f"{variant}/single_{image}/{original}"]
            torch.testing.assert_close(outputs[name], expected, **(BOXES if "boxes" in name else LOGITS))

    @pytest.mark.parametrize("stride", [4, 8, 16, 32])
    def test_padding_masks(self, batch, recorded, stride):
        expected = ~recorded[f"batch/mask_res{int(math.log2(stride))}"].bool()
        assert torch.equal(downsample_pixel_mask(batch["pixel_mask"], expected.shape[1:], (stride, stride)), expected)


class TestBackbone:
    def test_size_is_the_originals(self):
        model = SpeaQForSceneGraphGeneration(SpeaQConfig())
        assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 93.3
        frozen = [n for n, p in model.model.backbone.named_parameters() if not p.requires_grad]
        assert len(frozen) == 11 and all("embedder" in n or "stages.0" in n for n in frozen)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())

    @pytest.mark.parametrize(("stages", "trained"), [(0, {0, 1, 2}), (1, {1, 2}), (2, {2}), (9, set())])
    def test_freezing_survives_loading(self, stages, trained, tmp_path):
        model = SpeaQForSceneGraphGeneration(tiny_config(freeze_backbone_stages=stages))
        model.save_pretrained(tmp_path)
        for candidate in (model, SpeaQForSceneGraphGeneration.from_pretrained(tmp_path)):
            parameters = candidate.model.backbone.model.named_parameters()
            assert {backbone_stage(name) for name, p in parameters if p.requires_grad} == trained

    def test_batch_norm_statistics_never_move(self):
        model = SpeaQForSceneGraphGeneration(tiny_config()).train()
        before = {name: value.clone() for name, value in model.named_buffers()}
        assert any("running_mean" in name for name in before)
        model(torch.randn(2, 3, 64, 64))
        assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())

    def test_batch_norm_can_be_trained(self):
        model = SpeaQForSceneGraphGeneration(tiny_config(freeze_batch_norm=False)).train()
        before = {name: value.clone() for name, value in model.named_buffers() if "running_mean" in name}
        model(torch.randn(2, 3, 64, 64))
        assert any(not torch.equal(value, before[name]) for name, value in model.named_buffers() if name in before)

    @pytest.mark.parametrize("implementation", ["sdpa", "eager", None])
    def test_attention_for_the_whole_model(self, implementation):
        config = tiny_config(attn_implementation=implementation)
        assert isinstance(config.backbone_config, ResNetConfig)
        model = SpeaQForSceneGraphGeneration(config)
        assert model.config._attn_implementation == (implementation or "sdpa")


class TestInitialisation:
    def test_starts_as_three_separate_decoders(self, tiny):
        decoder = tiny.model.decoder
        joints = [*decoder.object_positions, *decoder.relation_positions, *decoder.subject_refinements]
        joints += [*decoder.object_refinements, *decoder.relation_refinements]
        assert len(joints) == 2 * 2 + 3 * 1
        for joint in joints:
            assert not joint.projection.weight.any() and not joint.projection.bias.any()
        pixel_values = torch.randn(1, 3, 64, 64)
        before = tiny(pixel_values).subject_logits
        with torch.no_grad():
            tiny.model.relation_queries.weight.normal_()
        torch.testing.assert_close(tiny(pixel_values).subject_logits, before)


class TestForward:
    def test_what_lies_in_the_padding_does_not_matter(self, tiny):
        perturb(tiny)
        mask = torch.zeros(1, 256, 256, dtype=torch.long)
        mask[:, :64, :64] = 1
        pixel_values = torch.zeros(1, 3, 256, 256)
        pixel_values[:, :, :64, :64] = torch.randn(3, 64, 64)
        other = pixel_values.clone()
        other[:, :, 128:, 128:] = 7.0  # farther away than the receptive field of the valid cells
        for name in ORIGINAL_OUTPUTS:
            torch.testing.assert_close(tiny(other, mask)[name], tiny(pixel_values, mask)[name])

    @pytest.mark.parametrize("shape", [(1, 64, 96), (2, 64, 95), (2, 32, 96), (2, 1, 64, 96), (64, 96), (2,)])
    def test_a_mask_of_another_size_is_refused(self, tiny, shape):
        with pytest.raises(ValueError, match=r"`pixel_mask`.*\(2, 64, 96\)"):
            tiny(torch.rand(2, 3, 64, 96), torch.ones(shape, dtype=torch.long))

    @pytest.mark.parametrize("size", [(1, 1), (1, 200), (33, 65)])
    def test_odd_sizes(self, tiny, size):
        outputs = tiny(torch.randn(1, 3, *size), torch.ones(1, *size, dtype=torch.long))
        assert outputs.subject_boxes.isfinite().all()

    def test_auxiliary_outputs_do_not_touch_the_last_layer(self, tiny):
        perturb(tiny)
        pixel_values = torch.randn(1, 3, 64, 64)
        expected = tiny(pixel_values)
        tiny.config.auxiliary_loss = False
        found = tiny(pixel_values, labels=[random_label(3, 2)])
        assert found.auxiliary_outputs is None and "loss_predicate_0" not in found.loss_dict
        for name in ORIGINAL_OUTPUTS:
            torch.testing.assert_close(found[name], expected[name])

    @pytest.mark.parametrize("auxiliary_loss", [True, False])
    def test_gradient_checkpointing(self, tiny, auxiliary_loss):
        perturb(tiny).train()
        tiny.config.auxiliary_loss = auxiliary_loss
        pixel_values, labels = torch.randn(2, 3, 64, 64), [random_label(4, 3), random_label(2, 1, 1)]
        gradients = []
        for _ in range(2):
            tiny.zero_grad()
            tiny(pixel_values, labels=labels).loss.backward()
            gradients.append([p.grad.clone() for p in tiny.parameters() if p.grad is not None])
            tiny.activation_checkpointing_enable()
        for plain, checkpointed in zip(*gradients, strict=True):
            torch.testing.assert_close(checkpointed, plain)

    def test_subject_serves_consecutive_relations(self, tiny):
        outputs = perturb(tiny)(torch.randn(1, 3, 64, 64))
        for name in ("subject_logits", "object_boxes"):
            even, odd = outputs[name][:, 0::2], outputs[name][:, 1::2]
            assert torch.equal(even, odd)
        assert not torch.equal(outputs.predicate_logits[:, 0::2], outputs.predicate_logits[:, 1::2])

    @pytest.mark.parametrize("overrides", [{}, {"assignment": "static"}, {"assignment": "one_to_one", "match_per_layer": False, "num_query_groups": 1, "relation_query_multiplier": 1}])  # fmt: skip
    def test_overfits_one_batch(self, overrides):
        torch.manual_seed(0)
        model = SpeaQForSceneGraphGeneration(tiny_config(freeze_backbone_stages=0, **overrides)).train()
        pixel_values, labels = torch.randn(2, 3, 64, 64), [random_label(3, 3, 5), random_label(3, 0, 6)]
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        losses = []
        for _ in range(30):
            loss = model(pixel_values, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]
