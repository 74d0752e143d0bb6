"""Asks Prometheus one thing at a time, and takes no answer that is late, partial, redirected or unsure.

The library `prometheus-api-client` speaks the API; what it would overlook is refused below it, in the
session that it is given.
"""

import json
import time
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Final, NoReturn, Protocol, cast
from urllib.parse import urlsplit

import requests
from prometheus_api_client.exceptions import PrometheusApiClientException
from prometheus_api_client.prometheus_connect import PrometheusConnect
from pydantic import SecretStr
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from rampway.ports import Unreachable

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 5.0  # for the first byte, and between two
ANSWER_SECONDS: Final = 10.0  # for a whole answer, however it trickles
SERVER_TIMEOUT: Final = "5s"  # it stops working when nobody waits any more
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
WHY_CHARACTERS: Final = 200
_READ_BLOCK_BYTES: Final = 256 * 1024
_OK: Final = 200


@dataclass(frozen=True)
class Access:
    """Where Prometheus is, and how to be let in. A token file is read for each question: it may rotate."""

    url: str
    token: SecretStr | None = None
    token_file: Path | None = None
    user: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class Prometheus:
    """One Prometheus, or what speaks its query API (version 1). Blocks; safe to share among threads."""

    def __init__(self, access: Access, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.name = _without_credentials(access.url)
        self._session = StrictSession(access, answer_seconds=answer_seconds)
        connect = PrometheusConnect(
            url=access.url.rstrip("/"), session=self._session, retry=Retry(total=0)
        )
        self._api = cast("_Api", connect)

    def samples(self, selector: str, *, at: float, seconds: float) -> object:
        """The raw samples of a selector in the `seconds` before `at` (Unix time): `data.result`.

        Raises Unreachable.
        """
        query = f"{selector}[{max(1, round(seconds * 1000))}ms]"
        params = {"time": f"{at:.3f}", "timeout": SERVER_TIMEOUT}
        try:
            return self._api.custom_query(query, params=params)
        except (requests.RequestException, PrometheusApiClientException, HTTPError) as failed:
            raise Unreachable(
                f"Prometheus at {self.name} does not answer ({type(failed).__name__}). "
                "Next: rampway doctor"
            ) from failed

    def close(self) -> None:
        self._session.close()


class StrictSession(requests.Session):
    """Refuses whatever is not a whole, certain answer. Every failure is Unreachable or requests' own.

    No proxy, password or certificate is taken from the environment, no redirect followed, no cookie
    kept.
    """

    def __init__(self, access: Access, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.verify = str(access.ca_file) if access.ca_file else True
        if access.cert_file is not None:
            key = access.key_file
            self.cert = (str(access.cert_file), str(key)) if key else str(access.cert_file)
        self._name = _without_credentials(access.url)
        self._auth = _auth(access)
        self._answer_seconds = answer_seconds

    def request(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        method: str,
        url: str,
        *,
        params: dict[str, str] | None = None,
        **_theirs: object,  # the library's own time-out, certificates and headers: ours hold
    ) -> requests.Response:
        """One GET whose answer is JSON, complete and without a warning."""
        deadline = time.monotonic() + self._answer_seconds
        answer = super().request(
            method,
            url,
            params=params,
            headers={"Accept-Encoding": "identity"},
            auth=self._auth,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            stream=True,
        )
        try:
            body = self._body(answer, deadline)
        finally:
            answer.close()
        if answer.status_code != _OK:
            told = body[:WHY_CHARACTERS].decode(errors="replace")
            self._refuse(f"answered {answer.status_code}: {told}")
        self._check(body)
        answer._content = body  # noqa: SLF001 - so that the library's `.json()` reads what was checked  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
        return answer

    def _body(self, answer: requests.Response, deadline: float) -> bytes:
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            self._refuse("answered packed, though asked not to")
        blocks: list[bytes] = []
        size = 0
        # Not iter_content: it waits for a block to fill, and a server that trickles never ends.
        while block := answer.raw.read1(_READ_BLOCK_BYTES):
            blocks.append(block)
            size += len(block)
            if size > ANSWER_BYTES_MAX:
                self._refuse(f"answered more than {ANSWER_BYTES_MAX // 1024**2} MiB")
            if time.monotonic() > deadline:
                self._refuse(f"took longer than {self._answer_seconds:g} s for an answer")
        return b"".join(blocks)

    def _check(self, body: bytes) -> None:
        """The envelope of the API: https://prometheus.io/docs/prometheus/latest/querying/api/."""
        try:
            answer: object = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            self._refuse("answered something that is no JSON")
        if not isinstance(answer, dict):
            self._refuse("answered something else than Prometheus does")
        told = cast("dict[str, object]", answer)
        if told.get("status") != "success":
            self._refuse(f"answered status {str(told.get('status'))[:WHY_CHARACTERS]!r}")
        for doubt in ("warnings", "infos"):
            if told.get(doubt):
                # A part of the data may be missing; what is missing may be the harm.
                self._refuse(f"answered with {doubt}: {str(told[doubt])[:WHY_CHARACTERS]}")
        data = told.get("data")
        found = cast("dict[str, object]", data) if isinstance(data, dict) else {}
        if found.get("resultType") != "matrix" or "result" not in found:
            self._refuse("answered something else than raw samples")

    def _refuse(self, why: str) -> NoReturn:
        raise Unreachable(f"Prometheus at {self._name} {why}. Next: rampway doctor")


class _Api(Protocol):
    """What is used of the library, which has no types."""

    def custom_query(self, query: str, params: dict[str, str]) -> object: ...


class _Bearer(AuthBase):
    """`Authorization: Bearer` (RFC 6750), from a file that may be replaced at any time."""

    def __init__(self, token: SecretStr | None, file: Path | None) -> None:
        self._token = token
        self._file = file

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._read()}"
        return request

    def _read(self) -> str:
        if self._file is None:
            return self._token.get_secret_value() if self._token else ""
        try:
            return self._file.read_text().strip()
        except OSError as missing:
            raise Unreachable(
                f"The token of Prometheus cannot be read from {self._file}: {missing.strerror}."
            ) from missing


def _auth(access: Access) -> AuthBase | None:
    if access.token is not None or access.token_file is not None:
        return _Bearer(access.token, access.token_file)
    if access.user is not None:
        return HTTPBasicAuth(
            access.user, access.password.get_secret_value() if access.password else ""
        )
    return None


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
