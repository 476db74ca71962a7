#!/usr/bin/env python3
"""The bundle on this machine: the real template, deployed by the real `sam deploy`, to a local AWS on loopback.

    stack.py tools                 install the pinned tools
    stack.py build                 build the five functions
    stack.py up                    start the local AWS and deploy, leave it running
    stack.py dev                   the same, until Ctrl-C
    stack.py down                  stop what `up` or `dev` started
    stack.py run -- <command>      a stack of its own for one command, stopped when the command ends
    stack.py watch                 serve the API from the sources, against the AWS of a running `dev`
    stack.py token --user alice    print a token that the local API accepts

Every stack is fresh: a deploy takes seconds, and yesterday's data answers no question of today.
It needs Python 3.11 and cargo; the rest it installs under `.local`, which git ignores.
"""

import argparse
import ctypes
import fcntl
import json
import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path

import toolbox
from toolbox import LOCAL, ROOT

STACK = "ihelper"
REGION = "us-east-1"
AUDIENCE = "ihelper"
SENDER = "assistant@ihelper.example"
FUNCTIONS = ("api-process", "event-handler", "email-consumer", "document-consumer", "task-consumer")
ISSUER_BUCKET = "token-issuer"
ARTIFACT_BUCKET = "deployment-artifacts"
LOCAL_AWS = ROOT / "infra/local/aws.py"
BUILD = LOCAL / "build"
ISSUER = LOCAL / "issuer"
DEV = LOCAL / "dev"
RUNS = LOCAL / "runs"
OUTPUTS = LOCAL / "outputs.json"

# The local AWS that this process started, by its id: only a parent can tell an ended child from a living one.
STARTED = {}
# Loaded early: between fork and exec there is no place for it.
LIBC = ctypes.CDLL(None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    installed = commands.add_parser("tools", help="install the pinned tools")
    installed.add_argument("names", nargs="*", choices=[[], *toolbox.NAMES], metavar="NAME", help="these only")
    for name, text in (("build", "build and package the functions"),
                       ("up", "start and deploy, leave it running"),
                       ("dev", "start and deploy, until Ctrl-C"),
                       ("run", "a stack of its own for one command")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--all-targets", action="store_true", help="build the functions with the tests' dependencies")
        if name == "build":
            continue
        command.add_argument("--port", type=int, default=0, help="port of the local AWS; a free one unless given")
        command.add_argument("--traces", action="store_true",
                             help="send spans to a free port, on which nobody listens but a test: the output `traces_endpoint`")
        command.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE",
                             help="a parameter of template.yaml, such as LeaseSeconds=5; may be repeated")
    commands.choices["run"].add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- command")
    commands.add_parser("down", help="stop what `up` or `dev` started")
    commands.add_parser("watch", help="serve the API from the sources, against the AWS of a running `dev`")
    token = commands.add_parser("token", help="print a token that the local API accepts")
    token.add_argument("--user", default="alice")
    token.add_argument("--groups", default="operators", help="separated by commas")
    options = parser.parse_args()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return COMMANDS[options.command](options) or 0
    except Failure as failure:
        say(f"{failure}", error=True)
        return 1
    except Interrupted as interrupted:
        return 128 + interrupted.number


# ── Commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def tools(options):
    install_tools(options.names or toolbox.NAMES)


def build(options):
    build_functions(options.all_targets)


def up(options):
    with owned(DEV, "a stack is already up; `stack.py down` stops it"):
        stop_recorded(DEV)
        try:
            process, outputs = start(DEV, OUTPUTS, options, tied=False)
        except BaseException:
            stop_recorded(DEV)
            raise
    show(outputs)
    print(f"\nIt runs in process {process.pid} until `python3 infra/local/stack.py down`.")


def dev(options):
    with owned(DEV, "a stack is already up; `stack.py down` stops it"):
        stop_recorded(DEV)
        try:
            process, outputs = start(DEV, OUTPUTS, options)
            show(outputs)
            print("\nUp until Ctrl-C.", flush=True)
            process.wait()
            raise Failure("the local AWS ended by itself", log=DEV / "ministack.log")
        except Interrupted:
            say("stopping")
        finally:
            stop_recorded(DEV)
            OUTPUTS.unlink(missing_ok=True)


def down(_options):
    holder = recorded(DEV / "owner")
    if holder and is_owned(DEV):
        # `dev` cleans up after itself; anybody else would race with it.
        os.kill(holder, signal.SIGTERM)
        if not wait_for(lambda: not is_owned(DEV), seconds=20):
            raise Failure(f"process {holder} does not end")
    stop_recorded(DEV)
    OUTPUTS.unlink(missing_ok=True)


def run(options):
    command = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    if not command:
        raise Failure("nothing to run: `stack.py run -- <command>`")
    sweep_runs()
    folder = RUNS / str(os.getpid())
    status = 1
    with owned(folder, f"{folder} is in use"):
        try:
            _, outputs = start(folder, folder / "outputs.json", options)
            environment = local_aws(outputs["endpoint"]) | {"IHELPER_OUTPUTS": str(folder / "outputs.json")}
            if other := os.environ.get("IHELPER_OUTPUTS"):
                # One stack within another: the tests talk to both.
                environment["IHELPER_OTHER_OUTPUTS"] = other
            with child(command, env=environment, cwd=Path.cwd()) as process:
                status = process.wait()
            if status == 0:
                status = nothing_private(outputs)
        finally:
            stop_recorded(folder)
    if status == 0:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"`{command[0]}` ended with {status}; the logs are in {folder.relative_to(ROOT)}", error=True)
    return status if status >= 0 else 128 - status


