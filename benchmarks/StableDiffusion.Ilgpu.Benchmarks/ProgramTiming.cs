using System.Diagnostics;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>Times of a compiled program.</summary>
/// <param name="Milliseconds">Of a run that only waits at its end; the median.</param>
/// <param name="CoresUsed">Processor time per time: what stays below the number of cores was other processes' or waiting.</param>
/// <param name="Flops">Multiplications and additions of a run, as its launches state them.</param>
/// <param name="Launches">Number of launches.</param>
/// <param name="Kinds">
/// Where the time goes, the largest part first: sums of the launches' medians in runs that wait after each.
/// </param>
internal sealed record ProgramTiming(double Milliseconds, double CoresUsed, double Flops, int Launches, IReadOnlyList<KindTiming> Kinds)
{
    public double Gflops => Flops / Milliseconds / 1e6;

    public static ProgramTiming Measure(ComputeProgram<ushort> program, DeviceSession session, int runs)
    {
        using var process = Process.GetCurrentProcess();
        var (start, before) = (Stopwatch.GetTimestamp(), process.TotalProcessorTime);
        var milliseconds = Median.Milliseconds(runs, () =>
        {
            program.Run();
            session.Stream.Synchronize();
        });
        process.Refresh();
        var coresUsed = (process.TotalProcessorTime - before) / Stopwatch.GetElapsedTime(start);
        var times = new double[program.Launches.Count, runs];
        for (var run = 0; run < runs; run++)
        {
            program.Run(timed: true);
            for (var i = 0; i < program.Launches.Count; i++)
            {
                times[i, run] = program.Launches[i].Milliseconds!.Value;
            }
        }

        var kinds = program.Launches
            .Select((launch, i) => (
                Kind: NodeKind.Of(launch), launch.Flops, Milliseconds: Median.Of(Enumerable.Range(0, runs).Select(run => times[i, run]))))
            .GroupBy(l => l.Kind)
            .Select(g => new KindTiming(g.Key, g.Count(), g.Sum(l => l.Milliseconds), g.Sum(l => l.Flops)));
        return new ProgramTiming(
            milliseconds, coresUsed, program.Launches.Sum(l => l.Flops), program.Launches.Count,
            [.. kinds.OrderByDescending(k => k.Milliseconds)]);
    }
}

/// <summary>The launches of one kind in a program.</summary>
internal sealed record KindTiming(string Kind, int Launches, double Milliseconds, double Flops)
{
    public double Gflops => Flops / Milliseconds / 1e6;
}
