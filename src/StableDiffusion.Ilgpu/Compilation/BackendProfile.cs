using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;
using StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>The leaves that kernels can run with.</summary>
internal enum LeafKind
{
    Portable,
    Gpu,

    /// <summary>CUDA with tensor cores; with fp32 storage, and where they do not do what they should, the same as <see cref="Gpu"/>.</summary>
    Tensor,

    /// <summary>OpenCL with matrix units; with fp32 storage, and where the units do not do what they should, the same as <see cref="Gpu"/>.</summary>
    Matrix,

    /// <summary>OpenCL for processors with registers of eight values.</summary>
    Vector,

    /// <summary>OpenCL for processors with registers of sixteen values.</summary>
    WideVector,
    Simd128,
    Simd256,
    Simd512,
}

/// <summary>The one place that knows which leaf serves which device.</summary>
internal static class BackendProfile
{
    /// <summary>The PTX that kernels for tensor cores are written in: copies that fetch whole lines of the second-level cache (CUDA 11.4).</summary>
    private static readonly CudaInstructionSet TensorInstructions = CudaInstructionSet.ISA_74;

    /// <summary>The fastest leaf of this machine's processor.</summary>
    public static LeafKind Best => ProcessorVectors.Bits switch
    {
        512 => LeafKind.Simd512,
        256 => LeafKind.Simd256,
        _ => LeafKind.Simd128,
    };

    /// <summary>Opens a device so that any of its leaves can be compiled.</summary>
    public static DeviceSession Open(ComputeDevice device) =>
        DeviceSession.Open(device, device.Kind switch
        {
            DeviceKind.OpenCl => builder => RegisterOpenCl(builder, UnitOf(device.Driver)),
            DeviceKind.Cuda => CudaMathCode.Register,
            _ => null,
        });

    /// <summary>The leaf that a device runs fastest with: SIMD leaves are real .NET code, so only the CPU accelerator can use them.</summary>
    public static LeafKind LeafOf(ComputeDevice device) => device switch
    {
        { Kind: DeviceKind.Cpu } => Best,
        { Hardware: Hardware.Processor, Driver: CLDevice driver } => OpenClDevices.VectorWidth(driver) >= 16 ? LeafKind.WideVector : LeafKind.Vector,
        { Driver: CudaDevice { InstructionSet: { } known } cuda } when known >= TensorInstructions && CoresOf(cuda) is not null => LeafKind.Tensor,
        { Driver: CLDevice driver } when UnitOf(driver) is not null => LeafKind.Matrix,
        _ => LeafKind.Gpu,
    };

    public static KernelSet<ushort> HalfKernels(DeviceSession device, LeafKind leaf, KernelCache? cache = null) => leaf switch
    {
        LeafKind.Tensor => TensorKernels(device, cache) ?? HalfGpuKernels(device, device.Multiprocessors, cache),
        LeafKind.Matrix => MatrixKernels(device, UnitOf(device.Accelerator.Device), cache) ?? HalfGpuKernels(device, device.Multiprocessors, cache),
        LeafKind.Gpu => HalfGpuKernels(device, device.Multiprocessors, cache),
        _ => Kernels<ushort, HalfFormat, SimdHalfFormat>(device, leaf, cache),
    };

    public static KernelSet<float> FloatKernels(DeviceSession device, LeafKind leaf) => leaf is LeafKind.Gpu or LeafKind.Tensor or LeafKind.Matrix
        ? FloatGpuKernels(device, device.Multiprocessors) : Kernels<float, FloatFormat, SimdFloatFormat>(device, leaf);

    /// <summary>A device's tensor cores; null where kernels can use none: before compute capability 8.0 their texts must be lowered.</summary>
    /// <param name="driver">The device.</param>
    /// <param name="warpgroups">Whether to multiply with <c>wgmma</c> if the device can.</param>
    public static TensorCores? CoresOf(CudaDevice driver, bool warpgroups = true) =>
        driver.Architecture is { } architecture && (architecture.Major >= 8 || PtxSource.CanComplete)
            ? TensorCores.Of(architecture, driver.Name, warpgroups && KnowsWarpgroups(driver)) : null;

    /// <summary>Drivers know <c>wgmma</c> since PTX 8.0 (CUDA 12).</summary>
    private static bool KnowsWarpgroups(CudaDevice driver) => driver.InstructionSet is { Major: >= 8 } && PtxSource.CanComplete;

    /// <summary>The kernels for GPUs, with tiles chosen for so many multiprocessors.</summary>
    public static KernelSet<ushort> HalfGpuKernels(DeviceSession device, int multiprocessors, KernelCache? cache = null)
    {
        var loader = new DeviceKernelLoader(device.Accelerator, cache);
        return device.Accelerator is CudaAccelerator cuda ? CudaGpuKernels(loader, cuda.Architecture, multiprocessors)
            : new GpuKernels<ushort, GpuHalfFormat<ClHalfConversion>>(loader, multiprocessors);
    }

