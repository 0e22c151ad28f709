"""Checks the manifests for Kubernetes and the compose file against their schemas."""

import base64

import compose_spec
import jsonschema
import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

from programs import DEPLOY, ROOT, run

KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = [KUBERNETES, KUBERNETES / "redis", KUBERNETES / "monitoring"]
# The oldest and the newest that the manifests are meant for.
VERSIONS = ["1.27", "1.37"]
GENERATORS = {"configMapGenerator": "ConfigMap", "secretGenerator": "Secret"}
KUSTOMIZATION_FIELDS = {"apiVersion", "kind", "namespace", "resources", "labels", "images", *GENERATORS}


def check_kubernetes():
    """Holds every object that `kubectl apply -k` would apply against its schema."""
    failures, count = [], 0
    for overlay in OVERLAYS:
        objects, mistakes = read(overlay)
        count += len(objects)
        for item in objects:
            where = f"{item['kind']} {item['metadata']['name']}"
            mistakes += [f"{where}: {failure}" for failure in schema_failures(item)]
        mistakes += reference_failures(objects)
        failures += [f"{overlay.relative_to(ROOT)}: {failure}" for failure in mistakes]
    for script in KUBERNETES.rglob("*.sh"):
        failures += filter(None, [run("sh", "-n", script)[1]])
    return {"manifests": count}, failures


def read(overlay):
    """The objects of a kustomization, those that it generates among them, and what is wrong with it.

    No package of Debian or PyPI renders a kustomization, so this reads the few fields that ours use. It leaves
    namespaces and labels out: they are the same for all.
    """
    document = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    failures = [f"field {field} is not one that is checked" for field in set(document) - KUSTOMIZATION_FIELDS]
    objects = []
    for resource in document.get("resources", []):
        path = (overlay / resource).resolve()
        if path.is_dir():
            below, mistakes = read(path)
            objects, failures = objects + below, failures + mistakes
        else:
            objects += yaml.safe_load_all(path.read_text())
    for generator, kind in GENERATORS.items():
        for generated in document.get(generator, []):
            data, mistakes = generated_data(overlay, generated)
            objects.append({"apiVersion": "v1", "kind": kind, "metadata": {"name": generated["name"]}, "data": data})
            failures += mistakes
    images = {container["image"].split(":")[0] for item in objects for container in containers(item)}
    for image in document.get("images", []):
        if image["name"] not in images:
            failures.append(f"no container has the image {image['name']}")
    return objects, failures


def generated_data(overlay, generated):
    lines, data, failures = list(generated.get("literals", [])), {}, []
    for path in generated.get("envs", []):
        text = (overlay / path).read_text()
        lines += [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in lines:
        key, separator, value = line.partition("=")
        if not separator:
            failures.append(f"{generated['name']}: {line!r} is not NAME=VALUE")
        data[key] = value
    for path in generated.get("files", []):
        data[path] = (overlay / path).read_text()
    return data, failures


def containers(item):
    pod = item.get("spec", {}).get("template", {}).get("spec", {})
    return pod.get("initContainers", []) + pod.get("containers", [])


def schema_failures(item):
    if item["kind"] == "Secret":
        # What kustomize writes encoded.
        item = {**item, "data": {key: base64.b64encode(value.encode()).decode() for key, value in item["data"].items()}}
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
    yield from missing_configuration(objects)


def missing_configuration(objects):
    """ConfigMaps and Secrets that a pod asks for by name and that no one makes."""
    made = {(item["kind"], item["metadata"]["name"]) for item in objects}
    for item in objects:
        pod = item.get("spec", {}).get("template", {}).get("spec", {})
        sources = [source for container in containers(item) for source in container.get("envFrom", [])]
        asked = [("ConfigMap", source.get("configMapRef")) for source in sources]
        asked += [("Secret", source.get("secretRef")) for source in sources]
        for volume in pod.get("volumes", []):
            asked.append(("ConfigMap", volume.get("configMap")))
            if "secret" in volume:
                asked.append(("Secret", {**volume["secret"], "name": volume["secret"]["secretName"]}))
        for kind, reference in asked:
            if reference and not reference.get("optional") and (kind, reference["name"]) not in made:
                yield f"{item['kind']} {item['metadata']['name']}: there is no {kind} {reference['name']}"


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
