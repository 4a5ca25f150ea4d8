"""`python -m tunewright_trainer.hub_mirror DIR`: a static Hugging Face hub for machines without internet.

DIR/<org>/<name>/ are models, DIR/datasets/<org>/<name>/ data sets. Point clients to it with HF_ENDPOINT. Every revision name is the same content;
the commit reported is the revision asked for when that is 40 hex digits, else derived from the files.
"""

import argparse
import hashlib
import json
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
_API = re.compile(rf"/api/(?P<kind>models|datasets)/(?P<name>{_NAME})(/(?P<what>revision|tree)/(?P<revision>[^/]+)(/(?P<folder>.*))?)?")
_RESOLVE = re.compile(rf"/(?P<datasets>datasets/)?(?P<name>{_NAME})/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Repository:
    """A repository on disk: its name, its directory and its files, by their path below it."""

    name: str
    directory: Path
    files: tuple[str, ...]

    def commit(self, revision: str | None) -> str:
        """Return the 40 hex digits that stand for the content."""
        if revision is not None and _COMMIT.fullmatch(revision):
            return revision
        content = [(name, self.sha256(name)) for name in self.files]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:40]

    def sha256(self, name: str) -> str:
        """Return the sha256 of a file, in hex."""
        stat = (self.directory / name).stat()
        return _cached_sha256(self.directory / name, stat.st_size, stat.st_mtime_ns)

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        return (self.directory / name).stat().st_size


@dataclass(frozen=True)
class Reply:
    """What is sent: status, headers, and either a body or a part of a file (first byte, number of bytes)."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    file: tuple[Path, int, int] | None = None


def _sha256(path: Path) -> str:
    """Return the sha256 of a file in hex; here and not from `artifacts`, because this module runs alone, on a bare Python."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_repository(root: Path, kind: str, name: str) -> Repository | None:
    """Return the repository `name` of `kind` (models or datasets) below `root`; hidden files are left out."""
    directory = (root / "datasets" if kind == "datasets" else root) / name
    if not directory.is_dir():
        return None
    paths = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return Repository(name, directory, tuple(sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))))


def reply_to(root: Path, path: str, range_header: str | None = None) -> Reply:
    """Return the reply to a GET (or HEAD) of `path`. Only files found by listing a repository are ever opened."""
    path = unquote(urlsplit(path).path)
    if path == "/healthz":
        return Reply(200, {"Content-Type": "text/plain"}, b"ok\n")
    if found := _API.fullmatch(path):
        repository = find_repository(root, found["kind"], found["name"])
        if repository is None:
            return _missing("RepoNotFound", f"there is no repository {found['name']}")
        if found["what"] == "tree":
            return _json(_tree(repository, found["folder"] or ""))
        return _json(_info(repository, found["kind"], found["revision"]))
    if found := _RESOLVE.fullmatch(path):
        repository = find_repository(root, "datasets" if found["datasets"] else "models", found["name"])
        if repository is None:
            return _missing("RepoNotFound", f"there is no repository {found['name']}")
        if found["file"] not in repository.files:
            return _missing("EntryNotFound", f"{found['name']} has no file {found['file']}")
        return _file(repository, found["file"], found["revision"], range_header)
    return _missing(None, "this mirror serves /api/models, /api/datasets and /ORG/NAME/resolve only")


def _info(repository: Repository, kind: str, revision: str | None) -> dict[str, object]:
    siblings = [{"rfilename": name, "size": repository.size(name), "blobId": repository.sha256(name)[:40]} for name in repository.files]
    info: dict[str, object] = {"_id": hashlib.sha256(repository.name.encode()).hexdigest()[:24], "id": repository.name, "sha": repository.commit(revision)}
    info |= {"private": False, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings}
    return info | ({"modelId": repository.name} if kind == "models" else {})


def _tree(repository: Repository, folder: str) -> list[dict[str, object]]:
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    names = [name for name in repository.files if name.startswith(prefix)]
    return [{"type": "file", "path": name, "size": repository.size(name), "oid": repository.sha256(name)[:40]} for name in names]


def _file(repository: Repository, name: str, revision: str, range_header: str | None) -> Reply:
    size = repository.size(name)
    headers = {
        "Content-Type": "application/octet-stream", "ETag": f'"{repository.sha256(name)}"', "X-Repo-Commit": repository.commit(revision), "Accept-Ranges": "bytes",
    }  # fmt: skip
    span = _RANGE.fullmatch(range_header or "")
    if span is None:
        return Reply(200, headers | {"Content-Length": str(size)}, file=(repository.directory / name, 0, size))
    first, last = int(span[1]), min(int(span[2] or size), size - 1)
    if first > last:
        return Reply(416, headers | {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
    length = last - first + 1
    headers |= {"Content-Length": str(length), "Content-Range": f"bytes {first}-{last}/{size}"}
    return Reply(206, headers, file=(repository.directory / name, first, length))


def _json(value: object) -> Reply:
    body = json.dumps(value).encode()
    return Reply(200, {"Content-Type": "application/json"}, body)


def _missing(code: str | None, message: str) -> Reply:
    headers = {"Content-Type": "application/json", "X-Error-Message": message}
    return Reply(404, headers | ({"X-Error-Code": code} if code else {}), json.dumps({"error": message}).encode())


@lru_cache(maxsize=4096)
def _cached_sha256(path: Path, size: int, modified_ns: int) -> str:
    with _HASHING:  # several clients ask for the same big file at the same time
        return _sha256(path)


_HASHING = threading.Lock()


def make_server(root: Path, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server of the repositories below `root`; `serve_forever` starts it. Port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(with_body=True)

        def do_HEAD(self) -> None:
            self._send(with_body=False)

        def _send(self, with_body: bool) -> None:
            reply = reply_to(root, self.path, self.headers.get("Range"))
            self.send_response(reply.status)
            for name, value in ({"Content-Length": str(len(reply.body))} | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if not with_body:
                return
            self.wfile.write(reply.body)
            if reply.file is not None:
                self._send_file(*reply.file)

        def _send_file(self, path: Path, first: int, length: int) -> None:
            with path.open("rb") as file:
                file.seek(first)
                while length > 0 and (chunk := file.read(min(CHUNK, length))):
                    self.wfile.write(chunk)
                    length -= len(chunk)

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    return server


def main() -> None:
    """Serve the directory given on the command line until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m tunewright_trainer.hub_mirror", description="Serve model directories as a Hugging Face hub.")
    parser.add_argument("directory", type=Path, help="holds ORG/NAME/ for models and datasets/ORG/NAME/ for data sets")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    if not arguments.directory.is_dir():
        parser.error(f"{arguments.directory} is not a directory")
    server = make_server(arguments.directory.resolve(), arguments.host, arguments.port)
    print(f"serving {arguments.directory} on http://{arguments.host}:{server.server_port}; HF_ENDPOINT points clients to it", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
