using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Benchmarks.Ptx;

/// <summary>
/// What an NVIDIA GPU can do at best: fp16 products with fp32 sums by <c>mma.sync</c>, all operands in registers, or on Hopper by <c>wgmma</c>
/// (<see cref="WarpgroupPeak"/>), and a copy within its memory.
/// </summary>
internal static class TensorPeak
{
    /// <summary>Products that do not depend on one another, for each of a group's warps.</summary>
    private const int Chains = 8;

    public const int GroupSize = 256;

    private const int GroupsPerMultiprocessor = 2;

    private const int WarpSize = 32;

    /// <summary>Of one instruction of a warp: 16 x 8 sums of 16 products each.</summary>
    private const double Flops = 2.0 * 16 * 8 * 16;

    /// <summary>Instructions of a chain in a burst: some milliseconds.</summary>
    private const int Rounds = 20_000;

    private const int Bursts = 20;

    /// <summary>Of the source; more than any second-level cache.</summary>
    private const int CopyBytes = 1 << 29;

    public static MachinePeak Measure(DeviceSession session)
    {
        var warpgroups = BackendProfile.CoresOf((CudaDevice)session.Accelerator.Device) is { Warpgroups: true };
        return new(MeasureProducts(session, warpgroups), MeasureCopy(session), $"{PtxKernel.PeakName} ({(warpgroups ? "wgmma" : "mma.sync")})");
    }

    /// <summary>What it is measured with.</summary>
    public static Action<AcceleratorStream, KernelConfig, Arguments> Load(IKernelLoader loader, bool warpgroups) => warpgroups
        ? WarpgroupPeak.Load(loader)
        : loader.Load<Arguments>(PtxKernel.PeakName, Run, new KernelSpecialization(GroupSize, GroupsPerMultiprocessor));

    [ModuleInitializer]
    internal static void Register() => PtxCode.Bind(typeof(TensorPeak).GetMethod(nameof(Multiply))!, Text);

    /// <summary>Stands for the text.</summary>
    public static void Multiply(int text, int rounds, long target) => throw new NotSupportedException();

    private static void Run(Arguments arguments) => Multiply(0, arguments.Rounds, arguments.Target);

    private static double MeasureProducts(DeviceSession session, bool warpgroups)
    {
        using var result = session.Allocate<float>(1);
        var groups = (warpgroups ? 1 : GroupsPerMultiprocessor) * session.Groups;
        var flops = warpgroups ? WarpgroupPeak.Flops * (GroupSize / WarpgroupPeak.Threads) : Flops * Chains * (GroupSize / WarpSize);
        var load = Load(new DeviceKernelLoader(session.Accelerator), warpgroups);
        var arguments = new Arguments { Rounds = Rounds, Target = result.View.LoadEffectiveAddressAsPtr() };
        var seconds = Shortest(session, () => load(session.Stream, new KernelConfig(groups, GroupSize), arguments));
        return flops * Rounds * groups / seconds / 1e9;
    }

    private static double MeasureCopy(DeviceSession session)
    {
        using var source = session.Allocate<byte>(CopyBytes);
        using var target = session.Allocate<byte>(CopyBytes);
        source.View.MemSetToZero(session.Stream);
        return 2.0 * CopyBytes / Shortest(session, () => source.View.CopyTo(session.Stream, target.View)) / 1e9;
    }

    /// <summary>Seconds of the best of some bursts after a first one.</summary>
    private static double Shortest(DeviceSession session, Action launch)
    {
        var best = double.MaxValue;
        for (var burst = 0; burst <= Bursts; burst++)
        {
            session.Stream.Synchronize();
            var start = Stopwatch.GetTimestamp();
            launch();
            session.Stream.Synchronize();
            best = burst > 0 ? Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds) : best;
        }

        return best;
    }

    private static string Text()
    {
        // Operands of 2^-8, so that no sum overflows.
        var text = new StringBuilder($$"""
            {
            .reg .b32 x;
            .reg .f32 c<{{4 * Chains}}>;
            .reg .s32 n;
            .reg .pred more;
            mov.b32 x, 0x1c001c00;
            mov.s32 n, %0;

            """);
        for (var i = 0; i < 4 * Chains; i++)
        {
            text.AppendLine($"mov.f32 c{i}, 0f00000000;");
        }

        text.AppendLine("MORE:");
        for (var i = 0; i < 4 * Chains; i += 4)
        {
            var sums = $"{{c{i}, c{i + 1}, c{i + 2}, c{i + 3}}}";
            text.AppendLine($"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {sums}, {{x, x, x, x}}, {{x, x}}, {sums};");
        }

        text.AppendLine("sub.s32 n, n, 1;").AppendLine("setp.gt.s32 more, n, 0;").AppendLine("@more bra MORE;");
        for (var i = 1; i < 4 * Chains; i++)
        {
            text.AppendLine($"add.f32 c0, c0, c{i};");
        }

        // All write one value, the same.
        return text.AppendLine("st.global.f32 [%1], c0;").Append('}').ToString();
    }

    /// <summary>The kernel's.</summary>
    internal struct Arguments
    {
        public int Rounds;

        /// <summary>The address of one fp32 value.</summary>
        public long Target;
    }
}
