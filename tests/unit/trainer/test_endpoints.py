"""Where downloads may connect to: not to the Pod itself, not to a cloud's metadata; checked by the address, whatever the name."""

import http.server
import ipaddress
import socket
import threading
import urllib.error
import urllib.request

import pytest

from tunewright.contract.secrets import SECRET_VARIABLES
from tunewright_trainer.endpoints import ALLOWED_ENV, ENDPOINT_VARIABLES, allowed_networks, endpoint_problem, guarded_connections, refused_address
from tunewright_trainer.errors import RunError, classify

METADATA = (
    "169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fe80::a9fe:a9fe",
)  # fmt: skip
ITSELF = ("127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "0.1.2.3", "::")
DISGUISED = ("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fe80::1%eth0", "2002:a9fe:a9fe::1")
FINE = (
    "10.0.0.7",
    "172.16.3.4",
    "192.168.1.1",
    "100.64.0.1",
    "8.8.8.8",
    "fd12:3456::1",
    "2600:9000::1",
    "::ffff:10.0.0.7",
    "64:ff9b::a00:7",
    "170.254.0.1",
    "126.0.0.1",
)


@pytest.mark.parametrize("address", [*METADATA, *ITSELF, *DISGUISED, "224.0.0.1", "255.255.255.255", "ff02::1"])
def test_refused(address):
    assert refused_address(address) is not None


@pytest.mark.parametrize("address", FINE)
def test_private_and_public_networks_are_fine(address):
    """A mirror or an object store is mostly a service of the cluster."""
    assert refused_address(address) is None


def test_only_what_the_chart_allows_is_let_through():
    allowed = allowed_networks({ALLOWED_ENV: "127.0.0.1/32, 169.254.169.254/32"})
    assert refused_address("127.0.0.1", allowed) is refused_address("169.254.169.254", allowed) is None
    assert refused_address("127.0.0.2", allowed) is not None
    assert allowed_networks({}) == ()
    assert ALLOWED_ENV not in SECRET_VARIABLES, "no Secret may set it"
    assert set(ENDPOINT_VARIABLES) <= SECRET_VARIABLES


@pytest.mark.parametrize(
    ("url", "addresses", "words"),
    [
        ("http://169.254.169.254/latest", ("169.254.169.254",), "169.254.169.254 is a link-local address"), ("https://hub.evil.example", ("10.0.0.1", "127.0.0.1"), "hub.evil.example is"),
        ("file:///etc/passwd", (), "it is not `http"), ("gopher://x", ("10.0.0.1",), "it is not `http"), ("http://", (), "it is not `http"),
        ("http://[::1", (), "it is not a URL"), ("http://x:99999", (), "it is not a URL"), ("hub.example", (), "it is not `http"),
        ("http://minio.storage.svc:9000", ("10.96.0.12",), None), ("https://huggingface.co", ("2600:9000::1", "18.1.2.3"), None),
    ],
)  # fmt: skip
def test_endpoints(url, addresses, words):
    problem = endpoint_problem(url, addresses)
    assert problem is None if words is None else problem.startswith(words)


@pytest.mark.parametrize("variable", ENDPOINT_VARIABLES)
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://2130706433", "http://0x7f.1", "http://localhost", "http://[::1]", "http://[::ffff:169.254.169.254]"]
)
def test_the_variable_is_named_however_the_address_is_written(variable, url):
    with pytest.raises(RunError, match=f"{variable} cannot be used") as caught, guarded_connections({variable: url}):
        raise AssertionError("got inside")
    assert classify(caught.value).exit_code == 78, "the same endpoint again would be refused again"


def test_an_endpoint_that_does_not_resolve_is_not_judged():
    """That may pass by itself: the client says so, and the Job tries again."""
    with guarded_connections({"HF_ENDPOINT": "http://nobody.invalid"}):
        pass


@pytest.fixture
def loopback():
    """A server on 127.0.0.2 that counts, and one on 127.0.0.1 that redirects to it."""
    asked = []

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    class Redirect(Metadata):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.2:{inner.server_port}/latest/meta-data")
            self.end_headers()

    inner = http.server.ThreadingHTTPServer(("127.0.0.2", 0), Metadata)
    outer = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirect)
    for server in (inner, outer):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield outer.server_port, inner.server_port, asked
    for server in (inner, outer):
        server.shutdown()
        server.server_close()


def open_without_proxy(url):
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5)


def test_a_redirect_is_followed_no_further_than_an_endpoint(loopback):
    outer, _, asked = loopback
    url = f"http://127.0.0.1:{outer}/"
    open_without_proxy(url)
    assert asked == ["/latest/meta-data"], "without the guard it is followed"
    with pytest.raises(RunError, match=r"`127\.0\.0\.2` is an address of the Pod itself"), guarded_connections({ALLOWED_ENV: "127.0.0.1/32"}):
        open_without_proxy(url)
    assert len(asked) == 1


def test_the_reason_survives_the_error_of_a_client(loopback):
    _, inner, asked = loopback
    with pytest.raises(RunError, match="downloads never connect to") as caught, guarded_connections({}):
        try:
            open_without_proxy(f"http://127.0.0.2:{inner}/")
        except RunError as error:
            raise ConnectionError("no luck") from error
    assert (caught.value.reason, asked) == ("BadConfiguration", [])
    with pytest.raises(ConnectionError), guarded_connections({}):
        raise ConnectionError("another one")


def test_resolution_is_as_before_afterwards():
    before = socket.getaddrinfo
    with pytest.raises(KeyError), guarded_connections({}):
        assert socket.getaddrinfo is not before
        raise KeyError
    assert socket.getaddrinfo is before
    assert ipaddress.ip_address(socket.getaddrinfo("127.0.0.1", 80)[0][4][0]).is_loopback


def test_the_object_store_client_is_guarded(loopback, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    from tunewright.contract.uris import parse_uri
    from tunewright_trainer import s3

    _, inner, asked = loopback
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.2:{inner}", aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
    monkeypatch.setattr(s3, "_client", lambda: client)
    with pytest.raises(RunError, match=r"`127\.0\.0\.2` is an address of the Pod itself") as caught:
        s3.download_s3_model("s3://bucket/m", parse_uri("s3://bucket/m"), None, True, lambda *_: None)
    assert (caught.value.reason, asked) == ("BadConfiguration", [])


def test_the_hub_client_is_guarded(loopback, monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    from tunewright.contract.uris import parse_uri
    from tunewright_trainer import hub

    _, inner, asked = loopback
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.2:{inner}")
    with pytest.raises(RunError, match=r"`127\.0\.0\.2` is an address of the Pod itself") as caught:
        hub.download_hub_model("hf://a/b", parse_uri("hf://a/b"), tmp_path, True, lambda *_: None)
    assert (caught.value.reason, asked) == ("BadConfiguration", [])
