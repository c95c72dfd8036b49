using System.Text.RegularExpressions;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime.OpenCL;
using StableDiffusion.Ilgpu.Benchmarks.OpenCl;
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
}
