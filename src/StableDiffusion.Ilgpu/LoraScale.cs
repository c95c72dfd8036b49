namespace StableDiffusion.Ilgpu;

/// <summary>How strongly a LoRA counts in each part of a model.</summary>
internal readonly record struct LoraScale(double TextEncoder, double UNet)
{
    /// <summary>The same in both parts.</summary>
    public LoraScale(double both) : this(both, both)
    {
    }

    public override string ToString() => TextEncoder == UNet ? NumberText.Of(TextEncoder)
        : $"{NumberText.Of(TextEncoder)} (text encoder) and {NumberText.Of(UNet)} (UNet)";
}
