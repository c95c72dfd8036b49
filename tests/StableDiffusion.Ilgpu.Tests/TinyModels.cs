using System.Text.Json;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>The reference set's small checkpoints (folders tiny-*), each with its outputs.</summary>
internal static class TinyModels
{
    private static readonly (string Name, string? Reason)[] Found = [.. Directory.GetDirectories(ReferenceData.Folder, "tiny-*")
        .Select(folder => Path.GetFileName(folder)).Order(StringComparer.Ordinal).Select(name => (name, WhyNot(name)))];

    /// <summary>Those of a kind that the library runs.</summary>
    public static IEnumerable<string> Names => Found.Where(m => m.Reason is null).Select(m => m.Name);

    /// <summary>The other ones, with the reason.</summary>
    public static IEnumerable<(string Name, string Reason)> LeftOut => Found.Where(m => m.Reason is not null)
        .Select(m => (m.Name, m.Reason!));

    public static LoadedModel Load(string name) => LoadedModel.Open(ReferenceData.PathOf(name));

    public static TestTensors Tensors(string name, string file) => TestTensors.Open(name, "reference", $"{file}.safetensors");

    public static JsonElement Json(string name, string file) =>
        JsonSerializer.Deserialize<JsonElement>(File.ReadAllBytes(ReferenceData.PathOf(name, "reference", $"{file}.json")));

    public static WeightStore<T> OpenWeights<T>(DeviceFixture fixture, LoadedModel model, ModelPart part) where T : unmanaged =>
        new(fixture.Device, model.OpenWeights(part));

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
