"""The model that `optimize_for_inference` makes predicts what the ordinary one does, and is saved as it."""

import copy
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.export import Dim
from torch.nn.utils import parametrizations, prune
from torch.utils._python_dispatch import TorchDispatchMode

from speaq_hf import SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.models.speaq import attention_in_blocks_speaq, inference_speaq, layers_speaq, onednn_speaq
from speaq_hf.models.speaq.attention_in_blocks_speaq import attention_in_blocks
from speaq_hf.models.speaq.backbone_speaq import SpeaQFrozenBatchNorm2d
from speaq_hf.models.speaq.inference_speaq import (
    SpeaQAbsorbed,
    SpeaQComposedLinear,
    SpeaQFusedConv2d,
    SpeaQFusedLinear,
    SpeaQFusedResidual,
    SpeaQJointLinear,
    fuse_backbone,
)
from speaq_hf.models.speaq.layers_speaq import (
    SpeaQAttentionToZeros,
    SpeaQProjectedTripletReader,
    SpeaQZeroInitLinear,
)
from speaq_hf.predictor import SceneGraphPredictor
from tests.helpers import ORIGINAL_OUTPUTS, random_label, tiny_config

from .test_backbone_speaq import FAMILIES, built


LOGITS = {"rtol": 0, "atol": 1e-4}


def with_statistics(model: nn.Module) -> nn.Module:
    """Batch norms, biases and branches that do something, as after training."""
    torch.manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.1)
        if isinstance(module, SpeaQZeroInitLinear):
            nn.init.normal_(module.weight, 0, 0.1)
        if isinstance(module, (nn.BatchNorm2d, SpeaQFrozenBatchNorm2d)):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return model


def assert_same(found, expected, **tolerance):
    for name in ORIGINAL_OUTPUTS:
        torch.testing.assert_close(found[name], expected[name], **(tolerance or LOGITS))


@pytest.fixture
def ordinary() -> SpeaQForSceneGraphGeneration:
    return with_statistics(built(tiny_config()))


@pytest.fixture
def optimized(ordinary) -> SpeaQForSceneGraphGeneration:
    return ordinary.optimize_for_inference()


@pytest.fixture(autouse=True)
def onednn_for_small_products(monkeypatch):
    """The models here are too small for it."""
    monkeypatch.setattr(onednn_speaq, "_LEAST_PRODUCTS", 20_000)


@pytest.fixture
def without_onednn(monkeypatch):
    for module in (onednn_speaq, inference_speaq, attention_in_blocks_speaq):
        monkeypatch.setattr(module, "runs_on_onednn", lambda inputs, weight: False)


