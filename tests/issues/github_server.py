"""GitHub's GraphQL over TLS with a certificate of its own, for the real `gh`."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A key, and a certificate for localhost that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


class GitHub:
    """One issue of one repository; `changes` are the mutations that arrived."""

    def __init__(self, folder: Path, answer: dict[str, Any]) -> None:
        self.certificate, key = make_certificate(folder)
        self.issue = answer
        self.changes: list[tuple[str, dict[str, Any]]] = []
        self.tokens: set[str] = set()
        github = self

        class Routes(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                github.tokens.add(self.headers.get("Authorization", ""))
                raw = json.dumps(github.reply(body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Routes)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.repository = f"localhost:{self._http.server_address[1]}/hysuite/local-ai-suite"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        """gh's own queries, by their names in gh 2.23."""
        query, variables = body["query"], body.get("variables") or {}
        if "Issue_fields" in query:
            return {"data": {"Issue": {"fields": [{"name": "stateReason"}]}}}
        mutations = {
            "CommentCreate": {
                "addComment": {"commentEdge": {"node": {"url": "https://localhost/c/1"}}}
            },
            "IssueUpdate": {"updateIssue": {"__typename": "UpdateIssuePayload"}},
            "IssueClose": {"closeIssue": {"issue": {"id": "I_1"}}},
        }
        for name, answer in mutations.items():
            if f"mutation {name}" in query:
                self.changes.append((name, variables["input"]))
                if name == "IssueUpdate":
                    self.issue = {**self.issue, "body": variables["input"]["body"]}
                return {"data": answer}
        if "CommentsForIssue" in query:
            return {"data": {"node": {"comments": self._comments()}}}
        if variables.get("number") != 1:
            message = f"Could not resolve to an issue with the number of {variables['number']}."
            return {
                "data": {"repository": {"hasIssuesEnabled": True, "issue": None}},
                "errors": [{"type": "NOT_FOUND", "path": ["repository", "issue"],
                            "message": message}],
            }  # fmt: skip
        return {"data": {"repository": {"hasIssuesEnabled": True, "issue": self._issue()}}}

    def _issue(self) -> dict[str, Any]:
        said = self.issue
        return {
            "__typename": "Issue",
            "id": "I_1",
            "number": 1,
            "url": "https://localhost/hysuite/local-ai-suite/issues/1",
            **{
                name: said[name]
                for name in ("title", "body", "state", "createdAt", "updatedAt", "milestone")
            },
            "labels": {"nodes": said["labels"], "totalCount": len(said["labels"])},
            "assignees": {"nodes": said["assignees"], "totalCount": len(said["assignees"])},
            "comments": self._comments(),
        }

    def _comments(self) -> dict[str, Any]:
        more = {
            "includesCreatedEdit": False,
            "isMinimized": False,
            "minimizedReason": "",
            "reactionGroups": [],
            "viewerDidAuthor": False,
        }
        nodes = [{**comment, **more} for comment in self.issue["comments"]]
        page = {"hasNextPage": False, "endCursor": ""}
        return {"nodes": nodes, "totalCount": len(nodes), "pageInfo": page}
