"""A saved pipeline runs where speaq_hf is, and with `trust_remote_code=True` where it is not."""

import pytest

from speaq_hf.packaged_models import packaged_model

from . import saved_pipelines
from .machine import message_of


TASK = {"task": "scene-graph-generation"}


def with_package(function, *arguments, **kwargs):
    import speaq_hf  # noqa: F401

    return function(*arguments, **kwargs)


@pytest.fixture(scope="module")
def saved(sender, tmp_path_factory):
    """A folder with a pipeline, and what it predicts."""
    folder = str(tmp_path_factory.mktemp("pipeline"))
    sender.run(with_package, saved_pipelines.save, str(packaged_model()), folder, **TASK)
    package, relations = sender.run(with_package, saved_pipelines.predict, folder, **TASK)
    assert package == "speaq_hf" and all(relations)
    return folder, relations


def test_without_the_package_it_needs_trust(saved, stranger):
    folder, relations = saved
    for task in ({}, TASK):
        answer = stranger.run(saved_pipelines.predict, folder, trust_remote_code=True, **task)
        assert answer == ("transformers_modules", relations)
    message = stranger.run(message_of, saved_pipelines.predict, folder)
    assert "trust_remote_code=True" in message or "custom code" in message


def test_what_a_stranger_saves_travels_on(saved, stranger, receiver, tmp_path):
    folder, relations = saved
    again = str(tmp_path / "again")
    stranger.run(saved_pipelines.save, folder, again, trust_remote_code=True)
    assert stranger.run(saved_pipelines.predict, again, trust_remote_code=True) == ("transformers_modules", relations)
    assert receiver.run(with_package, saved_pipelines.predict, again, **TASK) == ("speaq_hf", relations)


def test_it_goes_through_the_hub(saved, sender, stranger, receiver):
    folder, relations = saved
    sender.run(with_package, saved_pipelines.push, folder, "owner/pipeline", **TASK)
    answer = stranger.run(saved_pipelines.predict, "owner/pipeline", trust_remote_code=True)
    assert answer == ("transformers_modules", relations)
    assert receiver.run(with_package, saved_pipelines.predict, "owner/pipeline", **TASK) == ("speaq_hf", relations)
