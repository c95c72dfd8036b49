using System.Globalization;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>Numbers of cores that the scaling is measured at.</summary>
internal static class CoreCounts
{
    /// <summary>One, two, four … and all.</summary>
    public static IReadOnlyList<int> Default(int available) =>
        [.. Enumerable.Range(0, 31).Select(i => 1 << i).TakeWhile(n => n < available), available];

    /// <exception cref="StableDiffusionException">The text is no list of such numbers.</exception>
    public static IReadOnlyList<int> Parse(string text, int available)
    {
        var counts = text.Split(',').Select(t => int.TryParse(t, CultureInfo.InvariantCulture, out var n) && n >= 1 && n <= available ? n : 0).ToArray();
        return counts.All(n => n > 0) ? [.. counts.Distinct().Order()]
            : throw new StableDiffusionException($"--cores {text} cannot be used; valid: numbers from 1 to {available}, with commas between them");
    }
}