class TestEqualsTheOrdinaryModel:
    def test_recorded_batch(self, model, variant, batch, recorded):
        with torch.no_grad():
            outputs = model.optimize_for_inference()(**batch)
        for name, original in ORIGINAL_OUTPUTS.items():
            torch.testing.assert_close(outputs[name], recorded[f"{variant}/batch/{original}"], **LOGITS)

    def test_recorded_batch_without_onednn(self, model, variant, batch, recorded, without_onednn):
        with torch.no_grad():
            outputs = model.optimize_for_inference()(**batch)
        for name, original in ORIGINAL_OUTPUTS.items():
            torch.testing.assert_close(outputs[name], recorded[f"{variant}/batch/{original}"], **LOGITS)

    @pytest.mark.parametrize("size", [(1, 1), (1, 200), (33, 65), (64, 96), (101, 70)])
    @pytest.mark.parametrize("count", [1, 3])
    @torch.no_grad()
    def test_sizes_and_batches(self, ordinary, optimized, size, count):
        images = torch.randn(count, 3, *size)
        assert_same(optimized(images), ordinary(images))

    @pytest.mark.parametrize("name", FAMILIES)
    @torch.no_grad()
    def test_every_backbone(self, name):
        ordinary = with_statistics(built(FAMILIES[name].config(freeze_batch_norm=name != "resnet-bottleneck")))
        images = torch.randn(2, 3, 64, 96)
        assert_same(ordinary.optimize_for_inference()(images), ordinary(images))

    @pytest.mark.parametrize("activation", ["relu", "gelu"])
    @torch.no_grad()
    def test_activations(self, activation):
        ordinary = built(tiny_config(activation_function=activation))
        images = torch.randn(1, 3, 64, 64)
        assert_same(ordinary.optimize_for_inference()(images), ordinary(images))

    @torch.no_grad()
    def test_eager_attention_and_its_maps(self, ordinary, optimized):
        for model in (ordinary, optimized):
            model.set_attn_implementation("eager")
        images = torch.randn(1, 3, 64, 64)
        found, expected = (model(images, output_attentions=True) for model in (optimized, ordinary))
        assert_same(found, expected)
        for one, other in zip(found.cross_attentions, expected.cross_attentions, strict=True):
            torch.testing.assert_close(one, other, **LOGITS)

    def test_gradients_of_the_pixels(self, ordinary, optimized):
        gradients = []
        for model in (ordinary, optimized):
            images = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64).requires_grad_()
            model(images).predicate_logits.sum().backward()
            gradients.append(images.grad)
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)

    @torch.no_grad()
    def test_autocast(self, ordinary, optimized):
        images = torch.randn(1, 3, 64, 64)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = optimized(images)
        assert_same({name: found[name].float() for name in ORIGINAL_OUTPUTS}, ordinary(images), rtol=0, atol=0.1)

    @torch.no_grad()
    def test_half_precision(self, ordinary, optimized):
        images = torch.randn(1, 3, 64, 64)
        found = optimized.to(torch.bfloat16)(images)
        assert found.predicate_logits.dtype == torch.bfloat16
        assert_same({name: found[name].float() for name in ORIGINAL_OUTPUTS}, ordinary(images), rtol=0, atol=0.1)

    @torch.no_grad()
    def test_exported(self, ordinary, optimized):
        images = torch.randn(1, 3, 64, 64)
        sizes = {"pixel_values": (Dim.DYNAMIC, Dim.STATIC, Dim.DYNAMIC, Dim.DYNAMIC)}
        inputs = {"pixel_values": torch.cat([images, images])}
        program = torch.export.export(optimized, (), inputs, dynamic_shapes=sizes).module()
        for size in ((33, 65), (480, 640)):  # the large one has products that only oneDNN computes otherwise
            other = torch.randn(1, 3, *size)
            assert_same(program(pixel_values=other), ordinary(other))

    @torch.no_grad()
    def test_scene_graphs(self, ordinary, optimized):
        processor, images = SpeaQImageProcessorPil(), torch.randn(2, 3, 64, 64)
        graphs = [processor.post_process_scene_graph(m(images), [(64, 64)] * 2) for m in (ordinary, optimized)]
        for one, other in zip(*graphs, strict=True):
            assert torch.equal(one.relations, other.relations)
            torch.testing.assert_close(one.boxes, other.boxes, rtol=0, atol=1e-2)


