# What ./check needs on the machine, and which package brings it. Read by scripts/install.sh.
# shellcheck shell=bash
#
# A new package is one more line, below the run that needs it:
#
#   need PROBE 'what for' APT DNF PACMAN BREW
#
# PROBE is a program, or a function below that succeeds where the thing is there. `-` stands where a system has no such
# package. Tried are the packages of Debian 12; those of other systems are only named.
#
# What PyPI and npm offer stands in scripts/tool.

needs() {
  local chromium=chromium driver=chromium-driver
  # Untried: they bring Chromium as a snap.
  ! grep -qs '^ID=ubuntu$' /etc/os-release || chromium=chromium-browser driver=chromium-chromedriver

  # For every run.
  need git 'which revision this is' git git git git
  need cc 'a C compiler: SQLite and TLS are compiled from C' build-essential 'gcc gcc-c++ make' base-devel gcc
  need python3 'tests and tools in Python' python3 python3 python python
  need openssl 'certificates for tests' openssl openssl openssl openssl
  need has_faketime 'tests with a clock that is set back' faketime libfaketime libfaketime libfaketime
  need shellcheck 'scripts are held to the rules' shellcheck ShellCheck shellcheck shellcheck
  need has_procps 'tests send signals' procps procps-ng procps-ng -
  need nginx 'a server of data files for tests; measurements' nginx-light nginx nginx -
  need has_postgres 'several proxies as one service' postgresql postgresql-server postgresql postgresql
  need unshare 'tests with a full disk or a cut network' util-linux util-linux util-linux -
  wants full || return 0

  # For ./check.
  need has_python_3_10 'the newest ONE' python3 python3 python python
  need has_venv 'environments for the ONE client' python3-venv python3 python python
  need curl 'the lines that people type; an image is asked' curl curl curl curl
  need npm 'axe-core, which tells whether everybody can use the pages' npm npm npm node
  need has_chromium 'tests of the pages in a browser' $chromium chromium chromium -
  need chromedriver 'tests of the pages in a browser' $driver chromedriver chromium -
  need dpkg-deb 'the Debian package' dpkg dpkg dpkg -
  need lintian 'the rules for Debian packages' lintian - - -
  need systemd-analyze 'the units for systemd' systemd systemd systemd -
  need promtool 'alarms, and a Prometheus that raises them' prometheus golang-github-prometheus prometheus prometheus
  need varnishd 'measurements' varnish varnish varnish -
  need squid 'measurements' squid squid squid -
  need wrk 'measurements' wrk wrk wrk -
  wants long || return 0

  # For ./check --long.
  need debootstrap 'a bare Debian, to try both commands of README in, and as base of the image' debootstrap debootstrap debootstrap -
  need buildah 'the image, without a daemon' buildah buildah buildah -
}

has_venv() { python3 -c 'import venv, ensurepip'; }
has_python_3_10() { python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; }
has_chromium() { command -v chromium || command -v chromium-browser; }
has_postgres() { command -v initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb'; }
has_procps() { command -v ps; }
has_faketime() { compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' || compgen -G '/usr/lib*/faketime/libfaketimeMT.so.1'; }
