"""The answers of a Hub to what `huggingface_hub` asks of it, without the network."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from .repositories import LARGE_SUFFIXES, Commit, HubError, Repository, Storage, StoredFile


_DATE = "2026-01-01T00:00:00.000Z"
_LARGE_SIZE = 10_000_000


@dataclass(frozen=True)
class Request:
    """A request as it arrived; the path is not unquoted."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    endpoint: str

    @property
    def token(self) -> str | None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if scheme == "Bearer" else None

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass(frozen=True)
class Response:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, content: Any, status: int = 200, **headers: str) -> "Response":
        return cls(status, json.dumps(content).encode(), {"Content-Type": "application/json"} | headers)

    @classmethod
    def of_error(cls, error: HubError) -> "Response":
        headers = {"X-Error-Message": str(error), "X-Error-Code": error.code, "X-Repo-Commit": error.commit}
        known = {name: value for name, value in headers.items() if value is not None}
        return cls.of_json({"error": str(error)}, error.status, **known)


Answer = Callable[..., Response]
_ROUTES: list[tuple[str, re.Pattern[str], Answer]] = []
_NAME = r"(?P<name>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>model|dataset)s/{_NAME}"
_GIT = rf"/(?P<prefix>datasets/)?{_NAME}"


def _route(methods: str, pattern: str) -> Callable[[Answer], Answer]:
    def register(answer: Answer) -> Answer:
        _ROUTES.extend((method, re.compile(pattern), answer) for method in methods.split())
        return answer

    return register


def answer(storage: Storage, request: Request) -> Response:
    """The Hub's answer; what it has no route for is 404."""
    for method, pattern, function in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match and method == request.method:
            words = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
            if words.pop("prefix", None):
                words["kind"] = "dataset"
            try:
                return function(storage, request, storage.user(request.token), **words)
            except HubError as error:
                return Response.of_error(error)
    return Response.of_error(HubError(404, f"no such route: {request.method} {request.path}"))


@_route("GET", "/api/whoami-v2")
def _who_am_i(storage: Storage, request: Request, user: str | None) -> Response:
    if user is None:
        raise HubError(401, "Invalid username or password.")
    token = {"displayName": "tests", "role": "write"}
    return Response.of_json({"type": "user", "name": user, "orgs": [], "auth": {"accessToken": token}})


@_route("POST", "/api/validate-yaml")
def _validate_card(storage: Storage, request: Request, user: str | None) -> Response:
    return Response.of_json({"errors": [], "warnings": []})


@_route("POST", "/api/repos/create")
def _create(storage: Storage, request: Request, user: str | None) -> Response:
    wish = request.json()
    kind, name = wish.get("type") or "model", f"{wish.get('organization') or user}/{wish['name']}"
    storage.check_owner(name, user)
    content = {"url": f"{request.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}", "name": name}
    if (kind, name) in storage.repositories:
        return Response.of_json(content | {"error": f"You already created this {kind} repo"}, 409)
    private = wish.get("private", wish.get("visibility") == "private")
    storage.repositories[kind, name] = Repository(kind, name, private)
    return Response.of_json(content)


@_route("DELETE", "/api/repos/delete")
def _delete(storage: Storage, request: Request, user: str | None) -> Response:
    wish = request.json()
    kind, name = wish.get("type") or "model", f"{wish.get('organization') or user}/{wish['name']}"
    storage.writable(kind, name, user)
    del storage.repositories[kind, name]
    return Response()


@_route("GET", f"{_API}(/revision/(?P<revision>[^/]+))?")
def _describe(
    storage: Storage, request: Request, user: str | None, kind: str, name: str, revision: str = "main"
) -> Response:
    repository = storage.readable(kind, name, user)
    commit = repository.at(revision)
    content = {"id": name, "author": name.split("/")[0], "sha": commit.oid, "private": repository.private}
    content |= {"gated": False, "disabled": False, "tags": [], "lastModified": _DATE, "createdAt": _DATE}
    content["siblings"] = [{"rfilename": path} for path in sorted(commit.files)]
    return Response.of_json(content | ({"modelId": name} if kind == "model" else {}))


