# The bases of the image where none can be pulled, and buildah without a daemon. Read by packaging/image-test, with `folder`
# where everything lies.
# shellcheck shell=bash disable=SC2154

buildah_() { buildah --root "$folder/storage" --runroot "$folder/runroot" --storage-driver vfs "$@"; }

# Also what an interrupted run left: with vfs each layer is a whole copy.
forget_images() {
  buildah_ rm --all >/dev/null 2>&1 || true
  buildah_ rmi --all --force >/dev/null 2>&1 || true
}

# An image NAME of another one, or `scratch`, and what FILL puts into its root.
make_image() { # NAME FROM FILL [buildah config FLAG…]
  local container root
  container=$(buildah_ from --pull-never "$2")
  root=$(buildah_ mount "$container")
  "$3" "$root"
  buildah_ umount "$container" >/dev/null
  [ $# -le 3 ] || buildah_ config "${@:4}" "$container"
  buildah_ commit --quiet --rm "$container" "$1" >/dev/null
}

fill_debian() { cp -a "$folder/debian/." "$1/"; }

# The compiler of this machine, and every library that the lock file names, where cargo looks before it asks a network.
fill_rust() {
  cp "$(scripts/tool auditable)/bin/cargo-auditable" "$1/usr/local/bin/"
  cp -a "$(rustc --print sysroot)"/{bin,lib} "$1/usr/local/"
  mkdir -p "$1/usr/local/cargo"
  (cd "$1/usr/local/cargo" && cargo vendor --quiet --locked --versioned-dirs --manifest-path "$OLDPWD/Cargo.toml" vendor >config.toml)
  sed -i 's|^directory = .*|directory = "/usr/local/cargo/vendor"|' "$1/usr/local/cargo/config.toml"
}

make_bases() {
  forget_images
  local release
  release=$(sed -n 's/^ARG BASE_IMAGE=.*debian:\([a-z]*\)-slim$/\1/p' Dockerfile)
  if [ "$(cat "$folder/debian.complete" 2>/dev/null)" != "$release" ]; then
    say "making a Debian ($release)"
    rm -rf "$folder/debian"
    debootstrap --variant=minbase "$release" "$folder/debian" >"$folder/debootstrap.log" || { tail "$folder/debootstrap.log" >&2; fail 'no Debian can be made'; }
    echo "$release" >"$folder/debian.complete"
  fi
  make_image alyx-proxy-base scratch fill_debian
  say "a base with $(rustc --version) and all libraries"
  make_image alyx-proxy-rust alyx-proxy-base fill_rust --env CARGO_HOME=/usr/local/cargo
}
