namespace StableDiffusion.Ilgpu.Tests;

/// <summary>A folder that is gone when the test is over.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("sdilgpu-tests-").FullName;

    /// <summary>Names of everything in it, sorted.</summary>
    public string[] Entries =>
        [.. Directory.EnumerateFileSystemEntries(Path).Select(p => System.IO.Path.GetFileName(p)).Order(StringComparer.Ordinal)];

    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <summary>Copies the files of a folder and of those in it.</summary>
    /// <param name="from">The folder.</param>
    /// <param name="to">Where they go; made if it is not there.</param>
    /// <param name="isWanted">Tells by a file's path whether it is copied; null for all.</param>
    public static void Copy(string from, string to, Func<string, bool>? isWanted = null)
    {
        foreach (var file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories).Where(f => isWanted?.Invoke(f) ?? true))
        {
            var copy = System.IO.Path.Combine(to, System.IO.Path.GetRelativePath(from, file));
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(copy)!);
            File.Copy(file, copy, overwrite: true);
        }
    }

    /// <summary>A model's configurations, and nothing else of it.</summary>
    public static void CopyConfigs(string from, string to) => Copy(from, to, f => System.IO.Path.GetExtension(f) == ".json");

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
