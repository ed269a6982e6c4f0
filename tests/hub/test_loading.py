"""Everything that `from_pretrained` takes: shards, revisions, formats, places, caches."""

import json
from unittest import mock

import pytest
import torch
from huggingface_hub import HfApi, constants
from transformers import AutoConfig

from speaq_hf import AutoModelForSceneGraphGeneration, SpeaQForSceneGraphGeneration, SpeaQImageProcessorPil
from tests.helpers import tiny_config

from . import without_package
from .machine import message_of
from .outputs import assert_same, outputs
from .repositories import StoredFile


NAME = "owner/shards"
INDEX = "model.safetensors.index.json"


def make(seed=0):
    torch.manual_seed(seed)
    return SpeaQForSceneGraphGeneration(tiny_config()).eval()


def processor():
    return SpeaQImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def push(name, seed=0, **options):
    make(seed).push_to_hub(name, **options)
    return outputs(make(seed), processor())


def push_processor(name):
    processor().push_to_hub(name)


def push_revisions(name):
    """What the versions on a tag, main, a branch and a pull request compute."""
    computed = {"v1": push(name)}
    HfApi().create_tag(name, tag="v1")
    first = HfApi().model_info(name).sha
    computed |= {first: computed["v1"], "main": push(name, seed=1), "dev": push(name, seed=2, revision="dev")}
    computed["refs/pr/1"] = push(name, seed=3, create_pr=True)
    return computed


def error_of_push(name, **options):
    return message_of(push, name, **options)


def load(name, **options):
    return AutoModelForSceneGraphGeneration.from_pretrained(name, **options)


def compute(name, **options):
    return outputs(load(name, **options), processor())


def compute_offline(name, **options):
    with mock.patch.object(constants, "HF_HUB_OFFLINE", True):
        return compute(name, **options)


def error_of_load(name, **options):
    return message_of(load, name, **options)


def error_offline(name):
    with mock.patch.object(constants, "HF_HUB_OFFLINE", True):
        return message_of(load, name)


def format_of(name, **options):
    """The number formats of the weights, and what they compute."""
    model = load(name, **options)
    return sorted({str(value.dtype) for value in model.parameters()}), outputs(model, processor())


def round_trip(name, dtype, folder):
    """What a model in a format computes before it is saved and after."""
    model = load(name, dtype=dtype)
    model.save_pretrained(folder)
    again = load(folder)
    assert str(again.dtype) == f"torch.{dtype}"
    return outputs(model, processor()), outputs(again, processor())


def place_of(name, **options):
    """Where the parts of the model are, whether all its weights are in memory, and what it computes."""
    model = load(name, **options)
    in_memory = not any(value.is_meta for value in model.state_dict().values())
    places = {part: str(place) for part, place in getattr(model, "hf_device_map", {}).items()}
    return places, in_memory, outputs(model, processor())


def push_subfolder(name, folder):
    make().save_pretrained(folder)
    processor().save_pretrained(folder)
    HfApi().create_repo(name)
    HfApi().upload_folder(repo_id=name, folder_path=folder, path_in_repo="tiny")


def compute_in_subfolder(name):
    return outputs(load(name, subfolder="tiny"), SpeaQImageProcessorPil.from_pretrained(name, subfolder="tiny"))


def relabel(name, **options):
    model = load(name, id2label={0: "tree", 1: "zebra"}, ignore_mismatched_sizes=True, **options)
    return model.class_head.weight.tolist(), model.config.id2label


@pytest.fixture(scope="module")
def pushed(sender):
    """What the model computes that is pushed in shards of at most 100 kB."""
    computed = sender.run(push, NAME, max_shard_size="100KB")
    sender.run(push_processor, NAME)
    return computed


@pytest.fixture(scope="module")
def local(pushed, hub, tmp_path_factory):
    """The same model as a folder."""
    folder = tmp_path_factory.mktemp("local")
    for path, file in hub.model(NAME).at("main").files.items():
        (folder / path).write_bytes(file.content)
    return str(folder)


@pytest.fixture(scope="module")
def computed(sender):
    """What the revisions of a repository compute where they were made."""
    return sender.run(push_revisions, "owner/history")


