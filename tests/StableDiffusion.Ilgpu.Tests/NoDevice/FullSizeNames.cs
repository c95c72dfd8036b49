using System.Text.Json;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>
/// Names and shapes of the full-size models, from the synthetic reference's manifests, and files that have them without contents.
/// </summary>
internal static class FullSizeNames
{
    public static Dictionary<ModelPart, Dictionary<string, TensorInfo>> Of(string manifest)
    {
        var parts = new Dictionary<ModelPart, Dictionary<string, TensorInfo>>();
        foreach (var line in File.ReadLines(ReferenceData.PathOf("synthetic", manifest)))
        {
            var json = JsonSerializer.Deserialize<JsonElement>(line);
            var key = json.GetProperty("key").GetString()!.Split(':');
            var part = key[^2] switch { "te" => ModelPart.TextEncoder, "unet" => ModelPart.UNet, _ => ModelPart.Vae };
            parts.TryAdd(part, []);
            long[] shape = [.. json.GetProperty("shape").EnumerateArray().Select(s => s.GetInt64())];
            parts[part][key[^1]] = new TensorInfo(key[^1], TensorType.F16, shape);
        }

        return parts;
    }

    /// <summary>The tensors of a single file in the original naming; fused ones come once.</summary>
    public static Dictionary<string, TensorInfo> Original(Dictionary<ModelPart, Dictionary<string, TensorInfo>> parts, bool openClip)
    {
        var names = LdmNames.OfDiffusers(parts[ModelPart.UNet].Keys, parts[ModelPart.Vae].Keys);
        var result = new Dictionary<string, TensorInfo>();
        foreach (var (part, tensors) in parts)
        {
            foreach (var tensor in tensors.Values)
            {
                var name = names.ToOriginal(part, tensor.Name, openClip);
                var fused = names.ToDiffusers(name)!.Value.Names.Length;
                long[] shape = fused > 1 ? [tensor.Shape[0] * fused, .. tensor.Shape[1..]] : tensor.Shape;
                result[name] = new TensorInfo(name, tensor.Type, shape);
            }
        }

        return result;
    }

    /// <summary>Writes a header with a hole of the right size behind it: full-size files that take no room. All values are 0.</summary>
    public static string WriteSparse(string path, IEnumerable<TensorInfo> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var end = 0L;
        var header = new Dictionary<string, object>();
        if (metadata is not null)
        {
            header["__metadata__"] = metadata;
        }

        foreach (var tensor in tensors)
        {
            var begin = end;
            end += tensor.Count * SafetensorsHeader.BytesOf(tensor.Type);
            var type = SafetensorsHeader.NameOf(tensor.Type);
            header[tensor.Name] = new { dtype = type, shape = tensor.Shape, data_offsets = new[] { begin, end } };
        }

        var bytes = WeightsTestFiles.Safetensors(JsonSerializer.Serialize(header), []);
        using var stream = File.Create(path);
        stream.Write(bytes);
        stream.SetLength(bytes.Length + end);
        return path;
    }

    /// <summary>Writes numbers into an fp16 tensor of such a file.</summary>
    public static void Fill(string path, string tensor, Func<int, float> value)
    {
        long offset;
        int count;
        using (var stream = File.OpenRead(path))
        {
            var header = SafetensorsHeader.Parse(path, stream.Length, (at, bytes) =>
            {
                stream.Position = at;
                stream.ReadExactly(bytes);
            });
            (offset, count) = (header.Offsets[tensor], (int)header.Tensors[tensor].Count);
        }

        using var writer = new BinaryWriter(File.OpenWrite(path));
        writer.BaseStream.Position = offset;
        for (var i = 0; i < count; i++)
        {
            writer.Write((Half)value(i));
        }
    }
}
