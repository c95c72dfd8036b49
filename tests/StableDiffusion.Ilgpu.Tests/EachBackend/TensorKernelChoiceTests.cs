using ILGPU.Runtime.Cuda;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Tests.Ptx.Driver;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Which kernels an NVIDIA GPU gets: those for its tensor cores, as far as it multiplies matrices and attends to keys rightly with them.</summary>
[Collection(SharedDevice.Name)]
public sealed class TensorKernelChoiceTests
{
    public static TheoryData<int, int, string, int?> Devices => new()
    {
        { 6, 1, "NVIDIA GeForce GTX 1080", null },
        { 7, 0, "Tesla V100-SXM2-16GB", null },
        { 7, 5, "NVIDIA GeForce GTX 1660", null },
        { 7, 5, "NVIDIA T400", null },
        { 7, 5, "NVIDIA T1000 8GB", null },
        { 7, 5, "Tesla T4", 512 },
        { 7, 5, "NVIDIA T4G", 512 },
        { 7, 5, "GRID T4-16Q", 512 },
        { 7, 5, "Quadro RTX 4000", 512 },
        { 7, 5, "NVIDIA GeForce RTX 2060", 256 },
        { 8, 0, "NVIDIA A100-SXM4-40GB", 1024 },
        { 8, 6, "NVIDIA GeForce RTX 3060", 256 },
        { 8, 6, "NVIDIA A10", 512 },
        { 8, 9, "NVIDIA L4", 512 },
        { 8, 7, "Orin", 1024 },
        { 9, 0, "NVIDIA H100 PCIe", 1950 },
        { 9, 0, "NVIDIA GeForce of no kind that exists", 1950 },
        { 10, 0, "NVIDIA B200", 1024 },
        { 12, 0, "NVIDIA GeForce RTX 5090", 256 },
        { 13, 0, "one that is not known yet", 512 },
    };

    [Theory]
    [MemberData(nameof(Devices))]
    public void Cores_follow_from_the_architecture_and_the_name(int major, int minor, string name, int? products) =>
        Assert.Equal(products, TensorCores.Of(new CudaArchitecture(major, minor), name, warpgroups: true)?.Products);

    [Fact]
    public void A_device_gets_its_own_cores_kernels()
    {
        foreach (var (_, session, _, own) in TensorSession.All())
        {
            var kernels = Assert.IsType<CudaKernels>(BackendProfile.HalfKernels(session, LeafKind.Tensor));
            Assert.Equal(own, kernels.Cores);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Where_the_driver_refuses_instructions_or_gets_them_wrong_other_kernels_are_taken(bool refuses)
    {
        Assert.SkipWhen(InterpretedDriver.Installed is null, "only the interpreted driver can be told to");
        foreach (var (_, session, driver, _) in TensorSession.All())
        {
            try
            {
                Break("wgmma.");
                var kernels = Assert.IsType<CudaKernels>(BackendProfile.HalfKernels(session, LeafKind.Tensor));
                Assert.Equal(BackendProfile.CoresOf(driver, warpgroups: false), kernels.Cores);
                Break("mma.");
                Assert.Equal("gpu", BackendProfile.HalfKernels(session, LeafKind.Tensor).Leaf);
            }
            finally
            {
                Break(null);
            }
        }

        void Break(string? what)
        {
            var driver = InterpretedDriver.Installed!;
            (driver.Refused, driver.Spoiled) = refuses ? (what, driver.Spoiled) : (driver.Refused, what);
        }
    }

    /// <summary>A group's threads have so many sums each of the largest tile, and of no other.</summary>
    [Fact]
    public void The_largest_tile_is_tried_too()
    {
        Assert.SkipWhen(InterpretedDriver.Installed is null, "only the interpreted driver can be told to get a kernel wrong");
        foreach (var (_, session, driver, own) in TensorSession.All())
        {
            try
            {
                InterpretedDriver.Installed!.Spoiled = own.Loop switch
                {
                    TensorLoopKind.TuringWarps => "tm_sum<64>",
                    TensorLoopKind.Warpgroups => "tm_sum<80>",
                    _ => "tm_sum<160>",
                };
                var taken = BackendProfile.HalfKernels(session, LeafKind.Tensor);
                Assert.Equal(own.Warpgroups ? BackendProfile.CoresOf(driver, warpgroups: false) : null, (taken as CudaKernels)?.Cores);
            }
            finally
            {
                InterpretedDriver.Installed!.Spoiled = null;
            }
        }
    }

    /// <summary>Named barriers are of attention with <c>wgmma</c> alone, and the addresses of keys of every attention on tensor cores.</summary>
    [Fact]
    public void An_attention_is_tried_too()
    {
        Assert.SkipWhen(InterpretedDriver.Installed is null, "only the interpreted driver can be told to get a kernel wrong");
        foreach (var (_, session, driver, _) in TensorSession.All())
        {
            try
            {
                InterpretedDriver.Installed!.Spoiled = "bar.arrive";
                var kernels = Assert.IsType<CudaKernels>(BackendProfile.HalfKernels(session, LeafKind.Tensor));
                Assert.Equal(BackendProfile.CoresOf(driver, warpgroups: false), kernels.Cores);
                InterpretedDriver.Installed!.Spoiled = "at_keys";
                Assert.Equal("gpu", BackendProfile.HalfKernels(session, LeafKind.Tensor).Leaf);
            }
            finally
            {
                InterpretedDriver.Installed!.Spoiled = null;
            }
        }
    }
}
