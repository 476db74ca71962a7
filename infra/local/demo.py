#!/usr/bin/env python3
"""Nine runs through the deployed bundle: an email, a document and a task, each by the API, by an event and by the queue.

    demo.py        a stack of its own, the nine runs, and everything stopped again

It ends with 0 only if all nine succeeded.
"""

import base64
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import toolbox  # noqa: E402

if "IHELPER_OUTPUTS" not in os.environ:
    # The same again, inside a stack, with the Python that has what is imported below.
    os.execv(sys.executable, [sys.executable, str(HERE / "stack.py"), "run", "--",
                              str(toolbox.SAM / "bin/python"), str(HERE / "demo.py")])

import boto3  # noqa: E402
from rich import box  # noqa: E402
from rich.console import Console, Group  # noqa: E402
from rich.live import Live  # noqa: E402
from rich.markup import escape  # noqa: E402
from rich.padding import Padding  # noqa: E402
from rich.panel import Panel  # noqa: E402
from rich.table import Table  # noqa: E402

SAMPLES = HERE / "samples"
# A run takes well under a second; this is for a machine that compiles something beside it.
PATIENCE_SECONDS = 120
POLL_SECONDS = 0.25
ENDED = {"succeeded", "failed", "cancelled", "attention"}

console = Console() if sys.stdout.isatty() else Console(width=110)


def main():
    bundle = Bundle(json.loads(Path(os.environ["IHELPER_OUTPUTS"]).read_text()))
    # The same letter three times is one letter, so each has its own number.
    tag = uuid.uuid4().hex[:8]
    attempts = [
        Attempt(bundle, sample, trigger)
        for sample in (Email(tag), Document(tag), Task(tag))
        for trigger in ("api", "event", "queue")
    ]
    console.print(f"\nAn email, a document and a task, by API, event and queue, at {bundle.api_url}\n", soft_wrap=True)
    watch(attempts)
    for attempt in attempts:
        console.print()
        attempt.show()
    show_inbox(bundle)

    succeeded = sum(attempt.succeeded for attempt in attempts)
    style = "bold green" if succeeded == len(attempts) else "bold red"
    console.print(f"\n[{style}]{succeeded} of {len(attempts)} runs succeeded[/]")
    return 0 if succeeded == len(attempts) else 1


def watch(attempts):
    """Run them all side by side, and show how far each is."""
    threads = [threading.Thread(target=attempt.run, daemon=True) for attempt in attempts]
    for thread in threads:
        thread.start()
    if console.is_terminal:
        with Live(progress(attempts), console=console, refresh_per_second=8) as live:
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.1)
                live.update(progress(attempts))
            live.update(progress(attempts))
        return
    told = {}
    while True:
        alive = any(thread.is_alive() for thread in threads)
        for attempt in attempts:
            if told.get(attempt) != attempt.status:
                told[attempt] = attempt.status
                console.print(f"{attempt.name:<32} {attempt.status:<10} {attempt.elapsed:5.2f} s", highlight=False)
        if not alive:
            return
        time.sleep(0.1)


def progress(attempts):
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for column in ("workflow", "started by", "status", "time"):
        table.add_column(column, justify="right" if column == "time" else "left")
    for attempt in attempts:
        style = "green" if attempt.succeeded else "red" if attempt.ended else "yellow"
        table.add_row(attempt.sample.workflow, attempt.trigger, f"[{style}]{attempt.status}[/]",
                      f"{attempt.elapsed:.2f} s")
    return table


