namespace StableDiffusion.Ilgpu;

/// <summary>Which model to open, and what replaces or completes what it holds.</summary>
public sealed record ModelOptions
{
    /// <summary>
    /// A folder in diffusers' layout, a single file (.safetensors, .ckpt), or <c>synthetic:sd15</c>; null for the bundled demo model.
    /// </summary>
    public string? Model { get; init; }

    /// <summary>What pictures' metadata call the model; null for the name of its folder, or of its file without extension.</summary>
    public string? Name { get; init; }

    /// <summary>A file whose UNet takes the place of the model's own: diffusers' or the original names, or a whole single file.</summary>
    public string? UNet { get; init; }

    /// <summary>The same for the text encoder.</summary>
    public string? TextEncoder { get; init; }

    /// <summary>The same for the autoencoder.</summary>
    public string? Vae { get; init; }

    /// <summary>
    /// A folder in diffusers' layout whose configurations are used instead of the model's own or the published ones; its weights are not
    /// looked at. Needed for single files of sizes that are not published.
    /// </summary>
    public string? ConfigFolder { get; init; }

    /// <summary>What the UNet predicts, where the model does not say it or says it wrongly.</summary>
    public PredictionType? Prediction { get; init; }

    /// <summary>
    /// LoRA files, each as <c>FILE</c>, <c>FILE:scale</c>, or <c>FILE:scale:scale</c> for text encoder and UNet; their changes add up.
    /// </summary>
    public IReadOnlyList<string> Loras { get; init; } = [];

    /// <summary>Textual inversion files. Prompts use them by the file's name without extension, or by their own token.</summary>
    public IReadOnlyList<string> Embeddings { get; init; } = [];

    /// <summary>A TAESD file that decodes, and encodes pictures, in place of the autoencoder: faster, less exact.</summary>
    public string? Taesd { get; init; }

    /// <summary>A TAESD file that decodes only previews (<see cref="PreviewMethod.TinyAutoencoder"/>).</summary>
    public string? PreviewTaesd { get; init; }

    /// <summary>
    /// For devices with little memory: text encoder, UNet and autoencoder take turns in it, each read from its file when it is needed and
    /// dropped when another one is. The pictures are the same; each change of turns takes as long as loading that part. Only previews that a
    /// network decodes (<see cref="PreviewMethod"/>) keep it beside the UNet while it draws.
    /// </summary>
    public bool Offload { get; init; }

    /// <summary>
    /// A folder that keeps what kernels were compiled to for a GPU or an OpenCL driver, some megabytes, so that the next process loads in less
    /// time; made if it is not there, and not used where that fails. Null for none.
    /// </summary>
    public string? KernelCache { get; init; }

    /// <summary>Checks what can be checked without looking at files.</summary>
    /// <exception cref="StableDiffusionException">A value cannot be used.</exception>
    internal void Validate()
    {
        CheckFiles("LoRA", Loras);
        CheckFiles("embedding", Embeddings);
        foreach (var (name, file) in new[]
        {
            ("UNet", UNet), ("text encoder", TextEncoder), ("VAE", Vae), ("configuration folder", ConfigFolder), ("TAESD", Taesd), ("preview TAESD", PreviewTaesd),
            ("kernel cache", KernelCache),
        })
        {
            CheckFile(name, file ?? name);
        }

        if (Prediction is { } prediction)
        {
            GenerationRequest.CheckDefined("prediction type", prediction);
        }
    }

    private static void CheckFiles(string kind, IReadOnlyList<string>? files)
    {
        foreach (var file in files ?? throw new StableDiffusionException($"the list of {kind} files is null; valid: an empty one, too"))
        {
            CheckFile(kind, file);
        }
    }

    private static void CheckFile(string kind, string? file)
    {
        if (string.IsNullOrEmpty(file))
        {
            throw new StableDiffusionException($"{kind}: the file's name is empty");
        }
    }
}
