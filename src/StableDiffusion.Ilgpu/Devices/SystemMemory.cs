namespace StableDiffusion.Ilgpu.Devices;

/// <summary>What is left of the machine's memory.</summary>
internal static class SystemMemory
{
    private const string InformationFile = "/proc/meminfo";

    /// <summary>Bytes that can be taken without pushing others out, within what this process may have (a container's limit).</summary>
    public static long Available
    {
        get
        {
            var allowed = Math.Max(0, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes - Environment.WorkingSet);
            return File.Exists(InformationFile) && File.ReadLines(InformationFile).FirstOrDefault(IsAvailable) is { } line
                && long.TryParse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], out var kibibytes)
                ? Math.Min(allowed, kibibytes * 1024) : allowed;
        }
    }

    private static bool IsAvailable(string line) => line.StartsWith("MemAvailable:", StringComparison.Ordinal);
}
