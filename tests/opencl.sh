#!/usr/bin/env bash
# Runs tests once more where OpenCL is another implementation: in a Debian 13 root with PoCL 6, or with Mesa's, which is made once by
# debootstrap and kept in the user's cache folder. tests/opencl.sh [--mesa] [CLASS…]: names of test classes, * allowed; without any, the whole
# suite. With --mesa, Mesa's OpenCL (what AMD's and Intel's GPUs have with Mesa's drivers) computes on the processor and is told to call itself a
# GPU, and without classes the operators' run, on the kernels for GPUs alone: all else would take it hours. Needs the .NET SDK, Linux, root rights
# and debootstrap. The last line is "N passed, N failed, N skipped", and the exit status is not 0 if any failed.
set -euo pipefail

fail() {
    echo "opencl.sh: $*" >&2
    exit 2
}

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$folder/.ci/debian-root.sh"
root=${XDG_CACHE_HOME:-$HOME/.cache}/sdilgpu-opencl/$debian_release
driver=pocl-opencl-icd
if [ "${1:-}" = --mesa ]; then
    shift
    root+=-mesa
    driver=mesa-opencl-icd
    export RUSTICL_ENABLE=llvmpipe RUSTICL_DEVICE_TYPE=gpu SD_TEST_BACKENDS=${SD_TEST_BACKENDS:-Gpu}
    [ $# -gt 0 ] || set -- '*.OpTests' '*.OpReferenceTests' '*.GpuTileTests' '*.HalfConversionTests' '*.WinogradTests'
fi
project=$folder/tests/StableDiffusion.Ilgpu.Tests
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

command -v dotnet > /dev/null || fail "dotnet is missing"
dotnet build -c Release --nologo -v quiet "$project" >&2 || fail "the tests cannot be built"
mkdir -p "$(dirname "$root")"
exec 9> "$root.lock"
flock 9
make_debian_root "$root" libstdc++6,libssl3t64,ca-certificates,procps,ocl-icd-libopencl1,$driver "the second OpenCL implementation needs Debian 13"
exec 9>&-

filters=()
for class in "$@"; do
    filters+=(-class "$class")
done

# The root sees the sources and .NET where they are here.
dotnet=$(dirname "$(readlink -f "$(command -v dotnet)")")
folders=$folder$'\n'$dotnet
[ -z "${SD_REFERENCE:-}" ] || folders+=$'\n'$(cd "$SD_REFERENCE" && pwd)
export PATH="$dotnet:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" DOTNET_ROOT=$dotnet HOME=/root TMPDIR=/tmp
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
unset XDG_CACHE_HOME OCL_ICD_VENDORS OCL_ICD_FILENAMES

# All kernels are compiled anew, so that a run does not depend on earlier ones.
cache=$(mktemp -d "$root/tmp/pocl.XXXXXX")
trap 'rm -rf "$cache"' EXIT
export POCL_CACHE_DIR=${cache#"$root"}
programs=$project/bin/Release/net10.0

# Without a device its tests would skip, and all would seem well.
devices=$(run_in_root "$root" "$folders" dotnet "$programs/sdilgpu.dll" devices -v) || fail "OpenCL does not work in $root"
grep -q '^ *opencl:0 ' <<< "$devices" || fail "there is no OpenCL device in $root:"$'\n'"$devices"
grep -A 4 '(opencl:0):$' <<< "$devices"

(run_in_root "$root" "$folders" dotnet "$programs/StableDiffusion.Ilgpu.Tests.dll" -noColor -noLogo -showLiveOutput "${filters[@]}") |
awk -f "$folder/tests/count.awk"
