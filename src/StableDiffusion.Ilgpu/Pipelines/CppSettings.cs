using System.Globalization;
using System.Text.Json;
using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>What stable-diffusion.cpp writes otherwise than AUTOMATIC1111's web UI, in the terms of a request.</summary>
/// <param name="settings">A picture's of that tool.</param>
internal sealed class CppSettings(PictureSettings settings)
{
    /// <summary>Later versions end with their parameters as JSON.</summary>
    public const string JsonKey = SettingsLine.CppJson;

    /// <summary>Of distilled models, which are not known here; written for every model.</summary>
    public const string GuidanceKey = "Guidance";

    /// <summary>The share of fresh noise; written for every sampler.</summary>
    public const string EtaKey = "Eta";

    /// <summary>An eta that was not given: the sampler's own was taken.</summary>
    private const string Unset = "inf", UnsetBefore = "0.000000";

    /// <summary>The factor of a second pass; <c>Hires upscale</c> is the upscaler's name here.</summary>
    public const string HiresScaleKey = "Hires scale";

    private const string HiresSizeKey = "Hires resize";

    private const int SidesOf = 64;

    /// <summary>Of a second pass, beside the web UI's.</summary>
    public static readonly string[] HiresKeys = [HiresScaleKey, HiresSizeKey];

    /// <summary>Whether a second pass had a size of its own in place of the factor.</summary>
    public bool HasHiresSize => settings[HiresSizeKey] is not (null or "0x0");

    /// <summary>A side of a second pass in pixels: rounded up to multiples of what the UNet's deepest level sees as one.</summary>
    public static double Enlarge(int side, double scale) => Math.Ceiling(Math.Round(side * scale) / SidesOf) * SidesOf;

    /// <summary>Null for pictures of other tools.</summary>
    public static CppSettings? Of(PictureSettings settings) => settings.Source == "stable-diffusion.cpp" ? new CppSettings(settings) : null;

    /// <summary>The sampler's name, without the schedule's behind it.</summary>
    public string? Sampler => settings["Sampler"]?.Split(' ')[0];

    /// <summary>The schedule's name; null for the sampler's own.</summary>
    public string? Schedule => settings["Sampler"]?.Split(' ', 2) is [_, var schedule] ? schedule : null;

    /// <summary>Whether the schedule is the one that a sampler has there by itself, and here as its only one.</summary>
    public bool HasOwnSchedule(Sampler sampler) => sampler == Samplers.DdimTrailing ? Schedule == "simple"
        : (sampler == Samplers.Lcm || sampler == Samplers.Tcd) && Schedule == "lcm";

    /// <summary>The share of fresh noise as it is written; null for the sampler's own.</summary>
    public string? Eta(Sampler sampler)
    {
        var (eta, isZeroThere) = (settings[EtaKey], sampler == Samplers.Tcd || sampler.DefaultEta == 0);
        return eta switch
        {
            Unset => isZeroThere ? "0" : null,

            // Versions without the JSON wrote 0 for every sampler, also for those that did not look at it.
            UnsetBefore when settings[JsonKey] is null && !isZeroThere => null,
            _ => eta,
        };
    }

    /// <summary>How much of a picture was drawn anew; null where nothing tells. Written for pictures from noise too.</summary>
    public double? Strength
    {
        get
        {
            try
            {
                using var parameters = JsonDocument.Parse(settings[JsonKey] ?? "null");
                return parameters.RootElement is { ValueKind: JsonValueKind.Object } root
                    && root.TryGetProperty("strength", out var strength) && strength.ValueKind == JsonValueKind.Number
                    ? Shortest(strength.GetSingle()) : null;
            }
            catch (Exception e) when (e is JsonException or InvalidOperationException)
            {
                return null;
            }
        }
    }

    /// <summary>0.7 for the number of single precision that is written as 0.699999988.</summary>
    private static double Shortest(float number) => double.Parse(number.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
}
