#!/usr/bin/env bash
# Installs what nll's build and tests need, from the packages of Debian or Ubuntu; does nothing when all is there.
#   scripts/setup.sh [build] [test] [corpus] [page]     default: the first three
#   build   compiler, CMake, the libraries nll is made of, GoogleTest
#   test    clang (fuzz targets), clang-format, strace, jq (scripts/evidence.sh)
#   corpus  the King James Bible, the text of scripts/quickstart.sh
#   page    Chromium and xmllint, with which the pages of `nll report` are tested; without them that test is skipped
# Elsewhere it prints what is missing. Exit code: 0 all there, 2 something is missing and cannot be installed here.
set -euo pipefail

# group, Debian package, probe: a command, the name of a pkg-config module, a header, or the fuzzer's run-time library.
readonly needs='
build  g++                      command g++
build  cmake                    command cmake
build  ninja-build              command ninja
build  ccache                   command ccache
build  pkg-config               command pkg-config
build  libopenblas-pthread-dev  module  openblas
build  nlohmann-json3-dev       module  nlohmann_json
build  libfmt-dev               module  fmt
build  libspdlog-dev            module  spdlog
build  libcli11-dev             module  CLI11
build  libpcre2-dev             module  libpcre2-8
build  libxxhash-dev            module  libxxhash
build  libgtest-dev             module  gtest
build  libopenmpi-dev           command mpicc
build  openmpi-bin              command mpirun
build  libboost-context-dev     header  boost/context/detail/fcontext.hpp
test   clang                    command clang++
test   libclang-rt-dev          fuzzer  -
test   clang-format             command clang-format
test   strace                   command strace
test   iproute2                 command ip
test   procps                   command pkill
test   jq                       command jq
corpus bible-kjv                command bible
corpus bible-kjv-text           command bible
page   chromium                 command chromium
page   libxml2-utils            command xmllint
'

groups=" $* "
[[ $# -gt 0 ]] || groups=' build test corpus '
for group in $groups; do
  case $group in
    build | test | corpus | page) ;;
    *) echo "setup: unknown group \"$group\" (expected build, test, corpus or page)" >&2; exit 2 ;;
  esac
done

there() {  # kind, name
  case $1 in
    command) command -v "$2" > /dev/null ;;
    module) command -v pkg-config > /dev/null && pkg-config --exists "$2" ;;
    header) command -v c++ > /dev/null && c++ -E -x c++ -include "$2" /dev/null > /dev/null 2>&1 ;;
    fuzzer) compgen -G "$(clang++ -print-resource-dir 2> /dev/null)/lib/*/libclang_rt.fuzzer*.a" > /dev/null ;;
  esac
}

find_missing() {
  missing=()
  while read -r group package kind name; do
    [[ $groups == *" $group "* ]] || continue
    there "$kind" "$name" || missing+=("$package")
  done < <(grep . <<< "$needs")
}

find_missing
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "setup: everything needed is there"
  exit 0
fi

if ! command -v apt-get > /dev/null; then
  echo "setup: this system has no apt-get. Please install, by the names they have in Debian 12:" >&2
  printf '  %s\n' "${missing[@]}" >&2
  exit 2
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo > /dev/null; then
    echo "setup: not root and no sudo here. As root run: apt-get install ${missing[*]}" >&2
    exit 2
  fi
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >> "$log" 2>&1; }

echo "setup: installing ${missing[*]}"
# A package list that is absent or out of date makes the first try fail; only then is it fetched anew.
if ! apt install --no-install-recommends "${missing[@]}"; then
  echo "setup: fetching the package lists"
  if ! apt update || ! apt install --no-install-recommends "${missing[@]}"; then
    tail -n 20 "$log" >&2
    echo "setup: apt-get failed, its last lines are above. By hand: apt-get install ${missing[*]}" >&2
    exit 2
  fi
fi

find_missing
if [[ ${#missing[@]} -gt 0 ]]; then
  echo "setup: installed, but still not found: ${missing[*]} (is another version of it first in PATH?)" >&2
  exit 2
fi
echo "setup: done"
