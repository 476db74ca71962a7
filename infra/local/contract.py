#!/usr/bin/env python3
"""Calls every route of a running API in every way that its contract allows and forbids, as nobody, a user and an operator.

    stack.py run -- contract.py --seconds 40

Schemathesis makes the calls from `docs/openapi.json`: the examples, every field at its bounds and beyond, and at random;
then chains of calls, each with what the one before gave. It ends with 1 when an answer is a 5xx, is in no contract, breaks
its schema, lacks a header, lets somebody in without a token, or takes what the contract forbids. What it sent and got is
in `.local/contract`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import stack
import toolbox
from toolbox import LOCAL, ROOT

REPORTS = LOCAL / "contract"

# Nobody, somebody, and who looks after the deployment.
CALLERS = {"nobody": None, "a user": ("carol", []), "an operator": ("olga", ["operators"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=300, help="for each caller")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run: the seed stands in its output")
    parser.add_argument("--only", choices=CALLERS, help="one caller")
    options = parser.parse_args()
    outputs = stack.current_outputs()
    callers = [caller for caller in CALLERS if options.only in (None, caller)]
    # All at once, as it is; each is a process of its own.
    with ThreadPoolExecutor(len(callers)) as pool:
        held = dict(zip(callers, pool.map(lambda caller: call(outputs, caller, options), callers)))
    failed = [caller for caller in callers if not held[caller]]
    if failed:
        print(f"\nthe contract was broken for {' and '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def begin_runs(outputs, token):
    """Some runs to look at and to repeat, and one that waits for an approval, to cancel. Gives their ids."""
    runs = []
    for number, (kind, data) in enumerate((
            ("email_processing", {"from": "ann@example.com", "content": "When are you open on Saturday?"}),
            ("document_review", {"file": {"text": "Invoices are payable within thirty days."},
                                 "review_criteria": ["Invoices are payable within thirty days."]}),
            ("task_automation", {"description": "Ask for approval of the offer."}))):
        body = {"type": kind, "data": {"id": f"contract-{number}"} | data}
        request = urllib.request.Request(
            f"{outputs['api_url']}/workflow/process", json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            runs.append(json.load(answer)["run_id"])
    return runs


def call(outputs, caller, options):
    identity = CALLERS[caller]
    token = stack.sign_token(outputs, *identity) if identity else None
    folder = REPORTS / caller.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    settings = (ROOT / "infra/local/schemathesis.toml").read_text()
    if token:
        # Ids at random lead to no run: half of them are those of runs that there are.
        runs = begin_runs(outputs, token)
        settings += f"""
[dictionaries.runs]
values = {json.dumps(runs)}

[parameters]
id = {{ dictionary = "runs", probability = 0.5 }}
"""
    (folder / "schemathesis.toml").write_text(settings)
    command = [
        toolbox.CONTRACT / "bin/schemathesis", "--config-file", folder / "schemathesis.toml", "run",
        ROOT / "docs/openapi.json", "--url", outputs["api_url"], "--checks", "all", "--max-time", str(options.seconds),
        "--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure",
        # More threads than one trip over each other in Python's own parser.
        "--workers", "1",
        "--request-timeout", "60", "--report", "ndjson", "--report-ndjson-path", folder / "calls.ndjson",
        "--warnings", "off", "--no-color",
    ]
    if options.seed is not None:
        command += ["--seed", str(options.seed)]
    if token:
        command += ["--header", f"Authorization: Bearer {token}"]
    log = folder / "output.log"
    begun = time.monotonic()
    with log.open("w") as output:
        # In a folder of its own: it keeps what it found there, for the next time.
        status = subprocess.run([str(part) for part in command], cwd=folder, stdout=output, stderr=subprocess.STDOUT,
                                env=os.environ | {"PYTHONUNBUFFERED": "1"}).returncode
    text = log.read_text(errors="replace")
    if status:
        print(text)
    counted = next((line.strip() for line in text.splitlines() if re.match(r"\s+\d+ generated", line)), "")
    mark = "✗" if status else "✓"
    print(f"{mark} as {caller}: {counted or f'see {log}'} ({time.monotonic() - begun:.0f} s)", flush=True)
    return status == 0


if __name__ == "__main__":
    sys.exit(main())
