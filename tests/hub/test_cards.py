"""Cards on the Hub: a model that is pushed keeps the card that is there, and `speaq info` reads no weights."""

import json

from huggingface_hub import HfApi, ModelCard
from typer.testing import CliRunner

from speaq_hf import SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.cards.model_card import write_model_card
from speaq_hf.cli import app
from tests.helpers import tiny_config


def upload_with_card(name, folder):
    """As `hf upload` does; then the model once more, as a program does that trains on. The card before and after."""
    model = SpeaQForSceneGraphGeneration(tiny_config())
    model.save_pretrained(folder)
    SpeaQImageProcessorPil().save_pretrained(folder)
    write_model_card(folder)
    HfApi().create_repo(name, exist_ok=True)
    HfApi().upload_folder(repo_id=name, folder_path=folder)
    before = ModelCard.load(name)
    model.push_to_hub(name, tags=["new"])
    return str(before), before.data.to_dict(), ModelCard.load(name).text, ModelCard.load(name).data.to_dict()


def info(name, *options):
    result = CliRunner().invoke(app, ["info", name, *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def cached_files():
    from huggingface_hub import scan_cache_dir

    return {
        file.file_name for repo in scan_cache_dir().repos for revision in repo.revisions for file in revision.files
    }


def test_a_push_of_the_model_keeps_its_card(sender, receiver, tmp_path):
    card, data, text, later = sender.run(upload_with_card, "owner/with-card", tmp_path / "model")
    assert "# model" in card and text.strip() == ModelCard(card).text.strip()
    assert later == data | {"tags": [*data["tags"], "new"]}
    report = json.loads(receiver.run(info, "owner/with-card", "--json"))
    assert report["model"]["variant"] == "SpeaQ" and report["weights"]["values_by_type"]["F32"] > 100_000
    files = receiver.run(cached_files)
    assert "config.json" in files and "model.safetensors" not in files
