#!/usr/bin/env bash
# Makes one file that gpu.sh needs on a machine with an NVIDIA GPU: command line, benchmarks and tests with their own .NET, the reference
# data, the bundled model, and the scripts. That machine needs no .NET, no ICU, no network and no libcuda.so link: bash, tar, xz and
# NVIDIA's driver. Run in a checkout with the .NET 10 SDK and xz:
#
#   benchmarks/gpu-pack.sh [FILE]      default: sdilgpu-gpu.tar.xz in this folder
#
# There: tar -xJf sdilgpu-gpu.tar.xz && sdilgpu-gpu/gpu.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

output=$(realpath -m "${1:-sdilgpu-gpu.tar.xz}")
runtime=linux-x64
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/sdilgpu-gpu
mkdir -p "$root/bin"

# One folder for the three: they share the runtime and all libraries. Tests last: they bring the command line along.
for project in src/StableDiffusion.Ilgpu.Cli benchmarks/StableDiffusion.Ilgpu.Benchmarks tests/StableDiffusion.Ilgpu.Tests; do
    dotnet publish "$project" -c Release -r $runtime --self-contained -p:DebugType=none -p:GenerateDocumentationFile=false \
        --nologo -v quiet -o "$root/bin"
done

# What the programs look for in a checkout. The solution's file marks its root; the model beside the programs is the same one.
cp StableDiffusion.Ilgpu.sln "$root/"
commit=$(git rev-parse --short=12 HEAD)
[ -z "$(git status --porcelain)" ] || commit=$commit-dirty
echo "$commit" > "$root/COMMIT"
mkdir -p "$root/tests"
cp -r tests/reference "$root/tests/"
cp -r weights "$root/"
rm -rf "$root/bin/weights/demo"
ln -s ../../weights/demo "$root/bin/weights/demo"
cp benchmarks/gpu.sh benchmarks/peers/pytorch.py "$root/"

# Runtimes of other systems, debugging aids and documentation.
find "$root/bin" \( -name '*.pdb' -o -name '*.xml' \) -delete
tar -C "$stage" -cf - sdilgpu-gpu | xz -T0 -7 > "$output"
echo "$output: $(du -m "$output" | cut -f1) MiB of $(du -sm "$root" | cut -f1) MiB, commit $commit"
