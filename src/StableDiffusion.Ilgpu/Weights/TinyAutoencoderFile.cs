using System.Globalization;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A TAESD file under the names of diffusers' AutoencoderTiny. Read too: the original decoder's and encoder's files (<c>1.weight</c>,
/// <c>3.conv.0.weight</c>, …) and both in one file (<c>taesd_decoder.1.weight</c>, …).
/// </summary>
internal static class TinyAutoencoderFile
{
    public const string FirstOfDecoder = "decoder.layers.0.weight";

    /// <exception cref="StableDiffusionException">The file cannot be read, or holds no TAESD decoder.</exception>
    public static IWeightSource Open(string path)
    {
        var source = WeightFile.Open(path);
        try
        {
            // Layer 0 of the original decoder has no weights, layer 0 of the encoder has.
            var alone = source.Tensors.ContainsKey("0.weight") ? "taesd_encoder."
                : source.Tensors.ContainsKey("1.weight") ? "taesd_decoder." : "";
            var views = source.Tensors.Values.Select(
                t => new RenamedWeights.View(t with { Name = NameInDiffusers(alone + t.Name) }, t.Name));
            var renamed = new RenamedWeights(source, views);
            return renamed.Tensors.TryGetValue(FirstOfDecoder, out var first) && first.Shape.Length == 4 ? renamed
                : throw new StableDiffusionException(
                    $"{path}: holds no TAESD decoder; its first layer would be {FirstOfDecoder}, taesd_decoder.1.weight or 1.weight");
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <summary>The original counts the decoder's clamp as a layer.</summary>
    private static string NameInDiffusers(string name) => name.Split('.', 3) is [var part, var number, var rest]
        && int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var layer)
            ? part switch
            {
                "taesd_decoder" => string.Create(CultureInfo.InvariantCulture, $"decoder.layers.{layer - 1}.{rest}"),
                "taesd_encoder" => string.Create(CultureInfo.InvariantCulture, $"encoder.layers.{layer}.{rest}"),
                _ => name,
            }
            : name;
}
