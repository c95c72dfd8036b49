using System.Text.Json;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>The reference set's small checkpoints (folders tiny-*), each with its outputs.</summary>
internal static class TinyModels
{
    private const string SingleFileSuffix = " single file";

    /// <summary>Written once for all tests.</summary>
    private static readonly Lazy<Dictionary<string, string>> Written = new(WriteSingleFiles);

    private static readonly (string Name, string? Reason)[] Found = [.. Directory.GetDirectories(ReferenceData.Folder, "tiny-*")
        .Select(folder => Path.GetFileName(folder)).Order(StringComparer.Ordinal).Select(name => (name, WhyNot(name)))];

    /// <summary>Those of a kind that the library runs.</summary>
    public static IEnumerable<string> Names => Found.Where(m => m.Reason is null).Select(m => m.Name);

    /// <summary>The other ones, with the reason.</summary>
    public static IEnumerable<(string Name, string Reason)> LeftOut => Found.Where(m => m.Reason is not null)
        .Select(m => (m.Name, m.Reason!));

    /// <summary>The single-file forms of those that have a key map.</summary>
    public static IEnumerable<string> SingleFiles => SingleFileSample.Models.Select(m => m + SingleFileSuffix);

    /// <param name="name">A folder's name, or one of <see cref="SingleFiles"/>.</param>
    public static LoadedModel Load(string name)
    {
        if (FolderOf(name) == name)
        {
            return LoadedModel.Open(ReferenceData.PathOf(name));
        }

        // The set's own file lies in the folder with the configurations; one that is written here does not.
        return SingleFileSample.StoredFile(FolderOf(name)) is { } stored ? LoadedModel.Open(stored)
            : LoadedModel.Open(
                new ModelOptions { Model = Written.Value[FolderOf(name)], ConfigFolder = ReferenceData.PathOf(FolderOf(name)) });
    }

    public static TestTensors Tensors(string name, string file) => TestTensors.Open(FolderOf(name), "reference", $"{file}.safetensors");

    public static JsonElement Json(string name, string file) =>
        JsonSerializer.Deserialize<JsonElement>(File.ReadAllBytes(ReferenceData.PathOf(FolderOf(name), "reference", $"{file}.json")));

    public static WeightStore<T> OpenWeights<T>(DeviceFixture fixture, LoadedModel model, ModelPart part) where T : unmanaged =>
        new(fixture.Device, model.OpenWeights(part));

    private static string FolderOf(string name) =>
        name.EndsWith(SingleFileSuffix, StringComparison.Ordinal) ? name[..^SingleFileSuffix.Length] : name;

    private static Dictionary<string, string> WriteSingleFiles()
    {
        var folder = Directory.CreateTempSubdirectory("sdilgpu-single-");
        AppDomain.CurrentDomain.ProcessExit += (_, _) => folder.Delete(recursive: true);
        return SingleFileSample.Models.ToDictionary(
            m => m, m => new SingleFileSample(m).Write(Path.Combine(folder.FullName, $"{m}.safetensors")));
    }

    /// <summary>Models that are not for text to image are refused by their configurations.</summary>
    private static string? WhyNot(string name)
    {
        try
        {
            using var model = Load(name);
            return null;
        }
        catch (StableDiffusionException e)
        {
            return e.Message;
        }
    }
}
