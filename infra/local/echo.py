"""A function that answers with what it was sent, behind an API of its own on the local AWS, beside the bundle.

It runs in ministack's environment, which has boto3, against the endpoint in `AWS_ENDPOINT_URL`, and prints the API's id.

    echo.py <binary>
"""

import io
import platform
import sys
import zipfile
from pathlib import Path

import boto3

NAME = "bench-echo"


def main(binary):
    function = boto3.client("lambda").create_function(
        FunctionName=NAME, Runtime="provided.al2023", Handler="bootstrap", Role="arn:aws:iam::000000000000:role/bench",
        Architectures=["arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"],
        # As much as the API has.
        MemorySize=512, Timeout=29, Code={"ZipFile": zipped(Path(binary))},
        # As the API does.
        Environment={"Variables": {"ECHO_TELLS": "1"}})
    gateway = boto3.client("apigatewayv2")
    api = gateway.create_api(Name=NAME, ProtocolType="HTTP")["ApiId"]
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function["FunctionArn"],
        PayloadFormatVersion="2.0")["IntegrationId"]
    gateway.create_route(ApiId=api, RouteKey="$default", Target=f"integrations/{integration}")
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    print(api)


def zipped(binary):
    archive = io.BytesIO()
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(archive, "w", compresslevel=1) as output:
        output.writestr(entry, binary.read_bytes())
    return archive.getvalue()


if __name__ == "__main__":
    main(*sys.argv[1:])
