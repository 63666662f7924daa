"""Microsoft's own emulator of Azure's object store, where it is installed (``npm install -g azurite``)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
import time
import urllib.request
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Self

import obstore
import pytest
from obstore.store import AzureStore

from tests.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "azurite-blob"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of every emulator, as its manual says."""

CONTAINER = "box"
_OPTIONS = ("--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")


class Azurite:
    """An emulator with one container. Skips the test where there is none."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which(PROGRAM)
        if program is None:
            pytest.skip(f"{PROGRAM} is not installed")
        self.port = free_port()
        self.url = f"az://{CONTAINER}/project"
        self._command = [program, *_OPTIONS, "--blobPort", str(self.port)]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def fs_args(self) -> dict[str, Any]:
        """Address and credentials."""
        return {"connection_string": f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self._address};"}

    def client(self) -> AzureStore:
        """A client that is not the layer's."""
        config = {"account_name": ACCOUNT, "account_key": KEY, "endpoint": self._address}
        return AzureStore(CONTAINER, config=config, client_options={"allow_http": True})  # type: ignore[arg-type]

    def fill(self, objects: dict[str, bytes]) -> None:
        """Put objects at keys below ``project/``."""
        client = self.client()
        for key, data in objects.items():
            obstore.put(client, f"project/{key}", data)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=self._directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                self._make_container()
            except OSError:
                assert time.monotonic() < deadline, f"{PROGRAM} did not start"
                time.sleep(0.1)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _make_container(self) -> None:
        date = formatdate(usegmt=True)
        signed = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-08-06\n"
        signed += f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
        headers = {
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
            "Content-Type": "",
        }
        address = f"{self._address}/{CONTAINER}?restype=container"
        request = urllib.request.Request(address, method="PUT", data=b"", headers=headers)  # noqa: S310 - of this machine
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
