"""Model and processor go to the Hub, and another computer computes the same with them."""

import os
from unittest import mock

import numpy as np
import pytest
import torch
from huggingface_hub import create_tag

from speaq_hf import (
    AutoModelForSceneGraphGeneration,
    SpeaQForSceneGraphGeneration,
    SpeaQImageProcessorPil,
)
from tests.helpers import tiny_config

from .machine import message_of
from .outputs import assert_same, outputs
from .repositories import Repository


NAME = "owner/tiny"
SIZE = {"shortest_edge": 64, "longest_edge": 96}


def make_model(seed):
    torch.manual_seed(seed)
    return SpeaQForSceneGraphGeneration(tiny_config()).eval()


def push(name, seed=0, token=None):
    """Pushes model and processor; what they compute."""
    model, processor = make_model(seed), SpeaQImageProcessorPil(size=SIZE)
    model.push_to_hub(name, token=token)
    processor.push_to_hub(name, token=token)
    return outputs(model, processor)


def push_and_tag(name):
    """A second version after the first, which is tagged."""
    first = push(name)
    create_tag(name, tag="v1")
    return first, push(name, seed=1)


def error_of_push(name, seed=0, token=None):
    return message_of(push, name, seed, token)


def pull(name, revision="main"):
    model, report = SpeaQForSceneGraphGeneration.from_pretrained(name, revision=revision, output_loading_info=True)
    assert not any(report.values()), report
    return outputs(model, SpeaQImageProcessorPil.from_pretrained(name, revision=revision))


def pull_with_auto_classes(name):
    from transformers import AutoConfig, AutoImageProcessor

    model = AutoModelForSceneGraphGeneration.from_pretrained(name)
    assert AutoConfig.from_pretrained(name).id2predicate == tiny_config().id2predicate
    return outputs(model, AutoImageProcessor.from_pretrained(name, backend="pil"))


def error_of_pull(name, revision="main", token=None):
    with mock.patch.dict(os.environ, {} if token is None else {"HF_TOKEN": token}):
        return message_of(pull, name, revision)


def error_of_processor(name):
    return message_of(SpeaQImageProcessorPil.from_pretrained, name)


@pytest.fixture(scope="module")
def versions(sender):
    """What the first and the second version compute where they were made."""
    return sender.run(push_and_tag, NAME)


def test_another_computer_computes_the_same(versions, receiver):
    assert_same(receiver.run(pull, NAME), versions[1])
    assert_same(receiver.run(pull_with_auto_classes, NAME), versions[1])


def test_files_of_the_repository(hub, versions):
    commit = hub.model(NAME).at("main")
    assert sorted(name for name in commit.files if not name.endswith(".py")) == [
        ".gitattributes", "README.md", "config.json", "model.safetensors", "preprocessor_config.json"
    ]  # fmt: skip
    assert commit.file("model.safetensors").large


def test_revisions(versions, receiver):
    assert_same(receiver.run(pull, NAME, "v1"), versions[0])
    assert not np.array_equal(versions[0]["predicate_logits"], versions[1]["predicate_logits"])
    message = receiver.run(error_of_pull, NAME, "v2")
    assert "v2 is not a valid git identifier" in message and NAME in message


def test_wrong_token(hub, sender, receiver):
    message = sender.run(error_of_push, "owner/other", 0, "hf_wrong")
    assert "401" in message and "Invalid credentials in Authorization header" in message
    assert ("model", "owner/other") not in hub.storage.repositories
    hub.storage.repositories["model", "owner/private"] = Repository("model", "owner/private", private=True)
    assert "Invalid credentials in Authorization header" in receiver.run(
        error_of_pull, "owner/private", "main", "hf_wrong"
    )


def test_what_is_not_there(hub, receiver, versions):
    assert "owner/nothing is not a local folder and is not a valid model identifier" in receiver.run(
        error_of_pull, "owner/nothing"
    )
    files = hub.model(NAME).at("main").files
    hub.storage.copy("model", "owner/torso", {path: files[path] for path in ("config.json", "README.md")})
    message = receiver.run(error_of_pull, "owner/torso")
    assert "owner/torso does not appear to have a file named" in message and "model.safetensors" in message
    assert "preprocessor_config.json" in receiver.run(error_of_processor, "owner/torso")


def test_a_push_that_breaks_can_be_repeated(hub, sender, receiver, versions):
    """An upload breaks (and is repeated by the library), then the commit: nothing of it is seen."""
    hub.storage.large_files.clear()
    hub.faults.cut_request("PUT", "/lfs/", after_bytes=50_000)
    hub.faults.cut_request("POST", "/models/owner/twice/commit/main", after_bytes=100)
    sender.run(error_of_push, "owner/twice")
    assert list(hub.model("owner/twice").at("main").files) == [".gitattributes"]
    assert [call.status for call in hub.called("PUT", "/lfs/")][-2:] == [None, 200]
    uploads = len(hub.called("PUT", "/lfs/"))
    sender.run(push, "owner/twice")
    assert len(hub.called("PUT", "/lfs/")) == uploads
    hub.faults.cut_answer("GET", "twice/resolve/.*/model.safetensors", after_bytes=50_000)
    assert_same(receiver.run(pull, "owner/twice"), versions[0])
