"""Checks the manifests for Kubernetes and the compose file against their schemas."""

import compose_spec
import jsonschema
import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

from programs import DEPLOY, ROOT, program, run

KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = [KUBERNETES, KUBERNETES / "redis", KUBERNETES / "monitoring"]
# The oldest and the newest that the manifests are meant for.
VERSIONS = ["1.27", "1.37"]


def check_kubernetes():
    """Renders what `kubectl apply -k` would apply, and holds every object against its schema."""
    kubectl = program("kubectl", "it from https://kubernetes.io/docs/tasks/tools")
    failures, count = [], 0
    for overlay in OVERLAYS:
        rendered, failure = run(kubectl, "kustomize", overlay)
        if failure:
            failures.append(failure)
            continue
        objects = list(yaml.safe_load_all(rendered))
        count += len(objects)
        for item in objects:
            where = f"{item['kind']} {item['metadata']['name']}"
            failures += [f"{where}: {failure}" for failure in schema_failures(item)]
        failures += reference_failures(objects)
    for script in KUBERNETES.rglob("*.sh"):
        failures += filter(None, [run("sh", "-n", script)[1]])
    return {"manifests": count}, failures


def schema_failures(item):
    if item["kind"] == "ServiceMonitor":
        schema = strict(prometheus_operator.ServiceMonitor.model_json_schema(by_alias=True))
        yield from (error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(item))
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{version}: {'.'.join(map(str, error.path))}: {error.message}"


def strict(schema):
    """Forbids fields that a schema does not name: a misspelt one would be passed over."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            strict(value)
    elif isinstance(schema, list):
        for value in schema:
            strict(value)
    return schema


def reference_failures(objects):
    """Whether what refers to pods by their labels, or to a Deployment by its name, finds any."""
    workloads = [item for item in objects if "template" in item.get("spec", {})]
    labels = [item["spec"]["template"]["metadata"]["labels"] for item in workloads]
    for item in objects:
        spec, where = item.get("spec", {}), f"{item['kind']} {item['metadata']['name']}"
        if item["kind"] == "HorizontalPodAutoscaler":
            target = (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
            if target not in [(workload["kind"], workload["metadata"]["name"]) for workload in workloads]:
                yield f"{where}: there is no {target[0]} {target[1]}"
        selector = {
            "Service": lambda: spec["selector"],
            "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
        }.get(item["kind"])
        if selector and not any(selector().items() <= found.items() for found in labels):
            yield f"{where}: no pod has the labels {selector()}"


def check_compose():
    path = ROOT / "compose.yaml"
    document = yaml.safe_load(path.read_text())
    failures = []
    for name, service in document["services"].items():
        failures += [
            f"{name} depends on {other}, which is no service"
            for other in service.get("depends_on", [])
            if other not in document["services"]
        ]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                if not (ROOT / source).exists():
                    failures.append(f"{name}: there is no {source}")
            elif source not in document["volumes"]:
                failures.append(f"{name}: volume {source} is not declared")
        # Of a range of host ports for one port, of which each replica takes one, the validator knows nothing.
        service["ports"] = [one_host_port(port) for port in service.get("ports", [])]
    try:
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(document)).validate()
    except ValueError as error:
        failures.append(str(error))
    return {"manifests": 1}, failures


def one_host_port(port):
    host, _, container = port.rpartition(":")
    return f"{host.split('-')[0]}:{container}"
