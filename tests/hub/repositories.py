"""What a Hub stores: users, repositories with their commits, branches and tags, and large files by their hash."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property


LARGE_SUFFIXES = (".safetensors", ".bin", ".pt", ".parquet", ".arrow", ".h5")
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_SUFFIXES)


class HubError(Exception):
    """An answer that is an error.

    Args:
        status: HTTP status.
        message: Shown to the user.
        code: Of the header `X-Error-Code`, for example "EntryNotFound"; None: the header is left out.
        commit: Where an entry was looked for.
    """

    def __init__(self, status: int, message: str, code: str | None = None, commit: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.commit = status, code, commit


@dataclass(frozen=True)
class StoredFile:
    """A file of a commit; large ones are stored as git-lfs does, which shows in their hashes."""

    content: bytes
    large: bool = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def blob_id(self) -> str:
        """Git's hash of the file, or of the pointer in its place."""
        content = self.pointer if self.large else self.content
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return text.encode()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.blob_id


@dataclass(frozen=True)
class Commit:
    """All files of a repository at one time."""

    oid: str
    title: str
    files: Mapping[str, StoredFile]
    parent: str | None = None

    def file(self, path: str) -> StoredFile:
        if path not in self.files:
            raise HubError(404, "Entry not found", "EntryNotFound", self.oid)
        return self.files[path]

    def entries(self, folder: str, recursive: bool) -> dict[str, StoredFile | None]:
        """Files, and folders as None, below a folder by their paths."""
        prefix = f"{folder}/" if folder else ""
        below = [path for path in self.files if path.startswith(prefix)]
        if prefix and not below:
            raise HubError(404, f"{folder} does not exist on this revision", "EntryNotFound", self.oid)
        found: dict[str, StoredFile | None] = {}
        for path in sorted(below):
            parts = path.removeprefix(prefix).split("/")
            depth = len(parts) if recursive else 1
            found |= {prefix + "/".join(parts[:end]): None for end in range(1, depth + 1) if end < len(parts)}
            if depth == len(parts):
                found[path] = self.files[path]
        return found


@dataclass
class Repository:
    """A model or a data set with its history.

    Args:
        kind: "model" or "dataset".
        name: "owner/name".
        private: Only its owner sees it.
    """

    kind: str
    name: str
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit("main", "initial commit", {".gitattributes": StoredFile(GIT_ATTRIBUTES.encode())})

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag or a hash."""
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def commit(self, branch: str, title: str, files: Mapping[str, StoredFile]) -> Commit:
        """Adds a commit that has exactly these files to a branch."""
        parent = self.branches.get(branch)
        state = [self.kind, self.name, str(parent), title, *(f"{path}:{file.blob_id}" for path, file in files.items())]
        oid = hashlib.sha1("\n".join(state).encode()).hexdigest()
        self.commits[oid] = Commit(oid, title, dict(files), parent)
        self.branches[branch] = oid
        return self.commits[oid]

    def propose(self, branch: str) -> str:
        """A pull request that starts as a branch is; the name of its own branch."""
        number = 1 + sum(name.startswith("refs/pr/") for name in self.branches)
        self.branches[f"refs/pr/{number}"] = self.branches[branch]
        return f"refs/pr/{number}"

    def history(self, revision: str) -> Iterable[Commit]:
        """Commits up to a revision, the newest first."""
        commit = self.at(revision)
        while True:
            yield commit
            if commit.parent is None:
                return
            commit = self.commits[commit.parent]


@dataclass
class Storage:
    """Everything that a Hub knows.

    Args:
        users: Names by their tokens.
    """

    users: dict[str, str]
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)

    def copy(self, kind: str, name: str, files: Mapping[str, StoredFile]) -> Repository:
        """A new repository with files of another one."""
        self.repositories[kind, name] = Repository(kind, name)
        self.repositories[kind, name].commit("main", "Copy", files)
        return self.repositories[kind, name]

    def user(self, token: str | None) -> str | None:
        """Who asks, None without a token."""
        if token is None:
            return None
        if token not in self.users:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.users[token]

    def readable(self, kind: str, name: str, user: str | None) -> Repository:
        """A repository that the user may read; for all others it looks as if it were not there."""
        repository = self.repositories.get((kind, name))
        if repository is None or (repository.private and user != name.split("/")[0]):
            # Who is not logged in is told to do so, since the repository may be private.
            raise HubError(
                *((404, "Repository not found") if user else (401, "Invalid username or password.")), "RepoNotFound"
            )
        return repository

    def writable(self, kind: str, name: str, user: str | None) -> Repository:
        repository = self.readable(kind, name, user)
        self.check_owner(name, user)
        return repository

    def check_owner(self, name: str, user: str | None) -> None:
        if user is None:
            raise HubError(401, "Invalid username or password.")
        if user != name.split("/")[0]:
            raise HubError(403, f"You don't have the rights to write to {name}")