# ── One run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Attempt:
    """One sample, sent one way."""

    def __init__(self, bundle, sample, trigger):
        self.bundle, self.sample, self.trigger = bundle, sample, trigger
        self.name = f"{sample.workflow} by {trigger}"
        self.status, self.record, self.problem = "sending", {}, None
        self.begun, self.took = time.monotonic(), None

    @property
    def elapsed(self):
        return self.took if self.took is not None else time.monotonic() - self.begun

    @property
    def ended(self):
        return self.took is not None

    @property
    def succeeded(self):
        return self.ended and self.status == "succeeded"

    def run(self):
        self.begun = time.monotonic()
        try:
            since = datetime.now(timezone.utc) - timedelta(seconds=1)
            run_id = getattr(self, f"_by_{self.trigger}")(since)
            self.record = self._follow(run_id)
        except Exception as error:  # whatever it is, it belongs to this run and must not hide the other eight
            self.status, self.problem = "failed", f"{type(error).__name__}: {error}"
        self.took = time.monotonic() - self.begun

    def _by_api(self, _since):
        status, headers, body = self.bundle.call(
            "POST", "/workflow/process", {"type": self.sample.workflow, "data": self.sample.data("api")})
        # 202: it takes longer than a call may, and goes on by itself.
        return body.get("run_id") or headers["Location"].rstrip("/").rsplit("/", 1)[-1]

    def _by_event(self, since):
        return self._find(self.sample.send_event(self.bundle), since)

    def _by_queue(self, since):
        data = self.sample.data("queue")
        self.bundle.sqs.send_message(
            QueueUrl=self.bundle.outputs["queue_urls"][self.sample.workflow],
            MessageBody=json.dumps({"type": self.sample.workflow, "data": data}))
        return self._find(data["id"], since)

    def _find(self, data_id, since):
        self.status = "sent"
        since = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"/workflow/runs?type={self.sample.workflow}&since={since}"
        for _ in self._patience("no run appeared"):
            for run in self.bundle.call("GET", path)[2]["runs"]:
                if run.get("data_id") == data_id:
                    return run["run_id"]

    def _follow(self, run_id):
        for _ in self._patience("the run did not end"):
            record = self.bundle.call("GET", f"/workflow/runs/{run_id}")[2]
            self.record, self.status = record, record["status"]
            if record["status"] in ENDED:
                return record

    def _patience(self, otherwise):
        while self.elapsed < PATIENCE_SECONDS:
            yield
            time.sleep(POLL_SECONDS)
        raise TimeoutError(f"{otherwise} within {PATIENCE_SECONDS} s")

    def show(self):
        mark = "[bold green]✓[/]" if self.succeeded else "[bold red]✗[/]"
        run_id = self.record.get("run_id")
        own = self.record.get("duration_ms")
        times = f"{self.elapsed:.2f} s" + (f", {own} ms of them in the run" if own is not None else "")
        console.print(f"{mark} [bold]{self.name}[/]  {self.status}  [dim]{times}[/]", highlight=False)
        if run_id:
            console.print(f"  {self.bundle.api_url}/workflow/runs/{run_id}", style="cyan", soft_wrap=True, highlight=False)
        error = self.record.get("error") or {}
        problem = self.problem or ", ".join(str(value) for value in error.values() if value)
        if problem:
            console.print(Padding(escape(problem), (0, 2)), style="red")
        steps = [str(step.get("name")) + (f" {step['duration_ms']} ms" if step.get("duration_ms") is not None else "")
                 for step in self.record.get("steps") or []]
        if steps:
            console.print(Padding(escape(" → ".join(steps)), (0, 2)), style="dim", highlight=False)
        result = self.record.get("result")
        if isinstance(result, dict):
            console.print(Padding(self.sample.render(result), (1, 2, 0, 2)))


class Bundle:
    """The deployed bundle, from outside: its API, its queues, its buckets and its bus."""

    def __init__(self, outputs):
        self.outputs = outputs
        self.api_url = outputs["api_url"]
        self.s3, self.sqs, self.events = boto3.client("s3"), boto3.client("sqs"), boto3.client("events")
        self.token = subprocess.run(
            [sys.executable, HERE / "stack.py", "token", "--user", "alice", "--groups", "operators"],
            check=True, capture_output=True, text=True).stdout.strip()

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.api_url + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {self.token}", "content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, answer.headers, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                problem = json.loads(text)
                text = problem.get("detail") or problem.get("title") or problem.get("message") or text
            except ValueError:
                pass
            raise RuntimeError(f"{method} {path} answered {error.code}: {text}") from None


