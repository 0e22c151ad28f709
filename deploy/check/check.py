"""Checks everything under deploy/ that can be checked without a cluster; `just check-deploy` runs it.

Ends with one line of JSON, and with 1 if anything failed; what failed is explained before that.
"""

import json
import sys

import manifests
import monitoring
import servers

CHECKS = [
    monitoring.check_prometheus,
    monitoring.check_alerts,
    monitoring.check_dashboards,
    manifests.check_kubernetes,
    manifests.check_compose,
    servers.check_systemd,
    servers.check_nginx,
    servers.check_redis,
]


def main():
    counts = {"manifests": 0, "rules": 0, "alerts": 0, "dashboards": 0}
    failed = []
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        # One check that breaks down must not hide what the others find.
        try:
            found, failures = check()
        except Exception as error:
            found, failures = {}, [f"{type(error).__name__}: {error}"]
        for key, count in found.items():
            counts[key] += count
        for failure in failures:
            print(f"{name}: {failure}", file=sys.stderr)
        if failures:
            failed.append(name)
    print(json.dumps({**counts, "failed": failed}, separators=(",", ":")))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
