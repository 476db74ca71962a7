"""What ministack leaves out of a deployed stack, added through its API; then the stack's outputs, as JSON.

It runs in ministack's environment, which has boto3, against the endpoint in `AWS_ENDPOINT_URL`.
ministack 1.5.33 accepts these parts of a template and drops them:

- the routes and authorizers of `AWS::Serverless::HttpApi`;
- a table's `TimeToLiveSpecification`.

Nothing here is told twice: all of it is read from the template that was deployed. Running it again changes nothing.

    complete.py <stack> <sender address>
"""

import json
import re
import sys

import boto3
import yaml

cloudformation = boto3.client("cloudformation")
gateway = boto3.client("apigatewayv2")


class Template(yaml.SafeLoader):
    """Reads `!Ref` and its kind as what stands behind it: no nested template says there what is missing here."""


Template.add_multi_constructor("!", lambda loader, _tag, node: node.value)


def stacks(name):
    """The stack and those nested in it: each one's processed template, and its resources' physical ids."""
    template = cloudformation.get_template(StackName=name, TemplateStage="Processed")["TemplateBody"]
    template = yaml.load(template, Template) if isinstance(template, str) else template
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    yield template, {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    for resource in resources:
        if resource["ResourceType"] == "AWS::CloudFormation::Stack":
            yield from stacks(resource["PhysicalResourceId"])


def complete_table(table, properties):
    wanted = properties.get("TimeToLiveSpecification")
    dynamodb = boto3.client("dynamodb")
    if wanted and dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] != "ENABLED":
        dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=wanted)


def complete_api(api, body, parameters, physical_ids):
    def value(part):
        return parameters[part["Ref"]] if isinstance(part, dict) else part

    authorizers = {item["Name"]: item["AuthorizerId"] for item in gateway.get_authorizers(ApiId=api)["Items"]}
    for name, scheme in body["components"]["securitySchemes"].items():
        if name in authorizers:
            continue
        authorizer = scheme["x-amazon-apigateway-authorizer"]
        jwt = authorizer["jwtConfiguration"]
        authorizers[name] = gateway.create_authorizer(
            ApiId=api, Name=name, AuthorizerType="JWT", IdentitySource=[authorizer["identitySource"]],
            JwtConfiguration={"Issuer": value(jwt["issuer"]), "Audience": [value(part) for part in jwt["audience"]]},
        )["AuthorizerId"]

    integrations = {item["IntegrationUri"]: item["IntegrationId"] for item in gateway.get_integrations(ApiId=api)["Items"]}
    routes = {item["RouteKey"] for item in gateway.get_routes(ApiId=api)["Items"]}
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            integration = operation["x-amazon-apigateway-integration"]
            # The function's alias: its physical id is its ARN.
            function = physical_ids[re.search(r"functions/\$\{(\w+)\}/", integration["uri"]["Fn::Sub"]).group(1)]
            if function not in integrations:
                integrations[function] = gateway.create_integration(
                    ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function,
                    PayloadFormatVersion=integration["payloadFormatVersion"])["IntegrationId"]
            # What no other route takes has no method.
            key = path if path == "$default" else f"{method.upper()} {path}"
            if key in routes:
                continue
            guards = [name for requirement in operation.get("security", []) for name in requirement if name in authorizers]
            guard = {"AuthorizationType": "JWT", "AuthorizerId": authorizers[guards[0]]} if guards else {}
            gateway.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integrations[function]}", **guard)


def verify_sender(address):
    """Nobody reads the sender's mail here, so it counts as confirmed."""
    mail = boto3.client("sesv2")
    if address not in {identity["IdentityName"] for identity in mail.list_email_identities()["EmailIdentities"]}:
        mail.create_email_identity(EmailIdentity=address)
    boto3.client("ses").verify_email_identity(EmailAddress=address)


def main(stack, sender):
    description = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in description["Parameters"]}
    for template, physical_ids in stacks(stack):
        for logical_id, resource in template["Resources"].items():
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::DynamoDB::Table":
                complete_table(physical_ids[logical_id], properties)
            elif resource["Type"] == "AWS::ApiGatewayV2::Api":
                complete_api(physical_ids[logical_id], properties["Body"], parameters, physical_ids)
    verify_sender(sender)

    outputs = {item["OutputKey"]: item["OutputValue"] for item in description["Outputs"]}
    api = re.search(r"//([^.]+)\.", outputs["ApiUrl"]).group(1)
    functions = {
        folder: outputs[f"{logical_id}FunctionName"]
        for folder, logical_id in (
            ("api-process", "ApiProcess"), ("event-handler", "EventHandler"), ("email-consumer", "EmailConsumer"),
            ("document-consumer", "DocumentConsumer"), ("task-consumer", "TaskConsumer"))
    }
    environment = boto3.client("lambda").get_function_configuration(FunctionName=functions["api-process"])["Environment"]
    workflows = {"email_processing": "Email", "document_review": "Document", "task_automation": "Task"}
    json.dump({
        "api_id": api,
        "queue_urls": {workflow: outputs[f"{name}QueueUrl"] for workflow, name in workflows.items()},
        "dead_letter_urls": {workflow: outputs[f"{name}DeadLetterUrl"] for workflow, name in workflows.items()}
        | {"events": outputs["EventDeadLetterUrl"]},
        "bus": outputs["EventBusName"],
        "buckets": {"mail": outputs["MailBucketName"], "documents": outputs["DocumentBucketName"],
                    "payloads": outputs["PayloadBucketName"]},
        "table": outputs["TableName"],
        "configuration_set": outputs["ConfigurationSetName"],
        "functions": functions,
        "environment": environment["Variables"],
    }, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