@pytest.mark.parametrize("scores_at_once", [1, 7 * 11 * 4 * 3, 10**9])
@pytest.mark.parametrize("strided", [False, True])
def test_attention_in_blocks(scores_at_once, strided, monkeypatch):
    monkeypatch.setattr(attention_in_blocks_speaq, "_BLOCK_OF_SCORES", scores_at_once)
    torch.manual_seed(0)
    shapes = ((2, 7, 32), (2, 11, 32), (2, 11, 32))
    query, key, value = (torch.randn(shape).unflatten(-1, (4, 8)).transpose(1, 2) for shape in shapes)
    if not strided:
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    found = attention_in_blocks(query, key, value, 0.3)
    expected = nn.functional.scaled_dot_product_attention(query, key, value, scale=0.3).transpose(1, 2)
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_attention_in_blocks_is_for_optimised_models_in_bfloat16(ordinary, optimized, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("used")

    monkeypatch.setattr(layers_speaq, "attention_in_blocks", refuse)
    optimized(torch.randn(1, 3, 32, 32))
    ordinary.to(torch.bfloat16)(torch.randn(1, 3, 32, 32))
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        with pytest.raises(AssertionError, match="used"):
            optimized.to(torch.bfloat16)(torch.randn(1, 3, 32, 32))


@torch.no_grad()
def test_without_the_kernels_of_onednn(ordinary, optimized, monkeypatch):
    monkeypatch.setattr(onednn_speaq, "_KERNELS", ("_an_operation_that_was_renamed",))
    onednn_speaq._has_kernels.cache_clear()
    images = torch.randn(1, 3, 64, 64)
    assert not onednn_speaq.runs_on_onednn(images, images)
    assert_same(optimized(images), ordinary(images))
    monkeypatch.undo()
    onednn_speaq._has_kernels.cache_clear()


@torch.no_grad()
def test_used_models_are_copied_saved_and_converted(ordinary, optimized, tmp_path):
    images = torch.randn(1, 3, 64, 64)
    expected = optimized(images)
    torch.save(optimized, tmp_path / "model.pt")
    for model in (copy.deepcopy(optimized), torch.load(tmp_path / "model.pt", weights_only=False)):
        assert_same(model(images), expected)
    half = optimized.to(torch.bfloat16)(images)
    assert_same({name: half[name].float() for name in ORIGINAL_OUTPUTS}, ordinary(images), rtol=0, atol=0.1)


class ReadValues(TorchDispatchMode):
    """Operations that need to know values on the host, for which an accelerator has to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if function.__name__.split(".")[0] in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2"):
            self.operations.append(function.__name__)
        return function(*arguments, **(keywords or {}))


@torch.no_grad()
def test_nothing_waits_for_the_device_before_post_processing(optimized):
    images = torch.randn(2, 3, 64, 64)
    with ReadValues() as seen:
        outputs = optimized(images)
    assert not seen.operations
    with ReadValues() as seen:
        SpeaQImageProcessorPil().post_process_scene_graph(outputs, [(64, 64)] * 2)
    assert seen.operations


def test_gradients_of_some_weights_in_bfloat16(ordinary):
    """A frozen query meets keys that are trained, in evaluation mode."""
    for model in (ordinary.to(torch.bfloat16), ordinary.optimize_for_inference()):
        model.model.input_projection.requires_grad_()
        model(torch.randn(1, 3, 64, 64, dtype=torch.bfloat16)).predicate_logits.sum().backward()
        assert model.model.input_projection.weight.grad.abs().sum() > 0


def test_all_trained_weights_get_gradients(ordinary, optimized):
    images = torch.randn(1, 3, 64, 64)
    for model in (ordinary, optimized):
        model.requires_grad_(False)
        for layer in model.model.decoder.relation_layers:
            layer.mlp.fc1.requires_grad_()
        model(images).predicate_logits.square().sum().backward()
    pairs = zip(ordinary.model.decoder.relation_layers, optimized.model.decoder.relation_layers, strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one.mlp.fc1.weight.grad, other.mlp.fc1.weight.grad, rtol=1e-3, atol=1e-4)


def test_optimised_in_inference_mode_and_used_outside(ordinary):
    with torch.inference_mode():
        optimized = ordinary.optimize_for_inference()
    images = torch.randn(1, 3, 64, 64, requires_grad=True)
    optimized(images).predicate_logits.sum().backward()
    assert images.grad.abs().sum() > 0


class TestIsTheOrdinaryCheckpoint:
    def test_same_tensors(self, ordinary, optimized):
        expected, found = ordinary.state_dict(), optimized.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert optimized.config.to_dict() == ordinary.config.to_dict()

    def test_saved_and_loaded(self, ordinary, optimized, tmp_path):
        optimized.save_pretrained(tmp_path)
        loaded, info = SpeaQForSceneGraphGeneration.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        assert not loaded.is_optimized_for_inference
        images = torch.randn(1, 3, 64, 64)
        for name in ORIGINAL_OUTPUTS:
            assert torch.equal(loaded(images)[name], ordinary(images)[name])

    def test_the_ordinary_model_is_not_touched(self, ordinary):
        before, images = copy.deepcopy(ordinary), torch.randn(1, 3, 64, 64)
        optimized = ordinary.optimize_for_inference()
        with torch.no_grad():
            for tensor in optimized.state_dict().values():
                tensor.zero_()
        for name in ORIGINAL_OUTPUTS:
            assert torch.equal(ordinary(images)[name], before(images)[name])
        ordinary.train()(images, labels=[random_label(3, 2)]).loss.backward()


class TestAdaptersAndQuantization:
    """What changes linear layers is not optimised away."""

    @pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["k_proj", "fc1"], "all-linear"])
    @torch.no_grad()
    def test_adapters_count(self, ordinary, targets):
        adapted = get_peft_model(ordinary, LoraConfig(target_modules=targets, init_lora_weights=False)).eval()
        images = torch.randn(1, 3, 64, 64)
        expected = adapted(images)
        assert_same(adapted.base_model.model.optimize_for_inference()(images), expected)

    @torch.no_grad()
    def test_adapters_of_the_predictor(self, ordinary, tmp_path):
        images = torch.randn(1, 3, 64, 64)
        ordinary.save_pretrained(tmp_path / "base")
        SpeaQImageProcessorPil().save_pretrained(tmp_path / "adapted")
        base = SpeaQForSceneGraphGeneration.from_pretrained(tmp_path / "base")
        adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)).eval()
        adapted.save_pretrained(tmp_path / "adapted")
        expected = adapted(images)
        predictor = SceneGraphPredictor.from_pretrained(tmp_path / "adapted", device="cpu")
        assert predictor.model.is_optimized_for_inference
        assert_same(predictor.model(images), expected)

    @torch.no_grad()
    def test_pruned_and_parametrized_layers_stay(self, ordinary):
        layer = ordinary.model.decoder.relation_layers[0]
        prune.random_unstructured(layer.mlp.fc1, "weight", 0.5)
        parametrizations.weight_norm(layer.cross_attn.v_proj)
        images = torch.randn(1, 3, 64, 64)
        assert_same(ordinary.optimize_for_inference()(images), ordinary(images))

    @torch.no_grad()
    def test_weights_of_another_kind_stay(self, ordinary):
        """As torchao's, which know few operations."""

        class Quantized(nn.Parameter):
            pass

        for module in ordinary.modules():
            if isinstance(module, nn.Linear):
                module.weight = Quantized(module.weight.detach(), requires_grad=False)
        optimized = ordinary.optimize_for_inference()
        assert not any(isinstance(module, SpeaQFusedLinear) for module in optimized.modules())
        assert not any(isinstance(module, SpeaQJointLinear) for module in optimized.modules())
        images = torch.randn(1, 3, 64, 64)
        assert_same(optimized(images), ordinary(images))


class TestWhatItIs:
    def test_no_auxiliary_outputs(self, ordinary, optimized):
        images = torch.randn(1, 3, 64, 64)
        assert ordinary(images).auxiliary_outputs is not None
        assert optimized(images).auxiliary_outputs is None

    def test_optimised_once(self, optimized):
        assert optimized.optimize_for_inference() is optimized

    def test_no_loss(self, optimized):
        with pytest.raises(ValueError, match="ordinary model"):
            optimized(torch.randn(1, 3, 64, 64), labels=[random_label(3, 2)])

    def test_not_trained(self, optimized):
        assert optimized.train(False) is optimized
        for call in (optimized.train, optimized.optimize_for_training):
            with pytest.raises(ValueError, match="cannot be trained"):
                call()

    def test_not_of_scattered_models(self, ordinary):
        with pytest.raises(ValueError, match="in one place"):
            ordinary.to("meta").optimize_for_inference()

    def test_weights_are_not_loaded_into_it(self, ordinary, optimized):
        with pytest.raises(ValueError, match="ordinary model"):
            optimized.load_state_dict(ordinary.state_dict())
        with pytest.raises(ValueError, match="ordinary model"):
            optimized.model.load_state_dict(ordinary.model.state_dict())

    def test_every_norm_of_a_resnet_is_folded(self, optimized):
        kinds = [type(module) for module in optimized.model.backbone.modules()]
        assert kinds.count(SpeaQFusedConv2d) == 6 and kinds.count(SpeaQAbsorbed) == 6
        assert SpeaQFrozenBatchNorm2d not in kinds and nn.Conv2d not in kinds
        relus = [module for module in optimized.model.backbone.modules() if isinstance(module, nn.ReLU)]
        assert not relus
        assert sum(isinstance(module, SpeaQFusedResidual) for module in optimized.model.backbone.modules()) == 2

    def test_products_of_the_decoders_are_joined(self, ordinary, optimized):
        kinds = [type(module) for module in optimized.model.decoder.modules()]
        layers = ordinary.config.decoder_layers
        assert kinds.count(SpeaQProjectedTripletReader) == layers - 1
        assert kinds.count(SpeaQComposedLinear) == 2 * layers + 3 * (layers - 1)
        assert kinds.count(SpeaQAttentionToZeros) == 3


class OddBackbone(nn.Module):
    """One batch norm that could be absorbed, and others whose inputs are read twice, viewed or of two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type="odd")
        self.convolutions = nn.ModuleList([nn.Conv2d(3, 4, 1), *[nn.Conv2d(4, 4, 1) for _ in range(3)]])
        self.norms = nn.ModuleList([nn.BatchNorm2d(4) for _ in range(4)])
        self.relu, self.relu_of_sum, self.relu_of_view = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, images: torch.Tensor) -> SimpleNamespace:
        plain = self.norms[0](self.convolutions[0](images))
        read_twice = self.convolutions[1](plain)
        shared = self.norms[1](read_twice) + read_twice
        relu_twice = self.relu(self.norms[2](self.convolutions[2](shared)))
        twice = self.relu(self.convolutions[3](relu_twice) + plain) - 1
        positive = self.relu_of_view(twice.view(twice.shape))
        return SimpleNamespace(feature_maps=[self.relu_of_sum(positive - twice) + self.norms[3](self.norms[3](twice))])


def test_only_what_nothing_else_reads_is_fused():
    torch.manual_seed(0)
    ordinary = with_statistics(OddBackbone()).eval()
    fused, images = copy.deepcopy(ordinary), torch.randn(2, 3, 5, 7)
    fuse_backbone(fused)
    assert [type(module) is SpeaQFusedConv2d for module in fused.convolutions] == [True, False, True, False]
    assert not any(module.with_relu for module in fused.convolutions if type(module) is SpeaQFusedConv2d)
    assert not fused.relu.inplace and not fused.relu_of_view.inplace and fused.relu_of_sum.inplace
    with torch.no_grad():
        expected = ordinary(images).feature_maps[-1]
        torch.testing.assert_close(fused(images).feature_maps[-1], expected, rtol=1e-5, atol=1e-5)
