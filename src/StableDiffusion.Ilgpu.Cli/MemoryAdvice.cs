namespace StableDiffusion.Ilgpu.Cli;

/// <summary>Which options help where a device has too little memory.</summary>
internal static class MemoryAdvice
{
    /// <summary>Names those that are not in use, and a smaller size, which always helps.</summary>
    /// <param name="request">What was to be drawn.</param>
    /// <param name="offload">Whether the models took turns already.</param>
    public static string For(GenerationRequest request, bool offload)
    {
        string[] options =
        [
            .. offload ? Array.Empty<string>() : ["--offload"],
            .. request.BatchCount == 1 || request.BatchSize == 1 ? Array.Empty<string>() : ["--batch-size 1"],
            .. request.VaeTiling ? Array.Empty<string>() : ["--vae-tiling"],
        ];
        return $"less is needed {(options.Length == 0 ? "" : $"with {string.Join(", ", options)} or ")}in a smaller size{(request.Hires is null ? "" : " or without --hires")}";
    }
}
