#!/usr/bin/env bash
# Builds the web console into console/dist, from where the binary embeds it, and says
# what it does. Nothing changed: nothing done, in well under a second. Without Node and
# npm the binary gets a page that says so; on a build machine (CI=1) that is an error.
# Exit codes: 0 built, unchanged or not possible here, 1 the build failed, 2 not possible
# on a build machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly web=console/web into=console/dist
readonly node_npm=24.18.1 # of npm's package node, where nothing newer than node_least is
readonly node_least=20.19
readonly install_within=600 build_within=300 # seconds
readonly stamp=$into/.built # not embedded in what browsers get: its name begins with a point

# A node that is not the system's does not know whom the system trusts: a proxy's
# certificate, say.
if [[ -z ${NODE_EXTRA_CA_CERTS:-} && -r /etc/ssl/certs/ca-certificates.crt ]]; then
  export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
fi

say() { printf 'console: %s\n' "$*"; }

# without WHY: no console can be built here.
without() {
  if [[ ${CI:-} == 1 ]]; then
    say "$1; the build machine needs it" >&2
    exit 2
  fi
  say "$1: the binary will show a page that says so instead of the console"
  exit 0
}

# bounded SECONDS COMMAND...: macOS has no timeout.
bounded() {
  local most=$1
  shift
  if command -v timeout >/dev/null; then timeout "$most" "$@"; else "$@"; fi
}

# fresh VERSION: at least node_least.
fresh() {
  local v=${1#v} major minor
  major=${v%%.*}
  minor=${v#*.}
  minor=${minor%%.*}
  [[ $major =~ ^[0-9]+$ && $minor =~ ^[0-9]+$ ]] || return 1
  ((major > ${node_least%.*} || (major == ${node_least%.*} && minor >= ${node_least#*.})))
}

has_node() { command -v node >/dev/null && fresh "$(node --version 2>/dev/null)"; }

# apt's node, when apt has one that is new enough.
node_from_apt() {
  [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null || return 1
  local candidate
  candidate=$(apt-cache policy nodejs 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}//p')
  fresh "$candidate" || return 1
  local packages=(nodejs)
  apt-cache depends nodejs 2>/dev/null | grep -q 'Conflicts: npm' || command -v npm >/dev/null || packages+=(npm)
  install "${packages[@]}" && has_node
}

# install PACKAGE...: with apt-get.
install() {
  say "installing $* with apt-get"
  DEBIAN_FRONTEND=noninteractive bounded 300 apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=60 install "$@" >/dev/null 2>&1
}

# npm from apt, with the node that it brings, however old.
npm_from_apt() {
  [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null && install npm && command -v npm >/dev/null
}

# npm that runs on an older node can fetch a newer one.
node_from_npm() {
  local folder=$PWD/.moneta/node bin
  bin=$folder/node_modules/node/bin
  if ! [[ -x $bin/node ]] || ! fresh "$("$bin/node" --version 2>/dev/null)"; then
    command -v npm >/dev/null || npm_from_apt || return 1
    say "Node $node_least or later is missing: installing node@$node_npm with npm into .moneta/node"
    mkdir -p "$folder"
    bounded "$install_within" npm install --prefix "$folder" --no-audit --no-fund --no-save --no-update-notifier --loglevel=error "node@$node_npm" >&2 || return 1
    # The package fetches its binary in a script of its own, which npm may not run.
    if ! [[ -x $bin/node ]]; then
      (cd "$folder/node_modules/node" && [[ -f installArchSpecificPackage.js ]] && bounded "$install_within" node installArchSpecificPackage.js >&2) || true
    fi
  fi
  PATH=$bin:$PATH
  has_node
}

# sum FILE...: one line that changes with their names and contents.
sum() { cat -- "$@" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -d' ' -f1; }

sources() {
  find "$web" \( -name node_modules -o -name dist -o -name e2e \) -prune -o -type f ! -name '*.md' -print | LC_ALL=C sort
}

mapfile -t files < <(sources)
want=$(printf '%s\n' "${files[@]}" | cat - "${files[@]}" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -d' ' -f1)
if [[ -f $into/index.html && -f $stamp && $(<"$stamp") == "$want" ]]; then
  exit 0
fi

has_node || node_from_apt || node_from_npm || without "Node $node_least or later, and npm, are missing"
command -v npm >/dev/null || without "npm is missing"

started=$(date +%s)
lock=$(sum "$web/package-lock.json")
if [[ ! -f $web/node_modules/.lock || $(<"$web/node_modules/.lock") != "$lock" ]]; then
  say "fetching the libraries of the console with npm"
  if ! bounded "$install_within" npm ci --prefix "$web" --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >&2; then
    [[ -f $into/index.html ]] && say "the libraries could not be fetched; the console of before stays" && [[ ${CI:-} != 1 ]] && exit 0
    without "the libraries of the console could not be fetched"
  fi
  printf '%s' "$lock" >"$web/node_modules/.lock"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! (cd "$web" && bounded "$build_within" node node_modules/typescript/bin/tsc --noEmit && bounded "$build_within" node node_modules/vite/bin/vite.js build --logLevel warn) >"$log" 2>&1; then
  cat "$log" >&2
  say "the build failed; see above" >&2
  exit 1
fi
# Whole or not at all: what was there goes only when the new one is.
find "$into" -mindepth 1 ! -name .keep -delete
cp -R "$web/dist/." "$into/"
printf '%s' "$want" >"$stamp"
say "built in $(($(date +%s) - started)) s"
