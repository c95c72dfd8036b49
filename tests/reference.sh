#!/usr/bin/env bash
# Compares the library with reference data: tests/reference.sh [DIR]
# DIR is a set with the layout of tests/reference, which is the default. Prints one line a comparison (what, error, limit), names what
# is left out, and ends with "N passed, N failed"; the exit status is not 0 if any failed.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
set_folder=${1:-$root/tests/reference}
if [ ! -d "$set_folder" ]; then
  echo "$set_folder: no such folder; usage: tests/reference.sh [DIR]" >&2
  exit 2
fi

SD_REFERENCE=$(cd "$set_folder" && pwd)
export SD_REFERENCE DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
project=$root/tests/StableDiffusion.Ilgpu.Tests
if ! build=$(dotnet build -c Release "$project" 2>&1); then
  echo "$build" >&2
  exit 2
fi

# A test prints its comparisons before it fails; one that fails otherwise counts as a failed comparison of its own.
dotnet "$project/bin/Release/net10.0/StableDiffusion.Ilgpu.Tests.dll" -trait Kind=Reference -showLiveOutput -noColor -noLogo |
  awk '
    / \[OUTPUT\] / {
      test = line = $0
      sub(/ \[OUTPUT\] .*/, "", test)
      sub(/.* \[OUTPUT\] /, "", line)
      if (line !~ /^left out: / || !named[line]++) print line
      if (line ~ /: error .* \(limit .*\) FAILED$/) { failed++; counted[test] = 1 }
      else if (line ~ /: error .* \(limit .*\)$/) passed++
      fflush()
      next
    }
    / \[FAIL\]$/ {
      sub(/ \[FAIL\]$/, "")
      if (!($0 in counted)) { failed++; explain = 4; sub(/^ */, ""); print "FAILED " $0 }
      next
    }
    / \[SKIP\]$/ { explain = 1; next }
    explain > 0 && !/ at / { explain--; sub(/^ */, ""); print }
    / Total: / { finished = 1; if ($0 !~ / Errors: 0,/) { failed++; print "FAILED outside of a test: " $0 } }
    END {
      if (!finished) { failed++; print "FAILED: the tests did not run to their end" }
      if (passed == 0) { failed++; print "FAILED: nothing was compared" }
      printf "%d passed, %d failed\n", passed, failed
      exit failed > 0
    }'
