"""Checks Prometheus' rules and Grafana's dashboards, and that both ask only for metrics that exist."""

import json
import re
import tempfile

import yaml

from programs import DEPLOY, ROOT, program, run

PROMETHEUS = DEPLOY / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))

# What Prometheus makes itself.
OWN_METRICS = {"up", "ALERTS"}
# What a histogram is asked for.
HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")
SEVERITIES = {"critical", "warning", "info"}


def rules():
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def check_prometheus():
    promtool = program("promtool", "prometheus")
    failures = []
    for path in sorted(PROMETHEUS.glob("*.yml")):
        failures.append(run(promtool, "check", "config", path)[1])
    failures.append(run(promtool, "check", "rules", *RULES)[1])
    failures.append(run(promtool, "test", "rules", *TESTS)[1])
    return {"rules": sum(1 for _ in rules())}, [failure for failure in failures if failure]


def check_alerts():
    """Each alert says what it is about, has a section that says what to do, and a test."""
    sections = anchors(ROOT / "docs/operations.md")
    tested = "".join(path.read_text() for path in TESTS)
    known = known_metrics()
    failures = []
    alerts = [rule for rule in rules() if "alert" in rule]
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        failures += [f"{name}: there is no metric {metric}" for metric in unknown(rule["expr"], known)]
    for alert in alerts:
        name, annotations = alert["alert"], alert.get("annotations", {})
        if alert.get("labels", {}).get("severity") not in SEVERITIES:
            failures.append(f"{name}: severity is none of {sorted(SEVERITIES)}")
        failures += [f"{name}: no {key}" for key in ("summary", "description") if not annotations.get(key)]
        page, _, section = annotations.get("runbook_url", "").partition("#")
        if page != "docs/operations.md" or section not in sections:
            failures.append(f"{name}: docs/operations.md has no section for its runbook_url, #{name.lower()}")
        if f'alertname="{name}"' not in tested:
            failures.append(f"{name}: no test in deploy/prometheus/tests fires it")
    return {"alerts": len(alerts)}, failures


def check_dashboards():
    known = known_metrics()
    failures, ids = [], set()
    files = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
    sources = (DEPLOY / "grafana/provisioning/datasources").glob("*.yml")
    source_ids = {source["uid"] for path in sources for source in yaml.safe_load(path.read_text())["datasources"]}
    for path in files:
        dashboard = json.loads(path.read_text())
        if not dashboard.get("title") or dashboard.get("uid") in ids | {None}:
            failures.append(f"{path.name}: no title, or no uid of its own")
        ids.add(dashboard.get("uid"))
        for panel in dashboard["panels"]:
            if panel["type"] == "row":
                continue
            where = f"{path.name}, {panel['title']}"
            if not panel.get("targets"):
                failures.append(f"{where}: no query")
            for target in panel.get("targets", []):
                if target["datasource"]["uid"] not in source_ids:
                    failures.append(f"{where}: its data source is not provisioned")
                failures += [f"{where}: there is no metric {metric}" for metric in unknown(target["expr"], known)]
    failures += syntax_failures(files)
    return {"dashboards": len(files)}, failures


def syntax_failures(dashboards):
    """Has promtool read every query of the dashboards, as if they were rules."""
    queries = [
        target["expr"]
        for path in dashboards
        for panel in json.loads(path.read_text())["panels"]
        for target in panel.get("targets", [])
    ]
    # promtool takes no rule twice, so each has a name of its own.
    made = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    document = yaml.safe_dump({"groups": [{"name": "queries", "rules": made}]})
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(document)
        file.flush()
        failure = run(program("promtool", "prometheus"), "check", "rules", file.name)[1]
    return [failure] if failure else []


def known_metrics():
    """Every metric in the tables of docs/metrics.md, and what rules record."""
    text = (ROOT / "docs/metrics.md").read_text()
    known = OWN_METRICS | {rule["record"] for rule in rules() if "record" in rule}
    for name, kind in re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|", text, re.MULTILINE):
        if kind == "histogram":
            known |= {name + suffix for suffix in HISTOGRAM_SUFFIXES}
        else:
            known.add(name)
    return known


def unknown(expression, known):
    return sorted(metrics(expression) - known)


def metrics(expression):
    """The names of metrics in an expression: words that are no label, function, number or keyword."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    text = re.sub(r"\{[^}]*\}", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    text = re.sub(r"\boffset\s+\w+", " ", text)
    words = re.finditer(r"(?<![\w.:])[a-zA-Z_][\w:]*(?!\w|\s*\()", text)
    return {word.group() for word in words} - {"and", "or", "unless", "bool"}


def anchors(path):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
