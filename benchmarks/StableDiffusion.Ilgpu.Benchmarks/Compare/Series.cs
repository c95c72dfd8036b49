namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>One contender's milliseconds for one piece of work, a value for each round.</summary>
internal sealed class Series(IReadOnlyList<double> values)
{
    public IReadOnlyList<double> Values => values;

    public double Median { get; } = Benchmarks.Median.Of(values);

    public double Min => values.Min();

    public double Max => values.Max();

    /// <summary>How many times as fast this is as another: of the medians, and the least and the most of any round.</summary>
    public Ratio FasterThan(Series other)
    {
        var rounds = values.Zip(other.Values, (ours, theirs) => theirs / ours).ToArray();
        return new Ratio(other.Median / Median, rounds.Min(), rounds.Max());
    }

    /// <summary>The share of n times the speed that n cores reach, this being the time on one.</summary>
    public double Efficiency(Series onCores, int cores) => Median / (cores * onCores.Median);
}

/// <summary>A ratio of medians, with the smallest and the largest of the single rounds.</summary>
internal sealed record Ratio(double Median, double Min, double Max);