@_route("GET", rf"{_API}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?")
def _tree(
    storage: Storage, request: Request, user: str | None, kind: str, name: str, revision: str, folder: str = ""
) -> Response:
    commit = storage.readable(kind, name, user).at(revision)
    entries = commit.entries(folder, request.query.get("recursive", "").lower() in ("true", "1"))
    return Response.of_json([_entry(path, file) for path, file in entries.items()])


@_route("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)")
def _paths_info(storage: Storage, request: Request, user: str | None, kind: str, name: str, revision: str) -> Response:
    commit = storage.readable(kind, name, user).at(revision)
    entries = commit.entries("", recursive=True)
    paths = parse_qs(request.body.decode()).get("paths", [])
    return Response.of_json([_entry(path, entries[path]) for path in paths if path in entries])


def _entry(path: str, file: StoredFile | None) -> dict[str, Any]:
    if file is None:
        return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}
    entry = {"type": "file", "path": path, "oid": file.blob_id, "size": len(file.content)}
    if file.large:
        entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
    return entry


@_route("GET", f"{_API}/refs")
def _refs(storage: Storage, request: Request, user: str | None, kind: str, name: str) -> Response:
    repository = storage.readable(kind, name, user)

    def listed(refs: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [{"name": ref, "ref": f"refs/{folder}/{ref}", "targetCommit": oid} for ref, oid in refs.items()]

    visible = {ref: oid for ref, oid in repository.branches.items() if not ref.startswith("refs/pr/")}
    branches, tags = listed(visible, "heads"), listed(repository.tags, "tags")
    return Response.of_json({"branches": branches, "tags": tags, "converts": []})


@_route("GET", rf"{_API}/commits/(?P<revision>[^/]+)")
def _commits(storage: Storage, request: Request, user: str | None, kind: str, name: str, revision: str) -> Response:
    history = storage.readable(kind, name, user).history(revision)
    author = [{"user": name.split("/")[0]}]
    return Response.of_json(
        [{"id": c.oid, "title": c.title, "message": "", "date": _DATE, "authors": author} for c in history]
    )


@_route("POST DELETE", rf"{_API}/branch/(?P<branch>[^/]+)")
def _branch(storage: Storage, request: Request, user: str | None, kind: str, name: str, branch: str) -> Response:
    repository = storage.writable(kind, name, user)
    return _change_ref(repository, repository.branches, request, branch, request.json().get("startingPoint", "main"))


@_route("POST DELETE", rf"{_API}/tag/(?P<place>[^/]+)")
def _tag(storage: Storage, request: Request, user: str | None, kind: str, name: str, place: str) -> Response:
    repository = storage.writable(kind, name, user)
    return _change_ref(repository, repository.tags, request, request.json().get("tag", place), place)


def _change_ref(repository: Repository, refs: dict[str, str], request: Request, ref: str, start: str) -> Response:
    """Makes or deletes a branch or a tag."""
    if request.method == "DELETE":
        if ref not in refs:
            raise HubError(404, f"Reference {ref} not found", "RevisionNotFound")
        del refs[ref]
    elif ref in refs:
        raise HubError(409, f"Reference {ref} already exists")
    else:
        refs[ref] = repository.at(start).oid
    return Response.of_json({})


@_route("POST", rf"{_API}/preupload/(?P<revision>[^/]+)")
def _preupload(storage: Storage, request: Request, user: str | None, kind: str, name: str, revision: str) -> Response:
    files = storage.writable(kind, name, user).at(revision).files
    answers = []
    for wish in request.json()["files"]:
        large = wish["path"].endswith(LARGE_SUFFIXES) or wish["size"] > _LARGE_SIZE
        there = files[wish["path"]].etag if wish["path"] in files else None
        mode = "lfs" if large else "regular"
        answers.append({"path": wish["path"], "uploadMode": mode, "shouldIgnore": False, "oid": there})
    return Response.of_json({"files": answers})


@_route("POST", rf"{_GIT}\.git/info/lfs/objects/batch")
def _large_files(storage: Storage, request: Request, user: str | None, name: str, kind: str = "model") -> Response:
    storage.writable(kind, name, user)
    answers = []
    for wish in request.json()["objects"]:
        href = f"{request.endpoint}/lfs/{wish['oid']}"
        actions = {"actions": {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}}
        answers.append(wish | ({} if wish["oid"] in storage.large_files else actions))
    return Response.of_json({"transfer": "basic", "objects": answers})


@_route("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})")
def _upload(storage: Storage, request: Request, user: str | None, oid: str) -> Response:
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise HubError(400, "The content does not have the announced SHA-256")
    storage.large_files[oid] = request.body
    return Response()


@_route("POST", r"/lfs/(?P<oid>[0-9a-f]{64})/verify")
def _verify(storage: Storage, request: Request, user: str | None, oid: str) -> Response:
    if len(storage.large_files.get(oid, b"")) != request.json()["size"]:
        raise HubError(404, "The object is not there")
    return Response.of_json({})


@_route("POST", rf"{_API}/commit/(?P<revision>[^/]+)")
def _commit(storage: Storage, request: Request, user: str | None, kind: str, name: str, revision: str) -> Response:
    repository = storage.writable(kind, name, user)
    if revision not in repository.branches:
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    header, *operations = [json.loads(line) for line in request.body.splitlines()]
    head = repository.at(revision)
    if header["value"].get("parentCommit", head.oid) != head.oid:
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    files = dict(head.files)
    for operation in operations:
        _apply(storage, head, files, operation["key"], operation["value"])
    proposal = repository.propose(revision) if request.query.get("create_pr") == "1" else None
    commit = repository.commit(proposal or revision, header["value"]["summary"], files)
    url = f"{request.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
    content = {"success": True, "commitOid": commit.oid, "commitUrl": f"{url}/commit/{commit.oid}"}
    if proposal is not None:
        content["pullRequestUrl"] = f"{url}/discussions/{proposal.split('/')[-1]}"
    return Response.of_json(content)


def _apply(storage: Storage, head: Commit, files: dict[str, StoredFile], key: str, value: dict[str, Any]) -> None:
    """Does one operation of a commit to the files."""
    path = value["path"]
    if key == "file":
        files[path] = StoredFile(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        if value["oid"] not in storage.large_files:
            raise HubError(400, f"{path}: its content was not uploaded")
        files[path] = StoredFile(storage.large_files[value["oid"]], large=True)
    elif key == "deletedFile":
        head.file(path)
        files.pop(path, None)
    elif key == "deletedFolder":
        for entry in head.entries(path.rstrip("/"), recursive=True):
            files.pop(entry, None)
    else:
        raise HubError(400, f"unknown operation {key}")


@_route("GET HEAD", rf"{_GIT}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def _resolve(
    storage: Storage, request: Request, user: str | None, name: str, revision: str, path: str, kind: str = "model"
) -> Response:
    commit = storage.readable(kind, name, user).at(revision)
    file = commit.file(path)
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
    if file.large:
        headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(len(file.content))}
    return _part(Response(200, file.content, headers), request.headers.get("Range"))


def _part(whole: Response, wanted: str | None) -> Response:
    """The range of bytes that a header `Range` asks for."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if match is None or match.groups() == ("", ""):
        return whole
    size = len(whole.body)
    first, last = match.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        return Response(416, b"", whole.headers | {"Content-Range": f"bytes */{size}"})
    return Response(206, whole.body[start:end], whole.headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"})
