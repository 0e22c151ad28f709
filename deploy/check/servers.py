"""Checks the configuration of servers by the servers themselves: systemd, nginx, Redis."""

import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from programs import DEPLOY, program, run

# How long Redis may take to answer, in seconds.
PATIENCE = 10


def check_systemd():
    """Has systemd read the units, where there is a systemd, as if what they start were installed."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        print("systemd: left out, there is no systemd-analyze", file=sys.stderr)
        return {}, []
    failures = []
    with tempfile.TemporaryDirectory() as directory:
        for unit in sorted((DEPLOY / "systemd").glob("*.service")):
            copy = pathlib.Path(directory, unit.name)
            copy.write_text(re.sub(r"/usr/local/bin/\S+", shutil.which("true"), unit.read_text()))
            done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60)
            # It ends with 0 although it warns of what it does not know; of units of the machine it warns too.
            warnings = [line for line in done.stderr.splitlines() if unit.name in line]
            failures += warnings or ([done.stderr] if done.returncode else [])
    return {}, failures


def check_nginx():
    nginx = program("nginx", "nginx-light")
    sample = (DEPLOY / "nginx/engines.conf").read_text()
    with tempfile.TemporaryDirectory() as directory:
        places = "".join(
            f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        whole = pathlib.Path(directory, "nginx.conf")
        whole.write_text(
            f"pid {directory}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{places}{sample}}}\n"
        )
        failure = run(nginx, "-t", "-q", "-c", whole)[1]
    return {}, [failure] if failure else []


def check_redis():
    """Starts a server with redis.conf, and asks it for what the state depends on."""
    server, client = program("redis-server", "redis-server"), program("redis-cli", "redis-tools")
    expected = {"cluster_enabled": "1", "aof_enabled": "1", "maxmemory_policy": "noeviction"}
    with tempfile.TemporaryDirectory() as directory, socket.socket() as bus_probe, socket.socket() as probe:
        for free in (probe, bus_probe):
            free.bind(("127.0.0.1", 0))
        port, bus = probe.getsockname()[1], bus_probe.getsockname()[1]
        probe.close(), bus_probe.close()
        command = [server, DEPLOY / "redis/redis.conf", "--bind", "127.0.0.1", "--port", port, "--dir", directory]
        command += ["--cluster-port", bus, "--daemonize", "no"]
        process = subprocess.Popen(map(str, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            deadline = time.monotonic() + PATIENCE
            answer, failure = "", "it was not asked"
            while failure and process.poll() is None and time.monotonic() < deadline:
                answer, failure = run(client, "-h", "127.0.0.1", "-p", port, "info", "everything")
                time.sleep(0.05)
        finally:
            process.terminate()
            output = process.communicate(timeout=PATIENCE)[0]
    if failure:
        return {}, [f"redis-server does not answer with redis.conf: {output}"]
    found = dict(line.split(":", 1) for line in answer.splitlines() if ":" in line)
    return {}, [
        f"{key} is {found.get(key)} instead of {value}" for key, value in expected.items() if found.get(key) != value
    ]
