# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Common tests: a model can be built, saved, loaded, copied and converted to other number formats."""

import copy
import pickle
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel

from ..models.auto import AutoModelForSceneGraphGeneration
from .comparison import assert_same_predictions, assert_same_tensors
from .model_case import PREDICTIONS, ModelCase


class LoadingTests:
    """What is saved comes back whole."""

    case: ModelCase

    def test_saved_model_comes_back_whole(self, tmp_path: Path) -> None:
        """Nothing is missing or left over, every tensor and prediction is the same."""
        model = self.case.build()
        model.save_pretrained(tmp_path)
        loaded, info = self.case.head_class.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        assert_same_tensors(loaded, model)
        assert not loaded.training
        inputs = self.case.inputs(model.config)
        assert_same_predictions(loaded(**inputs), model(**inputs))

    def test_building_on_the_meta_device(self) -> None:
        """Names, shapes and dtypes do not need numbers."""
        direct = self.case.head_class(self.case.config())
        with torch.device("meta"):
            empty = self.case.head_class(self.case.config())
        expected = direct.state_dict()
        assert empty.state_dict().keys() == expected.keys()
        for name, value in empty.state_dict().items():
            assert value.is_meta and value.shape == expected[name].shape and value.dtype == expected[name].dtype, name
        frozen = [{name for name, p in m.named_parameters() if not p.requires_grad} for m in (direct, empty)]
        assert frozen[0] == frozen[1]

    def test_loading_nothing_equals_building(self) -> None:
        """All buffers, also those that are not saved, and constant parameters are equal; the others as widely spread."""
        built = self.case.head_class(self.case.config())
        loaded = self.case.head_class.from_pretrained(None, config=self.case.config(), state_dict={})
        buffers = dict(built.named_buffers())
        for name, buffer in loaded.named_buffers():
            assert torch.equal(buffer, buffers[name]), f"buffer `{name}` differs"
        parameters = dict(built.named_parameters())
        for name, parameter in loaded.named_parameters():
            expected = parameters[name].std(correction=0)
            wide = expected > 0 and parameter.numel() > 64
            if not expected > 0:
                assert torch.equal(parameter, parameters[name]), f"`{name}` differs"
            elif wide:
                assert 0.6 < parameter.std() / expected < 1.7, f"`{name}` is spread differently"

    def test_base_model_from_saved_heads(self, tmp_path: Path) -> None:
        """The base class takes its part of what the model with heads has saved."""
        model = self.case.build()
        model.save_pretrained(tmp_path)
        base, info = self.case.base_class.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"] and not info["mismatched_keys"], info
        assert_same_tensors(base, model.base_model)

    def test_heads_on_a_saved_base_model(self, tmp_path: Path) -> None:
        """The class with heads takes a saved base model; only the heads are new."""
        base = self.case.build(self.case.base_class)
        base.save_pretrained(tmp_path)
        model, info = self.case.head_class.from_pretrained(tmp_path, output_loading_info=True)
        prefix = model.base_model_prefix + "."
        assert info["missing_keys"] and not any(name.startswith(prefix) for name in info["missing_keys"]), info
        assert not info["unexpected_keys"], info
        assert_same_tensors(model.base_model, base)
        assert all(parameter.isfinite().all() for parameter in model.parameters())

    def test_auto_classes_know_the_model(self, tmp_path: Path) -> None:
        """`AutoConfig`, `AutoModel` and `AutoModelForSceneGraphGeneration` find the classes of a saved model."""
        self.case.build().save_pretrained(tmp_path)
        assert type(AutoConfig.from_pretrained(tmp_path)) is self.case.head_class.config_class
        assert type(AutoModel.from_pretrained(tmp_path)) is self.case.base_class
        assert type(AutoModelForSceneGraphGeneration.from_pretrained(tmp_path)) is self.case.head_class

    def test_configuration_comes_back(self, tmp_path: Path) -> None:
        """Every field, also one that the class does not know, survives saving."""
        config = self.case.config(a_field_of_the_future=[1, {"two": 3}])
        config.save_pretrained(tmp_path)
        loaded = type(config).from_pretrained(tmp_path)
        assert loaded.to_dict() == config.to_dict() and loaded.a_field_of_the_future == [1, {"two": 3}]
        assert copy.deepcopy(config).to_dict() == config.to_dict()

    def test_no_tensor_lies_in_two_places(self) -> None:
        """Saving refuses tensors that share memory."""
        state = self.case.build().state_dict()
        places = [value.untyped_storage().data_ptr() for value in state.values() if value.numel()]
        assert len(set(places)) == len(places)

    def test_copies(self) -> None:
        """Copies and pickles are whole, and independent of the original, before and after use."""
        model = self.case.build()
        inputs = self.case.inputs(model.config)
        fresh = copy.deepcopy(model)
        expected = model(**inputs)
        for twin in (fresh, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert_same_tensors(twin, model)
            assert_same_predictions(twin(**inputs), expected)
            with torch.no_grad():
                for parameter in twin.parameters():
                    parameter.zero_()
        assert_same_predictions(model(**inputs), expected)

    def test_bfloat16(self, tmp_path: Path) -> None:
        """Loading in bfloat16 predicts nearly the same."""
        self._check_half_precision(torch.bfloat16, tmp_path)

    def test_float16(self, tmp_path: Path) -> None:
        """Loading in float16 predicts nearly the same."""
        self._check_half_precision(torch.float16, tmp_path)

    def _check_half_precision(self, dtype: torch.dtype, folder: Path) -> None:
        model = self.case.build()
        model.save_pretrained(folder)
        batch = self.case.labelled(model.config)
        expected = model(**batch)
        loaded = self.case.head_class.from_pretrained(folder, dtype=dtype)
        for half in (loaded, model.to(dtype)):
            assert {p.dtype for p in half.parameters()} == {dtype} == {half.dtype}
            found = half(**batch)
            assert found.loss.isfinite()
            floats = {name: found[name].float() for name in PREDICTIONS}
            boxes = {name: value for name, value in floats.items() if name.endswith("boxes")}
            for name, value in boxes.items():
                torch.testing.assert_close(value, expected[name], rtol=0, atol=0.06)
            for name in floats.keys() - boxes.keys():
                torch.testing.assert_close(floats[name].softmax(-1), expected[name].softmax(-1), rtol=0, atol=0.06)

    def test_number_of_outputs_follows_the_vocabularies(self) -> None:
        """One logit for each name, and one for background."""
        vocabularies = _vocabularies(3, 2)
        model = self.case.build(**vocabularies)
        outputs = model(**self.case.inputs(model.config))
        assert model.config.num_labels == 3 and model.config.num_predicates == 2
        assert outputs.subject_logits.shape[-1] == outputs.object_logits.shape[-1] == 4
        assert outputs.predicate_logits.shape[-1] == 3

    def test_loading_with_a_new_vocabulary(self, tmp_path: Path) -> None:
        """With `ignore_mismatched_sizes` the heads get the new sizes and everything else is kept."""
        model = self.case.build()
        model.save_pretrained(tmp_path)
        config = self.case.config(**_vocabularies(3, 2))
        loaded = self.case.head_class.from_pretrained(tmp_path, config=config, ignore_mismatched_sizes=True)
        assert_same_tensors(loaded.base_model, model.base_model)
        outputs = loaded(**self.case.labelled(config))
        assert outputs.subject_logits.shape[-1] == 4 and outputs.predicate_logits.shape[-1] == 3
        assert outputs.loss.isfinite()


def _vocabularies(labels: int, predicates: int) -> dict[str, object]:
    """Fields of a configuration with other classes than usual."""
    return {
        "id2label": {index: f"thing {index}" for index in range(labels)},
        "id2predicate": {index: f"relates {index}" for index in range(predicates)},
    }
