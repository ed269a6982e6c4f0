# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Common tests: `torch.export` and `torch.compile` take a model as it is."""

import torch
from torch import Tensor

from .comparison import assert_same_predictions
from .model_case import ModelCase


class CompilationTests:
    """One graph, for all sizes."""

    case: ModelCase

    @torch.no_grad()
    def test_export_with_dynamic_sizes(self) -> None:
        """An exported program takes other numbers and sizes of images than those it was exported with."""
        model = self.case.build()
        inputs = self.case.inputs(model.config, images=2, size=(64, 96))
        axes = {name: _dynamic_axes(value) for name, value in inputs.items()}
        program = torch.export.export(model, (), inputs, dynamic_shapes=axes).module()
        for images, size, canvas in ((2, (64, 96), (64, 96)), (3, (101, 70), (110, 75)), (5, (40, 200), (64, 200))):
            others = self.case.inputs(model.config, images=images, size=size, canvas=canvas)
            assert_same_predictions(program(**others), model(**others))

    @torch.no_grad()
    def test_compiles_to_one_graph(self) -> None:
        """No graph breaks, and new sizes do not compile it again and again."""
        from torch._dynamo.testing import CompileCounter  # takes a second to import

        model = self.case.build()
        torch._dynamo.reset()
        counter = CompileCounter()
        compiled = torch.compile(model, backend=counter, fullgraph=True)
        for size in ((64, 96), (72, 64), (101, 70), (96, 80)):
            inputs = self.case.inputs(model.config, size=size)
            assert_same_predictions(compiled(**inputs), model(**inputs))
        assert counter.frame_count <= 2, f"compiled {counter.frame_count} times"


class SlowCompilationTests:
    """Exports and compilations that take longer than a few seconds, or that the dynamic ones cover in part."""

    case: ModelCase

    @torch.no_grad()
    def test_export_with_static_sizes(self) -> None:
        """The program for one size."""
        model = self.case.build()
        inputs = self.case.inputs(model.config)
        program = torch.export.export(model, (), inputs).module()
        assert_same_predictions(program(**inputs), model(**inputs))

    @torch.no_grad()
    def test_compiled_predictions(self) -> None:
        """Inductor's code (where there is no compiler: what it would be made of) predicts the same."""
        model = self.case.build()
        torch._dynamo.reset()
        compiled = torch.compile(model, backend=_backend(), fullgraph=True)
        inputs = self.case.inputs(model.config)
        assert_same_predictions(compiled(**inputs), model(**inputs), rtol=1e-3, atol=1e-4)

    def test_compiled_training(self) -> None:
        """Losses and gradients of a compiled model are those of the model."""
        model = self.case.build().train()
        torch._dynamo.reset()
        batch = self.case.labelled(model.config)
        gradients = []
        for forward in (model, torch.compile(model, backend="aot_eager")):
            model.zero_grad()
            forward(**batch).loss.backward()
            gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-4)


def _backend() -> str:
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception:  # whatever it raises, there is none
        return "aot_eager"
    return "inductor"


def _dynamic_axes(value: Tensor) -> dict[int, object]:
    """Batch and, behind the channels if any, height and width."""
    return dict.fromkeys((0, value.dim() - 2, value.dim() - 1), torch.export.Dim.DYNAMIC)
