"""Requests to the API server in plain JSON, over the official client's async transport (its TLS, tokens and rotation)."""

import json
from typing import Any, Final

import aiohttp
from kubernetes.aio import client, config

from tunewright.api import GROUP, VERSION
from tunewright.api.crd import DEFINITIONS
from tunewright.build.names import MANAGER
from tunewright.cluster.metrics import REQUESTS

_TIMEOUT_SECONDS: Final = 30.0

_LIST_CHUNK: Final = 500
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

_TEST_FAILED: Final = "the server rejected our request due to an error in our request"
"""All the API server says of a JSON patch whose `test` does not hold; what a schema or a policy refuses is named."""

_COLLECTIONS: Final[dict[str, str]] = {
    "v1/Pod": "/api/v1/namespaces/{namespace}/pods",
    "v1/PersistentVolumeClaim": "/api/v1/namespaces/{namespace}/persistentvolumeclaims",
    "v1/Service": "/api/v1/namespaces/{namespace}/services",
    "v1/ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "v1/Event": "/api/v1/namespaces/{namespace}/events",
    "batch/v1/Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "apps/v1/Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    **{f"{GROUP}/{VERSION}/{each.kind}": f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{each.plural}" for each in DEFINITIONS},
}


class ApiError(Exception):
    """The API server's refusal: `status` is the HTTP code (0: no answer came), `reason` the Status object's word, such as AlreadyExists.

    `retry_after` is how long the server asks to be left alone, in seconds.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Transport:
    """One connection pool to the API server. Every call raises ApiError, with status 0 when no answer came."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> "Transport":
        """Connect with the Pod's service account, or with KUBECONFIG outside a cluster."""
        settings = client.Configuration()
        await _load(settings)
        # With it, aiohttp goes through two threads for every request, to look for proxies and in ~/.netrc; Kopf beside us looks at neither.
        settings.client_session_kwargs = {"trust_env": False}
        api = client.ApiClient(settings)
        api.user_agent = f"{MANAGER}/operator"
        return cls(api)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Return an object, or None when there is none."""
        try:
            return await self._request("GET", _path(api_version, kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def find(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Return one of our own resources as it is now, or None. By a list of that name: to get them one by one is a right the operator does not need."""
        listed = await self._request("GET", _path(api_version, kind, namespace), query={"fieldSelector": f"metadata.name={name}"})
        return next(({"apiVersion": api_version, "kind": kind, **each} for each in listed["items"]), None)

    async def pods(self, namespace: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        """Return the Pods with these labels as they are now."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        listed = await self._request("GET", _path("v1", "Pod", namespace), query={"labelSelector": selector})
        return [{"apiVersion": "v1", "kind": "Pod", **each} for each in listed["items"]]

    async def uids(self, kind: str, namespace: str | None) -> set[str]:
        """Return the uids of all objects of a kind, in a namespace or in all; of their content only the metadata is sent."""
        path = next(path for each, path in _COLLECTIONS.items() if each.endswith(f"/{kind}"))
        path = path.format(namespace=namespace) if namespace else path.replace("/namespaces/{namespace}", "")
        found: set[str] = set()
        query = {"limit": str(_LIST_CHUNK)}
        while True:
            listed = await self._request("GET", path, query=query, accept=_METADATA)
            found.update(item["metadata"]["uid"] for item in listed["items"])
            more = listed["metadata"].get("continue")
            if not more:
                return found
            query["continue"] = more

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create an object; raises ApiError 409 when one of that name exists."""
        path = _path(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["namespace"])
        return await self._request("POST", path, manifest, query={"fieldManager": MANAGER})

    async def apply(self, manifest: dict[str, Any], *, force: bool) -> dict[str, Any]:
        """Apply an object server-side as the one field manager; with `metadata.uid` set, only to that very object."""
        meta = manifest["metadata"]
        path = _path(manifest["apiVersion"], manifest["kind"], meta["namespace"], meta["name"])
        query = {"fieldManager": MANAGER, "force": "true" if force else "false"}
        return await self._request("PATCH", path, manifest, query=query, content_type="application/apply-patch+yaml")

    async def delete(self, api_version: str, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete the object with that uid and, in the background, what it owns. Already gone is done; raises ApiError 409 when another object has its name."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._request("DELETE", _path(api_version, kind, namespace, name), body)
        except ApiError as error:
            if error.status != 404:
                raise

    async def replace_status(self, body: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        """Replace the status of `body` as it was seen; raises ApiError 404 when it is gone and 409 when it is another object or another version by now."""
        meta = body["metadata"]
        path = _path(body["apiVersion"], body["kind"], meta["namespace"], meta["name"]) + "/status"
        # What was decided from an older version must not be written over a newer status: an end would be undone.
        tests = [{"op": "test", "path": f"/metadata/{each}", "value": meta[each]} for each in ("uid", "resourceVersion")]
        patch = [*tests, {"op": "add", "path": "/status", "value": status}]
        try:
            return await self._request("PATCH", path, patch, query={"fieldManager": MANAGER}, content_type="application/json-patch+json")
        except ApiError as error:
            if error.status == 422 and error.message.startswith(_TEST_FAILED):
                raise ApiError(409, "Conflict", error.message) from error
            raise

    async def _request(
        self, method: str, path: str, body: Any = None, *,
        query: dict[str, str] | None = None, content_type: str = "application/json", accept: str = "application/json",
    ) -> dict[str, Any]:  # fmt: skip
        """Send a request and return the parsed answer."""
        try:
            return await self._send(method, path, body, query or {}, content_type, accept)
        except ApiError as error:
            if error.status != 401:
                raise
        # The token was replaced before its time; read the new one, and try once more with it.
        await _load(self._api.configuration)
        return await self._send(method, path, body, query or {}, content_type, accept)

    async def _send(self, method: str, path: str, body: Any, query: dict[str, str], content_type: str, accept: str) -> dict[str, Any]:
        """Send a request once."""
        headers = {"Accept": accept, "Content-Type": content_type}
        parameters = await self._api.param_serialize(
            method, path, query_params=list(query.items()), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = await self._api.call_api(*parameters, _request_timeout=_TIMEOUT_SECONDS)
            text = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            REQUESTS.labels(method, "0").inc()
            raise ApiError(0, "NoAnswer", f"{type(error).__name__}: {error}") from error
        REQUESTS.labels(method, str(response.status)).inc()
        if not 200 <= response.status < 300:
            raise _error(response.status, text, response.headers.get("Retry-After", ""))
        answer: dict[str, Any] = json.loads(text)
        return answer


def _path(api_version: str, kind: str, namespace: str, name: str | None = None) -> str:
    """Return the path of a collection, or of one object in it."""
    path = _COLLECTIONS[f"{api_version}/{kind}"].format(namespace=namespace)
    return path if name is None else f"{path}/{name}"


async def _load(settings: client.Configuration) -> None:
    """Read where the API server is and the token of now."""
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=settings)


def _error(status: int, text: bytes, retry_after: str) -> ApiError:
    """Return the refusal; the body is a Status object unless a proxy in between answered."""
    seconds = float(retry_after) if retry_after.isdecimal() else 0.0
    try:
        answer = json.loads(text)
        return ApiError(status, answer.get("reason", ""), answer.get("message", ""), seconds)
    except (ValueError, AttributeError):
        return ApiError(status, "", text[:200].decode(errors="replace"), seconds)
