# Runs steps one after the other, takes their time, and says at the end what failed.
# shellcheck shell=bash disable=SC2154

names=() times=() failed='' number=0 total=0

# One step: NAME 'what it does, and how long that takes' COMMAND…
step() {
  if [ "$counting" = yes ]; then
    total=$((total + 1))
    return
  fi
  number=$((number + 1))
  printf '\n== %s of %s: %s: %s\n' "$number" "$total" "$1" "$2"
  local began=$SECONDS status
  # Not as a condition: within one, bash would forget that a failure ends it.
  set +e
  (
    set -e
    "${@:3}"
  )
  status=$?
  set -e
  names+=("$1") times+=($((SECONDS - began)))
  printf -- '-- %s: %s\n' "$1" "$(minutes $((SECONDS - began)))"
  [ $status = 0 ] || {
    failed=$1
    exit 1
  }
}

minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# Whether this run is `quick`, `full` or `long`, or holds it.
wants() {
  case $1 in
  quick) true ;;
  full) [ "$run" != quick ] ;;
  long) [ "$run" = long ] ;;
  esac
}

# The times, and what failed once more: the output of all tests is long.
sum_up() {
  local status=$? index
  [ ${#names[@]} -gt 0 ] || return 0
  printf '\n%-28s %8s\n' step time
  for index in "${!names[@]}"; do
    printf '%-28s %8s\n' "${names[$index]}" "$(minutes "${times[$index]}")"
  done
  printf '%-28s %8s\n' all "$(minutes $SECONDS)"
  if [ $status = 0 ] && [ "$install" = only ]; then
    printf '\nAll that ./check needs is installed.\n'
  elif [ $status = 0 ] && [ "$number" = "$total" ]; then
    printf '\nAll checks passed.\n'
  elif [ -n "$failed" ]; then
    [ ! -s "$target/failed.txt" ] || { printf '\n' && cat "$target/failed.txt"; }
    printf '\nFAILED: %s\n' "$failed"
  else
    printf '\nNOT FINISHED: it was ended during step %s of %s.\n' "$number" "$total"
  fi
  [ ! -s "$target/unsteady.txt" ] || { printf '\nUNSTEADY: these tests failed, and passed when they were run once more alone:\n' && cat "$target/unsteady.txt"; }
  [ ! -s "$target/not-run.txt" ] || { printf '\n' && cat "$target/not-run.txt"; }
}
