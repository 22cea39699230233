"""The lab as a process of its own, as a user starts it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import httpx

from postroad.adapters.system_clock import SystemClock
from postroad.crypto import ocsp, timestamps
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.ocsp import OcspPolicy, OcspResponse, verify_ocsp
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.home import LabHome

CLOCK = SystemClock()
SHA512 = DigestAlgorithm.SHA512


def test_lab_starts_soon_stays_small_answers_and_stops(tmp_path: Path) -> None:
    home = LabHome(tmp_path / "lab")
    lab = TrustLab.create(at=CLOCK.now())
    home.store(lab)
    begin = time.monotonic()
    command = [sys.executable, "-m", "postroad", "lab", "run", "--home", str(home.path)]
    process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        request = ocsp.build_request(lab.ca_certificate, lab.root.certificate)
        headers = {"Content-Type": "application/ocsp-request"}
        answer = httpx.post(f"{found[0]}/ocsp", content=request, headers=headers)
        assert time.monotonic() - begin < 15  # a machine under test load; 0.7 s on a quiet one
        verify_ocsp(
            OcspResponse.parse(answer.content),
            lab.ca_certificate,
            lab.root.certificate,
            at=CLOCK.now(),
            policy=OcspPolicy(freshness=timedelta(minutes=1)),
        )
        imprint = SHA512.digest(b"x")
        query = timestamps.build_request(imprint, SHA512)
        headers = {"Content-Type": "application/timestamp-query"}
        reply = httpx.post(f"{found[0]}/tsa", content=query, headers=headers).content
        token = timestamps.parse_response(reply, imprint=imprint, algorithm=SHA512)
        assert timestamps.verify_token(token, b"x", [lab.tsa_certificate]).warnings == ()
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert resident is not None
        assert int(resident[1]) < 80_000
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
