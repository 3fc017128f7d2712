"""Writes to the Kubernetes API as the administrator, faster than kubectl does."""

import http.client
import json
import ssl

from configs import PORT

PLURALS = {"Service": "/api/v1/namespaces/{}/services",
           "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"}


class Api:
    """One connection of the administrator to the API server."""

    def __init__(self, cluster):
        trust = ssl.create_default_context(cafile=cluster.folder / "certs/apiserver.crt")
        self._connection = http.client.HTTPSConnection(cluster.address, PORT, context=trust)
        with cluster.host.network():
            self._connection.connect()

    def patch(self, path, change):
        self._call("PATCH", path, change, "application/merge-patch+json")

    def create(self, one):
        path = PLURALS[one["kind"]].format(one["metadata"]["namespace"])
        self._call("POST", path, one, "application/json")

    def _call(self, method, path, body, kind):
        self._connection.request(method, path, json.dumps(body), {
            "Authorization": "Bearer admin-token", "Content-Type": kind,
        })
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status not in (200, 201):
            raise AssertionError(f"{method} {path}: {answer.status} {said[:300]!r}")
