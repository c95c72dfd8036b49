using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// What kernels for tensor cores use and compute capability 7.5 has not, by what it has: a product over a depth of 16 as two over 8, a copy to shared memory as a
/// load and a store, which nothing needs to wait for any more, a conversion of two values as two. <c>ldmatrix</c> and products over 8 it has itself.
/// </summary>
internal static partial class TuringPtx
{
    /// <summary>A kernel's text with these instructions instead.</summary>
    public static string Lower(string ptx) =>
        Wait().Replace(
            Copy().Replace(
                Product().Replace(
                    Conversion().Replace(
                        ptx,
                        "{ .reg .b16 tcLow, tcHigh; cvt.rn.f16.f32 tcHigh, ${high}; cvt.rn.f16.f32 tcLow, ${low}; mov.b32 ${to}, {tcLow, tcHigh}; }"),
                    "mma.sync.aligned.m16n8k8.${form} ${sums}, {${a0},${a1}}, {${b0}}, ${begin}; mma.sync.aligned.m16n8k8.${form} ${sums}, {${a2},${a3}}, {${b1}}, ${sums};"),
                "{ .reg .b32 tc<4>; .reg .pred tcReads; setp.ne.b32 tcReads, ${size}, 0; mov.b32 tc0, 0; mov.b32 tc1, 0; mov.b32 tc2, 0; mov.b32 tc3, 0; "
                    + "@tcReads ld.global.v4.b32 {tc0,tc1,tc2,tc3}, ${from}; st.shared.v4.b32 ${to}, {tc0,tc1,tc2,tc3}; }"),
            "");

    /// <summary>Sixteen bytes, of which all are read or none.</summary>
    [GeneratedRegex(@"cp\.async\.cg\.shared\.global(\.L2::128B)? (?<to>\[[^\]]+\]), (?<from>\[[^\]]+\]), 16, (?<size>\w+);", RegexOptions.ExplicitCapture)]
    private static partial Regex Copy();

    [GeneratedRegex(@"cp\.async\.(commit_group|wait_all|wait_group \d+);", RegexOptions.ExplicitCapture)]
    private static partial Regex Wait();

    [GeneratedRegex(
        @"mma\.sync\.aligned\.m16n8k16\.(?<form>[\w.]+) (?<sums>\{[^}]+\}), \{(?<a0>\w+),\s*(?<a1>\w+),\s*(?<a2>\w+),\s*(?<a3>\w+)\}, \{(?<b0>\w+),\s*(?<b1>\w+)\}, (?<begin>\{[^}]+\});",
        RegexOptions.ExplicitCapture)]
    private static partial Regex Product();

    [GeneratedRegex(@"cvt\.rn\.f16x2\.f32\s+(?<to>[%\w]+), (?<high>[%\w]+), (?<low>[%\w]+);", RegexOptions.ExplicitCapture)]
    private static partial Regex Conversion();
}