# ── The samples ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Email:
    workflow = "email_processing"

    def __init__(self, tag):
        self.tag = tag

    def _id(self, trigger):
        return f"email-{trigger}-{self.tag}"

    def _message(self, trigger):
        """The same question, from another sender and with another id: nobody is answered twice within a while."""
        return ((SAMPLES / "question.eml").read_bytes()
                .replace(b"marta.lindqvist@", f"marta.lindqvist+{trigger}@".encode())
                .replace(b"<b81f5c02", f"<{trigger}-{self.tag}".encode()))

    def data(self, trigger):
        return {"id": self._id(trigger), "raw": base64.b64encode(self._message(trigger)).decode()}

    def send_event(self, bundle):
        """As Amazon SES does it: the message becomes an object."""
        identity = self._id("event")
        bundle.s3.put_object(Bucket=bundle.outputs["buckets"]["mail"], Key=f"mail/{identity}", Body=self._message("event"))
        return identity

    def render(self, result):
        analysis, response = result.get("analysis") or {}, result.get("response") or {}
        facts = ", ".join(f"{name.replace('_', ' ')}: {analysis[name]}" for name in
                          ("category", "intent", "urgency", "requires_response") if analysis.get(name) is not None)
        facts += f"  ({result.get('api_calls', '?')} calls of {result.get('model', '?')})"
        if not result.get("response_generated"):
            return escape(facts + "\nno answer was due")
        return Group(escape(facts), Panel(escape(str(response.get("text") or response).strip()),
                                          title=escape(str(response.get("subject") or "answer")), title_align="left"))


def criterion_text(finding):
    criterion = finding.get("criterion", "")
    return criterion.get("text", "") if isinstance(criterion, dict) else criterion


class Document:
    workflow = "document_review"
    criteria = json.loads((SAMPLES / "criteria.json").read_text())

    def __init__(self, tag):
        self.tag = tag
        self.content = (SAMPLES / "services-agreement.pdf").read_bytes()

    def data(self, trigger):
        file = {"name": "services-agreement.pdf", "content": base64.b64encode(self.content).decode()}
        return {"id": f"document-{trigger}-{self.tag}", "file": file, "review_criteria": self.criteria}

    def send_event(self, bundle):
        identity = f"document-event-{self.tag}.pdf"
        bundle.s3.put_object(
            Bucket=bundle.outputs["buckets"]["documents"], Key=f"documents/{identity}", Body=self.content,
            ContentType="application/pdf", Metadata={"review-criteria": json.dumps(self.criteria)})
        return identity

    def render(self, result):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False)
        for column in ("criterion", "verdict", "in the document's words"):
            table.add_column(column, ratio=None if column == "verdict" else 1)
        for finding in result.get("findings") or []:
            quotations = [f"“{quotation.get('text', '')}”"
                          + (f" ({quotation['section']})" if quotation.get("section") else "")
                          for quotation in finding.get("quotations") or []]
            table.add_row(*(escape(str(cell)) for cell in (
                criterion_text(finding), finding.get("verdict", ""),
                "\n".join(quotations) or finding.get("explanation") or "")))
        return Group(table, f"({result.get('api_calls', '?')} calls of {result.get('model', '?')})")


class Task:
    workflow = "task_automation"

    def __init__(self, tag):
        self.tag = tag

    def data(self, trigger):
        return {"id": f"task-{trigger}-{self.tag}"} | json.loads((SAMPLES / "task.json").read_text())

    def send_event(self, bundle):
        data = self.data("event")
        answer = bundle.events.put_events(Entries=[{
            "EventBusName": bundle.outputs["bus"], "Source": "tasks.customer.example",
            "DetailType": "task_assigned", "Detail": json.dumps(data)}])
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"the bus refused the event: {answer['Entries'][0].get('ErrorMessage')}")
        return data["id"]

    def render(self, result):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False)
        for column in ("step", "tool", "status", "what"):
            table.add_column(column)
        for step in result.get("steps") or []:
            table.add_row(*(escape(str(step.get(name, ""))) for name in ("id", "tool", "status", "title")))
        return Group(table, f"({result.get('api_calls', '?')} calls of {result.get('model', '?')})")


def show_inbox(bundle):
    """The mail that left the bundle, as the local Amazon SES keeps it."""
    with urllib.request.urlopen(f"{bundle.outputs['endpoint']}/_ministack/ses/messages", timeout=10) as answer:
        messages = [message for account in json.load(answer)["messages"].values() for message in account]
    console.print(f"\n[bold]Mail sent: {len(messages)}[/]", highlight=False)
    for message in messages:
        to = ", ".join(message.get("To") or [])
        subject = message.get("Subject") or "(its subject is in its headers)"
        console.print(escape(f"  to {to}: {subject}"), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