    /// <summary>The kernels for GPUs with the instructions of one of NVIDIA's, and without its tensor cores.</summary>
    public static KernelSet<ushort> CudaGpuKernels(IKernelLoader loader, CudaArchitecture architecture, int multiprocessors) => architecture.Major >= 8
        ? new GpuKernels<ushort, GpuHalfFormat<CudaHalfConversion>>(loader, multiprocessors)
        : new GpuKernels<ushort, GpuHalfFormat<EarlyCudaHalfConversion>>(loader, multiprocessors);

    public static KernelSet<float> FloatGpuKernels(DeviceSession device, int multiprocessors) =>
        new GpuKernels<float, FloatFormat>(new DeviceKernelLoader(device.Accelerator), multiprocessors);

    /// <summary>The kernels for a device with these matrix units.</summary>
    /// <returns>Null where there are none, or they do not do what they should.</returns>
    public static KernelSet<ushort>? MatrixKernels(DeviceSession device, MatrixUnit? unit, KernelCache? cache = null) =>
        unit?.Kernels(new DeviceKernelLoader(device.Accelerator, cache), device.Multiprocessors) is { } kernels
            && MatrixCheck.Passes(device, kernels, MatrixGemmTiling.Cut<SmallMatrixTile>, MatrixGemmTiling.Cut<LargeMatrixTile>) ? kernels : null;

    /// <summary>The kernels for a device with tensor cores: on Hopper without <c>wgmma</c> where that does not do what it should.</summary>
    /// <returns>Null where nothing does.</returns>
    private static CudaKernels? TensorKernels(DeviceSession device, KernelCache? cache)
    {
        var driver = (CudaDevice)device.Accelerator.Device;
        TensorCores?[] ways = [CoresOf(driver), CoresOf(driver, warpgroups: false)];
        return ways.OfType<TensorCores>().Distinct()
            .Select(cores => new CudaKernels(new DeviceKernelLoader(device.Accelerator, cache), device.Multiprocessors, cores))
            .FirstOrDefault(kernels => MatrixCheck.Passes(device, kernels, kernels.Cut, kernels.CutLarge));
    }

    /// <summary>What OpenCL devices need with these matrix units; null for none.</summary>
    public static void RegisterOpenCl(Context.Builder builder, MatrixUnit? unit)
    {
        ClVectorCode.Register(builder);
        ClMathCode.Register(builder);
        unit?.Register(builder);
    }

    /// <returns>Null for a GPU without any.</returns>
    public static MatrixUnit? UnitOf(MatrixInstructions instructions) => instructions switch
    {
        MatrixInstructions.Intel8 => new MatrixUnit<IntelMatrixUnit8>(),
        MatrixInstructions.Intel16 => new MatrixUnit<IntelMatrixUnit16>(),
        MatrixInstructions.Rdna3 => new MatrixUnit<AmdMatrixUnit11>(),
        MatrixInstructions.Rdna4 => new MatrixUnit<AmdMatrixUnit12>(),
        MatrixInstructions.Cdna => new MatrixUnit<AmdMatrixUnit64>(),
        MatrixInstructions.AmdDot => new MatrixUnit<AmdDotUnit>(),
        _ => null,
    };

    /// <summary>A device's matrix units; null where it has none, or ILGPU no place for what their kernels need.</summary>
    public static MatrixUnit? UnitOf(Device? driver) =>
        driver is CLDevice device && OpenClSource.CanComplete ? UnitOf(MatrixInstructionsOf.Device(device)) : null;

    private static KernelSet<T> Kernels<T, TFormat, TSimdFormat>(DeviceSession device, LeafKind leaf, KernelCache? cache = null)
        where T : unmanaged
        where TFormat : struct, IFormat<T>
        where TSimdFormat : struct, ISimdFormat<T>
    {
        ILeafKernelLoader loader = device.CpuLaunches is { } cpu ? new CpuKernelLoader(cpu) : new LeafKernelLoader(device.Accelerator, device.Groups, cache);
        return leaf switch
        {
            LeafKind.Simd512 => new LeafKernels<T, CpuSimdLeaf<T, TFormat, TSimdFormat, Simd512>>(loader, device.Groups, "simd512", 2 * Simd512.Count),
            LeafKind.Simd256 => new LeafKernels<T, CpuSimdLeaf<T, TFormat, TSimdFormat, Simd256>>(loader, device.Groups, "simd256", 2 * Simd256.Count),
            LeafKind.Simd128 => new LeafKernels<T, CpuSimdLeaf<T, TFormat, TSimdFormat, Simd128>>(loader, device.Groups, "simd128", 2 * Simd128.Count),
            LeafKind.Vector => new LeafKernels<T, ClVectorLeaf<T, TFormat, ClSums6>>(loader, device.Groups, "vector", ClSums6.Columns),
            LeafKind.WideVector => new LeafKernels<T, ClVectorLeaf<T, TFormat, ClSums8>>(loader, device.Groups, "vector512", ClSums8.Columns),
            _ => new LeafKernels<T, PortableLeaf<T, TFormat>>(loader, device.Groups, "portable", Tile.Columns),
        };
    }
}
