# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Common tests: what a model predicts does not depend on how it is asked."""

import torch
from torch import Tensor

from .comparison import assert_same_predictions
from .model_case import PREDICTIONS, ModelCase


class PredictionTests:
    """One image, one graph."""

    case: ModelCase

    def test_predictions_have_the_agreed_form(self) -> None:
        """One row for each relation query; finite logits, boxes in [0, 1] in float32 or better."""
        model = self.case.build()
        outputs = model(**self.case.inputs(model.config, images=2))
        widths = {"subject": model.config.num_labels + 1, "predicate": model.config.num_predicates + 1}
        rows = outputs.predicate_logits.shape[1]
        for name in PREDICTIONS:
            stream, kind = name.split("_")
            width = 4 if kind == "boxes" else widths.get(stream, widths["subject"])
            assert outputs[name].shape == (2, rows, width), name
            assert outputs[name].isfinite().all(), name
            assert kind != "boxes" or (0 <= outputs[name].min() and outputs[name].max() <= 1), name
        assert outputs.loss is None

    def test_the_same_question_gets_the_same_answer(self) -> None:
        """Evaluation is deterministic, also between two models built with the same seed."""
        model, twin = self.case.build(), self.case.build()
        inputs = self.case.inputs(model.config)
        first, second, third = model(**inputs), model(**inputs), twin(**inputs)
        for name in PREDICTIONS:
            assert torch.equal(first[name], second[name]) and torch.equal(first[name], third[name]), name

    def test_batch_equals_single_images(self) -> None:
        """Images of one canvas do not see each other."""
        model = self.case.build()
        inputs = self.case.inputs(model.config, images=2)
        together = model(**inputs)
        for image in range(2):
            alone = model(**{name: value[image : image + 1] for name, value in inputs.items()})
            assert_same_predictions({name: together[name][image : image + 1] for name in PREDICTIONS}, alone)

    def test_padding_does_not_change_a_graph(self) -> None:
        """The same image on canvases of two sizes."""
        if self.case.canvases is None:
            return
        model = self.case.build()
        outputs = [
            model(**self.case.inputs(model.config, images=1, size=(64, 64), canvas=canvas))
            for canvas in self.case.canvases
        ]
        assert_same_predictions(*outputs)

    def test_eager_equals_sdpa(self) -> None:
        """Attention in plain steps and by torch's kernel, chosen afterwards or when building."""
        if not self.case.head_class._supports_sdpa:
            return
        model = self.case.build(attn_implementation="sdpa")
        inputs = self.case.inputs(model.config)
        fused = model(**inputs)
        built = self.case.build(attn_implementation="eager")
        assert (model.config._attn_implementation, built.config._attn_implementation) == ("sdpa", "eager")
        assert_same_predictions(built(**inputs), fused)
        model.set_attn_implementation("eager")
        assert model.config._attn_implementation == "eager"
        assert_same_predictions(model(**inputs), fused)

    def test_optimised_for_inference(self) -> None:
        """The model that `optimize_for_inference` makes, if there is one, predicts the same."""
        if not hasattr(self.case.head_class, "optimize_for_inference"):
            return
        model = self.case.build()
        inputs = self.case.inputs(model.config)
        assert_same_predictions(model.optimize_for_inference()(**inputs), model(**inputs))

    def test_tuples(self) -> None:
        """`return_dict=False` gives the same values in the same order, without those that are missing."""
        model = self.case.build()
        for batch in (self.case.inputs(model.config), self.case.labelled(model.config)):
            expected, found = model(**batch).to_tuple(), model(**batch, return_dict=False)
            assert isinstance(found, tuple) and len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                assert type(one) is type(other)
                assert not isinstance(one, Tensor) or torch.equal(one, other)

    def test_hidden_states_and_attentions(self) -> None:
        """What was asked for comes in the expected numbers and shapes, attention rows sum to 1; else nothing comes."""
        if self.case.states is None:
            return
        model = self.case.build(attn_implementation="eager")
        inputs = self.case.inputs(model.config)
        expected = self.case.states(model.config, inputs)
        plain = model(**inputs)
        outputs = model(**inputs, output_hidden_states=True, output_attentions=True)
        for name, shapes in expected.items():
            assert getattr(plain, name) is None, name
            assert [tuple(state.shape) for state in getattr(outputs, name)] == shapes, name
            if name.endswith("attentions"):
                for weights in getattr(outputs, name):
                    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        assert_same_predictions(outputs, plain)
