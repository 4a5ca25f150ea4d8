"""Requests to the API server in plain JSON, over the official client's async transport (its TLS, tokens and rotation)."""

import json
from typing import Any, Final

from kubernetes.aio import client, config

from tunewright.api import GROUP, VERSION
from tunewright.api.crd import DEFINITIONS
from tunewright.build.names import MANAGER
from tunewright.cluster.metrics import REQUESTS

_TIMEOUT_SECONDS: Final = 30.0

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
    """The API server's refusal: `status` is the HTTP code, `reason` the Status object's word, such as AlreadyExists."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class Transport:
    """One connection pool to the API server. Every call raises ApiError, or OSError/TimeoutError when the server is not reached."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> "Transport":
        """Connect with the Pod's service account, or with KUBECONFIG outside a cluster."""
        settings = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=settings)
        except config.ConfigException:
            await config.load_kube_config(client_configuration=settings)
        # With it, aiohttp goes through two threads for every request, to look for proxies and in ~/.netrc; Kopf beside us looks at neither.
        settings.client_session_kwargs = {"trust_env": False}
        return cls(client.ApiClient(settings))

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
        """Delete the object with that uid and, in the background, what it owns. Already gone is done."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._request("DELETE", _path(api_version, kind, namespace, name), body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def replace_status(self, body: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        """Replace the status of the very object `body`; raises ApiError 404 or 409 when it is another by now."""
        meta = body["metadata"]
        path = _path(body["apiVersion"], body["kind"], meta["namespace"], meta["name"]) + "/status"
        # A JSON patch replaces the whole status and tests the uid, and does not fight with edits of the spec over resourceVersion.
        patch = [{"op": "test", "path": "/metadata/uid", "value": meta["uid"]}, {"op": "add", "path": "/status", "value": status}]
        return await self._request("PATCH", path, patch, query={"fieldManager": MANAGER}, content_type="application/json-patch+json")

    async def _request(
        self, method: str, path: str, body: Any = None, *, query: dict[str, str] | None = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """Send a request and return the parsed answer."""
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": f"{MANAGER}/operator"}
        parameters = await self._api.param_serialize(
            method, path, query_params=list((query or {}).items()), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = await self._api.call_api(*parameters, _request_timeout=_TIMEOUT_SECONDS)
            text = await response.read()
        except (OSError, TimeoutError):
            REQUESTS.labels(method, "0").inc()
            raise
        REQUESTS.labels(method, str(response.status)).inc()
        if not 200 <= response.status < 300:
            raise _error(response.status, text)
        answer: dict[str, Any] = json.loads(text)
        return answer


def _path(api_version: str, kind: str, namespace: str, name: str | None = None) -> str:
    """Return the path of a collection, or of one object in it."""
    path = _COLLECTIONS[f"{api_version}/{kind}"].format(namespace=namespace)
    return path if name is None else f"{path}/{name}"


def _error(status: int, text: bytes) -> ApiError:
    """Return the refusal; the body is a Status object unless a proxy in between answered."""
    try:
        answer = json.loads(text)
        return ApiError(status, answer.get("reason", ""), answer.get("message", ""))
    except (ValueError, AttributeError):
        return ApiError(status, "", text[:200].decode(errors="replace"))
