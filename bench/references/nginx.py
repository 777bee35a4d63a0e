"""Reference (c): nginx with nothing to do. ``return 200``, and files, kept open as the edge keeps its own."""

import os
from pathlib import Path

from stack.binaries import find_nginx
from stack.files import make_private_dir, write_private
from stack.process import Process
from stack.servers import Server
from stack.servers.base import LOOPBACK, tcp_answers

_CONFIG = """\
worker_processes {workers};
worker_rlimit_nofile 16384;
pid nginx.pid;
error_log stderr alert;
{user}
events {{ worker_connections 8192; multi_accept on; }}
http {{
    sendfile off;
    output_buffers 1 128k;
    open_file_cache max=10000 inactive=60s;
    open_file_cache_valid 1s;
    access_log off;
    server_tokens off;
    keepalive_requests 10000;
    client_body_temp_path temp/body; proxy_temp_path temp/proxy; fastcgi_temp_path temp/fastcgi;
    uwsgi_temp_path temp/uwsgi; scgi_temp_path temp/scgi;
    server {{
        listen {host}:{port} backlog=4096;
        root "{files}";
        location = /200 {{ default_type application/json; return 200 '{{"status":"ok"}}'; }}
        location / {{ default_type text/html; }}
    }}
}}
"""


class NginxReference(Server):
    """The edge's own binary, with as many workers."""

    role = "reference"
    stop_grace_s = 1.0

    def __init__(self, folder: Path) -> None:
        """Serve the files that are put into ``files``."""
        super().__init__("nginx", folder)
        self._folder = self.data_dir / self.name
        self.files = self._folder / "files"

    async def prepare(self) -> None:
        """Write the configuration."""
        for folder in (self._folder, self._folder / "temp", self.files):
            make_private_dir(folder)
        config = _CONFIG.format(
            workers=min(os.cpu_count() or 1, 4),
            user="user root;" if os.geteuid() == 0 else "",
            host=LOOPBACK,
            port=self.port,
            files=self.files,
        )
        write_private(self._folder / "nginx.conf", config)

    def process(self) -> Process:
        """The master; SIGTERM ends its workers at once."""
        return Process(
            [
                str(find_nginx()),
                *("-p", f"{self._folder}/"),
                *("-c", str(self._folder / "nginx.conf")),
                *("-e", "stderr", "-g", "daemon off;"),
            ],
            log_path=self.log_path,
            cwd=self._folder,
        )

    async def probe(self) -> bool:
        """Accepts connections."""
        return await tcp_answers(self.port)
