#!/usr/bin/env bash
# Makes one file with all that gpu.sh needs on a machine with an NVIDIA GPU: command line, benchmarks and tests with their own .NET, the
# reference data, the bundled model, and the scripts. That machine needs no .NET, no ICU, no network and no libcuda.so link: bash, tar, gzip
# and NVIDIA's driver. Runs in a checkout with the .NET 10 SDK:
#
#   benchmarks/gpu-pack.sh [--programs] [FILE]      default: artifacts/sdilgpu-gpu.tar.gz
#
# There: tar -xzf sdilgpu-gpu.tar.gz && sdilgpu-gpu/gpu.sh
#
# With --programs the data is left out (70 MB, which no compression makes smaller): for a machine that has a copy of this checkout. The file is then
# unpacked in the checkout's folder artifacts: tar -xzf FILE -C artifacts && artifacts/sdilgpu-gpu/gpu.sh
#
# A FILE that ends with .tar.xz is a third smaller (and takes minutes, and xz on both machines).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

data=1
[ "${1:-}" != --programs ] || { data=; shift; }
output=$(realpath -m "${1:-artifacts/sdilgpu-gpu.tar.gz}")
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/sdilgpu-gpu
mkdir -p "$root/bin" "$(dirname "$output")"

# One folder for the three: they share the runtime and all libraries.
for project in src/StableDiffusion.Ilgpu.Cli benchmarks/StableDiffusion.Ilgpu.Benchmarks tests/StableDiffusion.Ilgpu.Tests; do
    dotnet publish "$project" -c Release -r linux-x64 --self-contained -p:DebugType=none -p:GenerateDocumentationFile=false \
        --nologo -v quiet -o "$root/bin"
done
find "$root/bin" \( -name '*.pdb' -o -name '*.xml' \) -delete

# For debuggers, disassembly, system traces, coverage, and what BenchmarkDotNet compiles and draws with: nothing there asks for it.
# The command micro does not run there.
(
    cd "$root/bin"
    rm -rf libmscordaccore.so libmscordbi.so libcapstone.so libcoreclrtraceptprovider.so amd64 Microsoft.CodeCoverage Iced.dll \
        Microsoft.CodeAnalysis*.dll Microsoft.Diagnostics.*.dll Microsoft.VisualBasic*.dll ScottPlot*.dll SkiaSharp*.dll HarfBuzz*.dll \
        libSkiaSharp.so libHarfBuzzSharp.so
)

commit=$(git rev-parse --short=12 HEAD)
[ -z "$(git status --porcelain)" ] || commit=$commit-dirty
echo "$commit" > "$root/bin/COMMIT"
cp benchmarks/gpu.sh benchmarks/peers/pytorch.py "$root/"

# The model beside the programs is the checkout's, or its copy in the package; what the tests look for lies below the solution's file.
rm -rf "$root/bin/weights/demo"
if [ -n "$data" ]; then
    mkdir -p "$root/tests"
    cp StableDiffusion.Ilgpu.sln "$root/"
    cp -r tests/reference "$root/tests/"
    cp -r weights "$root/"
    ln -s ../../weights/demo "$root/bin/weights/demo"
else
    ln -s ../../../../weights/demo "$root/bin/weights/demo"
fi

# The file's name says how it is compressed.
tar -C "$stage" -caf "$output" sdilgpu-gpu
echo "$output: $(du -m "$output" | cut -f1) MiB, unpacked $(du -sm "$root" | cut -f1) MiB, commit $commit"
