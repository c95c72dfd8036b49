using System.Globalization;

namespace StableDiffusion.Ilgpu.Weights.Lora;

/// <summary>A LoRA file and how strongly it counts.</summary>
internal sealed record LoraReference(string Path, LoraScale Scale)
{
    /// <summary>What prompts call it: the file's name without extension.</summary>
    public string Name => System.IO.Path.GetFileNameWithoutExtension(Path);

    /// <summary>The text that <see cref="Parse"/> reads as this: with both scales, because a path may end like one.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Path}:{Scale.TextEncoder}:{Scale.UNet}");

    /// <summary>
    /// Reads <c>FILE</c>, <c>FILE:scale</c> or <c>FILE:scale:scale</c>, the text encoder's scale before the UNet's. What follows the last
    /// colons is a scale if it is a number, else it belongs to the path (<c>C:\loras\a.safetensors</c>).
    /// </summary>
    /// <exception cref="StableDiffusionException">A scale is not finite, or there is no path.</exception>
    public static LoraReference Parse(string text)
    {
        var (rest, last) = SplitScale(text, text);
        var (path, first) = last is null ? (rest, null) : SplitScale(text, rest);
        return path.Length == 0
            ? throw new StableDiffusionException($"LoRA '{text}' names no file; valid: FILE, FILE:scale or FILE:scale:scale")
            : new LoraReference(path, new LoraScale(first ?? last ?? 1, last ?? 1));
    }

    private static (string Path, double? Scale) SplitScale(string whole, string text)
    {
        var colon = text.LastIndexOf(':');
        return colon < 0 || !double.TryParse(text.AsSpan(colon + 1), NumberStyles.Float, CultureInfo.InvariantCulture, out var scale)
            ? (text, null)
            : float.IsFinite((float)scale) ? (text[..colon], scale)
            : throw new StableDiffusionException($"LoRA '{whole}': the scale is not a finite number of single precision");
    }
}
