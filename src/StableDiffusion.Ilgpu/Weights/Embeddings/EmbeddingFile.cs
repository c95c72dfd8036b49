namespace StableDiffusion.Ilgpu.Weights.Embeddings;

/// <summary>Learned vectors of a file, in place of one token: rows of the token table.</summary>
/// <param name="Token">What the file calls them; null where it gives no name that a prompt could use.</param>
/// <param name="Vectors">Each as wide as the text encoder.</param>
internal sealed record LearnedToken(string? Token, float[][] Vectors);

/// <summary>A textual inversion file (Gal et al. 2022, arXiv:2208.01618).</summary>
/// <param name="Path">The file.</param>
/// <param name="Sha256">Of its bytes, 64 hex digits.</param>
/// <param name="Tokens">One, or several in files of diffusers.</param>
internal sealed record EmbeddingFile(string Path, string Sha256, IReadOnlyList<LearnedToken> Tokens)
{
    /// <summary>AUTOMATIC1111's name of the vectors in safetensors files, and the dictionary in its own format that holds them.</summary>
    private const string Parameters = "emb_params", ParameterDictionary = "string_to_param.";

    private const string TokenDictionary = "string_to_token.";

    /// <summary>What prompts call it: the file's name without extension.</summary>
    public string Name => System.IO.Path.GetFileNameWithoutExtension(Path);

    /// <param name="path">The file.</param>
    /// <param name="width">Of the text encoder.</param>
    /// <param name="mostVectors">What fits a prompt.</param>
    /// <exception cref="StableDiffusionException">The file cannot be read, is no embedding, or one for another text encoder.</exception>
    public static EmbeddingFile Open(string path, int width, int mostVectors)
    {
        using var source = WeightFile.Open(path);
        var tensors = source.Tensors.Values.Where(t => !t.Name.StartsWith(TokenDictionary, StringComparison.Ordinal)).ToArray();
        if (tensors.Length == 0 || tensors.Any(t => t.Shape.Length is not (1 or 2) || !FloatConversion.IsFloat(t.Type)))
        {
            throw new StableDiffusionException(
                $"{path}: is no embedding; one holds {Parameters} or {ParameterDictionary}* (AUTOMATIC1111), "
                + "or vectors by their token's name (diffusers)");
        }

        if (tensors.FirstOrDefault(t => t.Shape[^1] != width) is { } other)
        {
            throw new StableDiffusionException(
                $"{path}: {other.Name} {other.ShapeText} has vectors of width {other.Shape[^1]}, but the text encoder takes {width}: "
                + "the embedding was made for another model");
        }

        // Looked at before they are read, so that a file cannot ask for much.
        var vectors = tensors.Sum(t => t.Count / width);
        if (vectors < 1 || vectors > mostVectors)
        {
            throw new StableDiffusionException($"{path}: has {vectors} vectors; a prompt has room for 1 to {mostVectors}");
        }

        var file = new EmbeddingFile(path, source.Sha256(), [.. tensors.Select(t => new LearnedToken(TokenOf(t.Name), Read(source, t, width)))]);
        return file.Name.Length > 0 ? file
            : throw new StableDiffusionException($"{path}: has no name in front of its extension; prompts would call it by that");
    }

    /// <summary>A star stands for the file's own name.</summary>
    private static string? TokenOf(string tensor) =>
        tensor is Parameters or "*" or "" || tensor.StartsWith(ParameterDictionary, StringComparison.Ordinal) ? null : tensor;

    private static float[][] Read(IWeightSource source, TensorInfo tensor, int width)
    {
        var values = new float[tensor.Count];
        source.Read(tensor.Name, values);
        return values.All(float.IsFinite) ? [.. values.Chunk(width)]
            : throw new StableDiffusionException($"{source.Description}: {tensor.Name} holds values that are not finite");
    }
}
