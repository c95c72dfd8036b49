using Xunit;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Finds the reference numbers and reports comparisons with them.</summary>
internal static class ReferenceData
{
    /// <summary>The folder that SD_REFERENCE names, else the copy in the checkout.</summary>
    public static string Folder { get; } = FindFolder();

    /// <summary>The repository's root folder: the one with the solution file.</summary>
    public static string Repository { get; } = FindUp("StableDiffusion.Ilgpu.sln", File.Exists);

    public static string PathOf(params string[] parts) => Path.Combine([Folder, .. parts]);

    /// <summary>Prints one line and fails when the error is above the limit (or not a number).</summary>
    public static void Report(string what, double error, double limit)
    {
        var line = Line(what, error, limit);
        TestContext.Current.TestOutputHelper?.WriteLine(line);
        Assert.True(error <= limit, line);
    }

    /// <summary>How a comparison is printed.</summary>
    public static string Line(string what, double error, double limit) =>
        $"{what}: error {error:0.0e+0} (limit {limit:0.0e+0}){(error <= limit ? "" : " FAILED")}";

    /// <summary>Names a part of the reference that is not compared.</summary>
    public static void LeaveOut(string what, string reason) =>
        TestContext.Current.TestOutputHelper?.WriteLine($"left out: {what}: {reason}");

    private static string FindFolder() =>
        Environment.GetEnvironmentVariable("SD_REFERENCE") is { Length: > 0 } named
            ? named
            : Path.Combine(FindUp("StableDiffusion.Ilgpu.sln", File.Exists), "tests", "reference");

    private static string FindUp(string name, Func<string, bool> exists)
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (exists(Path.Combine(folder.FullName, name)))
            {
                return folder.FullName;
            }
        }

        throw new InvalidOperationException($"{name} is in no folder above {AppContext.BaseDirectory}");
    }
}
