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
    /// <exception cref="StableDiffusionException">ILGPU does not know it, or it is older than 8.0.</exception>
    public PtxLoader(string architecture)
    {
        var field = typeof(CudaArchitecture).GetField(architecture.ToUpperInvariant(), BindingFlags.Public | BindingFlags.Static);
        compiler = field?.GetValue(null) is CudaArchitecture { Major: >= 8 } ? new PtxCompiler(field.Name)
            : throw new StableDiffusionException($"architecture '{architecture}' is not known, or has not what the kernels need; valid: for example sm_80, sm_86, sm_89, sm_90");
    }

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
                name, specialization.MaxNumThreadsPerGroup ?? 0, dynamicBytes, compiler.Compile(kernel.Method, specialization));
            kernels.Add((name, kernel.Method), compiled);
        }

        return (_, shape, _) => Launched?.Invoke(compiled, shape);
    }

    public void Dispose() => compiler.Dispose();
}
