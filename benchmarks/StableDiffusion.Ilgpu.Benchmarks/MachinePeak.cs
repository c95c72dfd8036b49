using System.Diagnostics;
using System.Runtime.CompilerServices;
using StableDiffusion.Ilgpu.Benchmarks.Ptx;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>What the processor, or a GPU, can do at best: the baseline that results are given as a share of.</summary>
/// <param name="Gflops">
/// Multiply-adds (two operations each) with all operands in registers: on the processor fp32 on all cores at the widest vectors, on a GPU
/// with tensor cores theirs (<see cref="Ptx.TensorPeak"/>).
/// </param>
/// <param name="CopyGBps">A copy between blocks that no cache holds, on all cores; bytes read plus bytes written, 10^9 a second.</param>
/// <param name="Title">What the first figure is.</param>
internal sealed record MachinePeak(double Gflops, double CopyGBps, string Title = "FMA peak")
{
    /// <summary>
    /// Sums that do not depend on one another: two multipliers with a latency of four cycles need eight; with factor and term they
    /// still fit into sixteen registers.
    /// </summary>
    private const int Chains = 12;

    /// <summary>Steps of a chain in a burst, about a hundredth of a second: short, so that some burst meets no other load.</summary>
    private const int Steps = 8_000_000;

    private const int FmaBursts = 100;
    private const int CopyBursts = 10;

    /// <summary>Of the source; the target has as many.</summary>
    private const long CopyBytes = 512L << 20;

    /// <summary>Of a GPU with tensor cores its own, of other devices the processor's.</summary>
    public static MachinePeak Measure(ComputeDevice device)
    {
        if (device.Kind != DeviceKind.Cuda)
        {
            return Measure();
        }

        using var session = BackendProfile.Open(device);
        return BackendProfile.LeafOf(device) == LeafKind.Tensor ? TensorPeak.Measure(session) : Measure();
    }

    /// <summary>The best of short bursts, each on all cores at once: other load can only make a burst slower.</summary>
    public static MachinePeak Measure() => new(ProcessorVectors.Bits switch
    {
        512 => Fma<Simd512>(),
        256 => Fma<Simd256>(),
        _ => Fma<Simd128>(),
    }, Copy());

    /// <summary>The larger values of two measurements.</summary>
    public MachinePeak Or(MachinePeak other) => new(Math.Max(Gflops, other.Gflops), Math.Max(CopyGBps, other.CopyGBps), Title);

    private static double Fma<V>() where V : struct, ISimd<V>
    {
        var threads = Environment.ProcessorCount;
        var results = new float[threads];
        var seconds = Shortest(threads, FmaBursts, i => results[i] = MultiplyAdd<V>(i));
        return results.All(float.IsFinite) ? 2.0 * Chains * V.Count * Steps * threads / seconds / 1e9
            : throw new InvalidOperationException("the multiply-add loop gave no finite number");
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float MultiplyAdd<V>(float seed) where V : struct, ISimd<V>
    {
        // Every chain tends to the same number, so that none overflows or becomes denormal.
        V factor = V.Create(0.875f), term = V.Create(seed + 1);
        V s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11;
        s0 = s1 = s2 = s3 = V.Create(seed);
        s4 = s5 = s6 = s7 = V.Create(seed + 2);
        s8 = s9 = s10 = s11 = V.Create(seed + 3);
        for (var i = 0; i < Steps; i++)
        {
            s0 = V.MultiplyAdd(s0, factor, term);
            s1 = V.MultiplyAdd(s1, factor, term);
            s2 = V.MultiplyAdd(s2, factor, term);
            s3 = V.MultiplyAdd(s3, factor, term);
            s4 = V.MultiplyAdd(s4, factor, term);
            s5 = V.MultiplyAdd(s5, factor, term);
            s6 = V.MultiplyAdd(s6, factor, term);
            s7 = V.MultiplyAdd(s7, factor, term);
            s8 = V.MultiplyAdd(s8, factor, term);
            s9 = V.MultiplyAdd(s9, factor, term);
            s10 = V.MultiplyAdd(s10, factor, term);
            s11 = V.MultiplyAdd(s11, factor, term);
        }

        return V.Sum(s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11);
    }

    private static double Copy()
    {
        var threads = Environment.ProcessorCount;
        var part = (int)(CopyBytes / threads);
        var blocks = Enumerable.Range(0, threads).Select(_ => (Source: new byte[part], Target: new byte[part])).ToArray();
        foreach (var (source, _) in blocks)
        {
            // Untouched pages would all be one page of zeros.
            source.AsSpan().Fill(1);
        }

        var seconds = Shortest(threads, CopyBursts, i => blocks[i].Source.AsSpan().CopyTo(blocks[i].Target));
        return 2.0 * part * threads / seconds / 1e9;
    }

    /// <summary>
    /// Seconds from the start of the first thread's work to the end of the last one's, by the threads' own clocks, in the best of some
    /// bursts after a first one.
    /// </summary>
    private static double Shortest(int threads, int bursts, Action<int> work)
    {
        using var gate = new Barrier(threads);
        var starts = new long[bursts + 1, threads];
        var ends = new long[bursts + 1, threads];
        Thread[] workers = [.. Enumerable.Range(0, threads).Select(index => new Thread(() =>
        {
            for (var burst = 0; burst <= bursts; burst++)
            {
                gate.SignalAndWait();
                starts[burst, index] = Stopwatch.GetTimestamp();
                work(index);
                ends[burst, index] = Stopwatch.GetTimestamp();
            }
        }))];
        foreach (var worker in workers)
        {
            worker.Start();
        }

        foreach (var worker in workers)
        {
            worker.Join();
        }

        var all = Enumerable.Range(0, threads);
        return Enumerable.Range(1, bursts).Min(
            burst => Stopwatch.GetElapsedTime(all.Min(i => starts[burst, i]), all.Max(i => ends[burst, i])).TotalSeconds);
    }
}
