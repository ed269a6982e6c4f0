"""Promises of the package as a whole: what importing it needs, and that the Auto classes know it."""

import subprocess
import sys

import pytest
from transformers import AutoConfig, AutoImageProcessor, AutoModel

import speaq_hf
from speaq_hf import AutoModelForSceneGraphGeneration, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil, SpeaQModel
from tests.helpers import tiny_config


def test_import_needs_torch_and_transformers_only():
    script = (
        "import sys\n"
        "import speaq_hf, torch\n"
        "from speaq_hf.predictions import PredictionWriter, read_predictions\n"
        "heavy = {'datasets', 'evaluate', 'h5py', 'matplotlib', 'pandas', 'torchvision'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "backbone = {'model_type': 'resnet', 'depths': [1], 'hidden_sizes': [8], 'embedding_size': 8, 'out_features': ['stage1']}\n"
        "config = speaq_hf.SpeaQConfig(backbone_config=backbone, d_model=32, encoder_layers=1, decoder_layers=1, num_object_queries=5)\n"
        "model = speaq_hf.SpeaQForSceneGraphGeneration(config).eval()\n"
        "processor = speaq_hf.SpeaQImageProcessorPil(size={'shortest_edge': 64, 'longest_edge': 100})\n"
        "inputs = processor(torch.zeros(3, 40, 50, dtype=torch.uint8), return_tensors='pt')\n"
        "graphs = processor.post_process_scene_graph(model(**inputs), target_sizes=[(40, 50)])\n"
        "print(len(graphs))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1"


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
        ("transformers.configuration_utils", "SubConfigSpec"),
        ("transformers.utils.output_capturing", "capture_outputs"),
        ("transformers.utils.output_capturing", "OutputRecorder"),
        ("transformers.utils.generic", "merge_with_config_defaults"),
        ("transformers.masking_utils", "create_bidirectional_mask"),
        ("transformers.image_transforms", "center_to_corners_format"),
    ],
)
def test_names_we_borrow_from_inside_transformers(module, name):
    assert hasattr(__import__(module, fromlist=[name]), name)
