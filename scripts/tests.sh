# Runs the tests. Read by ./check.
# shellcheck shell=bash disable=SC2154

# So few tests that failed are run once more: real programs beside each other are at the mercy of the machine.
again=3

# Tests wait for programs and clocks more than they compute: two more at a time than there are processors.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 2))}

# One run of tests: COMMAND…, of cargo. What failed is noted, to be said once more at the end.
tested() {
  rm -f "$target/unsteady.txt"
  "$@" 2>&1 | tee "$target/tests.log" && return
  grep -A 4 "^thread '.*panicked at" "$target/tests.log" | cut -c 1-600 >"$target/failed.txt" || true
  once_more
}

# The tests that failed, alone: what fails again has failed. What passes now is an unsteady test, or a race in the program;
# it is told at the end, to be looked into.
once_more() {
  local names targets ended
  mapfile -t names < <(sed -n '/^failures:$/,/^test result/s/^    \([a-z][a-z0-9_:]*\)$/\1/p' "$target/tests.log" | sort -u)
  # A target that did not come to its end names no tests.
  targets=$(sed -n '/^error: .* targets\{0,1\} failed:$/,$p' "$target/tests.log" | grep -c '^    `' || true)
  ended=$(grep -c '^test result: FAILED' "$target/tests.log" || true)
  if [ "${#names[@]}" = 0 ] || [ "${#names[@]}" -gt "$again" ] || [ "$targets" != "$ended" ]; then
    return 1
  fi
  printf '\nonce more, alone: %s\n' "${names[*]}"
  cargo test --locked --lib --bins --tests -- --exact "${names[@]}" 2>&1 | tee -a "$target/tests.log" || return 1
  mv "$target/failed.txt" "$target/unsteady.txt"
}
