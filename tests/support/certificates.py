"""A certificate authority of a test's own, made with openssl."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
_KEY = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own."""

    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.pem"

    def sign(self, name: str, address: str = "IP:127.0.0.1") -> tuple[Path, Path]:
        """A certificate and key for `name` at an address, for servers and clients."""
        key, request = self.directory / f"{name}.key", self.directory / f"{name}.csr"
        signed, extra = self.directory / f"{name}.pem", self.directory / f"{name}.ext"
        extra.write_text(f"subjectAltName={address}\nbasicConstraints=CA:FALSE\n")
        _openssl("req", "-newkey", *_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAcreateserial"),
            *("-CAkey", self.directory / "ca.key", "-days", "2", "-out", signed),
            *("-extfile", extra),
        )
        return signed, key


def _openssl(*arguments: str | Path) -> None:
    program = shutil.which("openssl") or "openssl"
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, timeout=20)


def authority(directory: Path) -> Authority:
    directory.mkdir()
    _openssl(
        *("req", "-x509", "-newkey", *_KEY, "-keyout", directory / "ca.key", "-days", "2"),
        *("-out", directory / "ca.pem", "-subj", f"/CN={directory.name}"),
        *("-addext", "keyUsage=critical,keyCertSign"),
    )
    return Authority(directory)
