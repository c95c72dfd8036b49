#!/usr/bin/env bash
# Runs tests as on a machine with an NVIDIA GPU, on any: CUDA's driver is one of the tests', which interprets the kernels' PTX. tests/cuda.sh [--arch sm_90]
# [CLASS…]: the device's architecture (sm_61 to sm_90), and names of test classes, * allowed. Without classes, all that run on each backend, which takes hours:
# a step of the bundled model takes two seconds. Theories run on that device alone, with the kernels and the storage that users get; SD_TEST_BACKENDS names
# others. Needs the .NET SDK and Linux on x86-64. The last line is "N passed, N failed, N skipped", and the exit status is not 0 if any failed.
set -euo pipefail

fail() {
    echo "cuda.sh: $*" >&2
    exit 2
}

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
project=$folder/tests/StableDiffusion.Ilgpu.Tests
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 SD_TEST_CUDA=sm_90
if [ "${1:-}" = --arch ]; then
    [[ ${2:-} =~ ^sm_[0-9]+$ ]] || fail "--arch needs an architecture, for example sm_90"
    SD_TEST_CUDA=$2
    shift 2
fi

[ "$(uname -sm)" = "Linux x86_64" ] || fail "the interpreted driver is a library for Linux on x86-64"
[ $# -gt 0 ] || set -- '*.EachBackend.*'
leaf=Gpu
[ "${SD_TEST_CUDA#sm_}" -lt 75 ] || leaf=Tensor
export SD_TEST_BACKENDS=${SD_TEST_BACKENDS:-cuda:0 $leaf fp16}
dotnet build -c Release --nologo -v quiet "$project" >&2 || fail "the tests cannot be built"

filters=()
for class in "$@"; do
    filters+=(-class "$class")
done
dotnet "$project/bin/Release/net10.0/StableDiffusion.Ilgpu.Tests.dll" -noColor -noLogo -showLiveOutput "${filters[@]}" | awk -f "$folder/tests/count.awk"