class TestShards:
    def test_another_computer_computes_the_same(self, hub, receiver, stranger, pushed):
        files = hub.model(NAME).at("main").files
        shards = [path for path in files if path.endswith(".safetensors")]
        assert len(shards) > 4 and INDEX in files and "model.safetensors" not in files
        assert_same(receiver.run(compute, NAME), pushed)
        assert_same(stranger.run(without_package.compute, NAME), pushed)

    def test_a_push_that_breaks_is_resumed(self, hub, sender, receiver, pushed):
        """What was uploaded before the break is not uploaded again."""
        hub.storage.large_files.clear()
        hub.faults.fail("PUT", "/lfs/", 403, skip=3)
        message = sender.run(error_of_push, "owner/broken", seed=0, max_shard_size="100KB")
        assert "Error while uploading 'model-0000" in message
        assert list(hub.model("owner/broken").at("main").files) == [".gitattributes"]
        uploaded = set(hub.storage.large_files)
        before = len(hub.called("PUT", "/lfs/"))
        assert uploaded
        sender.run(push, "owner/broken", max_shard_size="100KB")
        again = hub.called("PUT", "/lfs/")[before:]
        assert again and not any(call.path.rsplit("/", 1)[1] in uploaded for call in again)
        assert_same(receiver.run(compute, "owner/broken"), pushed)

    def test_a_pull_that_breaks_is_resumed(self, hub, receiver, pushed):
        hub.storage.copy("model", "owner/slow", hub.model(NAME).at("main").files)
        hub.faults.fail("GET", "slow/resolve/.*00003-of", 403)
        message = receiver.run(error_of_load, "owner/slow")
        assert "403" in message and "owner/slow" in message
        got = {call.path for call in hub.called("GET", "slow/resolve") if call.status == 200}
        before = len(hub.calls)
        assert_same(receiver.run(compute, "owner/slow"), pushed)
        again = {call.path for call in hub.calls[before:] if call.method == "GET" and "slow/resolve" in call.path}
        assert again and not again & {path for path in got if path.endswith(".safetensors")}

    def test_a_missing_shard_is_named(self, hub, receiver, pushed):
        files = dict(hub.model(NAME).at("main").files)
        lost = next(path for path in files if "00002-of" in path)
        del files[lost]
        hub.storage.copy("model", "owner/gap", files)
        message = receiver.run(error_of_load, "owner/gap")
        assert f"owner/gap does not appear to have a file named {lost}" in message

    def test_weights_that_are_not_in_the_index_are_reported(self, hub, receiver, pushed):
        files = dict(hub.model(NAME).at("main").files)
        index = json.loads(files[INDEX].content)
        names = [name for name in index["weight_map"] if name.startswith("class_head.")]
        shard = index["weight_map"][names[0]]
        del files[shard]
        index["weight_map"] = {name: file for name, file in index["weight_map"].items() if file != shard}
        files[INDEX] = StoredFile(json.dumps(index).encode())
        hub.storage.copy("model", "owner/part", files)
        _, report = receiver.run(_report, "owner/part")
        assert names[0] in report["missing_keys"]


def _report(name):
    model, report = load(name, output_loading_info=True)
    return model.config.id2label, report


class TestRevisions:
    def test_branch_tag_commit_and_pull_request(self, receiver, computed):
        assert len({value["predicate_logits"].tobytes() for value in computed.values()}) == 4
        for revision, expected in computed.items():
            assert_same(receiver.run(compute, "owner/history", revision=revision), expected)
        assert_same(receiver.run(compute, "owner/history"), computed["main"])

    def test_without_speaq_hf(self, sender, stranger, computed):
        sender.run(push_processor, "owner/history")
        assert_same(stranger.run(without_package.compute_revision, "owner/history", "dev"), computed["dev"])

    def test_unknown(self, receiver, computed):
        message = receiver.run(error_of_load, "owner/history", revision="v9")
        assert "v9 is not a valid git identifier" in message and "owner/history" in message


class TestFormats:
    @pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
    def test_another_format(self, receiver, local, pushed, dtype):
        formats, computed = receiver.run(format_of, local, dtype=dtype)
        assert formats == [f"torch.{dtype}"]
        assert abs(computed["predicate_logits"] - pushed["predicate_logits"]).max() < (
            1e-4 if dtype == "float64" else 0.5
        )

    def test_saved_format_comes_back(self, receiver, local, tmp_path):
        """Without `dtype` a model has the format that it was saved in, bit for bit."""
        before, after = receiver.run(round_trip, local, "bfloat16", str(tmp_path))
        assert_same(after, before)


