using StableDiffusion.Ilgpu.Sampling;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>docs/samplers.md names every sampler and schedule as the program does.</summary>
public class SamplersDocumentTests
{
    private static readonly string[] Lines = File.ReadAllLines(Path.Combine(ReferenceData.Repository, "docs", "samplers.md"));

    public static TheoryData<string> SamplerNames => [.. Samplers.All.Select(s => s.Name)];

    [Theory]
    [MemberData(nameof(SamplerNames))]
    public void Every_sampler_has_its_row(string name)
    {
        var sampler = Samplers.Find(name);
        var names = string.Join(", ", sampler.Aliases.Prepend(sampler.Name).Select(n => $"`{n}`"));
        var row = Assert.Single(Lines, line => line.StartsWith($"| {names} |", StringComparison.Ordinal));
        var cells = row.Split('|', StringSplitOptions.TrimEntries);
        Assert.Equal(sampler.DisplayName, cells[2]);
        Assert.Equal(sampler.Schedulers.Count == 1 ? "d" : "k", cells[3]);
        Assert.Equal(FormattableString.Invariant($"{sampler.DefaultEta}"), cells[6]);
    }

    [Fact]
    public void Every_schedule_has_its_row() => Assert.All(
        SchedulerNames.All,
        s => Assert.Single(Lines, line => line.StartsWith($"| `{SchedulerNames.NameOf(s)}`", StringComparison.Ordinal)
            && line.Contains($"| {SchedulerNames.DisplayNameOf(s)} |", StringComparison.Ordinal)));

    [Fact]
    public void Names_are_told_apart()
    {
        var names = Samplers.All.SelectMany(s => s.Aliases.Append(s.Name)).ToArray();
        Assert.Equal(names.Length, names.Distinct(StringComparer.OrdinalIgnoreCase).Count());
        Assert.All(Samplers.All, s => Assert.Same(s, Samplers.Find(s.DisplayName)));
    }
}
