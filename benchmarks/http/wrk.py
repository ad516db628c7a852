"""Have wrk make the requests: next to no CPU of its own, and full batches for the server."""

import subprocess
import tempfile
from pathlib import Path

from benchmarks.http.servers import pin
from benchmarks.http.work import Outcome, Work

_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("outcome %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.bytes, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""


def run(work: Work, port: int, seconds: float, *, cpu: int | None, tls: bool) -> Outcome:
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "wrk.lua"
        script.write_text(_request(work) + _REPORT)
        command = ["wrk", "-t1", f"-c{work.connections}", f"-d{max(1, round(seconds))}"]
        command += ["-s", str(script), "--timeout", "10", "--latency"]
        command += [f"{'https' if tls else 'http'}://127.0.0.1:{port}{work.path}"]
        output = subprocess.run(
            command, check=True, capture_output=True, text=True, preexec_fn=pin(cpu)
        ).stdout
    answers, duration, size, p50, p99, errors = map(
        int, output.partition("\noutcome ")[2].split()[:6]
    )
    # wrk does not look at bodies; that every answer brought one is seen by its size.
    if size < answers * len(work.answer):
        errors += 1
    return Outcome(answers, duration / 1e6, p50 / 1e3, p99 / 1e3, errors, "see wrk")


def _request(work: Work) -> str:
    lines = []
    if work.kind == "post":
        escaped = "".join(f"\\{byte}" for byte in work.body)
        lines += ['wrk.method = "POST"', f'wrk.body = "{escaped}"']
    if work.close:
        lines += ['wrk.headers["Connection"] = "close"']
    return "\n".join(lines)