def nothing_private(outputs):
    """How a command ends that is held to it that no log tells what it may not."""
    search = [toolbox.SAM / "bin/python", ROOT / "infra/local/private.py", outputs["endpoint"], outputs["region"]]
    return subprocess.run(search, env=local_aws(outputs["endpoint"]), check=False).returncode


def watch(_options):
    outputs = current_outputs()
    settings = DEV / "watch.env"
    # Nobody stands before this API: what a token is worth, the authorizer of the deployed one decides.
    variables = outputs["environment"] | {"AUTH_MODE": "off"}
    settings.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    print("POST http://127.0.0.1:9000/workflow/process\n"
          "cargo lambda invoke api-process --invoke-address 127.0.0.1 --data-file tests/events/api-process.json\n",
          flush=True)
    with child(["cargo", "lambda", "watch", "--invoke-address", "127.0.0.1", "--env-file", settings,
                "--profile", "quick"],
               env=local_aws(outputs["endpoint"]), cwd=ROOT) as process:
        return process.wait()


def token(options):
    outputs = current_outputs()
    groups = [group for group in options.groups.split(",") if group]
    print(sign_token(outputs, options.user, groups))


def current_outputs():
    """What the stack around this process wrote, or else the one of `dev`."""
    try:
        return json.loads(Path(os.environ.get("IHELPER_OUTPUTS", OUTPUTS)).read_text())
    except FileNotFoundError:
        raise Failure("no stack is up: start one with `make dev`") from None


COMMANDS = {"tools": tools, "build": build, "up": up, "dev": dev, "down": down, "run": run, "watch": watch,
            "token": token}


def sign_token(outputs, user, groups):
    """A token for the stack with these outputs, good for an hour."""
    return subprocess.run(
        [toolbox.MINISTACK / "bin/python", ROOT / "infra/local/tokens.py", "sign", ISSUER,
         outputs["issuer"], outputs["audience"], user, *groups],
        check=True, capture_output=True, text=True).stdout.strip()


# ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def start(folder, outputs_path, options, tied=True):
    """Start a local AWS, deploy to it, and write the outputs. Whoever calls stops it with `stop_recorded`.

    A tied one ends with this process, however that ends.
    """
    begun = time.monotonic()
    # What only tests start is for tests.
    install_tools(["sam", "ministack", *(["mcp", "llama", "contract"] if options.all_targets else [])])
    build_functions(options.all_targets)
    process, endpoint = start_local_aws(folder, options.port, tied)
    parameters = dict(item.split("=", 1) for item in options.parameter)
    if options.traces:
        parameters["TracesEndpoint"] = f"http://127.0.0.1:{quiet_port()}/v1/traces"
    outputs = deploy(folder, endpoint, parameters)
    outputs |= {"process": process.pid, "traces_endpoint": parameters.get("TracesEndpoint")}
    staged = outputs_path.with_suffix(".tmp")
    staged.write_text(json.dumps(outputs, indent=2) + "\n")
    staged.rename(outputs_path)
    say(f"the bundle is up after {seconds(time.monotonic() - begun)}")
    return process, outputs


