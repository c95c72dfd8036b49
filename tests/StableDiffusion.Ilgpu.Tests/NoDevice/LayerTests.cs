using System.Text.RegularExpressions;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Who may know whom: what each folder of the library names in its <c>using</c> lines and in full names.</summary>
public sealed partial class LayerTests
{
    private const string Library = "StableDiffusion.Ilgpu";

    /// <summary>For each folder, the other ones that it may name; ILGPU counts as one. The root namespace is everybody's.</summary>
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Graphs"] = [],
        ["Weights"] = [],
        ["Sampling"] = [],
        ["Text"] = [],
        ["Imaging"] = [],
        ["Kernels"] = ["ILGPU"],
        ["Devices"] = ["ILGPU"],
        ["Models"] = ["Graphs"],
        ["Compilation"] = ["ILGPU", "Graphs", "Weights", "Sampling", "Kernels", "Devices"],
        ["Pipelines"] = ["Graphs", "Weights", "Sampling", "Text", "Imaging", "Kernels", "Devices", "Models", "Compilation"],
    };

    private static string Source => Path.Combine(ReferenceData.Repository, "src", Library);

    public static TheoryData<string> Folders =>
        [.. Directory.GetDirectories(Source).Select(f => Path.GetFileName(f)).Where(f => f is not ("bin" or "obj"))];

    [Theory]
    [MemberData(nameof(Folders))]
    public void Folder_names_only_the_layers_below_it(string folder)
    {
        Assert.True(Allowed.TryGetValue(folder, out var allowed),
            $"{folder} has no layer: give it one in this test and in the architecture's picture");
        var files = Directory.GetFiles(Path.Combine(Source, folder), "*.cs", SearchOption.AllDirectories);
        Assert.NotEmpty(files);
        Assert.Empty(files.SelectMany(file => Named(file)
            .Where(n => n != folder && !allowed.Contains(n)).Select(n => $"{Path.GetRelativePath(Source, file)} names {n}")));
    }

    /// <summary>Only tests and benchmarks look behind the pipelines.</summary>
    [Fact]
    public void The_command_line_does_not_name_ILGPU()
    {
        var files = Directory.GetFiles(Path.Combine(ReferenceData.Repository, "src", $"{Library}.Cli"), "*.cs",
            SearchOption.TopDirectoryOnly);
        Assert.NotEmpty(files);
        Assert.DoesNotContain(files, file => Named(file).Any(n => n is "ILGPU" or "Kernels" or "Devices"));
    }

    /// <summary>
    /// Nothing that depends on how fast something ran may choose a kernel: only the program that times its launches looks at a clock.
    /// </summary>
    [Fact]
    public void Kernels_are_not_chosen_by_the_clock()
    {
        var files = new[] { "Graphs", "Kernels", "Devices", "Models", "Compilation" }
            .SelectMany(f => Directory.GetFiles(Path.Combine(Source, f), "*.cs", SearchOption.AllDirectories));
        Assert.Equal(["ComputeProgram.cs"], files.Where(f => Clock().IsMatch(File.ReadAllText(f))).Select(f => Path.GetFileName(f)));
    }

    /// <summary>Folders of the library, and ILGPU, that a file's code names by a using line or a full name.</summary>
    private static IEnumerable<string> Named(string file)
    {
        var code = Comment().Replace(File.ReadAllText(file), "");
        var folders = FolderName().Matches(code).Select(m => m.Groups[1].Value).Where(Allowed.ContainsKey);
        return (Gpu().IsMatch(code) ? folders.Append("ILGPU") : folders).Distinct();
    }

    [GeneratedRegex("//.*")]
    private static partial Regex Comment();

    /// <summary>After the root namespace, or first in a dotted name: from within it, both are the same.</summary>
    [GeneratedRegex(@"(?:StableDiffusion\.Ilgpu\.|(?<![\w.])(?=\w+\.[A-Z]))(\w+)")]
    private static partial Regex FolderName();

    [GeneratedRegex(@"Stopwatch|DateTime|TickCount|TimeProvider|GetTimestamp")]
    private static partial Regex Clock();

    [GeneratedRegex(@"(?<![\w.])ILGPU(?:\.[A-Z]|;)")]
    private static partial Regex Gpu();
}
