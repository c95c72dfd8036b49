using System.Text.RegularExpressions;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime.OpenCL;
using StableDiffusion.Ilgpu.Benchmarks.OpenCl;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The kernels for GPUs as the OpenCL C that drivers get: ILGPU writes it without a device.</summary>
public sealed class OpenClCodeTests
{
    /// <summary>Multiply-adds in the main loops of the kernels that take a GPU's time: sums times what is unrolled.</summary>
    private static readonly Dictionary<string, int> Products = new()
    {
        ["large gemm"] = 64 * 4,
        ["small gemm"] = 16 * 4,
        ["gemm of few rows"] = 8,
        ["narrow attention"] = (32 + (3 * 16)) * 2,
        ["wide attention"] = (32 + (5 * 16)) * 2,
    };

    [Theory]
    [InlineData(CLDeviceVendor.AMD)]
    [InlineData(CLDeviceVendor.Intel)]
    [InlineData(CLDeviceVendor.Nvidia)]
    public void Every_kernel_asks_for_what_every_GPU_has(CLDeviceVendor vendor)
    {
        using var code = new ClCode(vendor, CLCVersion.CL12);
        foreach (var kernel in code.Kernels)
        {
            Assert.DoesNotMatch(@"\b(double|atomic_\w+|atom_\w+|half\d+)\b", kernel.Text);

            // On Windows too: drivers keep programs by their text.
            Assert.DoesNotContain('\r', kernel.Text);
            var products = Regex.Count(kernel.Text, @"\bmad\(");
            TestContext.Current.TestOutputHelper?.WriteLine($"{vendor} {kernel.Name}: {kernel.Text.Length} characters, {products} multiply-adds");
            if (Products.TryGetValue(kernel.Name, out var expected))
            {
                Assert.Equal(expected, products);
            }
        }

        Assert.Empty(Products.Keys.Except(code.Kernels.Select(k => k.Name)));
        Assert.True(code.Kernels.Count >= 20, $"only {code.Kernels.Count} kernels");
    }

    /// <summary>The instructions, what a kernel is declared with, and sums of a sub-group's rows and columns: those of the large tile.</summary>
    public static TheoryData<string, string, string, int> Units => new()
    {
        { "Intel8", "intel_sub_group_f16_f16_matrix_mad_k16(a, b, sums)", "__attribute__((intel_reqd_sub_group_size(8))) __attribute__((reqd_work_group_size(128, 1, 1)))", 2 * 4 },
        { "Intel16", "intel_sub_group_f16_f16_matrix_mad_k16(a, b, sums)", "__attribute__((intel_reqd_sub_group_size(16))) __attribute__((reqd_work_group_size(128, 1, 1)))", 2 * 4 },
        { "Rdna3", "__builtin_amdgcn_wmma_f32_16x16x16_f16_w32(as_half16(a)", " __attribute__((reqd_work_group_size(128, 1, 1)))", 2 * 4 },
        { "Rdna4", "__builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(as_half8(a)", " __attribute__((reqd_work_group_size(128, 1, 1)))", 2 * 4 },
        { "Cdna", "__builtin_amdgcn_mfma_f32_16x16x16f16(as_half4(a)", " __attribute__((reqd_work_group_size(128, 1, 1)))", 4 * 4 },
        { "AmdDot", "__builtin_amdgcn_fdot2(as_half2(a)", " __attribute__((reqd_work_group_size(128, 1, 1)))", 8 * 8 },
    };

    [Theory]
    [MemberData(nameof(Units))]
    public void Kernels_for_matrix_units_name_them_before_they_begin(string instructions, string function, string attributes, int sums)
    {
        using var code = new ClCode(CLDeviceVendor.AMD, CLCVersion.CL20, BackendProfile.UnitOf(Enum.Parse<MatrixInstructions>(instructions)));
        var kernels = code.Kernels.Where(k => k.Name.StartsWith("matrix", StringComparison.Ordinal)).ToArray();
        Assert.Equal(5, kernels.Length);
        foreach (var kernel in kernels)
        {
            var start = kernel.Text.IndexOf("kernel void", StringComparison.Ordinal);
            Assert.InRange(kernel.Text.IndexOf(function, StringComparison.Ordinal), 0, start);
            Assert.Contains("__attribute__((reqd_work_group_size(", kernel.Text[..start], StringComparison.Ordinal);
            Assert.DoesNotContain("#define MATRIX", kernel.Text[start..], StringComparison.Ordinal);
        }

        var large = kernels.Single(k => k.Name == "matrix gemm 128x64").Text;
        Assert.Contains(attributes + "\nkernel void", large, StringComparison.Ordinal);
        Assert.Equal(sums, Regex.Count(large, "^matrix_sums ", RegexOptions.Multiline));
        Assert.Equal(2 * sums * (instructions == "AmdDot" ? 8 : 1), Regex.Count(large, "= MATRIX_MULTIPLY_ADD"));
    }

    /// <summary>ILGPU's barriers order global memory, and what a group's work-items tell each other is in local memory.</summary>
    [Fact]
    public void Barriers_order_local_memory_and_its_arrays_are_aligned()
    {
        using var code = new ClCode(CLDeviceVendor.AMD, CLCVersion.CL20);
        string[] arrays = [.. code.Kernels.SelectMany(k => Regex.Matches(k.Text, @"^\s*local [^;]*\[.*$", RegexOptions.Multiline)).Select(m => m.Value)];
        Assert.True(arrays.Length >= 20, $"only {arrays.Length} arrays of local memory");
        Assert.All(arrays, array => Assert.EndsWith("] __attribute__((aligned(16)));", array, StringComparison.Ordinal));
        Assert.All(code.Kernels, kernel => Assert.DoesNotContain("CLK_GLOBAL_MEM_FENCE", kernel.Text, StringComparison.Ordinal));
        Assert.All(code.Kernels.Where(k => k.Text.Contains("local struct", StringComparison.Ordinal)), kernel => Assert.Contains("barrier(CLK_LOCAL_MEM_FENCE)", kernel.Text, StringComparison.Ordinal));
        Assert.Contains(code.Kernels, kernel => kernel.Text.Contains("barrier(CLK_LOCAL_MEM_FENCE)", StringComparison.Ordinal));
    }

    /// <summary>What drivers call GPUs, and the instructions that they are taken to have.</summary>
    [Theory]
    [InlineData("gfx1100", "Rdna3")]
    [InlineData("gfx1151", "Rdna3")]
    [InlineData("gfx1201", "Rdna4")]
    [InlineData("gfx90a:sramecc+:xnack-", "Cdna")]
    [InlineData("gfx942", "Cdna")]
    [InlineData("gfx1030", "AmdDot")]
    [InlineData("gfx1036", "AmdDot")]
    [InlineData("gfx906:sramecc+:xnack-", "AmdDot")]
    [InlineData("gfx1010", "None")]
    [InlineData("gfx900", "None")]
    [InlineData("gfx11-generic", "None")]
    [InlineData("AMD Radeon RX 7900 XTX (radeonsi, navi31)", "None")]
    public void AMDs_GPUs_are_known_by_name(string name, string instructions) =>
        Assert.Equal(instructions, MatrixInstructionsOf.Amd(name).ToString());

    [Theory]
    [InlineData(8, "Intel8")]
    [InlineData(16, "Intel16")]
    [InlineData(32, "None")]
    [InlineData(0, "None")]
    public void Intels_GPUs_are_known_by_their_smallest_sub_group(long lanes, string instructions) =>
        Assert.Equal(instructions, MatrixInstructionsOf.Intel(lanes).ToString());
}
