"""What every model of the package must be able to do."""

import pytest

from speaq_hf import AutoModelForSceneGraphGeneration
from speaq_hf.testing import (
    CompilationTests,
    LoadingTests,
    PredictionTests,
    SceneGraphModelTests,
    SlowCompilationTests,
    TrainingTests,
)
from tests.models.registry import MODEL_CASES


class TestSpeaQ(SceneGraphModelTests):
    case = MODEL_CASES["speaq"]


@pytest.mark.slow
class TestSpeaQCompiled(SlowCompilationTests):
    case = MODEL_CASES["speaq"]


class TestIterativeSGG(LoadingTests, PredictionTests, TrainingTests):
    case = MODEL_CASES["iterative_sgg"]


@pytest.mark.slow
class TestIterativeSGGCompiled(CompilationTests):
    case = MODEL_CASES["iterative_sgg"]


def test_every_model_is_here():
    registered = AutoModelForSceneGraphGeneration._model_mapping._extra_content.values()
    ours = {model for model in registered if model.__module__.startswith("speaq_hf.")}
    assert ours == {case.head_class for case in MODEL_CASES.values()}
    tested = [value.case for value in globals().values() if isinstance(value, type) and hasattr(value, "case")]
    assert all(any(case is other for other in tested) for case in MODEL_CASES.values())
