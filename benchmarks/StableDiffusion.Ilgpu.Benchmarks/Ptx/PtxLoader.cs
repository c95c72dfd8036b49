using System.Reflection;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Tests.Ptx;

namespace StableDiffusion.Ilgpu.Benchmarks.Ptx;

/// <summary>Compiles kernels to PTX without a GPU. Their launches compute nothing: they only say which kernel was meant.</summary>
internal sealed class PtxLoader : IKernelLoader, IDisposable
{
    private readonly PtxCompiler compiler;
    private readonly Dictionary<(string Name, MethodInfo Method), PtxKernel> kernels = [];

    /// <param name="architecture">As NVIDIA names it, for example <c>sm_90</c>.</param>
    /// <exception cref="StableDiffusionException">ILGPU does not know it.</exception>
    public PtxLoader(string architecture)
    {
        var field = typeof(CudaArchitecture).GetField(architecture.ToUpperInvariant(), BindingFlags.Public | BindingFlags.Static);
        if (field?.GetValue(null) is not CudaArchitecture known)
        {
            throw new StableDiffusionException($"architecture '{architecture}' is not known; valid: for example sm_61, sm_75, sm_80, sm_86, sm_89, sm_90");
        }

        (compiler, Architecture) = (new PtxCompiler(field.Name), known);
    }

    public CudaArchitecture Architecture { get; }

    /// <summary>All that were asked for so far; several sets' kernels of one name are one.</summary>
    public IReadOnlyCollection<PtxKernel> Kernels => kernels.Values;

    /// <summary>Called for each launch.</summary>
    public Action<PtxKernel, KernelConfig>? Launched { get; set; }

    public Action<AcceleratorStream, KernelConfig, TArguments> Load<TArguments>(
        string name, Action<TArguments> kernel, KernelSpecialization specialization = default, int dynamicBytes = 0)
        where TArguments : struct
    {
        if (!kernels.TryGetValue((name, kernel.Method), out var compiled))
        {
            compiled = new PtxKernel(
                Architecture, name, specialization.MaxNumThreadsPerGroup ?? 0, specialization.MinNumGroupsPerMultiprocessor ?? 0, dynamicBytes, compiler.Compile(kernel.Method, specialization));
            kernels.Add((name, kernel.Method), compiled);
        }

        return (_, shape, _) => Launched?.Invoke(compiled, shape);
    }

    public void Dispose() => compiler.Dispose();
}
