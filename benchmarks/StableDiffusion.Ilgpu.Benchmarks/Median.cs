using System.Diagnostics;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>The harness: repeated runs of something that waits for its own end, and their median.</summary>
internal static class Median
{
    /// <summary>The middle value, or the mean of the two middle ones.</summary>
    public static double Of(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length > 0
            ? (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2
            : throw new ArgumentException("the median of nothing", nameof(values));
    }

    /// <summary>Milliseconds of a run: the median of <paramref name="runs"/> after one that does not count.</summary>
    public static double Milliseconds(int runs, Action run)
    {
        run();
        return Of(Enumerable.Range(0, runs).Select(_ => Time(run)).ToArray());
    }

    /// <summary>The same with as many runs as fit into a time, but at least three.</summary>
    public static double Milliseconds(TimeSpan budget, Action run)
    {
        run();
        var times = new List<double>();
        for (var start = Stopwatch.GetTimestamp(); times.Count < 3 || Stopwatch.GetElapsedTime(start) < budget;)
        {
            times.Add(Time(run));
        }

        return Of(times);
    }

    private static double Time(Action run)
    {
        var start = Stopwatch.GetTimestamp();
        run();
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
    }
}
