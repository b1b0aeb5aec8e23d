# alyx-proxy one-setup: makes the proxy at URL the database that ONE asks, on this machine and for this user.
#
#     curl -fsSL http://lab-server:8040/-/one-setup.py | python3 -           Linux and macOS
#     irm http://lab-server:8040/-/one-setup.py | py -                       Windows' PowerShell
#
# With --undo behind it the same line puts everything back, byte for byte; --help tells the rest. Python 3.8 or later,
# and nothing but its standard library. It does what the command `alyx-proxy one-setup` does (src/one/ in the project's
# source): a test runs both in the same homes and compares every byte.
import argparse
import atexit
import hashlib
import http.client
import json
import os
import re
import ssl
import sys
import tempfile
import unicodedata
import urllib.error
import urllib.request
from pathlib import Path

# The proxy's, as this script was asked for.
URL = "http://127.0.0.1:8040"

if sys.version_info < (3, 8):
    sys.exit("one-setup: Python 3.8 or later is needed; this is %d.%d" % sys.version_info[:2])

ARRIVED = False


def _whole():
    """A script that was cut short on its way ends without a word: say so."""
    if not ARRIVED:
        sys.stderr.write("one-setup: the script did not arrive whole; nothing was done\n")
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    atexit.register(_whole)

CACHES = ".caches"
DATA_SERVER = "https://ibl.flatironinstitute.org/public"
# Parameters that go over from the database that is taken over, and ONE's own defaults of them.
KEPT = {
    "ALYX_LOGIN": "",
    "HTTP_DATA_SERVER": DATA_SERVER,
    "HTTP_DATA_SERVER_LOGIN": None,
    "HTTP_DATA_SERVER_PWD": None,
}
STORE = ".alyx-proxy-undo"
LIST = "list.json"
NEW = ".alyx-proxy-new"
VIEW, DATA = "/-/one", "/-/data"
ADDRESS = r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~%/-]*)?"


class Failure(Exception):
    """Why it was not done; `status` is the exit status: 1 failed, 2 wrong usage, 3 no proxy is running there."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def strange(path, why):
    """A file is not what ONE, or this script, writes."""
    return Failure(1, f"{path}: not one of ONE's parameter files ({why}); mend it or move it away first")


# What ONE computes ----------------------------------------------------------------------------------------------------


def key(url):
    """ONE's name for a database (one.params._key_from_url)."""
    url = unicodedata.normalize("NFKC", url)
    url = re.sub("^https?://", "", url).strip("/")
    url = re.sub(r"[^.\w\s-]", "_", url.lower())
    return re.sub(r"[-\s]+", "-", url)


def places(home):
    """ONE's folder for parameters (iblutil.io.params.getfile), and its default one for data files (one.params)."""
    base = Path(os.getcwd(), home) if home else Path.home()
    if sys.platform not in ("win32", "cygwin"):
        folder = base / ".one"
    elif home:
        folder = base / "AppData" / "Roaming" / ".one"
    elif os.environ.get("APPDATA"):
        folder = Path(os.environ["APPDATA"], ".one")
    else:
        raise Failure(1, "%APPDATA% is not set: ONE has its parameters there")
    return base, folder, base / "Downloads" / "ONE"


def address(url):
    """The proxy's base URL. A browser's address is cut at the proxy's own pages, which lie below `/-/`."""
    cut = url[:-2] if url.endswith("/-") else url.split("/-/")[0]
    cut = cut.rstrip("/")
    parts = re.fullmatch(ADDRESS, cut)
    port, path = (parts[2] or "", parts[3] or "") if parts else ("", "")
    # Some clients would take dots out, and others would not.
    dots = [name for name in path.split("/") if name.lower().replace("%2e", ".") in (".", "..")]
    if not parts or int(port[1:] or 0) > 65535 or dots:
        raise Failure(2, f"--url {url}: must be an http or https URL, such as http://lab-server:8040")
    return cut


