#!/usr/bin/env bash
# No unfinished work and no path of one person's machine in any file.   words.sh ROOT
set -euo pipefail
cd "$1"
places=()
for place in kernels src tests scripts docs configs cmake .ci README.md CHANGELOG.md CMakeLists.txt CMakePresets.json; do
  [[ -e $place ]] && places+=("$place")
done
status=0
look() {  # extended regular expression, what is wrong with it
  if found=$(grep -rnIE --exclude=words.sh --exclude=planted.sh --exclude-dir=fixtures --exclude-dir=seeds "$1" "${places[@]}"); then
    cut -d: -f1,2 <<< "$found" | sed "s|\$|: $2|"
    status=1
  fi
}
look '\b(TODO|FIXME|XXX|HACK)\b' 'unfinished work is an issue, not a comment'
look '(^|[^A-Za-z0-9_.])/(home|root|work|opt|mnt|media|Users)/' "a path of one person's machine"
[[ $status -eq 0 ]] && echo "words: none out of place"
exit $status