class TestPlaces:
    """On a machine without an accelerator "auto" is the CPU; what lies on disk is read when it is needed."""

    @pytest.mark.parametrize("device_map", ["cpu", "auto"])
    def test_cpu(self, receiver, local, pushed, device_map):
        places, in_memory, computed = receiver.run(place_of, local, device_map=device_map, low_cpu_mem_usage=True)
        assert set(places.values()) <= {"cpu"} and in_memory
        assert_same(computed, pushed)

    def test_disk(self, receiver, local, pushed, tmp_path):
        places = {"model": "disk", "class_head": "cpu", "predicate_head": "cpu", "box_head": "disk"}
        given, in_memory, computed = receiver.run(
            place_of, local, device_map=places, offload_folder=str(tmp_path), offload_buffers=True
        )
        assert given == places and not in_memory
        assert_same(computed, pushed)

    def test_small_memory(self, receiver, local, pushed, tmp_path):
        """With less memory than the weights need, what does not fit stays on disk, layers in one piece."""
        places, in_memory, computed = receiver.run(
            place_of, local, device_map="auto", max_memory={"cpu": "300KB"}, offload_folder=str(tmp_path)
        )
        assert set(places.values()) == {"cpu", "disk"} and not in_memory
        assert_same(computed, pushed)


class TestCaches:
    def test_once_cached_no_hub_is_needed(self, hub, receiver, pushed, tmp_path):
        options = {"cache_dir": str(tmp_path)}
        message = receiver.run(error_of_load, NAME, local_files_only=True, **options)
        assert message.startswith("OSError") and "couldn't find them in the cached files" in message
        assert_same(receiver.run(compute, NAME, **options), pushed)
        calls = len(hub.calls)
        assert_same(receiver.run(compute, NAME, local_files_only=True, **options), pushed)
        assert_same(receiver.run(compute_offline, NAME, **options), pushed)
        assert hub.calls[calls:] == [] and any(tmp_path.iterdir())

    def test_what_is_not_cached_is_missed(self, receiver):
        message = receiver.run(error_offline, "owner/never-seen")
        assert message.startswith("OSError") and "couldn't find them in the cached files" in message

    def test_token_of_the_call(self, hub, receiver, pushed):
        """A private model is loaded with the token that is passed, in place of the machine's."""
        hub.storage.copy("model", "owner/mine", hub.model(NAME).at("main").files).private = True
        assert_same(receiver.run(compute, "owner/mine", token=hub.token), pushed)
        hub.storage.copy("model", "owner/mine-too", hub.model(NAME).at("main").files).private = True
        message = receiver.run(error_of_load, "owner/mine-too", token="hf_wrong")
        assert "Invalid credentials" in message or "token" in message
        message = receiver.run(error_of_load, "owner/mine-too", token=False)
        assert "owner/mine-too is not a local folder and is not a valid model identifier" in message


class TestSubfolder:
    def test_model_and_processor(self, sender, receiver, pushed, tmp_path):
        sender.run(push_subfolder, "owner/folders", str(tmp_path))
        assert_same(receiver.run(compute_in_subfolder, "owner/folders"), pushed)
        message = receiver.run(error_of_load, "owner/folders")
        assert "Unrecognized model in owner/folders. Should have a `model_type` key in its config.json" in message


class TestNewVocabulary:
    def test_from_the_hub(self, receiver, pushed):
        expected = make()
        for options in ({}, {"local_files_only": True}):
            rows, names = receiver.run(relabel, NAME, **options)
            assert (
                rows[0] == expected.class_head.weight[5].tolist() and rows[2] == expected.class_head.weight[6].tolist()
            )
            assert names == {0: "tree", 1: "zebra"}


class TestAutoModelForSceneGraphGeneration:
    def test_from_config(self, local):
        config = AutoConfig.from_pretrained(local)
        model = AutoModelForSceneGraphGeneration.from_config(config, dtype=torch.bfloat16)
        assert type(model) is SpeaQForSceneGraphGeneration and model.dtype == torch.bfloat16

    def test_other_models(self):
        config = AutoConfig.for_model("resnet")
        with pytest.raises(
            ValueError, match="(?s)for this kind of AutoModel: AutoModelForSceneGraphGeneration.*SpeaQConfig"
        ):
            AutoModelForSceneGraphGeneration.from_config(config)
        with pytest.raises(OSError, match="designed to be instantiated"):
            AutoModelForSceneGraphGeneration()

    def test_unknown_repository(self, receiver):
        message = receiver.run(error_of_load, "owner/nothing")
        assert "owner/nothing is not a local folder and is not a valid model identifier" in message

    def test_unknown_folder(self, tmp_path):
        with pytest.raises(ValueError, match=f"{tmp_path.name}. Should have a `model_type` key in its config.json"):
            AutoModelForSceneGraphGeneration.from_pretrained(tmp_path)
