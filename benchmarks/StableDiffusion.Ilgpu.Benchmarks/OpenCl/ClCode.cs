using ILGPU;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime;
using ILGPU.Runtime.OpenCL;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Benchmarks.OpenCl;

/// <summary>A kernel as an OpenCL driver gets it.</summary>
/// <param name="Name">The kernel's, in its set.</param>
/// <param name="Text">OpenCL C.</param>
internal sealed record ClKernel(string Name, string Text);

/// <summary>The kernels for GPUs, with fp16 storage, as the OpenCL C that a vendor's driver gets, written without a device.</summary>
internal sealed class ClCode : IKernelLoader, IDisposable
{
    private const int Multiprocessors = 40;

    /// <summary>Of Stable Diffusion's heads those that have kernels of their own.</summary>
    private static readonly int[] HeadSizes = [40, 64, 80];

    private readonly Context context;
    private readonly CLBackend backend;
    private readonly List<ClKernel> kernels = [];

    /// <param name="vendor">Whose driver it is for.</param>
    /// <param name="language">The OpenCL C that it compiles.</param>
    /// <param name="unit">The GPU's matrix units; null where it has none.</param>
    public ClCode(CLDeviceVendor vendor, CLCVersion language, MatrixUnit? unit = null)
    {
        context = Context.Create(builder =>
        {
            builder.Optimize(OptimizationLevel.O2).Inlining(InliningMode.Aggressive);
            ClMathCode.Register(builder);
            unit?.Register(builder);
        });
        backend = new CLBackend(
            context, new CLCapabilityContext(float16: true, float64: false, genericAddressSpace: true, int64_Atomics: false, subGroups: true), vendor, language);
        Compile(new GpuKernels<ushort, GpuHalfFormat<ClHalfConversion>>(this, Multiprocessors));
        if (unit is not null)
        {
            Compile(unit.Kernels(this, Multiprocessors));
        }
    }

    public IReadOnlyList<ClKernel> Kernels => kernels;

    public Action<AcceleratorStream, KernelConfig, TArguments> Load<TArguments>(
        string name, Action<TArguments> kernel, KernelSpecialization specialization = default, int dynamicBytes = 0)
        where TArguments : struct
    {
        // Sets share kernels.
        if (kernels.Any(k => k.Name == name))
        {
            return (_, _, _) => { };
        }

        var compiled = (CLCompiledKernel)backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(kernel.Method), specialization);
        OpenClSource.Prepare(compiled);
        kernels.Add(new ClKernel(name, compiled.Source));
        return (_, _, _) => { };
    }

    private static void Compile(KernelSet<ushort> set)
    {
        set.CompileAll();
        foreach (var size in HeadSizes)
        {
            set.AttentionFor(new AttentionArguments<ushort> { HeadSize = size });
        }
    }

    public void Dispose()
    {
        backend.Dispose();
        context.Dispose();
    }
}
