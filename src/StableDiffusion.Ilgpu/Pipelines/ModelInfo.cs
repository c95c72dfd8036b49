using StableDiffusion.Ilgpu.Weights;
using StableDiffusion.Ilgpu.Weights.Lora;

namespace StableDiffusion.Ilgpu;

/// <summary>What a model is and how it is stored, for people to read.</summary>
/// <param name="Name">As pictures' metadata carry it.</param>
/// <param name="Variant">The published model that its sizes are those of, and what it predicts.</param>
/// <param name="Layout">How it is stored, and where its configurations come from.</param>
/// <param name="Sha256">Of the single file or the UNet's, 64 hex digits; null where there is no such file.</param>
/// <param name="Components">Its parts.</param>
/// <param name="Ignored">What is stored without use.</param>
/// <param name="Loras">What became of the LoRAs that change it.</param>
internal sealed record ModelInfo(
    string Name, string Variant, string Layout, string? Sha256, IReadOnlyList<ComponentInfo> Components, IReadOnlyList<string> Ignored,
    IReadOnlyList<LoraReport> Loras)
{
    /// <summary>The first digits of the hash, as AUTOMATIC1111's web UI shows it.</summary>
    public string? ShortHash => Sha256?[..FileHash.ModelDigits];
}
