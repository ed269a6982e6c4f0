"""The Hub of the tests answers `huggingface_hub` as the real one does."""

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem, constants, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import close_session, get_session


WEIGHTS = bytes(byte * byte % 251 for byte in range(7000))


@pytest.fixture(scope="module", autouse=True)
def without_xet_and_proxies():
    close_session()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield
    close_session()


@pytest.fixture
def api(hub):
    return HfApi(hub.endpoint, hub.token)


@pytest.fixture
def repository(api, request):
    """A model with a small and a large file, in a folder and not."""
    name = f"owner/{request.node.name.removeprefix('test_')}"
    api.create_repo(name)
    operations = [CommitOperationAdd("notes.txt", b"first"), CommitOperationAdd("folder/model.bin", WEIGHTS)]
    api.create_commit(name, operations, commit_message="Upload")
    return name


def download(api, name, path, folder, **options):
    file = hf_hub_download(name, path, endpoint=api.endpoint, token=api.token, cache_dir=folder, **options)
    with open(file, "rb") as opened:
        return opened.read()


def status_of(error):
    return error.value.response.status_code


def test_who_is_logged_in(hub, api):
    assert api.whoami()["name"] == "owner"
    with pytest.raises(HfHubHTTPError, match="Invalid user token") as error:
        HfApi(hub.endpoint, "hf_wrong").whoami()
    assert status_of(error) == 401


def test_repositories_are_made_once(api):
    for kind in ("model", "dataset"):
        url = api.create_repo("owner/made", repo_type=kind)
        assert (url.repo_id, url.repo_type) == ("owner/made", kind)
        with pytest.raises(HfHubHTTPError, match="You already created this") as error:
            api.create_repo("owner/made", repo_type=kind)
        assert status_of(error) == 409
        api.create_repo("owner/made", repo_type=kind, exist_ok=True)
    assert api.create_repo("without_owner").repo_id == "owner/without_owner"
    api.delete_repo("owner/made")
    assert not api.repo_exists("owner/made") and api.repo_exists("owner/made", repo_type="dataset")


def test_private_repositories_are_seen_by_their_owner_only(hub, api):
    api.create_repo("owner/secret", private=True)
    assert api.model_info("owner/secret").private
    stranger = HfApi(hub.endpoint, token=False)
    with pytest.raises(RepositoryNotFoundError):
        stranger.model_info("owner/secret")
    with pytest.raises(HfHubHTTPError) as error:
        stranger.create_repo("owner/other")
    assert status_of(error) == 401
    with pytest.raises(HfHubHTTPError, match="rights") as error:
        api.create_repo("somebody/else")
    assert status_of(error) == 403


def test_files_come_back(api, hub, repository, tmp_path):
    assert download(api, repository, "notes.txt", tmp_path) == b"first"
    assert download(api, repository, "folder/model.bin", tmp_path) == WEIGHTS
    calls = len(hub.calls)
    assert download(api, repository, "notes.txt", tmp_path) == b"first"
    assert [call.method for call in hub.calls[calls:]] == ["HEAD"]  # the same ETag: not sent again


def test_a_file_that_is_there_is_not_uploaded_or_committed_again(api, hub, repository):
    head = api.model_info(repository).sha
    uploads = len(hub.called("PUT", "/lfs/"))
    again = [CommitOperationAdd("notes.txt", b"first"), CommitOperationAdd("folder/model.bin", WEIGHTS)]
    assert api.create_commit(repository, again, commit_message="Again").oid == head
    api.create_commit(repository, [CommitOperationAdd("copy.bin", WEIGHTS)], commit_message="Copy")
    assert len(hub.called("PUT", "/lfs/")) == uploads


def test_listing(api, repository):
    entries = {entry.path: entry for entry in api.list_repo_tree(repository, recursive=True)}
    assert sorted(entries) == [".gitattributes", "folder", "folder/model.bin", "notes.txt"]
    assert entries["folder/model.bin"].lfs.size == 7000 and entries["notes.txt"].size == 5
    assert [entry.path for entry in api.list_repo_tree(repository)] == [".gitattributes", "folder", "notes.txt"]
    assert [entry.path for entry in api.list_repo_tree(repository, "folder")] == ["folder/model.bin"]
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree(repository, "nothing"))
    assert [entry.path for entry in api.get_paths_info(repository, ["folder", "nothing"])] == ["folder"]
    assert sorted(api.list_repo_files(repository)) == [".gitattributes", "folder/model.bin", "notes.txt"]


def test_deleting(api, repository):
    api.delete_file("notes.txt", repository)
    api.delete_folder("folder", repository)
    assert api.list_repo_files(repository) == [".gitattributes"]
    with pytest.raises(RemoteEntryNotFoundError):
        api.create_commit(repository, [CommitOperationDelete("notes.txt")], commit_message="Again")


