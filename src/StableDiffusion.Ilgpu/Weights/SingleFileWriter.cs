using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Writes a model as one file with the original names, so that <see cref="SingleFile"/> opens it.</summary>
internal static class SingleFileWriter
{
    /// <summary>
    /// Writes all tensors of the opened weights, sorted by name. Configurations have no place in the file but for the scheduler's, which
    /// goes into the metadata. A text encoder with gelu is OpenCLIP's and gets its names.
    /// </summary>
    /// <param name="source">The model.</param>
    /// <param name="open">Opens a component's weights.</param>
    /// <param name="path">Replaced when the new file is complete.</param>
    /// <param name="type">F16, F32 or BF16; null for the types that the tensors have.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <exception cref="StableDiffusionException">
    /// The file cannot be written, or a tensor cannot be read or has no original name.
    /// </exception>
    public static void Write(
        IModelSource source, Func<ModelPart, IWeightSource> open, string path, TensorType? type,
        CancellationToken cancellationToken = default)
    {
        var weights = new Dictionary<ModelPart, IWeightSource>();
        try
        {
            foreach (var part in Enum.GetValues<ModelPart>())
            {
                weights[part] = open(part);
            }

            var activation = new ConfigReader(source.Config(ModelPart.TextEncoder), source.ConfigDescription(ModelPart.TextEncoder))
                .Text("hidden_act", "quick_gelu");
            var names = LdmNames.OfDiffusers(weights[ModelPart.UNet].Tensors.Keys, weights[ModelPart.Vae].Tensors.Keys);
            var stored = weights.SelectMany(w => TensorCopy.Written(w.Value, type).Select(t => new Piece(w.Key, t)))
                .GroupBy(p => names.ToOriginal(p.Part, p.Tensor.Name, activation == "gelu"))
                .ToDictionary(g => g.Key, g => Ordered(names, g.Key, [.. g]));
            SafetensorsWriter.Write(
                path, [.. stored.OrderBy(s => s.Key, StringComparer.Ordinal).Select(s => Whole(s.Key, s.Value))],
                (tensor, bytes) =>
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    var pieces = stored[tensor.Name];
                    for (var i = 0; i < pieces.Count; i++)
                    {
                        var size = bytes.Length / pieces.Count;
                        TensorCopy.Fill(weights[pieces[i].Part], pieces[i].Tensor, bytes.Slice(i * size, size));
                    }
                },
                new Dictionary<string, string>
                {
                    [StatedScheduler.PredictionMetadata] = StatedScheduler.WordFor(source.SchedulerConfig, source.SchedulerConfigDescription),
                    [StatedScheduler.ConfigMetadata] = JsonSerializer.Serialize(source.SchedulerConfig),
                });
        }
        finally
        {
            foreach (var opened in weights.Values)
            {
                opened.Dispose();
            }
        }
    }

    /// <summary>The pieces of a stored tensor, first rows first; they must all be there, with one type and shape.</summary>
    private static List<Piece> Ordered(LdmNames names, string original, List<Piece> pieces)
    {
        string[] order = names.ToDiffusers(original) is var (_, found) ? found : [];
        var ordered = pieces.OrderBy(p => Array.IndexOf(order, p.Tensor.Name)).ToList();
        return ordered.Select(p => p.Tensor.Name).SequenceEqual(order)
            && ordered.All(p => p.Tensor.Type == ordered[0].Tensor.Type && p.Tensor.Shape.SequenceEqual(ordered[0].Tensor.Shape))
            ? ordered
            : throw new StableDiffusionException(
                $"{original}: needs {string.Join(", ", order)} with one type and shape; there are "
                + string.Join(", ", pieces.Select(p => $"{p.Tensor.Name} {p.Tensor.Type} {p.Tensor.ShapeText}")));
    }

    private static TensorInfo Whole(string name, List<Piece> pieces)
    {
        var tensor = pieces[0].Tensor;
        var isMatrix = pieces[0].Part == ModelPart.Vae && tensor.Shape.Length == 2 && VaeLdmNames.IsAttentionWeight(tensor.Name);
        long[] shape = pieces.Count > 1 ? [tensor.Shape[0] * pieces.Count, .. tensor.Shape[1..]]
            : isMatrix ? [.. tensor.Shape, 1, 1]
            : tensor.Shape;
        return new TensorInfo(name, tensor.Type, shape);
    }

    /// <summary>A tensor that is a stored one, or some rows of it.</summary>
    private sealed record Piece(ModelPart Part, TensorInfo Tensor);
}
