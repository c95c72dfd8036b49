using System.Reflection;
using ILGPU;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Compiles kernels to PTX as for a device, without one.</summary>
/// <param name="architecture">A field of <see cref="CudaArchitecture"/>, such as <c>SM_80</c>.</param>
internal sealed class PtxCompiler(string architecture) : IDisposable
{
    private readonly Lazy<(Context Context, PTXBackend Backend)> backend = new(() =>
    {
        var context = Context.Create(builder =>
        {
            builder.Optimize(OptimizationLevel.O2).Inlining(InliningMode.Aggressive);
            CudaMathCode.Register(builder);
        });
        var target = (CudaArchitecture)typeof(CudaArchitecture).GetField(architecture)!.GetValue(null)!;
        return (context, new PTXBackend(context, target, CudaInstructionSet.ISA_78, nvvmAPI: null!));
    });

    public string Compile(MethodInfo kernel, KernelSpecialization specialization = default)
    {
        var entry = EntryPointDescription.FromExplicitlyGroupedKernel(kernel);
        return PtxSource.Complete(((PTXCompiledKernel)backend.Value.Backend.Compile(entry, specialization)).PTXAssembly);
    }

    public void Dispose()
    {
        if (backend.IsValueCreated)
        {
            backend.Value.Backend.Dispose();
            backend.Value.Context.Dispose();
        }
    }
}
