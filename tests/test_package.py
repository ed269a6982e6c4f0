"""Promises of the package as a whole: what importing it needs, and that the Auto classes know it."""

import subprocess
import sys

import pytest
from transformers import AutoConfig, AutoImageProcessor, AutoModel

import speaq_hf
from speaq_hf import AutoModelForSceneGraphGeneration, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil, SpeaQModel
from tests.helpers import tiny_config


def run(script):
    """What a fresh process prints that runs a script."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_and_its_commands_imports_nothing_heavy():
    """`python -m benchmarks.import_time` says how long it takes."""
    script = (
        "import sys\n"
        "import speaq_hf, speaq_hf.cli\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'numpy', 'PIL', 'scipy', 'datasets', 'matplotlib', 'gradio', 'av'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    assert run(script) == "[]"


def test_models_need_torch_and_transformers_only():
    """A script that imports the package first, and what half imports the Auto classes after it."""
    script = (
        "import sys\n"
        "import speaq_hf\n"
        "from transformers.modeling_layers import GradientCheckpointingLayer\n"
        "from transformers import AutoConfig, AutoModel, pipeline\n"
        "from speaq_hf.packaged_models import packaged_model\n"
        "from speaq_hf.predictions import PredictionWriter, read_predictions\n"
        "assert type(AutoModel.from_pretrained(packaged_model())).__name__ == 'SpeaQModel'\n"
        "import numpy\n"
        "image = numpy.zeros((40, 50, 3), numpy.uint8)\n"
        "relations = pipeline('scene-graph-generation')(image, top_k=3)\n"
        "heavy = {'datasets', 'evaluate', 'h5py', 'matplotlib', 'networkx', 'pandas', 'torchvision', 'gradio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(len(relations))\n"
    )
    assert run(script) == "3"


def test_public_names_exist():
    for name in speaq_hf.__all__:
        assert getattr(speaq_hf, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        speaq_hf.no_such_name  # noqa: B018


def test_auto_classes(tmp_path):
    model = SpeaQForSceneGraphGeneration(tiny_config())
    model.save_pretrained(tmp_path)
    SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 100}).save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).id2predicate == model.config.id2predicate
    assert isinstance(AutoModel.from_pretrained(tmp_path), SpeaQModel)
    assert isinstance(AutoModelForSceneGraphGeneration.from_pretrained(tmp_path), SpeaQForSceneGraphGeneration)
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    assert isinstance(processor, SpeaQImageProcessorPil) and processor.size["longest_edge"] == 100


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("transformers.models.auto.auto_factory", "_BaseAutoModelClass"),
        ("transformers.models.auto.auto_factory", "_LazyAutoMapping"),
        ("transformers.models.auto.configuration_auto", "CONFIG_MAPPING_NAMES"),
        ("transformers.models.auto.modeling_auto", "MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES"),
        ("transformers.configuration_utils", "SubConfigSpec"),
        ("transformers.utils.output_capturing", "capture_outputs"),
        ("transformers.utils.output_capturing", "OutputRecorder"),
        ("transformers.utils.generic", "merge_with_config_defaults"),
        ("transformers.masking_utils", "create_bidirectional_mask"),
        ("transformers.image_transforms", "center_to_corners_format"),
        ("transformers.pipelines", "PIPELINE_REGISTRY"),
        ("transformers.models.auto", "configuration_auto"),
    ],
)
def test_names_we_borrow_from_inside_transformers(module, name):
    assert hasattr(__import__(module, fromlist=[name]), name)
