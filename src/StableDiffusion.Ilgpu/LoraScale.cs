using System.Globalization;

namespace StableDiffusion.Ilgpu;

/// <summary>How strongly a LoRA counts in each part of a model.</summary>
internal readonly record struct LoraScale(double TextEncoder, double UNet)
{
    /// <summary>The same in both parts.</summary>
    public LoraScale(double both) : this(both, both)
    {
    }

    public override string ToString() => TextEncoder == UNet ? TextEncoder.ToString(CultureInfo.InvariantCulture)
        : string.Create(CultureInfo.InvariantCulture, $"{TextEncoder} (text encoder) and {UNet} (UNet)");
}
