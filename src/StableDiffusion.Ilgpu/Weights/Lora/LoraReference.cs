using System.Globalization;

namespace StableDiffusion.Ilgpu.Weights.Lora;

/// <summary>A LoRA file and how strongly it counts.</summary>
internal sealed record LoraReference(string Path, double Scale)
{
    /// <summary>What prompts call it: the file's name without extension.</summary>
    public string Name => System.IO.Path.GetFileNameWithoutExtension(Path);

    /// <summary>The text that <see cref="Parse"/> reads as this.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Path}:{Scale}");

    /// <summary>
    /// Reads <c>FILE[:scale]</c>. What follows the last colon is a scale if it is a number, else it belongs to the path
    /// (<c>C:\loras\a.safetensors</c>).
    /// </summary>
    /// <exception cref="StableDiffusionException">The scale is not finite, or there is no path.</exception>
    public static LoraReference Parse(string text)
    {
        var colon = text.LastIndexOf(':');
        var (path, scale) = colon >= 0
            && double.TryParse(text.AsSpan(colon + 1), NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
            ? (text[..colon], number)
            : (text, 1);
        return path.Length == 0 ? throw new StableDiffusionException($"LoRA '{text}' names no file; valid: FILE or FILE:scale")
            : double.IsFinite(scale) ? new LoraReference(path, scale)
            : throw new StableDiffusionException($"LoRA '{text}': the scale is not a finite number");
    }
}
