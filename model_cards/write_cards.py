# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Write the cards of this folder anew, and that of the packaged model: after a change of the template or of the model.

python model_cards/write_cards.py
"""

import sys
import tempfile
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
# Run as a script, Python knows only this file's folder.
if not __package__:
    sys.path[0] = str(ROOT)

from speaq_hf import SpeaQConfig, SpeaQImageProcessorPil  # noqa: E402
from speaq_hf.cards.model_card import CardOptions, build_model_card  # noqa: E402
from speaq_hf.checkpoints.checkpoint_files import CheckpointFiles  # noqa: E402
from speaq_hf.packaged_models import packaged_model  # noqa: E402
from speaq_hf.text_files import write_text  # noqa: E402


PACKAGED = "speaq-tiny"
_PICTURE = "graph.png"
_CONVERTED = {
    "speaq-r101-vg150": ("speaq", SpeaQConfig),
    "isg-r101-vg150": ("iterative_sgg", SpeaQConfig.iterative_sgg),
}


def converted_card(name: str) -> str:
    """The card of a published model, which whoever has the authors' checkpoint can convert."""
    published, build_config = _CONVERTED[name]
    with tempfile.TemporaryDirectory() as folder:
        build_config(architectures=["SpeaQForSceneGraphGeneration"]).save_pretrained(folder)
        SpeaQImageProcessorPil().save_pretrained(folder)
        return str(build_model_card(CheckpointFiles.of(folder), CardOptions(name=name, published=published)))


def packaged_card() -> str:
    """The card of the model that comes with the package."""
    options = CardOptions(name=PACKAGED, source="", license="apache-2.0", picture=_PICTURE)
    return str(build_model_card(CheckpointFiles.of(packaged_model(PACKAGED)), options))


def shown_elsewhere(card: str, folder: Path, place: Path) -> str:
    """A card with the address of its picture as it is from another folder.

    Args:
        card: The text.
        folder: The folder that the picture lies in.
        place: The other folder; both are in the same project.
    """
    address = Path(*[".."] * len(place.relative_to(ROOT).parts), folder.relative_to(ROOT), _PICTURE)
    return card.replace(f"]({_PICTURE})", f"]({address.as_posix()})")


def write_cards() -> None:
    """Write all of them."""
    here, model = ROOT / "model_cards", packaged_model(PACKAGED)
    card = packaged_card()
    write_text(model / "README.md", card)
    write_text(here / f"{PACKAGED}.md", shown_elsewhere(card, model, here))
    for name in _CONVERTED:
        write_text(here / f"{name}.md", converted_card(name))


if __name__ == "__main__":
    write_cards()
