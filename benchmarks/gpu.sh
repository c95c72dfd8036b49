#!/usr/bin/env bash
# Everything that is checked and measured on a machine with an NVIDIA GPU, in one run. Lies in the package that gpu-pack.sh makes, beside
# its bin folder; needs bash, the usual small programs (timeout, tee, date) and NVIDIA's driver, and for the last part python3 with torch.
#
#   gpu.sh [--device cuda] [--output DIR] [--limit SECONDS] [PART...]
#
# Parts, in this order where none are named:
#   devices     what the machine has
#   tests       the test classes that run on each backend, on this device
#   synthetic   full-size models with synthetic weights against the reference
#   compare     the bundled model on the processor and this device
#   models      SD 1.5 and 2.1 at 512x512 and 768x768, 1 and 8 pictures: step, decode, whole picture, memory
#   pictures    the command three times, SD 1.5 at 512x512: where the time goes, and what the first run's compiling leaves for the others
#   kernels     SD 1.5 at 512x512, 1 and 8 pictures, launch by launch: TFLOP/s, share of the card's own peak
#   profile     SD 1.5 at 512x512 by NVIDIA's profiler, where ncu is on the path: what every launch of a step and a decode takes and moves
#   torch       PyTorch on the same card, eager and compiled
#
# Reports go to DIR (default: results beside this file), a file a part. A part that fails or takes longer than its limit does not stop the
# others; the exit code then is 1. What is left over when the machine's time is short can be run by naming its parts.
#
# What it runs, but for pictures, has been run on an H100 and an H200 part by part, the script as a whole only with SDILGPU_TRY=1 and --device cpu: all parts in small sizes, in an
# empty environment without .NET and ICU; see peers/README.md.
set -uo pipefail

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
device=cuda
output=$folder/results
limit=1200
parts=()
fail() {
    echo "gpu.sh: $*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
        --device | --output | --limit)
            [ $# -gt 1 ] || fail "$1 needs a value"
            case $1 in
                --device) device=$2 ;;
                --output) output=$2 ;;
                --limit) limit=$2 ;;
            esac
            shift
            ;;
        devices | tests | synthetic | compare | models | pictures | kernels | profile | torch) parts+=("$1") ;;
        *) fail "'$1' is no option and no part; valid: --device NAME, --output DIR, --limit SECONDS, devices, tests, synthetic, compare, models, pictures, kernels, profile, torch" ;;
    esac
    shift
