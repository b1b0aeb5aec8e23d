# Installs what ./check needs: scripts/needs.sh by the system's packages, scripts/tool by PyPI and npm, and the libraries.
# shellcheck shell=bash disable=SC2154
# shellcheck source=scripts/needs.sh
. scripts/needs.sh

missing=() packages_apt=() packages_dnf=() packages_pacman=() packages_brew=()

# Notes what is not there.
need() { # PROBE WHAT-FOR APT DNF PACMAN BREW
  if PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null && { ! declare -F "$1" >/dev/null || "$1" >/dev/null 2>&1; }; then
    return
  fi
  missing+=("${1#has_}: $2")
  # Words of a line, as one thing may need several packages.
  # shellcheck disable=SC2206
  packages_apt+=($3) packages_dnf+=($4) packages_pacman+=($5) packages_brew+=($6)
}

look() {
  missing=() packages_apt=() packages_dnf=() packages_pacman=() packages_brew=()
  needs
}

# Each once, without those that a system does not have.
packages() { printf '%s\n' "$@" | grep -vx -e - | sort -u | tr '\n' ' ' | sed 's/ $//'; }

say_missing() { printf 'missing: %s\n' "${missing[@]}" >&2; }

# The command that would install them; nothing where no such system is known.
install_command() {
  local sudo='sudo '
  [ "$(id -u)" != 0 ] || sudo=
  if command -v apt-get >/dev/null; then
    echo "${sudo}apt-get install --no-install-recommends $(packages "${packages_apt[@]}")"
  elif command -v dnf >/dev/null; then
    echo "${sudo}dnf install $(packages "${packages_dnf[@]}")"
  elif command -v pacman >/dev/null; then
    echo "${sudo}pacman -S --needed $(packages "${packages_pacman[@]}")"
  elif command -v brew >/dev/null; then
    echo "brew install $(packages "${packages_brew[@]}")"
  fi
}

install_packages() {
  look
  [ ${#missing[@]} -gt 0 ] || return 0
  say_missing
  local command answer as=()
  command=$(install_command)
  if [ "$install" = no ] || ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; }; then
    [ -z "$command" ] || printf 'This installs them, then run ./check again:\n  %s\n' "$command" >&2
    return 1
  fi
  [ "$(id -u)" = 0 ] || as=(sudo)
  printf 'To be installed by: %s\n' "$command"
  if [ -t 0 ] && [ -t 1 ] && [ -z "${CI:-}" ]; then
    read -rp 'Install these now? [Y/n] ' answer
    case $answer in '' | [yY]*) ;; *) return 1 ;; esac
  fi
  apt_install "${as[@]}" || return 1
  look
  [ ${#missing[@]} -eq 0 ] || { echo 'After the installation there is still:' >&2; say_missing; return 1; }
}

apt_install() { # [sudo]
  local package units=() new=()
  for package in $(packages "${packages_apt[@]}"); do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q ' installed$' || new+=("$package")
  done
  # Another installation may be under way. What was said of the archive may be old, or not there.
  "$@" apt-get -o DPkg::Lock::Timeout=600 update -qq || return 1
  "$@" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install --yes --quiet --no-install-recommends "${new[@]}" || return 1
  # Only the programs are wanted: what was not on this machine shall not serve on it from now on.
  [ -d /run/systemd/system ] || return 0
  mapfile -t units < <(dpkg -L "${new[@]}" | sed -n 's|.*/lib/systemd/system/\([^@/]*\.\(service\|timer\)\)$|\1|p' | sort -u)
  [ ${#units[@]} -eq 0 ] || "$@" systemctl disable --now --quiet "${units[@]}" || true
}

# A disk of its own for a test, which may be full: as root, or with what lets everybody have a namespace.
can_mount() { if [ "$(id -u)" = 0 ]; then unshare --mount true; else unshare --user --map-root-user --mount true; fi; }

install_libraries() {
  cargo fetch --locked --offline --quiet 2>/dev/null && return
  [ "$install" != no ] || { echo 'missing: libraries from crates.io; ./check --install fetches them' >&2; return 1; }
  echo 'Fetching the libraries from crates.io.'
  cargo fetch --locked
}

install_all() {
  install_packages || return 1
  can_mount 2>/dev/null || {
    printf 'missing: a mount namespace, for the tests with a full disk\n  run ./check as root, or allow unprivileged user namespaces\n' >&2
    return 1
  }
  install_libraries || return 1
  wants full || return 0
  local tool
  for tool in $(scripts/tool --list); do
    scripts/tool "$tool" >/dev/null || return 1
  done
}
