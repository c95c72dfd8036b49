namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Finds out in which layout a model is stored.</summary>
internal static class ModelSource
{
    private static readonly string Supported =
        $"supported: a folder in diffusers' layout (with {DiffusersFolder.IndexName}), {SyntheticModel.ValidNames}";

    /// <param name="model">A folder's path, or <c>synthetic:NAME[:SALT]</c>.</param>
    /// <exception cref="StableDiffusionException">There is no such model, or its layout is not supported.</exception>
    public static IModelSource Open(string model) =>
        model.StartsWith(SyntheticModel.Prefix, StringComparison.Ordinal) ? SyntheticModel.Open(model)
        : Directory.Exists(model) ? DiffusersFolder.Open(model)
        : File.Exists(model) ? throw new StableDiffusionException($"{model}: is a single file, which is not supported yet; {Supported}")
        : throw new StableDiffusionException($"{(model.Length > 0 ? model : "(empty)")}: no such model; {Supported}");
}