def install_tools(names):
    if sys.version_info < (3, 11):
        raise Failure(f"the pinned tools need Python 3.11, and this is {platform.python_version()}")
    for environment in toolbox.outdated(names):
        log = LOCAL / f"tools-{environment.name}.log"
        with phase(f"installing {environment.name}, from {toolbox.LOCKS[environment].relative_to(ROOT)}", log):
            toolbox.install(environment, log)


def build_functions(all_targets):
    log = LOCAL / "build.log"
    LOCAL.mkdir(exist_ok=True)
    # Tests unite the features of more crates. Behind them, the same selection finds every dependency compiled; for the
    # functions alone, it would compile a hundred more than they need.
    selection = ["--workspace", "--all-targets"] if all_targets else [
        argument for name in FUNCTIONS for argument in ("--package", name)]
    with phase("building the functions", log) as report:
        # cargo shows how far it is only when told that somebody looks.
        environment = os.environ | {"CARGO_TERM_PROGRESS_WHEN": "always", "CARGO_TERM_PROGRESS_WIDTH": "100",
                                    "CARGO_TERM_COLOR": "never"}
        with child(["cargo", "build", "--profile", "quick", "--locked", *selection], env=environment, cwd=ROOT,
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process, log.open("wb") as output:
            while chunk := process.stdout.read1(65536):
                output.write(re.sub(rb"[^\r\n]*Building \[[^\r\n]*\r", b"", chunk))
                if progress := re.findall(rb"\] (\d+/\d+)", chunk):
                    report(f"{progress[-1].decode()} crates")
            output.flush()
            if process.wait():
                raise Failure("the functions do not build", log=log)
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "quick"
        for name in FUNCTIONS:
            package(target / name, BUILD / f"{name}.zip")


def package(built, archive):
    """Zip a binary as Lambda wants it, unless that was done. sam would do it too, at every deploy and three times slower."""
    with toolbox.exclusive(BUILD / "lock"):
        modified = built.stat().st_mtime_ns
        if archive.exists() and archive.stat().st_mtime_ns == modified:
            return
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        staged = archive.with_suffix(".tmp")
        with zipfile.ZipFile(staged, "w", compresslevel=1) as output, built.open("rb") as binary:
            with output.open(entry, "w") as member:
                shutil.copyfileobj(binary, member, 1 << 20)
        os.utime(staged, ns=(modified, modified))
        staged.rename(archive)


def start_local_aws(folder, port, tied):
    port = port or free_port()
    endpoint = f"http://127.0.0.1:{port}"
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    log = folder / "ministack.log"
    # The functions inherit all this, so nothing of the user's own environment is in it.
    environment = {name: value for name, value in local_aws(endpoint).items()
                   if name.startswith("AWS_") or name in ("HOME", "LANG", "PATH", "NO_PROXY", "no_proxy")} | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        # With `cryptography` there, it would open another port, on every interface.
        "IOT_MTLS_ENABLED": "0",
        # A process, even where there is a Docker engine.
        "LAMBDA_EXECUTOR": "local",
        "TMPDIR": str(scratch),
        "S3_DATA_DIR": str(scratch / "s3"),
        "STATE_DIR": str(scratch / "state"),
    }
    with phase("starting the local AWS", log):
        with log.open("wb") as output:
            process = spawn([toolbox.MINISTACK / "bin/python", "-P", LOCAL_AWS], env=environment, cwd=scratch,
                            tied=tied, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        STARTED[process.pid] = process
        (folder / "process").write_text(str(process.pid))

        def answers():
            if process.poll() is not None:
                raise Failure("the local AWS ended while it started", log=log)
            try:
                return http("GET", f"{endpoint}/_ministack/health")
            except OSError:
                return False

        # Seconds even on a busy machine; a minute is a fault.
        if not wait_for(answers, seconds=60):
            raise Failure("the local AWS does not answer", log=log)
    return process, endpoint


def deploy(folder, endpoint, parameters):
    log = folder / "deploy.log"
    with phase("deploying template.yaml", log):
        environment = local_aws(endpoint) | {
            "SAM_CLI_TELEMETRY": "0",
            # AWS would mind being asked so often; nobody does here.
            "SAM_CLI_POLL_DELAY": "0.2",
        }
        issuer = publish_issuer(endpoint)
        http("PUT", f"{endpoint}/{ARTIFACT_BUCKET}")
        parameters = {
            "Architecture": "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64",
            "JwtIssuer": issuer,
            "JwtAudience": AUDIENCE,
            "SenderAddress": SENDER,
            "PublicUrl": api_url(endpoint, STACK),
            "ProtectData": "false",
        } | parameters
        logged(["sam", "deploy", "--template-file", built_template(folder), "--config-file", ROOT / "samconfig.toml",
                "--config-env", "local", "--stack-name", STACK, "--region", REGION, "--s3-bucket", ARTIFACT_BUCKET,
                # With this tag the API's id is known before there is one, and so is the address that mail links to.
               "--tags", f"ms-custom-id={STACK}",
               "--no-progressbar", "--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())],
               log, environment)
        completed = logged([toolbox.MINISTACK / "bin/python", ROOT / "infra/local/complete.py", STACK,
                            parameters["SenderAddress"]], log, environment, capture=True)
    outputs = json.loads(completed)
    api = outputs.pop("api_id")
    return {
        "api_url": api_url(endpoint, api),
        "endpoint": endpoint,
        "region": REGION,
        "stack": STACK,
        "issuer": issuer,
        "audience": parameters["JwtAudience"],
        "sender": parameters["SenderAddress"],
        **outputs,
    }


def api_url(endpoint, api):
    return f"{endpoint}/_aws/execute-api/{api}/$default"


def publish_issuer(endpoint):
    """Put the local issuer's public key where the authorizer looks for it: two objects of a bucket."""
    if not (ISSUER / "jwks.json").exists():
        with toolbox.exclusive(LOCAL / "issuer.lock"):
            subprocess.run([toolbox.MINISTACK / "bin/python", ROOT / "infra/local/tokens.py", "key", ISSUER], check=True)
    issuer = f"{endpoint}/{ISSUER_BUCKET}"
    keys = f"{issuer}/.well-known/jwks.json"
    http("PUT", issuer)
    http("PUT", keys, (ISSUER / "jwks.json").read_bytes())
    http("PUT", f"{issuer}/.well-known/openid-configuration", json.dumps({"issuer": issuer, "jwks_uri": keys}).encode())
    return issuer


def built_template(folder):
    """template.yaml as `sam build` would leave it: the same, but the code is the built one."""
    text = (ROOT / "template.yaml").read_text()
    for name in FUNCTIONS:
        text = text.replace(f"CodeUri: functions/{name}/\n", f"CodeUri: {BUILD / name}.zip\n")
    text = text.replace("TemplateURL: infra/", f"TemplateURL: {ROOT}/infra/")
    path = folder / "template.yaml"
    path.write_text(text)
    return path


def local_aws(endpoint):
    """The environment for programs that talk to the local AWS, and for it itself."""
    # Nothing of the user's own account leaks in, and no proxy stands between loopback and loopback.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    beside = [part for name in ("NO_PROXY", "no_proxy") if (part := os.environ.get(name))]
    no_proxy = ",".join(["127.0.0.1", "localhost", *beside])
    return inherited | {
        "PATH": toolbox.path(),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def show(outputs):
    rows = [("API", outputs["api_url"])]
    rows += [(f"queue of {name}", url) for name, url in outputs["queue_urls"].items()]
    rows += [(f"dead letters of {name}", url) for name, url in outputs["dead_letter_urls"].items()]
    rows += [("event bus", outputs["bus"])]
    rows += [(f"bucket for {name}", bucket) for name, bucket in outputs["buckets"].items()]
    rows += [("table", outputs["table"]), ("AWS", f"{outputs['endpoint']} ({outputs['region']})"),
             ("mail sent", f"{outputs['endpoint']}/_ministack/ses/messages"),
             ("all of it", OUTPUTS.relative_to(ROOT)), ("a token", "make token USER=alice GROUPS=operators")]
    width = max(len(name) for name, _ in rows)
    print("\n" + "\n".join(f"  {name:<{width}}  {value}" for name, value in rows), flush=True)


# ── Processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Failure(Exception):
    """Something that the user should read, and the end of the log that explains it."""

    def __init__(self, message, log=None):
        super().__init__(message)
        self.message, self.log = message, log

    def __str__(self):
        if not self.log or not self.log.exists():
            return self.message
        tail = "".join(f"    {line}\n" for line in self.log.read_text(errors="replace").splitlines()[-40:])
        return f"{self.message}; the end of {self.log}:\n{tail}".rstrip()


class Interrupted(BaseException):
    def __init__(self, number):
        super().__init__(number)
        self.number = number


def _interrupt(number, _frame):
    # One is enough; the second would interrupt the cleaning up after the first.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


def spawn(command, tied=True, **arguments):
    """Start a program as the leader of a group of its own, so that all its children can be stopped with it."""
    parent = os.getpid()

    def before():
        if tied and sys.platform == "linux":
            # PR_SET_PDEATHSIG: even if this process is killed outright, the child hears of it.
            LIBC.prctl(1, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

    try:
        return subprocess.Popen([str(part) for part in command], start_new_session=True, preexec_fn=before, **arguments)
    except FileNotFoundError:
        raise Failure(f"`{command[0]}` is not installed") from None


@contextmanager
def child(command, **arguments):
    """A program that never outlives this block."""
    process = spawn(command, **arguments)
    try:
        yield process
    finally:
        stop_group(process.pid, process)


def stop_group(leader, process=None):
    """Ask a group of processes to end, and end it."""
    def gone():
        if process:
            process.poll()
        try:
            os.killpg(leader, 0)
            return False
        except (ProcessLookupError, PermissionError):
            return True

    for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        if gone():
            return
        try:
            os.killpg(leader, number)
        except ProcessLookupError:
            return
        # What is left after its leader has no reason to linger.
        wait_for(lambda: gone() or (process and process.poll() is not None), seconds=patience)


def stop_recorded(folder):
    """Stop the local AWS whose process a folder remembers, and the functions that it started."""
    leader = recorded(folder / "process")
    if leader and str(LOCAL_AWS) in command_of(leader):
        stop_group(leader, STARTED.pop(leader, None))
    (folder / "process").unlink(missing_ok=True)
    shutil.rmtree(folder / "tmp", ignore_errors=True)


def recorded(path):
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def command_of(pid):
    return subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout


@contextmanager
def owned(folder, otherwise):
    """Own a folder while the block runs. The lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "owner").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(otherwise) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def is_owned(folder):
    try:
        with (folder / "owner").open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def sweep_runs():
    """Take away what runs that were killed outright have left, and all logs but the latest three runs'."""
    left = [folder for folder in RUNS.glob("*") if not is_owned(folder)]
    for folder in left:
        stop_recorded(folder)
    for folder in sorted(left, key=lambda folder: folder.stat().st_mtime)[:-3]:
        shutil.rmtree(folder, ignore_errors=True)


def logged(command, log, environment, capture=False):
    """Run a program to its end; what it says goes to the log, or is given back."""
    with log.open("ab") as output:
        with child(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE if capture else output, stderr=output) as process:
            answer = process.stdout.read() if capture else None
            if process.wait():
                raise Failure(f"`{Path(str(command[0])).name}` ended with {process.returncode}", log=log)
    return answer


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def quiet_port():
    """A free port that the system gives to nobody by itself, so that it still is free when a test comes to listen."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def http(method, url, body=None):
    # No proxy, whatever the environment says: this is loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data=body, method=method), timeout=10) as answer:
        return answer.read()


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


# ── Progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# How often a long phase says that it still goes on, where lines cannot be written over.
HEARTBEAT_SECONDS = 15


def say(text, error=False):
    print(("✗ " if error else "· ") + text, file=sys.stderr, flush=True)


def seconds(value):
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {int(value % 60)} s"


@contextmanager
def phase(title, log):
    """Show that something goes on, how far it is, and how long it took."""
    begun, detail, over = time.monotonic(), [""], threading.Event()
    live = sys.stderr.isatty()

    def line(mark):
        note = f" · {detail[0]}" if detail[0] else ""
        return f"{mark} {title} {seconds(time.monotonic() - begun)}{note}"

    def tick():
        while not over.wait(0.2 if live else HEARTBEAT_SECONDS):
            sys.stderr.write(f"\r\x1b[2K{line('…')}" if live else f"{line('…')}\n")
            sys.stderr.flush()

    def report(text):
        detail[0] = text

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield report
    except subprocess.CalledProcessError as error:
        raise Failure(f"{title}: `{Path(str(error.cmd[0])).name}` ended with {error.returncode}", log=log) from None
    finally:
        failed = sys.exc_info()[0] is not None
        over.set()
        ticker.join()
        detail[0] = "" if not failed else detail[0]
        sys.stderr.write(("\r\x1b[2K" if live else "") + line("✗" if failed else "✓") + "\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
