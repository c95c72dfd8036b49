using System.Text.Json;

namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>A file that was fetched and checked.</summary>
/// <param name="Size">Bytes.</param>
/// <param name="Digest">What it was checked against; null where there was nothing.</param>
internal sealed record CachedFile(long Size, Digest? Digest);

/// <summary>
/// The file <c>.sdilgpu.json</c> of a cached repository: the files that were fetched and checked, and, once all files of a model
/// are there, which ones these are. A file is entered after its last rename, so an entry without its file never stands for long.
/// </summary>
internal sealed class CacheRecord
{
    public const string FileName = ".sdilgpu.json";

    /// <summary>Of thousands of files. Any folder that is opened as a model may have such a file.</summary>
    private const int MostBytes = 16 << 20;

    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web) { WriteIndented = true, RespectNullableAnnotations = true };

    public string Repository { get; set; } = "";

    public string Commit { get; set; } = "";

    public Dictionary<string, CachedFile> Files { get; set; } = [];

    /// <summary>The files of the model; null while it is not whole.</summary>
    public List<string>? Model { get; set; }

    /// <summary>The record of a folder; an empty one where there is none that can be read.</summary>
    public static CacheRecord Read(string folder)
    {
        try
        {
            return JsonSerializer.Deserialize<CacheRecord>(BoundedFile.Read(Path.Combine(folder, FileName), MostBytes, "a cache's record"), Options) ?? new();
        }
        catch (Exception e) when (e is IOException or JsonException or UnauthorizedAccessException or StableDiffusionException)
        {
            return new();
        }
    }

    public void Write(string folder) => WriteWhole(Path.Combine(folder, FileName), JsonSerializer.SerializeToUtf8Bytes(this, Options));

    /// <summary>Replaces a small file in one step.</summary>
    public static void WriteWhole(string path, byte[] content)
    {
        var temporary = path + ".new";
        File.WriteAllBytes(temporary, content);
        FinishedFile.Move(temporary, path);
    }
}
