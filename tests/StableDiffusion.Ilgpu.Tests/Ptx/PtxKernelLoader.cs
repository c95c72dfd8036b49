using System.Collections.Concurrent;
using System.Reflection;
using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>
/// Compiles kernels to PTX and interprets it, on buffers of the CPU accelerator: what an NVIDIA GPU would run, on any machine.
/// </summary>
/// <param name="architecture">A field of <see cref="ILGPU.Runtime.Cuda.CudaArchitecture"/>, such as <c>SM_80</c>.</param>
/// <param name="landing">When copies from global to shared memory are there.</param>
internal sealed class PtxKernelLoader(string architecture = "SM_80", CopyLanding landing = CopyLanding.Late) : IKernelLoader, IDisposable
{
    private readonly int mostSharedBytes = PtxLaunch.MostSharedBytes(int.Parse(architecture.AsSpan("SM_".Length)));

    /// <summary>What was compiled before, for an architecture, with the work-items of groups: most tests take the same kernels.</summary>
    private static readonly ConcurrentDictionary<(string, MethodInfo, KernelSpecialization), PtxProgram> Compiled = [];

    private readonly PtxCompiler compiler = new(architecture);
    private Dictionary<string, PtxStatistics> statistics = [];

    /// <summary>What the launches of each kernel executed since this was asked for last, by the names they were loaded with.</summary>
    public IReadOnlyDictionary<string, PtxStatistics> TakeStatistics() => Interlocked.Exchange(ref statistics, []);

    public Action<AcceleratorStream, KernelConfig, TArguments> Load<TArguments>(
        string name, Action<TArguments> kernel, KernelSpecialization specialization = default, int dynamicBytes = 0)
        where TArguments : struct
    {
        PtxProgram program;
        lock (compiler)
        {
            try
            {
                program = Compiled.GetOrAdd(
                    (architecture, kernel.Method, specialization), _ => PtxProgram.Parse(compiler.Compile(kernel.Method, specialization)));
            }
            catch (PtxException e)
            {
                throw new PtxException($"{name}: {e.Message}");
            }

        }

        return (_, config, arguments) =>
        {
            var dynamic = config.SharedMemoryConfig.NumElements * config.SharedMemoryConfig.ElementSize;
            var shared = program.DynamicSharedOffset + dynamic;
            if (shared > mostSharedBytes || (shared > PtxLaunch.OrdinarySharedBytes && dynamic > dynamicBytes) || program.StaticSharedBytes > PtxLaunch.OrdinarySharedBytes)
            {
                throw new PtxException($"{name}: {program.StaticSharedBytes} and {dynamic} bytes of static and dynamic shared memory, {dynamicBytes} announced");
            }

            var given = PtxArguments.Of(arguments);
            var launch = new PtxLaunch
            {
                Program = program,
                Grid = (config.GridDim.X, config.GridDim.Y, config.GridDim.Z),
                Group = (config.GroupDim.X, config.GroupDim.Y, config.GroupDim.Z),
                DynamicSharedBytes = dynamic,
                Parameters = given.Bytes,
                Global = new GlobalMemory(given.Buffers),
                Landing = landing,
            };
            try
            {
                Record(name, launch.Run());
            }
            catch (PtxException e)
            {
                throw new PtxException($"{name}: {e.Message}");
            }
        };
    }

    private void Record(string name, PtxStatistics executed)
    {
        lock (compiler)
        {
            if (!statistics.TryGetValue(name, out var sum))
            {
                statistics.Add(name, sum = new PtxStatistics());
            }

            sum.Add(executed);
        }
    }

    public void Dispose() => compiler.Dispose();
}
