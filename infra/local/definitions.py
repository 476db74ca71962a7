#!/usr/bin/env python3
"""Make the repository's definitions the current ones of a deployed bundle, and say what that changed.

    definitions.py [--reason TEXT] [--canary PERCENT] [file …]     each file, or all of infra/definitions

A file is named after its workflow. What says the same as the current version is left alone; what is not valid, or fails a
golden case there, changes nothing. The bundle is the one of `make dev`, unless IHELPER_API_URL and IHELPER_TOKEN name
another one: its address, and the token of an operator.

It ends with 0 only if every file is current, or on trial, afterwards.
"""

import argparse
import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import stack
from toolbox import ROOT

DEFINITIONS = ROOT / "infra/definitions"
# The API plays the golden cases within the 29 s that a call may take.
PATIENCE_SECONDS = 60


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="file")
    parser.add_argument("--reason", default="pushed from the repository", help="why, for the history")
    parser.add_argument("--canary", type=int, metavar="PERCENT", help="give it this share of the new runs, on trial")
    options = parser.parse_args()
    try:
        api = Api(*bundle())
    except stack.Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    failed = 0
    for file in options.files or sorted(DEFINITIONS.glob("*.yaml")):
        try:
            print(push(api, file, options))
        except (Refused, OSError) as problem:
            failed += 1
            print(f"✗ {file.stem}: {problem}", file=sys.stderr)
    return 1 if failed else 0


def bundle():
    """Where the API is, and a token for it."""
    url, token = os.environ.get("IHELPER_API_URL"), os.environ.get("IHELPER_TOKEN")
    if url and token:
        return url, token
    if url or token:
        raise stack.Failure("IHELPER_API_URL and IHELPER_TOKEN are needed both, or none of them")
    outputs = stack.current_outputs()
    return outputs["api_url"], stack.sign_token(outputs, "operator", ["operators"])


def push(api, file, options):
    """Make one file current. Gives what there is to say about it."""
    text = file.read_bytes()
    path = f"/workflow/definitions/{urllib.parse.quote(file.stem)}"
    before, headers = api.call("GET", path)
    query = {"reason": options.reason}
    if options.canary is not None:
        query["canary"] = options.canary
    # Made from what was just read: whoever changes it in between wins, and this is told.
    after, _ = api.call("PUT", f"{path}?{urllib.parse.urlencode(query)}", text,
                        {"if-match": headers["etag"], "content-type": "application/yaml"})
    if after["status"] == "unchanged":
        return f"= {file.stem}: version {after['version']} says the same"
    trial = after.get("canary")
    version = trial["version"] if trial else after["version"]
    difference, _ = api.call("GET", f"{path}/diff?from={before['version']}&to={version}", headers={"accept": "text/plain"})
    state = f"gets {trial['percent']} % of the new runs" if trial else "is current"
    lines = "".join(f"    {line}\n" for line in difference.splitlines())
    return f"✓ {file.stem}: version {version} {state}, after version {before['version']}\n{lines}".rstrip()


class Refused(Exception):
    """What the API refused, and why."""


class Api:
    """The API, as an operator."""

    def __init__(self, url, token):
        self.url, self.token = url.rstrip("/"), token

    def call(self, method, path, body=None, headers=None):
        request = urllib.request.Request(self.url + path, method=method, data=body,
                                         headers={"authorization": f"Bearer {self.token}"} | (headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                text = answer.read().decode()
                is_json = answer.headers.get_content_type() == "application/json"
                return json.loads(text) if is_json else text, answer.headers
        except urllib.error.HTTPError as error:
            raise Refused(explained(error)) from None
        except urllib.error.URLError as error:
            raise Refused(f"{self.url} does not answer: {error.reason}") from None


def explained(error):
    """The problem that an answer tells, each of its errors on a line."""
    text = error.read().decode(errors="replace")
    try:
        problem = json.loads(text)
    except ValueError:
        return f"{error.code} {text}".strip()
    said = problem.get("detail") or problem.get("title") or problem.get("message") or text
    return "\n".join([f"{error.code} {said}"] + [
        f"    {each['field']}: {each['problem']}" for each in problem.get("errors") or []])


if __name__ == "__main__":
    sys.exit(main())
