"""The servers that are compared: each is started before the same origin and answers the same requests."""

import http.client
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from .machine import Run, free_port

TOKEN = "Token " + "b" * 40


@dataclass
class Contender:
    """A running server."""

    name: str
    port: int
    pid: int

    def ask(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers={"Authorization": TOKEN, "Host": f"127.0.0.1:{self.port}", **headers})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, body


def origin(run: Run) -> int:
    """The upstream's port."""
    port = free_port()
    run.start([run.example("origin"), str(port)], port)
    return port


def bare(run: Run, origin_port: int) -> Contender:
    port = free_port()
    process = run.start([run.example("origin"), str(port), f"http://localhost:{origin_port}"], port)
    return Contender("bare hyper", port, process.pid)


def proxy(run: Run, upstream: str, name: str = "alyx-proxy", log: str = "warn", folder: str = "data", environment: dict[str, str] | None = None, **settings: str) -> Contender:
    port = free_port()
    command = [run.program, "serve", "--listen", f"127.0.0.1:{port}", "--upstream", upstream, "--log", log]
    command += ["--data-dir", str(run.folder / folder), "--set", "upstream.requests_per_minute=0"]
    for key in ("freshness.records", "freshness.reference", "freshness.volatile"):
        command += ["--set", f"{key}=1d"]
    for key, value in settings.items():
        command += ["--set", f"{key.replace('__', '.')}={value}"]
    environment = {**os.environ, "ALYX_PROXY_CONFIG": "/dev/null", **(environment or {})}
    process = run.start(command, port, env=environment)
    return Contender(name, port, process.pid)


def _nginx(run: Run, name: str, port: int, http: str, server: str) -> int:
    """Starts an nginx with these parts of its configuration; its process."""
    folder = run.folder / f"{name}-{port}"
    folder.mkdir()
    user = f"user {pwd.getpwuid(os.getuid()).pw_name};" if os.getuid() == 0 else ""
    temporary = "\n".join(
        f"  {kind}_temp_path {folder}/{kind};" for kind in ("proxy", "client_body", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(f"""
{user}
worker_processes auto;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
{temporary}
{http.replace("FOLDER", str(folder))}
  server {{
{server}
  }}
}}
""")
    return run.start(["nginx", "-c", str(config), "-p", str(folder), "-e", f"{folder}/error.log"], port).pid


def nginx(run: Run, origin_port: int, sendfile: bool = True, log: bool = False, gzip: str = "") -> Contender:
    """nginx with its cache; with `gzip`, it codes each answer itself ("on") or has stored what was coded before it ("stored")."""
    port = free_port()
    name = "nginx" if sendfile else "nginx, sendfile off"
    coding = 'proxy_set_header Accept-Encoding "";'
    if gzip:
        name = f"nginx, gzip {gzip}"
    if gzip == "stored":
        origin_port, coding = _coder(run, origin_port), "proxy_set_header Accept-Encoding gzip;"
    http = f"""
  gzip {"on" if gzip == "on" else "off"};
  gzip_types application/json;
  gzip_min_length 0;
  sendfile {"on" if sendfile else "off"};
  keepalive_requests 100000000;
  access_log {"FOLDER/access.log" if log else "off"};
  proxy_cache_path FOLDER/cache levels=1:2 keys_zone=all:10m max_size=4g inactive=1d;
"""
    server = f"""
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://127.0.0.1:{origin_port};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      {coding}
      proxy_cache all;
      proxy_cache_valid 200 1d;
      proxy_ignore_headers Vary Cache-Control Expires;
      add_header X-Cache-Status $upstream_cache_status;
    }}
"""
    pid = _nginx(run, "nginx", port, http, server)
    return Contender(name + (", access log" if log else ""), port, pid)


def _coder(run: Run, origin_port: int) -> int:
    """An nginx that has nothing to do but to code the origin's answers with gzip; its port."""
    port = free_port()
    server = f"""
    listen 127.0.0.1:{port};
    gzip on;
    gzip_types application/json;
    gzip_min_length 0;
    location / {{ proxy_pass http://127.0.0.1:{origin_port}; }}
"""
    _nginx(run, "coder", port, "  access_log off;", server)
    return port


def tls(run: Run, origin_port: int, key: Path, certificate: Path) -> int:
    """The origin behind TLS; its port."""
    port = free_port()
    server = f"""
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_session_tickets off;
    location / {{ proxy_pass http://127.0.0.1:{origin_port}; proxy_set_header Host $http_host; }}
"""
    _nginx(run, "tls", port, "  access_log off;", server)
    return port


def varnish(run: Run, origin_port: int) -> Contender:
    port = free_port()
    folder = run.folder / "varnish"
    folder.mkdir()
    vcl = folder / "default.vcl"
    vcl.write_text(f"""
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{origin_port}"; }}
# Of itself Varnish keeps nothing that was asked with a token.
sub vcl_recv {{ unset req.http.Cookie; return (hash); }}
sub vcl_backend_response {{ unset beresp.http.Vary; set beresp.ttl = 1d; }}
""")
    command = ["varnishd", "-F", "-a", f"127.0.0.1:{port}", "-f", str(vcl), "-s", "malloc,1g", "-n", str(folder / "work")]
    process = run.start(command, port)
    return Contender("Varnish", port, process.pid)


def squid(run: Run, origin_port: int) -> Contender:
    port = free_port()
    folder = run.folder / "squid"
    folder.mkdir()
    folder.chmod(0o777)
    config = folder / "squid.conf"
    config.write_text(f"""
http_port 127.0.0.1:{port} accel defaultsite=localhost no-vhost
cache_peer 127.0.0.1 parent {origin_port} 0 no-query originserver
http_access allow all
cache_mem 1 GB
maximum_object_size_in_memory 8 MB
refresh_pattern . 1440 100% 1440 override-expire ignore-private ignore-no-store ignore-auth
access_log none
cache_log {folder}/cache.log
pid_filename {folder}/pid
coredump_dir {folder}
request_header_access Authorization deny all
shutdown_lifetime 0 seconds
""")
    # Under a name of its own: by its name Squid finds its shared memory, which the system's Squid has too.
    process = run.start(["squid", "-N", "-n", f"bench{port}", "-f", str(config)], port)
    return Contender("Squid", port, process.pid)


def all_of(run: Run, origin_port: int, others: tuple[str, ...] = ()) -> list[Contender]:
    """Ours and all others that are not left out."""
    makers: dict[str, list[Callable[[], Contender]]] = {
        "nginx": [lambda: nginx(run, origin_port), lambda: nginx(run, origin_port, sendfile=False)],
        "varnishd": [lambda: varnish(run, origin_port)],
        "squid": [lambda: squid(run, origin_port)],
        "bare": [lambda: bare(run, origin_port)],
    }
    found = [proxy(run, f"http://localhost:{origin_port}")]
    for name, of_kind in makers.items():
        if run.has(name) and (not others or name in others):
            found += [make() for make in of_kind]
    return found
