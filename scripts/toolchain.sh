# Which Rust: the one that rust-toolchain.toml names. A missing one is told, never downloaded from here.
# Read by ./check and .ci/run, in the checkout's folder.
# shellcheck shell=bash

find_rust() {
  local pinned installed
  export RUSTUP_AUTO_INSTALL=0
  pinned=$(sed -n 's/^channel *= *"\(.*\)"$/\1/p' rust-toolchain.toml)
  if ! command -v cargo >/dev/null; then
    printf 'missing: Rust %s\n  install it by https://rustup.rs\n' "$pinned" >&2
    return 1
  fi
  # The pinned version may be there under the name of its channel.
  if ! cargo --version >/dev/null 2>&1 && command -v rustup >/dev/null; then
    for installed in $(rustup toolchain list | cut -d' ' -f1); do
      if [[ "$(rustup run "$installed" rustc --version 2>/dev/null)" == "rustc $pinned "* ]]; then
        export RUSTUP_TOOLCHAIN=$installed
        echo "Rust $pinned is here under the name $installed, which is used."
        break
      fi
    done
  fi
  if ! installed=$(cargo --version 2>/dev/null); then
    printf 'missing: Rust %s\n  rustup toolchain install %s --component rustfmt --component clippy\n' "$pinned" "$pinned" >&2
    return 1
  fi
  if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    printf "missing: Rust's formatter or its lints\n  rustup component add --toolchain %s rustfmt clippy\n" "$pinned" >&2
    return 1
  fi
  installed=$(rustc --version)
  [[ "$installed" == "rustc $pinned "* ]] || echo "This is $installed; what is tested is $pinned: another one's lints and format may differ."
}
