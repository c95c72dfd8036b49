using System.Reflection;
using System.Text.RegularExpressions;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Kernels.Norms;
using StableDiffusion.Ilgpu.Kernels.Pointwise;
using StableDiffusion.Ilgpu.Tests.Ptx;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The GPU kernels as a GPU gets them: ILGPU writes their PTX without one.</summary>
public sealed class GpuCodeTests
{
    private static readonly Type[] Kernels =
    [
        typeof(GpuGemmKernel<,>), typeof(GpuAttentionKernel<,>), typeof(GpuGroupNormKernels<,>), typeof(GpuLayerNormKernel<,>),
        typeof(GpuPointwiseKernels<,>), typeof(GpuLatentKernels<,>),
    ];

    /// <summary>Kernels that are bound by memory.</summary>
    private static readonly Type[] Streaming = [typeof(GpuGroupNormKernels<,>), typeof(GpuLayerNormKernel<,>), typeof(GpuPointwiseKernels<,>)];

    /// <summary>Those among them with too little work to matter.</summary>
    private static readonly string[] Small = ["Merge", "TokenEmbedding", "TimestepEmbedding"];

    [Theory]
    [InlineData("SM_80")]
    [InlineData("SM_90")]
    public void Every_kernel_compiles_and_keeps_its_values_in_registers(string architecture)
    {
        using var compiler = new PtxCompiler(architecture);
        var compiled = 0;
        foreach (var (element, format) in new[] { (typeof(ushort), typeof(GpuHalfFormat<CudaHalfConversion>)), (typeof(float), typeof(FloatFormat)) })
        {
            foreach (var kernel in Kernels.SelectMany(type => EntryPoints(type.MakeGenericType(element, format))))
            {
                var code = compiler.Compile(kernel);
                var what = $"{kernel.DeclaringType!.Name}.{kernel.Name} of {element.Name}";
                TestContext.Current.TestOutputHelper?.WriteLine(
                    $"{architecture} {what}: {code.Split('\n').Length} lines, {Regex.Count(code, @"ld\.shared\.v4")} reads of four values from shared memory, {SharedBytes(code)} bytes of it");
                Assert.DoesNotContain(".local", code, StringComparison.Ordinal);
                Assert.DoesNotContain("atom", code, StringComparison.Ordinal);
                Assert.DoesNotContain(".f64", code, StringComparison.Ordinal);

                // Contractions and attention read memory sixteen bytes at a time.
                if (kernel.Name is "RunLarge" or "RunSmall" or "RunNarrow" or "RunWide")
                {
                    Assert.InRange(Regex.Count(code, @"ld\.global\.v4\."), kernel.Name == "RunSmall" ? 2 : 4, int.MaxValue);
                }

                if (Streaming.Contains(kernel.DeclaringType.GetGenericTypeDefinition()) && !Small.Contains(kernel.Name))
                {
                    Assert.Matches(@"ld\.global\.v4\.", code);
                    Assert.Matches(@"st\.global\.v4\.", code);
                }

                // What touches fp16 has the instructions for it.
                if (element == typeof(ushort) && kernel.Name is not ("Merge" or "Blend"))
                {
                    Assert.Matches(@"cvt\.(f32\.f16|rn\.f16\.f32)", code);
                }

                // What every device has.
                Assert.InRange(SharedBytes(code), 0, 32 * 1024);
                compiled++;
            }
        }

        Assert.True(compiled >= 2 * 19, $"only {compiled} kernels");
    }

    private static IEnumerable<MethodInfo> EntryPoints(Type type) =>
        type.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly).Where(m => m.ReturnType == typeof(void));

    /// <summary>Of all declarations such as <c>.shared .align 16 .b8 name[4352];</c>.</summary>
    private static int SharedBytes(string code) =>
        Regex.Matches(code, @"\.shared\s+\.align\s+\d+\s+\.b(\d+)\s+\w+\[(\d+)\]")
            .Sum(m => int.Parse(m.Groups[1].Value) / 8 * int.Parse(m.Groups[2].Value));
}
