"""Checkov on the templates as they are deployed: the bundle's own after SAM's transform. It runs in sam's environment.

What an exception is for stands beside the resource, under `Metadata: checkov`.
"""

import json
import os
import shutil
import subprocess
import sys

import toolbox

# The translator looks up SAM's managed policies in IAM unless it is given some; the bundle uses none.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

FOLDER = toolbox.LOCAL / "audit"


class NoManagedPolicies:
    def load(self):
        return {}


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for nested in (toolbox.ROOT / "infra/templates").glob("*.yaml"):
        shutil.copy(nested, FOLDER)
    (FOLDER / "template.json").write_text(json.dumps(transformed(), indent=1, default=str))
    return subprocess.run(
        [toolbox.CHECKOV / "bin/checkov", "--directory", ".", "--framework", "cloudformation", "--compact", "--quiet",
         "--skip-download"],
        cwd=FOLDER,
        check=False,
    ).returncode


def transformed():
    """What CloudFormation makes of template.yaml, with the code and the nested templates uploaded somewhere."""
    template = yaml_parse((toolbox.ROOT / "template.yaml").read_text())
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if "CodeUri" in properties:
            properties["CodeUri"] = "s3://artifacts/code.zip"
        if "TemplateURL" in properties:
            properties["TemplateURL"] = "https://artifacts.s3.amazonaws.com/template.yaml"
    parameters = {name: facts.get("Default", "given") for name, facts in template["Parameters"].items()}
    return transform(template, parameters, NoManagedPolicies())


if __name__ == "__main__":
    sys.exit(main())
