"""The web app without a browser: which model answers, what users read when something is wrong, the files of a Space."""

import html
import json
import re
import threading

import gradio
import numpy as np
import pytest
from huggingface_hub import RepoCard
from PIL import Image
from typer.testing import CliRunner

from speaq_hf import SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from speaq_hf.app.model_shelf import PACKAGED_MODEL, ModelShelf
from speaq_hf.app.space_files import write_space
from speaq_hf.app.web_app import EXAMPLES, LOW_SCORE, build_app, graph_page
from speaq_hf.cli import app as command
from speaq_hf.packaged_models import packaged_model
from speaq_hf.predictor import SceneGraphPredictor
from tests.helpers import tiny_config


@pytest.fixture(scope="module")
def shelf():
    return ModelShelf()


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untrained")
    SpeaQForSceneGraphGeneration(tiny_config()).save_pretrained(folder)
    SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 100}).save_pretrained(folder)
    return str(folder)


def shown_relations(page):
    viewer = html.unescape(re.search(r'srcdoc="(.*?)"', page, re.S).group(1))
    data = json.loads(re.search(r'id="data">(.*?)</script>', viewer, re.S).group(1))
    words = [
        f"{data['objects'][subject][0]} {predicate} {data['objects'][object_][0]}"
        for subject, object_, predicate, _ in data["relations"]
    ]
    return words[: data["shown"]]


@pytest.mark.parametrize(
    ("name", "relation"),
    [
        ("bike", "man riding bike"),
        ("boat", "girl in boat"),
        ("car", "car parked on street"),
        ("hat", "man wearing hat"),
        ("horse", "horse walking on street"),
        ("table", "man behind table"),
    ],
)
def test_the_packaged_model_knows_the_examples(shelf, name, relation):
    (path,) = [path for path in EXAMPLES if path.stem == name]
    page = graph_page(shelf, path, PACKAGED_MODEL)
    assert relation in shown_relations(page)
    assert 'class="hint"' not in page


def test_examples_are_small():
    assert len(EXAMPLES) == 6
    assert sum(path.stat().st_size for path in EXAMPLES) < 300_000
    assert packaged_model().name == "speaq-tiny"
    with pytest.raises(ValueError, match="only speaq-tiny"):
        packaged_model("examples")


def test_unsure_models_say_so(tmp_path, untrained):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)).save(
        tmp_path / "noise.png"
    )
    shelf = ModelShelf([untrained])
    page = graph_page(shelf, tmp_path / "noise.png", untrained)
    best = re.search(r"its best score is (0\.\d\d)", page).group(1)
    assert float(best) < LOW_SCORE and "it may not know such pictures" in page
    assert "it knows drawn scenes only" in graph_page(shelf, tmp_path / "noise.png", PACKAGED_MODEL)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n broken", b"\xff\xd8\xff\xe0 broken"])
def test_broken_pictures_are_one_sentence(shelf, tmp_path, content):
    (tmp_path / "a<b>.jpg").write_bytes(content)
    page = graph_page(shelf, tmp_path / "a<b>.jpg", PACKAGED_MODEL)
    expected = "a&lt;b&gt;.jpg cannot be read as an image; choose another file."
    assert page == f'<p class="problem" role="alert">{expected}</p>'


def test_models_that_cannot_be_loaded_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "empty"
    folder.mkdir()
    page = graph_page(ModelShelf([folder]), EXAMPLES[0], str(folder))
    assert page.startswith(f'<p class="problem" role="alert">The model {folder} cannot be loaded: ')
    assert "\n" not in page and "Traceback" not in page
    refused = graph_page(ModelShelf(), EXAMPLES[0], "owner/other")  # nobody loads what was not given
    assert "owner/other is none of the models speaq-tiny" in refused


def test_models_are_loaded_when_asked_for_and_once(untrained, monkeypatch):
    loaded = []
    load = SceneGraphPredictor.from_pretrained
    monkeypatch.setattr(
        SceneGraphPredictor, "from_pretrained", lambda source: loaded.append(str(source)) or load(source)
    )
    shelf = ModelShelf([untrained, untrained])
    assert shelf.names == [untrained, PACKAGED_MODEL] and loaded == []
    visitors = [threading.Thread(target=shelf.__getitem__, args=(untrained,)) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert loaded == [untrained]
    assert shelf[untrained] is shelf[untrained]


def test_the_app_tells_nobody():
    app = build_app()
    assert app.analytics_enabled is False
    assert [fn["api_visibility"] for fn in app.config["dependencies"]] == ["private"] * len(app.config["dependencies"])


def test_importing_the_app_writes_no_file():
    """gradio writes a .pyi file beside every module that has a component class of its own."""
    import speaq_hf

    assert not list(packaged_model().parents[1].glob("*.pyi")) and speaq_hf


@pytest.mark.parametrize("models", [(), ("owner/name", "other/model")])
def test_a_space_is_complete_and_valid(tmp_path, models):
    folder = write_space(tmp_path / "space", models, requirement="speaq_hf[app]==0.1")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "app.py", "requirements.txt"]
    assert (folder / "requirements.txt").read_text() == "speaq_hf[app]==0.1\n"
    card = RepoCard.load(folder / "README.md", repo_type="space")
    assert (card.data.sdk, card.data.sdk_version, card.data.app_file) == ("gradio", gradio.__version__, "app.py")
    assert (card.data.get("models") or []) == list(models)
    space = {"__name__": "space"}
    exec(compile((folder / "app.py").read_text(), "app.py", "exec"), space)
    choices = [block.choices for block in space["app"].blocks.values() if isinstance(block, gradio.Dropdown)]
    assert [name for name, _ in choices[0]] == [*models, PACKAGED_MODEL]


def test_spaces_take_hub_models_only_and_replace_nothing(tmp_path):
    with pytest.raises(ValueError, match="is a folder of this machine"):
        write_space(tmp_path / "space", [str(tmp_path)])
    with pytest.raises(ValueError, match="no such"):
        write_space(tmp_path / "space", ["no such/name!"])
    assert not (tmp_path / "space").exists()
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"has README\.md already"):
        write_space(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_the_command_writes_a_space(tmp_path):
    arguments = ["app", "--model", "owner/name", "--write-space", str(tmp_path / "space")]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0 and 'build_app(["owner/name"])' in (tmp_path / "space" / "app.py").read_text()
    again = CliRunner().invoke(command, arguments)
    assert again.exit_code == 2 and "already" in again.output
