"""A real S3-compatible server for tests: s3proxy from Maven Central, over its own memory."""

import base64
import hashlib
import hmac
import shutil
import subprocess
import time
from email.utils import formatdate
from pathlib import Path

import httpx

from afterclick.ports import free_port
from afterclick.pulsar_download import INSTALL_COMMAND, cache_dir, check_java

# 2.6.0 lets a PUT with `If-None-Match: *` overwrite; 2.9.0 answers 412, as Amazon S3 does.
VERSION = "2.9.0"
_ARTIFACT = f"org.gaul:s3proxy:{VERSION}:jar:jar-with-dependencies"
_SHA512 = (
    "9468c2815fd1792bf3d9dd7f9073c68012dc06cd86583ea47325e1839280abcb"
    "d06d09070cd7cb286af37547e131f400beaef05b8f18abc5e0b42dd9d41dffef"
)
_BUCKET = "clicks"
_KEY, _SECRET = "test-key", "test-secret"


class ObjectStorage:
    """One server process with one bucket, bound to the loopback interface."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the bucket."""
        return f"s3://{_BUCKET}"

    @property
    def endpoint(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def options(self) -> dict[str, str]:
        """As `[archive] options` takes them."""
        return {
            "aws_endpoint_url": self.endpoint,
            "aws_region": "us-east-1",
            "aws_access_key_id": _KEY,
            "aws_secret_access_key": _SECRET,
            "aws_allow_http": "true",
        }

    def start(self, *, within_s: float = 60) -> None:
        """Start it and wait until it answers."""
        conf = self._folder / "s3proxy.conf"
        conf.write_text(
            f"s3proxy.endpoint={self.endpoint}\ns3proxy.authorization=aws-v2-or-v4\n"
            f"s3proxy.identity={_KEY}\ns3proxy.credential={_SECRET}\n"
            # The client sends a checksum with a deletion, in a header that s3proxy does not know.
            # Over a folder (filesystem-nio2) its listings lose most names while others write; Amazon's do not.
            "s3proxy.ignore-unknown-headers=true\njclouds.provider=transient\njclouds.identity=none\njclouds.credential=none\n"
        )
        command = ["java", "-Xmx192m", "-XX:+UseSerialGC", "-jar", str(_jar()), "--properties", str(conf)]
        with (self._folder / "s3proxy.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline_s = time.monotonic() + within_s
        while not self._answers():
            assert self._process.poll() is None, f"s3proxy ended; see {log.name}"
            assert time.monotonic() < deadline_s, f"s3proxy does not answer; see {log.name}"
            time.sleep(0.1)
        self._make_bucket()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(self.endpoint, timeout=1).status_code < 500
        except httpx.HTTPError:
            return False

    def _make_bucket(self) -> None:
        date = formatdate(usegmt=True)
        signed = hmac.digest(_SECRET.encode(), f"PUT\n\n\n{date}\n/{_BUCKET}".encode(), "sha1")
        headers = {"Date": date, "Authorization": f"AWS {_KEY}:{base64.b64encode(signed).decode()}"}
        httpx.put(f"{self.endpoint}/{_BUCKET}", headers=headers, timeout=10).raise_for_status()


def _jar() -> Path:
    """The server in one file (41 MB), fetched the first time."""
    check_java()
    folder = cache_dir() / "s3proxy"
    jar = folder / f"s3proxy-{VERSION}-jar-with-dependencies.jar"
    if not jar.exists():
        maven = shutil.which("mvn")
        assert maven is not None, f"fetching s3proxy needs Maven (mvn), found none; install it: {INSTALL_COMMAND}"
        aside = folder / "fetching"
        command = [maven, "-q", "-B", "dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={aside}"]
        subprocess.run(command, check=True, timeout=600)
        digest = hashlib.sha512((aside / jar.name).read_bytes()).hexdigest()
        assert digest == _SHA512, f"{jar.name}: wanted SHA-512 {_SHA512}, got {digest}"
        (aside / jar.name).replace(jar)
    return jar
