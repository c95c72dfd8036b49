using System.Text.Json;
using System.Text.RegularExpressions;
using StableDiffusion.Ilgpu.Sampling;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>docs/samplers.md names every sampler and schedule as the program does.</summary>
public partial class SamplersDocumentTests
{
    private const int Steps = 20;
    private static readonly string[] Lines = File.ReadAllLines(Path.Combine(ReferenceData.Repository, "docs", "samplers.md"));

    public static TheoryData<string> SamplerNames => [.. Samplers.All.Select(s => s.Name)];

    [Theory]
    [MemberData(nameof(SamplerNames))]
    public void Every_sampler_has_its_row(string name)
    {
        var sampler = Samplers.Find(name);
        var names = string.Join(", ", sampler.Aliases.Prepend(sampler.Name).Select(n => $"`{n}`"));
        var cells = Row(sampler);
        Assert.Equal(names, cells[1]);
        Assert.Equal(sampler.DisplayName, cells[2]);
        Assert.Equal(sampler.Schedulers.Count == 1 ? "d" : "k", cells[3]);
        Assert.Equal(FormattableString.Invariant($"{sampler.DefaultEta}"), cells[6]);
    }

    [Theory]
    [MemberData(nameof(SamplerNames))]
    public void Evaluations_and_noise_are_counted_as_the_table_says(string name)
    {
        var sampler = Samplers.Find(name);
        var schedule = NoiseSchedule.Parse(
            JsonElement.Parse("""{"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1, "skip_prk_steps": true}"""), "test");
        var plan = sampler.Plan(schedule, Steps, Scheduler.Discrete, eta: sampler.DefaultEta is null ? null : 1);
        var cells = Row(sampler);
        Assert.Equal(Count(cells[4]), plan.Steps.Count);
        Assert.Equal(Count(cells[5]), plan.Steps.Count(s => s.Noise != 0 || s.DrawsNoise));
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

    private static string[] Row(Sampler sampler) =>
        Assert.Single(Lines, line => line.StartsWith($"| `{sampler.Name}`", StringComparison.Ordinal)).Split('|', StringSplitOptions.TrimEntries);

    /// <summary>The formula that a cell begins with, for <see cref="Steps"/>; 0 for an empty cell.</summary>
    private static int Count(string cell)
    {
        if (cell.Length == 0)
        {
            return 0;
        }

        var formula = Formula().Match(cell);
        Assert.True(formula.Success, cell);
        return ((Number("factor") ?? 1) * Steps) + (formula.Groups["sign"].Value == "-" ? -1 : 1) * (Number("more") ?? 0);

        int? Number(string group) => formula.Groups[group] is { Success: true } found ? int.Parse(found.ValueSpan) : null;
    }

    [GeneratedRegex(@"^(?<factor>\d)?N( (?<sign>[+-]) (?<more>\d))?(,|$)")]
    private static partial Regex Formula();
}
