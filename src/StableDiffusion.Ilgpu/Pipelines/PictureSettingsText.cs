using System.Globalization;

namespace StableDiffusion.Ilgpu;

/// <summary>What the parameters text says about a picture that was begun with.</summary>
internal static class PictureSettingsText
{
    /// <summary>The web UI's "Mask mode" for painting a mask's black parts.</summary>
    public const string InvertedMask = "Inpaint not masked";

    /// <summary>Keys in the order of AUTOMATIC1111's web UI; null values for what does not apply.</summary>
    public static (string Key, string? Value)[] Of(GenerationRequest request) =>
    [
        ("Denoising strength", request.InitImage is null ? null : request.Strength.ToString(CultureInfo.InvariantCulture)),
        ("Mask mode", request.Mask is not null && request.InvertMask ? InvertedMask : null),
        ("Mask blur", request.Mask is not null && request.MaskBlur > 0 ? request.MaskBlur.ToString(CultureInfo.InvariantCulture) : null),
    ];
}
