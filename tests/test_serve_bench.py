"""What is read from wrk, and told of servers side by side: errors are seen, and nothing is made better."""

import pytest
from bench.serve import latency, told_by

TOLD = """Running 8s test @ http://127.0.0.1:8321
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   102.55ms   14.11ms 199.24ms   87.08%
  Latency Distribution
     50%  102.93ms
     75%    1.11s
     90%  950.00us
     99%  158.10ms
  4977 requests in 8.01s, 2.71MB read
{}Requests/sec:    621.35
"""


def test_counts_and_rates_are_read() -> None:
    found = told_by(TOLD.format(""))
    assert (found.count, found.rate, found.refused, found.failed) == (4977, 621.35, 0, {})


def test_errors_are_seen() -> None:
    errors = "  Socket errors: connect 0, read 3, write 0, timeout 64\n  Non-2xx or 3xx responses: 12\n"
    found = told_by(TOLD.format(errors))
    assert found.refused == 12
    assert found.failed == {"connect": 0, "read": 3, "write": 0, "timeout": 64}


@pytest.mark.parametrize(("which", "value"), [("50%", 102.93), ("75%", 1110), ("90%", 0.95), ("99%", 158.1)])
def test_latencies_are_milliseconds(which: str, value: float) -> None:
    assert latency(TOLD.format(""), which) == value
