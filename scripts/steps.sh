# What ./check does, in order. Read by ./check.
# shellcheck shell=bash disable=SC2154
#
# A new step is one more line:
#
#   step NAME 'what it does, and how long that takes on two cores' COMMAND…
#
# What it needs on the machine stands in scripts/needs.sh and scripts/tool.

steps() {
  step install 'what is missing: packages, libraries, tools' install_all
  [ "$install" != only ] || return 0
  step format 'Rust by rustfmt' cargo fmt --check
  step scripts 'shell scripts by shellcheck' shell_scripts
  step lints 'clippy over everything; minutes the first time' cargo clippy --locked --all-targets -- -D warnings
  step build 'the program; minutes the first time' cargo build --locked
  if [ "$run" = quick ]; then
    step tests 'those that need neither a browser nor ONE, and take no minutes of their own; two minutes when built' quick_tests
    return
  fi
  step workflows 'those for GitHub, and its forms' workflows
  step libraries 'their licences and sources, and advisories against them' libraries
  step tests 'all of them, with the real ONE and a browser; ten minutes when built' tests
  step promises 'what is promised, and which tests held it' tests/promises "$target/tests.log"
  step fuzz "what reads texts of strangers, for $fuzz seconds" cargo run --locked --package alyx-proxy-fuzz -- "$fuzz"
  # Every measurement once in small, so that none of them rots; its figures mean nothing.
  step measurements 'each once in small; two minutes' bench/run --small
  as_root beside-others "one of them beside the system's own Squid, nginx and Varnish" unshare tests/bench-beside-others
  wants long || return 0
  step files 'what a release hands out, built for release; ten minutes' release_files
  as_root image 'built for real and tried; twenty minutes' buildah packaging/image-test "$target/image"
  step attacks 'attacks at random for an hour' attacks_for_an_hour
  step soak 'ten minutes of ten thousand connections, after a build for release' bench/run soak --out "$target/soak"
  as_root fresh-machine 'both commands of README in a bare Debian; an hour' debootstrap tests/fresh-machine
}

# A step for root and with a program, of which it is said at the end where it was not run.
as_root() { # NAME WHAT PROGRAM COMMAND…
  # When steps are counted, the program may still be to be installed.
  if [ "$(id -u)" = 0 ] && { [ "$counting" = yes ] || command -v "$3" >/dev/null; }; then
    step "$1" "$2" "${@:4}"
  elif [ "$counting" != yes ]; then
    echo "NOT RUN: $1 ($2): it needs root and $3." >>"$target/not-run.txt"
    [ "$(id -u)" != 0 ] || total=$((total - 1))
  fi
}

shell_scripts() {
  local files
  # Those of no ending, by their first line.
  mapfile -t files < <(git ls-files --cached --others --exclude-standard | while IFS= read -r file; do
    [ ! -f "$file" ] || ! { [[ $file == *.sh ]] || head -n 1 "$file" | tr -d '\0' | grep -qE '^#!.*\b(ba)?sh\b'; } || echo "$file"
  done)
  echo "${#files[@]} scripts"
  shellcheck --external-sources "${files[@]}"
}

workflows() {
  local tools
  tools=$(scripts/tool packages)/bin
  "$tools/actionlint"
  "$tools/zizmor" --offline --no-progress --quiet --pedantic .github
  "$tools/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
  "$tools/check-jsonschema" --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
  "$tools/check-jsonschema" --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/{bug,feature,wrong-answer}.yml
  "$tools/check-jsonschema" --builtin-schema vendor.dependabot .github/dependabot.yml
}

# As the release's workflow does it, and that a wrong tag is seen.
release_files() {
  rm -rf "$target/release-files"
  packaging/files "$target/release-files"
  packaging/files-test "$target/release-files"
  packaging/checksums "$target/release-files"
  if packaging/version v0.0.0-other 2>/dev/null; then
    echo 'packaging/version takes another tag than that of this version' >&2
    return 1
  fi
}

attacks_for_an_hour() {
  ALYX_PROXY_ATTACK_SECONDS=3600 ALYX_PROXY_SEED=$RANDOM cargo test --locked --test it attacks::random:: -- --nocapture
}

libraries() {
  local deny=(cargo deny)
  cargo deny --version >/dev/null 2>&1 || deny=("$(scripts/tool deny)/bin/cargo-deny")
  # Advisories come from the network; licences, sources and what is banned from the lock file alone.
  "${deny[@]}" --locked check licenses bans sources
  if timeout 20 git ls-remote --quiet https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then
    "${deny[@]}" --locked check advisories
  else
    echo 'NOT RUN: advisories against our libraries: their database (github.com/RustSec) is out of reach from here.' | tee -a "$target/not-run.txt"
  fi
}

tests() { tested cargo test --locked --no-fail-fast; }

# Not those that need a browser, ONE or Python, nor those that fill whole mirrors again and again or try at random for minutes.
quick_tests() {
  tested cargo test --locked --no-fail-fast --lib --bins --test it -- \
    --skip pages:: --skip one_client:: --skip two_people:: --skip one_setup:: --skip one_script:: --skip docs:: --skip tables:: \
    --skip attacks::random:: --skip faults:: --skip walk:: --skip mirror_changes:: --skip mirror_damage:: --skip mirror_kills:: --skip mirror_races:: \
    --skip mirror_recordings:: --skip oracle::properties:: --skip promtool --skip real_prometheus
}