def test_revisions(api, repository, tmp_path):
    first = api.model_info(repository).sha
    api.create_tag(repository, tag="v1")
    api.create_branch(repository, branch="side/way", revision="v1")
    api.upload_file(path_or_fileobj=b"second", path_in_repo="notes.txt", repo_id=repository)
    api.upload_file(path_or_fileobj=b"aside", path_in_repo="notes.txt", repo_id=repository, revision="side/way")
    contents = {"main": b"second", "v1": b"first", first: b"first", "side/way": b"aside"}
    for revision, content in contents.items():
        assert download(api, repository, "notes.txt", tmp_path, revision=revision) == content
    refs = api.list_repo_refs(repository)
    assert [ref.name for ref in refs.branches] == ["main", "side/way"]
    assert [(ref.name, ref.target_commit) for ref in refs.tags] == [("v1", first)]
    assert len(api.list_repo_commits(repository)) == 3
    with pytest.raises(HfHubHTTPError, match="already exists"):
        api.create_tag(repository, tag="v1")
    api.delete_tag(repository, tag="v1")
    api.delete_branch(repository, branch="side/way")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repository, revision="v1")


def test_pull_requests(api, repository, tmp_path):
    """A proposal is seen by who asks for it."""
    for number, text in enumerate((b"one", b"two"), start=1):
        add = [CommitOperationAdd("notes.txt", text)]
        done = api.create_commit(repository, add, commit_message="Propose", create_pr=True)
        assert (done.pr_num, done.pr_revision) == (number, f"refs/pr/{number}")
        assert download(api, repository, "notes.txt", tmp_path, revision=f"refs/pr/{number}") == text
    assert download(api, repository, "notes.txt", tmp_path) == b"first"
    assert [ref.name for ref in api.list_repo_refs(repository).branches] == ["main"]


def test_a_commit_on_an_old_state_is_refused(api, repository):
    parent = api.model_info(repository).sha
    add = [CommitOperationAdd("notes.txt", b"mine")]
    api.upload_file(path_or_fileobj=b"theirs", path_in_repo="notes.txt", repo_id=repository)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        api.create_commit(repository, add, commit_message="Late", parent_commit=parent)
    assert status_of(error) == 412


def test_what_is_not_there(api, repository, tmp_path):
    with pytest.raises(RepositoryNotFoundError):
        download(api, "owner/nothing", "notes.txt", tmp_path)
    with pytest.raises(RemoteEntryNotFoundError):
        download(api, repository, "nothing.txt", tmp_path)
    with pytest.raises(RevisionNotFoundError):
        download(api, repository, "notes.txt", tmp_path, revision="v0")
    assert not api.file_exists(repository, "nothing.txt") and api.file_exists(repository, "notes.txt")


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [("bytes=1-3", 206, b"irs"), ("bytes=2-", 206, b"rst"), ("bytes=-2", 206, b"st"), ("bytes=9-", 416, b"")],
)
def test_ranges(api, hub, wanted, status, content):
    api.create_repo("owner/ranges", exist_ok=True)
    api.upload_file(path_or_fileobj=b"first", path_in_repo="notes.txt", repo_id="owner/ranges")
    answer = get_session().get(f"{hub.endpoint}/owner/ranges/resolve/main/notes.txt", headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (status, content)


def test_file_system(api, hub, repository):
    """What `datasets` reads with."""
    files = HfFileSystem(endpoint=hub.endpoint, token=hub.token, skip_instance_cache=True)
    assert files.glob(f"{repository}/**/*.bin") == [f"{repository}/folder/model.bin"]
    with files.open(f"{repository}/folder/model.bin", block_size=100) as opened:
        opened.seek(6999)
        assert opened.read() == WEIGHTS[6999:]


class TestAccidents:
    def test_a_broken_download_goes_on_where_it_broke(self, api, hub, repository, tmp_path, monkeypatch):
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
        hub.faults.cut_answer("GET", "folder/model.bin", after_bytes=3000)
        assert download(api, repository, "folder/model.bin", tmp_path) == WEIGHTS
        assert [call.status for call in hub.called("GET", f"{repository}/resolve")] == [None, 206]

    def test_a_broken_upload_stores_nothing(self, api, hub, repository):
        hub.faults.cut_request("PUT", "/lfs/", after_bytes=10)
        api.upload_file(path_or_fileobj=b"other" * 1000, path_in_repo="other.bin", repo_id=repository)
        assert [call.status for call in hub.called("PUT", "/lfs/")][-2:] == [None, 200]
        assert hub.model(repository).at("main").file("other.bin").content == b"other" * 1000

    def test_a_failing_commit_changes_nothing(self, api, hub, repository):
        hub.faults.fail("POST", "/commit/", 503)
        head = api.model_info(repository).sha
        with pytest.raises(HfHubHTTPError, match="503"):
            api.upload_file(path_or_fileobj=b"new", path_in_repo="new.txt", repo_id=repository)
        assert api.model_info(repository).sha == head

    def test_the_third_request_fails_whose_answer_is_lost(self, api, hub, repository):
        hub.faults.cut_answer("POST", "/commit/", skip=2)
        for text in (b"1", b"2"):
            api.upload_file(path_or_fileobj=text, path_in_repo="new.txt", repo_id=repository)
        with pytest.raises(httpx2.HTTPError):
            api.upload_file(path_or_fileobj=b"3", path_in_repo="new.txt", repo_id=repository)
        assert hub.model(repository).at("main").file("new.txt").content == b"3"  # it was done, though
