namespace StableDiffusion.Ilgpu.Devices;

/// <summary>The OpenCL drivers that the loader would load: a file for each, whose text is the name of a library.</summary>
internal static class OpenClDrivers
{
    private const string UsualPlace = "/etc/OpenCL/vendors";

    private const string PlaceVariable = "OCL_ICD_VENDORS";

    /// <summary>Where they are registered: a folder, or what the user names in place of it.</summary>
    public static string Place => Environment.GetEnvironmentVariable(PlaceVariable) is { Length: > 0 } other ? other : UsualPlace;

    /// <summary>The libraries of this machine; null where they are registered elsewhere than in files.</summary>
    public static IReadOnlyList<string>? Registered() =>
        OperatingSystem.IsLinux() ? Registered(Place, Environment.GetEnvironmentVariable("OCL_ICD_FILENAMES")) : null;

    /// <summary>The libraries that the loaders in use (Khronos', ocl-icd) look for.</summary>
    /// <param name="place">A folder of .icd files, one such file, or a library.</param>
    /// <param name="more">Further libraries, separated by colons.</param>
    public static IReadOnlyList<string> Registered(string place, string? more)
    {
        string[] others = more?.Split(':', StringSplitOptions.RemoveEmptyEntries) ?? [];
        try
        {
            var isLibrary = !Path.Exists(place) && Path.GetFileName(place) == place;
            string[] files = Directory.Exists(place) ? Directory.GetFiles(place, "*.icd") : File.Exists(place) ? [place] : [];
            return [.. files.Order(StringComparer.Ordinal).Select(FirstLine), .. isLibrary ? [place] : Array.Empty<string>(), .. others];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return others;
        }
    }

    /// <summary>Whether a driver is known to serve processors only: PoCL, and Intel's for processors.</summary>
    public static bool IsForProcessors(string library) =>
        Path.GetFileName(library) is var name
        && (name.StartsWith("libpocl", StringComparison.Ordinal) || name.StartsWith("libintelocl", StringComparison.Ordinal));

    private static string FirstLine(string file) => File.ReadLines(file).FirstOrDefault("").Trim();
}
