"""A real etcd and kube-apiserver on free ports, with an audit log, and the operator as a process: what the API tests run against."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from support.helm import NAMESPACE, of_kind, rendered, service_account_name

T = TypeVar("T")
Body = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parents[2]
ADMIN: Final = "test-admin"
OPERATOR: Final = service_account_name("tunewright")
"""The operator's service account as the chart names it: it may do what the chart's roles grant, and nothing else."""
NAMESPACED: Final = service_account_name("namespaced")
"""The service account of a second release, for namespaced installations."""
WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
TOKENS: Final = {ADMIN: "admin-token", OPERATOR: "operator-token", NAMESPACED: "namespaced-token"}
NEXT: Final = "-next"
"""What a token that has been rotated ends with."""
_ROLE_KINDS: Final = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
_GROUPS: Final = {ADMIN: "system:masters"}
SETTINGS: Final = {"trainer_image": "registry.invalid/trainer:1", "server_image": "registry.invalid/server:1", "server_device": "CPU"}
"""What the operator is told: nothing runs here, so no image is ever pulled."""
_AUDITED: Final[tuple[Body, ...]] = ({"level": "Metadata", "users": [OPERATOR, NAMESPACED]},)
"""The rules of the audit policy: every request of the operator."""


def wait_for(what: str, check: Callable[[], T], timeout: float = 30.0, every: float = 0.1) -> T:
    """Return the first true answer of `check`; AssertionError names `what` when none comes in time."""
    deadline = time.monotonic() + timeout
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what}")
        time.sleep(every)


def binaries() -> dict[str, Path]:
    """Return etcd, kube-apiserver and kubectl of the pinned versions, built once by hack/cluster/build."""
    cache = os.environ.get("TUNEWRIGHT_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"), "tunewright")  # noqa: PTH118
    pins = dict(line.split("=", 1) for line in (ROOT / "hack/versions.env").read_text().splitlines() if "=" in line and not line.startswith("#"))
    control = Path(cache) / "bin" / f"kubernetes-control-{pins['KUBERNETES_VERSION']}"
    found = {"etcd": Path(cache) / "bin" / f"etcd-{pins['ETCD_VERSION']}" / "etcd", **{name: control / name for name in ("kube-apiserver", "kubectl")}}
    if not all(path.exists() for path in found.values()):
        subprocess.run([ROOT / "hack/cluster/build", "apiserver"], check=True)
    return found


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Conflict(Exception):
    """What the API server refused, with its HTTP code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class ApiServer:
    """etcd and kube-apiserver below `folder`; nothing schedules, runs or collects anything. What no rule of `audited` names is not logged."""

    def __init__(self, folder: Path, audited: tuple[Body, ...] = _AUDITED) -> None:
        self.folder = folder
        self.bin = binaries()
        self.port = free_port()
        self.audit_log = folder / "audit.log"
        self._audit_rules = audited
        self._processes: list[subprocess.Popen[bytes]] = []
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    @classmethod
    @contextmanager
    def running(cls, folder: Path, audited: tuple[Body, ...] = _AUDITED) -> Iterator["ApiServer"]:
        """Run one with our chart installed for the block."""
        made = cls(folder, audited)
        try:
            made.start()
            made.install_chart()
            yield made
        finally:
            made.stop()

    def start(self) -> None:
        """Start both and wait until the server is ready; raises with the end of its log when it is not."""
        client, peer = free_port(), free_port()
        self._run(
            "etcd", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}", f"--initial-cluster=default=http://127.0.0.1:{peer}", "--log-level=error",
        )  # fmt: skip
        key = self.folder / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        tokens = self.folder / "tokens.csv"
        lines = (f'{token}{more},{user},{user},"{_GROUPS.get(user, "system:serviceaccounts")}"\n' for user, token in TOKENS.items() for more in ("", NEXT))
        tokens.write_text("".join(lines))
        policy = self.folder / "audit-policy.json"
        rules = [*self._audit_rules, {"level": "None"}]
        policy.write_text(
            json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "omitManagedFields": True, "rules": rules})
        )
        server = self._run(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", "--bind-address=127.0.0.1", f"--secure-port={self.port}",
            f"--cert-dir={self.folder / 'certificates'}", f"--token-auth-file={tokens}", "--authorization-mode=RBAC",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}", "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16", "--disable-admission-plugins=ServiceAccount", f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log}", "--audit-log-mode=blocking-strict", "--allow-privileged=false",
        )  # fmt: skip

        def ready() -> bool:
            if server.poll() is not None:
                raise AssertionError("kube-apiserver ended:\n" + (self.folder / "kube-apiserver.log").read_text()[-3000:])
            try:
                self.request("GET", "/readyz")
            except (OSError, Conflict):
                return False
            return True

        wait_for("kube-apiserver is ready", ready, timeout=90)

    def install_chart(self) -> None:
        """Install our CRDs and the roles that the chart gives the operator; the operator itself is a process beside the server."""
        applied = self.kubectl("apply", "--server-side", "-f", ROOT / "crds")
        assert applied.returncode == 0, applied.stderr
        wait_for("the CRDs are served", lambda: self.kubectl("wait", "--for=condition=Established", "crd", "--all").returncode == 0, every=0.5)
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *of_kind(rendered(), *_ROLE_KINDS))

    def stop(self) -> None:
        """Stop what was started, the server before its store."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def kubeconfig(self, user: str, url: str | None = None, rotated: bool = False) -> Path:
        """Return the path of a kubeconfig for `user`, of the server itself or of what stands before it at `url`."""
        path = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        content = {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": url or self.url, "insecure-skip-tls-verify": True}}],
            "users": [{"name": user, "user": {"token": TOKENS[user] + (NEXT if rotated else "")}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }  # fmt: skip
        path.write_text(json.dumps(content))
        return path

    def kubectl(self, *arguments: str | Path, stdin: Any = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the admin; `stdin` may be text or objects."""
        text = stdin if stdin is None or isinstance(stdin, str) else json.dumps({"apiVersion": "v1", "kind": "List", "items": stdin})
        command = [self.bin["kubectl"], "--kubeconfig", self.kubeconfig(ADMIN), *arguments]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)

    def apply(self, *objects: Body) -> None:
        """Apply objects with kubectl, which must accept them."""
        done = self.kubectl("apply", "-f", "-", stdin=list(objects))
        assert done.returncode == 0, done.stderr

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Send a request as the admin; raises Conflict for a refusal."""
        headers = {"Authorization": f"Bearer {TOKENS[ADMIN]}", "Content-Type": content_type}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20, context=self._tls) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Conflict(error.code, error.read().decode()) from error
        return json.loads(text) if text.startswith(b"{") else text

    def get(self, path: str) -> Body | None:
        """Return an object, or None when there is none."""
        try:
            return dict(self.request("GET", path))
        except Conflict as error:
            if error.code == 404:
                return None
            raise

    def merge(self, path: str, patch: Body) -> None:
        """Merge-patch an object or its status."""
        self.request("PATCH", path, patch, "application/merge-patch+json")

    def audited(self, user: str = OPERATOR) -> Iterator[Body]:
        """Yield every request of the operator so far."""
        if self.audit_log.exists():
            for line in self.audit_log.read_text().splitlines():
                each = json.loads(line)
                if each["user"]["username"] == user:
                    yield each

    def written(self) -> list[Body]:
        """Return the operator's requests so far that are not reads."""
        return [each for each in self.audited() if each["verb"] in WRITES]

    def _run(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen([self.bin[name], *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)
        self._processes.append(process)
        return process


@dataclass
class Operator:
    """The operator as a process, killed and started again as often as a test wants."""

    server: ApiServer
    settings: Body
    process: subprocess.Popen[bytes] | None = None
    probe_port: int = 0
    user: str = OPERATOR
    namespaces: tuple[str, ...] = ()
    url: str | None = None
    """Where it finds the API server, when that is not the server itself."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.server.folder / "operator.log"

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it reconciles."""
        assert self.process is None
        self.probe_port = free_port()
        environment = {
            **os.environ, "KUBECONFIG": str(self.server.kubeconfig(self.user, self.url)), "TUNEWRIGHT_SETTINGS": json.dumps(self.settings),
            "TUNEWRIGHT_NAMESPACES": ",".join(self.namespaces), "TUNEWRIGHT_PROBE_PORT": str(self.probe_port), "PYTHONPATH": str(ROOT / "operator"), "TUNEWRIGHT_LOG_LEVEL": "INFO",
            **self.environment,
        }  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "tunewright.handlers"], env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if wait:
            wait_for("the operator is ready", self.is_ready, timeout=60)

    def is_ready(self) -> bool:
        """Return whether it reconciles; raises with its log when it has ended."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError("the operator ended:\n" + self.log.read_text()[-3000:])
        return self.probe("readyz") is not None

    def probe(self, path: str) -> str | None:
        """Return what its own port answers, or None where that is no success."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.probe_port}/{path}", timeout=3) as answer:
                return str(answer.read().decode())
        except OSError:
            return None

    def kill(self) -> None:
        """Kill it as a node that loses power would: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to stop."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
