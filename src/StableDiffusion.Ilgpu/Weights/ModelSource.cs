namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Finds out in which layout a model is stored.</summary>
internal static class ModelSource
{
    private static readonly string Supported =
        $"supported: a folder in diffusers' layout (with {DiffusersFolder.IndexName}), a single file (safetensors, or .ckpt of PyTorch), "
        + SyntheticModel.ValidNames;

    /// <param name="model">A folder's or a file's path, or <c>synthetic:NAME[:SALT]</c>.</param>
    /// <exception cref="StableDiffusionException">There is no such model, or its layout is not supported.</exception>
    public static IModelSource Open(string model) => Open(model, new ModelOptions());

    /// <param name="model">A folder's or a file's path, or <c>synthetic:NAME[:SALT]</c>.</param>
    /// <param name="options">What replaces or completes what the model holds; its own model is not looked at.</param>
    /// <exception cref="StableDiffusionException">
    /// There is no such model, its layout is not supported, or the options do not fit it.
    /// </exception>
    public static IModelSource Open(string model, ModelOptions options)
    {
        IModelSource source = model.StartsWith(SyntheticModel.Prefix, StringComparison.Ordinal) ? SyntheticModel.Open(model)
            : Directory.Exists(model) ? DiffusersFolder.Open(model)
            : File.Exists(model) ? SingleFile.Open(model, options)
            : throw new StableDiffusionException($"{(model.Length > 0 ? model : "(empty)")}: no such model; {Supported}");
        var changes = options.ConfigFolder is not null || options.Name is not null || options.Prediction is not null
            || Enum.GetValues<ModelPart>().Any(p => ComposedModel.FileOf(p, options) is not null);
        return changes ? ComposedModel.Of(source, options) : source;
    }
}
