namespace StableDiffusion.Ilgpu;

/// <summary>What the parameters text says about a picture that was begun with.</summary>
internal static class PictureSettingsText
{
    /// <summary>The web UI's "Mask mode" for painting a mask's black parts.</summary>
    public const string InvertedMask = "Inpaint not masked";

    /// <summary>The value of "Latent" where a picture is begun with the mean of the encoder's distribution.</summary>
    public const string MeanLatent = "mean";

    public static string NameOf(ResizeMode mode) => mode.ToString().ToLowerInvariant();

    /// <summary>The mode of that name, in any case; null if there is none.</summary>
    public static ResizeMode? FindResizeMode(string name) => Enum.GetValues<ResizeMode>().Cast<ResizeMode?>()
        .FirstOrDefault(m => string.Equals(name, NameOf(m!.Value), StringComparison.OrdinalIgnoreCase));

    /// <summary>
    /// Keys in the order of AUTOMATIC1111's web UI, then two that it does not write; null values for what does not apply or is as usual.
    /// </summary>
    public static (string Key, string? Value)[] Of(GenerationRequest request) =>
    [
        ("Denoising strength", request.InitImage is null ? null : NumberText.Of(request.Strength)),
        ("Mask mode", request.Mask is not null && request.InvertMask ? InvertedMask : null),
        ("Mask blur", request.Mask is not null && request.MaskBlur > 0 ? NumberText.Of(request.MaskBlur) : null),
        ("Resize mode", request.InitImage is not null && request.ResizeMode != ResizeMode.Crop ? NameOf(request.ResizeMode) : null),
        ("Latent", request.InitImage is not null && request.MeanLatent ? MeanLatent : null),
    ];
}