done
[ ${#parts[@]} -gt 0 ] || parts=(devices tests synthetic compare models pictures kernels profile torch)
[ -x "$folder/bin/sdilgpu" ] || fail "$folder/bin/sdilgpu is missing: this script runs in the package that gpu-pack.sh makes"

cli=$folder/bin/sdilgpu
bench=$folder/bin/StableDiffusion.Ilgpu.Benchmarks
tests=$folder/bin/StableDiffusion.Ilgpu.Tests
export HOME=${HOME:-$folder/home}
mkdir -p "$output" "$HOME"

# Sizes: SDILGPU_TRY=1 takes the smallest that show whether everything runs, for machines without a GPU.
if [ -n "${SDILGPU_TRY:-}" ]; then
    subjects=("sd15 64 1" "sd21 64 2")
    runs=1 steps=2 peers=("sd15 64 1")
    filter="portable fp32" classes=(-class "*OpReferenceTests")
else
    subjects=("sd15 512 1" "sd21 768 1" "sd15 512 8" "sd15 768 1" "sd21 512 1" "sd21 768 8" "sd15 768 8" "sd21 512 8")
    runs=20 steps=20 peers=("sd15 512 1" "sd21 768 1" "sd15 512 8")

    # The names of CUDA's backends begin with "cuda": theories run on those alone.
    filter=$device
    classes=(-namespace "*EachBackend*" -class- "*SyntheticModelTests" -class- "*OpenClDeviceTests")
fi

part_devices() {
    "$cli" devices --verbose
    command -v nvidia-smi > /dev/null && nvidia-smi
    return 0
}

part_tests() {
    SD_TEST_BACKENDS=$filter "$tests" "${classes[@]}"
}

part_synthetic() {
    [ -z "${SDILGPU_TRY:-}" ] || { echo "full-size models are not tried"; return 0; }
    SD_TEST_BACKENDS=$filter "$tests" -class "*SyntheticModelTests"
}

part_compare() {
    "$cli" compare --devices "cpu,$device" --steps 10 --json "$output/compare.json"
}

part_models() {
    local subject failed=0
    for subject in "${subjects[@]}"; do
        set -- $subject
        "$bench" model "$1" --size "$2" --batch "$3" --device "$device" --runs "$runs" --picture-steps "$steps" \
            --json "$output/model-$1-$2-batch$3.json" || failed=1
        echo
    done

    return $failed
}

# The files are those that part models has written; where nothing but trying is wanted, the bundled model.
part_pictures() {
    local files=${TMPDIR:-/tmp}/sdilgpu-benchmark-sd15 failed=0 run model=()
    if [ -z "${SDILGPU_TRY:-}" ]; then
        [ -e "$files/model_index.json" ] || { echo "there is no $files: part models writes it"; return 1; }
        model=(-m "$files")
    fi

    for run in 1 2 3; do
        "$cli" txt2img "${model[@]}" -p "a red apple" --steps "$steps" --seed 1 --device "$device" --cache "$output/cache" \
            -o "$output/picture-$run.png" --verbose || failed=1
    done
    return $failed
}

part_kernels() {
    local failed=0 batch
    for batch in 1 8; do
        set -- ${subjects[0]}
        "$bench" kernels "$1" --size "$2" --batch "$batch" --device "$device" || failed=1
        [ -z "${SDILGPU_TRY:-}" ] || break
    done
    return $failed
}

part_profile() {
    if [ -n "${SDILGPU_TRY:-}" ] || ! command -v ncu > /dev/null; then
        echo "ncu is not here, or nothing but trying is wanted: nothing is profiled"
        return 0
    fi
    ncu --profile-from-start off --clock-control none --cache-control none --csv --page raw --metrics gpu__time_duration.sum,dram__bytes.sum \
        --log-file "$output/profile.csv" "$bench" kernels sd15 --size 512 --device "$device" --profile "$output/launches.txt"
}

# The same sizes as ours, one process each; a line of JSON for each.
part_torch() {
    local subject mode failed=0
    if ! python3 -c 'import torch' 2> /dev/null; then
        echo "python3 with torch is not here: PyTorch is not measured"
        return 0
    fi
    for subject in "${peers[@]}"; do
        for mode in none reduce-overhead max-autotune; do
            set -- $subject
            python3 "$folder/pytorch.py" --model "$1" --size "$2" --pictures "$3" --compile $mode --device "${device%%:*}" \
                --runs "$runs" --picture-steps "$steps" || failed=1
            [ -z "${SDILGPU_TRY:-}" ] || break
        done
    done
    return $failed
}

# Parts run in processes of their own, so that a limit ends one of them with all that it started.
if [ "${SDILGPU_PART:-}" ]; then
    "part_$SDILGPU_PART"
    exit
fi

status=0
for part in "${parts[@]}"; do
    echo "== $part"
    start=$(date +%s)
    SDILGPU_PART=$part timeout "$limit" bash "${BASH_SOURCE[0]}" --device "$device" --output "$output" 2>&1 | tee "$output/$part.txt"
    code=${PIPESTATUS[0]}
    case $code in
        0) outcome=done ;;
        124) outcome="stopped after $limit s" status=1 ;;
        *) outcome="failed ($code)" status=1 ;;
    esac
    echo "== $part: $outcome, $(($(date +%s) - start)) s" | tee -a "$output/summary.txt"
done
exit $status
