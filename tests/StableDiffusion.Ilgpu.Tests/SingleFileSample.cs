using System.Runtime.InteropServices;
using System.Text.Json;
using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// Writes the single file of a reference model from its folder and its key map, which name what corresponds. The map and the plain files of
/// the folder are all that is used: none of the library's own names.
/// </summary>
internal sealed class SingleFileSample
{
    private readonly string model;
    private readonly Dictionary<string, byte[]> data = [];

    public SingleFileSample(string model)
    {
        this.model = model;
        Map = JsonSerializer.Deserialize<Dictionary<string, JsonElement>>(File.ReadAllBytes(MapOf(model)))!;
        Dictionary<string, SafetensorsFile> files = [];
        const string Diffusers = "diffusion_pytorch_model";
        foreach (var (folder, file) in new[] { ("text_encoder", "model"), ("unet", Diffusers), ("vae", Diffusers) })
        {
            files[folder] = SafetensorsFile.Open(ReferenceData.PathOf(model, folder, $"{file}.safetensors"));
        }

        foreach (var (key, value) in Map)
        {
            var names = Names(value);
            if (names.Length == 0)
            {
                var (info, bytes) = Filler(key);
                Add(info, bytes);
                continue;
            }

            var pieces = names.Select(n => Read(files[n[..n.IndexOf('/')]], n[(n.IndexOf('/') + 1)..])).ToList();
            var shape = pieces[0].Info.Shape;
            var isConvolution = key.StartsWith("first_stage_model.", StringComparison.Ordinal) && shape.Length == 2;
            shape = pieces.Count > 1 ? [shape[0] * pieces.Count, .. shape[1..]] : isConvolution ? [.. shape, 1, 1] : shape;
            Add(new TensorInfo(key, pieces[0].Info.Type, shape), [.. pieces.SelectMany(p => p.Bytes)]);
        }

        foreach (var file in files.Values)
        {
            file.Dispose();
        }
    }

    /// <summary>The reference models that have a key map.</summary>
    public static IEnumerable<string> Models => Directory.GetDirectories(ReferenceData.Folder, "tiny-*").Select(f => Path.GetFileName(f))
        .Where(m => File.Exists(MapOf(m))).Order(StringComparer.Ordinal);

    /// <summary>The key map: single-file key to component/name, a list of them, or null.</summary>
    public IReadOnlyDictionary<string, JsonElement> Map { get; }

    /// <summary>The tensors that are written; may be changed before.</summary>
    public Dictionary<string, TensorInfo> Tensors { get; } = [];

    public static string MapOf(string model) => ReferenceData.PathOf(model, $"{model}-single-file.key-map.json");

    /// <summary>The set's own single file, where it has one: the copy in the checkout has not.</summary>
    public static string? StoredFile(string model) =>
        ReferenceData.PathOf(model, $"{model}-single-file.safetensors") is var path && File.Exists(path) ? path : null;

    /// <summary>The counterparts that a map's value names: none, one, or several.</summary>
    public static string[] Names(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => [value.GetString()!],
        JsonValueKind.Array => [.. value.EnumerateArray().Where(v => v.ValueKind == JsonValueKind.String).Select(v => v.GetString()!)],
        _ => [],
    };

    /// <summary>Adds a tensor, or takes the place of one.</summary>
    public void Add(TensorInfo info, byte[] bytes) => (Tensors[info.Name], data[info.Name]) = (info, bytes);

    /// <summary>Gives a tensor another name, or takes it out.</summary>
    public void Rename(string name, string? other)
    {
        var (info, bytes) = (Tensors[name], data[name]);
        Tensors.Remove(name);
        if (other is not null)
        {
            Add(info with { Name = other }, bytes);
        }
    }

    /// <summary>Adds a tensor of nines.</summary>
    public void Add(string name, params long[] shape) => Add(new TensorInfo(name, TensorType.F32, shape), Nines(shape));

    public string Write(string path, IReadOnlyDictionary<string, string>? metadata = null)
    {
        SafetensorsWriter.Write(
            path, [.. Tensors.Values.OrderBy(t => t.Name, StringComparer.Ordinal)],
            (tensor, bytes) => data[tensor.Name].CopyTo(bytes), metadata);
        return path;
    }

    /// <summary>Writes a training checkpoint of PyTorch, with the tensors under state_dict.</summary>
    public string WriteTorch(string path)
    {
        var tensors = new Dictionary<string, object?>();
        foreach (var tensor in Tensors.Values)
        {
            tensors[tensor.Name] = SampleTensor.Plain($"{tensors.Count}", tensor.Type, data[tensor.Name], tensor.Shape);
        }

        File.WriteAllBytes(path, TorchFileWriter.Write(new Dictionary<string, object?> { ["global_step"] = 1, ["state_dict"] = tensors }));
        return path;
    }

    private static (TensorInfo Info, byte[] Bytes) Read(SafetensorsFile file, string name)
    {
        var info = file.Tensors[name];
        var bytes = new byte[info.Count * SafetensorsHeader.BytesOf(info.Type)];
        if (info.Type == TensorType.F16)
        {
            file.Read(name, MemoryMarshal.Cast<byte, ushort>(bytes.AsSpan()));
        }
        else
        {
            file.Read(name, MemoryMarshal.Cast<byte, float>(bytes.AsSpan()));
        }

        return (info, bytes);
    }

    /// <summary>What has no counterpart holds nines, so that using it shows; shapes are those of the neighbouring layer.</summary>
    private (TensorInfo Info, byte[] Bytes) Filler(string key)
    {
        if (key.EndsWith("position_ids", StringComparison.Ordinal))
        {
            var positions = Enumerable.Range(0, 77).Select(i => (long)i).ToArray();
            return (new TensorInfo(key, TensorType.I64, [1, 77]), MemoryMarshal.AsBytes<long>(positions).ToArray());
        }

        var isScalar = key.StartsWith("model_ema.", StringComparison.Ordinal) || key.EndsWith("logit_scale", StringComparison.Ordinal);
        long[] shape = isScalar ? [] : [1000];
        if (key.Split(".resblocks.") is [var before, var after])
        {
            var first = Tensors.Values.FirstOrDefault(t => t.Name == $"{before}.resblocks.0.{after[(after.IndexOf('.') + 1)..]}");
            shape = first?.Shape ?? (after.EndsWith("in_proj_weight", StringComparison.Ordinal) ? [3, 1] : [3]);
        }

        return (new TensorInfo(key, TensorType.F32, shape), Nines(shape));
    }

    private static byte[] Nines(long[] shape) =>
        MemoryMarshal.AsBytes<float>(Enumerable.Repeat(9f, (int)shape.Aggregate(1L, (a, b) => a * b)).ToArray()).ToArray();
}
